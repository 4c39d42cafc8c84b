"""The reconciling thread's work: follow changes, look at everything, hold what is true.

With the database away it goes on from memory or snapshot: peers that were revoked stay revoked, and expiry is
enforced by this process's own clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from nexushub.agent import desired as rows
from nexushub.agent import report, snapshot
from nexushub.agent.apply import Outcome, apply_link, apply_peers
from nexushub.agent.desired import Desired, WantedInterface, WantedPeer
from nexushub.agent.drift import Verdict, judge
from nexushub.agent.report import Result
from nexushub.agent.state import Memory, Shared, Touched, keys_of, merge
from nexushub.errors import KernelError, NexusError
from nexushub.kernel import nat
from nexushub.kernel.local import LocalKernel
from nexushub.kernel.port import DeleteLink
from nexushub.kernel.values import Key
from nexushub.secrets import Keyring

log = logging.getLogger(__name__)


@dataclass
class Reconciler:
    """One hub's state and how to bring it about. ``connect`` opens a database connection or raises, at any time."""

    kernel: LocalKernel
    keyring: Keyring
    snapshot_file: Path
    node_name: str
    connect: Callable[[], psycopg.Connection[Any]]
    shared: Shared = field(default_factory=Shared)
    memory: Memory = field(default_factory=Memory)
    node: UUID | None = None
    note: str = ""
    db: psycopg.Connection[Any] | None = None
    _leave: dict[UUID, set[tuple[Key | None, str]]] = field(default_factory=dict)
    _unsaved: bool = False

    # -- the database, which may be away

    def database(self) -> psycopg.Connection[Any] | None:
        """The connection, opened again if it was lost; None while the database is away."""
        if self.db is not None and not self.db.closed and not self.db.broken:
            return self.db
        try:
            self.db = self.connect()
            row = self.db.execute("SELECT id FROM nodes WHERE name = %s", [self.node_name]).fetchone()
            if row is None:
                raise NexusError(f"the database has no hub named {self.node_name} yet")
        except (psycopg.Error, NexusError) as error:
            self.lost(error)
            return None
        self.node, self.note = row[0], ""
        log.info("the database answers")
        self._say_database(True)
        return self.db

    def lost(self, error: BaseException) -> None:
        """Note that the database is away; what is known stays in force."""
        if not self.note:
            words = str(error).strip().splitlines() or [type(error).__name__]
            log.warning("the database is away: %s", words[-1])
            self.note = f"the database is away since {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}"
        if self.db is not None:
            self.db.close()
            self.db = None
        self._say_database(False)

    def _say_database(self, answers: bool) -> None:
        with self.shared.changed:
            self.shared.database, self.shared.retry = answers, False
            self.shared.misses += not answers
            self.shared.changed.notify_all()

    # -- everything

    def full(self) -> None:
        """Look at everything: rows, links, drift. With the database away, at what is known of it."""
        held: dict[UUID, list[report.Held]] = {}
        db = self.database()
        if db is not None:
            try:
                self._take(rows.read(db, self._node(), self.keyring))
                self.memory.settled = report.applied(db, self._node())
                for item in report.held(db, self._node()):
                    held.setdefault(item.interface_id, []).append(item)
            except psycopg.Error as error:
                self.lost(error)
        if self.memory.desired is None:
            self._boot_from_snapshot()
        if self.memory.desired is None:
            return
        self._remove_leftovers(self.memory.desired)
        outcomes = {w.id: self._whole_link(w, held.get(w.id, [])) for w in self.memory.desired.interfaces.values()}
        self._nat(self.memory.desired, outcomes)
        done = [
            r
            for w in self.memory.desired.interfaces.values()
            for r in self._results(w, outcomes[w.id], w.peers.values())
        ]
        present = {w.id for w in self.memory.desired.interfaces.values()} | {
            p for w in self.memory.desired.interfaces.values() for p in w.peers
        }
        self._finish(outcomes, done, [i for i in self.memory.settled if i not in present], prune=True)
        self.memory.revoked.clear()

    def _take(self, fresh: Desired) -> None:
        before = self.memory.desired or self._saved()
        if before is not None:
            self.memory.revoked |= keys_of(before.interfaces.values()) - keys_of(fresh.interfaces.values())
            self._unsaved |= before.revision != fresh.revision
        else:
            self._unsaved = True
        self.memory.desired = fresh

    def _saved(self) -> Desired | None:
        try:
            found = snapshot.load(self.snapshot_file, self.keyring)
        except NexusError as error:
            log.error("%s", error)
            return None
        return found[1] if found and (self.node is None or found[0] == self.node) else None

    def _boot_from_snapshot(self) -> None:
        self.memory.desired = self._saved()
        if self.memory.desired is not None:
            log.warning("starting from the snapshot at revision %d", self.memory.desired.revision)

    def _whole_link(self, wanted: WantedInterface, held: list[report.Held]) -> Outcome:
        now = time.time()
        spec = wanted.at(now)
        try:
            observed = self.kernel.observe(spec.name)
            # A link without our alias: half-born by an agent that was killed, or foreign. CreateLink tells them apart.
            if self.db is not None and not (observed is not None and observed.owner is None):
                idle = {p.spec.public_key for p in wanted.peers.values() if p.enabled and not p.active(now)}
                verdict = judge(
                    wanted,
                    spec,
                    observed,
                    settled=self.memory.settled,
                    held=held,
                    ours_before=self.memory.revoked | idle,
                )
                self._leave[wanted.id] = verdict.leave
                self._write_drift(wanted, verdict)
            out = apply_link(self.kernel, spec, observed, frozenset(self._leave.get(wanted.id, ())))
        except KernelError as error:
            log.warning("%s", error)
            out = Outcome(failure=error.message)
        if out.failure:
            self.memory.seen.pop(wanted.id, None)
        else:
            self.memory.seen[wanted.id] = dict(out.peers)
        return out

    def _nat(self, desired: Desired, outcomes: dict[UUID, Outcome]) -> None:
        """Forwarding and NAT follow the links. A refusal is the failure of each link that asked for it."""
        asking = [w for w in desired.interfaces.values() if w.spec.nat and w.spec.up]
        try:
            nat.sync({w.spec.name: w.networks for w in asking}, self.snapshot_file.parent / "forwarding.json")
        except KernelError as error:
            log.warning("%s", error)
            for wanted in asking:
                outcomes[wanted.id].failure = outcomes[wanted.id].failure or error.message

    def _remove_leftovers(self, desired: Desired) -> None:
        """Delete links of interfaces that were deleted or renamed; only of such as this hub once applied."""
        wanted = {w.id: w.spec.name for w in desired.interfaces.values()}
        for name, owner in self.kernel.owned().items():
            if wanted.get(owner) != name and (owner in wanted or owner in self.memory.settled):
                log.info("removing %s, whose interface is gone", name)
                self.kernel.apply([DeleteLink(name)])

    def _write_drift(self, wanted: WantedInterface, verdict: Verdict) -> None:
        db = self.db
        if db is None or not (verdict.fresh or verdict.changed or verdict.gone):
            return
        node, name = self._node(), wanted.spec.name
        with db.transaction():
            for item in verdict.gone:
                report.update_drift(db, item)
            for item, observed in verdict.changed:
                report.update_drift(db, item, observed=observed)
            for d, peer, at_once in verdict.fresh:
                log.warning(
                    "drift on %s: %s %s is %s, not %s", name, d.public_key or "", d.field, d.observed, d.desired
                )
                report.open_drift(
                    db, node, wanted.id, peer, d.public_key, d.field, d.desired, d.observed, repaired=at_once
                )
                action = "drift.repair" if at_once else "drift.found"
                key = str(d.public_key) if d.public_key else None
                report.audit(
                    db, action, wanted.id, name, field=d.field, peer=key, desired=d.desired, observed=d.observed
                )

    # -- what changed

    def follow(self) -> None:
        """Apply what changed since the last revision; everything, when that is much or unknown."""
        db, desired = self.database(), self.memory.desired
        if db is None:
            return
        if desired is None or self.node is None:
            self.full()
            return
        try:
            delta = rows.read_since(db, self.node, self.keyring, desired.revision)
        except psycopg.Error as error:
            self.lost(error)
            return
        if delta is None or delta.interface_ids:
            self.full()
        elif delta.revision == desired.revision:
            self._publish(0)
        else:
            self._peers_only(desired, merge(desired, delta))

    def expire(self, now: float) -> float:
        """Take peers whose time has come off their devices. Returns when the next one is due, in Unix seconds."""
        due, following = [], now + 3600
        for wanted in self.memory.desired.interfaces.values() if self.memory.desired else ():
            seen = self.memory.seen.get(wanted.id, {})
            for peer in wanted.peers.values():
                if peer.expires_at is None or not peer.enabled:
                    continue
                if peer.expires_at > now:
                    following = min(following, peer.expires_at)
                elif peer.spec.public_key in seen:
                    due.append((wanted, peer))
        for wanted, peer in due:
            self._expired(wanted, peer)
        return following

    def _expired(self, wanted: WantedInterface, peer: WantedPeer) -> None:
        assert self.memory.desired is not None, "it is where the peer was found"
        log.info("peer %s on %s has expired", peer.id, wanted.spec.name)
        mark = Touched(peers=[peer], keys={peer.spec.public_key}, routed=bool(peer.networks), revoking=True)
        self._peers_only(self.memory.desired, {wanted.id: mark})
        self._quietly(lambda db: report.audit(db, "peer.expire", wanted.id, wanted.spec.name, peer=peer.name))

    def _peers_only(self, desired: Desired, touched: dict[UUID, Touched]) -> None:
        outcomes: dict[UUID, Outcome] = {}
        done: list[Result] = []
        for interface_id, mark in touched.items():
            self.memory.revoked |= mark.keys - {p.spec.public_key for p in mark.peers}
            wanted = desired.interfaces[interface_id]
            seen = self.memory.seen.get(interface_id)
            out = Outcome()
            if wanted.spec.up:
                drifting = any(key in mark.keys for key, _ in self._leave.get(interface_id, ()))
                if seen is None or mark.routed or drifting or interface_id in self.memory.failed:
                    return self.full()  # routes, drift somebody decided on, or a link that failed: look at all of it
                out = apply_peers(self.kernel, wanted, mark, seen)
                if out.failure or out.peer_failures:
                    return self.full()
                for key in mark.keys:
                    seen.pop(key, None)
                seen.update(out.peers)
            outcomes[interface_id] = out
            done += self._results(wanted, out, mark.peers, link=False)
        if any(mark.revoking for mark in touched.values()):
            self.save()
        self._finish(outcomes, done, [peer for mark in touched.values() for peer in mark.gone])
        return None

    # -- what is true

    def _results(self, wanted: WantedInterface, out: Outcome, peers: Any, *, link: bool = True) -> list[Result]:
        """Outcomes that are news: of objects not settled at their revision, or failed now or before."""
        found = [Result("interface", wanted.id, wanted.revision, out.failure)] if link else []
        if not out.failure:
            peer: WantedPeer
            for peer in peers:
                found.append(Result("peer", peer.id, peer.revision, out.peer_failures.get(peer.spec.public_key, "")))
        settled, failed = self.memory.settled, self.memory.failed
        return [r for r in found if r.failure or r.object_id in failed or settled.get(r.object_id) != r.revision]

    def _finish(
        self, outcomes: dict[UUID, Outcome], done: list[Result], gone: list[UUID], *, prune: bool = False
    ) -> None:
        for result in done:
            if result.failure:
                self.memory.failed[result.object_id] = result.failure
                self.memory.settled.pop(result.object_id, None)
            else:
                self.memory.failed.pop(result.object_id, None)
                self.memory.settled[result.object_id] = result.revision
        for object_id in gone:
            self.memory.settled.pop(object_id, None)
            self.memory.failed.pop(object_id, None)
        if self._unsaved and prune:
            self.save()
        self._unsaved |= not prune
        self._quietly(lambda db: self._write_results(db, done, gone, prune))
        self._publish(sum(o.operations for o in outcomes.values()))

    def _write_results(self, db: psycopg.Connection[Any], done: list[Result], gone: list[UUID], prune: bool) -> None:
        assert self.memory.desired is not None, "there were results"
        node, revision = self._node(), self.memory.desired.revision
        with db.transaction():
            report.results(db, node, done)
            if gone:
                report.forget(db, node, gone)
            report.heartbeat(db, node, revision, self.kernel.kind, self.note)
            if prune:
                report.prune(db, node, revision)

    def heartbeat(self) -> None:
        """Say in the database that the agent lives; reach for the database if it was away."""
        db = self.database()
        if db is not None and self.node is not None:
            revision = self.memory.desired.revision if self.memory.desired else 0
            self._quietly(lambda db: report.heartbeat(db, self._node(), revision, self.kernel.kind, self.note))

    def save(self) -> None:
        """Write the snapshot, if the state changed since the last one."""
        if self.memory.desired is None or self.node is None:
            return
        try:
            snapshot.save(self.snapshot_file, self.node, self.memory.desired, self.keyring)
            self._unsaved = False
        except OSError as error:
            log.error("the snapshot can't be written: %s", error)
            self.note = f"the snapshot can't be written: {error.strerror}"

    def save_if_needed(self) -> None:
        if self._unsaved:
            self.save()

    def _quietly(self, write: Callable[[psycopg.Connection[Any]], None]) -> None:
        """Write to the database; when it is gone, note that and go on: the kernel is done already."""
        if self.db is None:
            return
        try:
            write(self.db)
        except psycopg.Error as error:
            self.lost(error)

    def _publish(self, operations: int) -> None:
        with self.shared.changed:
            if self.memory.desired is not None:
                self.shared.applied = self.memory.desired.revision
            self.shared.failures = len(self.memory.failed)
            self.shared.operations = operations
            self.shared.changed.notify_all()

    def _node(self) -> UUID:
        assert self.node is not None, "the database was reached"
        return self.node
