"""The emulated AWS as a function sees it whose access key is restricted."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .fresh_aws import Aws

KEY = "AKIAFUNCTION"
ACCOUNT = "123456789012"
EC2 = f"arn:aws:ec2:eu-west-2:{ACCOUNT}"
SNAPSHOTS = "arn:aws:ec2:eu-west-2::snapshot"
IAM = f"arn:aws:iam::{ACCOUNT}"
DLM = f"arn:aws:dlm:eu-west-2:{ACCOUNT}:policy"

Call = Callable[[], Any]


def allow(action: Any = "*", resource: Any = "*", **condition: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}


def deny(action: Any = "*", resource: Any = "*", **condition: Any) -> dict[str, Any]:
    return {**allow(action, resource, **condition), "Effect": "Deny"}


class Function(Aws):
    """The emulated AWS as one sees it whose key is restricted."""

    def __init__(self, aws: Aws) -> None:
        super().__init__(aws.endpoint, KEY)

    def may(self, *statements: dict[str, Any]) -> None:
        documents = [{"Version": "2012-10-17", "Statement": list(statements)}]
        self.post("iam/enforce", {"access_key_id": KEY, "policies": documents})

    def needs_of(self, call: Call) -> list[tuple[str, str]]:
        """What the call needs, where everything is allowed; it may fail by itself."""
        self.may(allow())
        self.delete("iam/used")
        try:
            call()
        except ClientError as failure:
            assert failure.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 501)
        used = self.get("iam/used")
        assert used["denied"] == []
        return [(one["action"], one["resource"]) for one in used["used"]]

    def is_let(self, call: Call, *statements: dict[str, Any]) -> bool:
        self.may(*statements)
        try:
            call()
        except ClientError as failure:
            if failure.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
                raise
            return False
        return True


def failure_of(call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as failure:
        call(**parameters)
    return failure.value.response
