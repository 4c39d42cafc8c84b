"""Waitress with what it lacks: a deadline for a request to arrive, a limit for each source, and who is at the other
end of the unix socket.

Waitress gives a connection another two minutes for every byte, so a hundred clients that send one byte now and
then lock everybody else out. Here a request that has begun must have arrived ten seconds later.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

from waitress.adjustments import Adjustments  # type: ignore[import-untyped]  # waitress has no types
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]  # waitress has no types
from waitress.server import TcpWSGIServer, UnixWSGIServer  # type: ignore[import-untyped]  # waitress has no types
from waitress.task import ThreadedTaskDispatcher, WSGITask  # type: ignore[import-untyped]  # waitress has no types

from nexushub.errors import Configuration
from web.identity import PEER_UID
from web.strict import BODY_LIMIT, HEADER_LIMIT

DEADLINE_S = 10
PER_SOURCE = 64
TCP_CONNECTIONS = 1024
UNIX_CONNECTIONS = 2048
"""More than over TCP: both count in one map, and a full network must not lock out the command line."""
THREADS = 16
SOCKET_MODE = 0o660
_UCRED = struct.Struct("iII")


class DeadlineChannel(HTTPChannel):  # type: ignore[misc]  # its base is untyped
    """Reading a part of a request is no activity; only beginning one, and finishing one, is."""

    last_activity: float

    def handle_read(self) -> None:
        unfinished, since = self.request is not None, self.last_activity
        super().handle_read()
        if unfinished and self.request is not None:
            self.last_activity = since


class PeerTask(WSGITask):  # type: ignore[misc]  # its base is untyped
    """Hands the application the user id of the channel's peer, under a key that no header can set."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[PEER_UID] = self.channel.peer_uid
        return environ


class PeerChannel(DeadlineChannel):
    """A connection over the unix socket. The kernel says who opened it (SO_PEERCRED, unix(7))."""

    task_class = PeerTask

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:
        _, self.peer_uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        super().__init__(server, sock, addr, adj, map=map)


class TcpServer(TcpWSGIServer):  # type: ignore[misc]  # its base is untyped
    """The network's side, with a limit for each address. This machine's own addresses have none: a
    proxy or a forwarded port speaks for many."""

    channel_class = DeadlineChannel

    def handle_accept(self) -> None:
        before = set(self.active_channels)
        super().handle_accept()
        for number in set(self.active_channels) - before:
            channel = self.active_channels[number]
            source = channel.addr[0]
            if source not in _LOOPBACK and self._connections(source) > PER_SOURCE:
                channel.handle_close()

    def _connections(self, source: str) -> int:
        return sum(1 for channel in self.active_channels.values() if channel.addr[0] == source)


class UnixServer(UnixWSGIServer):  # type: ignore[misc]  # its base is untyped
    channel_class = PeerChannel

    def getsockname(self) -> tuple[str, str]:
        return "unix", str(self.socket.getsockname())


# The proxy of this machine, a forwarded port: many people come from here.
_LOOPBACK = ("127.0.0.1", "::1")


def adjustments(connections: int) -> Adjustments:
    """The limits of every connection."""
    return Adjustments(
        threads=THREADS,
        ident=None,
        channel_timeout=DEADLINE_S,
        cleanup_interval=2,
        connection_limit=connections,
        max_request_body_size=BODY_LIMIT,
        max_request_header_size=HEADER_LIMIT,
        asyncore_use_poll=True,
        asyncore_loop_timeout=1,
        clear_untrusted_proxy_headers=False,
        expose_tracebacks=False,
        log_socket_errors=False,
    )


def listen_tcp(address: tuple[str, int]) -> socket.socket:
    """A listening socket, or ``Configuration`` with the system's words."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise Configuration(
            "listen",
            f"{address[0]} port {address[1]}: {error.strerror}",
            hint="Set NEXUSHUB_LISTEN to another ADDRESS:PORT.",
        ) from error
    return sock


def listen_unix(path: Path) -> socket.socket:
    """A socket that its owner and group may open. One left by a server that is gone is replaced; a live one is not."""
    _clear(path)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~SOCKET_MODE)  # the mode holds from the first moment, not after a chmod
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise Configuration("run_dir", f"{path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return sock


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Configuration("run_dir", f"{path} exists and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise Configuration(
        "run_dir", f"a server listens on {path} already", hint="Stop it first, or set another NEXUSHUB_RUN_DIR."
    )


def make_servers(
    application: Any, tcp: socket.socket, unix: socket.socket
) -> tuple[list[Any], dict[int, Any], ThreadedTaskDispatcher]:
    """Both servers in one poll loop with one pool of threads. Waitress itself does not mix the two families."""
    channels: dict[int, Any] = {}
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(THREADS)
    servers = []
    for kind, sock, limit in ((TcpServer, tcp, TCP_CONNECTIONS), (UnixServer, unix, UNIX_CONNECTIONS)):
        info = (sock.family, sock.type, sock.proto, sock.getsockname())
        servers.append(
            kind(
                application,
                channels,
                True,
                sock,
                dispatcher=dispatcher,
                adj=adjustments(limit),
                sockinfo=info,
                bind_socket=False,
            )
        )
    return servers, channels, dispatcher
