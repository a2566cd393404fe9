"""Changes to volumes and snapshots that no EC2 request could make.

Each field of a request is read before any is applied, so that a bad request changes
nothing.
"""

import os
import re
from collections.abc import Callable
from typing import Any

from moto.ec2.models import ec2_backends

from .clock import parse_rfc3339

Reader = Callable[[Any], Any]


def change_volume(volume_id: str, request: Any) -> dict[str, Any]:
    backend, volume = _find("volumes", volume_id)
    readers = {
        "state": _one_of("creating", "available", "error"),
        "create_time": parse_rfc3339,
        "image": _image,
        "tags": _tags,
    }
    changes = _read(request, readers)
    if "image" in changes:
        volume.image = changes["image"]
    if "state" in changes:
        volume.forced_state = changes["state"]
    if "create_time" in changes:
        volume.create_time = changes["create_time"]
    _merge_tags(backend, volume_id, changes.get("tags", {}))
    return {"ok": True}


def lose_volume(volume_id: str, request: Any) -> dict[str, Any]:
    """It is gone at once, attached or not, and nobody can come in between."""
    backend, volume = _find("volumes", volume_id)
    _read(request, {})
    if volume.attachment:
        backend.detach_volume(volume_id, volume.attachment.instance_id, volume.attachment.device)
    backend.delete_volume(volume_id)
    return {"ok": True}


def change_snapshot(snapshot_id: str, request: Any) -> dict[str, Any]:
    backend, snapshot = _find("snapshots", snapshot_id)
    readers = {
        "state": _one_of("pending", "completed", "error"),
        "start_time": parse_rfc3339,
        "owner_id": _matching(r"\d{12}"),
        "volume_id": _matching(r"vol-[0-9a-f]{8,17}"),
        "storage_tier": _one_of("standard", "archive"),
        "encrypted": _boolean,
        "image": _image,
        "key_denied": _boolean,
        "spoilt_blocks": _spoilt_blocks,
        "tags": _tags,
    }
    attributes = {
        "state": "forced_state",
        "volume_id": "source_volume_id",
        "key_denied": "is_key_denied",
    }
    changes = _read(request, readers)
    tags = changes.pop("tags", {})
    for name, value in changes.items():
        setattr(snapshot, attributes.get(name, name), value)
    if changes.get("encrypted") and not snapshot.kms_key_id:
        snapshot.kms_key_id = backend._create_default_encryption_key()
    _merge_tags(backend, snapshot_id, tags)
    return {"ok": True}


def _find(collection: str, id: str) -> tuple[Any, Any]:
    for _, _, backend in ec2_backends.iter_backends():
        if id in getattr(backend, collection):
            return backend, getattr(backend, collection)[id]
    raise ValueError(f"{id} does not exist")


def _read(request: Any, readers: dict[str, Reader]) -> dict[str, Any]:
    if not isinstance(request, dict) or not request.keys() <= readers.keys():
        raise ValueError(f"the body must be an object of these fields: {', '.join(readers)}")
    values = {}
    for name, value in request.items():
        try:
            values[name] = readers[name](value)
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from None
    return values


def _one_of(*known: str) -> Reader:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}, not {value!r}")
        return value

    return read


def _matching(pattern: str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} does not match {pattern}")
        return value

    return read


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _image(value: Any) -> str:
    if not isinstance(value, str) or not os.path.isfile(value):
        raise ValueError(f"{value!r} is no file")
    return value


def _spoilt_blocks(value: Any) -> dict[int, dict[str, Any]]:
    """By index, or -1 for all: how a block is spoilt on its way, and how often."""
    spoilt = {}
    for index, how in value.items():
        if how.keys() != {"kind", "times"} or how["kind"] not in ("short", "flipped"):
            raise ValueError(f"{how!r} is not kind (short, flipped) and times")
        spoilt[int(index)] = dict(how)
    return spoilt


def _tags(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict) or not all(tag is None or isinstance(tag, str) for tag in value.values()):
        raise ValueError("must be an object of strings, or null for a tag to delete")
    return value


def _merge_tags(backend: Any, id: str, tags: dict[str, str | None]) -> None:
    for key, value in tags.items():
        if value is None:
            backend.tags[id].pop(key, None)
        else:
            backend.tags[id][key] = value
