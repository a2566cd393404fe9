"""Lifecycle policies: what is stored, and under which conditions.

Invariants: a stored policy's details have passed all checks and carry AWS's defaults;
a refused request has changed nothing.
"""

import copy
import json
from datetime import datetime
from typing import Any

from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.common_models import BaseModel
from moto.moto_api._internal import mock_random

from ..clock import clock
from ..iam import role_age_seconds, role_by_arn
from ..settings import settings
from . import rules
from .exceptions import InvalidRequest, LimitExceeded, ResourceNotFound

SERVICE_PRINCIPAL = "dlm.amazonaws.com"


class LifecyclePolicy(BaseModel):
    """One policy. `state` is ENABLED, DISABLED or ERROR."""

    def __init__(self, arn_prefix: str, request: dict[str, Any]) -> None:
        self.id = "policy-0" + mock_random.get_random_hex(16)
        self.arn = f"{arn_prefix}:policy/{self.id}"
        self.description: str = request["Description"]
        self.state: str = request["State"]
        self.status_message: str = self.state
        self.execution_role_arn: str = request["ExecutionRoleArn"]
        self.details: dict[str, Any] = rules.with_defaults(request["PolicyDetails"])
        self.tags: dict[str, str] = dict(request.get("Tags") or {})
        self.created: datetime = clock.now()
        self.modified: datetime = self.created

    @property
    def target_tags(self) -> list[dict[str, str]]:
        return self.details["TargetTags"]

    @property
    def schedules(self) -> list[dict[str, Any]]:
        return self.details["Schedules"]

    def force_state(self, state: str, message: str | None) -> None:
        self.state = state
        self.status_message = state if message is None else message

    def to_dict(self) -> dict[str, Any]:
        return {
            "PolicyId": self.id,
            "Description": self.description,
            "State": self.state,
            "StatusMessage": self.status_message,
            "ExecutionRoleArn": self.execution_role_arn,
            "DateCreated": _timestamp(self.created),
            "DateModified": _timestamp(self.modified),
            "PolicyDetails": copy.deepcopy(self.details),
            "Tags": dict(self.tags),
            "PolicyArn": self.arn,
            "DefaultPolicy": False,
        }

    def to_summary(self) -> dict[str, Any]:
        return {
            "PolicyId": self.id,
            "Description": self.description,
            "State": self.state,
            "Tags": dict(self.tags),
            "PolicyType": self.details["PolicyType"],
            "DefaultPolicy": False,
        }


class LifecycleManagerBackend(BaseBackend):
    """The policies of one account and Region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.policies: dict[str, LifecyclePolicy] = {}

    def create(self, request: dict[str, Any]) -> LifecyclePolicy:
        if request.get("DefaultPolicy") or not request.get("PolicyDetails"):
            raise InvalidRequest("Missing required parameter: PolicyDetails.")
        rules.check_details(request["PolicyDetails"])
        self._check_role(request["ExecutionRoleArn"])
        if len(self.policies) >= rules.POLICIES_MAX:
            raise LimitExceeded(f"At most {rules.POLICIES_MAX} policies are allowed per Region.")
        arn_prefix = f"arn:{self.partition}:dlm:{self.region_name}:{self.account_id}"
        policy = LifecyclePolicy(arn_prefix, request)
        self.policies[policy.id] = policy
        return policy

    def get(self, policy_id: str) -> LifecyclePolicy:
        if policy_id not in self.policies:
            raise ResourceNotFound(f"Policy {policy_id}")
        return self.policies[policy_id]

    def update(self, policy_id: str, request: dict[str, Any]) -> None:
        """Replace the members given, PolicyDetails as a whole, and keep the rest."""
        policy = self.get(policy_id)
        changes = request.get("PolicyDetails") or {}
        details = _details_after(policy.details, changes) if changes else policy.details
        role_arn = request.get("ExecutionRoleArn") or policy.execution_role_arn
        if role_arn != policy.execution_role_arn:
            self._check_role(role_arn)
        policy.details = details
        policy.execution_role_arn = role_arn
        policy.description = request.get("Description") or policy.description
        # A policy in error leaves it by an update that names a state.
        if request.get("State"):
            policy.force_state(request["State"], None)
        policy.modified = clock.now()

    def delete(self, policy_id: str) -> None:
        """The snapshots that the policy took stay."""
        del self.policies[self.get(policy_id).id]

    def find(
        self,
        policy_ids: list[str],
        state: str | None,
        resource_types: list[str],
        target_tags: list[str],
        tags_to_add: list[str],
    ) -> list[LifecyclePolicy]:
        """Policies that pass every filter given; a filter of several takes any of them."""
        policies = [self.get(policy_id) for policy_id in policy_ids] or list(self.policies.values())
        return [
            policy
            for policy in policies
            if (not state or policy.state == state)
            and _meets(resource_types, policy.details["ResourceTypes"])
            and _meets(target_tags, _as_text(policy.target_tags))
            and _meets(tags_to_add, [tag for s in policy.schedules for tag in _as_text(s["TagsToAdd"])])
        ]

    def by_arn(self, arn: str) -> LifecyclePolicy:
        for policy in self.policies.values():
            if policy.arn == arn:
                return policy
        raise ResourceNotFound(f"Resource {arn}")

    def _check_role(self, role_arn: str) -> None:
        role = role_by_arn(self.account_id, self.region_name, role_arn)
        if role is None:
            raise InvalidRequest(f"The execution role {role_arn} does not exist.")
        age_seconds = role_age_seconds(role, clock.now())
        if not _trusts_dlm(role) or age_seconds < settings.role_assumable_after_seconds:
            raise InvalidRequest(f"The execution role {role_arn} cannot be assumed by DLM.")


def _details_after(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The details after an update, checked."""
    rules.check_details(changes)
    after = rules.with_defaults(changes)
    rules.check_update(before, after)
    return after


def _trusts_dlm(role: Any) -> bool:
    statements = json.loads(role.assume_role_policy_document)["Statement"]
    return any(
        statement.get("Effect") == "Allow"
        and SERVICE_PRINCIPAL in _listed(statement.get("Principal", {}), "Service")
        and {"sts:AssumeRole", "sts:*", "*"} & set(_listed(statement, "Action"))
        for statement in (statements if isinstance(statements, list) else [statements])
    )


def _listed(holder: Any, name: str) -> list[str]:
    value = holder.get(name, []) if isinstance(holder, dict) else []
    return [value] if isinstance(value, str) else value


def _meets(wanted: list[str], present: list[str]) -> bool:
    return not wanted or bool(set(wanted) & set(present))


def _as_text(tags: list[dict[str, str]]) -> list[str]:
    return [f"{tag['Key']}={tag['Value']}" for tag in tags]


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds") + "Z"


dlm_backends = BackendDict(LifecycleManagerBackend, "dlm")
