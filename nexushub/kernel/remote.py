"""The agent's socket: five verbs made of integers, and the client that the service layer holds.

A message is one SEQPACKET record of fixed size, so there is nothing to parse that could go wrong in the
privileged process: no path, no name, no command crosses it. The agent takes hints, not orders; what to do it
reads from PostgreSQL.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from nexushub.errors import Unavailable

REQUEST = struct.Struct("<IIqq")
"""Protocol version, verb, two arguments."""
REPLY = struct.Struct("<IIqqqq")
"""Protocol version, code, four results."""
VERSION = 1
MAX_WAIT_MS = 60_000


class Verb(IntEnum):
    """What can be asked."""

    RECONCILE = 1
    """Arguments: revision, milliseconds to wait. Results: applied revision, objects failed, operations sent, microseconds."""
    STATUS = 2
    """Results: applied revision, desired revision known, links owned, 1 if it runs from the snapshot."""
    STATS = 3
    """Take a fresh sample of every device. Argument: milliseconds to wait. Results: peers sampled, microseconds, rows written, 0."""


class Code(IntEnum):
    """How the agent answers."""

    OK = 0
    PENDING = 1
    """The revision is not applied yet; it will be."""
    REFUSED = 2
    """Unknown version, verb or argument."""
    DATABASE = 3
    """The agent can't reach the database, so it does not know what is wanted."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the code, and four integers that mean what the verb says."""

    code: Code
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0

    def pack(self) -> bytes:
        """The record that goes over the socket."""
        return REPLY.pack(VERSION, self.code, self.a, self.b, self.c, self.d)


class AgentClient:
    """Asks the agent. Holds no connection: the agent may be restarted between any two calls."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def reconcile(self, revision: int, wait_ms: int) -> Reply:
        """Hint that a revision was committed and wait for it at most so long. ``Unavailable``: no agent runs."""
        return self._ask(Verb.RECONCILE, revision, wait_ms, timeout=wait_ms / 1000 + 2)

    def status(self) -> Reply:
        """How far the agent is."""
        return self._ask(Verb.STATUS, 0, 0, timeout=2)

    def stats(self, wait_ms: int = 1000) -> Reply:
        """Have the agent take a fresh sample of every device, and wait for it."""
        return self._ask(Verb.STATS, wait_ms, 0, timeout=wait_ms / 1000 + 2)

    def _ask(self, verb: Verb, a: int, b: int, *, timeout: float) -> Reply:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as conn:
            conn.settimeout(timeout)
            try:
                conn.connect(str(self.path))
                conn.send(REQUEST.pack(VERSION, verb, a, b))
                data = conn.recv(REPLY.size)
            except (FileNotFoundError, ConnectionError) as error:
                raise Unavailable(
                    "the agent",
                    "is not running",
                    hint="systemctl start nexushub-agent, or open the TUI, which brings its own.",
                ) from error
            except TimeoutError as error:
                raise Unavailable("the agent", "does not answer in time") from error
            except PermissionError as error:
                raise Unavailable("the agent", f"refuses this user: {self.path} is not readable") from error
        if len(data) != REPLY.size:
            raise Unavailable("the agent", "closed the connection", hint="Its log says why.")
        version, code, *values = REPLY.unpack(data)
        if version != VERSION:
            raise Unavailable(
                "the agent",
                f"speaks protocol {version}, this program {VERSION}",
                hint="Restart the agent after an upgrade.",
            )
        return Reply(Code(code), *values)
