"""Identity policies in force: what is denied, how, and what is told of it afterwards."""

import pytest
import requests

from .fresh_aws import WAIT_MAX_SECONDS, Aws, as_list, code_of
from .restricted import ACCOUNT, DLM, EC2, IAM, KEY, SNAPSHOTS, Function, allow, deny, failure_of


def test_only_the_key_is_restricted_and_only_until_lifted(aws: Aws, function: Function) -> None:
    function.ec2.describe_volumes()
    function.may()
    assert code_of(function.ec2.describe_volumes) == "UnauthorizedOperation"
    aws.ec2.describe_volumes()
    function.may(allow("ec2:DescribeVolumes"))
    function.ec2.describe_volumes()
    assert code_of(function.ec2.describe_snapshots) == "UnauthorizedOperation"
    aws.delete("iam/enforce")
    function.ec2.describe_snapshots()


def test_documents_are_joined_and_a_deny_wins(aws: Aws, function: Function) -> None:
    one = {"Statement": [allow("ec2:DescribeVolumes")]}
    other = {"Statement": [allow("ec2:DescribeSnapshots")]}
    aws.post("iam/enforce", {"access_key_id": KEY, "policies": [one, other]})
    function.ec2.describe_volumes()
    function.ec2.describe_snapshots()
    function.may(deny("ec2:DescribeV*"), allow())
    function.ec2.describe_snapshots()
    message = failure_of(function.ec2.describe_volumes)["Error"]["Message"]
    assert "explicit deny" in message
    assert aws.get("iam/used")["denied"][0]["action"] == "ec2:DescribeVolumes"


def test_a_denied_call_does_nothing_and_is_logged(aws: Aws, function: Function) -> None:
    volume_id = aws.volume(tags={"k8s.io/etcd/main": "a/a"})
    function.may(allow("ec2:CreateTags"))
    function.ec2.create_tags(Resources=[volume_id], Tags=as_list({"a": "1"}))
    states = aws.get("candidates")["states"]
    removal = {"Resources": [volume_id], "Tags": as_list({"a": "1"})}
    answer = failure_of(function.ec2.delete_tags, **removal)
    assert len(aws.described_volume(volume_id)["Tags"]) == 2
    logged = aws.get("calls")["calls"][2]
    assert (logged["operation"], logged["status"]) == ("DeleteTags", 403)
    assert (logged["error_code"], logged["fault"]) == ("UnauthorizedOperation", None)
    assert logged["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert logged["parameters"]["Resources"] == [volume_id]
    assert aws.get("candidates")["states"] == states


@pytest.mark.parametrize(
    ("service", "call", "parameters", "code", "action", "resource"),
    [
        (
            "ec2",
            "terminate_instances",
            {"InstanceIds": ["i-0123456789abcdef0"]},
            "UnauthorizedOperation",
            "ec2:TerminateInstances",
            f"{EC2}:instance/i-0123456789abcdef0",
        ),
        ("iam", "get_role", {"RoleName": "r"}, "AccessDenied", "iam:GetRole", f"{IAM}:role/r"),
        (
            "autoscaling",
            "describe_auto_scaling_groups",
            {},
            "AccessDenied",
            "autoscaling:DescribeAutoScalingGroups",
            "*",
        ),
        (
            "dlm",
            "get_lifecycle_policy",
            {"PolicyId": "policy-0abc"},
            "AccessDeniedException",
            "dlm:GetLifecyclePolicy",
            f"{DLM}/policy-0abc",
        ),
        (
            "sns",
            "publish",
            {"TopicArn": f"arn:aws:sns:eu-west-2:{ACCOUNT}:t", "Message": "m"},
            "AuthorizationError",
            "sns:Publish",
            f"arn:aws:sns:eu-west-2:{ACCOUNT}:t",
        ),
        (
            "ebs",
            "list_snapshot_blocks",
            {"SnapshotId": "snap-0123456789abcdef0"},
            "AccessDeniedException",
            "ebs:ListSnapshotBlocks",
            f"{SNAPSHOTS}/snap-0123456789abcdef0",
        ),
    ],
)
def test_denials_are_those_of_the_service(
    aws: Aws,
    function: Function,
    service: str,
    call: str,
    parameters: dict,
    code: str,
    action: str,
    resource: str,
) -> None:
    function.may(allow("sqs:*"))
    answer = failure_of(getattr(function.client(service), call), **parameters)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert answer["Error"]["Code"] == code
    user = f"User: arn:aws:sts::{ACCOUNT}:assumed-role/emulated/{KEY}"
    because = f"because no identity-based policy allows the {action} action"
    text = f"{user} is not authorized to perform: {action} on resource: {resource} {because}"
    prefix = "You are not authorized to perform this operation. " if service == "ec2" else ""
    assert answer["Error"]["Message"] == prefix + text
    operation = action.partition(":")[2]
    denied = {"access_key_id": KEY, "action": action, "resource": resource, "operation": operation}
    assert aws.get("iam/used") == {"used": [], "denied": [denied]}


def test_a_call_without_a_rule_is_denied_loudly(aws: Aws, function: Function) -> None:
    volume_id = aws.volume()
    function.may(allow())
    answer = failure_of(function.ec2.delete_volume, VolumeId=volume_id)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert answer["Error"]["Code"] == "InternalError"
    assert "there is no rule for ec2:DeleteVolume" in answer["Error"]["Message"]
    assert aws.described_volume(volume_id)["State"] == "available"
    template = {"LaunchTemplateName": "t", "LaunchTemplateData": {"ImageId": "ami-12345678"}}
    template_id = aws.ec2.create_launch_template(**template)["LaunchTemplate"]["LaunchTemplateId"]
    tags = {"Resources": [template_id], "Tags": as_list({"a": "1"})}
    assert code_of(function.ec2.create_tags, **tags) == "InternalError"
    assert code_of(function.client("sts").get_caller_identity) == "InternalError"
    denied = [(one["action"], one["resource"]) for one in aws.get("iam/used")["denied"]]
    assert denied == [("ec2:DeleteVolume", None), ("ec2:CreateTags", None), ("sts:GetCallerIdentity", None)]


def test_all_or_nothing_where_a_call_needs_several(aws: Aws, function: Function) -> None:
    mine, other = aws.volume(tags={"mine": "1"}), aws.volume()
    function.may(allow("ec2:CreateTags", StringEquals={"aws:ResourceTag/mine": "1"}))
    tags = as_list({"a": "1"})
    function.ec2.create_tags(Resources=[mine], Tags=tags)
    aws.delete("iam/used")
    more = {"Resources": [mine, other], "Tags": as_list({"b": "2"})}
    assert code_of(function.ec2.create_tags, **more) == "UnauthorizedOperation"
    assert aws.described_volume(mine)["Tags"] == as_list({"mine": "1", "a": "1"})
    # What alone would have been allowed was of no use.
    told = aws.get("iam/used")
    assert told["used"] == []
    assert [one["resource"] for one in told["denied"]] == [f"{EC2}:volume/{other}"]


def test_the_statements_that_were_used(aws: Aws, function: Function) -> None:
    look = {**allow("ec2:DescribeVolumes"), "Sid": "Look"}
    look_too = {**allow("ec2:Describe*"), "Sid": "LookToo"}
    never = {**allow("ec2:DeleteVolume"), "Sid": "Never"}
    function.may(look, look_too, never, allow("iam:ListPolicies"))
    for _ in range(2):
        function.ec2.describe_volumes()
        function.iam.list_policies()
        code_of(function.ec2.terminate_instances, InstanceIds=["i-1"])
    aws.ec2.describe_snapshots()
    told = aws.get("iam/used")
    volumes = {"access_key_id": KEY, "action": "ec2:DescribeVolumes", "resource": "*"}
    assert told["used"] == [
        {**volumes, "sid": "Look"},
        {**volumes, "sid": "LookToo"},
        {"access_key_id": KEY, "sid": None, "action": "iam:ListPolicies", "resource": "*"},
    ]
    assert len(told["denied"]) == 1
    aws.delete("iam/enforce")
    assert aws.get("iam/used") == told
    assert aws.delete("iam/used") == {"ok": True}
    assert aws.get("iam/used") == {"used": [], "denied": []}


def test_planted_faults_come_first(aws: Aws, function: Function) -> None:
    function.may()
    throttled = {"kind": "error", "code": "RequestLimitExceeded", "status": 503}
    aws.post("faults", {"operation": "DescribeVolumes", "fault": throttled})
    assert code_of(function.ec2.describe_volumes) == "RequestLimitExceeded"
    assert aws.get("iam/used")["denied"] == []
    assert code_of(function.ec2.describe_volumes) == "UnauthorizedOperation"


def test_a_copy_has_the_restrictions_and_its_own_from_then_on(aws: Aws, function: Function) -> None:
    function.may(allow("ec2:DescribeVolumes"))
    function.ec2.describe_volumes()
    copy = Function(Aws(aws.post("fork")["endpoint"]))
    try:
        assert copy.get("iam/used") == aws.get("iam/used")
        assert code_of(copy.ec2.describe_snapshots) == "UnauthorizedOperation"
        assert aws.get("iam/used")["denied"] == []
        aws.delete("iam/enforce")
        assert code_of(copy.ec2.describe_snapshots) == "UnauthorizedOperation"
    finally:
        copy.post("stop")


def test_a_reset_lifts_and_forgets(aws: Aws, function: Function) -> None:
    function.may()
    code_of(function.ec2.describe_volumes)
    aws.post("reset")
    assert aws.get("iam/used") == {"used": [], "denied": []}
    function.ec2.describe_volumes()


def test_a_bad_request_changes_nothing(aws: Aws, function: Function) -> None:
    function.may(allow("ec2:DescribeVolumes"))
    good, bad = {"Statement": [allow()]}, {"Statement": [{**allow(), "NotAction": "*"}]}
    for request in [
        {"access_key_id": KEY},
        {"policies": []},
        {"access_key_id": "", "policies": []},
        {"access_key_id": 1, "policies": []},
        {"access_key_id": KEY, "policies": good},
        {"access_key_id": KEY, "policies": [good, bad]},
        {"access_key_id": KEY, "policies": [], "region": "x"},
        {"access_key_id": KEY, "policies": [{"Statement": [deny(IpAddress={"aws:SourceIp": "::"})]}]},
    ]:
        assert aws.refused("iam/enforce", request)
    assert code_of(function.ec2.describe_snapshots) == "UnauthorizedOperation"
    function.ec2.describe_volumes()


def test_a_part_of_a_policy_that_is_given_twice_is_refused(aws: Aws) -> None:
    twice = '{"StringEquals": {"ec2:Owner": "1"}, "StringEquals": {"ec2:Owner": "2"}}'
    statement = f'{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {twice}}}'
    body = f'{{"access_key_id": "{KEY}", "policies": [{{"Statement": [{statement}]}}]}}'
    answer = requests.post(f"{aws.endpoint}/emulator/iam/enforce", data=body, timeout=WAIT_MAX_SECONDS)
    assert answer.status_code == 400
    assert "twice" in answer.json()["error"]


def test_authorization_lags_behind_a_tag_that_was_written(aws: Aws, function: Function) -> None:
    aws.post("settings", {"authorization_lag_seconds": 15.0})
    volume = aws.volume()
    aws.post("clock", {"advance_seconds": 16})
    tag = [{"Key": "retired-by", "Value": "r-1"}]

    def untag() -> None:
        function.ec2.delete_tags(Resources=[volume], Tags=tag)

    may = [allow("ec2:CreateTags"), allow("ec2:DeleteTags", Null={"aws:ResourceTag/retired-by": "false"})]
    function.may(*may)
    function.ec2.create_tags(Resources=[volume], Tags=tag)
    assert not function.is_let(untag, *may)
    aws.post("clock", {"advance_seconds": 16})
    assert function.is_let(untag, *may)
