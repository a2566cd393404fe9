"""Planted failures, as the SDK of the caller sees them."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from .fresh_aws import Aws, code_of, has_come, until
from .test_dlm import policy_request

THROTTLED = {"kind": "error", "code": "RequestLimitExceeded", "status": 503, "message": "Slow down."}
NEW_VOLUME = {"AvailabilityZone": "eu-west-2a", "Size": 20}


def plant(aws: Aws, operation: str, fault: dict[str, Any], **more: Any) -> None:
    aws.post("faults", {"operation": operation, "fault": fault, **more})


@pytest.mark.parametrize(
    ("service", "call", "parameters"),
    [
        ("ec2", "describe_volumes", {}),
        ("iam", "list_roles", {}),
        ("sns", "list_topics", {}),
        ("autoscaling", "describe_auto_scaling_groups", {}),
        ("sts", "get_caller_identity", {}),
        ("dlm", "get_lifecycle_policies", {}),
        ("sqs", "list_queues", {}),
    ],
)
def test_errors_speak_the_protocol_of_the_service(
    aws: Aws, service: str, call: str, parameters: dict
) -> None:
    plant(aws, "*", THROTTLED, service=service)
    with pytest.raises(ClientError) as failure:
        getattr(aws.client(service), call)(**parameters)
    answer = failure.value.response
    assert answer["Error"]["Code"] == "RequestLimitExceeded"
    assert answer["Error"]["Message"] == "Slow down."
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 503
    (logged,) = aws.get("calls")["calls"]
    assert logged["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert (logged["status"], logged["error_code"], logged["fault"]) == (503, "RequestLimitExceeded", "error")
    getattr(aws.client(service), call)(**parameters)


def test_an_error_leaves_the_work_undone(aws: Aws) -> None:
    plant(aws, "CreateVolume", THROTTLED, service="ec2")
    assert code_of(aws.ec2.create_volume, **NEW_VOLUME) == "RequestLimitExceeded"
    assert aws.ec2.describe_volumes()["Volumes"] == []


def test_a_modelled_error_is_an_exception_of_the_client(aws: Aws) -> None:
    fault = {"kind": "error", "code": "InternalServerException", "status": 500, "message": "Oops."}
    plant(aws, "GetLifecyclePolicies", fault, service="dlm")
    with pytest.raises(aws.dlm.exceptions.InternalServerException, match="Oops"):
        aws.dlm.get_lifecycle_policies()


def test_a_lost_answer_comes_after_the_work(aws: Aws) -> None:
    plant(aws, "CreateVolume", {"kind": "drop_answer"})
    with pytest.raises(ConnectionClosedError):
        aws.ec2.create_volume(**NEW_VOLUME)
    assert len(aws.ec2.describe_volumes()["Volumes"]) == 1
    lost = aws.get("calls")["calls"][0]
    assert (lost["operation"], lost["status"], lost["fault"]) == ("CreateVolume", None, "drop_answer")


def test_a_lost_request_does_no_work(aws: Aws) -> None:
    plant(aws, "CreateVolume", {"kind": "drop_request"})
    with pytest.raises(ConnectionClosedError):
        aws.ec2.create_volume(**NEW_VOLUME)
    assert aws.ec2.describe_volumes()["Volumes"] == []


def test_a_retry_with_the_token_finds_the_volume(aws: Aws) -> None:
    plant(aws, "CreateVolume", {"kind": "drop_answer"})
    aws.client("ec2", attempts=3).create_volume(**NEW_VOLUME, ClientToken="once")
    assert len(aws.ec2.describe_volumes()["Volumes"]) == 1
    assert aws.operations().count("CreateVolume") == 2


def test_a_retry_without_a_token_makes_two_policies(aws: Aws) -> None:
    aws.role()
    plant(aws, "CreateLifecyclePolicy", {"kind": "drop_answer"})
    aws.client("dlm", attempts=3).create_lifecycle_policy(**policy_request())
    assert len(aws.dlm.get_lifecycle_policies()["Policies"]) == 2


def test_a_delay_does_not_hold_up_others(aws: Aws) -> None:
    plant(aws, "DescribeVolumes", {"kind": "delay", "seconds": 1.0})
    import threading

    slow = threading.Thread(target=aws.ec2.describe_volumes)
    began = time.monotonic()
    slow.start()
    until(lambda: has_come(aws))
    aws.ec2.describe_snapshots()
    slow.join()
    assert time.monotonic() - began >= 1.0
    assert aws.operations() == ["DescribeSnapshots", "DescribeVolumes"]


def test_the_nth_call_and_how_many(aws: Aws) -> None:
    aws.ec2.describe_volumes()
    plant(aws, "DescribeVolumes", THROTTLED, nth=2, count=2)

    def outcome() -> str:
        try:
            aws.ec2.describe_volumes()
        except ClientError:
            return "refused"
        return "served"

    assert [outcome() for _ in range(5)] == ["served", "refused", "refused", "served", "served"]


def test_for_ever_until_cleared(aws: Aws) -> None:
    plant(aws, "*", THROTTLED, count=-1)
    for _ in range(3):
        assert code_of(aws.ec2.describe_volumes) == "RequestLimitExceeded"
    (rule,) = aws.get("faults")["faults"]
    assert (rule["calls_seen"], rule["count"]) == (3, -1)
    aws.delete("faults")
    aws.ec2.describe_volumes()


def test_several_at_once_or_none(aws: Aws) -> None:
    good = {"operation": "DescribeVolumes", "fault": THROTTLED}
    for bad in (
        {"operation": "X"},
        {"operation": "X", "fault": {"kind": "flood"}},
        {**good, "colour": 1},
        {**good, "nth": 0},
        {**good, "count": 0},
    ):
        aws.refused("faults", [good, bad])
    assert aws.get("faults")["faults"] == []
    assert len(aws.post("faults", [good, good])["faults"]) == 2
