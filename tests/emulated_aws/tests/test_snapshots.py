"""Snapshots: creation, states, owners, filters, pages."""

import time

import pytest

from .fresh_aws import Aws, as_dict, as_list, code_of, until


def test_a_snapshot_tells_of_its_volume(aws: Aws) -> None:
    volume_id = aws.volume(size=33)
    tags = [{"ResourceType": "snapshot", "Tags": as_list({"a": "1"})}]
    made = aws.ec2.create_snapshot(VolumeId=volume_id, TagSpecifications=tags, Description="d")
    assert made["State"] == "pending"
    aws.ec2.delete_volume(VolumeId=volume_id)
    snapshot = aws.described_snapshot(made["SnapshotId"])
    shown = {
        key: snapshot[key]
        for key in ("VolumeId", "VolumeSize", "Encrypted", "StorageTier", "State", "OwnerId")
    }
    assert shown == {
        "VolumeId": volume_id,
        "VolumeSize": 33,
        "Encrypted": False,
        "StorageTier": "standard",
        "State": "completed",
        "OwnerId": "123456789012",
    }
    assert as_dict(snapshot["Tags"]) == {"a": "1"}


def test_a_snapshot_takes_time(aws: Aws) -> None:
    aws.post("settings", {"snapshot_pending_seconds": 2})
    volume_id = aws.volume()
    began = time.monotonic()
    snapshot_id = aws.snapshot(volume_id)
    assert aws.described_snapshot(snapshot_id)["State"] == "pending"
    until(lambda: aws.described_snapshot(snapshot_id)["State"] == "completed")
    assert time.monotonic() - began >= 2


def test_a_snapshot_starts_now(aws: Aws) -> None:
    aws.post("clock", {"set": "2027-03-04T05:06:07Z"})
    snapshot = aws.described_snapshot(aws.snapshot(aws.volume()))
    assert snapshot["StartTime"].isoformat().startswith("2027-03-04T05:")


def test_only_usable_volumes_can_be_taken(aws: Aws) -> None:
    volume_id = aws.volume()
    aws.post(f"ec2/volumes/{volume_id}", {"state": "error"})
    assert code_of(aws.ec2.create_snapshot, VolumeId=volume_id) == "IncorrectState"
    unknown = "vol-0123456789abcdef0"
    assert code_of(aws.ec2.create_snapshot, VolumeId=unknown) == "InvalidVolume.NotFound"


def test_self_leaves_out_other_owners(aws: Aws) -> None:
    volume_id = aws.volume()
    own, foreign = aws.snapshot(volume_id), aws.snapshot(volume_id)
    aws.post(f"ec2/snapshots/{foreign}", {"owner_id": "999999999999"})
    found = aws.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert [snapshot["SnapshotId"] for snapshot in found] == [own]
    found = aws.ec2.describe_snapshots(OwnerIds=["999999999999"])["Snapshots"]
    assert [snapshot["SnapshotId"] for snapshot in found] == [foreign]


def test_no_public_snapshots_are_there(aws: Aws) -> None:
    assert aws.ec2.describe_snapshots()["Snapshots"] == []


def test_pages_survive_deletions(aws: Aws) -> None:
    aws.post("settings", {"page_size_max": 5})
    volume_id = aws.volume()
    made = [aws.snapshot(volume_id) for _ in range(11)]
    first = aws.ec2.describe_snapshots(OwnerIds=["self"], MaxResults=5)
    aws.ec2.delete_snapshot(SnapshotId=made[0])
    second = aws.ec2.describe_snapshots(OwnerIds=["self"], MaxResults=5, NextToken=first["NextToken"])
    assert [snapshot["SnapshotId"] for snapshot in second["Snapshots"]] == made[5:10]
    pages = aws.ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"])
    assert [s["SnapshotId"] for page in pages for s in page["Snapshots"]] == made[1:]


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("start-time", ["2026-05-06*"], 1),
        ("start-time", ["2026-05-07*"], 0),
        ("status", ["completed"], 2),
        ("volume-size", ["20"], 2),
        ("volume-id", ["vol-ffffffff"], 1),
        ("storage-tier", ["archive"], 1),
        ("owner-id", ["123456789012"], 2),
        ("tag:aws:dlm:managed", ["true"], 1),
        ("tag-key", ["aws:*"], 1),
    ],
)
def test_filters(aws: Aws, name: str, values: list[str], found: int) -> None:
    volume_id = aws.volume()
    aws.snapshot(volume_id)
    change = {
        "start_time": "2026-05-06T06:00:00Z",
        "volume_id": "vol-ffffffff",
        "storage_tier": "archive",
        "tags": {"aws:dlm:managed": "true"},
    }
    aws.post(f"ec2/snapshots/{aws.snapshot(volume_id)}", change)
    answer = aws.ec2.describe_snapshots(Filters=[{"Name": name, "Values": values}])
    assert len(answer["Snapshots"]) == found


def test_unknown_names_and_ids_are_refused(aws: Aws) -> None:
    unknown = "snap-0123456789abcdef0"
    assert code_of(aws.ec2.describe_snapshots, SnapshotIds=[unknown]) == "InvalidSnapshot.NotFound"
    assert code_of(aws.ec2.delete_snapshot, SnapshotId=unknown) == "InvalidSnapshot.NotFound"
    asked = [{"Name": "colour", "Values": ["red"]}]
    assert code_of(aws.ec2.describe_snapshots, Filters=asked) == "InvalidParameterValue"


def test_listing_is_fast(aws: Aws) -> None:
    """100 volumes with fourteen snapshots each, as Lifecycle Manager leaves them."""
    # At noon, so that all runs of the days are over whatever the hour.
    aws.post("clock", {"set": "2027-01-01T12:00:00Z"})
    aws.role()
    tags = {f"tag-{n}": "value" for n in range(10)} | {"k8s.io/role/master": "1"}
    began = time.monotonic()
    for _ in range(100):
        aws.volume(tags=tags)
    made_after = time.monotonic() - began
    from .test_dlm import policy_request

    aws.dlm.create_lifecycle_policy(**policy_request())
    aws.post("clock", {"advance_seconds": 86400 * 14})
    began = time.monotonic()
    volumes = list(aws.ec2.get_paginator("describe_volumes").paginate())
    snapshots = list(aws.ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"]))
    elapsed = time.monotonic() - began
    assert sum(len(page["Volumes"]) for page in volumes) == 100
    assert sum(len(page["Snapshots"]) for page in snapshots) == 1400
    assert elapsed < 5 * made_after, f"{elapsed:.1f} s, and {made_after:.1f} s for making the volumes"
