"""Checking a request against botocore's model of Lifecycle Manager.

Required members, types, enumerations, lengths, ranges and patterns; a member that the
model does not know is refused as well.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from moto.core.utils import get_service_model

from .exceptions import InvalidRequest

_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "list": list,
    "map": dict,
    "structure": dict,
}


def operation_model(name: str) -> OperationModel:
    return get_service_model("dlm").operation_model(name)


def check(operation: str, request: dict[str, Any]) -> None:
    """Refuse the request with the first thing that the model forbids."""
    problem = next(_problems(operation_model(operation).input_shape, request, ""), None)
    if problem:
        raise InvalidRequest(problem)


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    expected = _TYPES[shape.type_name]
    # A boolean is an int to Python, never to AWS.
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        yield f"{path or 'The request'} must be of type {shape.type_name}."
    elif isinstance(shape, StructureShape):
        yield from _structure_problems(shape, value, path)
    elif isinstance(shape, ListShape):
        yield from _size_problems(shape, len(value), path, "the number of members")
        for index, member in enumerate(value):
            yield from _problems(shape.member, member, f"{path}[{index}]")
    elif isinstance(shape, MapShape):
        yield from _size_problems(shape, len(value), path, "the number of entries")
        for key, entry in value.items():
            yield from _problems(shape.key, key, f"{path} key '{key}'")
            yield from _problems(shape.value, entry, f"{path}.{key}")
    elif shape.type_name == "string":
        yield from _string_problems(shape, value, path)
    elif shape.type_name == "integer":
        yield from _size_problems(shape, value, path, "the value")


def _structure_problems(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Missing required parameter: {_join(path, name)}."
    for name, member in value.items():
        if name not in shape.members:
            yield f"Unknown parameter: {_join(path, name)}."
        elif member is not None:
            yield from _problems(shape.members[name], member, _join(path, name))


def _string_problems(shape: Shape, value: str, path: str) -> Iterator[str]:
    yield from _size_problems(shape, len(value), path, "the length")
    enum = shape.metadata.get("enum")
    if enum and value not in enum:
        yield f"{path} must be one of {', '.join(enum)}; it is '{value}'."
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield f"{path} '{value}' does not match the pattern {pattern}."


def _size_problems(shape: Shape, size: int, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield f"{path}: {what} must be at least {low}; it is {size}."
    if high is not None and size > high:
        yield f"{path}: {what} must be at most {high}; it is {size}."


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # The one class of characters in the model that Python's regular expressions lack.
    return re.compile(pattern.replace(r"[\p{all}]", r"[\s\S]"))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
