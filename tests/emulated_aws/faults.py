"""What a test plants for calls: an error answer, a lost request or answer, a delay, an actor.

A fault waits for the `nth` call of its operation from when it was planted, and then
befalls `count` calls (-1: all that follow).
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

from . import actors
from .operations import Operation

KINDS = ("error", "drop_answer", "drop_request", "delay", "act")
_FAULT_FIELDS = {"kind", "code", "status", "message", "seconds", "actor", "when"}
_RULE_FIELDS = {"service", "operation", "nth", "count", "fault"}


@dataclass(frozen=True)
class Fault:
    """What happens to a call."""

    kind: str
    code: str = "InternalError"
    status: int = 500
    message: str = "An injected fault."
    seconds: float = 0.0
    # Who acts, as `actors` reads it, and whether before the call or after it.
    actor: Any = None
    when: str = "before"


@dataclass
class FaultRule:
    """Which calls a fault befalls."""

    id: int
    service: str
    operation: str
    nth: int
    count: int
    fault: Fault
    calls_seen: int = field(default=0)

    def befalls_next(self, operation: Operation) -> bool:
        """Count the call, and whether the fault is its."""
        if self.service not in ("*", operation.service) or self.operation not in ("*", operation.name):
            return False
        self.calls_seen += 1
        return self.nth <= self.calls_seen and (self.count < 0 or self.calls_seen < self.nth + self.count)

    def to_dict(self) -> dict[str, Any]:
        fault = {"kind": self.fault.kind}
        if self.fault.kind == "error":
            fault |= {"code": self.fault.code, "status": self.fault.status, "message": self.fault.message}
        if self.fault.kind == "delay":
            fault |= {"seconds": self.fault.seconds}
        if self.fault.kind == "act":
            fault |= {"actor": self.fault.actor, "when": self.fault.when}
        return {
            "id": self.id,
            "service": self.service,
            "operation": self.operation,
            "nth": self.nth,
            "count": self.count,
            "calls_seen": self.calls_seen,
            "fault": fault,
        }


class Faults:
    """The planted faults."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._rules: list[FaultRule] = []

    def clear(self) -> None:
        self._rules = []

    def plant(self, descriptions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All or none; ValueError says what is wrong with one."""
        rules = [_rule(next(self._ids), description) for description in descriptions]
        self._rules.extend(rules)
        return [rule.to_dict() for rule in rules]

    def next_for(self, operation: Operation) -> list[Fault]:
        """The faults that befall this call, in the order planted."""
        return [rule.fault for rule in self._rules if rule.befalls_next(operation)]

    def to_list(self) -> list[dict[str, Any]]:
        return [rule.to_dict() for rule in self._rules]


faults = Faults()


def _rule(id: int, description: Any) -> FaultRule:
    _check_fields("fault rule", description, _RULE_FIELDS, required={"operation", "fault"})
    fault = description["fault"]
    _check_fields("fault", fault, _FAULT_FIELDS, required={"kind"})
    if fault["kind"] not in KINDS:
        raise ValueError(f"unknown kind of fault {fault['kind']!r}; known: {', '.join(KINDS)}")
    if not isinstance(fault.get("status", 500), int) or not isinstance(fault.get("seconds", 0), (int, float)):
        raise ValueError("a fault's status must be a whole number, its seconds a number")
    if fault["kind"] == "act":
        actors.read(fault.get("actor"))
        if fault.get("when", "before") not in ("before", "after"):
            raise ValueError(f"an actor acts before or after a call, not {fault['when']!r}")
    nth, count = description.get("nth", 1), description.get("count", 1)
    if not isinstance(nth, int) or nth < 1 or not isinstance(count, int) or count == 0 or count < -1:
        raise ValueError("nth must be a whole number from 1; count one from 1, or -1 for ever")
    return FaultRule(
        id, description.get("service", "*"), description["operation"], nth, count, Fault(**fault)
    )


def _check_fields(what: str, given: Any, known: set[str], required: set[str]) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"a {what} must be an object, not {given!r}")
    if unknown := given.keys() - known:
        raise ValueError(f"unknown {what} fields {sorted(unknown)}; known: {sorted(known)}")
    if missing := required - given.keys():
        raise ValueError(f"a {what} needs {sorted(missing)}")
