"""Accounts with many clusters."""

from .fresh_aws import Aws, as_dict

CLUSTER = "c.example"
TAGS = {
    "KubernetesCluster": CLUSTER,
    f"kubernetes.io/cluster/{CLUSTER}": "owned",
    "Name": f"a.etcd-main.{CLUSTER}",
    "k8s.io/etcd/main": "a/a",
}


def of_cluster(aws: Aws, name: str) -> tuple[list[str], list[str], list[str]]:
    tagged = [{"Name": f"tag:kubernetes.io/cluster/{name}", "Values": ["owned"]}]
    volumes = aws.ec2.describe_volumes(Filters=tagged)["Volumes"]
    snapshots = aws.ec2.describe_snapshots(OwnerIds=["self"], Filters=tagged)["Snapshots"]
    by_name = [{"Name": "tag:KubernetesCluster", "Values": [name]}]
    groups = aws.autoscaling.describe_auto_scaling_groups(Filters=by_name)["AutoScalingGroups"]
    return (
        [volume["VolumeId"] for volume in volumes],
        [snapshot["VolumeId"] for snapshot in snapshots],
        [group["AutoScalingGroupName"] for group in groups],
    )


def test_a_cluster_is_copied_with_all_that_names_it(aws: Aws) -> None:
    volume = aws.volume(tags=TAGS)
    snapshot = aws.snapshot(volume)
    aws.ec2.create_tags(Resources=[snapshot], Tags=[{"Key": k, "Value": v} for k, v in TAGS.items()])
    aws.group(f"master-a.masters.{CLUSTER}", tags={"KubernetesCluster": CLUSTER})
    aws.volume(tags={"KubernetesCluster": CLUSTER})
    before = of_cluster(aws, CLUSTER)
    assert aws.post("crowd", {"cluster": CLUSTER, "count": 30}) == {"volumes": 30}
    assert of_cluster(aws, CLUSTER) == before
    twin = f"crowd-00029.{CLUSTER}"
    (twin_volume,), (of_volume,), groups = of_cluster(aws, twin)
    assert twin_volume == of_volume != volume
    assert groups == [f"master-a.masters.{twin}"]
    tags = as_dict(aws.described_volume(twin_volume)["Tags"])
    assert tags["Name"] == f"a.etcd-main.{twin}"
    assert tags["k8s.io/etcd/main"] == "a/a"


def test_a_request_without_sense_is_refused(aws: Aws) -> None:
    aws.volume(tags=TAGS)
    for wrong in [{"cluster": "other", "count": 1}, {"cluster": CLUSTER, "count": 0}]:
        aws.refused("crowd", wrong)
