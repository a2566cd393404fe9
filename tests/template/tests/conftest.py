"""The transformed template, and what became of it in the emulated CloudFormation."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..deploy import Stack, deploy, emulated_aws

REPOSITORY = Path(__file__).parents[3]


class _Reader(yaml.SafeLoader):
    """Knows the short tags of intrinsic functions."""


def _function(reader: _Reader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.SequenceNode):
        argument: Any = reader.construct_sequence(node, deep=True)
    else:
        argument = reader.construct_scalar(node)
    if tag == "GetAtt":
        argument = argument.split(".", 1)
    return {tag if tag == "Ref" else f"Fn::{tag}": argument}


_Reader.add_multi_constructor("!", _function)


def read_yaml(text: str) -> dict[str, Any]:
    return yaml.load(text, Loader=_Reader)


@pytest.fixture(scope="session")
def transformed() -> dict[str, Any]:
    path = os.environ.get("TRANSFORMED_TEMPLATE", REPOSITORY / "target" / "template.json")
    return json.loads(Path(path).read_text())


@pytest.fixture(scope="session")
def plain() -> dict[str, Any]:
    """The plain template, read as CloudFormation reads it."""
    path = os.environ.get("PLAIN_TEMPLATE", REPOSITORY / "target" / "etcd-backup.cfn.yaml")
    return read_yaml(Path(path).read_text())


@pytest.fixture(scope="session")
def resources(transformed: dict[str, Any]) -> dict[str, Any]:
    return transformed["Resources"]


@pytest.fixture(scope="session")
def stack(transformed: dict[str, Any]) -> Stack:
    with emulated_aws() as endpoint:
        return deploy(endpoint, transformed, {})
