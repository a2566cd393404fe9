"""The transformed template, created in the emulated CloudFormation.

    python -m template.deploy TRANSFORMED [NAME=VALUE ...] > policies.json

prints the policies of each function's role as they are once all references are resolved, for
tests that run the functions under them. What the emulation would pass over in silence is
taken out beforehand and named here, so that tests know what they have to look at themselves.
"""

import ast
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from deployment.location import PACKAGED

REGION = "eu-west-2"
STACK = "etcd-backup"
# moto knows none of these; a stack that refers to one fails.
UNKNOWN_TYPES = {
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "Custom::ConvergedBackups",  # would be invoked, which moto needs Docker for
}
FUNCTIONS = ("converge", "audit", "restore", "verify")


@dataclass(frozen=True)
class Stack:
    """What the emulated CloudFormation made: physical ids by logical ones, and roles by their names."""

    status: str
    made: dict[str, str]
    policies: dict[str, list[Any]]
    boundaries: dict[str, str | None]
    tables: list[dict[str, Any]]


@contextmanager
def emulated_aws() -> Iterator[str]:
    """The endpoint of an emulated AWS that ends with the block."""
    command = [sys.executable, "-m", "emulated_aws", "--port", "0"]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield json.loads(process.stdout.readline())["endpoint"]
        process.stdin.close()


def deploy(
    endpoint: str,
    transformed: dict[str, Any],
    parameters: dict[str, str],
    name: str = STACK,
    code: dict[str, list[str]] | None = None,
) -> Stack:
    """Creates the stack, and waits for it. The code lies where a bucket's keys say."""
    client = _clients(endpoint)
    for bucket, keys in (code or {PACKAGED["Bucket"]: [PACKAGED["Key"]]}).items():
        _upload_code(client("s3"), bucket, keys)
    _make_boundary(client("iam"), parameters.get("PermissionsBoundary"))
    known = {
        name: dict(resource)
        for name, resource in transformed["Resources"].items()
        if resource["Type"] not in UNKNOWN_TYPES
    }
    for resource in known.values():
        if resource.get("DependsOn") not in known:
            resource.pop("DependsOn", None)
    cloudformation = client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps({**transformed, "Resources": known}),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    listed = cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
    made = {entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in listed}
    return Stack(
        status=cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"],
        made=made,
        policies={name: _policies(client, made[f"{name.capitalize()}Function"]) for name in FUNCTIONS},
        boundaries=_boundaries(client("iam")),
        tables=_tables(client("dynamodb")),
    )


def _clients(endpoint: str) -> Any:
    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    return client


def _upload_code(s3: Any, bucket: str, keys: list[str]) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("bootstrap", "")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=code.getvalue())


def _make_boundary(iam: Any, name: str | None) -> None:
    """The policy that is to bound the roles, as an organization would have made it."""
    if name:
        *path, name = name.rpartition(":policy/")[2].split("/")
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        path = "/".join(["", *path, ""])
        iam.create_policy(PolicyName=name, Path=path, PolicyDocument=json.dumps(document))


def _boundaries(iam: Any) -> dict[str, str | None]:
    roles = [iam.get_role(RoleName=role["RoleName"])["Role"] for role in iam.list_roles()["Roles"]]
    of_role = {role["RoleName"]: role.get("PermissionsBoundary", {}) for role in roles}
    return {name: boundary.get("PermissionsBoundaryArn") for name, boundary in of_role.items()}


def _tables(dynamodb: Any) -> list[dict[str, Any]]:
    names = dynamodb.list_tables()["TableNames"]
    return [dynamodb.describe_table(TableName=name)["Table"] for name in names]


def _policies(client: Any, function: str) -> list[Any]:
    """The inline policies of the role that the function runs under."""
    iam = client("iam")
    configuration = client("lambda").get_function_configuration(FunctionName=function)
    role = configuration["Role"].rsplit("/", 1)[-1]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    # moto's CloudFormation writes them down as Python has them.
    parsed = [ast.literal_eval(each) if isinstance(each, str) else each for each in documents]
    return [_without_no_value(document) for document in parsed]


def _without_no_value(value: Any) -> Any:
    """moto leaves a None where AWS::NoValue stood in a list."""
    if isinstance(value, dict):
        return {key: _without_no_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_no_value(inner) for inner in value if inner is not None]
    return value


def main() -> None:
    transformed = json.loads(Path(sys.argv[1]).read_text())
    parameters = dict(argument.split("=", 1) for argument in sys.argv[2:])
    with emulated_aws() as endpoint:
        stack = deploy(endpoint, transformed, parameters)
    if stack.status != "CREATE_COMPLETE":
        sys.exit(f"the stack is {stack.status}")
    json.dump(stack.policies, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
