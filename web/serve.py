"""``nexushub serve``: the API over TCP and over the unix socket, until SIGTERM or SIGINT.

Needs no capability. It holds the encryption keys, so nobody may read its memory or dump it, root apart.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any

from waitress import wasyncore  # type: ignore[import-untyped]  # waitress has no types

from nexushub import boot, postgres
from nexushub.config import Settings
from web.app import create_app
from web.channel import DEADLINE_S, listen_tcp, listen_unix, make_servers

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4
_TICK_S = 0.5


def run(settings: Settings) -> int:
    """Serve until told to stop. Raises ``Configuration`` and ``Unavailable`` from the start-up."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    _undumpable()
    stopping = _Stopping()
    started = boot.prepare(settings)
    hub = boot.open_hub(started)
    tcp = listen_tcp(settings.listen)
    unix = listen_unix(settings.api_socket)
    try:
        application = create_app(hub)
        servers, channels, dispatcher = make_servers(application, tcp, unix)
        stopping.trigger = servers[0].pull_trigger
        host, port = tcp.getsockname()[:2]
        log.info("serving http://%s:%s and %s", f"[{host}]" if ":" in host else host, port, settings.api_socket)
        notify(f"READY=1\nSTATUS=Serving on {host}:{port}")
        _loop(channels, stopping)
        notify("STOPPING=1")
        _drain(servers, channels)
        dispatcher.shutdown(cancel_pending=True, timeout=5)
        wasyncore.close_all(channels, ignore_all=True)
    finally:
        settings.api_socket.unlink(missing_ok=True)
        hub.close()
        if started.cluster is not None:
            postgres.stop(started.cluster)
    return 0


class _Stopping:
    """Whether a signal has asked to stop. The handler only sets it and wakes the loop."""

    def __init__(self) -> None:
        self.asked = False
        self.trigger: Any = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked or self.trigger is None:
            raise SystemExit(128 + number)  # while starting, or asked a second time
        self.asked = True
        self.trigger()


def _loop(channels: dict[int, Any], stopping: _Stopping) -> None:
    interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    due = 0.0
    while not stopping.asked:
        wasyncore.loop(timeout=_TICK_S, use_poll=True, map=channels, count=1)
        if interval and time.monotonic() >= due:
            notify("WATCHDOG=1")
            due = time.monotonic() + interval


def _drain(servers: list[Any], channels: dict[int, Any]) -> None:
    """Accept nobody more, and let the requests that have arrived be answered, for ten seconds at most."""
    for server in servers:
        server.accepting = False
        server.del_channel(channels)
        server.socket.close()
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        open_channels = [channel for server in servers for channel in list(server.active_channels.values())]
        busy = [channel for channel in open_channels if channel.requests or channel.total_outbufs_len]
        for channel in open_channels:
            if channel not in busy:
                channel.will_close = True
        if not open_channels:
            return
        wasyncore.loop(timeout=0.05, use_poll=True, map=channels, count=1)


def _undumpable() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); nothing when it did not start this process."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(message.encode())
