"""The front of the emulated AWS: every request passes through here.

Requests under /emulator/ go to the control interface. All others are recognised, meet
their planted faults, are denied or served by moto, get a request id and are logged.

Invariants:
- moto, botocore and the emulator's own state are only touched while the state lock is
  held; a planted delay is waited out without it.
- A call is served and logged in one hold of the lock, so that whoever holds it next (and
  a copy of the process) finds both or neither.
"""

import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import run_wsgi_app

from . import actors, control, ebs, wire, world
from .calls import calls
from .candidates import candidates
from .clock import clock
from .faults import Fault, faults
from .operations import Operation, recognise
from .permissions import permissions
from .wire import Answer, ConnectionCut

log = logging.getLogger(__name__)

state_lock = threading.RLock()


def _renew_lock() -> None:
    global state_lock
    state_lock = threading.RLock()


# A forked process has none of the threads that may hold the lock.
os.register_at_fork(after_in_child=_renew_lock)


class Application:
    """A WSGI application: all services, and the control interface, at one endpoint."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"].startswith(control.PREFIX):
            with state_lock:
                world.settle()
                answer = control.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body)
        else:
            answer = self._serve(environ, body)
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {'OK' if answer.status < 400 else 'Error'}", headers)
        return [answer.body]

    def _serve(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Raises ConnectionCut where a fault has the request or its answer lost."""
        with state_lock:  # while another request holds the clock, its time is not the present
            operation = recognise(environ, body)
            at = clock.now()
            began_after = calls.last_number
            befalling = faults.next_for(operation)
        request_id = wire.new_request_id()
        refusal = _refusal_after_delays(befalling)
        with state_lock:
            answer = self._answer(operation, environ, body, befalling, refusal)
            if answer is None:
                lost = refusal.kind if refusal else "drop_answer"
                calls.add(at, began_after, operation, None, None, request_id, lost)
                raise ConnectionCut(lost)
            kind = next((fault.kind for fault in befalling if fault.kind != "act"), None)
            calls.add(at, began_after, operation, answer.status, wire.error_code(answer), request_id, kind)
        return wire.with_request_id(answer, request_id)

    def _answer(
        self,
        operation: Operation,
        environ: dict[str, Any],
        body: bytes,
        befalling: list[Fault],
        refusal: Fault | None,
    ) -> Answer | None:
        """None is one that gets lost."""
        _act(befalling, "before")
        answer = self._answer_or_lose(operation, environ, body, befalling, refusal)
        _act(befalling, "after")
        world.settle()
        return answer

    def _answer_or_lose(
        self,
        operation: Operation,
        environ: dict[str, Any],
        body: bytes,
        befalling: list[Fault],
        refusal: Fault | None,
    ) -> Answer | None:
        if refusal:
            if refusal.kind == "drop_request":
                return None
            return wire.error(operation, refusal.status, refusal.code, refusal.message)
        answer = permissions.refusal(operation)
        if answer is None:
            answer = self._serve_by_moto(operation, environ, body)
            candidates.look_after(operation, calls.next_number)
        return None if any(fault.kind == "drop_answer" for fault in befalling) else answer

    def _serve_by_moto(self, operation: Operation, environ: dict[str, Any], body: bytes) -> Answer:
        forwarded = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        try:
            world.settle()
            if operation.service == "ebs":
                return ebs.answer(operation)
            parts, status, headers = run_wsgi_app(self._moto, forwarded, buffered=True)
            return Answer(int(status.split()[0]), list(headers), b"".join(parts))
        except Exception as failure:  # whatever it is, the caller sees what AWS would answer
            log.exception("moto failed on %s %s", operation.service, operation.name)
            message = f"The emulated AWS failed: {type(failure).__name__}: {failure}"
            return wire.error(operation, 500, "InternalError", message)


def _act(befalling: list[Fault], when: str) -> None:
    """Let others act that were planted to act before or after this call."""
    for fault in befalling:
        if fault.kind == "act" and fault.when == when:
            actors.read(fault.actor)()


def _refusal_after_delays(befalling: list[Fault]) -> Fault | None:
    """The fault that keeps the call from being served, once the delays before it are over."""
    for fault in befalling:
        if fault.kind == "delay":
            time.sleep(fault.seconds)
        if fault.kind in ("drop_request", "error"):
            return fault
    return None
