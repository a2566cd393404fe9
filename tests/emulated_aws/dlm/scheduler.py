"""What Lifecycle Manager does as time passes: snapshots taken, old ones deleted.

A run scheduled for time T begins some minutes after T and takes its volumes some
seconds apart. It happens when the clock is moved past its beginning, in order with all
other runs, with the clock held at its own time.

Invariants: a run happens once; only ENABLED policies run; a policy's runs before it was
last written do not happen; no snapshot starts in the future.

Schedules by cron expression are stored but never run.
"""

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from moto.ec2.models import ec2_backends

from ..clock import clock, format_rfc3339
from ..tags import user_tags
from .models import LifecyclePolicy, dlm_backends

TARGETED_STATES = ("available", "in-use")
OUTCOMES = ("missing", "error", "pending")

POLICY_ID_TAG = "aws:dlm:lifecycle-policy-id"
SCHEDULE_NAME_TAG = "aws:dlm:lifecycle-schedule-name"
MANAGED_TAG = "aws:dlm:managed"

SECONDS_BETWEEN_VOLUMES = 7

_AGE_UNITS_DAYS = {"DAYS": 1, "WEEKS": 7, "MONTHS": 30, "YEARS": 365}


@dataclass(frozen=True)
class Run:
    """One schedule of one policy at one scheduled time."""

    scheduled: datetime
    ec2: Any
    policy: LifecyclePolicy
    schedule: dict[str, Any]

    @property
    def begins(self) -> datetime:
        return begin_of(self.scheduled)


class Scheduler:
    """Which runs are past, and how the coming ones are to end."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._ran_until = clock.now()
        # By volume: the outcome and how many runs it is for, in the order planted.
        self._planted: dict[str, list[list[Any]]] = {}

    def plant(self, volume_id: str, outcome: str, runs: int) -> None:
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}, not {outcome!r}")
        if not isinstance(runs, int) or runs < 1:
            raise ValueError(f"runs must be a whole number from 1, not {runs!r}")
        self._planted.setdefault(volume_id, []).append([outcome, runs])

    def skip_to(self, now: datetime) -> None:
        """What was due until now never happens."""
        self._ran_until = now

    def run_due(self, now: datetime) -> list[dict[str, Any]]:
        """Do all runs that are due, in order; each is reported."""
        since, self._ran_until = self._ran_until, max(now, self._ran_until)
        runs = [run for policy, ec2 in _policies() for run in _runs_between(policy, ec2, since, now)]
        runs.sort(key=lambda run: run.scheduled)
        return [self._execute(run, now) for run in runs]

    def _execute(self, run: Run, now: datetime) -> dict[str, Any]:
        with clock.held_at(run.begins):
            volumes = _targeted_volumes(run)
        created = []
        for index, volume in enumerate(volumes):
            start = run.begins + timedelta(seconds=index * SECONDS_BETWEEN_VOLUMES)
            with clock.held_at(min(start, now)):
                created += self._take_snapshot(run, volume)
        with clock.held_at(min(run.begins + timedelta(minutes=10), now)):
            deleted = _apply_retention(run, volumes)
        return {
            "policy_id": run.policy.id,
            "schedule": run.schedule["Name"],
            "scheduled": format_rfc3339(run.scheduled),
            "created": created,
            "deleted": deleted,
        }

    def _take_snapshot(self, run: Run, volume: Any) -> list[str]:
        outcome = self._next_outcome(volume.id)
        if outcome == "missing":
            return []
        description = f"Created for policy: {run.policy.id} schedule: {run.schedule['Name']}"
        snapshot = run.ec2.create_snapshot(volume.id, description)
        run.ec2.tags[snapshot.id].update(_snapshot_tags(run, volume))
        snapshot.forced_state = outcome
        return [snapshot.id]

    def _next_outcome(self, volume_id: str) -> str | None:
        """The outcome planted for this run of the volume, if any."""
        planted = self._planted.get(volume_id)
        if not planted:
            return None
        outcome, runs = planted[0]
        if runs == 1:
            planted.pop(0)
        else:
            planted[0][1] -= 1
        return outcome


scheduler = Scheduler()


def begin_of(scheduled: datetime) -> datetime:
    """A few minutes later, the same for the same time, as DLM promises the hour only."""
    seconds = 120 + zlib.crc32(scheduled.isoformat().encode()) % 180
    return scheduled + timedelta(seconds=seconds)


def _policies() -> list[tuple[LifecyclePolicy, Any]]:
    """All ENABLED policies, each with the EC2 of its account and Region."""
    return [
        (policy, ec2_backends[account_id][region])
        for account_id, region, backend in dlm_backends.iter_backends()
        for policy in backend.policies.values()
        if policy.state == "ENABLED"
    ]


def _runs_between(policy: LifecyclePolicy, ec2: Any, since: datetime, until: datetime) -> list[Run]:
    return [
        Run(scheduled, ec2, policy, schedule)
        for schedule in policy.schedules
        for scheduled in _scheduled_times(schedule["CreateRule"], since, until)
        if since < begin_of(scheduled) <= until and scheduled > policy.modified
    ]


def _scheduled_times(rule: dict[str, Any], since: datetime, until: datetime) -> list[datetime]:
    """Every time of the rule that may begin between the two."""
    if "Interval" not in rule:
        return []
    interval = timedelta(hours=rule["Interval"])
    hours, minutes = map(int, rule["Times"][0].split(":"))
    # An interval divides the day, so counting from any day's start time gives the same times.
    scheduled = datetime.combine(since.date(), datetime.min.time()) - timedelta(days=2)
    scheduled += timedelta(hours=hours, minutes=minutes)
    times = []
    while scheduled <= until:
        if scheduled >= since - timedelta(hours=1):
            times.append(scheduled)
        scheduled += interval
    return times


def _targeted_volumes(run: Run) -> list[Any]:
    wanted = {(tag["Key"], tag["Value"]) for tag in run.policy.target_tags}
    return [
        volume
        for volume in run.ec2.volumes.values()
        if volume.status in TARGETED_STATES and wanted & run.ec2.tags.get(volume.id, {}).items()
    ]


def _snapshot_tags(run: Run, volume: Any) -> dict[str, str]:
    copied = user_tags(run.ec2.tags.get(volume.id, {})) if run.schedule["CopyTags"] else {}
    return {
        **copied,
        **{tag["Key"]: tag["Value"] for tag in run.schedule["TagsToAdd"]},
        POLICY_ID_TAG: run.policy.id,
        SCHEDULE_NAME_TAG: run.schedule["Name"],
        MANAGED_TAG: "true",
    }


def _apply_retention(run: Run, volumes: list[Any]) -> list[str]:
    """Delete what the schedule no longer keeps of these volumes, oldest first."""
    rule = run.schedule["RetainRule"]
    expired = []
    for snapshots in _managed_by_volume(run, {volume.id for volume in volumes}).values():
        if "Count" in rule:
            expired += snapshots[: -rule["Count"]]
        else:
            age = timedelta(days=rule["Interval"] * _AGE_UNITS_DAYS[rule["IntervalUnit"]])
            expired += [snapshot for snapshot in snapshots if snapshot.start_time < clock.now() - age]
    for snapshot in expired:
        run.ec2.delete_snapshot(snapshot.id)
    return [snapshot.id for snapshot in expired]


def _managed_by_volume(run: Run, volume_ids: set[str]) -> dict[str, list[Any]]:
    """The schedule's snapshots of each volume, oldest first."""
    managed: dict[str, list[Any]] = {}
    for snapshot in run.ec2.snapshots.values():
        tags = run.ec2.tags.get(snapshot.id, {})
        if (
            snapshot.volume_id in volume_ids
            and tags.get(POLICY_ID_TAG) == run.policy.id
            and tags.get(SCHEDULE_NAME_TAG) == run.schedule["Name"]
        ):
            managed.setdefault(snapshot.volume_id, []).append(snapshot)
    for snapshots in managed.values():
        snapshots.sort(key=lambda snapshot: snapshot.start_time)
    return managed
