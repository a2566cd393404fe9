"""The Condition element of a policy: operators on the context keys of a request.

Invariant: a condition is either evaluated as IAM documents it or refused when it is read.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# By the key's name in lower case, as names have no case. A key that is absent has no entry.
Context = Mapping[str, tuple[str, ...]]

# The keys that `needs` gives wherever AWS gives them; those for tags end with the tag's key.
_KEYS = {
    "aws:tagkeys",
    "ec2:createaction",
    "ec2:owner",
    "ec2:volumetype",
    "iam:passedtoservice",
    "iam:permissionsboundary",
    "iam:policyarn",
}
_TAG_KEY = re.compile(r"(aws:requesttag|(aws|autoscaling|ec2|iam):resourcetag)/.+")
_MULTIVALUED = {"aws:tagkeys"}

_OPERATOR = re.compile(r"(?:(ForAllValues|ForAnyValue):)?(\w+?)(IfExists)?")


@lru_cache
def _like(pattern: str) -> re.Pattern[str]:
    wildcards = {"*": ".*", "?": "."}
    return re.compile("".join(wildcards.get(one, re.escape(one)) for one in pattern), re.DOTALL)


def is_like(value: str, pattern: str) -> bool:
    """`*` stands for any characters, `?` for one."""
    return _like(pattern).fullmatch(value) is not None


def _is_arn_like(value: str, pattern: str) -> bool:
    """Each of the six parts by itself: no wildcard reaches beyond its part."""
    parts, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) and all(map(is_like, parts, patterns))


def _equals_ignoring_case(value: str, wanted: str) -> bool:
    return value.lower() == wanted.lower()


_MATCHERS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": operator.eq,
    "StringNotEquals": operator.eq,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": is_like,
    "ArnEquals": _is_arn_like,
    "ArnLike": _is_arn_like,
    "Bool": _equals_ignoring_case,
}
_NEGATED = {"StringNotEquals"}


@dataclass(frozen=True)
class Condition:
    """One operator on one key; `among` is ForAllValues, ForAnyValue or empty."""

    among: str
    operator: str
    if_exists: bool
    key: str
    wanted: tuple[str, ...]

    def holds(self, context: Context) -> bool:
        values = context.get(self.key, ())
        if self.operator == "Null":
            return self.wanted == (("false",) if values else ("true",))
        if not values:
            is_true_by_absence = self.operator in _NEGATED and self.among != "ForAnyValue"
            return self.if_exists or self.among == "ForAllValues" or is_true_by_absence
        quantifier = all if self.among == "ForAllValues" else any
        return quantifier(self._matches(value) for value in values)

    def _matches(self, value: str) -> bool:
        matches = _MATCHERS[self.operator]
        return any(matches(value, wanted) for wanted in self.wanted) != (self.operator in _NEGATED)


def read_conditions(block: Any) -> tuple[Condition, ...]:
    """All have to hold. ValueError names what can't be evaluated."""
    return tuple(
        _condition(name, key, values)
        for name, keys in _object("Condition", block).items()
        for key, values in _object(name, keys or None).items()
    )


def _condition(name: str, key: str, values: Any) -> Condition:
    parsed = _OPERATOR.fullmatch(name)
    among, operator_name, if_exists = parsed.groups("") if parsed else ("", name, "")
    if operator_name not in (*_MATCHERS, "Null"):
        raise ValueError(f"unknown condition operator {name}")
    if operator_name == "Null" and (among or if_exists):
        raise ValueError(f"{name}: Null knows neither sets nor IfExists")
    known = key.lower() in _KEYS or _TAG_KEY.fullmatch(key.lower())
    if not known:
        raise ValueError(f"condition key {key} is not emulated")
    if key.lower() in _MULTIVALUED and not among and operator_name != "Null":
        raise ValueError(f"{name}: {key} has several values and needs ForAllValues or ForAnyValue")
    wanted = tuple(_text(value) for value in (values if isinstance(values, list) else [values]))
    _check_values(operator_name, wanted)
    return Condition(among, operator_name, bool(if_exists), key.lower(), wanted)


def _check_values(name: str, wanted: tuple[str, ...]) -> None:
    if not wanted or (name == "Null" and len(wanted) > 1):
        raise ValueError(f"{name} has {len(wanted)} values")
    if name in ("Null", "Bool") and not set(wanted) <= {"true", "false"}:
        raise ValueError(f"{name} must be true or false, not {wanted}")
    if name.startswith("Arn") and any(value.count(":") < 5 for value in wanted):
        raise ValueError(f"{name}: each of {wanted} must be an ARN of six parts")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise ValueError(f"a condition's value must be a string or a boolean, not {value!r}")
    return value


def _object(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object, not {value!r}")
    return value
