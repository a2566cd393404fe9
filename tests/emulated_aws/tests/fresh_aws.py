"""One emulated AWS as the tests use it: boto3 clients and the control interface."""

import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "eu-west-2"
# Long enough for everything that a test waits for, on the slowest machine too.
WAIT_MAX_SECONDS = 120
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "dlm.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


class Aws:
    """One emulated AWS: its clients and its control interface."""

    def __init__(self, endpoint: str, access_key_id: str = "test") -> None:
        self.endpoint = endpoint
        self._access_key_id = access_key_id
        self._clients: dict[str, Any] = {}

    def client(self, service: str, attempts: int = 1) -> Any:
        """By default without retries, so that a test sees each failure."""
        key = f"{service}/{attempts}"
        if key not in self._clients:
            self._clients[key] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id=self._access_key_id,
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": attempts}, read_timeout=WAIT_MAX_SECONDS),
            )
        return self._clients[key]

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    @property
    def autoscaling(self) -> Any:
        return self.client("autoscaling")

    @property
    def dlm(self) -> Any:
        return self.client("dlm")

    @property
    def iam(self) -> Any:
        return self.client("iam")

    def get(self, path: str) -> Any:
        return self._control("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self._control("POST", path, json=body or {})

    def delete(self, path: str) -> Any:
        return self._control("DELETE", path)

    def refused(self, path: str, body: Any) -> str:
        """Why the control interface refuses the request."""
        response = requests.post(f"{self.endpoint}/emulator/{path}", json=body, timeout=WAIT_MAX_SECONDS)
        assert response.status_code == 400, response.text
        return response.json()["error"]

    def _control(self, method: str, path: str, **more: Any) -> Any:
        url = f"{self.endpoint}/emulator/{path}"
        response = requests.request(method, url, timeout=WAIT_MAX_SECONDS, **more)
        assert response.status_code == 200, response.text
        return response.json()

    def volume(self, zone: str = "a", size: int = 20, tags: dict[str, str] | None = None, **more: Any) -> str:
        specifications = [{"ResourceType": "volume", "Tags": as_list(tags)}] if tags else []
        made = self.ec2.create_volume(
            AvailabilityZone=REGION + zone, Size=size, TagSpecifications=specifications, **more
        )
        return made["VolumeId"]

    def snapshot(self, volume_id: str) -> str:
        return self.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]

    def role(self, name: str = "dlm-role", trust: Any = TRUST) -> str:
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        return role["Role"]["Arn"]

    def instance(self, zone: str = "a", **more: Any) -> str:
        placement = {"AvailabilityZone": REGION + zone}
        made = self.ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, Placement=placement, **more
        )
        return made["Instances"][0]["InstanceId"]

    def group(self, name: str = "master-a", zone: str = "a", size: int = 1, tags: Any = None) -> list[str]:
        """The instances of a new autoscaling group; its tags propagate to them."""
        self.ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"ImageId": "ami-12345678", "InstanceType": "t3.medium"},
        )
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
            MinSize=0,
            MaxSize=10,
            DesiredCapacity=size,
            AvailabilityZones=[REGION + zone],
            Tags=[{**tag, "PropagateAtLaunch": True} for tag in as_list(tags or {})],
        )
        return [member["InstanceId"] for member in self.described_group(name)["Instances"]]

    def described_group(self, name: str = "master-a") -> dict[str, Any]:
        described = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        (group,) = described["AutoScalingGroups"]
        return group

    def described_instance(self, instance_id: str) -> dict[str, Any]:
        (reservation,) = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        (instance,) = reservation["Instances"]
        return instance

    def instances_in(self, *states: str) -> list[str]:
        asked = [{"Name": "instance-state-name", "Values": list(states)}]
        reservations = self.ec2.describe_instances(Filters=asked)["Reservations"]
        return [one["InstanceId"] for reservation in reservations for one in reservation["Instances"]]

    def described_volume(self, volume_id: str) -> dict[str, Any]:
        return self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]

    def described_snapshot(self, snapshot_id: str) -> dict[str, Any]:
        return self.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]

    def operations(self) -> list[str]:
        return [call["operation"] for call in self.get("calls")["calls"]]


def until(is_so: Callable[[], object]) -> None:
    """Wait for what comes sooner or later."""
    end = time.monotonic() + WAIT_MAX_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def is_gone(aws: Aws) -> bool:
    """Whether nothing listens there any more."""
    try:
        requests.get(f"{aws.endpoint}/emulator/health", timeout=WAIT_MAX_SECONDS)
    except requests.ConnectionError:
        return True
    return False


def has_come(aws: Aws) -> bool:
    """Whether a call has come that a planted fault is for, ended or not."""
    return any(rule["calls_seen"] for rule in aws.get("faults")["faults"])


def as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def as_dict(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def code_of(call: Any, **parameters: Any) -> str:
    """The error code that the call fails with."""
    with pytest.raises(ClientError) as failure:
        call(**parameters)
    return failure.value.response["Error"]["Code"]
