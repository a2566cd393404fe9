"""Copies of a whole emulated AWS: the same state, apart from then on."""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from .fresh_aws import WAIT_MAX_SECONDS, Aws, as_dict, code_of, has_come, is_gone, until

DIRECTORY = Path(__file__).parents[2]
POOL = ["--pool"]
ALONE: list[str] = []

Copier = Callable[[Aws], Aws]


class Started:
    """A process of one's own, and the first emulated AWS of it."""

    def __init__(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "emulated_aws", *arguments]
        pipe = subprocess.PIPE
        began = time.monotonic()
        self.process = subprocess.Popen(command, cwd=DIRECTORY, stdin=pipe, stdout=pipe, text=True)
        if arguments == POOL:
            self.process.stdin.write("new\n")
            self.process.stdin.flush()
        self.aws = Aws(json.loads(self.process.stdout.readline())["endpoint"])
        self.loaded_after_seconds = time.monotonic() - began

    def end(self) -> None:
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(WAIT_MAX_SECONDS)
        self.process.stdout.close()


@pytest.fixture(params=[POOL, ALONE], ids=["pool", "alone"])
def started(request: pytest.FixtureRequest) -> Iterator[Started]:
    one = Started(request.param)
    yield one
    one.end()


@pytest.fixture
def copy_of() -> Iterator[Copier]:
    made: list[Aws] = []

    def make(original: Aws) -> Aws:
        made.append(Aws(original.post("fork")["endpoint"]))
        return made[-1]

    yield make
    for copy in made:
        with suppress(requests.ConnectionError):
            copy.post("stop")


def until_gone(aws: Aws) -> None:
    until(lambda: is_gone(aws))


def volume_ids(aws: Aws) -> set[str]:
    return {volume["VolumeId"] for volume in aws.ec2.describe_volumes()["Volumes"]}


def test_a_copy_has_the_whole_state(aws: Aws, copy_of: Copier) -> None:
    aws.post("clock", {"set": "2027-03-04T05:00:00Z"})
    aws.post("settings", {"volume_creating_seconds": 60.0})
    tags = {
        "kubernetes.io/cluster/c": "owned",
        "k8s.io/etcd/main": "a/a",
        "k8s.io/role/master": "1",
    }
    volume_id = aws.volume(tags=tags, ClientToken="token")
    aws.volume(tags=tags)
    aws.role()
    topic = aws.client("sns").create_topic(Name="t")["TopicArn"]
    aws.client("sns").publish(TopicArn=topic, Message="m")
    fault = {"operation": "DeleteVolume", "nth": 2, "fault": {"kind": "error", "code": "Planted"}}
    aws.post("faults", fault)
    code_of(aws.ec2.delete_volume, VolumeId="vol-0123456789abcdef0")
    copy = copy_of(aws)
    for path in ("calls", "candidates", "faults", "settings", "sns/messages"):
        assert copy.get(path) == aws.get(path)
    assert len(copy.get("candidates")["violations"]) == 1
    assert copy.get("clock")["now"].startswith("2027-03-04T05:")
    # States that take time go on, faults go on counting, tokens are remembered.
    volume = copy.described_volume(volume_id)
    assert (volume["State"], as_dict(volume["Tags"])) == ("creating", tags)
    copy.post("clock", {"advance_seconds": 61})
    assert copy.described_volume(volume_id)["State"] == "available"
    assert code_of(copy.ec2.delete_volume, VolumeId="vol-0123456789abcdef0") == "Planted"
    assert copy.volume(tags=tags, ClientToken="token") == volume_id
    assert copy.iam.get_role(RoleName="dlm-role")["Role"]["RoleName"] == "dlm-role"


def test_a_copy_is_independent(aws: Aws, copy_of: Copier) -> None:
    kept = aws.volume()
    copy = copy_of(aws)
    only_here, only_there = aws.volume(), copy.volume()
    copy.post("settings", {"stale_reads": 7})
    copy.post("clock", {"advance_seconds": 86400})
    copy.post("faults", {"operation": "X", "fault": {"kind": "drop_answer"}})
    assert volume_ids(aws) == {kept, only_here}
    assert volume_ids(copy) == {kept, only_there}
    assert aws.get("settings")["stale_reads"] == 0
    assert aws.get("clock")["now"] < copy.get("clock")["now"]
    assert aws.get("faults")["faults"] == []
    assert aws.operations() == ["CreateVolume", "CreateVolume", "DescribeVolumes"]
    copy.post("reset")
    assert volume_ids(aws) == {kept, only_here}


def test_ids_made_afterwards_differ(aws: Aws, copy_of: Copier) -> None:
    aws.role()
    copies = [copy_of(aws) for _ in range(3)]
    everywhere = [aws, *copies, copy_of(copies[0])]

    def ids_of(one: Aws) -> list[str]:
        volume_id = one.volume()
        return [volume_id, one.snapshot(volume_id), one.instance()]

    made = [id for one in everywhere for id in ids_of(one)]
    assert len(set(made)) == len(made)


def test_many_copies_quickly(started: Started, copy_of: Copier) -> None:
    volume_id = started.aws.volume()
    copies, seconds = [], []
    for _ in range(20):
        began = time.monotonic()
        copies.append(copy_of(started.aws))
        seconds.append(time.monotonic() - began)
    assert sorted(seconds)[10] < started.loaded_after_seconds / 4
    for copy in copies:
        assert volume_ids(copy) == {volume_id}
        copy.volume()
    assert volume_ids(started.aws) == {volume_id}


def test_a_copy_of_a_copy_of_a_copy(aws: Aws, copy_of: Copier) -> None:
    chain = [aws]
    for _ in range(4):
        chain[-1].volume()
        chain.append(copy_of(chain[-1]))
    assert [len(volume_ids(one)) for one in chain] == [1, 2, 3, 4, 4]


def test_a_copy_outlives_the_original(started: Started, copy_of: Copier) -> None:
    volume_id = started.aws.volume()
    copy = copy_of(started.aws)
    started.aws.post("stop")
    until_gone(started.aws)
    assert volume_ids(copy) == {volume_id}
    second = copy_of(copy)
    assert volume_ids(second) == {volume_id}


def test_stopping_a_copy_leaves_the_others(aws: Aws, copy_of: Copier) -> None:
    one, other = copy_of(aws), copy_of(aws)
    one.post("stop")
    until_gone(one)
    aws.volume()
    other.volume()


def test_all_end_with_whoever_started_the_original(started: Started, copy_of: Copier) -> None:
    copy = copy_of(started.aws)
    orphan_of_original = copy_of(copy)
    copy.post("stop")
    until_gone(copy)
    last = copy_of(orphan_of_original)
    started.process.stdin.close()
    for one in (started.aws, orphan_of_original, last):
        until_gone(one)


def test_all_end_with_a_pool_that_is_killed(copy_of: Copier) -> None:
    started = Started(POOL)
    copy = copy_of(started.aws)
    started.process.kill()
    until_gone(started.aws)
    until_gone(copy)
    started.end()


def test_the_end_of_the_originals_output_is_not_held_up(copy_of: Copier) -> None:
    started = Started(ALONE)
    copy = copy_of(started.aws)
    started.aws.post("stop")
    ended, _, _ = select.select([started.process.stdout], [], [], WAIT_MAX_SECONDS)
    assert ended
    assert started.process.stdout.read() == ""
    copy.volume()
    started.end()
    until_gone(copy)


def test_connections_to_the_original_end_with_it(started: Started, copy_of: Copier) -> None:
    address = started.aws.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=WAIT_MAX_SECONDS) as connection:
        connection.sendall(b"GET /emulator/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        copy = copy_of(started.aws)
        started.aws.post("stop")
        assert connection.recv(4096) == b""
    copy.volume()


def test_copying_amid_other_calls(aws: Aws, copy_of: Copier) -> None:
    """No lock is left locked, no call half done: a call is in the log where its work is."""
    going = True

    def call_on(_: int) -> None:
        ec2 = Aws(aws.endpoint).ec2
        while going:
            ec2.create_volume(AvailabilityZone="eu-west-2a", Size=1)
            ec2.describe_snapshots()

    with ThreadPoolExecutor(4) as threads:
        calling = [threads.submit(call_on, number) for number in range(4)]
        try:
            copies = []
            for _ in range(10):
                copies.append(copy_of(aws))
                time.sleep(0.02)
        finally:
            going = False
        for call in calling:
            call.result()
    for copy in copies:
        logged = copy.operations().count("CreateVolume")
        assert len(volume_ids(copy)) == logged
        copy.volume()
        assert len(volume_ids(copy)) == logged + 1
    assert len(volume_ids(copies[-1])) > 1


def test_a_delayed_call_is_the_originals_alone(aws: Aws, copy_of: Copier) -> None:
    aws.post("faults", {"operation": "CreateVolume", "fault": {"kind": "delay", "seconds": 2}})
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(aws.volume)
        until(lambda: has_come(aws))
        copy = copy_of(aws)
        slow.result()
    assert len(volume_ids(aws)) == 1
    assert volume_ids(copy) == set()


def test_copies_are_asked_for_without_fields(aws: Aws) -> None:
    assert "unknown" in aws.refused("fork", {"port": 5})
