"""kops, Terraform and cleaners of tags, at work by themselves or between two calls."""

from typing import Any

import pytest

from .fresh_aws import Aws, as_dict

NAME = {"Name": "a.etcd-main.c.example", "KubernetesCluster": "c.example"}
ETCD = {
    **NAME,
    "kubernetes.io/cluster/c.example": "owned",
    "k8s.io/etcd/main": "a/a",
    "k8s.io/role/master": "1",
}
OURS = {"etcd-backup/restore-id": "r-1", "etcd-backup/member": "main/a"}
CLEANER = {"actor": "tag-cleaner", "prefixes": ["etcd-backup/"]}


def kops(creates: bool = True) -> dict[str, Any]:
    wanted = {"zone": "eu-west-2a", "size": 20, "tags": ETCD}
    return {"actor": "kops-update", "creates": creates, "volumes": [wanted]}


def tags_of(aws: Aws, volume: str) -> dict[str, str]:
    return as_dict(aws.described_volume(volume).get("Tags", []))


def test_kops_takes_off_what_it_does_not_know(aws: Aws) -> None:
    volume = aws.volume(tags={**ETCD, **OURS, "k8s.io/role/master": "0"})
    aws.post(f"ec2/volumes/{volume}", {"tags": {"aws:x": "kept"}})
    aws.post("actors", kops())
    assert tags_of(aws, volume) == {**ETCD, "aws:x": "kept"}


def test_kops_makes_what_it_does_not_find_unless_told(aws: Aws) -> None:
    other = aws.volume(tags={**ETCD, "Name": "retired"})
    aws.post("actors", kops(creates=False))
    assert len(aws.ec2.describe_volumes()["Volumes"]) == 1
    aws.post("actors", kops())
    (made,) = [one for one in aws.ec2.describe_volumes()["Volumes"] if one["VolumeId"] != other]
    assert as_dict(made["Tags"]) == ETCD
    assert (made["SnapshotId"], made["Size"], made["AvailabilityZone"]) == ("", 20, "eu-west-2a")


def test_kops_fails_where_it_finds_two(aws: Aws) -> None:
    volumes = [aws.volume(tags={**NAME, **OURS}) for _ in range(2)]
    aws.post("actors", kops())
    assert [tags_of(aws, volume) for volume in volumes] == [{**NAME, **OURS}] * 2


def test_terraform_knows_volumes_by_id(aws: Aws) -> None:
    mine, other = aws.volume(tags=OURS), aws.volume(tags=OURS)
    declared = [{"id": mine, "tags": ETCD}, {"id": "vol-0123456789abcdef0", "tags": ETCD}]
    aws.post("actors", {"actor": "terraform-apply", "volumes": declared})
    assert (tags_of(aws, mine), tags_of(aws, other)) == (ETCD, OURS)


def test_a_cleaner_takes_prefixes_off_all_volumes(aws: Aws) -> None:
    volumes = [aws.volume(tags={**ETCD, **OURS}), aws.volume(tags=OURS), aws.volume(tags=NAME)]
    aws.post("actors", CLEANER)
    assert [tags_of(aws, volume) for volume in volumes] == [ETCD, {}, NAME]


@pytest.mark.parametrize(("when", "seen"), [("before", NAME), ("after", {**NAME, **OURS})])
def test_an_actor_can_come_between_calls(aws: Aws, when: str, seen: dict[str, str]) -> None:
    volume = aws.volume(tags={**NAME, **OURS})
    fault = {"kind": "act", "actor": CLEANER, "when": when}
    aws.post("faults", {"operation": "DescribeVolumes", "nth": 2, "fault": fault})
    assert [tags_of(aws, volume) for _ in range(3)] == [{**NAME, **OURS}, seen, NAME]
    assert {call["fault"] for call in aws.get("calls")["calls"]} == {None}


def test_a_call_that_is_lost_does_not_keep_an_actor_away(aws: Aws) -> None:
    volume = aws.volume(tags={**NAME, **OURS})
    error = {"kind": "error", "code": "InternalError", "status": 400}
    aws.post("faults", [{"operation": "*", "fault": error}, {"operation": "*", "fault": {"kind": "act", "actor": CLEANER}}])
    with pytest.raises(aws.ec2.exceptions.ClientError):
        aws.ec2.describe_volumes()
    assert tags_of(aws, volume) == NAME


def test_what_an_actor_brings_about_is_no_calls_fault(aws: Aws) -> None:
    aws.volume(tags=ETCD)
    retired = aws.volume(tags=OURS)
    aws.post("actors", {"actor": "terraform-apply", "volumes": [{"id": retired, "tags": ETCD}]})
    third = aws.volume()
    seen = aws.get("candidates")
    assert seen["violations"] == []
    assert {one["operation"] for one in seen["of_actors"]} == {"terraform-apply"}
    # One more is: there were two, and now there are three.
    aws.ec2.create_tags(Resources=[third], Tags=[{"Key": key, "Value": value} for key, value in ETCD.items()])
    assert {len(one["volumes"]) for one in aws.get("candidates")["violations"]} == {3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"actor": "gardener"},
        {"actor": "tag-cleaner"},
        {"actor": "tag-cleaner", "prefixes": []},
        {"actor": "tag-cleaner", "prefixes": ["a"], "colour": "red"},
        {"actor": "terraform-apply", "volumes": [{"id": "vol-1"}]},
        {**kops(), "creates": "yes"},
        {**kops(), "volumes": [{"zone": "eu-west-2a", "size": 20, "tags": {}}]},
    ],
)
def test_an_actor_without_sense_is_refused(aws: Aws, wrong: dict[str, Any]) -> None:
    aws.refused("actors", wrong)
    aws.refused("faults", {"operation": "*", "fault": {"kind": "act", "actor": wrong}})
