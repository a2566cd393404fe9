"""Serving the application over HTTP/1.1 with connections kept alive.

werkzeug's development server closes the connection after each answer, because it
cannot know whether the application read the whole request. Here the request is read
whole before the application sees it.
"""

import io
import socket
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from .wire import ConnectionCut

HOST = "127.0.0.1"

WsgiApplication = Callable[..., Iterable[bytes]]


class RequestHandler(WSGIRequestHandler):
    """Answers each request in one write; cuts the connection where told to."""

    protocol_version = "HTTP/1.1"
    # Buffered, so that headers and body leave in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ = self.make_environ()
        body = self._read_body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        try:
            parts, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        except ConnectionCut:
            self._cut()
            return
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"".join(parts))
        self.wfile.flush()

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        if environ.get("wsgi.input_terminated"):  # chunked: werkzeug gives a stream that ends
            return environ["wsgi.input"].read()
        return self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """No access log: the call log is read through the control interface."""


def listen(application: WsgiApplication, port: int) -> BaseWSGIServer:
    """A server that listens already; port 0 takes any free one."""
    return make_server(HOST, port, application, threaded=True, request_handler=RequestHandler)


def endpoint(server: BaseWSGIServer) -> str:
    return f"http://{HOST}:{server.server_port}"
