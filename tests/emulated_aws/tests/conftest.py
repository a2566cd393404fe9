"""A fresh emulated AWS for each test, forked from one pool."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fresh_aws import Aws
from .restricted import Function


@pytest.fixture(scope="session")
def pool() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "emulated_aws", "--pool"]
    directory = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def aws(pool: subprocess.Popen[str]) -> Iterator[Aws]:
    pool.stdin.write("new\n")
    pool.stdin.flush()
    fresh = Aws(json.loads(pool.stdout.readline())["endpoint"])
    yield fresh
    fresh.post("stop")


@pytest.fixture
def function(aws: Aws) -> Function:
    return Function(aws)
