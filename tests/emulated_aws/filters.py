"""EC2's filters: names are checked, values may hold wildcards, names are joined by AND.

A resource is described to this module by its filterable fields (name to value) and its
tags, so that the same code serves volumes and snapshots.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from moto.ec2.exceptions import EC2ClientError

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html: at most 200 values.
VALUES_MAX = 200

Field = Callable[[Any], Any]


def check(filters: dict[str, list[str]], known: Iterable[str]) -> None:
    """Refuse what EC2 refuses: an unknown filter name, too many values."""
    names = set(known)
    for name, values in filters.items():
        if not (name in names or name == "tag-key" or name.startswith("tag:")):
            raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid")
        if len(values) > VALUES_MAX:
            message = f"The maximum number of filter values specified on a single call is {VALUES_MAX}"
            raise EC2ClientError("FilterLimitExceeded", message)


def matches(
    filters: dict[str, list[str]], fields: dict[str, Field], resource: Any, tags: dict[str, str]
) -> bool:
    """Whether the resource passes every filter; each takes any of its values."""
    return all(
        any(
            _matches_one(value, pattern)
            for value in _values(name, fields, resource, tags)
            for pattern in patterns
        )
        for name, patterns in filters.items()
    )


def _values(name: str, fields: dict[str, Field], resource: Any, tags: dict[str, str]) -> list[str]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return [tags[key]] if key in tags else []
    if name == "tag-key":
        return list(tags)
    value = fields[name](resource)
    return [] if value is None else [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    return str(value)


def _matches_one(value: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    """EC2 knows `*` and `?`; a backslash takes the next character literally."""
    parts = []
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "\\":
            parts.append(re.escape(next(characters, "\\")))
        else:
            parts.append(re.escape(character))
    return re.compile("".join(parts), re.DOTALL)
