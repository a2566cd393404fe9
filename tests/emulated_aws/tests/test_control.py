"""The control interface and the processes that serve it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from .fresh_aws import WAIT_MAX_SECONDS, Aws, is_gone, until

DIRECTORY = Path(__file__).parents[2]


def test_health_and_settings(aws: Aws) -> None:
    assert aws.get("health") == {"ok": True}
    defaults = aws.get("settings")
    assert defaults["page_size_max"] == 1000
    assert aws.post("settings", {"stale_reads": 3})["stale_reads"] == 3
    assert "unknown" in aws.refused("settings", {"stale_reads": 4, "colour": 1})
    assert "whole number" in aws.refused("settings", {"page_size_max": 1.5})
    assert "too small" in aws.refused("settings", {"page_size_max": 0})
    assert aws.get("settings")["stale_reads"] == 3


def test_the_clock(aws: Aws) -> None:
    assert aws.post("clock", {"set": "2026-05-06T08:00:00+02:00"})["now"].startswith("2026-05-06T06:")
    assert aws.post("clock", {"advance_seconds": 3600})["now"].startswith("2026-05-06T07:")
    aws.post("clock", {"set": "2026-05-05T00:00:00Z"})
    aws.volume()
    assert "backwards" in aws.refused("clock", {"set": "2026-05-04T00:00:00Z"})
    assert "backwards" in aws.refused("clock", {"advance_seconds": -5})
    aws.post("clock", {"set": "2026-05-06T00:00:00Z"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {}),
        ("clock", {"set": "tomorrow"}),
        ("clock", {"set": "2026-05-06T08:00:00"}),
        ("clock", {"set": 5}),
        ("clock", {"advance_seconds": "x"}),
        ("clock", {"set": "2026-05-06T08:00:00Z", "advance_seconds": 1}),
        ("clock", []),
        ("dlm/plant", {"volume_id": "vol-1", "outcome": "late"}),
        ("dlm/plant", {"outcome": "error"}),
        ("dlm/plant", {"volume_id": "vol-1", "outcome": "error", "runs": 0}),
        ("ec2/volumes-end", {"outcome": "purple"}),
        ("ec2/volumes-end", {"outcome": "error", "nth": 0}),
        ("ec2/snapshots/snap-1", {"state": "error"}),
    ],
)
def test_requests_that_make_no_sense(aws: Aws, path: str, body: object) -> None:
    assert aws.refused(path, body)


def test_unknown_paths_and_bad_json(aws: Aws) -> None:
    assert requests.get(f"{aws.endpoint}/emulator/nowhere", timeout=WAIT_MAX_SECONDS).status_code == 404
    answer = requests.post(f"{aws.endpoint}/emulator/clock", data="{", timeout=WAIT_MAX_SECONDS)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_reset_empties_everything(aws: Aws) -> None:
    aws.post("clock", {"set": "2001-02-03T00:00:00Z"})
    aws.post("settings", {"stale_reads": 3})
    aws.post("faults", {"operation": "X", "fault": {"kind": "drop_answer"}})
    aws.role()
    aws.volume(ClientToken="t")
    aws.post("reset")
    assert aws.ec2.describe_volumes()["Volumes"] == []
    assert aws.iam.list_roles()["Roles"] == []
    assert aws.get("settings")["stale_reads"] == 0
    assert aws.get("faults")["faults"] == []
    assert not aws.get("clock")["now"].startswith("2001-02-03")
    aws.role()
    aws.volume(ClientToken="t")


def test_a_connection_serves_many_requests(aws: Aws) -> None:
    with requests.Session() as session:
        for _ in range(3):
            session.get(f"{aws.endpoint}/emulator/health", timeout=WAIT_MAX_SECONDS)
        pools = session.get_adapter(aws.endpoint).poolmanager.pools
        (pool,) = (pools[key] for key in list(pools.keys()))
        assert (pool.num_connections, pool.num_requests) == (1, 3)


def test_one_server_ends_with_its_standard_input() -> None:
    command = [sys.executable, "-m", "emulated_aws", "--state-clock", "2026-11-22T00:00:00Z"]
    with subprocess.Popen(
        command, cwd=DIRECTORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        endpoint = json.loads(process.stdout.readline())["endpoint"]
        now = Aws(endpoint).get("clock")["now"]
        assert now.startswith("2026-11-22T00:")
        process.stdin.close()
        assert process.wait(WAIT_MAX_SECONDS) == 0
        assert process.stdout.read() == ""


def test_forked_servers_are_apart_quick_and_end_with_their_parent() -> None:
    command = [sys.executable, "-m", "emulated_aws", "--pool"]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=DIRECTORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def fresh(line: str) -> Aws:
        process.stdin.write(line)
        process.stdin.flush()
        return Aws(json.loads(process.stdout.readline())["endpoint"])

    one = fresh("new 2026-11-22T00:00:00Z\n")
    loaded_after = time.monotonic() - began
    began = time.monotonic()
    two = fresh("new\n")
    assert time.monotonic() - began < loaded_after / 4, "it loads nothing once more"
    one.volume()
    assert two.ec2.describe_volumes()["Volumes"] == []
    assert one.get("clock")["now"].startswith("2026-11-22")
    os.kill(process.pid, 9)
    process.wait(WAIT_MAX_SECONDS)
    for ended in (one, two):
        until(lambda ended=ended: is_gone(ended))
    process.stdin.close()
    process.stdout.close()
