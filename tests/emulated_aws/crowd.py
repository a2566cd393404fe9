"""Many clusters like one that is there: an account as large as large organisations have.

Their etcd volumes, those volumes' snapshots and their Auto Scaling groups are copied with
the cluster's name replaced in all tags and names; there are no instances of theirs. Made in
the backends, as it would take hours by requests.

Invariant: nothing of the cluster that is copied changes.
"""

import copy
import itertools
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends

from . import groups, snapshots, volumes

_ETCD_KEY_PREFIX = "k8s.io/etcd/"


def copy_cluster(name: Any, count: Any) -> int:
    """Make so many more of it and give how many volumes that made. ValueError where there is no such."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"cluster must be a name, not {name!r}")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be a whole number from 1, not {count!r}")
    of_cluster = [volume for backend in _backends(ec2_backends) for volume in _etcd_volumes(backend, name)]
    if not of_cluster:
        raise ValueError(f"{name} has no etcd volume")
    snapshots_of = {
        volume.id: [
            snapshot
            for snapshot in volume.ec2_backend.snapshots.values()
            if snapshot.source_volume_id == volume.id
        ]
        for volume in of_cluster
    }
    groups_of_cluster = [
        group
        for backend in _backends(autoscaling_backends)
        for group in backend.autoscaling_groups.values()
        if group.name.endswith(name)
    ]
    for number in range(count):
        twin_name = f"crowd-{number:05}.{name}"
        for volume in of_cluster:
            _copy_volume(volume, snapshots_of[volume.id], name, twin_name)
        for group in groups_of_cluster:
            _copy_group(group, name, twin_name)
    return count * len(of_cluster)


def _backends(backends: Any) -> list[Any]:
    return [backend for _, _, backend in backends.iter_backends()]


def _etcd_volumes(backend: Any, name: str) -> list[Any]:
    def is_of_cluster(tags: dict[str, str]) -> bool:
        is_etcd = any(key.startswith(_ETCD_KEY_PREFIX) for key in tags)
        return is_etcd and tags.get("KubernetesCluster") == name

    return [volume for id, volume in backend.volumes.items() if is_of_cluster(backend.tags.get(id, {}))]


def _renamed(tags: dict[str, str], name: str, twin_name: str) -> dict[str, str]:
    return {key.replace(name, twin_name): value.replace(name, twin_name) for key, value in tags.items()}


def _copy_volume(volume: Any, of_volume: list[Any], name: str, twin_name: str) -> None:
    backend = volume.ec2_backend
    twin = copy.copy(volume)
    twin.id, twin.attachment, twin.sequence = _new_id("vol", backend.volumes), None, next(volumes.sequence_numbers)
    backend.volumes[twin.id] = twin
    backend.tags[twin.id].update(_renamed(backend.tags[volume.id], name, twin_name))
    for snapshot in of_volume:
        shot = copy.copy(snapshot)
        shot.id, shot.sequence = _new_id("snap", backend.snapshots), next(snapshots.sequence_numbers)
        shot.volume, shot.source_volume_id = twin, twin.id
        backend.snapshots[shot.id] = shot
        backend.tags[shot.id].update(_renamed(backend.tags[snapshot.id], name, twin_name))


def _copy_group(group: Any, name: str, twin_name: str) -> None:
    twin = copy.copy(group)
    twin.name = group.name.replace(name, twin_name)
    twin.instance_states, twin.suspended_processes = [], []
    twin.min_size, twin.desired_capacity = 0, 0
    twin.sequence = next(groups.sequence_numbers)
    twin.tags = [
        {
            **tag,
            "ResourceId": twin.name,
            "Key": tag["Key"].replace(name, twin_name),
            "Value": tag["Value"].replace(name, twin_name),
        }
        for tag in group.tags
    ]
    group.autoscaling_backend.autoscaling_groups[twin.name] = twin


_numbers = itertools.count()


def _new_id(kind: str, taken: Any) -> str:
    """By counting: moto's random ones are looked up among all that there are."""
    while (id := f"{kind}-0c0{next(_numbers):014x}") in taken:
        pass
    return id

