"""Auto Scaling groups: what they launch and when, and how they are found.

moto replaces a terminated instance at once, whatever is suspended. Here a group launches
nothing while its launches are suspended, and replaces an instance when that has left.

Invariants: only a planted late launch happens in spite of the suspension; a request that
is refused has changed no tag.
"""

import itertools
from collections import OrderedDict
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import AutoScalingBackend, autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError

from . import paging
from .patching import replace, wrap

LAUNCH = "Launch"

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 100

sequence_numbers = itertools.count()


class EmulatedMember(models.InstanceState):
    """An instance of a group."""

    @property
    def lifecycle_state(self) -> str:
        return "Terminating" if self.instance.state == "shutting-down" else self._lifecycle_state

    @lifecycle_state.setter
    def lifecycle_state(self, state: str) -> None:
        self._lifecycle_state = state


class EmulatedGroup(models.FakeAutoScalingGroup):
    """A group that launches only while its launches are not suspended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sequence = next(sequence_numbers)
        self.late_launch_planted = False
        super().__init__(*args, **kwargs)

    @property
    def may_launch(self) -> bool:
        return all(process["ProcessName"] != LAUNCH for process in self.suspended_processes)

    def active_instances(self) -> list[EmulatedMember]:
        """With those that are shutting down: until one has left, it is not replaced."""
        active = ("InService", "Terminating")
        return [member for member in self.instance_states if member.lifecycle_state in active]

    def replace_autoscaling_group_instances(self, count_needed: int, propagated_tags: dict[str, str]) -> None:
        """However a launch comes about, moto does it here."""
        if self.may_launch:
            super().replace_autoscaling_group_instances(count_needed, propagated_tags)

    def launch_missing(self) -> None:
        if len(self.active_instances()) < (self.desired_capacity or 0):
            self.set_desired_capacity(self.desired_capacity)

    def launch_late(self) -> None:
        """A launch that was under way when launches were suspended."""
        super().replace_autoscaling_group_instances(1, self.get_propagated_tags())


class GroupsByName(OrderedDict[str, EmulatedGroup]):
    """Asked for an unknown group, refuses as AWS does."""

    def __missing__(self, name: str) -> EmulatedGroup:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")


def plant_late_launch(name: str) -> None:
    """Let the next SuspendProcesses of the group come too late for one launch."""
    for _, _, backend in autoscaling_backends.iter_backends():
        if name in backend.autoscaling_groups:
            backend.autoscaling_groups[name].late_launch_planted = True
            return
    raise ValueError(f"no autoscaling group {name!r}")


def suspended() -> list[str]:
    """The groups of which any process is suspended."""
    return [
        group.name
        for _, _, backend in autoscaling_backends.iter_backends()
        for group in backend.autoscaling_groups.values()
        if group.suspended_processes
    ]


def _refusing_unknown_groups(moto_init: Any) -> Any:
    def __init__(self: AutoScalingBackend, *args: Any, **kwargs: Any) -> None:
        moto_init(self, *args, **kwargs)
        self.autoscaling_groups = GroupsByName()

    return __init__


def _then_launching_late(moto_suspend_processes: Any) -> Any:
    def suspend_processes(self: AutoScalingBackend, group_name: str, processes: list[str]) -> None:
        moto_suspend_processes(self, group_name, processes)
        group = self.autoscaling_groups[group_name]
        if group.late_launch_planted:
            group.late_launch_planted = False
            group.launch_late()

    return suspend_processes


def _then_launching_missing(moto_resume_processes: Any) -> Any:
    def resume_processes(self: AutoScalingBackend, group_name: str, processes: list[str]) -> None:
        moto_resume_processes(self, group_name, processes)
        self.autoscaling_groups[group_name].launch_missing()

    return resume_processes


def _notify_terminate_instances(self: AutoScalingBackend, instance_ids: list[str]) -> None:
    """Take note that these have left."""
    for group in self.autoscaling_groups.values():
        staying = [member for member in group.instance_states if member.instance_id not in instance_ids]
        if len(staying) < len(group.instance_states):
            group.instance_states = staying
            group.launch_missing()
            self.update_attached_elbs(group.name)


def _terminate_instance(
    self: AutoScalingBackend, instance_id: str, should_decrement: bool
) -> models.TerminateInstanceActivity:
    """moto would replace the instance first, and take its group's tag off."""
    member = next(iter(self.describe_auto_scaling_instances([instance_id])), None)
    if member is None:
        message = f"Instance Id not found - No managed instance found for instance ID: {instance_id}"
        raise ValidationError(message)
    group = member.auto_scaling_group
    capacity_before = group.desired_capacity
    if should_decrement:
        group.desired_capacity -= 1
    self.ec2_backend.terminate_instances([instance_id])
    return models.TerminateInstanceActivity(member.instance, capacity_before)


def _all_or_none(moto_write_tags: Any) -> Any:
    def write_tags(self: AutoScalingBackend, tags: list[dict[str, Any]]) -> None:
        for tag in tags:
            self.autoscaling_groups[tag["ResourceId"]]  # refuses a group that is unknown
        moto_write_tags(self, [{**tag, "Value": tag.get("Value") or ""} for tag in tags])

    return write_tags


def _describe_auto_scaling_groups(self: AutoScalingResponse) -> ActionResult:
    filters = self._get_param("Filters", [])
    size = self._get_int_param("MaxRecords", PAGE_SIZE_DEFAULT)
    for asked in filters:
        _check_filter(asked["Name"])
    if not 1 <= size <= PAGE_SIZE_MAX:
        raise ValidationError(f"MaxRecords must be from 1 to {PAGE_SIZE_MAX}, not {size}")
    names = self._get_param("AutoScalingGroupNames", [])
    groups = self.autoscaling_backend.describe_auto_scaling_groups(names, filters=filters)
    try:
        shown, token = paging.page(groups, size, self._get_param("NextToken"))
    except EC2ClientError:
        raise AutoscalingClientError("InvalidNextToken", "The token is not valid.") from None
    return ActionResult({"AutoScalingGroups": shown, "NextToken": token})


def _check_filter(name: str) -> None:
    """moto takes no notice of a filter that it does not know."""
    if name not in ("tag-key", "tag-value") and not name.startswith("tag:"):
        message = f"Filter type {name} is not correct. Allowed Filter types are: tag-key tag-value tag:"
        raise ValidationError(message)


def install() -> None:
    replace(models, "InstanceState", EmulatedMember)
    replace(models, "FakeAutoScalingGroup", EmulatedGroup)
    wrap(AutoScalingBackend, "__init__", _refusing_unknown_groups)
    wrap(AutoScalingBackend, "suspend_processes", _then_launching_late)
    wrap(AutoScalingBackend, "resume_processes", _then_launching_missing)
    wrap(AutoScalingBackend, "create_or_update_tags", _all_or_none)
    wrap(AutoScalingBackend, "delete_tags", _all_or_none)
    replace(AutoScalingBackend, "notify_terminate_instances", _notify_terminate_instances)
    replace(AutoScalingBackend, "terminate_instance", _terminate_instance)
    replace(AutoScalingResponse, "describe_auto_scaling_groups", _describe_auto_scaling_groups)
