"""Processes that serve an emulated AWS, and their ends.

Invariants: the pool forks only before it has started any thread (how a serving process
forks: `copies`); each process ends when whoever started it is gone.
"""

import gc
import json
import os
import signal
import sys
from io import BytesIO

from moto.moto_api._internal import mock_random

from . import corrections, world
from .application import Application
from .clock import clock, parse_rfc3339
from .copies import copies
from .dlm.scheduler import scheduler
from .server import endpoint, listen

# The operations whose models and code are loaded before the first fork.
_WARM_UP = {
    "ec2": ["DescribeVolumes", "DescribeSnapshots", "DescribeInstances"],
    "iam": ["ListRoles"],
    "sns": ["ListTopics"],
    "sts": ["GetCallerIdentity"],
    "autoscaling": ["DescribeAutoScalingGroups"],
}


def serve_one(port: int, state_clock: str | None) -> None:
    """Serve until standard input ends."""
    corrections.install()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _serve_until_end_of(sys.stdin.fileno(), Application(), port, state_clock)


def serve_pool() -> None:
    """Fork one server per line of standard input; end them all with it."""
    corrections.install()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    application = Application()
    _warm_up(application)
    # What is loaded stays shared: the collector of a child would copy every page.
    gc.collect()
    gc.freeze()
    # Only the parent holds the writing end; children read its end as the parent's.
    parent_lives, parent_end = os.pipe()
    for line in sys.stdin:
        command, _, state_clock = line.strip().partition(" ")
        if command != "new":
            sys.exit(f"unknown command {line.strip()!r}; known: new [RFC3339]")
        if os.fork() == 0:
            os.close(parent_end)
            mock_random.seed()  # else every fork makes the same ids
            _serve_until_end_of(parent_lives, application, 0, state_clock or None)
            os._exit(0)


def _serve_until_end_of(
    descriptor: int, application: Application, port: int, state_clock: str | None
) -> None:
    if state_clock:
        clock.move_to(parse_rfc3339(state_clock))
    scheduler.skip_to(clock.now())
    server = listen(application, port)
    os.write(sys.stdout.fileno(), (json.dumps({"endpoint": endpoint(server)}) + "\n").encode())
    copies.serve(server, descriptor)


def _warm_up(application: Application) -> None:
    """Serve one request of each kind, so that what moto loads lazily is loaded."""
    for service, operations in _WARM_UP.items():
        for operation in operations:
            _call(application, service, "POST", "/", f"Action={operation}&Version=1".encode())
    _call(application, "dlm", "GET", "/policies", b"")
    _call_json(application, "dynamodb", "DynamoDB_20120810.ListTables")
    world.reset()


def _call_json(application: Application, service: str, target: str) -> None:
    headers = {"HTTP_X_AMZ_TARGET": target, "CONTENT_TYPE": "application/x-amz-json-1.0"}
    _call(application, service, "POST", "/", b"{}", headers)


def _call(
    application: Application,
    service: str,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str] | None = None,
) -> None:
    scope = f"20260101/eu-west-2/{service}/aws4_request"
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "CONTENT_TYPE": "application/x-www-form-urlencoded" if body else "",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{scope}, Signature=0",
        **(headers or {}),
    }
    application(environ, lambda status, headers: None)
