"""CreateTags, DeleteTags, stale reads."""

from .fresh_aws import Aws, as_dict, as_list, code_of


def tags_of(aws: Aws, volume_id: str) -> dict[str, str]:
    return as_dict(aws.described_volume(volume_id).get("Tags", []))


def test_refused_tags_change_nothing(aws: Aws) -> None:
    volume_id = aws.volume(tags={"kept": "1"})
    for bad in ({"aws:x": "1"}, {"AWS:x": "1"}, {"k" * 129: "1"}, {"k": "v" * 257}, {"": "1"}):
        tags = as_list({"good": "1", **bad})
        assert code_of(aws.ec2.create_tags, Resources=[volume_id], Tags=tags) == "InvalidParameterValue"
    assert tags_of(aws, volume_id) == {"kept": "1"}


def test_the_longest_tags_are_taken(aws: Aws) -> None:
    volume_id = aws.volume()
    longest = {"k" * 128: "v" * 256, "empty": ""}
    aws.ec2.create_tags(Resources=[volume_id], Tags=as_list(longest))
    assert tags_of(aws, volume_id) == longest


def test_fifty_tags_of_the_user(aws: Aws) -> None:
    volume_id = aws.volume(tags={f"k{n}": "" for n in range(49)})
    aws.post(f"ec2/volumes/{volume_id}", {"tags": {"aws:one": "1", "aws:two": "2"}})
    two = as_list({"k49": "", "k50": ""})
    assert code_of(aws.ec2.create_tags, Resources=[volume_id], Tags=two) == "TagLimitExceeded"
    aws.ec2.create_tags(Resources=[volume_id], Tags=as_list({"k49": "", "k0": "changed"}))
    assert len(tags_of(aws, volume_id)) == 52


def test_all_resources_or_none(aws: Aws) -> None:
    volume_id = aws.volume()
    for unknown, code in [
        ("vol-0123456789abcdef0", "InvalidVolume.NotFound"),
        ("snap-0123456789abcdef0", "InvalidSnapshot.NotFound"),
        ("i-0123456789abcdef0", "InvalidInstanceID.NotFound"),
        ("nonsense", "InvalidID"),
    ]:
        for call in (aws.ec2.create_tags, aws.ec2.delete_tags):
            assert code_of(call, Resources=[volume_id, unknown], Tags=as_list({"k": "v"})) == code
    assert tags_of(aws, volume_id) == {}


def test_deletion_with_a_value_needs_a_match(aws: Aws) -> None:
    volume_id = aws.volume(tags={"a": "1", "b": "2", "c": "3", "d": ""})

    def delete(*tags: dict[str, str]) -> None:
        aws.ec2.delete_tags(Resources=[volume_id], Tags=list(tags))

    delete({"Key": "a", "Value": "other"}, {"Key": "b", "Value": "2"}, {"Key": "absent"})
    assert tags_of(aws, volume_id) == {"a": "1", "c": "3", "d": ""}
    delete({"Key": "c", "Value": ""}, {"Key": "d", "Value": ""}, {"Key": "a"})
    assert tags_of(aws, volume_id) == {"c": "3"}


def test_reserved_tags_cannot_be_deleted(aws: Aws) -> None:
    volume_id = aws.volume(tags={"mine": "1"})
    aws.post(f"ec2/volumes/{volume_id}", {"tags": {"aws:x": "y"}})
    refused = code_of(aws.ec2.delete_tags, Resources=[volume_id], Tags=[{"Key": "aws:x"}])
    assert refused == "InvalidParameterValue"
    aws.ec2.delete_tags(Resources=[volume_id])
    assert tags_of(aws, volume_id) == {"aws:x": "y"}


def test_snapshots_and_instances_are_tagged_as_well(aws: Aws) -> None:
    snapshot_id, instance_id = aws.snapshot(aws.volume()), aws.instance()
    aws.ec2.create_tags(Resources=[snapshot_id, instance_id], Tags=as_list({"k": "v"}))
    assert as_dict(aws.described_snapshot(snapshot_id)["Tags"]) == {"k": "v"}
    answer = aws.ec2.describe_instances(Filters=[{"Name": "tag:k", "Values": ["v"]}])
    assert [i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]] == [instance_id]


def test_stale_reads_show_and_filter_by_the_tags_before(aws: Aws) -> None:
    volume_id = aws.volume(tags={"a": "old"})
    aws.post("settings", {"stale_reads": 2})
    aws.ec2.create_tags(Resources=[volume_id], Tags=as_list({"a": "new"}))
    assert tags_of(aws, volume_id) == {"a": "old"}
    asked = [{"Name": "tag:a", "Values": ["new"]}]
    assert aws.ec2.describe_volumes(Filters=asked)["Volumes"] == []
    assert len(aws.ec2.describe_volumes(Filters=asked)["Volumes"]) == 1
