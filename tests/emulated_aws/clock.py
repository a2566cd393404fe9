"""The emulated clock: real time plus an offset, or a moment it is held at.

moto reads the time from `moto.core.utils.utcnow`, which most of its modules import by
name; every such name is replaced. Times are naive datetimes in UTC, as in moto, cut to
milliseconds, as AWS gives them.

Invariant: the clock moves forward with real time unless held.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from moto.core import utils as moto_time

from .patching import PatchTargetMissing, replace


@dataclass(frozen=True)
class Moment:
    """When something began, by the emulated clock and by a stopwatch."""

    emulated: datetime
    stopwatch_seconds: float


class Clock:
    """Where the whole emulated AWS reads the time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Go back to real time."""
        self._offset = timedelta()
        self._held_at: datetime | None = None

    def now(self) -> datetime:
        if self._held_at is not None:
            return self._held_at
        return _milliseconds(_real_now() + self._offset)

    def move_to(self, moment: datetime) -> None:
        """Make `moment` the current time; the clock goes on from there."""
        self._offset = moment - _real_now()

    @contextmanager
    def held_at(self, moment: datetime) -> Iterator[None]:
        """Let work happen as if at `moment`."""
        before, self._held_at = self._held_at, moment
        try:
            yield
        finally:
            self._held_at = before

    def moment(self) -> Moment:
        return Moment(self.now(), time.monotonic())

    def seconds_since(self, moment: Moment) -> float:
        """Elapsed by the emulated clock or in reality, whichever is ahead.

        The two differ only where the clock was set or held: a volume that takes one
        second to create is ready after a second of waiting as well as after the
        clock was moved by an hour.
        """
        emulated = (self.now() - moment.emulated).total_seconds()
        return max(emulated, time.monotonic() - moment.stopwatch_seconds)


def parse_rfc3339(text: str) -> datetime:
    """A naive UTC datetime; ValueError where the text is none or has no offset."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC (end it with Z)")
    return moment.astimezone(UTC).replace(tzinfo=None)


def format_rfc3339(moment: datetime) -> str:
    """To the second, or to the millisecond where there is a fraction."""
    if moment.microsecond:
        return moment.isoformat(timespec="milliseconds") + "Z"
    return moment.isoformat(timespec="seconds") + "Z"


def _real_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


clock = Clock()


def install() -> None:
    """Make every moto module that is loaded, or will be, read the emulated clock."""
    original = replace(moto_time, "utcnow", clock.now)
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("moto.")]
    holders = [module for module in modules if getattr(module, "utcnow", None) is original]
    for module in holders:
        replace(module, "utcnow", clock.now)
    if not {"moto.ec2.models.elastic_block_store", "moto.iam.models"} <= {m.__name__ for m in holders}:
        raise PatchTargetMissing("moto's EC2 and IAM no longer read moto.core.utils.utcnow")
