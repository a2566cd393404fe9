"""Real etcd members on real ext4 volumes, in etcd-manager's layout.

A volume is an image on a filesystem with reflinks, mounted by a loop device. Its snapshot is a reflink
copy of the image, taken in an instant while everything goes on: what an EBS snapshot sees.
"""

import base64
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import threading
import time

BASE_PORT = 23790
VOLUME_BYTES = 256 * 1024 * 1024


def run(*command, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True)


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def state(token, nodes, version, quarantined=False):
    """etcd-manager's EtcdState."""
    cluster = field(1, len(nodes)) + field(5, token)
    for node in nodes:
        url = f"http://{node}.internal.test.example"
        cluster += field(7, field(1, node) + field(2, url + ":2380") + field(3, url + ":4001"))
    message = field(2, cluster) + field(3, version)
    return message + (field(4, 1) if quarantined else b"")


def b64(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


class Client:
    """etcd's JSON gateway at one member."""

    def __init__(self, port, timeout=5):
        self.port, self.timeout, self.connection = port, timeout, None

    def call(self, path, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        try:
            self.connection.request("POST", "/v3/" + path, json.dumps(body), {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
        except Exception:
            self.connection.close()
            self.connection = None
            raise
        if answer.status != 200:
            raise RuntimeError(text.decode(errors="replace")[:200])
        return json.loads(text)

    def put(self, key, value, lease=0):
        body = {"key": b64(key), "value": b64(value)}
        if lease:
            body["lease"] = str(lease)
        return int(self.call("kv/put", body)["header"]["revision"])

    def delete(self, key):
        return self.call("kv/deleterange", {"key": b64(key)})

    def revision(self):
        """After a linearizable read."""
        return int(self.call("kv/range", {"key": b64("nothing")})["header"]["revision"])

    def count(self, prefix, revision=0):
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        body = {"key": b64(prefix), "range_end": b64(end), "count_only": True, "revision": str(revision)}
        return int(self.call("kv/range", body).get("count", 0))


class Member:
    def __init__(self, cluster, name, index):
        self.cluster, self.name = cluster, name
        self.client_port = BASE_PORT + 2 * index
        self.peer_port = self.client_port + 1
        self.image = cluster.directory / f"{name}.img"
        self.mount = cluster.directory / name
        self.process = None

    @property
    def node(self):
        prefix = "etcd" if self.cluster.etcd_cluster == "main" else f"etcd-{self.cluster.etcd_cluster}"
        return f"{prefix}-{self.name}"

    @property
    def data(self):
        return self.mount / "data" / self.cluster.token

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    def client(self, timeout=5):
        return Client(self.client_port, timeout)

    def make_volume(self):
        self.mount.mkdir(exist_ok=True)
        with open(self.image, "wb") as image:
            image.truncate(self.cluster.volume_bytes)
        run("mkfs.ext4", "-q", "-F", "-m0", self.image)
        self.mount_volume()

    def mount_volume(self):
        self.mount.mkdir(exist_ok=True)
        run("mount", "-o", "loop", self.image, self.mount)

    def write_state(self, **more):
        nodes = [member.node for member in self.cluster.members.values()]
        (self.mount / "state").write_bytes(state(self.cluster.token, nodes, self.cluster.version_name, **more))

    def start(self, initial_state="new"):
        self.data.mkdir(parents=True, exist_ok=True)
        initial = ",".join(f"{member.node}={member.peer_url}" for member in self.cluster.members.values())
        log = open(self.cluster.directory / f"{self.name}.log", "ab")
        client_url = f"http://127.0.0.1:{self.client_port}"
        command = [
            self.cluster.binary, "--name", self.node, "--data-dir", self.data,
            "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url,
            "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
            "--initial-cluster", initial, "--initial-cluster-state", initial_state,
            "--initial-cluster-token", self.cluster.token, "--snapshot-count", str(self.cluster.snapshot_count),
            "--logger", "zap", *self.cluster.options,
        ]
        environment = {"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": "arm64", "GOMAXPROCS": "2"}
        self.process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=environment)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def unmount(self):
        self.stop()
        run("umount", self.mount, check=False)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def serves(self, seconds):
        """The revision, once the member answers a linearizable read; None where it doesn't in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.alive():
                return None
            try:
                return self.client(timeout=2).revision()
            except Exception:
                time.sleep(0.1)
        return None


class Cluster:
    def __init__(self, directory, binaries, version, names="abc", token=None, etcd_cluster="main", snapshot_count=1000,
                 options=(), volume_bytes=VOLUME_BYTES):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.binaries, self.etcd_cluster, self.snapshot_count, self.options = binaries, etcd_cluster, snapshot_count, options
        self.volume_bytes = volume_bytes
        self.use(version)
        self.token = token or "".join(random.choice("abcdefghijkmnopqrstuvwxyzABCDEFGH0123456789_-") for _ in range(22)).strip("-_")
        self.members = {}
        for name in names:
            self.add(name)

    def add(self, name):
        self.members[name] = Member(self, name, len(self.members))
        return self.members[name]

    def use(self, version):
        self.version_name, self.binary = version, self.binaries[version]

    def begin(self):
        for member in self.members.values():
            member.make_volume()
            member.write_state()
        # etcd-manager doesn't sync it either: it would be empty on disk for half a minute.
        os.sync()
        for member in self.members.values():
            member.start()
        self.wait()

    def wait(self, seconds=30):
        for member in self.members.values():
            if member.serves(seconds) is None:
                raise RuntimeError(f"{member.name} doesn't serve: see {self.directory}/{member.name}.log")

    def snapshot(self, member, to):
        """Copies the member's volume as it is at this instant."""
        run("cp", "--reflink=always", self.members[member].image, to)

    def end(self):
        for member in self.members.values():
            member.unmount()
        shutil.rmtree(self.directory, ignore_errors=True)


class Load:
    """Writes as a Kubernetes cluster would: puts, updates, deletes, leases, transactions, compaction, defragmentation."""

    def __init__(self, cluster, threads=3, pause=0.003, compact_every=1.5, defrag_every=4.0, value_bytes=600, seed=0):
        self.cluster, self.pause, self.value_bytes = cluster, pause, value_bytes
        self.stopping = threading.Event()
        work = [threading.Thread(target=self.write, args=(random.Random(seed * 100 + index),)) for index in range(threads)]
        if compact_every:
            work.append(threading.Thread(target=self.compact, args=(compact_every,)))
        if defrag_every:
            work.append(threading.Thread(target=self.defragment, args=(defrag_every,)))
        self.threads = work

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def client(self, chance):
        return chance.choice(list(self.cluster.members.values())).client()

    def write(self, chance):
        client, leases = self.client(chance), []
        kinds = ["pods", "events", "secrets", "configmaps", "leases", "services/specs"]
        while not self.stopping.is_set():
            try:
                key = f"/registry/{chance.choice(kinds)}/ns-{chance.randrange(5)}/leakname-{chance.randrange(300)}"
                value = "SECRETVALUE" + "x" * chance.randrange(self.value_bytes)
                what = chance.random()
                if what < 0.15:
                    client.delete(key)
                elif what < 0.2:
                    lease = client.call("lease/grant", {"TTL": "600"})["ID"]
                    leases.append(lease)
                    client.put(key, value, lease)
                elif what < 0.22 and leases:
                    client.call("lease/revoke", {"ID": leases.pop(0)})
                elif what < 0.4:
                    compare = [{"key": b64(key), "target": "MOD", "mod_revision": "0"}]
                    put = [{"request_put": {"key": b64(key), "value": b64(value)}}]
                    client.call("kv/txn", {"compare": compare, "success": put, "failure": [{"request_range": {"key": b64(key)}}]})
                else:
                    client.put(key, value)
                time.sleep(self.pause)
            except Exception:
                time.sleep(0.2)
                client = self.client(chance)

    def compact(self, every):
        chance = random.Random(1)
        while not self.stopping.wait(every * (0.5 + chance.random())):
            try:
                client = self.client(chance)
                client.call("kv/compaction", {"revision": str(max(1, client.revision() - chance.randrange(300)))})
            except Exception:
                pass

    def defragment(self, every):
        chance = random.Random(2)
        while not self.stopping.wait(every * (0.5 + chance.random())):
            try:
                self.client(chance).call("maintenance/defragment", {})
            except Exception:
                pass
