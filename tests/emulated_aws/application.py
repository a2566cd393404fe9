"""The front of the emulated AWS: every request passes through here.

Requests under /emulator/ go to the control interface. All others are recognised, meet
their planted faults, are served by moto under the state lock, get a request id and are
logged.

Invariant: moto and the emulator's own state are only touched while the state lock is
held; a planted delay is waited out before taking it.
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import run_wsgi_app

from . import control, wire
from .calls import calls
from .clock import clock
from .faults import Fault, faults
from .operations import Operation, recognise
from .wire import Answer

log = logging.getLogger(__name__)

state_lock = threading.RLock()


class ConnectionCut(ConnectionError):
    """The request is to end without an answer."""


class Application:
    """A WSGI application: all services, and the control interface, at one endpoint."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"].startswith(control.PREFIX):
            with state_lock:
                answer = control.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body)
        else:
            answer = self._serve(environ, body)
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {'OK' if answer.status < 400 else 'Error'}", headers)
        return [answer.body]

    def _serve(self, environ: dict[str, Any], body: bytes) -> Answer:
        operation = recognise(environ, body)
        request_id = wire.new_request_id()
        with state_lock:  # while another request holds the clock, its time is not the present
            at = clock.now()
        befalling = faults.next_for(operation)
        try:
            answer = self._serve_through(befalling, operation, environ, body, request_id)
        except ConnectionCut as cut:
            calls.add(at, operation, None, None, request_id, str(cut))
            raise
        kind = befalling[0].kind if befalling else None
        calls.add(at, operation, answer.status, wire.error_code(answer), request_id, kind)
        return answer

    def _serve_through(
        self,
        befalling: list[Fault],
        operation: Operation,
        environ: dict[str, Any],
        body: bytes,
        request_id: str,
    ) -> Answer:
        """Raises ConnectionCut where a fault has the request or its answer lost."""
        for fault in befalling:
            if fault.kind == "delay":
                time.sleep(fault.seconds)
            if fault.kind == "drop_request":
                raise ConnectionCut(fault.kind)
            if fault.kind == "error":
                refused = wire.error(operation, fault.status, fault.code, fault.message)
                return wire.with_request_id(refused, request_id)
        answer = wire.with_request_id(self._serve_by_moto(operation, environ, body), request_id)
        if any(fault.kind == "drop_answer" for fault in befalling):
            raise ConnectionCut("drop_answer")
        return answer

    def _serve_by_moto(self, operation: Operation, environ: dict[str, Any], body: bytes) -> Answer:
        forwarded = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        with state_lock:
            try:
                parts, status, headers = run_wsgi_app(self._moto, forwarded, buffered=True)
                return Answer(int(status.split()[0]), list(headers), b"".join(parts))
            except Exception as failure:  # whatever it is, the caller sees what AWS would answer
                log.exception("moto failed on %s %s", operation.service, operation.name)
                message = f"The emulated AWS failed: {type(failure).__name__}: {failure}"
                return wire.error(operation, 500, "InternalError", message)
