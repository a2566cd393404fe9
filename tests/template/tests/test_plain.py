"""The plain template: what SAM makes of template.yaml, deployable without SAM, in any partition and
by stack sets, from a bucket."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from deployment.location import key_prefix, workspace_version

from ..deploy import FUNCTIONS, STACK, Stack, deploy, emulated_aws
from .conftest import REPOSITORY

BUCKET = "code-of-the-team"
KEYS = [f"{key_prefix()}{name}.zip" for name in FUNCTIONS]
OF_STACK_SET = "StackSet-etcd-backup-5f3f8a1c-8a5e-4d0b-9a53-0d5b9f1e2c11"
# CloudFormation's limits of a template in a bucket, and of a function's name.
TEMPLATE_BYTES_MAX = 1_000_000
FUNCTION_NAME_LENGTH_MAX = 64


@pytest.fixture(scope="module")
def deployed(plain: dict[str, Any]) -> Stack:
    with emulated_aws() as endpoint:
        return deploy(endpoint, plain, {"CodeBucket": BUCKET}, code={BUCKET: KEYS})


def without_code(resource: dict[str, Any]) -> dict[str, Any]:
    properties = {name: each for name, each in resource["Properties"].items() if name not in ("Code", "Tags")}
    kept = {name: each for name, each in resource.items() if name not in ("Properties", "Metadata")}
    return {**kept, "Properties": properties}


def by_logical_names(stack: Stack) -> dict[str, Any]:
    """The functions' policies, without what CloudFormation makes up in names."""
    text = json.dumps(stack.policies, sort_keys=True)
    physical = {each: name for name, each in stack.made.items() if name and each}
    for each in sorted(physical, key=len, reverse=True):
        text = text.replace(each, physical[each])
    # A queue's physical id is its address; its ARN has the name.
    return json.loads(re.sub(rf"{STACK}-([A-Za-z]+)-[A-Z0-9]{{12}}", r"\1", text))


def with_partition(value: Any) -> Any:
    """As in the Region that the translator ran in: for what it writes itself."""
    if isinstance(value, dict):
        text = value.get("Fn::Sub") if len(value) == 1 else None
        if isinstance(text, str) and text.startswith("arn:${AWS::Partition}:iam::aws:policy/"):
            return text.replace("${AWS::Partition}", "aws")
        return {name: with_partition(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_partition(inner) for inner in value]
    return value


def test_it_is_what_sam_makes_but_for_the_code_and_the_partition(
    plain: dict[str, Any], transformed: dict[str, Any]
) -> None:
    assert "Transform" not in plain
    for section in ("Description", "Outputs"):
        assert plain[section] == transformed[section]
    assert plain["Conditions"].items() >= transformed["Conditions"].items()
    assert plain["Resources"].keys() == transformed["Resources"].keys()
    for name, resource in transformed["Resources"].items():
        assert with_partition(without_code(plain["Resources"][name])) == without_code(resource), name
    own = plain["Parameters"].keys() - transformed["Parameters"].keys()
    assert own == {"CodeBucket", "CodeBucketPerRegion", "CodeKeyPrefix"}
    # Zips are built for one processor.
    architecture = plain["Parameters"]["Architecture"]
    assert architecture["AllowedValues"] == [architecture["Default"]] == ["x86_64"]
    for name in transformed["Parameters"].keys() - {"Architecture"}:
        assert plain["Parameters"][name] == transformed["Parameters"][name]


def test_it_needs_no_macro_and_names_no_partition(plain: dict[str, Any]) -> None:
    text = json.dumps(plain)
    for marks_of_sam in ("AWS::Serverless", "Transform", "BuildMethod", "lambda:createdBy", "CodeUri"):
        assert marks_of_sam not in text
    assert "arn:aws" not in text
    assert "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole" in text


def test_it_is_created_and_its_roles_are_those_of_the_sam_template(deployed: Stack, stack: Stack) -> None:
    assert deployed.status == "CREATE_COMPLETE"
    assert deployed.made.keys() == stack.made.keys()
    assert by_logical_names(deployed) == by_logical_names(stack)
    assert len(deployed.boundaries) == len(stack.boundaries)
    for name in FUNCTIONS:
        assert deployed.made[f"{name.capitalize()}Function"] == f"{STACK}-{name}"


def test_a_stack_set_names_no_function(plain: dict[str, Any], stack: Stack) -> None:
    with emulated_aws() as endpoint:
        of_set = deploy(endpoint, plain, {"CodeBucket": BUCKET}, OF_STACK_SET, {BUCKET: KEYS})
    assert of_set.status == "CREATE_COMPLETE"
    assert of_set.made.keys() == stack.made.keys()
    for name in FUNCTIONS:
        function = of_set.made[f"{name.capitalize()}Function"]
        assert f"{OF_STACK_SET}-{name}" != function
    # What it would have been called.
    assert len(f"{OF_STACK_SET}-converge") > FUNCTION_NAME_LENGTH_MAX
    resources = plain["Resources"]
    named = [each["Properties"]["FunctionName"] for each in resources.values() if "FunctionName" in each["Properties"]]
    own_names = [name["Fn::If"][0] for name in named if "Fn::If" in name]
    assert own_names == ["IsOfStackSet"] * len(FUNCTIONS)


def test_code_may_lie_elsewhere_and_in_a_bucket_of_each_region(plain: dict[str, Any]) -> None:
    keys = [f"mine/{name}.zip" for name in FUNCTIONS]
    parameters = {"CodeBucket": BUCKET, "CodeBucketPerRegion": "true", "CodeKeyPrefix": "mine/"}
    with emulated_aws() as endpoint:
        elsewhere = deploy(endpoint, plain, parameters, code={f"{BUCKET}-eu-west-2": keys})
    assert elsewhere.status == "CREATE_COMPLETE"


def test_an_update_that_keeps_every_parameter_takes_the_new_code(plain: dict[str, Any]) -> None:
    # What CloudFormation keeps of a parameter that was never given.
    assert plain["Parameters"]["CodeKeyPrefix"]["Default"] == ""
    keys = [f"etcd-backup/{workspace_version()}/{name}.zip" for name in FUNCTIONS]
    parameters = {"CodeBucket": BUCKET, "CodeKeyPrefix": ""}
    with emulated_aws() as endpoint:
        kept = deploy(endpoint, plain, parameters, code={BUCKET: keys})
    assert kept.status == "CREATE_COMPLETE"


def test_every_parameter_is_explained_and_grouped(plain: dict[str, Any]) -> None:
    interface = plain["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(plain["Parameters"])
    assert interface["ParameterLabels"].keys() == plain["Parameters"].keys()
    assert all(parameter.get("Description") for parameter in plain["Parameters"].values())


def test_it_is_small_enough_for_a_bucket() -> None:
    path = Path(os.environ.get("PLAIN_TEMPLATE", REPOSITORY / "target" / "etcd-backup.cfn.yaml"))
    assert path.stat().st_size < TEMPLATE_BYTES_MAX
