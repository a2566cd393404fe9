"""The EBS direct APIs, as their users rely on them."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .fresh_aws import Aws, code_of

BLOCK = 512 * 1024
WRITTEN = [0, 3, 4, 700]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.img"
    with path.open("wb") as file:
        for index in WRITTEN:
            file.seek(index * BLOCK)
            file.write(bytes([index % 250 + 1]) * BLOCK)
        file.truncate(512 * 1024 * 1024)
    return path


@pytest.fixture
def snapshot(aws: Aws, image: Path) -> str:
    volume = aws.volume(size=1)
    aws.post(f"ec2/volumes/{volume}", {"image": str(image)})
    return aws.snapshot(volume)


def listed(aws: Aws, snapshot: str, **more: Any) -> list[dict[str, Any]]:
    blocks, token = [], {}
    while True:
        page = aws.client("ebs").list_snapshot_blocks(SnapshotId=snapshot, **more, **token)
        assert (page["BlockSize"], page["VolumeSize"]) == (BLOCK, 1)
        blocks += page["Blocks"]
        if "NextToken" not in page:
            return blocks
        token = {"NextToken": page["NextToken"]}


def test_only_what_was_written_is_listed_and_comes_with_its_checksum(aws: Aws, snapshot: str) -> None:
    blocks = listed(aws, snapshot)
    assert [block["BlockIndex"] for block in blocks] == WRITTEN
    for block in blocks:
        got = aws.client("ebs").get_snapshot_block(SnapshotId=snapshot, **block)
        data = got["BlockData"].read()
        assert data == bytes([block["BlockIndex"] % 250 + 1]) * BLOCK
        assert (got["DataLength"], got["ChecksumAlgorithm"]) == (BLOCK, "SHA256")
        assert base64.b64decode(got["Checksum"]) == hashlib.sha256(data).digest()


def test_pages_follow_each_other_and_may_be_empty(aws: Aws, snapshot: str) -> None:
    aws.post("settings", {"ebs_page_size_max": 2, "ebs_empty_pages": 1})
    assert [block["BlockIndex"] for block in listed(aws, snapshot)] == WRITTEN
    assert len(aws.operations()) > len(WRITTEN) / 2 + 1
    assert [block["BlockIndex"] for block in listed(aws, snapshot, StartingBlockIndex=4)] == [4, 700]


def test_a_blank_volume_has_no_blocks(aws: Aws) -> None:
    assert listed(aws, aws.snapshot(aws.volume(size=1))) == []


def test_tokens_are_good_for_what_they_were_handed_out_for(aws: Aws, snapshot: str) -> None:
    first, second = listed(aws, snapshot)[:2]
    get = aws.client("ebs").get_snapshot_block
    wrong = {"SnapshotId": snapshot, "BlockIndex": second["BlockIndex"], "BlockToken": first["BlockToken"]}
    assert code_of(get, **wrong) == "ValidationException"
    absent = {**wrong, "BlockIndex": 1}
    assert code_of(get, **absent) == "ValidationException"
    aws.post("settings", {"ebs_page_size_max": 2})
    page = aws.client("ebs").list_snapshot_blocks(SnapshotId=snapshot)
    aws.post("clock", {"advance_seconds": 3601})
    late = {"SnapshotId": snapshot, "NextToken": page["NextToken"]}
    assert code_of(aws.client("ebs").list_snapshot_blocks, **late) == "ValidationException"


def test_what_cannot_be_read_is_refused_with_a_reason(aws: Aws, snapshot: str) -> None:
    def reason() -> str:
        with pytest.raises(ClientError) as refused:
            aws.client("ebs").list_snapshot_blocks(SnapshotId=snapshot)
        return refused.value.response["Reason"]

    aws.post(f"ec2/snapshots/{snapshot}", {"key_denied": True})
    assert reason() == "DEPENDENCY_ACCESS_DENIED"
    aws.post(f"ec2/snapshots/{snapshot}", {"storage_tier": "archive"})
    assert reason() == "INVALID_SNAPSHOT_ID"
    aws.post(f"ec2/snapshots/{snapshot}", {"owner_id": "210987654321"})
    assert reason() == "UNAUTHORIZED_ACCOUNT"
    missing = {"SnapshotId": "snap-0123456789abcdef0"}
    assert code_of(aws.client("ebs").list_snapshot_blocks, **missing) == "ResourceNotFoundException"


def test_blocks_are_spoilt_as_often_as_was_asked(aws: Aws, snapshot: str) -> None:
    aws.post(f"ec2/snapshots/{snapshot}", {"spoilt_blocks": {"3": {"kind": "flipped", "times": 1}}})
    block = listed(aws, snapshot)[1]
    sums = []
    for _ in range(2):
        got = aws.client("ebs").get_snapshot_block(SnapshotId=snapshot, **block)
        sums.append(base64.b64decode(got["Checksum"]) == hashlib.sha256(got["BlockData"].read()).digest())
    assert sums == [False, True]
    assert "no file" in aws.refused(f"ec2/snapshots/{snapshot}", {"image": "/nowhere"})


def test_throttling_is_a_client_error(aws: Aws, snapshot: str) -> None:
    fault = {"kind": "error", "code": "RequestThrottledException", "status": 400}
    aws.post("faults", {"service": "ebs", "operation": "ListSnapshotBlocks", "fault": fault})
    assert code_of(aws.client("ebs").list_snapshot_blocks, SnapshotId=snapshot) == "RequestThrottledException"
    assert listed(aws, snapshot)
