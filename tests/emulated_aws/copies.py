"""Copies of the whole emulated AWS: the process forks, the copy serves at a port of its own.

A fork has only the thread that asks for it. It lives on as the copy, in place of
answering the request; to the original's clients it must not exist.

Invariants:
- A copy is made with the state lock held: no other thread is then inside moto, botocore or
  the emulator's state, which the copy would find half changed or locked for ever.
- A copy holds no socket of the original, and makes other ids from then on.
- A copy ends when whoever started the original is gone, not when the original is.
"""

import gc
import logging
import os
import stat
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from moto.moto_api._internal import mock_random
from werkzeug.serving import BaseWSGIServer

from .server import endpoint, listen

log = logging.getLogger(__name__)


class Copies:
    """What this process serves, and how it makes another like it."""

    def __init__(self) -> None:
        self._server: BaseWSGIServer | None = None
        self._starter: int = -1

    def serve(self, server: BaseWSGIServer, starter: int) -> None:
        """Serve until the descriptor `starter`, which whoever started us holds open, ends."""
        self._server, self._starter = server, starter
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while os.read(starter, 4096):
            pass

    def make(self) -> str:
        """Make a copy of this process and give its endpoint, which listens already."""
        if self._server is None:
            raise RuntimeError("this process does not serve yet")
        server = listen(self._server.app, 0)
        # What is there stays shared: the collector of the copy would touch every page.
        gc.freeze()
        if os.fork() == 0:
            self._live_as_copy(server)
        server.server_close()
        return endpoint(server)

    def _live_as_copy(self, server: BaseWSGIServer) -> NoReturn:
        try:
            mock_random.seed()
            _let_go_of_original(keep=server.fileno())
            self.serve(server, self._starter)
        except BaseException:  # whatever it is, the original's request is not ours to answer
            log.exception("the copy failed")
        finally:
            os._exit(0)


def _let_go_of_original(keep: int) -> None:
    """Close every socket but one, and whatever the original's output goes to.

    By descriptor, as a connection may be open that no object stands for yet. The objects
    there are belong to threads that are gone, and are never finalised.
    """
    for descriptor in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # that of the listing itself is closed by now
            is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
            if is_socket and descriptor > sys.stderr.fileno() and descriptor != keep:
                os.close(descriptor)
    # Nobody who waits for the end of the original's output is to wait for ours.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


copies = Copies()
