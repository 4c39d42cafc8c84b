"""What the agent holds in memory between two looks at the kernel and the database."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from nexushub.agent.desired import Delta, Desired, WantedInterface, WantedPeer
from nexushub.kernel.values import Key, PeerState


@dataclass
class Shared:
    """What the hint threads and the reconciling thread share, under one condition."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    wanted: int = 0
    """The newest revision that anybody hinted at."""
    applied: int = 0
    failures: int = 0
    operations: int = 0
    database: bool | None = None
    """Whether the database answered last time; None before the first try."""
    misses: int = 0
    """How often the database was tried in vain."""
    retry: bool = False
    """A hint came while the database was away: somebody reaches it, so it is worth another try at once."""
    sample_asked: int = 0
    sample_done: int = 0
    peers_sampled: int = 0
    rows_written: int = 0
    links: int = 0
    asked_full: bool = False
    """Somebody asked for a look at everything, whatever the revision."""
    stopping: bool = False

    def take_full(self) -> bool:
        """Whether somebody asked for a look at everything. Clears the mark."""
        asked, self.asked_full = self.asked_full, False
        return asked


@dataclass
class Memory:
    """The reconciling thread's own: nobody else reads or writes it."""

    desired: Desired | None = None
    seen: dict[UUID, dict[Key, PeerState]] = field(default_factory=dict)
    """Each link's peers as last read back; what a small change is planned against."""
    settled: dict[UUID, int] = field(default_factory=dict)
    """The revision at which each object was last applied."""
    failed: dict[UUID, str] = field(default_factory=dict)
    """Objects that failed, with the kernel's words."""
    revoked: set[Key] = field(default_factory=set)
    """Keys that were wanted and are no more: no strangers if they are still on a device."""


@dataclass(slots=True)
class Touched:
    """What a delta means for one link: peers whose device state may have to change, by key."""

    peers: list[WantedPeer] = field(default_factory=list)
    """Rows that exist."""
    keys: set[Key] = field(default_factory=set)
    """Their keys, old and new, and those of deleted rows."""
    gone: list[UUID] = field(default_factory=list)
    redial: set[Key] = field(default_factory=set)
    routed: bool = False
    """Whether a network behind some peer came or went, so that routes may have to change."""
    revoking: bool = False
    """Whether somebody loses something: the snapshot must know before this counts as applied."""


def merge(desired: Desired, delta: Delta) -> dict[UUID, Touched]:
    """Put a delta of peers into the desired state. Returns what it touches, by link."""
    touched: dict[UUID, Touched] = {}
    for peer_id, interface_id in delta.peer_ids.items():
        link = desired.interfaces.get(interface_id)
        if link is None:
            continue  # the interface went, and its peers with it
        mark = touched.setdefault(interface_id, Touched())
        before = link.peers.pop(peer_id, None)
        found = delta.peers.get(peer_id)
        if before is not None:
            mark.keys.add(before.spec.public_key)
            mark.routed |= bool(before.networks)
            after = found[1] if found else None
            mark.revoking |= (
                after is None or not after.enabled or after.spec != before.spec or after.expires_at != before.expires_at
            )
        if found is None:
            mark.gone.append(peer_id)
            continue
        link.peers[peer_id] = found[1]
        mark.peers.append(found[1])
        mark.routed |= bool(found[1].networks)
        mark.keys.add(found[1].spec.public_key)
        if before is not None and found[1].spec.endpoint not in (None, before.spec.endpoint):
            mark.redial.add(found[1].spec.public_key)
    desired.revision = delta.revision
    return touched


def keys_of(interfaces: Iterable[WantedInterface]) -> set[Key]:
    """The public keys of every peer of these interfaces."""
    return {p.spec.public_key for w in interfaces for p in w.peers.values()}
