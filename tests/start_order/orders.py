"""Starting a crashed set in some order, and asking who serves then."""

from dataclasses import dataclass
from pathlib import Path

from .cluster import CrashedSet, copy, remove, wait_until
from .member import NAMES, Member

ORDERS = ("the two oldest first", "all at once", "newest among the first quorum")

QUORUM_SECONDS_MAX = 30.0
REST_SECONDS_MAX = 20.0
WRITES_BETWEEN = 40
WRITES_AFTER = 20


@dataclass
class Outcome:
    """Who serves in the end, and at which revision."""

    revisions: dict[str, int | None]

    @property
    def is_whole(self) -> bool:
        """All serve, and say the same."""
        served = list(self.revisions.values())
        return None not in served and len(set(served)) == 1

    def describe(self) -> str:
        told = ", ".join(
            f"{name} never serves" if revision is None else f"{name} serves revision {revision}"
            for name, revision in sorted(self.revisions.items())
        )
        return f"{'whole' if self.is_whole else 'NOT whole'}: {told}"


class Trial:
    """One start of one set, from copies of its own."""

    def __init__(self, etcd: Path, taken: CrashedSet, folder: Path) -> None:
        self._etcd = etcd
        self._taken = taken
        self._folder = folder / "trial"

    def run(self, order: str) -> Outcome:
        oldest, middle, newest = self._taken.oldest_first
        first = {
            "the two oldest first": [oldest, middle],
            "all at once": [oldest, middle, newest],
            "newest among the first quorum": [newest, middle],
        }[order]
        rest = [name for name in NAMES if name not in first]
        self._folder.mkdir()
        members: dict[str, Member] = {}
        try:
            self._start(members, first)
            wait_until(lambda: _serving(members) >= 2, QUORUM_SECONDS_MAX)
            self._write(members, WRITES_BETWEEN)
            self._start(members, rest)
            wait_until(lambda: _serving(members) == len(NAMES), REST_SECONDS_MAX)
            # Neither writes nor time help a member that does not come up by now.
            self._write(members, WRITES_AFTER)
            wait_until(lambda: _outcome(members).is_whole, REST_SECONDS_MAX)
            return _outcome(members)
        finally:
            for member in members.values():
                member.end()
            remove(self._folder)

    def _start(self, members: dict[str, Member], names: list[str]) -> None:
        for name in names:
            data = self._folder / name
            copy(self._taken.folders[name], data)
            members[name] = Member(self._etcd, name, data, self._taken.ports)

    def _write(self, members: dict[str, Member], count: int) -> None:
        writer = next((member for member in members.values() if member.serves()), None)
        for n in range(count):
            if writer:
                writer.put("after-restore", str(n))


def _serving(members: dict[str, Member]) -> int:
    return sum(member.runs() and member.serves() for member in members.values())


def _outcome(members: dict[str, Member]) -> Outcome:
    return Outcome(
        {name: member.revision() if member.serves() else None for name, member in members.items()}
    )
