"""AttachVolume and DetachVolume, refused where EC2 refuses."""

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from .patching import replace
from .unknown_ids import refuse_unknown


def _attach_volume(self: ElasticBlockStore) -> ActionResult:
    backend = self.ec2_backend
    volume_id, device = self._get_param("VolumeId"), self._get_param("Device")
    refuse_unknown("volume", [volume_id], backend.volumes)
    volume = backend.volumes[volume_id]
    instance = backend.get_instance(self._get_param("InstanceId"))
    _check_attachable(volume, instance, device)
    self.error_on_dryrun()
    attachment = backend.attach_volume(volume_id, instance.id, device)
    return _answer(attachment, "attaching")


def _check_attachable(volume: Any, instance: Any, device: str) -> None:
    if volume.attachment:
        raise EC2ClientError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.status != "available":
        raise EC2ClientError("IncorrectState", f"Volume '{volume.id}' is not 'available'.")
    if instance.state not in ("running", "stopped"):
        raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.availability_zone != instance.availability_zone:
        message = f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'"
        raise EC2ClientError("InvalidVolume.ZoneMismatch", message)
    if device in instance.block_device_mapping:
        message = f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        raise EC2ClientError("InvalidParameterValue", message)


def _detach_volume(self: ElasticBlockStore) -> ActionResult:
    """Instance and device may be left out: the volume says where it is attached."""
    backend = self.ec2_backend
    volume_id = self._get_param("VolumeId")
    refuse_unknown("volume", [volume_id], backend.volumes)
    volume = backend.volumes[volume_id]
    if not volume.attachment:
        message = f"Volume '{volume_id}' is in the '{volume.status}' state."
        raise EC2ClientError("IncorrectState", message)
    instance_id = self._get_param("InstanceId") or volume.attachment.instance_id
    if instance_id != volume.attachment.instance_id:
        message = f"Volume '{volume_id}' is not attached to instance '{instance_id}'"
        raise EC2ClientError("InvalidAttachment.NotFound", message)
    self.error_on_dryrun()
    attachment = backend.detach_volume(volume_id, instance_id, self._get_param("Device"))
    return _answer(attachment, "detaching")


def _answer(attachment: Any, state: str) -> ActionResult:
    return ActionResult(
        {
            "VolumeId": attachment.volume.id,
            "InstanceId": attachment.instance.id,
            "Device": attachment.device,
            "State": state,
            "AttachTime": attachment.attach_time,
        }
    )


def install() -> None:
    replace(ElasticBlockStore, "attach_volume", _attach_volume)
    replace(ElasticBlockStore, "detach_volume", _detach_volume)
