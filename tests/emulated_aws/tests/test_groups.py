"""Auto Scaling groups: launching, suspending, finding and tagging them."""

import pytest

from .fresh_aws import Aws, as_dict, code_of

SLOW = {"instance_terminating_seconds": 90.0}


def members(aws: Aws, name: str = "master-a") -> list[str]:
    return [member["InstanceId"] for member in aws.described_group(name)["Instances"]]


def running(aws: Aws) -> list[str]:
    return aws.instances_in("running")


def suspend(aws: Aws, *processes: str, name: str = "master-a") -> None:
    aws.autoscaling.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))


def resume(aws: Aws, *processes: str, name: str = "master-a") -> None:
    aws.autoscaling.resume_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))


def test_a_terminated_instance_is_replaced(aws: Aws) -> None:
    (first,) = aws.group()
    aws.ec2.terminate_instances(InstanceIds=[first])
    (second,) = members(aws)
    assert second != first
    assert running(aws) == [second]
    tags = as_dict(aws.described_instance(second)["Tags"])
    assert tags["aws:autoscaling:groupName"] == "master-a"


def test_it_is_replaced_only_when_it_has_left(aws: Aws) -> None:
    aws.post("settings", SLOW)
    (first,) = aws.group()
    aws.ec2.terminate_instances(InstanceIds=[first])
    (leaving,) = aws.described_group()["Instances"]
    assert (leaving["InstanceId"], leaving["LifecycleState"]) == (first, "Terminating")
    assert running(aws) == []
    # Neither is it by a request that brings the group up to its capacity.
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="master-a", DesiredCapacity=1)
    assert running(aws) == []
    aws.post("clock", {"advance_seconds": 91})
    (second,) = aws.described_group()["Instances"]
    assert second["InstanceId"] != first
    assert second["LifecycleState"] == "InService"
    assert running(aws) == [second["InstanceId"]]


@pytest.mark.parametrize("processes", [("Launch",), ("Terminate", "Launch"), ()])
@pytest.mark.parametrize("seconds", [0.0, 90.0])
def test_nothing_is_launched_while_launches_are_suspended(
    aws: Aws, processes: tuple[str, ...], seconds: float
) -> None:
    aws.post("settings", {"instance_terminating_seconds": seconds})
    first = aws.group(size=2)
    suspend(aws, *processes)
    aws.ec2.terminate_instances(InstanceIds=first)
    aws.post("clock", {"advance_seconds": 91})
    assert members(aws) == []
    assert running(aws) == []
    # A larger capacity is accepted, but not reached.
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="master-a", DesiredCapacity=3)
    assert members(aws) == []
    resume(aws, *processes)
    assert len(members(aws)) == 3
    assert sorted(running(aws)) == sorted(members(aws))


def test_only_the_suspension_of_launches_counts(aws: Aws) -> None:
    (first,) = aws.group()
    suspend(aws, "Terminate", "HealthCheck")
    aws.ec2.terminate_instances(InstanceIds=[first])
    assert len(members(aws)) == 1


def test_only_resuming_launches_launches(aws: Aws) -> None:
    (first,) = aws.group()
    suspend(aws)
    aws.ec2.terminate_instances(InstanceIds=[first])
    resume(aws, "Terminate", "AZRebalance")
    assert members(aws) == []
    resume(aws, "Launch")
    assert len(members(aws)) == 1
    resume(aws)
    assert len(members(aws)) == 1


def test_launches_suspended_when_the_instance_leaves(aws: Aws) -> None:
    """What counts is whether they are suspended then, not when termination began."""
    aws.post("settings", SLOW)
    (first,) = aws.group()
    (other_first,) = aws.group("master-b", "b")
    suspend(aws, "Launch", name="master-b")
    aws.ec2.terminate_instances(InstanceIds=[first, other_first])
    suspend(aws, "Launch")
    resume(aws, "Launch", name="master-b")
    assert running(aws) == []
    aws.post("clock", {"advance_seconds": 91})
    assert members(aws) == []
    assert running(aws) == members(aws, "master-b")
    assert len(members(aws, "master-b")) == 1


def test_suspended_processes_are_shown(aws: Aws) -> None:
    aws.group()
    assert aws.described_group()["SuspendedProcesses"] == []
    suspend(aws, "Launch")
    suspend(aws, "Launch", "Terminate")

    def suspended() -> set[str]:
        return {process["ProcessName"] for process in aws.described_group()["SuspendedProcesses"]}

    assert suspended() == {"Launch", "Terminate"}
    resume(aws, "Launch")
    assert suspended() == {"Terminate"}
    suspend(aws)
    assert {"Launch", "HealthCheck", "ReplaceUnhealthy"} <= suspended()
    resume(aws)
    assert suspended() == set()


def test_requests_for_an_unknown_group(aws: Aws) -> None:
    group = {"AutoScalingGroupName": "absent"}
    tag = {"ResourceId": "absent", "ResourceType": "auto-scaling-group", "Key": "k"}
    for call, request in (
        (aws.autoscaling.suspend_processes, group),
        (aws.autoscaling.resume_processes, group),
        (aws.autoscaling.set_desired_capacity, {**group, "DesiredCapacity": 1}),
        (aws.autoscaling.create_or_update_tags, {"Tags": [{**tag, "Value": "v"}]}),
        (aws.autoscaling.delete_tags, {"Tags": [tag]}),
    ):
        assert code_of(call, **request) == "ValidationError"
    logged = aws.get("calls")["calls"]
    assert {call["status"] for call in logged} == {400}
    described = aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["absent"])
    assert described["AutoScalingGroups"] == []


def test_a_late_launch_follows_the_suspension(aws: Aws) -> None:
    (first,) = aws.group()
    aws.group("master-b", "b")
    aws.post("autoscaling/late-launch", {"group": "master-a"})
    suspend(aws, "Launch", name="master-b")
    assert members(aws) == [first]
    suspend(aws, "Launch")
    assert len(members(aws)) == 2
    assert first in members(aws)
    (late,) = set(members(aws)) - {first}
    assert aws.described_instance(late)["State"]["Name"] == "running"
    assert as_dict(aws.described_instance(late)["Tags"])["aws:autoscaling:groupName"] == "master-a"
    # It was one, and launches are suspended all the same.
    suspend(aws, "Launch")
    aws.ec2.terminate_instances(InstanceIds=[first, late])
    assert members(aws) == []


def test_a_late_launch_comes_whatever_is_suspended(aws: Aws) -> None:
    aws.group()
    aws.post("autoscaling/late-launch", {"group": "master-a"})
    suspend(aws, "HealthCheck")
    assert len(members(aws)) == 2


def test_a_late_launch_comes_after_a_suspension_that_is_served(aws: Aws) -> None:
    aws.group()
    aws.post("autoscaling/late-launch", {"group": "master-a"})
    refusal = {"kind": "error", "code": "Throttling", "status": 400}
    aws.post("faults", {"operation": "SuspendProcesses", "fault": refusal})
    request = {"AutoScalingGroupName": "master-a", "ScalingProcesses": ["Launch"]}
    assert code_of(aws.autoscaling.suspend_processes, **request) == "Throttling"
    assert len(members(aws)) == 1
    suspend(aws, "Launch")
    assert len(members(aws)) == 2


def test_late_launches_that_make_no_sense(aws: Aws) -> None:
    aws.group()
    for body in ({"group": "absent"}, {}, {"group": ["master-a"]}, {"group": "master-a", "count": 2}):
        assert aws.refused("autoscaling/late-launch", body)
    suspend(aws)
    assert len(members(aws)) == 1


def test_resuming_launches_leaves_what_is_too_many(aws: Aws) -> None:
    (first,) = aws.group()
    aws.post("autoscaling/late-launch", {"group": "master-a"})
    suspend(aws, "Launch")
    resume(aws, "Launch")
    assert len(members(aws)) == 2
    aws.ec2.terminate_instances(InstanceIds=[first])
    assert len(members(aws)) == 1


def test_terminating_through_the_group(aws: Aws) -> None:
    aws.post("settings", SLOW)
    first, second = aws.group(size=2)
    terminate = aws.autoscaling.terminate_instance_in_auto_scaling_group
    terminate(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    assert running(aws) == [second]
    assert as_dict(aws.described_instance(first)["Tags"])["aws:autoscaling:groupName"] == "master-a"
    aws.post("clock", {"advance_seconds": 91})
    assert len(members(aws)) == 2
    assert first not in members(aws)
    terminate(InstanceId=second, ShouldDecrementDesiredCapacity=True)
    aws.post("clock", {"advance_seconds": 91})
    assert len(members(aws)) == 1
    assert aws.described_group()["DesiredCapacity"] == 1
    stranger = {"InstanceId": aws.instance(), "ShouldDecrementDesiredCapacity": False}
    assert code_of(terminate, **stranger) == "ValidationError"


def test_a_smaller_capacity_is_not_made_up_for(aws: Aws) -> None:
    aws.post("settings", SLOW)
    aws.group(size=3)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="master-a", DesiredCapacity=1)
    assert len(running(aws)) == 1
    aws.post("clock", {"advance_seconds": 91})
    assert len(running(aws)) == 1
    aws.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="master-a", ForceDelete=True)
    aws.post("clock", {"advance_seconds": 91})
    assert running(aws) == []


def names(aws: Aws, *filters: tuple[str, list[str]], **more: object) -> list[str]:
    asked = [{"Name": name, "Values": values} for name, values in filters]
    answer = aws.autoscaling.describe_auto_scaling_groups(Filters=asked, **more)
    return [group["AutoScalingGroupName"] for group in answer["AutoScalingGroups"]]


def test_groups_are_found_by_tags(aws: Aws) -> None:
    aws.group("master-a", tags={"KubernetesCluster": "c", "k8s.io/role/master": "1"})
    aws.group("master-b", tags={"KubernetesCluster": "d", "k8s.io/role/master": "1"})
    aws.group("nodes", tags={"KubernetesCluster": "c", "k8s.io/role/node": "1"})
    assert names(aws) == ["master-a", "master-b", "nodes"]
    assert names(aws, ("tag:KubernetesCluster", ["c"])) == ["master-a", "nodes"]
    assert names(aws, ("tag:KubernetesCluster", ["c", "d"])) == ["master-a", "master-b", "nodes"]
    assert names(aws, ("tag:KubernetesCluster", ["C"])) == []
    assert names(aws, ("tag-key", ["k8s.io/role/master"])) == ["master-a", "master-b"]
    assert names(aws, ("tag-value", ["d"])) == ["master-b"]
    both = [("tag:KubernetesCluster", ["c"]), ("tag-key", ["k8s.io/role/master"])]
    assert names(aws, *both) == ["master-a"]
    assert names(aws, *both, AutoScalingGroupNames=["nodes"]) == []
    asked = [{"Name": "key", "Values": ["KubernetesCluster"]}]
    assert code_of(aws.autoscaling.describe_auto_scaling_groups, Filters=asked) == "ValidationError"


def test_groups_come_in_pages(aws: Aws) -> None:
    for letter in "abcde":
        aws.group(f"master-{letter}", size=0, tags={"KubernetesCluster": "c"})
    describe = aws.autoscaling.describe_auto_scaling_groups

    def names_in(page: dict) -> list[str]:
        return [group["AutoScalingGroupName"] for group in page["AutoScalingGroups"]]

    first = describe(MaxRecords=2)
    assert names_in(first) == ["master-a", "master-b"]
    # What is deleted in between shifts nothing.
    aws.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="master-b")
    second = describe(MaxRecords=2, NextToken=first["NextToken"])
    assert names_in(second) == ["master-c", "master-d"]
    third = describe(MaxRecords=2, NextToken=second["NextToken"])
    assert names_in(third) == ["master-e"]
    assert "NextToken" not in third
    aws.post("settings", {"page_size_max": 3})
    asked = [{"Name": "tag-key", "Values": ["KubernetesCluster"]}]
    pages = list(aws.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(Filters=asked))
    assert [len(page["AutoScalingGroups"]) for page in pages] == [3, 1]
    assert code_of(describe, NextToken="master-c") == "InvalidNextToken"
    assert code_of(describe, MaxRecords=101) == "ValidationError"


def test_a_group_as_it_is_described(aws: Aws) -> None:
    (instance_id,) = aws.group("master-b", "b", tags={"KubernetesCluster": "c"})
    group = aws.described_group("master-b")
    (member,) = group["Instances"]
    assert (member["InstanceId"], member["LifecycleState"]) == (instance_id, "InService")
    assert member["AvailabilityZone"] == "eu-west-2b"
    assert group["DesiredCapacity"] == 1
    assert group["Tags"] == [
        {
            "ResourceId": "master-b",
            "ResourceType": "auto-scaling-group",
            "Key": "KubernetesCluster",
            "Value": "c",
            "PropagateAtLaunch": True,
        }
    ]


def test_tags_of_groups(aws: Aws) -> None:
    (instance_id,) = aws.group("master-a", tags={"KubernetesCluster": "c"})
    aws.group("master-b", "b")

    def tag(name: str, key: str, **more: object) -> dict[str, object]:
        return {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": key, **more}

    def tags(name: str) -> dict[str, str]:
        return as_dict(aws.described_group(name)["Tags"])

    create, delete = aws.autoscaling.create_or_update_tags, aws.autoscaling.delete_tags
    create(Tags=[tag("master-a", "k", Value="1"), tag("master-b", "k", Value="2", PropagateAtLaunch=False)])
    assert tags("master-a") == {"KubernetesCluster": "c", "k": "1"}
    create(Tags=[tag("master-a", "k", Value="3"), tag("master-a", "empty")])
    assert tags("master-a") == {"KubernetesCluster": "c", "k": "3", "empty": ""}
    assert tags("master-b") == {"k": "2"}
    assert names(aws, ("tag:empty", [""])) == ["master-a"]
    # Instances that are there already are not tagged.
    assert "k" not in as_dict(aws.described_instance(instance_id)["Tags"])
    delete(Tags=[tag("master-a", "k"), tag("master-a", "absent"), tag("master-b", "absent")])
    delete(Tags=[tag("master-a", "k", Value="3", PropagateAtLaunch=False)])
    assert tags("master-a") == {"KubernetesCluster": "c", "empty": ""}
    assert tags("master-b") == {"k": "2"}


def test_refused_tags_of_groups_change_nothing(aws: Aws) -> None:
    aws.group(tags={"k": "1"})
    tag = {"ResourceType": "auto-scaling-group", "Key": "k"}
    tags = [{**tag, "ResourceId": name} for name in ("master-a", "absent")]
    changed = [{**tag, "Value": "2"} for tag in tags]
    assert code_of(aws.autoscaling.create_or_update_tags, Tags=changed) == "ValidationError"
    assert code_of(aws.autoscaling.delete_tags, Tags=tags) == "ValidationError"
    assert as_dict(aws.described_group()["Tags"]) == {"k": "1"}


def test_suspended_groups_can_be_listed(aws: Aws) -> None:
    for name in ("master-a", "master-b"):
        aws.group(name)
    suspend(aws, "Launch", name="master-b")
    assert aws.get("autoscaling/suspended") == {"groups": ["master-b"]}
