"""Terminating instances: the time it takes, what becomes of volumes, protection."""

import time

import pytest

from .fresh_aws import Aws, as_dict, as_list, code_of, until

ROOT = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 48, "DeleteOnTermination": True}}
OTHER = {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 10, "DeleteOnTermination": False}}


def with_volumes(aws: Aws) -> tuple[str, dict[str, str]]:
    """An instance, and its volumes by device: one is to be deleted with it."""
    instance_id = aws.instance(BlockDeviceMappings=[ROOT, OTHER])
    aws.ec2.attach_volume(VolumeId=aws.volume(), InstanceId=instance_id, Device="/dev/xvdu")
    volumes = aws.ec2.describe_volumes()["Volumes"]
    return instance_id, {volume["Attachments"][0]["Device"]: volume["VolumeId"] for volume in volumes}


def states(aws: Aws) -> dict[str, str]:
    return {volume["VolumeId"]: volume["State"] for volume in aws.ec2.describe_volumes()["Volumes"]}


def state_of(aws: Aws, instance_id: str) -> str:
    return aws.described_instance(instance_id)["State"]["Name"]


def terminate(aws: Aws, *instance_ids: str) -> list[tuple[str, str, str]]:
    """Each instance with its state before and after."""
    answer = aws.ec2.terminate_instances(InstanceIds=list(instance_ids))
    return [
        (change["InstanceId"], change["PreviousState"]["Name"], change["CurrentState"]["Name"])
        for change in answer["TerminatingInstances"]
    ]


def protect(aws: Aws, instance_id: str, protected: bool = True) -> None:
    aws.ec2.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": protected})


def is_protected(aws: Aws, instance_id: str) -> bool:
    asked = {"InstanceId": instance_id, "Attribute": "disableApiTermination"}
    return aws.ec2.describe_instance_attribute(**asked)["DisableApiTermination"]["Value"]


def test_by_default_it_takes_no_time(aws: Aws) -> None:
    instance_id, volumes = with_volumes(aws)
    assert terminate(aws, instance_id) == [(instance_id, "running", "shutting-down")]
    assert states(aws) == {volumes["/dev/xvdb"]: "available", volumes["/dev/xvdu"]: "available"}
    assert state_of(aws, instance_id) == "terminated"


def test_volumes_stay_attached_while_it_shuts_down(aws: Aws) -> None:
    aws.post("settings", {"instance_terminating_seconds": 90.0})
    instance_id, volumes = with_volumes(aws)
    assert terminate(aws, instance_id) == [(instance_id, "running", "shutting-down")]
    aws.post("clock", {"advance_seconds": 80})
    assert aws.described_instance(instance_id)["State"] == {"Code": 32, "Name": "shutting-down"}
    assert states(aws) == dict.fromkeys(volumes.values(), "in-use")
    assert code_of(aws.ec2.delete_volume, VolumeId=volumes["/dev/xvdu"]) == "VolumeInUse"
    aws.post("clock", {"advance_seconds": 11})
    # Volumes are read first: whatever asks first finds it over.
    assert states(aws) == {volumes["/dev/xvdb"]: "available", volumes["/dev/xvdu"]: "available"}
    assert aws.described_volume(volumes["/dev/xvdu"])["Attachments"] == []
    assert aws.described_instance(instance_id)["State"] == {"Code": 48, "Name": "terminated"}


def test_a_stopwatch_ends_it_too(aws: Aws) -> None:
    aws.post("settings", {"instance_terminating_seconds": 2})
    instance_id, volumes = with_volumes(aws)
    began = time.monotonic()
    terminate(aws, instance_id)
    assert states(aws)[volumes["/dev/xvdu"]] == "in-use"
    until(lambda: states(aws)[volumes["/dev/xvdu"]] == "available")
    assert time.monotonic() - began >= 2


def test_control_requests_find_it_over_as_well(aws: Aws) -> None:
    aws.post("settings", {"instance_terminating_seconds": 90.0})
    instance_id, volumes = with_volumes(aws)
    terminate(aws, instance_id)
    aws.post("clock", {"advance_seconds": 91})
    assert "does not exist" in aws.refused(f"ec2/volumes/{volumes['/dev/xvda']}", {"state": "error"})


def test_the_state_is_a_filter(aws: Aws) -> None:
    aws.post("settings", {"instance_terminating_seconds": 90.0})
    running, leaving = aws.instance(), aws.instance()
    terminate(aws, leaving)
    assert aws.instances_in("running") == [running]
    assert aws.instances_in("shutting-down") == [leaving]
    assert aws.instances_in("running", "shutting-down") == [running, leaving]
    assert aws.instances_in("terminated") == []
    aws.post("clock", {"advance_seconds": 91})
    assert aws.instances_in("shutting-down") == []
    assert aws.instances_in("terminated") == [leaving]


def test_terminating_again_changes_nothing(aws: Aws) -> None:
    aws.post("settings", {"instance_terminating_seconds": 90.0})
    instance_id, volumes = with_volumes(aws)
    terminate(aws, instance_id)
    aws.post("clock", {"advance_seconds": 60})
    # Nor is it refused, whatever holds by then.
    protect(aws, instance_id)
    assert terminate(aws, instance_id) == [(instance_id, "shutting-down", "shutting-down")]
    aws.post("clock", {"advance_seconds": 31})
    assert states(aws)[volumes["/dev/xvdu"]] == "available"
    # The volume is at another instance now, which a second termination must not touch.
    aws.ec2.attach_volume(VolumeId=volumes["/dev/xvdu"], InstanceId=aws.instance(), Device="/dev/xvdu")
    assert terminate(aws, instance_id) == [(instance_id, "terminated", "terminated")]
    assert state_of(aws, instance_id) == "terminated"
    aws.post("clock", {"advance_seconds": 91})
    assert state_of(aws, instance_id) == "terminated"
    assert states(aws)[volumes["/dev/xvdu"]] == "in-use"


def test_several_at_once(aws: Aws) -> None:
    one, other, kept = aws.instance(), aws.instance(), aws.instance()
    assert [change[0] for change in terminate(aws, one, other)] == [one, other]
    assert [state_of(aws, id) for id in (one, other, kept)] == ["terminated", "terminated", "running"]
    unknown = "i-0123456789abcdef0"
    assert code_of(aws.ec2.terminate_instances, InstanceIds=[kept, unknown]) == "InvalidInstanceID.NotFound"
    assert state_of(aws, kept) == "running"


def test_a_protected_instance_keeps_those_of_its_zone_from_being_terminated(aws: Aws) -> None:
    before, protected, after = aws.instance(), aws.instance(), aws.instance()
    elsewhere = aws.instance("b")
    assert not is_protected(aws, protected)
    protect(aws, protected)
    assert is_protected(aws, protected)
    ids = [before, protected, after]
    named = [*ids, elsewhere]
    assert code_of(aws.ec2.terminate_instances, InstanceIds=named) == "OperationNotPermitted"
    assert [state_of(aws, id) for id in ids] == ["running"] * 3
    assert state_of(aws, elsewhere) == "terminated"
    protect(aws, protected, False)
    assert not is_protected(aws, protected)
    terminate(aws, *ids)
    assert [state_of(aws, id) for id in ids] == ["terminated"] * 3


def test_protection_of_an_unknown_instance(aws: Aws) -> None:
    unknown = {"InstanceId": "i-0123456789abcdef0"}
    asked = {**unknown, "Attribute": "disableApiTermination"}
    assert code_of(aws.ec2.describe_instance_attribute, **asked) == "InvalidInstanceID.NotFound"
    change = {**unknown, "DisableApiTermination": {"Value": True}}
    assert code_of(aws.ec2.modify_instance_attribute, **change) == "InvalidInstanceID.NotFound"


def test_instances_of_groups_can_be_protected(aws: Aws) -> None:
    (instance_id,) = aws.group()
    protect(aws, instance_id)
    assert is_protected(aws, instance_id)
    assert code_of(aws.ec2.terminate_instances, InstanceIds=[instance_id]) == "OperationNotPermitted"
    assert [member["InstanceId"] for member in aws.described_group()["Instances"]] == [instance_id]


@pytest.mark.parametrize("seconds", [0.0, 90.0])
def test_auto_scaling_terminates_protected_instances(aws: Aws, seconds: float) -> None:
    aws.post("settings", {"instance_terminating_seconds": seconds})
    (instance_id,) = aws.group()
    protect(aws, instance_id)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="master-a", DesiredCapacity=0)
    assert state_of(aws, instance_id) == ("shutting-down" if seconds else "terminated")


def test_an_instance_of_a_group_as_it_is_described(aws: Aws) -> None:
    aws.post("settings", {"instance_terminating_seconds": 90.0})
    (instance_id,) = aws.group("master-b", "b", tags={"k8s.io/role/master": "1"})
    aws.ec2.create_tags(Resources=[instance_id], Tags=as_list({"Name": "master"}))
    terminate(aws, instance_id)
    instance = aws.described_instance(instance_id)
    tags = as_dict(instance["Tags"])
    assert tags["aws:autoscaling:groupName"] == "master-b"
    assert (tags["k8s.io/role/master"], tags["Name"]) == ("1", "master")
    assert instance["Placement"]["AvailabilityZone"] == "eu-west-2b"
    assert instance["State"]["Name"] == "shutting-down"
    asked = [{"Name": "tag:aws:autoscaling:groupName", "Values": ["master-b"]}]
    (reservation,) = aws.ec2.describe_instances(Filters=asked)["Reservations"]
    assert [found["InstanceId"] for found in reservation["Instances"]] == [instance_id]


def test_a_reset_forgets_what_is_under_way(aws: Aws) -> None:
    aws.post("settings", {"instance_terminating_seconds": 90.0})
    (instance_id,) = aws.group()
    terminate(aws, instance_id)
    aws.post("reset")
    aws.group()
    assert len(aws.ec2.describe_instances()["Reservations"]) == 1
