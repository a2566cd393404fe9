"""Snapshots that Lifecycle Manager takes and deletes as the clock moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .fresh_aws import Aws, as_dict, as_list
from .test_dlm import policy_request

TARGET = {"k8s.io/role/master": "1"}
DAY = 86400


@pytest.fixture
def policy_id(aws: Aws) -> str:
    """A daily policy at 06:00, at midnight before its first run."""
    aws.post("clock", {"set": "2027-01-01T00:00:00Z"})
    aws.role()
    return aws.dlm.create_lifecycle_policy(**policy_request())["PolicyId"]


def snapshots_of(aws: Aws, volume_id: str) -> list[dict[str, Any]]:
    """Oldest first."""
    answer = aws.ec2.describe_snapshots(Filters=[{"Name": "volume-id", "Values": [volume_id]}])
    return sorted(answer["Snapshots"], key=lambda snapshot: snapshot["StartTime"])


def test_sixteen_days_keep_fourteen(aws: Aws, policy_id: str) -> None:
    volumes = [aws.volume(tags=TARGET), aws.volume("b", tags=TARGET)]
    runs = aws.post("clock", {"advance_seconds": 16 * DAY})["runs"]
    assert [run["scheduled"] for run in runs[:2]] == ["2027-01-01T06:00:00Z", "2027-01-02T06:00:00Z"]
    assert [len(run["created"]) for run in runs] == [2] * 16
    assert [len(run["deleted"]) for run in runs] == [0] * 14 + [2] * 2
    for volume_id in volumes:
        kept = snapshots_of(aws, volume_id)
        assert [s["StartTime"].day for s in kept] == list(range(3, 17))
        assert {s["State"] for s in kept} == {"completed"}


def test_what_a_snapshot_carries(aws: Aws, policy_id: str) -> None:
    volume_id = aws.volume(tags={**TARGET, "Name": "a.etcd-main.c", "SnapshotCreator": "overwritten"})
    aws.post(f"ec2/volumes/{volume_id}", {"tags": {"aws:cloudformation:stack-name": "s"}})
    aws.post("clock", {"set": "2027-01-01T07:30:00Z"})
    (snapshot,) = snapshots_of(aws, volume_id)
    assert as_dict(snapshot["Tags"]) == {
        **TARGET,
        "Name": "a.etcd-main.c",
        "SnapshotCreator": "DLM",
        "aws:dlm:lifecycle-policy-id": policy_id,
        "aws:dlm:lifecycle-schedule-name": "Daily 2 week etcd snapshots",
        "aws:dlm:managed": "true",
    }
    assert timedelta() < snapshot["StartTime"] - datetime(2027, 1, 1, 6, tzinfo=UTC) < timedelta(minutes=10)


def test_volumes_of_a_run_start_seconds_apart(aws: Aws, policy_id: str) -> None:
    volumes = [aws.volume(tags=TARGET) for _ in range(3)]
    aws.post("clock", {"set": "2027-01-01T07:30:00Z"})
    starts = [snapshots_of(aws, volume_id)[0]["StartTime"] for volume_id in volumes]
    assert [(b - a).total_seconds() for a, b in zip(starts, starts[1:], strict=False)] == [7, 7]


def test_any_target_tag_of_a_usable_volume(aws: Aws, policy_id: str) -> None:
    failed, untagged = aws.volume(tags=TARGET), aws.volume()
    other_value = aws.volume(tags={"k8s.io/role/master": "0"})
    attached = aws.volume(tags=TARGET)
    aws.ec2.attach_volume(VolumeId=attached, InstanceId=aws.instance(), Device="/dev/xvdu")
    aws.post(f"ec2/volumes/{failed}", {"state": "error"})
    aws.post("clock", {"advance_seconds": DAY})
    found = {volume: len(snapshots_of(aws, volume)) for volume in (failed, untagged, other_value, attached)}
    assert found == {failed: 0, untagged: 0, other_value: 0, attached: 1}


def test_planted_outcomes(aws: Aws, policy_id: str) -> None:
    volume_id = aws.volume(tags=TARGET)
    aws.post("dlm/plant", {"volume_id": volume_id, "outcome": "missing", "runs": 2})
    aws.post("dlm/plant", {"volume_id": volume_id, "outcome": "error"})
    aws.post("dlm/plant", {"volume_id": volume_id, "outcome": "pending"})
    aws.post("clock", {"advance_seconds": 5 * DAY})
    states = [(s["StartTime"].day, s["State"]) for s in snapshots_of(aws, volume_id)]
    assert states == [(3, "error"), (4, "pending"), (5, "completed")]


@pytest.mark.parametrize("how", ["untagged", "deleted"])
def test_volumes_no_longer_targeted_keep_their_snapshots(aws: Aws, policy_id: str, how: str) -> None:
    volume_id, other = aws.volume(tags=TARGET), aws.volume(tags=TARGET)
    aws.post("clock", {"advance_seconds": 14 * DAY})
    if how == "untagged":
        aws.ec2.delete_tags(Resources=[volume_id], Tags=[{"Key": "k8s.io/role/master"}])
    else:
        aws.ec2.delete_volume(VolumeId=volume_id)
    aws.post("clock", {"advance_seconds": 3 * DAY})
    assert [s["StartTime"].day for s in snapshots_of(aws, volume_id)] == list(range(1, 15))
    assert [s["StartTime"].day for s in snapshots_of(aws, other)] == list(range(4, 18))


def test_a_renamed_schedule_leaves_the_older_snapshots(aws: Aws, policy_id: str) -> None:
    volume_id = aws.volume(tags=TARGET)
    aws.post("clock", {"advance_seconds": 14 * DAY})
    details = policy_request()["PolicyDetails"]
    renamed = {**details["Schedules"][0], "Name": "renamed", "RetainRule": {"Count": 1}}
    details = {**details, "Schedules": [renamed]}
    aws.dlm.update_lifecycle_policy(PolicyId=policy_id, PolicyDetails=details)
    aws.post("clock", {"advance_seconds": 2 * DAY})
    assert len(snapshots_of(aws, volume_id)) == 15


@pytest.mark.parametrize("state", ["DISABLED", "ERROR", "deleted"])
def test_a_policy_that_is_not_enabled_does_nothing(aws: Aws, policy_id: str, state: str) -> None:
    volume_id = aws.volume(tags=TARGET)
    aws.post("clock", {"advance_seconds": 2 * DAY})
    if state == "deleted":
        aws.dlm.delete_lifecycle_policy(PolicyId=policy_id)
    else:
        aws.post(f"dlm/policy/{policy_id}", {"state": state})
    assert aws.post("clock", {"advance_seconds": 20 * DAY})["runs"] == []
    assert len(snapshots_of(aws, volume_id)) == 2


def test_intervals_and_several_schedules_run_in_order(aws: Aws) -> None:
    aws.post("clock", {"set": "2027-01-01T00:00:00Z"})
    aws.role()
    base = policy_request()["PolicyDetails"]["Schedules"][0]
    often = {"Interval": 8, "IntervalUnit": "HOURS", "Times": ["23:30"]}
    schedules = [base, {**base, "Name": "often", "CreateRule": often, "RetainRule": {"Count": 2}}]
    aws.dlm.create_lifecycle_policy(**policy_request(Schedules=schedules))
    volume_id = aws.volume(tags=TARGET)
    runs = aws.post("clock", {"advance_seconds": DAY})["runs"]
    assert [(run["scheduled"][11:16], run["schedule"][:5]) for run in runs] == [
        ("06:00", "Daily"),
        ("07:30", "often"),
        ("15:30", "often"),
        ("23:30", "often"),
    ]
    assert len(snapshots_of(aws, volume_id)) == 3


def test_retention_by_age(aws: Aws) -> None:
    aws.post("clock", {"set": "2027-01-01T00:00:00Z"})
    aws.role()
    aged = policy_request()["PolicyDetails"]["Schedules"][0]
    aged["RetainRule"] = {"Interval": 3, "IntervalUnit": "DAYS"}
    aws.dlm.create_lifecycle_policy(**policy_request(Schedules=[aged]))
    volume_id = aws.volume(tags=TARGET)
    aws.post("clock", {"advance_seconds": 10 * DAY})
    assert len(snapshots_of(aws, volume_id)) in (3, 4)


def test_runs_can_be_suppressed_and_do_not_come_back(aws: Aws, policy_id: str) -> None:
    volume_id = aws.volume(tags=TARGET)
    assert aws.post("clock", {"advance_seconds": 2 * DAY, "tick": False})["runs"] == []
    assert len(aws.post("clock", {"advance_seconds": DAY})["runs"]) == 1
    assert len(snapshots_of(aws, volume_id)) == 1


def test_steps_add_up_to_one_run_a_day(aws: Aws, policy_id: str) -> None:
    volume_id = aws.volume(tags=TARGET)
    for _ in range(2 * 24 * 6):
        aws.post("clock", {"advance_seconds": 600})
    assert len(snapshots_of(aws, volume_id)) == 2


def test_manual_snapshots_are_not_touched(aws: Aws, policy_id: str) -> None:
    volume_id = aws.volume(tags=TARGET)
    tags = [{"ResourceType": "snapshot", "Tags": as_list({"SnapshotCreator": "DLM"})}]
    aws.ec2.create_snapshot(VolumeId=volume_id, TagSpecifications=tags)
    aws.post("clock", {"advance_seconds": 20 * DAY})
    assert len(snapshots_of(aws, volume_id)) == 15


def test_fifteen_days_of_twenty_volumes_are_quick(aws: Aws, policy_id: str) -> None:
    for _ in range(20):
        aws.volume(tags={**TARGET, **{f"t{n}": "v" for n in range(10)}})
    began = datetime.now(UTC)
    aws.post("clock", {"advance_seconds": 15 * DAY})
    assert datetime.now(UTC) - began < timedelta(seconds=4)
