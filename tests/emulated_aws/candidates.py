"""Whether a member's volume could at any time have been mistaken for another.

On each master etcd-manager, or protokube before it, looks for the volumes of its cluster
and zone by their tags, and mounts what it finds. Where it finds two for one member, a new
volume and the one it replaces, it may start etcd on the wrong one. After each call that
can bring that about, all volumes are looked at as those two would.

Invariant: volumes are seen as they are, whatever DescribeVolumes still shows.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from moto.ec2.models import ec2_backends

from .operations import Operation

_LOOKED_AFTER = {("ec2", "CreateVolume"), ("ec2", "CreateTags"), ("ec2", "DeleteTags")}

_CLUSTER_KEY_PREFIX = "kubernetes.io/cluster/"
_ETCD_KEY_PREFIX = "k8s.io/etcd/"
# Its versions ask for one of these with the value 1.
_ETCD_MANAGER_ROLES = ("k8s.io/role/master", "k8s.io/role/control-plane")


class Place(NamedTuple):
    """Where one volume belongs, and who looks for it there."""

    by: str
    cluster: str
    zone: str
    etcd_cluster: str
    member: str


class Candidates:
    """How often was looked, and every place for which more than one volume was found."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._states = 0
        self._violations: list[dict[str, Any]] = []
        self._of_actors: list[dict[str, Any]] = []
        self._resumed: list[dict[str, Any]] = []
        # What actors brought about and still stands: no call is to blame for it.
        self._standing: set[tuple[Place, tuple[str, ...]]] = set()

    def look_after(self, operation: Operation, call_number: int) -> None:
        """Look, if the call is one that could change what is found, or lets masters look."""
        if (operation.service, operation.name) == ("autoscaling", "ResumeProcesses"):
            group = operation.parameters.get("AutoScalingGroupName")
            self._resumed.append({"n": call_number, "group": group, "found": self.found_now()})
        if (operation.service, operation.name) not in _LOOKED_AFTER:
            return
        self._states += 1
        doubled = _doubled()
        self._standing &= doubled
        for place, volume_ids in sorted(doubled - self._standing):
            self._violations.append(_violation(call_number, operation.name, place, volume_ids))

    def look_after_actor(self, actor: str, call_number: int) -> None:
        """Look, and keep apart what this actor brought about."""
        doubled = _doubled()
        for place, volume_ids in sorted(doubled - self._standing):
            self._of_actors.append(_violation(call_number, actor, place, volume_ids))
        self._standing |= doubled

    def found_now(self) -> list[dict[str, Any]]:
        """Everything that anybody would find at this moment."""
        return [{**place._asdict(), "volumes": sorted(ids)} for place, ids in _found().items()]

    def to_dict(self) -> dict[str, Any]:
        return {
            "states": self._states,
            "violations": list(self._violations),
            "of_actors": list(self._of_actors),
            "resumed": list(self._resumed),
        }


candidates = Candidates()


def _violation(n: int, operation: str, place: Place, volume_ids: tuple[str, ...]) -> dict[str, Any]:
    return {"n": n, "operation": operation, **place._asdict(), "volumes": list(volume_ids)}


def _doubled() -> set[tuple[Place, tuple[str, ...]]]:
    """Every place for which more than one volume is found, with these."""
    return {(place, tuple(sorted(ids))) for place, ids in _found().items() if len(ids) > 1}


def _found() -> dict[Place, list[str]]:
    found = defaultdict(list)
    for _, _, backend in ec2_backends.iter_backends():
        for volume in backend.volumes.values():
            for place in _places(volume.availability_zone, backend.tags.get(volume.id, {})):
                found[place].append(volume.id)
    return found


def _places(zone: str, tags: dict[str, str]) -> Iterator[Place]:
    for key, value in tags.items():
        if key.startswith(_ETCD_KEY_PREFIX):
            etcd_cluster = key.removeprefix(_ETCD_KEY_PREFIX)
            member = value.partition("/")[0]
            for by, cluster in seekers(tags):
                yield Place(by, cluster, zone, etcd_cluster, member)


def seekers(tags: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Who finds an etcd volume with these tags, and for which cluster."""
    if any(tags.get(role) == "1" for role in _ETCD_MANAGER_ROLES):
        for key, value in tags.items():
            if key.startswith(_CLUSTER_KEY_PREFIX) and value == "owned":
                yield "etcd-manager", key.removeprefix(_CLUSTER_KEY_PREFIX)
    if "KubernetesCluster" in tags and "k8s.io/role/master" in tags:
        yield "protokube", tags["KubernetesCluster"]
