"""Masters that start: what they find, what they attach, and in which order they came.

A master of a watched cluster does what etcd-manager or protokube does there. etcd-manager
takes for each etcd cluster what is attached already, else the first free volume that its
filters show, and looks again until it has one; once it has all it never looks again.
protokube looks all the time, and attaches every free volume of an etcd cluster that it has
none of.

Invariants:
- Masters are the running instances of the cluster's Auto Scaling groups.
- Volumes are seen as they are, whatever DescribeVolumes still shows.
- Masters look after each request, in the order in which they were launched: what a request
  brings about is there before the next one is served.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.autoscaling.models import autoscaling_backends

from .calls import calls
from .candidates import seekers
from .clock import Moment, clock, format_rfc3339

_ETCD_KEY_PREFIX = "k8s.io/etcd/"
_MASTER_ROLES = ("k8s.io/role/master", "k8s.io/role/control-plane")
MOUNTED_BY = ("etcd-manager", "protokube")
# kops' device names, /dev/xvdu and on.
_DEVICES = "uvwxyz"


@dataclass
class Master:
    """An instance, and the etcd clusters that it has a volume for."""

    instance: Any
    group: str
    launched: Moment
    has: dict[str, str] = field(default_factory=dict)


@dataclass
class WatchedCluster:
    """A cluster whose masters start."""

    name: str
    mounted_by: str
    etcd_clusters: list[str]
    boot_seconds: float
    masters: dict[str, Master] = field(default_factory=dict)


class Masters:
    """The watched clusters, and what their masters did, in order."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._clusters: dict[str, WatchedCluster] = {}
        self.forget()

    def forget(self) -> None:
        self._events: list[dict[str, Any]] = []

    def watch(self, name: Any, mounted_by: Any, etcd_clusters: Any, boot_seconds: Any) -> None:
        """From now on. Instances that are there have started; what they have attached is theirs."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"cluster must be a name, not {name!r}")
        if mounted_by not in MOUNTED_BY:
            raise ValueError(f"mounted_by must be one of {', '.join(MOUNTED_BY)}, not {mounted_by!r}")
        if not isinstance(etcd_clusters, list) or not all(isinstance(one, str) for one in etcd_clusters):
            raise ValueError(f"etcd_clusters must be a list of names, not {etcd_clusters!r}")
        if isinstance(boot_seconds, bool) or not isinstance(boot_seconds, (int, float)) or boot_seconds < 0:
            raise ValueError(f"boot_seconds must be a number from 0, not {boot_seconds!r}")
        cluster = WatchedCluster(name, mounted_by, etcd_clusters, boot_seconds)
        for master in _running(cluster):
            cluster.masters[master.instance.id] = master
            master.has = _attached(cluster, master)
        self._clusters[name] = cluster

    def settle(self) -> None:
        """Let every master do what it has come to."""
        for cluster in self._clusters.values():
            running = _running(cluster)
            ids = {master.instance.id for master in running}
            cluster.masters = {id: master for id, master in cluster.masters.items() if id in ids}
            for master in running:
                if master.instance.id not in cluster.masters:
                    cluster.masters[master.instance.id] = master
                    self._note(cluster, master, "launched")
            for master in cluster.masters.values():
                if clock.seconds_since(master.launched) >= cluster.boot_seconds:
                    self._mount(cluster, master)

    def to_list(self) -> list[dict[str, Any]]:
        return list(self._events)

    def _mount(self, cluster: WatchedCluster, master: Master) -> None:
        if cluster.mounted_by == "protokube":
            # A volume that was taken away from it is one that it looks for again.
            master.has = _attached(cluster, master)
        missing = [name for name in cluster.etcd_clusters if name not in master.has]
        if not missing:
            return
        attached = _attached(cluster, master)
        for etcd_cluster in missing:
            if etcd_cluster in attached:
                master.has[etcd_cluster] = attached[etcd_cluster]
                continue
            free = (volume for volume in _found(cluster, master, etcd_cluster) if volume.status == "available")
            if volume := next(free, None):
                if (device := _free_device(master)) is None:
                    return
                master.instance.ec2_backend.attach_volume(volume.id, master.instance.id, device)
                master.has[etcd_cluster] = volume.id
                self._note(cluster, master, "attached", etcd_cluster, volume)

    def _note(
        self,
        cluster: WatchedCluster,
        master: Master,
        event: str,
        etcd_cluster: str | None = None,
        volume: Any = None,
    ) -> None:
        tags = volume.ec2_backend.tags.get(volume.id, {}) if volume else {}
        member = tags.get(f"{_ETCD_KEY_PREFIX}{etcd_cluster}", "").partition("/")[0]
        self._events.append(
            {
                "n": calls.next_number,
                "at": format_rfc3339(clock.now()),
                "event": event,
                "cluster": cluster.name,
                "group": master.group,
                "instance": master.instance.id,
                "zone": master.instance.availability_zone,
                "etcd_cluster": etcd_cluster,
                "member": member or None,
                "volume": volume.id if volume else None,
            }
        )


masters = Masters()


def _running(cluster: WatchedCluster) -> list[Master]:
    """Oldest first, as the groups have them."""
    return [
        Master(member.instance, group.name, clock.moment())
        for _, _, backend in autoscaling_backends.iter_backends()
        for group in backend.autoscaling_groups.values()
        if _is_of_masters(cluster, {tag["Key"]: tag["Value"] for tag in group.tags})
        for member in group.instance_states
        if member.instance.state == "running"
    ]


def _is_of_masters(cluster: WatchedCluster, tags: dict[str, str]) -> bool:
    return tags.get("KubernetesCluster") == cluster.name and any(tags.get(role) == "1" for role in _MASTER_ROLES)


def _found(cluster: WatchedCluster, master: Master, etcd_cluster: str) -> Iterator[Any]:
    """In the order in which DescribeVolumes gives them."""
    backend = master.instance.ec2_backend
    for volume in backend.volumes.values():
        tags = backend.tags.get(volume.id, {})
        if (
            volume.availability_zone == master.instance.availability_zone
            and f"{_ETCD_KEY_PREFIX}{etcd_cluster}" in tags
            and (cluster.mounted_by, cluster.name) in seekers(tags)
        ):
            yield volume


def _free_device(master: Master) -> str | None:
    """What is attached already keeps its name, also where nobody finds the volume any more."""
    devices = (f"/dev/xvd{letter}" for letter in _DEVICES)
    return next((device for device in devices if device not in master.instance.block_device_mapping), None)


def _attached(cluster: WatchedCluster, master: Master) -> dict[str, str]:
    """The volumes that it finds attached to itself, by etcd cluster."""
    return {
        etcd_cluster: volume.id
        for etcd_cluster in cluster.etcd_clusters
        for volume in _found(cluster, master, etcd_cluster)
        if volume.attachment and volume.attachment.instance_id == master.instance.id
    }
