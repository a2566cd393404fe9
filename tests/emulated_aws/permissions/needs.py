"""What each operation needs: actions on resources, and the context of each.

Source: AWS's Service Authorization Reference. A resource that does not exist has an ARN,
and no tags or other attributes.

Invariant: a key that `conditions` knows is in the context wherever AWS has it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from moto.autoscaling.models import autoscaling_backends
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from ..dlm.models import SERVICE_PRINCIPAL as DLM_PRINCIPAL
from ..dlm.models import dlm_backends
from ..dynamodb import table_of
from ..operations import Operation
from ..tags import authorized_tags
from ..volume_creation import TYPE_DEFAULT
from .conditions import Context

# Where the key iam:PermissionsBoundary is that of the role, not of the request.
_OF_BOUNDED_ROLE = {
    "AttachRolePolicy",
    "DetachRolePolicy",
    "DeleteRolePolicy",
    "PutRolePolicy",
    "UpdateAssumeRolePolicy",
}
_EC2_KINDS = {"i": "instance", "snap": "snapshot", "vol": "volume"}


class Need(NamedTuple):
    """One action on one resource that has to be allowed."""

    action: str
    resource: str
    context: Context


Rule = Callable[[Operation], Iterable[Need]]
Tags = dict[str, str]


def needs_of(operation: Operation) -> list[Need]:
    """LookupError or ValueError where it is not known what the operation needs."""
    name = _action(operation)
    if name not in _RULES:
        raise LookupError(f"there is no rule for {name}")
    needs = list(_RULES[name](operation))
    if not needs:
        raise LookupError(f"{name} names no resource")
    return needs


def _action(operation: Operation) -> str:
    return f"{operation.service}:{operation.name}"


def _need(action: str, resource: str, *contexts: Context) -> Need:
    merged: dict[str, tuple[str, ...]] = {}
    for key, values in (item for context in contexts for item in context.items()):
        if key.lower() in merged:  # AWS does not say which of the two it would take
            raise ValueError(f"there are two {key} that differ in case only")
        merged[key.lower()] = values
    return Need(action, resource, merged)


def _resource_tags(service: str, tags: Tags) -> Context:
    """`service` is that of keys like ec2:ResourceTag; empty where it has none."""
    prefixes = ["aws", service] if service else ["aws"]
    return {f"{prefix}:ResourceTag/{key}": (value,) for prefix in prefixes for key, value in tags.items()}


def _request_tags(tags: Iterable[dict[str, str]], are_removed: bool = False) -> Context:
    """A tag to be written without a value gets an empty one; one to be removed stays without."""
    values = {tag["Key"]: tag.get("Value", None if are_removed else "") for tag in tags}
    context = {f"aws:RequestTag/{key}": (value,) for key, value in values.items() if value is not None}
    return {**context, "aws:TagKeys": tuple(values)} if values else {}


def _requested(operation: Operation) -> Context:
    """The tags of the request, in any of the forms that services give them."""
    tags = operation.parameters.get("Tags") or operation.parameters.get("TagKeys", [])
    if isinstance(tags, dict):
        tags = [{"Key": key, "Value": value} for key, value in tags.items()]
    as_tags = [{"Key": tag} if isinstance(tag, str) else tag for tag in tags]
    return _request_tags(as_tags, are_removed=_removes_tags(operation))


def _removes_tags(operation: Operation) -> bool:
    return operation.name.startswith(("DeleteTags", "Untag"))


def _as_dict(tags: Iterable[dict[str, str]]) -> Tags:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _no_resource(operation: Operation) -> Iterator[Need]:
    yield _need(_action(operation), "*")


def _ec2_arn(operation: Operation, id: str) -> str:
    kind = _EC2_KINDS[id.partition("-")[0]]
    account = "" if kind == "snapshot" else ACCOUNT
    return f"arn:aws:ec2:{operation.region}:{account}:{kind}/{id}"


def _ec2_attributes(operation: Operation, id: str) -> Context:
    backend = ec2_backends[ACCOUNT][operation.region]
    tags = _resource_tags("ec2", authorized_tags.of(backend, id))
    if id in backend.snapshots:
        return {**tags, "ec2:Owner": (backend.snapshots[id].owner_id,)}
    if id in backend.volumes:
        return {**tags, "ec2:VolumeType": (backend.volumes[id].volume_type,)}
    return tags


def _ec2_resources(parameter: str) -> Rule:
    """For an operation on the resources, or the one, that the parameter names."""

    def rule(operation: Operation) -> Iterator[Need]:
        ids = operation.parameters[parameter]
        for id in [ids] if isinstance(ids, str) else ids:
            attributes = _ec2_attributes(operation, id)
            yield _need(_action(operation), _ec2_arn(operation, id), attributes, _requested(operation))

    return rule


def _create_volume(operation: Operation) -> Iterator[Need]:
    parameters = operation.parameters
    specifications = parameters.get("TagSpecifications", [])
    tags = [tag for specification in specifications for tag in specification.get("Tags", [])]
    volume = f"arn:aws:ec2:{operation.region}:{ACCOUNT}:volume/*"
    context = {**_request_tags(tags), "ec2:VolumeType": (parameters.get("VolumeType") or TYPE_DEFAULT,)}
    yield _need("ec2:CreateVolume", volume, context)
    if snapshot := parameters.get("SnapshotId"):
        attributes = _ec2_attributes(operation, snapshot)
        yield _need("ec2:CreateVolume", _ec2_arn(operation, snapshot), attributes)
    if tags:
        yield _need("ec2:CreateTags", volume, context, {"ec2:CreateAction": ("CreateVolume",)})


def _ebs_snapshot(operation: Operation) -> Iterator[Need]:
    id = operation.parameters["SnapshotId"]
    tags = ec2_backends[ACCOUNT][operation.region].tags.get(id, {})
    yield _need(_action(operation), _ec2_arn(operation, id), _resource_tags("", tags))


def _group(operation: Operation, name: str, *contexts: Context) -> Need:
    group = autoscaling_backends[ACCOUNT][operation.region].autoscaling_groups.get(name)
    prefix = f"arn:aws:autoscaling:{operation.region}:{ACCOUNT}:autoScalingGroup"
    arn = group.arn if group else f"{prefix}:*:autoScalingGroupName/{name}"
    tags = _as_dict(group.tags if group else [])
    return _need(_action(operation), arn, _resource_tags("autoscaling", tags), *contexts)


def _named_group(operation: Operation) -> Iterator[Need]:
    yield _group(operation, operation.parameters["AutoScalingGroupName"])


def _tagged_groups(operation: Operation) -> Iterator[Need]:
    tags = operation.parameters["Tags"]
    for name in dict.fromkeys(tag["ResourceId"] for tag in tags):
        of_group = [tag for tag in tags if tag["ResourceId"] == name]
        yield _group(operation, name, _request_tags(of_group, are_removed=_removes_tags(operation)))


def _lifecycle_policy(operation: Operation) -> Iterator[Need]:
    parameters = operation.parameters
    prefix = f"arn:aws:dlm:{operation.region}:{ACCOUNT}:policy/"
    arn = parameters.get("ResourceArn") or prefix + parameters["PolicyId"]
    policy = dlm_backends[ACCOUNT][operation.region].policies.get(arn.rpartition("/")[2])
    tags = _resource_tags("", policy.tags if policy else {})
    yield _need(_action(operation), arn, tags, _requested(operation))
    if "ExecutionRoleArn" in parameters:
        yield _pass_to_dlm(operation)


def _create_lifecycle_policy(operation: Operation) -> Iterator[Need]:
    yield _need(_action(operation), "*", _requested(operation))
    yield _pass_to_dlm(operation)
    if operation.parameters.get("Tags"):
        arn = f"arn:aws:dlm:{operation.region}:{ACCOUNT}:policy/*"
        yield _need("dlm:TagResource", arn, _requested(operation))


def _pass_to_dlm(operation: Operation) -> Need:
    # Without the role's tags: IAM warns not to rely on them here.
    arn = operation.parameters["ExecutionRoleArn"]
    return _need("iam:PassRole", arn, {"iam:PassedToService": (DLM_PRINCIPAL,)})


def _role(operation: Operation) -> Iterator[Need]:
    """Whatever path the role has, requests name it without."""
    parameters = operation.parameters
    name = parameters["RoleName"]
    role = next((one for one in iam_backends[ACCOUNT]["aws"].get_roles() if one.name == name), None)
    arn = role.arn if role else f"arn:aws:iam::{ACCOUNT}:role/{name}"
    tags = _resource_tags("iam", _as_dict(role.tags if role else []))
    policy = {"iam:PolicyARN": (parameters["PolicyArn"],)} if "PolicyArn" in parameters else {}
    boundary = parameters.get("PermissionsBoundary")
    if operation.name in _OF_BOUNDED_ROLE and role:
        boundary = role.permissions_boundary_arn
    yield _need(_action(operation), arn, tags, _requested(operation), policy, _boundary(boundary))


def _boundary(policy_arn: str | None) -> Context:
    return {"iam:PermissionsBoundary": (policy_arn,)} if policy_arn else {}


def _managed_policy(operation: Operation) -> Iterator[Need]:
    arn = operation.parameters["PolicyArn"]
    policy = iam_backends[ACCOUNT]["aws"].managed_policies.get(arn)
    tags = _resource_tags("iam", _as_dict(policy.tags.values() if policy else []))
    yield _need(_action(operation), arn, tags, _requested(operation))


def _new_in_iam(kind: str) -> Rule:
    """`kind` is Role or Policy."""

    def rule(operation: Operation) -> Iterator[Need]:
        parameters = operation.parameters
        path = parameters.get("Path") or "/"
        arn = f"arn:aws:iam::{ACCOUNT}:{kind.lower()}{path}{parameters[kind + 'Name']}"
        boundary = _boundary(parameters.get("PermissionsBoundary"))
        yield _need(_action(operation), arn, _requested(operation), boundary)
        if parameters.get("Tags"):
            yield _need(f"iam:Tag{kind}", arn, _requested(operation))

    return rule


def _topic(operation: Operation) -> Iterator[Need]:
    arn = operation.parameters["TopicArn"]
    topic = sns_backends[ACCOUNT][operation.region].topics.get(arn)
    yield _need(_action(operation), arn, _resource_tags("", topic._tags if topic else {}))


def _table(operation: Operation) -> Iterator[Need]:
    name = operation.parameters["TableName"]
    table = table_of(ACCOUNT, operation.region, name)
    prefix = f"arn:aws:dynamodb:{operation.region}:{ACCOUNT}:table/"
    arn = name if name.startswith("arn:") else prefix + name
    yield _need(_action(operation), arn, _resource_tags("", _as_dict(table.tags if table else [])))


def _queue(operation: Operation) -> Iterator[Need]:
    name = operation.parameters["QueueUrl"].rpartition("/")[2]
    queue = sqs_backends[ACCOUNT][operation.region].queues.get(name)
    arn = f"arn:aws:sqs:{operation.region}:{ACCOUNT}:{name}"
    yield _need(_action(operation), arn, _resource_tags("", queue.tags if queue else {}))


_OPERATIONS: list[tuple[str, Rule, str]] = [
    ("ec2", _no_resource, "DescribeVolumes DescribeSnapshots DescribeInstances DescribeAvailabilityZones"),
    ("ec2", _ec2_resources("InstanceId"), "DescribeInstanceAttribute"),
    ("ec2", _ec2_resources("InstanceIds"), "TerminateInstances"),
    ("ec2", _ec2_resources("Resources"), "CreateTags DeleteTags"),
    ("ec2", _create_volume, "CreateVolume"),
    ("ebs", _ebs_snapshot, "ListSnapshotBlocks GetSnapshotBlock"),
    ("autoscaling", _no_resource, "DescribeAutoScalingGroups"),
    ("autoscaling", _named_group, "SuspendProcesses ResumeProcesses"),
    ("autoscaling", _tagged_groups, "CreateOrUpdateTags DeleteTags"),
    ("dlm", _no_resource, "GetLifecyclePolicies"),
    ("dlm", _create_lifecycle_policy, "CreateLifecyclePolicy"),
    ("dlm", _lifecycle_policy, "GetLifecyclePolicy UpdateLifecyclePolicy DeleteLifecyclePolicy"),
    ("dlm", _lifecycle_policy, "TagResource UntagResource ListTagsForResource"),
    ("iam", _no_resource, "ListPolicies"),
    ("iam", _new_in_iam("Role"), "CreateRole"),
    ("iam", _role, "GetRole UpdateAssumeRolePolicy DeleteRole TagRole UntagRole"),
    ("iam", _role, "AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies"),
    ("iam", _role, "ListRolePolicies ListInstanceProfilesForRole PutRolePermissionsBoundary"),
    ("iam", _new_in_iam("Policy"), "CreatePolicy"),
    ("iam", _managed_policy, "GetPolicy DeletePolicy TagPolicy UntagPolicy ListPolicyTags"),
    ("iam", _managed_policy, "GetPolicyVersion ListPolicyVersions CreatePolicyVersion"),
    ("iam", _managed_policy, "DeletePolicyVersion SetDefaultPolicyVersion ListEntitiesForPolicy"),
    ("dynamodb", _table, "GetItem PutItem UpdateItem Query"),
    ("sns", _topic, "Publish"),
    ("sqs", _queue, "SendMessage"),
]
_RULES = {f"{service}:{name}": rule for service, rule, names in _OPERATIONS for name in names.split()}
