"""What moto's IAM must do as AWS does."""

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from .fresh_aws import TRUST, WAIT_MAX_SECONDS, Aws, as_dict, as_list, code_of

DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ec2:CreateSnapshot", "Resource": "*"}],
}
ROLE_TAGS = as_list({"managed-by": "etcd-backup"})


@pytest.fixture
def policy_arn(aws: Aws) -> str:
    made = aws.iam.create_policy(PolicyName="dlm-policy", PolicyDocument=json.dumps(DOCUMENT), Tags=ROLE_TAGS)
    return made["Policy"]["Arn"]


def raw(aws: Aws, **parameters: str) -> str:
    """The XML of an answer, before any client has decoded it."""
    scope = "20260101/us-east-1/iam/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{scope}, Signature=0"}
    body = {"Version": "2010-05-08", **parameters}
    return requests.post(aws.endpoint, data=body, headers=headers, timeout=WAIT_MAX_SECONDS).text


def test_documents_come_url_encoded(aws: Aws, policy_arn: str) -> None:
    aws.role()
    for answer, element, document in [
        (raw(aws, Action="GetRole", RoleName="dlm-role"), "AssumeRolePolicyDocument", TRUST),
        (raw(aws, Action="ListRoles"), "AssumeRolePolicyDocument", TRUST),
        (raw(aws, Action="GetPolicyVersion", PolicyArn=policy_arn, VersionId="v1"), "Document", DOCUMENT),
    ]:
        (encoded,) = re.findall(f"<{element}>(.*)</{element}>", answer)
        assert encoded.startswith("%7B")
        assert json.loads(unquote(encoded)) == document


def test_a_sixth_version_is_refused(aws: Aws, policy_arn: str) -> None:
    new = {"PolicyArn": policy_arn, "PolicyDocument": json.dumps(DOCUMENT), "SetAsDefault": True}
    for _ in range(4):
        aws.iam.create_policy_version(**new)
    assert code_of(aws.iam.create_policy_version, **new) == "LimitExceeded"
    assert code_of(aws.iam.delete_policy_version, PolicyArn=policy_arn, VersionId="v5") == "DeleteConflict"
    aws.iam.delete_policy_version(PolicyArn=policy_arn, VersionId="v1")
    assert aws.iam.create_policy_version(**new)["PolicyVersion"]["VersionId"] == "v6"
    versions = aws.iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]
    assert [(v["VersionId"], v["IsDefaultVersion"]) for v in versions if v["IsDefaultVersion"]] == [
        ("v6", True)
    ]
    assert aws.iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"] == "v6"


def test_what_exists_and_what_does_not(aws: Aws, policy_arn: str) -> None:
    aws.role()
    trust = json.dumps(TRUST)
    assert (
        code_of(aws.iam.create_role, RoleName="dlm-role", AssumeRolePolicyDocument=trust)
        == "EntityAlreadyExists"
    )
    again: dict[str, Any] = {"PolicyName": "dlm-policy", "PolicyDocument": json.dumps(DOCUMENT)}
    assert code_of(aws.iam.create_policy, **again) == "EntityAlreadyExists"
    absent = policy_arn + "-absent"
    assert code_of(aws.iam.get_role, RoleName="absent") == "NoSuchEntity"
    assert code_of(aws.iam.get_policy, PolicyArn=absent) == "NoSuchEntity"
    assert code_of(aws.iam.get_policy_version, PolicyArn=policy_arn, VersionId="v9") == "NoSuchEntity"
    assert code_of(aws.iam.delete_role, RoleName="absent") == "NoSuchEntity"
    assert code_of(aws.iam.delete_policy, PolicyArn=absent) == "NoSuchEntity"
    assert code_of(aws.iam.list_attached_role_policies, RoleName="absent") == "NoSuchEntity"
    attachment = {"RoleName": "dlm-role", "PolicyArn": policy_arn}
    assert code_of(aws.iam.detach_role_policy, **attachment) == "NoSuchEntity"
    aws.iam.attach_role_policy(**attachment)
    aws.iam.attach_role_policy(**attachment)
    attached = aws.iam.list_attached_role_policies(RoleName="dlm-role")["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [policy_arn]


def test_attached_things_cannot_be_deleted(aws: Aws, policy_arn: str) -> None:
    aws.role()
    aws.iam.attach_role_policy(RoleName="dlm-role", PolicyArn=policy_arn)
    assert code_of(aws.iam.delete_role, RoleName="dlm-role") == "DeleteConflict"
    assert code_of(aws.iam.delete_policy, PolicyArn=policy_arn) == "DeleteConflict"


def test_a_boundary_is_a_policy_that_exists(aws: Aws, policy_arn: str) -> None:
    new: dict[str, Any] = {"AssumeRolePolicyDocument": json.dumps(TRUST)}
    absent = {"PermissionsBoundary": policy_arn + "-absent"}
    assert code_of(aws.iam.create_role, RoleName="r", **new, **absent) == "NoSuchEntity"
    assert code_of(aws.iam.get_role, RoleName="r") == "NoSuchEntity"
    aws.iam.create_role(RoleName="r", **new, PermissionsBoundary=policy_arn)

    def boundary_of(role: str) -> str:
        return aws.iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"]

    assert boundary_of("r") == policy_arn
    assert aws.iam.get_policy(PolicyArn=policy_arn)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    assert code_of(aws.iam.delete_policy, PolicyArn=policy_arn) == "DeleteConflict"

    aws.iam.create_role(RoleName="s", **new)
    assert "PermissionsBoundary" not in aws.iam.get_role(RoleName="s")["Role"]
    put = aws.iam.put_role_permissions_boundary
    assert code_of(put, RoleName="s", **absent) == "NoSuchEntity"
    put(RoleName="s", PermissionsBoundary=policy_arn)
    assert boundary_of("s") == policy_arn


def test_versions_must_go_before_the_policy(aws: Aws, policy_arn: str) -> None:
    aws.iam.create_policy_version(PolicyArn=policy_arn, PolicyDocument=json.dumps(DOCUMENT))
    assert code_of(aws.iam.delete_policy, PolicyArn=policy_arn) == "DeleteConflict"
    aws.iam.delete_policy_version(PolicyArn=policy_arn, VersionId="v2")
    aws.iam.delete_policy(PolicyArn=policy_arn)


def test_tags_of_roles_and_policies(aws: Aws, policy_arn: str) -> None:
    aws.role()
    aws.iam.tag_role(RoleName="dlm-role", Tags=ROLE_TAGS)
    assert as_dict(aws.iam.get_role(RoleName="dlm-role")["Role"]["Tags"]) == as_dict(ROLE_TAGS)
    assert as_dict(aws.iam.get_policy(PolicyArn=policy_arn)["Policy"]["Tags"]) == as_dict(ROLE_TAGS)
    more = as_list({"CamelCase": "1"})
    aws.iam.tag_policy(PolicyArn=policy_arn, Tags=more)
    tags = as_dict(aws.iam.list_policy_tags(PolicyArn=policy_arn)["Tags"])
    assert tags == {**as_dict(ROLE_TAGS), "CamelCase": "1"}
    aws.iam.untag_policy(PolicyArn=policy_arn, TagKeys=["CamelCase", "managed-by"])
    assert aws.iam.get_policy(PolicyArn=policy_arn)["Policy"].get("Tags", []) == []


def test_malformed_documents_are_refused(aws: Aws) -> None:
    bad = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Maybe"}]})
    assert code_of(aws.iam.create_policy, PolicyName="p", PolicyDocument=bad) == "MalformedPolicyDocument"
    assert (
        code_of(aws.iam.create_role, RoleName="r", AssumeRolePolicyDocument="no") == "MalformedPolicyDocument"
    )
    aws.role()
    update = {"RoleName": "dlm-role", "PolicyDocument": "no"}
    assert code_of(aws.iam.update_assume_role_policy, **update) == "MalformedPolicyDocument"
