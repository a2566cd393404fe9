"""Terminating instances, which takes time: shutting down first, gone afterwards.

An instance is `shutting-down` for the setting `instance_terminating_seconds`, its volumes
still attached. Then it is `terminated`, its volumes are deleted or detached, and those
that have to know are told. That happens in the first request after the time is over.

Invariants: a request that names a protected instance is refused, and yet those in zones
without a protected one are terminated, as EC2 does; an instance that is on its way out, or
out, is not terminated again.
"""

import copy
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.core.responses import ActionResult
from moto.ec2.exceptions import InvalidParameterCombination, OperationNotPermitted4
from moto.ec2.models.instances import Instance, InstanceBackend, InstanceState
from moto.ec2.responses.instances import InstanceResponse
from moto.elbv2.models import elbv2_backends

from .clock import Moment, clock
from .patching import replace
from .settings import settings

_SHUTTING_DOWN = ("shutting-down", 32)
_LEAVING_OR_LEFT = ("shutting-down", "terminated")


class Terminations:
    """The instances that are shutting down, and since when."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._under_way: list[tuple[Instance, Moment]] = []

    def begin(self, instance: Instance) -> None:
        instance._state = InstanceState(*_SHUTTING_DOWN)
        self._under_way.append((instance, clock.moment()))

    def settle(self) -> None:
        """Let what is over by now be over."""
        over = [instance for instance, began in self._under_way if _is_over(began)]
        if not over:
            return
        self._under_way = [under_way for under_way in self._under_way if under_way[0] not in over]
        for instance in over:
            instance.terminate()
        for backend in {id(instance.ec2_backend): instance.ec2_backend for instance in over}.values():
            left = [instance.id for instance in over if instance.ec2_backend is backend]
            for backends in (autoscaling_backends, elbv2_backends):
                backends[backend.account_id][backend.region_name].notify_terminate_instances(left)


terminations = Terminations()


def _is_over(began: Moment) -> bool:
    return clock.seconds_since(began) >= settings.instance_terminating_seconds


def _terminate(self: InstanceBackend, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
    """Each instance with the state it was in.

    Protection is not looked at: it holds for requests, not for Auto Scaling, which calls
    this too.
    """
    if not instance_ids:
        raise InvalidParameterCombination("No instances specified")
    instances = self.get_multi_instances_by_id(instance_ids)
    # Copies, as moto changes a state in place.
    before = [(instance, copy.copy(instance.instance_state)) for instance in instances]
    for instance in instances:
        if instance.state not in _LEAVING_OR_LEFT:
            terminations.begin(instance)
    terminations.settle()
    return before


def _terminate_instances(self: InstanceResponse) -> ActionResult:
    backend = self.ec2_backend
    instance_ids = self._get_param("InstanceIds", [])
    instances = backend.get_multi_instances_by_id(instance_ids)
    protected = [instance for instance in instances if _is_protected(instance)]
    self.error_on_dryrun()
    if protected:
        zones = {instance.availability_zone for instance in protected}
        elsewhere = [instance.id for instance in instances if instance.availability_zone not in zones]
        if elsewhere:
            backend.terminate_instances(elsewhere)
        raise OperationNotPermitted4(protected[0].id)
    terminating = [
        _state_change(instance, before) for instance, before in backend.terminate_instances(instance_ids)
    ]
    return ActionResult({"TerminatingInstances": terminating})


def _is_protected(instance: Instance) -> bool:
    return bool(instance.disable_api_termination) and instance.state not in _LEAVING_OR_LEFT


def _state_change(instance: Instance, before: InstanceState) -> dict[str, Any]:
    # EC2 answers before anything is shut down.
    now = before if before.name in _LEAVING_OR_LEFT else InstanceState(*_SHUTTING_DOWN)
    return {"InstanceId": instance.id, "CurrentState": now, "PreviousState": before}


def install() -> None:
    replace(InstanceBackend, "terminate_instances", _terminate)
    replace(InstanceResponse, "terminate_instances", _terminate_instances)
