"""The transformed template, and what became of it in the emulated CloudFormation."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ..deploy import Stack, deploy, emulated_aws

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def transformed() -> dict[str, Any]:
    path = os.environ.get("TRANSFORMED_TEMPLATE", REPOSITORY / "target" / "template.json")
    return json.loads(Path(path).read_text())


@pytest.fixture(scope="session")
def resources(transformed: dict[str, Any]) -> dict[str, Any]:
    return transformed["Resources"]


@pytest.fixture(scope="session")
def stack(transformed: dict[str, Any]) -> Stack:
    with emulated_aws() as endpoint:
        return deploy(endpoint, transformed, {})
