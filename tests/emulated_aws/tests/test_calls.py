"""The log of calls."""

from concurrent.futures import ThreadPoolExecutor

from .fresh_aws import Aws, code_of, has_come, until


def test_a_call_is_logged_whole(aws: Aws) -> None:
    answer = aws.ec2.create_tags(Resources=[aws.volume()], Tags=[{"Key": "k", "Value": "v"}])
    created, tagged = aws.get("calls")["calls"]
    assert created["parameters"]["AvailabilityZone"] == "eu-west-2a"
    assert tagged["service"] == "ec2"
    assert tagged["operation"] == "CreateTags"
    assert tagged["write"] is True
    assert tagged["parameters"]["Tags"] == [{"Key": "k", "Value": "v"}]
    assert (tagged["status"], tagged["error_code"], tagged["n"]) == (200, None, 2)
    assert tagged["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert tagged["at"].endswith("Z")


def test_it_is_logged_which_attempt_a_call_is(aws: Aws) -> None:
    throttled = {"kind": "error", "code": "RequestLimitExceeded", "status": 503}
    aws.post("faults", {"operation": "DescribeVolumes", "fault": throttled, "count": 2})
    aws.client("ec2", attempts=5).describe_volumes()
    aws.client("ec2", attempts=5).describe_volumes()
    assert [call["attempt"] for call in aws.get("calls")["calls"]] == [1, 2, 3, 1]


def test_reads_and_writes(aws: Aws) -> None:
    aws.role()
    aws.iam.get_role(RoleName="dlm-role")
    aws.iam.list_roles()
    aws.dlm.get_lifecycle_policies()
    aws.client("sts").get_caller_identity()
    aws.client("sns").create_topic(Name="t")
    logged = [(call["service"], call["operation"], call["write"]) for call in aws.get("calls")["calls"]]
    assert logged == [
        ("iam", "CreateRole", True),
        ("iam", "GetRole", False),
        ("iam", "ListRoles", False),
        ("dlm", "GetLifecyclePolicies", False),
        ("sts", "GetCallerIdentity", False),
        ("sns", "CreateTopic", True),
    ]


def test_errors_are_logged_by_code(aws: Aws) -> None:
    code_of(aws.ec2.delete_volume, VolumeId="vol-0123456789abcdef0")
    code_of(aws.iam.get_role, RoleName="absent")
    code_of(aws.dlm.get_lifecycle_policy, PolicyId="policy-0")
    logged = [(call["status"], call["error_code"]) for call in aws.get("calls")["calls"]]
    assert logged == [
        (400, "InvalidVolume.NotFound"),
        (404, "NoSuchEntity"),
        (404, "ResourceNotFoundException"),
    ]
    aws.delete("calls")
    assert aws.get("calls")["calls"] == []


def test_parameters_of_paths_are_logged(aws: Aws) -> None:
    code_of(aws.dlm.delete_lifecycle_policy, PolicyId="policy-0abc")
    (call,) = aws.get("calls")["calls"]
    assert call["parameters"]["PolicyId"] == "policy-0abc"


def test_concurrent_calls_lose_nothing(aws: Aws) -> None:
    ec2 = aws.ec2
    with ThreadPoolExecutor(8) as threads:
        made = list(
            threads.map(lambda n: ec2.create_volume(AvailabilityZone="eu-west-2a", Size=1 + n), range(60))
        )
    assert len({volume["VolumeId"] for volume in made}) == 60
    assert len(ec2.describe_volumes()["Volumes"]) == 60
    assert aws.operations().count("CreateVolume") == 60


def test_it_is_logged_what_a_call_waited_for(aws: Aws) -> None:
    delay = {"kind": "delay", "seconds": 1}
    aws.post("faults", [{"operation": "DescribeVolumes", "fault": delay}])
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(aws.ec2.describe_volumes)
        until(lambda: has_come(aws))
        aws.ec2.describe_snapshots()
        slow.result()
    aws.ec2.describe_snapshots()
    logged = [
        (call["operation"], call["began_after"], call["n"]) for call in aws.get("calls")["calls"]
    ]
    assert logged == [
        ("DescribeSnapshots", 0, 1),
        ("DescribeVolumes", 0, 2),
        ("DescribeSnapshots", 2, 3),
    ]


def test_a_service_without_emulation_does_not_break_the_server(aws: Aws) -> None:
    code_of(aws.ec2.describe_volume_status)
    aws.ec2.describe_volumes()
