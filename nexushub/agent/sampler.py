"""One reading of each device for all viewers: handshakes, counters, endpoints, and strangers.

A reading of 10 000 peers costs about a tenth of a second, so the pause between two is at least ten times what
the last one took: never more than a tenth of a core.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from nexushub.agent import report
from nexushub.agent.desired import Desired
from nexushub.errors import KernelError
from nexushub.kernel.local import LocalKernel
from nexushub.kernel.values import Key, Sample

log = logging.getLogger(__name__)

EVERY = 1.0


@dataclass
class Sampler:
    """Remembers the last reading, so that only what changed is written."""

    kernel: LocalKernel
    last: dict[UUID, tuple[float, dict[Key, Sample]]] = field(default_factory=dict)
    moving: dict[UUID, set[Key]] = field(default_factory=dict)
    """Peers whose counters moved last time: their rate must be written once more when they stop."""
    peers: int = 0
    rows: int = 0

    def take(self, desired: Desired, db: psycopg.Connection[Any] | None, node: UUID | None) -> tuple[float, bool]:
        """Read every link. Returns when to read again (seconds) and whether something is there that must not be."""
        began, strange = time.monotonic(), False
        self.peers = self.rows = 0
        for wanted in desired.interfaces.values():
            if not wanted.spec.up:
                continue
            try:
                found = self.kernel.sample(wanted.spec.name)
            except KernelError as error:
                log.warning("%s", error)
                strange = True
                continue
            self.peers += len(found)
            by_key = {p.spec.public_key: p.id for p in wanted.peers.values()}
            now = time.time()
            expected = {p.spec.public_key for p in wanted.peers.values() if p.active(now)}
            strange |= found.keys() != expected
            if db is not None and node is not None:
                self._write(db, wanted.id, by_key, found)
        return max(EVERY, 10 * (time.monotonic() - began)), strange

    def _write(
        self, db: psycopg.Connection[Any], link: UUID, by_key: dict[Key, UUID], found: dict[Key, Sample]
    ) -> None:
        at = time.monotonic()
        before_at, before = self.last.get(link, (at, {}))
        moved = {key for key, sample in found.items() if before.get(key) != sample}
        due = [
            (by_key[key], found[key]) for key in moved | self.moving.get(link, set()) if key in by_key and key in found
        ]
        # The first reading after a start says nothing of rates: its delta may span hours.
        seconds = at - before_at if before_at < at else 1e9
        if due:
            report.samples(db, link, due, max(seconds, 0.1))
        self.rows += len(due)
        self.last[link] = (at, found)
        self.moving[link] = moved if before else set()
