"""EBS volumes as EC2 keeps them: states that take time, and how they are shown.

A volume is `creating` for the setting `volume_creating_seconds` and then ends as
planted, otherwise `available`. A volume that RunInstances makes is `in-use` at once.
"""

import itertools
from typing import Any

from moto.ec2.models import elastic_block_store
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from . import ec2_xml, filters, paging, volume_limits
from .clock import clock
from .patching import replace, wrap
from .settings import settings
from .tags import stale_tags, tag_set
from .unknown_ids import refuse_unknown

sequence_numbers = itertools.count()


class EmulatedVolume(elastic_block_store.Volume):
    """A volume that takes time to create and may fail to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sequence = next(sequence_numbers)
        self.began = clock.moment()
        self.iops = volume_limits.iops_of(self.volume_type, self.size, self.iops)
        self.throughput = volume_limits.throughput_of(self.volume_type, self.throughput)
        # How CreateVolume ends: "available", "error", or "creating" for ever.
        self.outcome = "available"
        self.forced_state: str | None = None
        self.initialization_rate: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether its creation has had its time."""
        return clock.seconds_since(self.began) >= settings.volume_creating_seconds

    @property
    def status(self) -> str:
        if self.forced_state:
            return self.forced_state
        if self.attachment:
            return "in-use"
        return self.outcome if self.is_due else "creating"


def _delete_on_termination(volume: EmulatedVolume) -> bool | None:
    if not volume.attachment:
        return None
    block_device = volume.attachment.instance.block_device_mapping.get(volume.attachment.device)
    return bool(block_device and block_device.delete_on_termination)


def _attachment_field(name: str) -> filters.Field:
    return lambda volume: getattr(volume.attachment, name) if volume.attachment else None


FILTERS: dict[str, filters.Field] = {
    "attachment.attach-time": _attachment_field("attach_time"),
    "attachment.delete-on-termination": _delete_on_termination,
    "attachment.device": _attachment_field("device"),
    "attachment.instance-id": _attachment_field("instance_id"),
    "attachment.status": _attachment_field("status"),
    "availability-zone": lambda volume: volume.availability_zone,
    "availability-zone-id": lambda volume: volume.zone and volume.zone.zone_id,
    "create-time": lambda volume: volume.create_time,
    "encrypted": lambda volume: bool(volume.encrypted),
    "multi-attach-enabled": lambda volume: bool(volume.multi_attach_enabled),
    "size": lambda volume: volume.size,
    "snapshot-id": lambda volume: volume.snapshot_id,
    "status": lambda volume: volume.status,
    "volume-id": lambda volume: volume.id,
    "volume-type": lambda volume: volume.volume_type,
}


def volume_xml(volume: EmulatedVolume, tags: dict[str, str]) -> dict[str, Any]:
    """A volume by the element names of EC2's XML."""
    return {
        "volumeId": volume.id,
        "size": volume.size,
        "snapshotId": volume.snapshot_id or "",
        "availabilityZone": volume.availability_zone,
        "availabilityZoneId": volume.zone.zone_id if volume.zone else None,
        "status": volume.status,
        "createTime": volume.create_time,
        "attachmentSet": [_attachment_xml(volume)] if volume.attachment else [],
        "tagSet": tag_set(tags),
        "volumeType": volume.volume_type,
        "iops": volume.iops,
        "throughput": volume.throughput,
        "encrypted": bool(volume.encrypted),
        "kmsKeyId": volume.kms_key_id,
        "multiAttachEnabled": bool(volume.multi_attach_enabled),
        "volumeInitializationRate": volume.initialization_rate,
    }


def _attachment_xml(volume: EmulatedVolume) -> dict[str, Any]:
    attachment = volume.attachment
    return {
        "volumeId": volume.id,
        "instanceId": attachment.instance_id,
        "device": attachment.device,
        "status": attachment.status,
        "attachTime": attachment.attach_time,
        "deleteOnTermination": _delete_on_termination(volume),
    }


def _describe_volumes(self: ElasticBlockStore) -> Any:
    backend = self.ec2_backend
    ids = self._get_param("VolumeIds", [])
    max_results = self._get_param("MaxResults")
    asked = self._filters_from_querystring()
    filters.check(asked, FILTERS)
    paging.check(max_results, ids, "volumeSet")
    refuse_unknown("volume", ids, backend.volumes)
    self.error_on_dryrun()
    stale = stale_tags.take_answer()

    def tags_of(volume: EmulatedVolume) -> dict[str, str]:
        return stale.get(volume.id, backend.tags.get(volume.id, {}))

    volumes = [backend.volumes[id] for id in dict.fromkeys(ids)] if ids else list(backend.volumes.values())
    shown = [volume for volume in volumes if filters.matches(asked, FILTERS, volume, tags_of(volume))]
    token = None
    if not ids:
        shown, token = paging.page(shown, max_results, self._get_param("NextToken"))
    members = {"volumeSet": [volume_xml(volume, tags_of(volume)) for volume in shown], "nextToken": token}
    return ec2_xml.answer("DescribeVolumes", members)


def _and_its_tags(delete: Any) -> Any:
    def delete_volume(self: Any, volume_id: str) -> EmulatedVolume:
        refuse_unknown("volume", [volume_id], self.volumes)
        volume = delete(self, volume_id)
        self.tags.pop(volume_id, None)
        return volume

    return delete_volume


def install() -> None:
    replace(elastic_block_store, "Volume", EmulatedVolume)
    replace(ElasticBlockStore, "describe_volumes", _describe_volumes)
    wrap(EBSBackend, "delete_volume", _and_its_tags)
