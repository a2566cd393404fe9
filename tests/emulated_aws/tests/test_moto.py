"""That corrections stay tied to moto, and what moto does by itself around them."""

import pytest

from ..patching import PatchTargetMissing, replace, wrap
from .fresh_aws import Aws, as_dict, as_list


class Example:
    def present(self) -> str:
        return "original"


def test_a_part_of_moto_that_is_gone_stops_the_emulator() -> None:
    with pytest.raises(PatchTargetMissing, match="Example.absent"):
        replace(Example, "absent", None)
    with pytest.raises(PatchTargetMissing, match="Example.absent"):
        wrap(Example, "absent", lambda original: original)


def test_a_wrapped_part_can_call_the_original() -> None:
    wrap(Example, "present", lambda original: lambda self: original(self) + ", wrapped")
    assert Example().present() == "original, wrapped"


def test_snapshots_of_all_volumes_of_an_instance(aws: Aws) -> None:
    instance_id = aws.instance()
    aws.ec2.attach_volume(VolumeId=aws.volume(), InstanceId=instance_id, Device="/dev/xvdu")
    tags = [{"ResourceType": "snapshot", "Tags": as_list({"a": "1"})}]
    made = aws.ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id}, TagSpecifications=tags)
    ids = [snapshot["SnapshotId"] for snapshot in made["Snapshots"]]
    assert len(ids) == 2
    assert as_dict(aws.described_snapshot(ids[0])["Tags"]) == {"a": "1"}


def test_archiving_a_snapshot(aws: Aws) -> None:
    snapshot_id = aws.snapshot(aws.volume())
    aws.ec2.modify_snapshot_tier(SnapshotId=snapshot_id, StorageTier="archive")
    assert aws.described_snapshot(snapshot_id)["StorageTier"] == "archive"


def test_copying_a_snapshot(aws: Aws) -> None:
    source = aws.snapshot(aws.volume(size=7))
    copied = aws.ec2.copy_snapshot(SourceSnapshotId=source, SourceRegion="eu-west-2")["SnapshotId"]
    assert aws.described_snapshot(copied)["VolumeSize"] == 7


def test_describing_tags(aws: Aws) -> None:
    volume_id = aws.volume(tags={"a": "1"})
    asked = [{"Name": "resource-id", "Values": [volume_id]}]
    (tag,) = aws.ec2.describe_tags(Filters=asked)["Tags"]
    assert (tag["Key"], tag["Value"], tag["ResourceType"]) == ("a", "1", "volume")


def test_the_caller(aws: Aws) -> None:
    assert aws.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_changing_a_volume(aws: Aws) -> None:
    volume_id = aws.volume(VolumeType="gp3")
    aws.ec2.modify_volume(VolumeId=volume_id, Size=40, Iops=4000)
    volume = aws.described_volume(volume_id)
    assert (volume["Size"], volume["Iops"]) == (40, 4000)
