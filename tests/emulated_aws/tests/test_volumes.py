"""Volumes: creation, idempotency, states, limits, listing."""

import time
from typing import Any

import pytest

from .fresh_aws import Aws, as_dict, code_of, until

ZONE = "eu-west-2a"


def test_a_client_token_makes_one_volume(aws: Aws) -> None:
    request = {"AvailabilityZone": ZONE, "Size": 20, "ClientToken": "once"}
    first = aws.ec2.create_volume(**request)
    again = aws.ec2.create_volume(**request)
    assert again["VolumeId"] == first["VolumeId"]
    assert len(aws.ec2.describe_volumes()["Volumes"]) == 1
    assert code_of(aws.ec2.create_volume, **{**request, "Size": 21}) == "IdempotentParameterMismatch"


def test_a_repeated_request_shows_the_volume_as_it_is_now(aws: Aws) -> None:
    request = {"AvailabilityZone": ZONE, "Size": 20, "ClientToken": "once"}
    volume_id = aws.ec2.create_volume(**request)["VolumeId"]
    aws.ec2.create_tags(Resources=[volume_id], Tags=[{"Key": "k", "Value": "v"}])
    again = aws.ec2.create_volume(**request)
    assert again["State"] == "available"
    assert as_dict(again["Tags"]) == {"k": "v"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"AvailabilityZone": "eu-west-2z"}, "InvalidZone.NotFound"),
        ({"AvailabilityZone": "eu-west-1a"}, "InvalidZone.NotFound"),
        ({"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"VolumeType": "gp9"}, "UnknownVolumeType"),
        ({"VolumeType": "gp3", "Iops": 2999}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Iops": 80001, "Size": 1000}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Iops": 20000}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Throughput": 124}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Throughput": 1000}, "InvalidParameterValue"),
        ({"VolumeType": "gp2", "Iops": 3000}, "InvalidParameterCombination"),
        ({"VolumeType": "io1", "Iops": 1000, "Throughput": 125}, "InvalidParameterCombination"),
        ({"VolumeType": "io2"}, "MissingParameter"),
        ({"VolumeType": "st1", "Size": 100}, "InvalidParameterValue"),
        ({"Size": 0}, "InvalidParameterValue"),
        ({"ClientToken": "x" * 65}, "InvalidParameterValue"),
    ],
)
def test_refused_volumes(aws: Aws, changes: dict, code: str) -> None:
    request = {"AvailabilityZone": ZONE, "Size": 20, **changes}
    assert code_of(aws.ec2.create_volume, **request) == code
    assert aws.ec2.describe_volumes()["Volumes"] == []


def test_a_volume_needs_size_or_snapshot(aws: Aws) -> None:
    assert code_of(aws.ec2.create_volume, AvailabilityZone=ZONE) == "MissingParameter"


def test_defaults_by_type(aws: Aws) -> None:
    gp3 = aws.described_volume(aws.volume(VolumeType="gp3"))
    assert (gp3["Iops"], gp3["Throughput"]) == (3000, 125)
    gp2 = aws.described_volume(aws.volume())
    assert (gp2["VolumeType"], gp2["Iops"], "Throughput" in gp2) == ("gp2", 100, False)
    fast = aws.described_volume(aws.volume(size=100, VolumeType="gp3", Iops=16000, Throughput=1000))
    assert (fast["Iops"], fast["Throughput"]) == (16000, 1000)


def test_a_volume_from_a_snapshot(aws: Aws) -> None:
    snapshot_id = aws.snapshot(aws.volume(size=20))
    request = {"AvailabilityZone": ZONE, "SnapshotId": snapshot_id}
    volume = aws.described_volume(aws.ec2.create_volume(**request)["VolumeId"])
    assert (volume["SnapshotId"], volume["Size"]) == (snapshot_id, 20)
    assert code_of(aws.ec2.create_volume, **request, Size=19) == "InvalidParameterValue"
    aws.post(f"ec2/snapshots/{snapshot_id}", {"state": "pending"})
    assert code_of(aws.ec2.create_volume, **request) == "IncorrectState"
    aws.post(f"ec2/snapshots/{snapshot_id}", {"state": "completed", "storage_tier": "archive"})
    assert code_of(aws.ec2.create_volume, **request) == "IncorrectState"


def test_encryption_follows_the_snapshot(aws: Aws) -> None:
    source = aws.described_volume(aws.volume(Encrypted=True))
    snapshot_id = aws.snapshot(source["VolumeId"])
    assert aws.described_snapshot(snapshot_id)["KmsKeyId"] == source["KmsKeyId"]
    restored = aws.ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot_id)
    assert (restored["Encrypted"], restored["KmsKeyId"]) == (True, source["KmsKeyId"])


def test_a_snapshot_planted_as_encrypted_has_a_key(aws: Aws) -> None:
    snapshot_id = aws.snapshot(aws.volume())
    aws.post(f"ec2/snapshots/{snapshot_id}", {"encrypted": True})
    assert "kms" in aws.described_snapshot(snapshot_id)["KmsKeyId"]
    assert aws.ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot_id)["Encrypted"]


def test_creation_takes_time(aws: Aws) -> None:
    aws.post("settings", {"volume_creating_seconds": 2})
    began = time.monotonic()
    volume_id = aws.volume()
    assert aws.described_volume(volume_id)["State"] == "creating"
    until(lambda: aws.described_volume(volume_id)["State"] == "available")
    assert time.monotonic() - began >= 2


def test_creation_ends_when_the_clock_moves(aws: Aws) -> None:
    aws.post("settings", {"volume_creating_seconds": 60})
    volume_id = aws.volume()
    aws.post("clock", {"advance_seconds": 61})
    assert aws.described_volume(volume_id)["State"] == "available"


def test_planted_ends_of_creation(aws: Aws) -> None:
    aws.post("ec2/volumes-end", {"outcome": "error", "nth": 2})
    aws.post("ec2/volumes-end", {"outcome": "creating", "nth": 3})
    states = [aws.described_volume(aws.volume())["State"] for _ in range(4)]
    assert states == ["available", "error", "creating", "available"]


def test_tags_at_creation_are_checked_first(aws: Aws) -> None:
    aws.volume(tags={"Name": "one"})
    with pytest.raises(Exception, match="InvalidParameterValue"):
        aws.volume(tags={"aws:mine": "1"})
    with pytest.raises(Exception, match="TagLimitExceeded"):
        aws.volume(tags={f"k{n}": "" for n in range(51)})
    assert len(aws.ec2.describe_volumes()["Volumes"]) == 1


def test_pages_hold_at_most_the_setting(aws: Aws) -> None:
    aws.post("settings", {"page_size_max": 5})
    made = [aws.volume() for _ in range(12)]
    first = aws.ec2.describe_volumes()
    assert len(first["Volumes"]) == 5
    assert len(aws.ec2.describe_volumes(MaxResults=1000)["Volumes"]) == 5
    pages = list(aws.ec2.get_paginator("describe_volumes").paginate())
    assert [volume["VolumeId"] for page in pages for volume in page["Volumes"]] == made
    assert "NextToken" not in pages[-1]


def test_page_parameters_are_checked(aws: Aws) -> None:
    volume_id = aws.volume()
    assert code_of(aws.ec2.describe_volumes, MaxResults=4) == "InvalidParameterValue"
    refused = code_of(aws.ec2.describe_volumes, MaxResults=5, VolumeIds=[volume_id])
    assert refused == "InvalidParameterCombination"
    assert code_of(aws.ec2.describe_volumes, NextToken="nonsense") == "InvalidPaginationToken"


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("tag:Name", ["a.etcd-*"], ["a"]),
        ("tag:Name", ["a.etcd-main.c", "b.etcd-main.c"], ["a", "b"]),
        ("tag:Name", ["?.etcd-main.c"], ["a", "b"]),
        ("tag:Name", ["\\?.etcd-main.c"], []),
        ("tag-key", ["k8s.io/*"], ["b"]),
        ("availability-zone", ["eu-west-2b"], ["b"]),
        ("status", ["available"], ["a", "b"]),
        ("size", ["30"], ["b"]),
        ("volume-type", ["gp3"], ["b"]),
        ("encrypted", ["false"], ["a", "b"]),
    ],
)
def test_filters(aws: Aws, name: str, values: list[str], found: list[str]) -> None:
    made = {
        aws.volume(tags={"Name": "a.etcd-main.c"}): "a",
        aws.volume("b", 30, {"Name": "b.etcd-main.c", "k8s.io/x": ""}, VolumeType="gp3"): "b",
    }
    answer = aws.ec2.describe_volumes(Filters=[{"Name": name, "Values": values}])
    assert [made[volume["VolumeId"]] for volume in answer["Volumes"]] == found


def test_filters_are_joined_by_and(aws: Aws) -> None:
    aws.volume(tags={"a": "1"})
    both = aws.volume(tags={"a": "1", "b": "2"})
    asked = [{"Name": "tag:a", "Values": ["1"]}, {"Name": "tag:b", "Values": ["2"]}]
    assert [v["VolumeId"] for v in aws.ec2.describe_volumes(Filters=asked)["Volumes"]] == [both]


def test_unknown_names_and_ids_are_refused(aws: Aws) -> None:
    unknown = [{"Name": "colour", "Values": ["red"]}]
    assert code_of(aws.ec2.describe_volumes, Filters=unknown) == "InvalidParameterValue"
    assert code_of(aws.ec2.describe_volumes, VolumeIds=["vol-0123456789abcdef0"]) == "InvalidVolume.NotFound"
    assert code_of(aws.ec2.describe_volumes, VolumeIds=["vol-x"]) == "InvalidParameterValue"
    assert code_of(aws.ec2.delete_volume, VolumeId="vol-0123456789abcdef0") == "InvalidVolume.NotFound"
    assert code_of(aws.ec2.describe_volumes, DryRun=True) == "DryRunOperation"


def test_a_volume_changed_by_hand(aws: Aws) -> None:
    volume_id = aws.volume(tags={"gone": "1"})
    change = {"state": "error", "create_time": "2026-01-02T03:04:05Z", "tags": {"aws:x": "y", "gone": None}}
    aws.post(f"ec2/volumes/{volume_id}", change)
    volume = aws.described_volume(volume_id)
    assert volume["State"] == "error"
    assert volume["CreateTime"].isoformat() == "2026-01-02T03:04:05+00:00"
    assert as_dict(volume["Tags"]) == {"aws:x": "y"}
    assert "state" in aws.refused(f"ec2/volumes/{volume_id}", {"state": "purple"})
    assert "does not exist" in aws.refused("ec2/volumes/vol-0123456789abcdef0", {"state": "error"})


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_volume_can_vanish_when_it_should_become_available(aws: Aws, seconds: float) -> None:
    aws.post("settings", {"volume_creating_seconds": seconds})
    aws.post("ec2/volumes-end", {"outcome": "vanished", "nth": 2})
    first, second = aws.volume(), aws.volume()
    if seconds:
        assert aws.described_volume(second)["State"] == "creating"
        aws.post("clock", {"advance_seconds": 31})
    assert code_of(aws.ec2.describe_volumes, VolumeIds=[second]) == "InvalidVolume.NotFound"
    assert aws.described_volume(first)["State"] == "available"


def test_a_rate_of_initialization_needs_a_snapshot_and_room(aws: Aws) -> None:
    snapshot = aws.snapshot(aws.volume())
    made = aws.volume(SnapshotId=snapshot, VolumeInitializationRate=300)
    assert aws.described_volume(made)["VolumeInitializationRate"] == 300

    def code(**more: Any) -> str:
        return code_of(aws.ec2.create_volume, AvailabilityZone="eu-west-2a", Size=20, **more)

    assert code(VolumeInitializationRate=300) == "InvalidParameterDependency"
    assert code(SnapshotId=snapshot, VolumeInitializationRate=99) == "InvalidParameterValue"
    aws.post("settings", {"initialization_rate_refusal": "InsufficientVolumeCapacity"})
    assert code(SnapshotId=snapshot, VolumeInitializationRate=300) == "InsufficientVolumeCapacity"
    token = {"SnapshotId": snapshot, "ClientToken": "once"}
    aws.volume(**token)
    aws.post("settings", {"initialization_rate_refusal": ""})
    assert code(**token, VolumeInitializationRate=300) == "IdempotentParameterMismatch"


def test_a_key_is_named_only_for_a_volume_that_is_to_be_encrypted(aws: Aws) -> None:
    key = "arn:aws:kms:eu-west-2:123456789012:key/1"
    code = code_of(aws.ec2.create_volume, AvailabilityZone="eu-west-2a", Size=20, KmsKeyId=key)
    assert code == "InvalidParameterDependency"
    assert aws.described_volume(aws.volume(Encrypted=True, KmsKeyId=key))["KmsKeyId"] == key


def test_a_volume_can_be_lost_though_it_is_attached(aws: Aws) -> None:
    volume, instance = aws.volume(), aws.instance()
    aws.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/xvdu")
    aws.post(f"ec2/volumes/{volume}/lose")
    assert code_of(aws.ec2.describe_volumes, VolumeIds=[volume]) == "InvalidVolume.NotFound"
    devices = aws.described_instance(instance)["BlockDeviceMappings"]
    assert "/dev/xvdu" not in [device["DeviceName"] for device in devices]
    aws.refused(f"ec2/volumes/{volume}/lose", {})
