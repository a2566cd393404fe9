"""What the members go through before their volumes are snapshotted."""

import dataclasses
import os
import pathlib
import random
import time
import typing

from cluster import Cluster, Load, run


@dataclasses.dataclass
class Made:
    """A set of snapshots, and what must be said of it."""

    name: str
    version: str
    token: str
    images: dict
    # None where only a restart tells.
    expected: str | None = "restorable"
    etcd_cluster: str = "main"
    names: str = "abc"
    restarts: bool = True
    keep: bool = False
    also: typing.Callable = lambda said: []

    def check(self, said):
        # etcd 3.5.0 to 3.5.2 left databases that don't fit their logs when they crashed (etcd's issue 13766).
        contradict = any("different numbers of changes" in problem for member in said["members"] for problem in member["problems"])
        if contradict and self.version in ("3.5.0", "3.5.1", "3.5.2"):
            return []
        wrong = [] if self.expected in (None, said["verdict"]) else [f"expected {self.expected}"]
        return wrong + self.also(said)


def take(cluster, directory, name, skew_seconds=0.0, order=None, **more):
    """Snapshots of all members, some time apart, newest last."""
    order = order or random.sample(sorted(cluster.members), len(cluster.members))
    images = {}
    for member in order:
        if images:
            time.sleep(random.uniform(0, skew_seconds))
        images[member] = pathlib.Path(directory).with_name(f"{name}-{member}.img")
        cluster.snapshot(member, images[member])
    more.setdefault("names", "".join(cluster.members))
    return Made(name, cluster.version_name, cluster.token, images, etcd_cluster=cluster.etcd_cluster, **more)


def live(directory, binaries, version, sets, skews=(0.0, 0.02, 0.5, 2.0), **cluster_options):
    """Under load, at random moments, members up to some seconds apart."""
    cluster = Cluster(directory, binaries, version, **cluster_options)
    try:
        cluster.begin()
        with Load(cluster, seed=sets):
            time.sleep(2)
            for index in range(sets):
                time.sleep(random.uniform(0.1, 1.5))
                yield take(cluster, directory, f"live-{version}-{index}", skews[index % len(skews)])
    finally:
        cluster.end()


def live_of_all(directory, binaries):
    for version in binaries:
        yield from live(directory, binaries, version, 10)


def young(directory, binaries):
    """A few moments after the cluster began, before any raft snapshot."""
    for version in binaries:
        cluster = Cluster(directory, binaries, version, snapshot_count=100000)
        try:
            cluster.begin()
            yield take(cluster, directory, f"young-{version}-idle", 0.1)
            with Load(cluster, compact_every=0, defrag_every=0):
                for index in range(2):
                    time.sleep(random.uniform(0.2, 2))
                    yield take(cluster, directory, f"young-{version}-{index}", 0.3, keep=index == 1)
        finally:
            cluster.end()


def single(directory, binaries):
    for version in binaries:
        yield from live(directory, binaries, version, 3, names="a", etcd_cluster="events")


def five(directory, binaries):
    version = sorted(binaries)[-1]
    yield from live(directory, binaries, version, 4, names="abcde")


def compacting(directory, binaries):
    """Compactions of large revisions all the time, so that some are under way."""
    for version in binaries:
        cluster = Cluster(directory, binaries, version, snapshot_count=20000)
        try:
            cluster.begin()
            with Load(cluster, threads=4, pause=0.001, compact_every=0, defrag_every=0, value_bytes=200):
                time.sleep(6)
                client = cluster.members["a"].client()
                for index in range(5):
                    revision = client.revision()
                    client.call("kv/compaction", {"revision": str(revision - 5)})
                    time.sleep(random.uniform(0, 0.15))
                    yield take(cluster, directory, f"compacting-{version}-{index}", 0.05, keep=index == 4)
                    time.sleep(1.5)
        finally:
            cluster.end()


def upgraded(directory, binaries):
    """An in-place upgrade, one member after the other, snapshotted in the midst and after."""
    versions = sorted(binaries)
    for old, new in zip(versions, versions[1:]):
        cluster = Cluster(directory, binaries, old)
        try:
            cluster.begin()
            with Load(cluster, compact_every=1, defrag_every=0):
                time.sleep(2)
                cluster.use(new)
                for member in cluster.members.values():
                    member.stop()
                    member.write_state()
                    os.sync()
                    member.start("existing")
                    member.serves(30)
                    time.sleep(0.7)
                    if member.name == "b":
                        yield take(cluster, directory, f"upgrading-{old}-{new}", 0.2, restarts=False)
                time.sleep(1)
                yield take(cluster, directory, f"upgraded-{old}-{new}", 0.5, keep=True)
        finally:
            cluster.end()


def restored(directory, binaries):
    """As etcd-manager restores: a new token and an empty cluster, into which the keys are copied; the old
    directory goes to the trashcan, or stays where its renaming failed."""
    for version in binaries:
        for old_stays in (False, True):
            cluster = Cluster(directory, binaries, version, volume_bytes=512 * 1024 * 1024)
            try:
                cluster.begin()
                with Load(cluster):
                    time.sleep(3)
                for member in cluster.members.values():
                    member.stop()
                old_token = cluster.token
                cluster.token = old_token[::-1]
                for member in cluster.members.values():
                    old = member.mount / "data" / old_token
                    if not old_stays:
                        (member.mount / "data-trashcan").mkdir()
                        old.rename(member.mount / "data-trashcan" / old_token)
                    member.write_state(quarantined=True)
                    member.start()
                cluster.wait()
                client = cluster.members["a"].client()
                for index in range(300):
                    client.put(f"/registry/pods/ns/leakname-{index}", "SECRETVALUE" * 5)
                # As long as it isn't written back, the old /state may be what a crash leaves: so sync.
                for member in cluster.members.values():
                    member.write_state()
                os.sync()
                with Load(cluster):
                    time.sleep(1.5)
                    name = f"restored-{version}-{'old-stays' if old_stays else 'trashcan'}"
                    paths = [f"/data/{old_token}"] if old_stays else []

                    def others(said, paths=paths):
                        return [f"other_data_dirs of {m['member']}" for m in said["members"] if m["other_data_dirs"] != paths]

                    yield take(cluster, directory, name, 0.5, also=others, keep=not old_stays)
            finally:
                cluster.end()


def alarmed(directory, binaries):
    """A database at its quota."""
    for version in binaries:
        cluster = Cluster(directory, binaries, version, options=("--quota-backend-bytes", str(4 * 1024 * 1024)))
        try:
            cluster.begin()
            client = cluster.members["a"].client()
            try:
                for index in range(10000):
                    client.put(f"/registry/events/leakname-{index}", "SECRETVALUE" * 300)
            except RuntimeError:
                pass
            time.sleep(1)

            def alarms(said):
                return [] if all(m["alarms"] == ["NOSPACE"] for m in said["members"]) else ["alarm NOSPACE expected"]

            yield take(cluster, directory, f"alarmed-{version}", 0.0, expected="degraded", also=alarms, keep=True)
        finally:
            cluster.end()


def lost_state(directory, binaries):
    """`/state` torn, empty or gone on one member, or on all; nothing to restart with."""
    version = sorted(binaries)[-1]
    cluster = Cluster(directory, binaries, version)
    try:
        cluster.begin()
        with Load(cluster):
            time.sleep(2)
            whole = (cluster.members["a"].mount / "state").read_bytes()
            for name, content, who, expected in [
                ("torn-one", whole[: len(whole) // 2], "a", "degraded"),
                ("zeros-one", bytes(len(whole)), "b", "degraded"),
                ("empty-one", b"", "c", "degraded"),
                ("empty-two", b"", "ab", "damaged"),
                ("torn-all", whole[:-20][:100], "abc", "degraded"),
                ("gone-all", None, "abc", "degraded"),
            ]:
                for member in cluster.members.values():
                    member.write_state()
                for member in who:
                    path = cluster.members[member].mount / "state"
                    path.unlink()
                    if content is not None:
                        path.write_bytes(content)
                os.sync()
                yield take(cluster, directory, f"state-{name}", 0.1, expected=expected, restarts=False, keep=name == "torn-all")
    finally:
        cluster.end()


def edit(image, change):
    """Mounts an image, and changes what is on it."""
    mount = pathlib.Path(f"{image}.mount")
    mount.mkdir()
    run("mount", "-o", "loop", image, mount)
    try:
        change(next((mount / "data").iterdir()) / "member")
    finally:
        run("umount", mount)
        mount.rmdir()


def zero(path, at, length):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(bytes(length))


def written(segment):
    """Where the log's records end, and some offset shortly before."""
    content = segment.read_bytes().rstrip(b"\0")
    return len(content), max(1000, len(content) - random.randrange(1000, 60000))


def damages():
    """Kinds of damage by name, each done to the directory `member`."""

    def page(member):
        # Any page but the first four, in use or not: the reader tells which.
        database = member / "snap" / "db"
        content = database.read_bytes()
        leaves = [at for at in range(4, len(content) // 4096) if content[at * 4096 + 8] in (1, 2) and content[at * 4096 + 9] == 0]
        zero(database, random.choice(leaves) * 4096, 4096)

    def last_segment(member):
        return sorted((member / "wal").glob("*.wal"))[-1]

    def torn(member):
        end, at = written(last_segment(member))
        at -= at % 512
        zero(last_segment(member), at, end - at + 8)

    def torn_anywhere(member):
        end, at = written(last_segment(member))
        zero(last_segment(member), at, end - at + 8)

    def sector(member):
        _, at = written(last_segment(member))
        zero(last_segment(member), at - at % 512, 512)

    def flipped(member):
        _, at = written(last_segment(member))
        with open(last_segment(member), "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << random.randrange(8)]))

    def much_torn(member):
        end, _ = written(last_segment(member))
        at = end // 2 - end // 2 % 512
        zero(last_segment(member), at, end - at + 8)

    def broken_snap(member):
        newest = sorted((member / "snap").glob("*.snap"))[-1]
        zero(newest, newest.stat().st_size // 2, 16)

    def no_snaps(member):
        for path in (member / "snap").glob("*.snap"):
            path.unlink()

    def no_database(member):
        (member / "snap" / "db").unlink()

    def cut_database(member):
        database = member / "snap" / "db"
        with open(database, "r+b") as file:
            file.truncate(database.stat().st_size // random.randrange(2, 8) // 4096 * 4096)

    return [page, page, page, torn, torn_anywhere, sector, flipped, much_torn, broken_snap, no_snaps, no_database, cut_database]


def damaged(directory, binaries):
    """One member's database or log damaged: the reader and etcd must be of one mind, whatever it is."""
    for version in binaries:
        cluster = Cluster(directory, binaries, version, snapshot_count=500)
        try:
            cluster.begin()
            with Load(cluster):
                time.sleep(4)
                for damage in damages():
                    time.sleep(random.uniform(0, 0.5))
                    number = len(list(pathlib.Path(directory).parent.glob("damaged-*")))
                    made = take(cluster, directory, f"damaged-{version}-{damage.__name__}-{number}", 0.3, expected=None)
                    edit(made.images[random.choice("abc")], damage)
                    yield made
        finally:
            cluster.end()


def behind(directory, binaries):
    """A database behind its raft snapshot, as when a leader sent one and the member crashed before it took it."""
    for version in binaries:
        cluster = Cluster(directory, binaries, version, snapshot_count=300)
        try:
            cluster.begin()
            with Load(cluster, compact_every=0, defrag_every=0):
                time.sleep(3)
                old = take(cluster, directory, f"behind-{version}-old", 0.0)
                time.sleep(6)
                for sent in (True, False):
                    made = take(cluster, directory, f"behind-{version}-{'sent' if sent else 'lost'}", 0.1, expected="restorable" if sent else "degraded")
                    content = []
                    edit(old.images["a"], lambda member, content=content: content.append((member / "snap" / "db").read_bytes()))

                    def put_behind(member, content=content, sent=sent):
                        index = sorted((member / "snap").glob("*.snap"))[-1].name[17:33]
                        (member / "snap" / "db").rename(member / "snap" / f"{index}.snap.db")
                        (member / "snap" / "db").write_bytes(content[0])
                        if not sent:
                            (member / "snap" / f"{index}.snap.db").unlink()

                    edit(made.images["a"], put_behind)
                    yield made
                yield old
        finally:
            cluster.end()


def insist(cluster, path, body, done):
    """Calls until it was done: etcd refuses for some seconds after a member was connected, and loses calls while a
    leader is elected."""
    for _ in range(60):
        try:
            return cluster.members["a"].client().call(path, body)
        except RuntimeError as error:
            if done in str(error):
                return None
        except OSError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"{path} was never done")


def replaced(directory, binaries):
    """A member removed and added anew with an empty volume; and, snapshotted before, its older self."""
    for version in binaries:
        cluster = Cluster(directory, binaries, version)
        try:
            cluster.begin()
            client = cluster.members["a"].client()
            with Load(cluster):
                time.sleep(2)
                before = take(cluster, directory, f"replaced-{version}-before", 0.0)
                old = cluster.members["c"]
                members = client.call("cluster/member/list", {})["members"]
                identity = next(m["ID"] for m in members if m.get("name") == old.node)
                insist(cluster, "cluster/member/remove", {"ID": identity}, "member not found")
                old.unmount()
                insist(cluster, "cluster/member/add", {"peerURLs": [old.peer_url]}, "Peer URLs already exists")
                old.make_volume()
                old.write_state()
                os.sync()
                old.start("existing")
                old.serves(30)
                time.sleep(1)
                after = take(cluster, directory, f"replaced-{version}", 0.3)
            yield before
            yield after
            # The removed member's volume beside those of the members that removed it.
            images = {**after.images, "c": before.images["c"]}
            yield Made(f"replaced-{version}-stale", version, cluster.token, images, expected="degraded", keep=True)
        finally:
            cluster.end()


def learning(directory, binaries):
    """Three voters and a learner, which counts for no quorum."""
    for version in binaries:
        cluster = Cluster(directory, binaries, version)
        try:
            cluster.begin()
            learner = cluster.add("d")
            insist(cluster, "cluster/member/add", {"peerURLs": [learner.peer_url], "isLearner": True}, "Peer URLs already exists")
            learner.make_volume()
            for member in cluster.members.values():
                member.write_state()
            os.sync()
            learner.start("existing")
            with Load(cluster):
                time.sleep(3)

                def learns(said):
                    return [] if said["quorum"] == 2 and any("learner" in w for m in said["members"] for w in m["warnings"]) else ["learner expected"]

                yield take(cluster, directory, f"learning-{version}", 0.3, also=learns, keep=True)
        finally:
            cluster.end()


SCENARIOS = {
    "young": young,
    "single": single,
    "live": live_of_all,
    "five": five,
    "compacting": compacting,
    "upgraded": upgraded,
    "restored": restored,
    "alarmed": alarmed,
    "state": lost_state,
    "replaced": replaced,
    "learning": learning,
    "damaged": damaged,
    "behind": behind,
}
