"""The recorder of volumes that etcd-manager or protokube could mistake for another."""

from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from .fresh_aws import Aws, as_list, code_of

ETCD_MANAGER = {
    "kubernetes.io/cluster/c.example": "owned",
    "k8s.io/etcd/main": "a/a,b,c",
    "k8s.io/role/master": "1",
}
CONTROL_PLANE = {
    "kubernetes.io/cluster/c.example": "owned",
    "k8s.io/etcd/main": "a/a,b,c",
    "k8s.io/role/control-plane": "1",
}
PROTOKUBE = {"KubernetesCluster": "c.example", "k8s.io/etcd/main": "a/a,b,c", "k8s.io/role/master": "1"}


def assert_seen(aws: Aws, states: int) -> None:
    """So many states, and nothing wrong in any of them."""
    assert aws.get("candidates") == {"states": states, "violations": [], "of_actors": [], "resumed": []}


def violations(aws: Aws) -> list[dict[str, Any]]:
    return aws.get("candidates")["violations"]


@pytest.mark.parametrize(
    ("by", "one", "other"),
    [
        ("etcd-manager", ETCD_MANAGER, ETCD_MANAGER),
        ("etcd-manager", CONTROL_PLANE, CONTROL_PLANE),
        ("etcd-manager", ETCD_MANAGER, CONTROL_PLANE),
        ("protokube", PROTOKUBE, PROTOKUBE),
        ("protokube", PROTOKUBE, {**PROTOKUBE, "k8s.io/role/master": ""}),
        ("protokube", PROTOKUBE, {**PROTOKUBE, "k8s.io/etcd/main": "a/a"}),
    ],
)
def test_two_volumes_of_one_member_are_a_violation(
    aws: Aws, by: str, one: dict[str, str], other: dict[str, str]
) -> None:
    ids = [aws.volume(tags=one)]
    assert_seen(aws, states=1)
    ids.append(aws.volume(tags=other))
    assert aws.get("candidates")["states"] == 2
    assert violations(aws) == [
        {
            "n": 2,
            "operation": "CreateVolume",
            "by": by,
            "cluster": "c.example",
            "zone": "eu-west-2a",
            "etcd_cluster": "main",
            "member": "a",
            "volumes": sorted(ids),
        }
    ]


@pytest.mark.parametrize("tags", [ETCD_MANAGER, CONTROL_PLANE, PROTOKUBE])
def test_volumes_that_differ_in_place_are_none(aws: Aws, tags: dict[str, str]) -> None:
    aws.volume("a", tags=tags)
    aws.volume("b", tags=tags)
    aws.volume("a", tags={**tags, "k8s.io/etcd/main": "b/a,b,c"})
    without_etcd = {key: value for key, value in tags.items() if key != "k8s.io/etcd/main"}
    aws.volume("a", tags=without_etcd)
    aws.volume("a", tags={**without_etcd, "k8s.io/etcd/events": "a/a,b,c"})
    other_cluster = {"kubernetes.io/cluster/d.example": "owned", "KubernetesCluster": "d.example"}
    roles = {"k8s.io/role/master": "1", "k8s.io/role/control-plane": "1"}
    aws.volume("a", tags={**other_cluster, **roles, "k8s.io/etcd/main": "a/a,b,c"})
    assert_seen(aws, states=6)


@pytest.mark.parametrize(
    ("tags", "hidden_by"),
    [
        (ETCD_MANAGER, {"kubernetes.io/cluster/c.example": "shared"}),
        (ETCD_MANAGER, {"k8s.io/role/master": "0"}),
        (CONTROL_PLANE, {"k8s.io/role/control-plane": "0"}),
        (PROTOKUBE, {"KubernetesCluster": "c.example-old"}),
        (PROTOKUBE, {"k8s.io/role/master": None}),
    ],
)
def test_what_a_filter_leaves_out_is_none(aws: Aws, tags: dict[str, str], hidden_by: dict) -> None:
    hidden = {key: value for key, value in {**tags, **hidden_by}.items() if value is not None}
    aws.volume(tags=tags)
    aws.volume(tags=hidden)
    assert violations(aws) == []


def test_both_may_find_the_same_two(aws: Aws) -> None:
    for _ in range(2):
        aws.volume(tags={**ETCD_MANAGER, **PROTOKUBE, "k8s.io/etcd/events": "a/a,b,c"})
    found = {(violation["by"], violation["etcd_cluster"]) for violation in violations(aws)}
    assert found == {
        ("etcd-manager", "main"),
        ("etcd-manager", "events"),
        ("protokube", "main"),
        ("protokube", "events"),
    }


def test_every_write_of_tags_is_looked_after(aws: Aws) -> None:
    aws.volume(tags=ETCD_MANAGER)
    new = aws.volume(tags={**ETCD_MANAGER, "k8s.io/etcd/main": "new-a/a,b,c"})
    aws.ec2.describe_volumes()
    aws.ec2.create_tags(Resources=[new], Tags=as_list({"k8s.io/etcd/main": "a/a,b,c"}))
    aws.ec2.delete_tags(Resources=[new], Tags=[{"Key": "unrelated"}])
    aws.ec2.delete_tags(Resources=[new], Tags=[{"Key": "k8s.io/etcd/main"}])
    # As long as it lasts, it is found after each call.
    found = [(violation["n"], violation["operation"]) for violation in violations(aws)]
    assert found == [(4, "CreateTags"), (5, "DeleteTags")]
    assert aws.get("candidates")["states"] == 5


def test_deleted_volumes_are_not_found(aws: Aws) -> None:
    old = aws.volume(tags=ETCD_MANAGER)
    aws.ec2.delete_volume(VolumeId=old)
    aws.volume(tags=ETCD_MANAGER)
    assert violations(aws) == []


def test_stale_reads_hide_nothing(aws: Aws) -> None:
    old = aws.volume(tags=ETCD_MANAGER)
    aws.post("settings", {"stale_reads": 5})
    aws.ec2.delete_tags(Resources=[old], Tags=[{"Key": "k8s.io/etcd/main"}])
    aws.volume(tags=ETCD_MANAGER)
    assert violations(aws) == []


def test_a_lost_answer_is_looked_after_but_not_a_lost_request(aws: Aws) -> None:
    for kind in ("drop_answer", "drop_request", "drop_answer"):
        aws.post("faults", {"operation": "CreateVolume", "fault": {"kind": kind}})
        with pytest.raises(ConnectionClosedError):
            aws.volume(tags=ETCD_MANAGER)
    aws.post("faults", {"operation": "CreateVolume", "fault": {"kind": "error"}})
    assert code_of(aws.volume) == "InternalError"
    assert aws.get("candidates")["states"] == 2
    (violation,) = violations(aws)
    assert violation["n"] == 3
    logged = aws.get("calls")["calls"][violation["n"] - 1]
    assert (logged["operation"], logged["fault"]) == ("CreateVolume", "drop_answer")


def test_forgetting_and_resetting(aws: Aws) -> None:
    for _ in range(2):
        aws.volume(tags=ETCD_MANAGER)
    aws.delete("candidates")
    assert_seen(aws, states=0)
    aws.volume(tags={"unrelated": "1"})
    assert [violation["n"] for violation in violations(aws)] == [3]
    aws.post("reset")
    assert_seen(aws, states=0)


def test_what_is_found_when_launches_are_resumed_is_noted(aws: Aws) -> None:
    aws.group()
    volume = aws.volume(tags=ETCD_MANAGER)
    aws.autoscaling.suspend_processes(AutoScalingGroupName="master-a", ScalingProcesses=["Launch"])
    aws.autoscaling.resume_processes(AutoScalingGroupName="master-a", ScalingProcesses=["Launch"])
    (resumed,) = aws.get("candidates")["resumed"]
    (found,) = resumed["found"]
    assert (resumed["group"], found["member"], found["volumes"]) == ("master-a", "a", [volume])


def test_what_is_found_at_this_moment(aws: Aws) -> None:
    volume = aws.volume(tags=PROTOKUBE)
    (found,) = aws.get("candidates/found")["found"]
    assert (found["by"], found["cluster"], found["volumes"]) == ("protokube", "c.example", [volume])
