"""Policy documents: what their statements allow and deny.

Invariant: a document is refused when it is read unless every part of it can be evaluated.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .conditions import Condition, Context, is_like, read_conditions

_VERSIONS = ("2012-10-17", "2008-10-17")
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[\w*?]+")
_RESOURCE = re.compile(r"\*|arn:([^:]*:){4}.+")


@dataclass(frozen=True)
class Statement:
    """One statement of an identity policy."""

    sid: str | None
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]

    def applies_to(self, action: str, resource: str, context: Context) -> bool:
        return (
            any(is_like(action.lower(), pattern.lower()) for pattern in self.actions)
            and any(_resource(pattern).fullmatch(resource) for pattern in self.resources)
            and all(condition.holds(context) for condition in self.conditions)
        )


@lru_cache
def _resource(pattern: str) -> re.Pattern[str]:
    """A wildcard stays between two colons of an ARN, unless it is a `*` right before the second."""
    wildcards = {"*": "[^:]*", "?": "[^:]", "*:": ".*:"}
    pieces = re.findall(r"\*:|.", pattern.removesuffix("*"))
    regex = "".join(wildcards.get(piece, re.escape(piece)) for piece in pieces)
    return re.compile(regex + ".*" if pattern.endswith("*") else regex)


def read_document(document: Any) -> list[Statement]:
    """ValueError names what can't be evaluated."""
    _check_elements("policy", document, required={"Statement"}, optional={"Version", "Id"})
    if document.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise ValueError(f"unknown version of the policy language: {document['Version']!r}")
    if "${" in json.dumps(document):
        raise ValueError("policy variables are not emulated")
    statements = document["Statement"]
    return [_statement(one) for one in (statements if isinstance(statements, list) else [statements])]


def _statement(element: Any) -> Statement:
    required = {"Effect", "Action", "Resource"}
    _check_elements("statement", element, required, optional={"Sid", "Condition"})
    sid = element.get("Sid")
    if not isinstance(sid, str | None):
        raise ValueError(f"a Sid must be a string, not {sid!r}")
    try:
        if element["Effect"] not in ("Allow", "Deny"):
            raise ValueError(f"unknown effect {element['Effect']!r}")
        return Statement(
            sid,
            element["Effect"] == "Allow",
            _patterns("action", element["Action"], _ACTION),
            _patterns("resource", element["Resource"], _RESOURCE),
            read_conditions(element.get("Condition", {})),
        )
    except ValueError as problem:
        raise ValueError(f"statement {sid}: {problem}") from None


def _patterns(what: str, value: Any, form: re.Pattern[str]) -> tuple[str, ...]:
    patterns = value if isinstance(value, list) else [value]
    for pattern in patterns:
        if not isinstance(pattern, str) or not form.fullmatch(pattern):
            raise ValueError(f"{pattern!r} is no {what}")
    if not patterns:
        raise ValueError(f"there is no {what}")
    return tuple(patterns)


def _check_elements(what: str, given: Any, required: Iterable[str], optional: Iterable[str]) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"a {what} must be an object, not {given!r}")
    if unknown := given.keys() - {*required, *optional}:
        raise ValueError(f"a {what} with {', '.join(sorted(unknown))} can't be evaluated")
    if missing := set(required) - given.keys():
        raise ValueError(f"a {what} needs {', '.join(sorted(missing))}")
