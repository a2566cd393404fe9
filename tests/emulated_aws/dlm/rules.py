"""Rules for policies that the service model does not state.

From https://docs.aws.amazon.com/dlm/latest/APIReference/ and
https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-ami-policy.html.
"""

import copy
from typing import Any

from .exceptions import InvalidRequest

INTERVALS_HOURS = (1, 2, 3, 4, 6, 8, 12, 24)
POLICIES_MAX = 100
TIME_DEFAULT = "09:00"


def check_details(details: dict[str, Any]) -> None:
    """Refuse contradictory or incomplete policy details."""
    if details.get("PolicyType") == "EVENT_BASED_POLICY" or details.get("PolicyLanguage") == "SIMPLIFIED":
        raise InvalidRequest("The emulated Lifecycle Manager knows neither event-based nor default policies.")
    for name in ("ResourceTypes", "TargetTags", "Schedules"):
        if not details.get(name):
            raise InvalidRequest(f"Missing required parameter: PolicyDetails.{name}.")
    _check_tags("TargetTags", details["TargetTags"])
    names = [schedule.get("Name") for schedule in details["Schedules"]]
    if len(set(names)) != len(names):
        raise InvalidRequest("Schedule names within a policy must be unique.")
    for schedule in details["Schedules"]:
        _check_schedule(schedule)


def check_update(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Refuse what an update may not change."""
    for member in ("PolicyType", "ResourceTypes"):
        if before.get(member) != after.get(member):
            raise InvalidRequest(f"{member} cannot be changed.")
    # What the console made has them.
    if "Parameters" in before and "Parameters" not in after:
        raise InvalidRequest("Parameters must be named in an update of a policy that has some.")
    by_name = {schedule["Name"]: schedule for schedule in before["Schedules"]}
    for index, schedule in enumerate(after["Schedules"]):
        # A schedule that is new by name may be one renamed: the one in its place counts.
        in_place = before["Schedules"][index : index + 1]
        old = by_name.get(schedule["Name"]) or (in_place[0] if in_place else schedule)
        if ("Count" in old["RetainRule"]) != ("Count" in schedule["RetainRule"]):
            raise InvalidRequest("The retention type of a schedule cannot be switched between count and age.")


def with_defaults(details: dict[str, Any]) -> dict[str, Any]:
    """The details as AWS shows them."""
    filled = copy.deepcopy(details)
    filled.setdefault("PolicyType", "EBS_SNAPSHOT_MANAGEMENT")
    filled.setdefault("ResourceLocations", ["CLOUD"])
    filled.setdefault("PolicyLanguage", "STANDARD")
    for schedule in filled["Schedules"]:
        schedule.setdefault("CopyTags", False)
        schedule.setdefault("TagsToAdd", [])
        schedule.setdefault("VariableTags", [])
        rule = schedule["CreateRule"]
        rule.setdefault("Location", "CLOUD")
        if "Interval" in rule:
            rule.setdefault("Times", [TIME_DEFAULT])
    return filled


def _check_schedule(schedule: dict[str, Any]) -> None:
    for name in ("Name", "CreateRule", "RetainRule"):
        if not schedule.get(name):
            raise InvalidRequest(f"Missing required parameter: Schedule.{name}.")
    _check_tags("TagsToAdd", schedule.get("TagsToAdd", []))
    _check_create_rule(schedule["CreateRule"])
    _check_retain_rule(schedule["RetainRule"], archives="ArchiveRule" in schedule)


def _check_create_rule(rule: dict[str, Any]) -> None:
    timed = [name for name in ("Interval", "IntervalUnit", "Times") if name in rule]
    if "CronExpression" in rule:
        if timed:
            raise InvalidRequest(f"CronExpression and {', '.join(timed)} are mutually exclusive.")
        return
    if "Interval" not in rule or "IntervalUnit" not in rule:
        raise InvalidRequest("CreateRule needs Interval and IntervalUnit, or CronExpression.")
    if rule["Interval"] not in INTERVALS_HOURS:
        allowed = ", ".join(map(str, INTERVALS_HOURS))
        raise InvalidRequest(f"Interval must be one of {allowed} hours; it is {rule['Interval']}.")
    if "Times" in rule and len(rule["Times"]) != 1:
        raise InvalidRequest("Times must hold exactly one time.")


def _check_retain_rule(rule: dict[str, Any], archives: bool) -> None:
    counted, aged = "Count" in rule, "Interval" in rule or "IntervalUnit" in rule
    if counted and aged:
        raise InvalidRequest("RetainRule: Count and Interval are mutually exclusive.")
    if counted and rule["Count"] < (0 if archives else 1):
        raise InvalidRequest("RetainRule: Count must be from 1 to 1000.")
    has_age = "Interval" in rule and (rule["Interval"] > 0 or archives) and "IntervalUnit" in rule
    if not counted and not has_age:
        raise InvalidRequest("RetainRule needs Count, or Interval and IntervalUnit.")


def _check_tags(what: str, tags: list[dict[str, str]]) -> None:
    keys = [tag["Key"] for tag in tags]
    for tag in tags:
        if not tag["Key"] or len(tag["Key"]) > 128 or len(tag["Value"]) > 256:
            raise InvalidRequest(f"{what}: a key has 1 to 128 characters, a value at most 256.")
    if what == "TagsToAdd":
        if any(key.lower().startswith("aws:") for key in keys):
            raise InvalidRequest("TagsToAdd: keys starting with 'aws:' are reserved.")
        if len(set(keys)) != len(keys):
            raise InvalidRequest("TagsToAdd: keys must be unique.")
    elif len({(tag["Key"], tag["Value"]) for tag in tags}) != len(tags):
        raise InvalidRequest(f"{what}: tags must be unique.")
