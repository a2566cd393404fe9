"""EBS snapshots as EC2 keeps them: pending for a while, owned, paged, filtered.

A snapshot is `pending` for the setting `snapshot_pending_seconds`, then `completed`.
It keeps its volume's id and size from when it was made; the volume may change or go.
"""

import itertools
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import elastic_block_store
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from . import ec2_xml, filters, paging
from .clock import clock
from .patching import replace, wrap
from .settings import settings
from .tags import tag_set
from .unknown_ids import refuse_unknown

sequence_numbers = itertools.count()


class EmulatedSnapshot(elastic_block_store.Snapshot):
    """A snapshot that takes time to complete."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sequence = next(sequence_numbers)
        self.began = clock.moment()
        self.source_volume_id: str = self.volume.id
        self.source_volume_size: int = self.volume.size
        if self.encrypted and not self.kms_key_id:
            self.kms_key_id = self.volume.kms_key_id
        # What the EBS direct APIs read (`ebs`).
        self.image: str | None = getattr(self.volume, "image", None)
        self.is_key_denied = False
        self.spoilt_blocks: dict[int, dict[str, Any]] = {}

    @property
    def status(self) -> str:
        if self.forced_state:
            return self.forced_state
        pending = clock.seconds_since(self.began) < settings.snapshot_pending_seconds
        return "pending" if pending else "completed"

    @status.setter
    def status(self, _: str) -> None:
        # moto's constructor says "completed"; the state follows from time instead.
        self.forced_state: str | None = None

    @property
    def volume_id(self) -> str:
        return self.source_volume_id

    @property
    def volume_size(self) -> int:
        return self.source_volume_size

    @property
    def progress(self) -> str:
        return "100%" if self.status == "completed" else "0%"


FILTERS: dict[str, filters.Field] = {
    "description": lambda snapshot: snapshot.description,
    "encrypted": lambda snapshot: bool(snapshot.encrypted),
    "owner-alias": lambda snapshot: None,
    "owner-id": lambda snapshot: snapshot.owner_id,
    "progress": lambda snapshot: snapshot.progress,
    "snapshot-id": lambda snapshot: snapshot.id,
    "start-time": lambda snapshot: snapshot.start_time,
    "status": lambda snapshot: snapshot.status,
    "storage-tier": lambda snapshot: snapshot.storage_tier,
    "volume-id": lambda snapshot: snapshot.volume_id,
    "volume-size": lambda snapshot: snapshot.volume_size,
}


def snapshot_xml(snapshot: EmulatedSnapshot, tags: dict[str, str]) -> dict[str, Any]:
    """A snapshot by the element names of EC2's XML."""
    return {
        "snapshotId": snapshot.id,
        "volumeId": snapshot.volume_id,
        "status": snapshot.status,
        "startTime": snapshot.start_time,
        "completionTime": snapshot.start_time if snapshot.status == "completed" else None,
        "progress": snapshot.progress,
        "ownerId": snapshot.owner_id,
        "volumeSize": snapshot.volume_size,
        "description": snapshot.description or "",
        "encrypted": bool(snapshot.encrypted),
        "kmsKeyId": snapshot.kms_key_id if snapshot.encrypted else None,
        "storageTier": snapshot.storage_tier,
        "tagSet": tag_set(tags),
    }


def _describe_snapshots(self: ElasticBlockStore) -> Any:
    backend = self.ec2_backend
    ids = self._get_param("SnapshotIds", [])
    max_results = self._get_param("MaxResults")
    asked = self._filters_from_querystring()
    filters.check(asked, FILTERS)
    paging.check(max_results, ids, "snapshotSet")
    refuse_unknown("snapshot", ids, backend.snapshots)
    self.error_on_dryrun()
    owners = {backend.account_id if owner == "self" else owner for owner in self._get_param("OwnerIds", [])}
    snapshots = (
        [backend.snapshots[id] for id in dict.fromkeys(ids)] if ids else list(backend.snapshots.values())
    )
    shown = [
        snapshot
        for snapshot in snapshots
        if (not owners or snapshot.owner_id in owners)
        and filters.matches(asked, FILTERS, snapshot, backend.tags.get(snapshot.id, {}))
    ]
    token = None
    if not ids:
        shown, token = paging.page(shown, max_results, self._get_param("NextToken"))
    members = {
        "snapshotSet": [snapshot_xml(snapshot, backend.tags.get(snapshot.id, {})) for snapshot in shown],
        "nextToken": token,
    }
    return ec2_xml.answer("DescribeSnapshots", members)


def _create_snapshot(self: ElasticBlockStore) -> Any:
    backend = self.ec2_backend
    volume_id = self._get_param("VolumeId")
    tags = self._parse_tag_specification().get("snapshot", {})
    refuse_unknown("volume", [volume_id], backend.volumes)
    status = backend.volumes[volume_id].status
    if status not in ("available", "in-use"):
        message = f"The volume '{volume_id}' is in the state '{status}': no snapshot can be taken."
        raise EC2ClientError("IncorrectState", message)
    self.error_on_dryrun()
    snapshot = backend.create_snapshot(volume_id, self._get_param("Description"))
    backend.tags[snapshot.id].update(tags)
    # EC2 answers before the first block is copied.
    members = {**snapshot_xml(snapshot, tags), "status": "pending", "progress": "", "completionTime": None}
    return ec2_xml.answer("CreateSnapshot", members)


def _and_its_tags(delete: Any) -> Any:
    def delete_snapshot(self: Any, snapshot_id: str) -> EmulatedSnapshot:
        refuse_unknown("snapshot", [snapshot_id], self.snapshots)
        snapshot = delete(self, snapshot_id)
        self.tags.pop(snapshot_id, None)
        return snapshot

    return delete_snapshot


def install() -> None:
    replace(elastic_block_store, "Snapshot", EmulatedSnapshot)
    replace(ElasticBlockStore, "describe_snapshots", _describe_snapshots)
    replace(ElasticBlockStore, "create_snapshot", _create_snapshot)
    wrap(EBSBackend, "delete_snapshot", _and_its_tags)
