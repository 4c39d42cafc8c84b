"""The agent's socket: takes hints and answers with integers.

Each caller has a thread of its own while it waits, at most 64 of them; the reconciling thread never waits for
one. Only root, the agent's own user and members of the socket's group can connect: the directory and the
socket's mode see to it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from nexushub.kernel.remote import MAX_WAIT_MS, REQUEST, VERSION, Code, Reply, Verb

log = logging.getLogger(__name__)

Handler = Callable[[Verb, int, int], Reply]
_CALLERS = 64


class HintServer:
    """Serves ``handler`` on a unix socket until closed. A second agent on the same socket is refused at start."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._handler = handler
        self._path = path
        self._free = threading.BoundedSemaphore(_CALLERS)
        self._socket = _listen(path)
        self._thread = threading.Thread(target=self._accept, name="hints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._socket.accept()
            except OSError:
                return  # closed
            if not self._free.acquire(blocking=False):
                conn.close()
                continue
            threading.Thread(target=self._serve, args=(conn,), name="hint", daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        try:
            with conn:
                conn.settimeout(MAX_WAIT_MS / 1000 + 5)
                conn.send(self._answer(conn.recv(REQUEST.size + 1)).pack())
        except OSError as error:
            log.debug("a caller left: %s", error)
        finally:
            self._free.release()

    def _answer(self, data: bytes) -> Reply:
        if len(data) != REQUEST.size:
            return Reply(Code.REFUSED)
        version, verb, a, b = REQUEST.unpack(data)
        if version != VERSION or verb not in Verb.__members__.values() or a < 0 or not 0 <= b <= MAX_WAIT_MS:
            return Reply(Code.REFUSED)
        return self._handler(Verb(verb), a, b)


def _listen(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(FileNotFoundError):
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()  # left behind by an agent that was killed
        else:
            raise OSError(f"another agent answers on {path}")
        finally:
            probe.close()
    before = os.umask(0o117)
    try:
        server.bind(str(path))
    finally:
        os.umask(before)
    server.listen(_CALLERS)
    return server
