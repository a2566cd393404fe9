"""EC2's XML, written directly.

moto's general serializer takes about a millisecond per snapshot; a page of a thousand
tagged ones is too slow for tests that list often.
"""

from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
HEADERS = {"Content-Type": "text/xml;charset=UTF-8"}


def answer(operation: str, members: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    """A moto response; `members` by EC2's own element names. None is left out."""
    name = f"{operation}Response"
    body = _members({"requestId": "", **members})
    return (
        200,
        dict(HEADERS),
        f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{NAMESPACE}">{body}</{name}>',
    )


def _members(members: dict[str, Any]) -> str:
    return "".join(
        f"<{name}>{_content(value)}</{name}>" for name, value in members.items() if value is not None
    )


def _content(value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return _members(value)
    if isinstance(value, list):
        return "".join(f"<item>{_content(item)}</item>" for item in value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    return escape(str(value))
