"""The EBS direct APIs' reading half: the blocks of a snapshot, out of an image file.

A snapshot holds what the image of its volume held: a test names the file for the volume or
for the snapshot (`control_ec2`). Without one it is a blank volume's, of which no block was
ever written. An image may be smaller than its volume; the rest was never written.

Tokens are signed, so that one that was never handed out, or for another block, is known.
A page holds fewer blocks than asked for where the setting `ebs_page_size_max` says so, and
the page after each may be empty (`ebs_empty_pages`), which is legal.

Source: EBS direct APIs, API reference.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.ec2.models import ec2_backends

from .clock import clock
from .operations import Operation
from .settings import settings
from .wire import Answer

BLOCK_BYTES = 512 * 1024
PAGE_SIZE_MAX = 10_000
_ZEROS = bytes(BLOCK_BYTES)
_TOKEN_KEY = secrets.token_bytes(16)
_PAGE_TOKEN_MINUTES = 60
_BLOCK_TOKEN_DAYS = 7


class Refused(Exception):
    """An error that the service answers."""

    def __init__(self, status: int, code: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.reason = status, code, reason


def answer(operation: Operation) -> Answer:
    """Serve one operation of the service `ebs`."""
    try:
        if operation.name == "ListSnapshotBlocks":
            return _list_blocks(operation)
        if operation.name == "GetSnapshotBlock":
            return _get_block(operation)
        raise Refused(400, "ValidationException", "INVALID_PARAMETER_VALUE", f"no operation {operation.name!r}")
    except Refused as refused:
        body = json.dumps({"Message": str(refused), "Reason": refused.reason}).encode()
        headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", refused.code)]
        return Answer(refused.status, headers, body)


def _list_blocks(operation: Operation) -> Answer:
    parameters = operation.parameters
    snapshot = _snapshot(operation)
    start, is_after_page = _start(operation)
    size = int(parameters.get("MaxResults") or PAGE_SIZE_MAX)
    if not 100 <= size <= PAGE_SIZE_MAX:
        raise _invalid("INVALID_PARAMETER_VALUE", "MaxResults must be from 100 to 10000")
    size = min(size, settings.ebs_page_size_max)
    if settings.ebs_empty_pages and is_after_page % 2 == 0:
        size = 0
    indexes = [index for index in written(snapshot.image) if index >= start]
    page = indexes[:size]
    following = indexes[size] if len(indexes) > size else None
    expiry = clock.now() + timedelta(days=_BLOCK_TOKEN_DAYS)
    body: dict[str, Any] = {
        "Blocks": [{"BlockIndex": index, "BlockToken": _block_token(snapshot, index)} for index in page],
        "BlockSize": BLOCK_BYTES,
        "VolumeSize": snapshot.volume_size,
        "ExpiryTime": expiry.replace(tzinfo=UTC).timestamp(),
    }
    if following is not None:
        body["NextToken"] = _page_token(operation, following, is_after_page + 1)
    return Answer(200, [("Content-Type", "application/json")], json.dumps(body).encode())


def _get_block(operation: Operation) -> Answer:
    snapshot = _snapshot(operation)
    index = int(operation.parameters["BlockIndex"])
    if not hmac.compare_digest(operation.parameters.get("BlockToken", ""), _block_token(snapshot, index)):
        raise _invalid("INVALID_BLOCK_TOKEN", "The block token is invalid.")
    data = _read(snapshot.image, index)
    if data == _ZEROS:
        raise _invalid("INVALID_BLOCK", f"There is no block {index} in the snapshot.")
    checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("x-amz-Data-Length", str(len(data))),
        ("x-amz-Checksum", checksum),
        ("x-amz-Checksum-Algorithm", "SHA256"),
    ]
    return Answer(200, headers, _spoilt(snapshot, index, data))


def _spoilt(snapshot: Any, index: int, data: bytes) -> bytes:
    """What is sent of a block: sometimes other bytes than were summed, or too few of them."""
    spoil = snapshot.spoilt_blocks.get(index) or snapshot.spoilt_blocks.get(-1)
    if not spoil or spoil["times"] == 0:
        return data
    spoil["times"] -= 1
    if spoil["kind"] == "short":
        return data[: BLOCK_BYTES // 2]
    return bytes([data[0] ^ 1]) + data[1:]


def _snapshot(operation: Operation) -> Any:
    id = operation.parameters.get("SnapshotId", "")
    snapshot = ec2_backends[ACCOUNT][operation.region].snapshots.get(id)
    if snapshot is None:
        message = f"The snapshot {id} does not exist."
        raise Refused(404, "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", message)
    if snapshot.owner_id != ACCOUNT:
        raise Refused(403, "AccessDeniedException", "UNAUTHORIZED_ACCOUNT", "You do not own the snapshot.")
    if snapshot.status != "completed" or snapshot.storage_tier == "archive":
        raise _invalid("INVALID_SNAPSHOT_ID", f"The snapshot {id} is not completed, or is archived.")
    if snapshot.is_key_denied:
        message = "The KMS key that the snapshot is encrypted with can't be used."
        raise Refused(403, "AccessDeniedException", "DEPENDENCY_ACCESS_DENIED", message)
    return snapshot


def _invalid(reason: str, message: str) -> Refused:
    return Refused(400, "ValidationException", reason, message)


def written(image: str | None) -> list[int]:
    """The blocks that are not all zeros, as a snapshot has no others."""
    if image is None:
        return []
    status = os.stat(image)
    return _written(image, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _written(image: str, _changed_ns: int, _size: int) -> list[int]:
    return list(_scan(image))


def _scan(image: str) -> Iterator[int]:
    with open(image, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        at = 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                return
            index = at // BLOCK_BYTES
            if _read_from(file, index) != _ZEROS:
                yield index
            at = (index + 1) * BLOCK_BYTES


def _read(image: str | None, index: int) -> bytes:
    if image is None:
        return _ZEROS
    with open(image, "rb") as file:
        return _read_from(file, index)


def _read_from(file: Any, index: int) -> bytes:
    return os.pread(file.fileno(), BLOCK_BYTES, index * BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")


def _sign(*parts: object) -> str:
    text = "\n".join(map(str, parts)).encode()
    return base64.b64encode(hmac.digest(_TOKEN_KEY, text, "sha256")).decode()


def _block_token(snapshot: Any, index: int) -> str:
    return _sign("block", snapshot.id, index)


def _page_token(operation: Operation, start: int, number: int) -> str:
    made = clock.now().replace(tzinfo=UTC).timestamp()
    content = [operation.parameters["SnapshotId"], start, number, made]
    signed = json.dumps([*content, _sign("page", *content)])
    return base64.b64encode(signed.encode()).decode()


def _start(operation: Operation) -> tuple[int, int]:
    """Where the page begins, and which page it is, from 1."""
    token = operation.parameters.get("NextToken")
    if not token:
        return int(operation.parameters.get("StartingBlockIndex") or 0), 1
    try:
        snapshot_id, start, number, made, signature = json.loads(base64.b64decode(token))
    except ValueError:
        raise _invalid("INVALID_PAGE_TOKEN", "The page token is invalid.") from None
    if snapshot_id != operation.parameters["SnapshotId"] or signature != _sign(
        "page", snapshot_id, start, number, made
    ):
        raise _invalid("INVALID_PAGE_TOKEN", "The page token is invalid.")
    age = clock.now().replace(tzinfo=UTC) - datetime.fromtimestamp(made, UTC)
    if age > timedelta(minutes=_PAGE_TOKEN_MINUTES):
        raise _invalid("INVALID_PAGE_TOKEN", "The page token has expired.")
    return start, number
