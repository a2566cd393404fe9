"""What each operation needs: which actions, on which resources, in which context."""

import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from ..operations import Operation
from ..permissions import needs
from .fresh_aws import TRUST, WAIT_MAX_SECONDS, Aws, as_list, code_of
from .restricted import ACCOUNT, DLM, EC2, IAM, KEY, SNAPSHOTS, Call, Function, allow, failure_of
from .test_dlm import ROLE_ARN, policy_request
from .test_iam import DOCUMENT as POLICY

DOCUMENT = json.dumps(POLICY)
SOURCES = Path(__file__).parents[3] / "shared" / "aws" / "src"


def test_a_call_without_its_parameters_is_not_let_through(aws: Aws, function: Function) -> None:
    function.may(allow())
    scope = f"Credential={KEY}/20260101/eu-west-2/ec2/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}, Signature=0"}
    body = {"Action": "TerminateInstances", "Version": "2016-11-15"}
    assert requests.post(aws.endpoint, data=body, headers=headers, timeout=WAIT_MAX_SECONDS).status_code == 501
    with pytest.raises(LookupError, match="names no resource"):
        needs.needs_of(Operation("ec2", "TerminateInstances", parameters={"InstanceIds": []}))


def test_tags_that_differ_in_case_only_are_not_guessed_between(aws: Aws, function: Function) -> None:
    volume_id = aws.volume(tags={"Team": "a", "team": "b"})
    function.may(allow())
    answer = failure_of(function.ec2.delete_tags, Resources=[volume_id], Tags=[{"Key": "x"}])
    assert "differ in case" in answer["Error"]["Message"]


def test_every_call_of_the_project_has_a_rule() -> None:
    sources = [path.read_text() for path in SOURCES.rglob("*.rs")]
    calls = {call for text in sources for call in re.findall(r'"([a-z0-9]+:[A-Z][A-Za-z]+)"', text)}
    assert len(calls) > 30
    assert calls - needs._RULES.keys() == set()


def test_what_reads_of_ec2_need(aws: Aws, function: Function) -> None:
    instance_id = aws.instance()
    ec2 = function.ec2
    for name in ("Volumes", "Snapshots", "Instances", "Availability_Zones"):
        describe = getattr(ec2, f"describe_{name.lower()}")
        assert function.needs_of(describe) == [(f"ec2:Describe{name.replace('_', '')}", "*")]

    def is_protected() -> None:
        ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="disableApiTermination")

    arn = f"{EC2}:instance/{instance_id}"
    assert function.needs_of(is_protected) == [("ec2:DescribeInstanceAttribute", arn)]


def test_what_writes_of_ec2_need(aws: Aws, function: Function) -> None:
    volume_id, instances = aws.volume(), [aws.instance(), aws.instance()]
    snapshot_id = aws.snapshot(volume_id)
    every = [volume_id, snapshot_id, instances[0]]
    arns = [f"{EC2}:volume/{volume_id}", f"{SNAPSHOTS}/{snapshot_id}", f"{EC2}:instance/{instances[0]}"]
    tags = as_list({"a": "1"})
    creating = [("ec2:CreateTags", arn) for arn in arns]
    assert function.needs_of(lambda: function.ec2.create_tags(Resources=every, Tags=tags)) == creating
    deleting = [("ec2:DeleteTags", arn) for arn in arns]
    assert function.needs_of(lambda: function.ec2.delete_tags(Resources=every, Tags=tags)) == deleting
    volumes = f"{EC2}:volume/*"
    blank = [("ec2:CreateVolume", volumes)]
    assert function.needs_of(function.volume) == blank
    restored = [*blank, ("ec2:CreateVolume", f"{SNAPSHOTS}/{snapshot_id}")]
    assert function.needs_of(lambda: function.volume(SnapshotId=snapshot_id)) == restored
    tagged = [*restored, ("ec2:CreateTags", volumes)]
    assert function.needs_of(lambda: function.volume(SnapshotId=snapshot_id, tags={"a": "1"})) == tagged
    terminating = [("ec2:TerminateInstances", f"{EC2}:instance/{id}") for id in instances]
    assert function.needs_of(lambda: function.ec2.terminate_instances(InstanceIds=instances)) == terminating


def test_the_context_of_volumes_in_the_making(aws: Aws, function: Function) -> None:
    snapshot_id = aws.snapshot(aws.volume())
    aws.post(f"ec2/snapshots/{snapshot_id}", {"tags": {"of": "etcd"}})
    volumes, snapshots = f"{EC2}:volume/*", f"{SNAPSHOTS}/*"
    make, tagging = allow("ec2:CreateVolume", volumes), allow("ec2:CreateTags", volumes)
    of_snapshot = allow("ec2:CreateVolume", snapshots)

    def let(*statements: dict[str, Any], tags: Any = None, **more: Any) -> bool:
        made = {"tags": tags or {"id": "r"}, "SnapshotId": snapshot_id, **more}
        return function.is_let(lambda: function.volume(**made), *statements)

    assert let(make, of_snapshot, tagging)
    assert not let(make, tagging)
    assert not let(of_snapshot, tagging)
    assert not let(make, of_snapshot)
    for condition, wanted in [
        ({"StringEquals": {"aws:RequestTag/id": "r"}}, True),
        ({"StringEquals": {"aws:RequestTag/id": "s"}}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "id"}}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "name"}}, False),
        ({"StringEquals": {"ec2:VolumeType": "gp2"}}, True),
        ({"StringEquals": {"ec2:VolumeType": "gp3"}}, False),
        ({"Null": {"aws:ResourceTag/of": "false"}}, False),
    ]:
        assert let(allow("ec2:CreateVolume", volumes, **condition), of_snapshot, tagging) is wanted, condition
        assert let(make, of_snapshot, allow("ec2:CreateTags", volumes, **condition)) is wanted, condition
    for condition, wanted in [
        ({"StringEquals": {"ec2:Owner": ACCOUNT}}, True),
        ({"StringEquals": {"ec2:Owner": "210987654321"}}, False),
        ({"StringEquals": {"aws:ResourceTag/of": "etcd"}}, True),
        ({"StringEquals": {"ec2:ResourceTag/of": "root"}}, False),
        ({"Null": {"aws:RequestTag/id": "false"}}, False),
    ]:
        assert let(make, allow("ec2:CreateVolume", snapshots, **condition), tagging) is wanted, condition
    by_creation = {"StringEquals": {"ec2:CreateAction": "CreateVolume"}}
    assert let(make, of_snapshot, allow("ec2:CreateTags", volumes, **by_creation))
    assert not let(allow("ec2:CreateVolume", volumes, **by_creation), of_snapshot, tagging)
    gp3 = allow("ec2:CreateVolume", volumes, StringEquals={"ec2:VolumeType": "gp3"})
    assert let(gp3, of_snapshot, tagging, VolumeType="gp3")
    # A snapshot of someone else.
    aws.post(f"ec2/snapshots/{snapshot_id}", {"owner_id": "210987654321"})
    assert not let(make, allow("ec2:CreateVolume", snapshots, StringEquals={"ec2:Owner": ACCOUNT}), tagging)


@pytest.mark.parametrize(
    ("condition", "creates", "deletes", "deletes_by_value"),
    [
        ({"StringEquals": {"aws:ResourceTag/Cluster": "c"}}, True, True, True),
        ({"StringEquals": {"ec2:ResourceTag/Cluster": "c"}}, True, True, True),
        ({"StringEquals": {"aws:ResourceTag/Cluster": "d"}}, False, False, False),
        ({"StringEquals": {"ec2:VolumeType": "gp2"}}, True, True, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, True, True, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["b"]}}, False, False, False),
        ({"StringEquals": {"aws:RequestTag/a": "1"}}, True, False, True),
        ({"StringEquals": {"aws:RequestTag/a": "2"}}, False, False, False),
        ({"Null": {"aws:RequestTag/a": "true"}}, False, True, False),
        ({"StringEquals": {"ec2:CreateAction": "CreateVolume"}}, False, False, False),
    ],
)
def test_the_context_of_tags(
    aws: Aws, function: Function, condition: Any, creates: bool, deletes: bool, deletes_by_value: bool
) -> None:
    volume_id = aws.volume(tags={"Cluster": "c"})

    def let(call: Any, tag: dict[str, str]) -> bool:
        statement = allow(["ec2:CreateTags", "ec2:DeleteTags"], f"{EC2}:volume/*", **condition)
        return function.is_let(lambda: call(Resources=[volume_id], Tags=[tag]), statement)

    assert let(function.ec2.create_tags, {"Key": "a", "Value": "1"}) is creates
    assert let(function.ec2.delete_tags, {"Key": "a"}) is deletes
    assert let(function.ec2.delete_tags, {"Key": "a", "Value": "1"}) is deletes_by_value


def test_a_tag_written_without_a_value_has_an_empty_one(aws: Aws, function: Function) -> None:
    volume_id = aws.volume()
    empty = allow(StringEquals={"aws:RequestTag/a": ""})
    valueless = {"Resources": [volume_id], "Tags": [{"Key": "a"}]}
    assert function.is_let(lambda: function.ec2.create_tags(**valueless), empty)


def test_the_context_of_instances(aws: Aws, function: Function) -> None:
    tags = [{"ResourceType": "instance", "Tags": as_list({"k8s.io/role/master": "1"})}]
    master, node = aws.instance(TagSpecifications=tags), aws.instance()
    masters = allow("ec2:TerminateInstances", StringEquals={"aws:ResourceTag/k8s.io/role/master": "1"})

    def let(*ids: str) -> bool:
        return function.is_let(lambda: function.ec2.terminate_instances(InstanceIds=list(ids)), masters)

    assert not let(node)
    assert not let(master, node)
    assert not let("i-0123456789abcdef0")
    assert set(aws.instances_in("running")) == {master, node}
    assert let(master)
    assert aws.instances_in("running") == [node]


def test_groups(aws: Aws, function: Function) -> None:
    aws.group("master-a", tags={"Cluster": "c"})
    aws.group("nodes")
    autoscaling = function.autoscaling
    arns = {name: aws.described_group(name)["AutoScalingGroupARN"] for name in ("master-a", "nodes")}

    def tag(name: str, key: str = "held") -> dict[str, Any]:
        of_group = {"ResourceId": name, "ResourceType": "auto-scaling-group"}
        return {**of_group, "Key": key, "PropagateAtLaunch": False}

    def suspend(name: str) -> Call:
        return lambda: autoscaling.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=["Launch"])

    def resume(name: str) -> Call:
        return lambda: autoscaling.resume_processes(AutoScalingGroupName=name, ScalingProcesses=["Launch"])

    def write(*tags: dict[str, Any]) -> Call:
        return lambda: autoscaling.create_or_update_tags(Tags=[{**tag, "Value": "r"} for tag in tags])

    def remove(*tags: dict[str, Any]) -> Call:
        return lambda: autoscaling.delete_tags(Tags=list(tags))

    describing = [("autoscaling:DescribeAutoScalingGroups", "*")]
    assert function.needs_of(autoscaling.describe_auto_scaling_groups) == describing
    assert function.needs_of(suspend("nodes")) == [("autoscaling:SuspendProcesses", arns["nodes"])]
    assert function.needs_of(resume("nodes")) == [("autoscaling:ResumeProcesses", arns["nodes"])]
    both = [tag("master-a"), tag("nodes"), tag("nodes", "x")]
    writing = [("autoscaling:CreateOrUpdateTags", arn) for arn in arns.values()]
    assert function.needs_of(write(*both)) == writing
    deleting = [("autoscaling:DeleteTags", arn) for arn in arns.values()]
    assert function.needs_of(remove(*both)) == deleting
    absent = f"arn:aws:autoscaling:eu-west-2:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/absent"
    assert function.needs_of(suspend("absent")) == [("autoscaling:SuspendProcesses", absent)]

    any_group = f"arn:aws:autoscaling:*:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/*"
    for prefix in ("aws", "autoscaling"):
        of_cluster = {"StringEquals": {f"{prefix}:ResourceTag/Cluster": "c"}}
        assert function.is_let(suspend("master-a"), allow("autoscaling:*", any_group, **of_cluster))
        assert not function.is_let(suspend("nodes"), allow("autoscaling:*", any_group, **of_cluster))
    only_held = allow(**{"ForAllValues:StringEquals": {"aws:TagKeys": ["held"]}})
    assert function.is_let(write(tag("nodes")), only_held)
    assert not function.is_let(write(tag("nodes"), tag("nodes", "x")), only_held)
    assert not function.is_let(remove(tag("nodes", "x")), only_held)
    of_each = [{**only_held, "Resource": arns["master-a"]}, allow(resource=arns["nodes"])]
    assert function.is_let(write(tag("master-a"), tag("nodes", "x")), *of_each)
    assert not function.is_let(write(tag("master-a", "x"), tag("nodes")), *of_each)
    by_value = allow(StringEquals={"aws:RequestTag/held": "r"})
    assert function.is_let(write(tag("nodes")), by_value)
    assert not function.is_let(remove(tag("nodes")), by_value)


def test_what_lifecycle_policies_need(aws: Aws, function: Function) -> None:
    aws.role()
    policy_id = aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]
    arn, dlm = f"{DLM}/{policy_id}", function.dlm
    pass_role = ("iam:PassRole", ROLE_ARN)
    untagged = policy_request()
    del untagged["Tags"]
    create = [("dlm:CreateLifecyclePolicy", "*"), pass_role]
    assert function.needs_of(lambda: dlm.create_lifecycle_policy(**untagged)) == create
    create_tagged = [*create, ("dlm:TagResource", f"{DLM}/*")]
    assert function.needs_of(lambda: dlm.create_lifecycle_policy(**policy_request())) == create_tagged
    update = [("dlm:UpdateLifecyclePolicy", arn)]
    by_id = {"PolicyId": policy_id}
    assert function.needs_of(lambda: dlm.update_lifecycle_policy(**by_id, State="DISABLED")) == update
    with_role = {**by_id, "ExecutionRoleArn": ROLE_ARN}
    assert function.needs_of(lambda: dlm.update_lifecycle_policy(**with_role)) == [*update, pass_role]
    for action, resource, call in [
        ("GetLifecyclePolicies", "*", lambda: dlm.get_lifecycle_policies()),
        ("GetLifecyclePolicy", arn, lambda: dlm.get_lifecycle_policy(**by_id)),
        ("TagResource", arn, lambda: dlm.tag_resource(ResourceArn=arn, Tags={"a": "1"})),
        ("UntagResource", arn, lambda: dlm.untag_resource(ResourceArn=arn, TagKeys=["a"])),
        ("ListTagsForResource", arn, lambda: dlm.list_tags_for_resource(ResourceArn=arn)),
        ("DeleteLifecyclePolicy", arn, lambda: dlm.delete_lifecycle_policy(**by_id)),
    ]:
        assert function.needs_of(call) == [(f"dlm:{action}", resource)]


def test_the_context_of_lifecycle_policies(aws: Aws, function: Function) -> None:
    aws.role()
    aws.iam.tag_role(RoleName="dlm-role", Tags=as_list({"for": "dlm"}))
    policy_id = aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]
    arn, dlm = f"{DLM}/{policy_id}", function.dlm
    policies, passing = allow("dlm:*"), allow("iam:PassRole")

    def create() -> None:
        dlm.create_lifecycle_policy(**policy_request())

    def update() -> None:
        dlm.update_lifecycle_policy(PolicyId=policy_id, ExecutionRoleArn=ROLE_ARN)

    def tag() -> None:
        dlm.tag_resource(ResourceArn=arn, Tags={"a": "1"})

    def untag() -> None:
        dlm.untag_resource(ResourceArn=arn, TagKeys=["b"])

    def only_if(**condition: Any) -> dict[str, Any]:
        return allow("iam:PassRole", ROLE_ARN, StringEquals=condition)

    for call in (create, update):
        assert function.is_let(call, policies, only_if(**{"iam:PassedToService": "dlm.amazonaws.com"}))
        assert not function.is_let(call, policies, only_if(**{"iam:PassedToService": "ec2.amazonaws.com"}))
        assert not function.is_let(call, policies, only_if(**{"iam:ResourceTag/for": "dlm"}))
        assert not function.is_let(call, policies)
    managed = {"StringEquals": {"aws:RequestTag/managed-by": "etcd-backup"}}
    assert function.is_let(create, allow("dlm:*", **managed), passing)
    by_hand = {"StringEquals": {"aws:RequestTag/managed-by": "hand"}}
    assert not function.is_let(create, allow("dlm:Create*", **by_hand), allow("dlm:Tag*"), passing)
    assert not function.is_let(create, allow("dlm:Create*"), allow("dlm:Tag*", **by_hand), passing)
    # An action that knows no resource is not allowed by a statement that names some.
    assert not function.is_let(create, allow("dlm:*", f"{DLM}/*"), passing)
    carried = {"StringEquals": {"aws:ResourceTag/managed-by": "etcd-backup"}}
    for call in (tag, untag, update):
        assert function.is_let(call, allow("dlm:*", arn, **carried), passing)
        assert not function.is_let(call, allow("dlm:*", arn, **by_hand), passing)
    only_a = {"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}
    assert function.is_let(tag, allow(**only_a))
    assert function.is_let(tag, allow(StringEquals={"aws:RequestTag/a": "1"}))
    assert not function.is_let(untag, allow(**only_a))


def test_what_iam_needs(aws: Aws, function: Function) -> None:
    trust = json.dumps(TRUST)
    aws.iam.create_role(RoleName="r", Path="/of/", AssumeRolePolicyDocument=trust)
    policy_arn = aws.iam.create_policy(PolicyName="p", PolicyDocument=DOCUMENT)["Policy"]["Arn"]
    role_arn, iam = f"{IAM}:role/of/r", function.iam
    role, policy = {"RoleName": "r"}, {"PolicyArn": policy_arn}
    version = {**policy, "VersionId": "v9"}
    tags = {"Tags": as_list({"a": "1"})}
    for call, parameters, resource in [
        ("get_role", {"RoleName": "absent"}, f"{IAM}:role/absent"),
        ("get_role", role, role_arn),
        ("tag_role", {**role, **tags}, role_arn),
        ("untag_role", {**role, "TagKeys": ["a"]}, role_arn),
        ("update_assume_role_policy", {**role, "PolicyDocument": trust}, role_arn),
        ("attach_role_policy", {**role, **policy}, role_arn),
        ("list_attached_role_policies", role, role_arn),
        ("detach_role_policy", {**role, **policy}, role_arn),
        ("list_role_policies", role, role_arn),
        ("list_instance_profiles_for_role", role, role_arn),
        ("put_role_permissions_boundary", {**role, "PermissionsBoundary": policy_arn}, role_arn),
        ("delete_role", role, role_arn),
        ("list_policies", {}, "*"),
        ("get_policy", policy, policy_arn),
        ("get_policy_version", version, policy_arn),
        ("list_policy_versions", policy, policy_arn),
        ("create_policy_version", {**policy, "PolicyDocument": DOCUMENT}, policy_arn),
        ("set_default_policy_version", version, policy_arn),
        ("delete_policy_version", version, policy_arn),
        ("tag_policy", {**policy, **tags}, policy_arn),
        ("list_policy_tags", policy, policy_arn),
        ("untag_policy", {**policy, "TagKeys": ["a"]}, policy_arn),
        ("list_entities_for_policy", policy, policy_arn),
        ("delete_policy", policy, policy_arn),
    ]:
        action = "iam:" + "".join(word.title() for word in call.split("_"))
        assert function.needs_of(lambda: getattr(iam, call)(**parameters)) == [(action, resource)]
    new_role = {"RoleName": "n", "Path": "/of/", "AssumeRolePolicyDocument": trust}
    made = [("iam:CreateRole", f"{IAM}:role/of/n")]
    assert function.needs_of(lambda: iam.create_role(**new_role)) == made
    made = [("iam:CreateRole", f"{IAM}:role/m"), ("iam:TagRole", f"{IAM}:role/m")]
    tagged_role = {**new_role, "RoleName": "m", "Path": "/", **tags}
    assert function.needs_of(lambda: iam.create_role(**tagged_role)) == made
    new_policy = {"PolicyName": "n", "PolicyDocument": DOCUMENT}
    made = [("iam:CreatePolicy", f"{IAM}:policy/n")]
    assert function.needs_of(lambda: iam.create_policy(**new_policy)) == made
    made = [("iam:CreatePolicy", f"{IAM}:policy/of/n"), ("iam:TagPolicy", f"{IAM}:policy/of/n")]
    assert function.needs_of(lambda: iam.create_policy(**new_policy, Path="/of/", **tags)) == made


def test_a_role_is_made_and_bounded_only_with_the_boundary_that_is_asked_for(
    aws: Aws, function: Function
) -> None:
    ours, theirs = (
        aws.iam.create_policy(PolicyName=name, PolicyDocument=DOCUMENT)["Policy"]["Arn"] for name in "pq"
    )
    iam, bounded = function.iam, allow(StringEquals={"iam:PermissionsBoundary": ours})

    def create(name: str, **boundary: str) -> Call:
        trust = json.dumps(TRUST)
        return lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **boundary)

    def put(boundary: str) -> Call:
        return lambda: iam.put_role_permissions_boundary(RoleName="a", PermissionsBoundary=boundary)

    assert function.is_let(create("a", PermissionsBoundary=ours), bounded)
    assert not function.is_let(create("b", PermissionsBoundary=theirs), bounded)
    assert not function.is_let(create("c"), bounded)
    assert function.is_let(put(ours), bounded)
    assert not function.is_let(put(theirs), bounded)
    # Of what is done to a role that exists, the key is the role's own.
    aws.role("unbounded")
    for role, is_let in (("a", True), ("unbounded", False)):
        attach = {"RoleName": role, "PolicyArn": theirs}
        assert function.is_let(lambda: iam.attach_role_policy(**attach), bounded) is is_let


def test_the_context_of_roles_and_policies(aws: Aws, function: Function) -> None:
    aws.role("r")
    aws.iam.tag_role(RoleName="r", Tags=as_list({"by": "us"}))
    tags = as_list({"by": "us"})
    ours = aws.iam.create_policy(PolicyName="p", PolicyDocument=DOCUMENT, Tags=tags)["Policy"]["Arn"]
    theirs = aws.iam.create_policy(PolicyName="q", PolicyDocument=DOCUMENT)["Policy"]["Arn"]
    iam, attaching = function.iam, allow("iam:*", ArnEquals={"iam:PolicyARN": ours})
    for call in (iam.attach_role_policy, iam.detach_role_policy):
        assert function.is_let(lambda: call(RoleName="r", PolicyArn=ours), attaching)
        assert not function.is_let(lambda: call(RoleName="r", PolicyArn=theirs), attaching)
    aws.role("other")
    for prefix in ("aws", "iam"):
        tagged = allow(StringEquals={f"{prefix}:ResourceTag/by": "us"})
        assert function.is_let(lambda: iam.get_role(RoleName="r"), tagged)
        assert not function.is_let(lambda: iam.get_role(RoleName="other"), tagged)
        assert function.is_let(lambda: iam.get_policy(PolicyArn=ours), tagged)
        assert not function.is_let(lambda: iam.get_policy(PolicyArn=theirs), tagged)
    requested = allow(StringEquals={"aws:RequestTag/by": "us"})
    by_hand = as_list({"by": "hand"})
    trust = json.dumps(TRUST)

    def create(name: str, tags: Any) -> Call:
        return lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=tags)

    assert function.is_let(create("a", tags), requested)
    assert not function.is_let(create("b", by_hand), requested)
    assert not function.is_let(create("b", by_hand), allow("iam:CreateRole"))
    assert function.is_let(lambda: iam.tag_policy(PolicyArn=ours, Tags=tags), requested)
    assert not function.is_let(lambda: iam.tag_policy(PolicyArn=ours, Tags=by_hand), requested)
    other_keys = allow(**{"ForAllValues:StringNotEquals": {"aws:TagKeys": "by"}})
    assert not function.is_let(lambda: iam.untag_role(RoleName="r", TagKeys=["by"]), other_keys)


def test_topics_queues_and_blocks(aws: Aws, function: Function) -> None:
    tags = {"by": "us"}
    topic = aws.client("sns").create_topic(Name="t", Tags=as_list(tags))["TopicArn"]
    queue = aws.client("sqs").create_queue(QueueName="q", tags=tags)["QueueUrl"]
    snapshot_id = aws.client("ec2").create_snapshot(VolumeId=aws.volume(tags={}))["SnapshotId"]
    aws.post(f"ec2/snapshots/{snapshot_id}", {"tags": tags})
    sns, sqs, ebs = (function.client(service) for service in ("sns", "sqs", "ebs"))
    block = {"SnapshotId": snapshot_id, "BlockIndex": 0, "BlockToken": "t"}
    tagged = allow(StringEquals={"aws:ResourceTag/by": "us"})
    for call, need in [
        (lambda: sns.publish(TopicArn=topic, Message="m"), ("sns:Publish", topic)),
        (
            lambda: sqs.send_message(QueueUrl=queue, MessageBody="m"),
            ("sqs:SendMessage", f"arn:aws:sqs:eu-west-2:{ACCOUNT}:q"),
        ),
        (
            lambda: ebs.list_snapshot_blocks(SnapshotId=snapshot_id),
            ("ebs:ListSnapshotBlocks", f"{SNAPSHOTS}/{snapshot_id}"),
        ),
    ]:
        assert function.needs_of(call) == [need]
        assert function.is_let(call, tagged)
        assert not function.is_let(call, allow(StringEquals={"aws:ResourceTag/by": "them"}))
    # The block itself is not there, which is told only to whoever may read it.
    function.may(tagged)
    assert code_of(ebs.get_snapshot_block, **block) != "AccessDeniedException"
    function.may(allow("ebs:GetSnapshotBlock", f"{SNAPSHOTS}/snap-1"))
    assert code_of(ebs.get_snapshot_block, **block) == "AccessDeniedException"


def test_resources_are_of_the_region_that_is_asked(aws: Aws, function: Function) -> None:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": "test"}
    elsewhere = boto3.client("ec2", endpoint_url=aws.endpoint, region_name="eu-west-1", **keys)
    volume_id = aws.volume(tags={"a": "1"})
    function.may(allow(StringEquals={"aws:ResourceTag/a": "1"}))
    removal = {"Resources": [volume_id], "Tags": [{"Key": "a"}]}
    assert code_of(elsewhere.delete_tags, **removal) == "UnauthorizedOperation"
    (denied,) = aws.get("iam/used")["denied"]
    assert denied["resource"] == f"arn:aws:ec2:eu-west-1:{ACCOUNT}:volume/{volume_id}"
