"""Lifecycle Manager's operations."""

import copy
from typing import Any

import pytest

from .fresh_aws import TRUST, Aws, code_of

ROLE_ARN = "arn:aws:iam::123456789012:role/dlm-role"


def policy_request(**details: Any) -> dict[str, Any]:
    schedule = {
        "Name": "Daily 2 week etcd snapshots",
        "CopyTags": True,
        "TagsToAdd": [{"Key": "SnapshotCreator", "Value": "DLM"}],
        "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["06:00"]},
        "RetainRule": {"Count": 14},
    }
    return {
        "ExecutionRoleArn": ROLE_ARN,
        "Description": "etcd data lifecycle policy",
        "State": "ENABLED",
        "PolicyDetails": {
            "ResourceTypes": ["VOLUME"],
            "TargetTags": [{"Key": "k8s.io/role/master", "Value": "1"}],
            "Schedules": [schedule],
            **details,
        },
        "Tags": {"managed-by": "etcd-backup"},
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The request with one thing broken; a value of None takes it away."""
    request = copy.deepcopy(policy_request())
    holder: Any = request
    *parents, last = path.split("/")
    for name in parents:
        holder = holder[int(name) if name.isdigit() else name]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return request


@pytest.fixture
def lenient(aws: Aws) -> Any:
    """A client that does not check parameters itself."""
    import boto3
    from botocore.config import Config

    aws.role()
    return boto3.client(
        "dlm",
        endpoint_url=aws.endpoint,
        region_name="eu-west-2",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )


def test_a_policy_comes_back_with_defaults(aws: Aws) -> None:
    aws.role()
    policy_id = aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]
    policy = aws.dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]
    assert policy["PolicyArn"] == f"arn:aws:dlm:eu-west-2:123456789012:policy/{policy_id}"
    assert (policy["State"], policy["StatusMessage"]) == ("ENABLED", "ENABLED")
    assert policy["ExecutionRoleArn"] == ROLE_ARN
    assert policy["Tags"] == {"managed-by": "etcd-backup"}
    assert policy["DateCreated"] == policy["DateModified"]
    details = policy["PolicyDetails"]
    assert details["PolicyType"] == "EBS_SNAPSHOT_MANAGEMENT"
    assert details["ResourceLocations"] == ["CLOUD"]
    wanted = policy_request()["PolicyDetails"]["Schedules"][0]
    wanted["CreateRule"]["Location"] = "CLOUD"
    assert details["Schedules"] == [{**wanted, "VariableTags": []}]


SCHEDULE = "PolicyDetails/Schedules/0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Description", None),
        ("Description", "not (allowed)"),
        ("Description", "x" * 501),
        ("State", "ERROR"),
        ("ExecutionRoleArn", "nonsense"),
        ("ExecutionRoleArn", "arn:aws:iam::123456789012:role/absent"),
        ("PolicyDetails", None),
        ("PolicyDetails/TargetTags", None),
        ("PolicyDetails/TargetTags", []),
        ("PolicyDetails/ResourceTypes", ["DISK"]),
        ("PolicyDetails/Schedules", []),
        (f"{SCHEDULE}/Name", None),
        (f"{SCHEDULE}/Name", "x" * 121),
        (f"{SCHEDULE}/Name", "a/b"),
        (f"{SCHEDULE}/CopyTags", "yes"),
        (f"{SCHEDULE}/CreateRule", None),
        (f"{SCHEDULE}/CreateRule/Interval", 5),
        (f"{SCHEDULE}/CreateRule/Interval", None),
        (f"{SCHEDULE}/CreateRule/IntervalUnit", "DAYS"),
        (f"{SCHEDULE}/CreateRule/Times", ["06:00", "18:00"]),
        (f"{SCHEDULE}/CreateRule/Times", []),
        (f"{SCHEDULE}/CreateRule/Times", ["6:00"]),
        (f"{SCHEDULE}/CreateRule/Times", ["24:00"]),
        (f"{SCHEDULE}/CreateRule/CronExpression", "cron(0 6 * * ? *)"),
        (f"{SCHEDULE}/RetainRule", None),
        (f"{SCHEDULE}/RetainRule", {"Count": 0}),
        (f"{SCHEDULE}/RetainRule", {"Count": 1001}),
        (f"{SCHEDULE}/RetainRule", {"Count": 14, "Interval": 14, "IntervalUnit": "DAYS"}),
        (f"{SCHEDULE}/TagsToAdd", [{"Key": f"k{n}", "Value": ""} for n in range(46)]),
        (f"{SCHEDULE}/TagsToAdd", [{"Key": "aws:x", "Value": ""}]),
        (f"{SCHEDULE}/TagsToAdd", [{"Key": "x"}]),
        ("Tags", {}),
        ("Tags", {"aws:x": "1"}),
    ],
)
def test_refused_policies(lenient: Any, path: str, value: Any) -> None:
    assert code_of(lenient.create_lifecycle_policy, **changed(path, value)) == "InvalidRequestException"
    assert lenient.get_lifecycle_policies()["Policies"] == []


def schedules(*names: str) -> list[dict[str, Any]]:
    schedule = policy_request()["PolicyDetails"]["Schedules"][0]
    return [{**schedule, "Name": name} for name in names]


def test_at_most_four_schedules_of_different_names(lenient: Any) -> None:
    lenient.create_lifecycle_policy(**policy_request(Schedules=schedules("a", "b", "c", "d")))
    for names in (["a", "a"], ["a", "b", "c", "d", "e"]):
        request = policy_request(Schedules=schedules(*names))
        assert code_of(lenient.create_lifecycle_policy, **request) == "InvalidRequestException"


def test_the_role_must_exist_and_trust_dlm(aws: Aws) -> None:
    create = aws.dlm.create_lifecycle_policy
    assert code_of(create, **policy_request()) == "InvalidRequestException"
    statement = {**TRUST["Statement"][0], "Principal": {"Service": "ec2.amazonaws.com"}}
    aws.role(trust={**TRUST, "Statement": [statement]})
    assert code_of(create, **policy_request()) == "InvalidRequestException"


def test_a_new_role_may_not_be_assumable_yet(aws: Aws) -> None:
    aws.post("settings", {"role_assumable_after_seconds": 10})
    aws.role()
    with pytest.raises(aws.dlm.exceptions.InvalidRequestException, match="cannot be assumed by DLM"):
        aws.dlm.create_lifecycle_policy(**policy_request())
    aws.post("clock", {"advance_seconds": 10})
    aws.dlm.create_lifecycle_policy(**policy_request())


def test_at_most_a_hundred_policies(aws: Aws) -> None:
    aws.role()
    for _ in range(100):
        aws.dlm.create_lifecycle_policy(**policy_request())
    assert code_of(aws.dlm.create_lifecycle_policy, **policy_request()) == "LimitExceededException"
    assert len(aws.dlm.get_lifecycle_policies()["Policies"]) == 100


def test_an_update_replaces_what_is_given(aws: Aws) -> None:
    aws.role()
    policy_id = aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]
    before = aws.dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]
    aws.post("clock", {"advance_seconds": 60})
    aws.dlm.update_lifecycle_policy(PolicyId=policy_id, State="DISABLED")
    after = aws.dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]
    assert after["DateModified"] > before["DateModified"]
    assert (after["State"], after["StatusMessage"]) == ("DISABLED", "DISABLED")
    assert after["PolicyDetails"] == before["PolicyDetails"]


def test_the_details_are_replaced_as_a_whole(aws: Aws) -> None:
    aws.role()
    share = [{"TargetAccounts": ["999999999999"]}]
    shared = [{**schedules("Daily")[0], "ShareRules": share}]
    request = policy_request(Schedules=shared, Parameters={"ExcludeBootVolume": True})
    policy_id = aws.dlm.create_lifecycle_policy(**request)["PolicyId"]
    update = {"PolicyId": policy_id, "PolicyDetails": policy_request()["PolicyDetails"]}
    refused = pytest.raises(aws.dlm.exceptions.InvalidRequestException, match="Parameters must be named")
    with refused:
        aws.dlm.update_lifecycle_policy(**update)
    update["PolicyDetails"]["Parameters"] = {"ExcludeBootVolume": False}
    aws.dlm.update_lifecycle_policy(**update)
    details = aws.dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]["PolicyDetails"]
    assert [schedule.get("ShareRules") for schedule in details["Schedules"]] == [None]
    assert details["Parameters"] == {"ExcludeBootVolume": False}


def test_refused_updates(lenient: Any) -> None:
    policy_id = lenient.create_lifecycle_policy(**policy_request())["PolicyId"]
    aged = policy_request()["PolicyDetails"]["Schedules"][0]
    aged["RetainRule"] = {"Interval": 14, "IntervalUnit": "DAYS"}
    renamed = {**aged, "Name": "renamed"}
    for change in (
        {"TargetTags": []},
        {"Schedules": [aged]},
        {"Schedules": [renamed]},
        {"Schedules": []},
        {"ResourceTypes": ["INSTANCE"]},
    ):
        request = {"PolicyId": policy_id, "PolicyDetails": policy_request(**change)["PolicyDetails"]}
        assert code_of(lenient.update_lifecycle_policy, **request) == "InvalidRequestException"


def test_unknown_policies(aws: Aws) -> None:
    unknown = {"PolicyId": "policy-0123456789abcdef0"}
    for call in (
        aws.dlm.get_lifecycle_policy,
        aws.dlm.update_lifecycle_policy,
        aws.dlm.delete_lifecycle_policy,
    ):
        with pytest.raises(aws.dlm.exceptions.ResourceNotFoundException) as failure:
            call(**unknown)
        answer = failure.value.response
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert "does not exist" in answer["Error"]["Message"]
        assert answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"State": "ENABLED"}, ["one"]),
        ({"State": "ERROR"}, []),
        ({"ResourceTypes": ["VOLUME"]}, ["one", "two"]),
        ({"TargetTags": ["k8s.io/role/master=1"]}, ["one"]),
        ({"TargetTags": ["other=1"]}, ["two"]),
        ({"TagsToAdd": ["SnapshotCreator=DLM"]}, ["one", "two"]),
        ({"TagsToAdd": ["SnapshotCreator=me"]}, []),
    ],
)
def test_listing_by_filter(aws: Aws, query: dict[str, Any], found: list[str]) -> None:
    aws.role()
    other = policy_request(TargetTags=[{"Key": "other", "Value": "1"}])
    aws.dlm.create_lifecycle_policy(**{**policy_request(), "Description": "one"})
    aws.dlm.create_lifecycle_policy(**{**other, "Description": "two", "State": "DISABLED"})
    policies = aws.dlm.get_lifecycle_policies(**query)["Policies"]
    assert [policy["Description"] for policy in policies] == found


def test_listing_by_id(aws: Aws) -> None:
    aws.role()
    policy_id = aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]
    aws.dlm.create_lifecycle_policy(**policy_request())
    summary = aws.dlm.get_lifecycle_policies(PolicyIds=[policy_id])["Policies"]
    assert summary == [
        {
            "PolicyId": policy_id,
            "Description": "etcd data lifecycle policy",
            "State": "ENABLED",
            "Tags": {"managed-by": "etcd-backup"},
            "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
            "DefaultPolicy": False,
        }
    ]


def test_tags_of_a_policy(aws: Aws) -> None:
    aws.role()
    policy_id = aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]
    arn = aws.dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]["PolicyArn"]
    aws.dlm.tag_resource(
        ResourceArn=arn, Tags={"etcd-backup/schedule-since": "2026-11-22T00:00:00Z", "b": ""}
    )
    aws.dlm.untag_resource(ResourceArn=arn, TagKeys=["managed-by", "b"])
    tags = {"etcd-backup/schedule-since": "2026-11-22T00:00:00Z"}
    assert aws.dlm.list_tags_for_resource(ResourceArn=arn)["Tags"] == tags
    assert aws.dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]["Tags"] == tags
    assert code_of(aws.dlm.list_tags_for_resource, ResourceArn=arn + "0") == "ResourceNotFoundException"


def test_a_policy_forced_into_error(aws: Aws) -> None:
    aws.role()
    policy_id = aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]
    aws.post(f"dlm/policy/{policy_id}", {"state": "ERROR", "status_message": "role is gone"})
    policy = aws.dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]
    assert (policy["State"], policy["StatusMessage"]) == ("ERROR", "role is gone")
    assert "no policy" in aws.refused("dlm/policy/policy-0", {"state": "ERROR"})
