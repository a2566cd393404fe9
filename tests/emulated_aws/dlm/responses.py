"""The eight operations of Lifecycle Manager over REST and JSON."""

import json
from typing import Any

from moto.core.responses import BaseResponse

from . import shapes
from .exceptions import InvalidRequest
from .models import LifecycleManagerBackend, LifecyclePolicy, dlm_backends

Answer = tuple[int, dict[str, str], str]


class LifecycleManagerResponse(BaseResponse):
    """moto calls the method that is named after the operation."""

    def __init__(self) -> None:
        super().__init__(service_name="dlm")

    @property
    def backend(self) -> LifecycleManagerBackend:
        return dlm_backends[self.current_account][self.region]

    def create_lifecycle_policy(self) -> Answer:
        policy = self.backend.create(self._request("CreateLifecyclePolicy"))
        return _answer({"PolicyId": policy.id})

    def get_lifecycle_policies(self) -> Answer:
        query = self.normalized_request.args
        request: dict[str, Any] = {
            member: query.getlist(name)
            for member, name in [
                ("PolicyIds", "policyIds"),
                ("ResourceTypes", "resourceTypes"),
                ("TargetTags", "targetTags"),
                ("TagsToAdd", "tagsToAdd"),
            ]
            if name in query
        }
        if "state" in query:
            request["State"] = query["state"]
        shapes.check("GetLifecyclePolicies", request)
        policies = self.backend.find(
            request.get("PolicyIds", []),
            request.get("State"),
            request.get("ResourceTypes", []),
            request.get("TargetTags", []),
            request.get("TagsToAdd", []),
        )
        return _answer({"Policies": [policy.to_summary() for policy in policies]})

    def get_lifecycle_policy(self) -> Answer:
        shapes.check("GetLifecyclePolicy", {"PolicyId": self._policy_id})
        return _answer({"Policy": self.backend.get(self._policy_id).to_dict()})

    def update_lifecycle_policy(self) -> Answer:
        request = self._request("UpdateLifecyclePolicy", PolicyId=self._policy_id)
        self.backend.update(self._policy_id, request)
        return _answer({})

    def delete_lifecycle_policy(self) -> Answer:
        shapes.check("DeleteLifecyclePolicy", {"PolicyId": self._policy_id})
        self.backend.delete(self._policy_id)
        return _answer({})

    def list_tags_for_resource(self) -> Answer:
        shapes.check("ListTagsForResource", {"ResourceArn": self._resource_arn})
        return _answer({"Tags": dict(self._tagged.tags)})

    def tag_resource(self) -> Answer:
        request = self._request("TagResource", ResourceArn=self._resource_arn)
        self._tagged.tags.update(request["Tags"])
        return _answer({})

    def untag_resource(self) -> Answer:
        keys = self.normalized_request.args.getlist("tagKeys")
        shapes.check("UntagResource", {"ResourceArn": self._resource_arn, "TagKeys": keys})
        for key in keys:
            self._tagged.tags.pop(key, None)
        return _answer({})

    @property
    def _policy_id(self) -> str:
        return self.uri_match["policyId"]

    @property
    def _resource_arn(self) -> str:
        return self.uri_match["resourceArn"]

    @property
    def _tagged(self) -> LifecyclePolicy:
        return self.backend.by_arn(self._resource_arn)

    def _request(self, operation: str, **from_uri: str) -> dict[str, Any]:
        """The checked body, with what the path says."""
        try:
            body = json.loads(self.body or "{}")
        except ValueError:
            raise InvalidRequest("The request's body is not JSON.") from None
        if not isinstance(body, dict):
            raise InvalidRequest("The request's body is not an object.")
        # AWS treats a member that is null as one that is absent.
        request = {**_without_nulls(body), **from_uri}
        shapes.check(operation, request)
        return request


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value


def _answer(members: dict[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(members)
