"""Masters that start: what they attach, when, and the record of it."""

from typing import Any

import pytest

from .fresh_aws import Aws

CLUSTER = "c.example"
MASTER = {"KubernetesCluster": CLUSTER, "k8s.io/role/master": "1"}


def etcd_tags(etcd_cluster: str = "main", member: str = "a") -> dict[str, str]:
    owned = {f"kubernetes.io/cluster/{CLUSTER}": "owned", f"k8s.io/etcd/{etcd_cluster}": f"{member}/a,b"}
    return {**MASTER, **owned}


def watch(aws: Aws, mounted_by: str = "etcd-manager", **more: Any) -> None:
    request = {"cluster": CLUSTER, "mounted_by": mounted_by, "etcd_clusters": ["main", "events"], **more}
    aws.post("masters", request)


def events(aws: Aws, kind: str) -> list[dict[str, Any]]:
    return [event for event in aws.get("masters")["events"] if event["event"] == kind]


def attached_to(aws: Aws, volume: str) -> str | None:
    attachments = aws.described_volume(volume)["Attachments"]
    return attachments[0]["InstanceId"] if attachments else None


def suspend(aws: Aws, name: str) -> None:
    aws.autoscaling.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=["Launch"])


def resume(aws: Aws, name: str) -> None:
    aws.autoscaling.resume_processes(AutoScalingGroupName=name, ScalingProcesses=["Launch"])


@pytest.mark.parametrize("mounted_by", ["etcd-manager", "protokube"])
def test_a_master_that_is_launched_attaches_what_it_finds(aws: Aws, mounted_by: str) -> None:
    (first,) = aws.group(tags=MASTER)
    watch(aws, mounted_by)
    main, elsewhere = aws.volume("a", tags=etcd_tags()), aws.volume("b", tags=etcd_tags())
    aws.ec2.terminate_instances(InstanceIds=[first])
    (second,) = [member["InstanceId"] for member in aws.described_group()["Instances"]]
    assert attached_to(aws, main) == second
    assert attached_to(aws, elsewhere) is None
    (launched,) = events(aws, "launched")
    assert (launched["instance"], launched["group"]) == (second, "master-a")
    of_second = [event for event in events(aws, "attached") if event["instance"] == second]
    (attached,) = of_second
    assert (attached["etcd_cluster"], attached["member"], attached["volume"]) == ("main", "a", main)
    # It looks until it has all.
    late = aws.volume("a", tags=etcd_tags("events"))
    assert attached_to(aws, late) == second


def test_only_protokube_looks_again_once_it_had_all(aws: Aws) -> None:
    for name, mounted_by in [("manager", "etcd-manager"), ("kube", "protokube")]:
        tags = {**MASTER, "KubernetesCluster": name}
        (instance,) = aws.group(name, tags=tags)
        etcd = {**tags, f"kubernetes.io/cluster/{name}": "owned", "k8s.io/etcd/main": "a/a"}
        first = aws.volume("a", tags=etcd)
        aws.post("masters", {"cluster": name, "mounted_by": mounted_by, "etcd_clusters": ["main"]})
        assert attached_to(aws, first) == instance
        aws.ec2.detach_volume(VolumeId=first)
        second = aws.volume("a", tags=etcd)
        again = {attached_to(aws, first), attached_to(aws, second)}
        assert again == ({instance, None} if mounted_by == "protokube" else {None})


def test_a_volume_that_is_no_longer_found_keeps_its_device(aws: Aws) -> None:
    (instance,) = aws.group(tags=MASTER)
    watch(aws, "protokube")
    first = aws.volume("a", tags=etcd_tags())
    assert attached_to(aws, first) == instance
    aws.ec2.delete_tags(Resources=[first], Tags=[{"Key": "k8s.io/etcd/main"}])
    second = aws.volume("a", tags=etcd_tags())
    assert attached_to(aws, second) == instance
    devices = {aws.described_volume(volume)["Attachments"][0]["Device"] for volume in (first, second)}
    assert len(devices) == 2
    aws.ec2.terminate_instances(InstanceIds=[instance])
    assert attached_to(aws, first) is None


def test_masters_of_one_zone_take_one_volume_each(aws: Aws) -> None:
    aws.group("master-1", tags=MASTER)
    aws.group("master-2", tags=MASTER)
    volumes = [aws.volume("a", tags=etcd_tags(member=member)) for member in ("a", "b")]
    watch(aws)
    holders = [attached_to(aws, volume) for volume in volumes]
    assert None not in holders
    assert len(set(holders)) == 2


def test_the_order_of_launches_is_recorded(aws: Aws) -> None:
    instances = [aws.group(f"master-{zone}", zone, tags=MASTER)[0] for zone in "abc"]
    watch(aws)
    for zone in "abc":
        suspend(aws, f"master-{zone}")
    aws.ec2.terminate_instances(InstanceIds=instances)
    assert events(aws, "launched") == []
    for zone in "cab":
        resume(aws, f"master-{zone}")
    launched = events(aws, "launched")
    assert [event["group"] for event in launched] == ["master-c", "master-a", "master-b"]
    numbers = [event["n"] for event in launched]
    assert numbers == sorted(set(numbers))
    aws.delete("masters")
    assert events(aws, "launched") == []


def test_booting_takes_time(aws: Aws) -> None:
    (first,) = aws.group(tags=MASTER)
    watch(aws, boot_seconds=60)
    volume = aws.volume("a", tags=etcd_tags())
    aws.ec2.terminate_instances(InstanceIds=[first])
    assert attached_to(aws, volume) is None
    aws.post("clock", {"advance_seconds": 61})
    assert attached_to(aws, volume) is not None


def test_others_attach_nothing(aws: Aws) -> None:
    aws.group("nodes", tags={**MASTER, "k8s.io/role/master": "0"})
    aws.group("other", tags={**MASTER, "KubernetesCluster": "other"})
    volume = aws.volume("a", tags=etcd_tags())
    watch(aws)
    assert attached_to(aws, volume) is None


@pytest.mark.parametrize(
    "wrong", [{"mounted_by": "hand"}, {"etcd_clusters": "main"}, {"boot_seconds": -1}, {"colour": "red"}]
)
def test_a_request_without_sense_is_refused(aws: Aws, wrong: dict[str, Any]) -> None:
    request = {"cluster": CLUSTER, "mounted_by": "protokube", "etcd_clusters": ["main"], **wrong}
    assert next(iter(wrong)) in aws.refused("masters", request)
