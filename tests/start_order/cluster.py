"""Taking a crashed set: a live cluster under load, its members copied seconds apart."""

import itertools
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .member import NAMES, Member, Ports

LOAD_SECONDS = 3.0
WRITERS = 3
START_SECONDS_MAX = 30.0


@dataclass
class CrashedSet:
    """Copies of all members' data directories, oldest first."""

    ports: Ports
    oldest_first: list[str]
    folders: dict[str, Path]
    revisions: dict[str, int | None]

    def describe(self) -> str:
        taken = ", ".join(f"{name} at about revision {self.revisions[name]}" for name in self.oldest_first)
        return f"copied in this order: {taken}"


def take_set(etcd: Path, folder: Path, seconds_apart: float) -> CrashedSet:
    """Run a cluster under load, copy its members one after the other, kill them all.

    RuntimeError where it does not come up.
    """
    ports = Ports()
    members = {name: Member(etcd, name, folder / f"live-{name}", ports) for name in NAMES}
    try:
        if not wait_until(lambda: all(member.serves() for member in members.values()), START_SECONDS_MAX):
            raise RuntimeError(f"the cluster does not come up: {members['a'].last_words()}")
        with _load(list(members.values())):
            time.sleep(LOAD_SECONDS)
            order = random.sample(NAMES, len(NAMES))
            revisions = {}
            for name in order:
                if name != order[0]:
                    time.sleep(seconds_apart)
                revisions[name] = members[name].revision()
                _copy_stopped(members[name], folder / f"live-{name}", folder / f"taken-{name}")
    finally:
        for member in members.values():
            member.end()
    folders = {name: folder / f"taken-{name}" for name in NAMES}
    return CrashedSet(ports, order, folders, revisions)


def wait_until(is_so: Callable[[], bool], seconds_max: float) -> bool:
    """Whether it became so in time."""
    deadline = time.monotonic() + seconds_max
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def copy(source: Path, target: Path) -> None:
    """The logs are preallocated: most of them is holes."""
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def _copy_stopped(member: Member, source: Path, target: Path) -> None:
    member.stop()
    try:
        copy(source, target)
    finally:
        member.go_on()


@contextmanager
def _load(members: list[Member]) -> Iterator[None]:
    """Writes through all members at once, until the end of the block."""
    ended = threading.Event()

    def write(member: Member, writer: int) -> None:
        for n in itertools.count():
            if ended.is_set():
                return
            member.put(f"load-{writer}-{n % 500}", f"{n:0256}")

    writers = [
        threading.Thread(target=write, args=(members[n % len(members)], n), daemon=True)
        for n in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        ended.set()
        for writer in writers:
            writer.join()


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
