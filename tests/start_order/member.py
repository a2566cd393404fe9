"""One etcd member: its process, and what is asked of it over etcd's own JSON gateway."""

import base64
import json
import signal
import socket
import subprocess
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

NAMES = ("a", "b", "c")
ANSWER_SECONDS_MAX = 3.0


class Ports:
    """Free ports for all members of a cluster, kept the same from its first start on.

    A data directory knows its peers by their addresses.
    """

    def __init__(self) -> None:
        sockets = [socket.socket() for _ in range(2 * len(NAMES))]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        numbers = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        self.peer = dict(zip(NAMES, numbers[: len(NAMES)], strict=True))
        self.client = dict(zip(NAMES, numbers[len(NAMES) :], strict=True))


class Member:
    """A running member; `end` it."""

    def __init__(self, etcd: Path, name: str, data: Path, ports: Ports) -> None:
        self.name = name
        self._port = ports.client[name]
        peers = ",".join(f"{other}=http://127.0.0.1:{port}" for other, port in ports.peer.items())
        peer_url = f"http://127.0.0.1:{ports.peer[name]}"
        client_url = f"http://127.0.0.1:{self._port}"
        self._log = data.with_suffix(".log").open("a+b")
        self._process = subprocess.Popen(
            [
                etcd,
                f"--name={name}",
                f"--data-dir={data}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--listen-client-urls={client_url}",
                f"--advertise-client-urls={client_url}",
                f"--initial-cluster={peers}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            # They mostly wait for the disk, and whoever runs this may need the other cores.
            env={"GOMAXPROCS": "1"},
        )

    def stop(self) -> None:
        """Hold it where it is."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """SIGKILL, as a crash does."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def runs(self) -> bool:
        return self._process.poll() is None

    def last_words(self) -> str:
        """The end of its log."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]

    def put(self, key: str, value: str) -> bool:
        """Whether the cluster took the write."""
        return self._ask("put", {"key": _encoded(key), "value": _encoded(value)}) is not None

    def serves(self) -> bool:
        """Whether it answers a read that the whole cluster agrees on."""
        return self._ask("range", {"key": _encoded("probe")}) is not None

    def revision(self) -> int | None:
        """The revision that it has itself, agreed or not."""
        answer = self._ask("range", {"key": _encoded("probe"), "serializable": True})
        return int(answer["header"]["revision"]) if answer else None

    def _ask(self, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS_MAX)
        with suppress(OSError, HTTPException, ValueError):
            connection.request("POST", f"/v3/kv/{operation}", json.dumps(request))
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status == 200:
                return body
        connection.close()
        return None


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
