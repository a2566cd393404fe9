"""Commands are sound shell, events are such as restore takes, JSON is JSON."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .code import struct_fields
from .pages import REPOSITORY, Block, Page, pages

SHELLCHECK = Path(sys.executable).parent / "shellcheck"
BLOCKS = [(page, block) for page in pages() for block in page.blocks]
SHELL = [(page, block) for page, block in BLOCKS if block.language == "sh"]


def named(case: object) -> str:
    return case.path if isinstance(case, Page) else f"line-{getattr(case, 'line', '')}"


# What is as it should be in commands that people paste.
EXCLUDED = {
    "SC1090": "a virtual environment that is activated is not at hand",
    "SC2012": "ls sorts names that a version of kops gives",
    "SC2016": "a query for the AWS CLI has literals in backticks",
    "SC2034": "another block of the page uses the variable",
    "SC2164": "whoever pastes a cd sees that it fails",
}


def shellcheck(text: str) -> str:
    excluded = ",".join(EXCLUDED)
    checked = subprocess.run(
        [SHELLCHECK, "--shell=bash", "--format=gcc", f"--exclude={excluded}", "-"],
        input=text,
        check=False,
        capture_output=True,
        text=True,
    )
    return checked.stdout + checked.stderr


@pytest.mark.parametrize(("page", "block"), SHELL, ids=named)
def test_shell_is_sound(page: Page, block: Block) -> None:
    assert shellcheck(block.text) == "", f"{page.path}, line {block.line}"


def test_the_script_of_continuous_integration_is_sound() -> None:
    assert shellcheck((REPOSITORY / ".ci/run").read_text()) == ""


def test_a_fault_in_shell_is_found() -> None:
    assert "SC2086" in shellcheck("rm $1")


def test_every_block_says_what_it_is() -> None:
    unnamed = [f"{page.path}, line {block.line}" for page, block in BLOCKS if not block.language]
    assert not unnamed


def test_json_is_json() -> None:
    for page, block in BLOCKS:
        if block.language == "json":
            try:
                json.loads(block.text)
            except ValueError as error:
                pytest.fail(f"{page.path}, line {block.line}: {error}")


def test_events_are_such_as_restore_takes() -> None:
    known = set(struct_fields("functions/restore/src/event.rs", "Request"))
    events = [
        (page, event)
        for page in pages()
        for event in re.findall(r"restore '(\{.*?\})'", page.text)
        if "$" not in event
    ]
    assert len(events) > 5
    for page, event in events:
        # An ellipsis stands for more of the same.
        decoded = json.loads(event.replace(",…", ""))
        assert set(decoded) <= known, f"{page.path}: {event}"
