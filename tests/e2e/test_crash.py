"""The agent killed before and after every call that changes something outside it; the next start must converge.

A child process runs one look at everything and is killed at its K-th socket, process or database call, K = 1, 2, 3 …
until one gets through. Another child then does what the next agent would: it must reach the desired state, and a
second look must send nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID

import psycopg
import pytest

from nexushub import db
from nexushub.agent import snapshot
from nexushub.agent.reconciler import Reconciler
from nexushub.config import Settings
from nexushub.kernel.local import LocalKernel
from nexushub.kernel.port import Operation
from nexushub.reconcile import differences
from nexushub.services import interfaces, peers
from nexushub.services.peerfields import NewPeer
from nexushub.views import Actor
from nexushub.work import Hub
from tests.fix_db import Database
from tests.fix_kernel import Namespace

_CALLS = (
    (socket.socket, "send"), (socket.socket, "sendall"), (socket.socket, "sendto"), (socket.socket, "sendmsg"),
    (subprocess.Popen, "__init__"), (psycopg.Connection, "execute"), (psycopg.Connection, "transaction"), (os, "fsync"),
)  # fmt: skip


def in_child(work: Callable[[], None]) -> int:
    """Run something in a child process; its exit status, 137 when it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def killed_at(point: int, *, after: bool) -> None:
    """Arrange that this process dies at its ``point``-th call of those in ``_CALLS``, before or after it is made."""
    count = 0

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            mine = count
            if mine == point and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if mine == point and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    for owner, name in _CALLS:
        setattr(owner, name, wrap(getattr(owner, name)))


def reconciler(settings: Settings, database: Database, hub: Hub) -> Reconciler:
    return Reconciler(
        LocalKernel("wireguard-go"), hub.keyring, snapshot.path_of(settings.state_dir), settings.node,
        lambda: db.connect(database.dsn("nexushub_agent"), "nexushub_agent", autocommit=True),
    )  # fmt: skip


class Crash:
    """The parts of one crash test, in the namespace that the test is in."""

    def __init__(self, hub: Hub, settings: Settings, database: Database, root: Actor, link: str) -> None:
        self.hub, self.settings, self.database, self.root, self.link = hub, settings, database, root, link

    def look(self) -> Reconciler:
        found = reconciler(self.settings, self.database, self.hub)
        found.full()
        return found

    def once(self) -> None:
        """One look at everything by an agent that then ends."""
        self.look()

    def die(self, point: int, *, after: bool) -> int:
        def work() -> None:
            killed_at(point, after=after)
            self.look()

        return in_child(work)

    def converges(self) -> None:
        """What the next agent does: it reaches the desired state, and then a look sends nothing.

        A wireguard-go whose parent was killed may still be starting; the agent looks again when a look failed,
        and so does this.
        """
        first = self.look()
        for _ in range(20):
            if not first.memory.failed:
                break
            time.sleep(0.1)
            first.full()
        assert first.memory.failed == {}, first.memory.failed
        with closing(first.kernel) as kernel:
            assert first.memory.desired is not None
            for wanted in first.memory.desired.interfaces.values():
                assert differences(wanted.at(0), kernel.observe(wanted.spec.name)) == []
            sent: list[object] = []
            apply = kernel.apply

            def counted(operations: Sequence[Operation]) -> None:
                sent.extend(operations)
                apply(operations)

            kernel.apply = counted  # type: ignore[method-assign]  # counts what a second look sends
            first.full()
            assert sent == []
        assert first.db is not None
        first.db.close()
        with psycopg.connect(self.database.dsn("nexushub_owner")) as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM drift WHERE status = 'open'), count(*) FROM peers p"
                " LEFT JOIN applied a ON a.object_id = p.id WHERE a.revision IS DISTINCT FROM p.revision"
            ).fetchone()
        assert row == (0, 0), "open drift, and peers without the truth written"


@pytest.fixture
def crash(hub: Hub, settings: Settings, database: Database, root: Actor, namespace: Namespace) -> Crash:
    link = namespace.link_name()
    return Crash(hub, settings, database, root, link)


def build(crash: Crash) -> list[UUID]:
    with crash.hub.work(crash.root, wait_ms=0) as w:
        interfaces.create(
            w, name=crash.link, addresses=["10.8.0.1/24", "fd00:8::1/64"], listen_port=51000 + os.getpid() % 9000
        )
        made = peers.create_many(
            w, interface=crash.link,
            peers=[NewPeer(name=f"p{n}", psk=bool(n % 2), keepalive=25 * (n % 2), networks=(f"192.168.{n}.0/24",)) for n in range(4)],
        )  # fmt: skip
    return [m.peer.id for m in made]


def change(crash: Crash) -> None:
    """Every kind of change at once: a peer gone, one off, one re-keyed, one with another network, port and MTU."""
    with crash.hub.work(crash.root, wait_ms=0) as w:
        peers.delete(w, ["p0"])
        peers.set_enabled(w, ["p1"], False)
        peers.rotate_key(w, "p2")
        peers.edit(w, "p3", networks=["192.168.0.0/24"], keepalive=0)
        peers.rotate_psk(w, "p3", remove=True)
        peers.create(w, interface=crash.link, name="p4", networks=["192.168.3.0/24"])
        interfaces.edit(w, crash.link, mtu=1380, addresses=["10.8.0.1/24", "fd00:8::1/64", "10.9.0.1/24"])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_call_while_a_link_is_born(crash: Crash, namespace: Namespace, after: bool) -> None:
    build(crash)
    point, step = 0, 1
    while True:
        point += step
        status = crash.die(point, after=after)
        crash.converges()
        if status == 0:
            break
        assert status == -signal.SIGKILL, f"call {point}: exit status {status}"
        with crash.hub.work(crash.root, wait_ms=0) as w:
            interfaces.set_enabled(w, crash.link, False)
        assert in_child(crash.once) == 0
        with crash.hub.work(crash.root, wait_ms=0) as w:
            interfaces.set_enabled(w, crash.link, True)
    print(f"killed {'after' if after else 'before'} each of {point - 1} calls of a birth: {point - 1} converged")
    assert point > 30


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_call_of_a_change(crash: Crash, after: bool) -> None:
    build(crash)
    assert in_child(crash.once) == 0
    change(crash)
    point = 0
    while True:
        point += 1
        status = crash.die(point, after=after)
        if status == 0:
            break
        assert status == -signal.SIGKILL, f"call {point}: exit status {status}"
        crash.converges()
        with crash.hub.work(crash.root, wait_ms=0) as w:
            for name in ("p2", "p3", "p4"):
                flip = peers.get(w, name).keepalive
                peers.edit(w, name, keepalive=5 if flip != 5 else 9)
            peers.set_enabled(w, ["p1"], not peers.get(w, "p1").enabled)
            interfaces.edit(w, crash.link, mtu=1380 if point % 2 else 1400)
    crash.converges()
    print(f"killed {'after' if after else 'before'} each of {point - 1} calls of a change: {point - 1} converged")
    assert point > 20
