"""CreateVolume: refused where EC2 refuses, once per client token, ending as planted.

Invariant: a request either makes a volume with all its tags or changes nothing.
"""

import json
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import EC2ClientError, MissingParameterError
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from . import ec2_xml, volume_limits
from .patching import replace
from .settings import settings
from .unknown_ids import refuse_unknown
from .volumes import EmulatedVolume, volume_xml

TYPE_DEFAULT = "gp2"
CLIENT_TOKEN_LENGTH_MAX = 64

OUTCOMES = ("available", "creating", "error", "vanished")

# https://docs.aws.amazon.com/ebs/latest/userguide/initalize-volume.html
INITIALIZATION_RATES = range(100, 301)


@dataclass
class PlantedEnd:
    """How the `nth` volume from now ends."""

    outcome: str
    nth: int


class VolumeCreation:
    """What CreateVolume remembers between requests."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.ends: list[PlantedEnd] = []
        # By account, Region and token: the parameters given and the volume made.
        self.by_token: dict[tuple[str, str, str], tuple[str, EmulatedVolume]] = {}
        self._vanishing: list[EmulatedVolume] = []

    def plant_end(self, outcome: str, nth: int) -> None:
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}, not {outcome!r}")
        if not isinstance(nth, int) or nth < 1:
            raise ValueError(f"nth must be a whole number from 1, not {nth!r}")
        self.ends.append(PlantedEnd(outcome, nth))

    def next_outcome(self) -> str:
        for end in self.ends:
            end.nth -= 1
        due = [end.outcome for end in self.ends if end.nth == 0]
        self.ends = [end for end in self.ends if end.nth > 0]
        return due[0] if due else "available"

    def begin_vanishing(self, volume: EmulatedVolume) -> None:
        """As one does whose key can't be used: it is `creating`, and then not there any more."""
        volume.outcome = "creating"
        self._vanishing.append(volume)

    def settle(self) -> None:
        """Let the volumes vanish that should have become available by now."""
        for volume in [one for one in self._vanishing if one.is_due]:
            self._vanishing.remove(volume)
            volume.ec2_backend.volumes.pop(volume.id, None)
            volume.ec2_backend.tags.pop(volume.id, None)


volume_creation = VolumeCreation()


def _create_volume(self: ElasticBlockStore) -> Any:
    backend = self.ec2_backend
    parameters = _parameters(self)
    tags = self._parse_tag_specification().get("volume", {})
    token = self._get_param("ClientToken") or ""
    key = (backend.account_id, backend.region_name, token)
    fingerprint = json.dumps([parameters, tags], sort_keys=True)
    if token and key in volume_creation.by_token:
        return _answer_again(backend, *volume_creation.by_token[key], fingerprint)
    _check(backend, parameters, token)
    self.error_on_dryrun()
    volume = _make(backend, parameters)
    outcome = volume_creation.next_outcome()
    if outcome == "vanished":
        volume_creation.begin_vanishing(volume)
    else:
        volume.outcome = outcome
    backend.tags[volume.id].update(tags)
    if token:
        volume_creation.by_token[key] = (fingerprint, volume)
    return _answer(backend, volume, "creating")


def _parameters(response: ElasticBlockStore) -> dict[str, Any]:
    names = ["AvailabilityZone", "Size", "SnapshotId", "Iops", "Throughput", "KmsKeyId", "MultiAttachEnabled"]
    return {
        **{name: response._get_param(name) for name in names},
        "VolumeInitializationRate": response._get_int_param("VolumeInitializationRate"),
        "VolumeType": response._get_param("VolumeType") or TYPE_DEFAULT,
        "Encrypted": response._get_bool_param("Encrypted", False),
    }


def _answer_again(backend: Any, made_with: str, volume: EmulatedVolume, fingerprint: str) -> Any:
    if made_with != fingerprint:
        message = "The client token was used before with other parameters."
        raise EC2ClientError("IdempotentParameterMismatch", message)
    refuse_unknown("volume", [volume.id], backend.volumes)
    return _answer(backend, volume, volume.status)


def _answer(backend: Any, volume: EmulatedVolume, status: str) -> Any:
    members = volume_xml(volume, backend.tags.get(volume.id, {}))
    return ec2_xml.answer("CreateVolume", {**members, "status": status, "attachmentSet": None})


def _check(backend: Any, parameters: dict[str, Any], token: str) -> None:
    if len(token) > CLIENT_TOKEN_LENGTH_MAX or not token.isascii():
        message = f"ClientToken must be ASCII of at most {CLIENT_TOKEN_LENGTH_MAX} characters"
        raise EC2ClientError("InvalidParameterValue", message)
    zone = parameters["AvailabilityZone"]
    if not zone:
        raise MissingParameterError("zone")
    if backend.get_zone_by_name(zone) is None:
        raise EC2ClientError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
    size = _checked_size(backend, parameters)
    volume_limits.check(parameters["VolumeType"], size, parameters["Iops"], parameters["Throughput"])
    if parameters["KmsKeyId"] and not parameters["Encrypted"]:
        message = "The parameter KmsKeyId requires the parameter Encrypted to be set."
        raise EC2ClientError("InvalidParameterDependency", message)
    _check_initialization_rate(parameters)


def _check_initialization_rate(parameters: dict[str, Any]) -> None:
    rate = parameters["VolumeInitializationRate"]
    if rate is None:
        return
    if not parameters["SnapshotId"]:
        message = "The parameter VolumeInitializationRate requires the parameter SnapshotId to be set."
        raise EC2ClientError("InvalidParameterDependency", message)
    if rate not in INITIALIZATION_RATES:
        message = f"Volume initialization rate of {rate} is invalid; it must be between 100 and 300 MiB/s."
        raise EC2ClientError("InvalidParameterValue", message)
    if code := settings.initialization_rate_refusal:
        message = "There is not sufficient capacity for the volume initialization rate that you requested."
        raise EC2ClientError(code, message)


def _checked_size(backend: Any, parameters: dict[str, Any]) -> int:
    size, snapshot_id = parameters["Size"], parameters["SnapshotId"]
    if not snapshot_id:
        if size is None:
            raise MissingParameterError("size/snapshot")
        return size
    refuse_unknown("snapshot", [snapshot_id], backend.snapshots)
    snapshot = backend.snapshots[snapshot_id]
    if snapshot.status != "completed":
        raise EC2ClientError("IncorrectState", f"Snapshot '{snapshot_id}' is not 'completed'.")
    if snapshot.storage_tier == "archive":
        message = f"Snapshot '{snapshot_id}' is archived; restore it to the standard tier first."
        raise EC2ClientError("IncorrectState", message)
    if size is not None and size < snapshot.volume_size:
        message = (
            f"Volume of {size}GiB is smaller than snapshot '{snapshot_id}', "
            f"expect size >= {snapshot.volume_size}GiB."
        )
        raise EC2ClientError("InvalidParameterValue", message)
    return size or snapshot.volume_size


def _make(backend: Any, parameters: dict[str, Any]) -> EmulatedVolume:
    snapshot = backend.snapshots.get(parameters["SnapshotId"])
    # A volume from an encrypted snapshot is encrypted, with its key unless another is named.
    encrypted = parameters["Encrypted"] or bool(snapshot and snapshot.encrypted)
    kms_key_id = parameters["KmsKeyId"] or (snapshot.kms_key_id if snapshot and snapshot.encrypted else None)
    volume = backend.create_volume(
        size=parameters["Size"] or snapshot.volume_size,
        zone_name=parameters["AvailabilityZone"],
        snapshot_id=parameters["SnapshotId"],
        encrypted=encrypted,
        kms_key_id=kms_key_id,
        volume_type=parameters["VolumeType"],
        iops=parameters["Iops"],
        throughput=parameters["Throughput"],
        multi_attach_enabled=parameters["MultiAttachEnabled"],
    )
    volume.initialization_rate = parameters["VolumeInitializationRate"]
    return volume


def install() -> None:
    replace(ElasticBlockStore, "create_volume", _create_volume)
