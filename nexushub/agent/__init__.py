"""The agent: the one process with capabilities. It makes the kernel agree with the database.

Killed, stopped or upgraded it drops no packet: links and peers stay, and the next start adopts them.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from nexushub import boot, db, secrets
from nexushub.agent import report, snapshot
from nexushub.agent.hints import HintServer
from nexushub.agent.reconciler import Reconciler
from nexushub.agent.sampler import Sampler
from nexushub.agent.state import Shared
from nexushub.config import Settings
from nexushub.errors import KernelError, Unavailable
from nexushub.kernel.local import LocalKernel, open_kernel
from nexushub.kernel.remote import Code, Reply, Verb
from nexushub.kernel.watch import Watch

log = logging.getLogger(__name__)

FULL_EVERY = 30.0
HEARTBEAT_EVERY = 5.0
_LINK_EVENT_PAUSE = 1.0
_IDLE_PAUSE = 1.0


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Exit code 0; errors that forbid a start are raised."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    keyring, connect = _database(settings)
    settings.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    kernel = open_kernel()
    shared = Shared()
    reconciler = Reconciler(kernel, keyring, snapshot.path_of(settings.state_dir), settings.node, connect, shared)
    server = HintServer(settings.agent_socket, lambda verb, a, b: answer(shared, verb, a, b))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=_stop, args=[shared]).start())
    try:
        _loop(reconciler, kernel, shared)
    finally:
        server.close()
        reconciler.save_if_needed()
        _silence(reconciler)
        kernel.close()
    return 0


def _database(settings: Settings) -> tuple[secrets.Keyring, Callable[[], psycopg.Connection[Any]]]:
    """The keyring, and a way to a connection. A database that is away now is tried again for as long as it takes."""
    try:
        started = boot.prepare(settings, migrate=settings.embedded_database, wait=3)
    except Unavailable as error:
        log.warning("%s", error)
        keyring = secrets.load_keyring(settings)

        def later() -> psycopg.Connection[Any]:
            return _agent_connection(boot.prepare(settings, migrate=False, wait=0).dsn("nexushub_agent"))

        return keyring, later
    return started.keyring, lambda: _agent_connection(started.dsn("nexushub_agent"))


def _agent_connection(dsn: str) -> psycopg.Connection[Any]:
    connection = db.connect(dsn, "nexushub_agent", autocommit=True)
    # What the agent writes can be read from the kernel again, so it need not wait for the disk.
    connection.execute("SET synchronous_commit TO off")
    return connection


def _stop(shared: Shared) -> None:
    with shared.changed:
        shared.stopping = True
        shared.changed.notify_all()


def answer(shared: Shared, verb: Verb, a: int, b: int) -> Reply:
    """What a hint gets back. Runs in the caller's thread; waits, but never longer than asked."""
    began = time.monotonic()
    with shared.changed:
        if verb is Verb.STATUS:
            return Reply(
                Code.OK, shared.applied, max(shared.wanted, shared.applied), shared.links, int(shared.database is False)
            )
        if verb is Verb.STATS:
            shared.sample_asked += 1
            goal = shared.sample_asked
            shared.changed.notify_all()
            done = shared.changed.wait_for(lambda: shared.sample_done >= goal or shared.stopping, a / 1000)
            return Reply(Code.OK if done else Code.PENDING, shared.peers_sampled, _micros(began), shared.rows_written)
        shared.wanted = max(shared.wanted, a)
        shared.asked_full |= a == 0
        shared.retry = shared.database is False
        misses = shared.misses
        shared.changed.notify_all()
        shared.changed.wait_for(
            lambda: (a and shared.applied >= a) or shared.stopping or shared.misses > misses, b / 1000
        )
        if shared.applied >= a:
            return Reply(Code.OK, shared.applied, shared.failures, shared.operations, _micros(began))
        return Reply(
            Code.DATABASE if shared.database is False else Code.PENDING,
            shared.applied,
            shared.failures,
            0,
            _micros(began),
        )


def _micros(began: float) -> int:
    return int((time.monotonic() - began) * 1e6)


def _loop(reconciler: Reconciler, kernel: LocalKernel, shared: Shared) -> None:
    sampler, watch = Sampler(kernel), _LinkWatch(shared)
    next_full = next_beat = next_sample = next_expiry = 0.0
    trouble = 0
    _ready()
    while not shared.stopping:
        now = time.monotonic()
        try:
            if now >= next_full or watch.take() or shared.take_full():
                reconciler.full()
                trouble = trouble + 1 if reconciler.memory.failed else 0
                next_full = time.monotonic() + _pause(trouble, bool(shared.database))
                next_expiry = 0.0
            elif reconciler.memory.desired is None or shared.wanted > reconciler.memory.desired.revision:
                reconciler.follow()
                next_expiry = 0.0
            if now >= next_beat or shared.retry:
                was_away = shared.database is False
                reconciler.heartbeat()
                next_full = 0.0 if was_away and shared.database else next_full
                next_beat = now + (HEARTBEAT_EVERY if shared.database else 1.0)
            if time.time() >= next_expiry:
                next_expiry = reconciler.expire(time.time())
            if now >= next_sample or shared.sample_asked > shared.sample_done:
                next_sample, next_full = _sample(reconciler, sampler, shared, next_full)
                reconciler.save_if_needed()
        except KernelError as error:
            log.error("%s", error)
            next_full = now + 2.0
        shared.links = len(reconciler.memory.seen)
        _watchdog()
        _wait(shared, reconciler, watch, min(next_full, next_beat, next_sample), next_expiry)
    watch.close()


def _pause(trouble: int, database: bool) -> float:
    """Seconds to the next look at everything: soon after a failure, then ever less often, as most do not heal."""
    if trouble:
        return min(FULL_EVERY, float(1 << min(trouble, 6)))
    return FULL_EVERY if database else 3.0


def _sample(reconciler: Reconciler, sampler: Sampler, shared: Shared, next_full: float) -> tuple[float, float]:
    pause, strange = _IDLE_PAUSE, False
    asked = shared.sample_asked
    if reconciler.memory.desired is not None:
        try:
            pause, strange = sampler.take(reconciler.memory.desired, reconciler.db, reconciler.node)
        except psycopg.Error as error:
            reconciler.lost(error)
    with shared.changed:
        shared.sample_done, shared.peers_sampled, shared.rows_written = asked, sampler.peers, sampler.rows
        shared.changed.notify_all()
    settled = not reconciler.memory.failed
    return time.monotonic() + pause, 0.0 if strange and settled else next_full


def _wait(shared: Shared, reconciler: Reconciler, watch: _LinkWatch, due: float, expiry: float) -> None:
    """Sleep until something is due, a hint comes, or a link changes."""

    def woken() -> bool:
        known = reconciler.memory.desired.revision if reconciler.memory.desired else 0
        hint = shared.wanted > known and shared.database
        return (
            hint
            or shared.retry
            or shared.stopping
            or shared.asked_full
            or watch.pending()
            or shared.sample_asked > shared.sample_done
        )

    seconds = min(due - time.monotonic(), expiry - time.time())
    if seconds > 0:
        with shared.changed:
            shared.changed.wait_for(woken, seconds)


class _LinkWatch:
    """Turns netlink's word into a wake-up, at most one a second: other people's links change too."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._watch = shared, Watch()
        self._seen, self._closed, self._last = False, False, 0.0
        threading.Thread(target=self._run, name="links", daemon=True).start()

    def _run(self) -> None:
        while not self._closed:
            if self._watch.wait(1.0):
                with self._shared.changed:
                    self._seen = True
                    self._shared.changed.notify_all()

    def pending(self) -> bool:
        return self._seen and time.monotonic() - self._last >= _LINK_EVENT_PAUSE

    def take(self) -> bool:
        """Whether to look, now. Clears the mark."""
        if not self.pending():
            return False
        self._seen, self._last = False, time.monotonic()
        return True

    def close(self) -> None:
        self._closed = True


def _silence(reconciler: Reconciler) -> None:
    if reconciler.db is None or reconciler.node is None:
        return
    try:
        report.silence(reconciler.db, reconciler.node)
    except psycopg.Error as error:
        log.info("the database left first: %s", error)
    finally:
        reconciler.db.close()


def _ready() -> None:
    _notify(b"READY=1")


def _watchdog() -> None:
    _notify(b"WATCHDOG=1")


def _notify(message: bytes) -> None:
    """sd_notify(3): tell systemd, where it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as conn:
        conn.sendto(message, address.replace("@", "\0", 1) if address.startswith("@") else address)
