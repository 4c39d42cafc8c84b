"""Hub, the composition root, and Work, the unit of work: one actor, one transaction, one clock.

A surface opens a ``Work`` for one user intent; services flush and never commit. Leaving it commits the change,
its audit rows and the new desired revision together, and only then tells the agent: a kernel call can't be
rolled back. What the agent answers becomes ``Work.truth``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

import psycopg
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from nexushub import db
from nexushub.config import Settings
from nexushub.errors import Conflict, NexusError, Unavailable
from nexushub.kernel.remote import AgentClient, Code
from nexushub.secrets import Keyring
from nexushub.views import Actor, Truth

log = logging.getLogger(__name__)

# The only way to write the log: the database's function looks the actor of a session up by itself.
_APPEND = text(
    "SELECT audit_append(:session, :actor, :source, :action, :kind, :target, :name, :result, CAST(:detail AS jsonb))"
)
_RAISE = text("UPDATE nodes SET desired_revision = desired_revision + 1 WHERE id = :node RETURNING desired_revision")
_REVISED = {
    "interface": text("UPDATE interfaces SET revision = :r WHERE id = ANY(:ids)"),
    "peer": text("UPDATE peers SET revision = :r WHERE id = ANY(:ids)"),
}
_CHANGED = text(
    "INSERT INTO changes (node_id, revision, kind, object_id, interface_id) SELECT :node, :r, *"
    " FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS uuid[]), CAST(:interfaces AS uuid[]))"
)

WAIT_MS = 3000
"""How long a change waits for the kernel before its answer says ``pending``."""

ObjectKind = Literal["interface", "peer"]


@dataclass(frozen=True)
class Hub:
    """Everything a process needs, built once. Tests replace the engine, the kernel client or the clock."""

    settings: Settings
    engine: Engine
    keyring: Keyring
    kernel: AgentClient | None
    node_id: UUID
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def work(self, actor: Actor, *, wait_ms: int = WAIT_MS) -> Work:
        return Work(self, actor, wait_ms)

    def reading(self, actor: Actor) -> Work:
        """A Work that can't change anything: the database itself refuses (READ ONLY, one snapshot)."""
        return Work(self, actor, 0, read_only=True)

    def close(self) -> None:
        self.engine.dispose()


class Work:
    """One user intent. Use as a context manager; see the module's docstring."""

    def __init__(self, hub: Hub, actor: Actor, wait_ms: int, *, read_only: bool = False) -> None:
        self.hub = hub
        self.actor = actor
        self.now = hub.clock()
        #: Whether the kernel agrees, known after the block: applied, pending or failed.
        self.truth = Truth()
        self._read_only = read_only
        self._wait_ms = wait_ms
        self._touched: dict[tuple[ObjectKind, UUID], UUID] = {}
        self._records: list[dict[str, Any]] = []
        self.db: Session

    @property
    def node_id(self) -> UUID:
        return self.hub.node_id

    @property
    def keyring(self) -> Keyring:
        return self.hub.keyring

    def touch(self, kind: ObjectKind, object_id: UUID, interface_id: UUID) -> None:
        """Remember that the kernel must follow a change of this object, or its removal."""
        self._touched[kind, object_id] = interface_id

    def audit(
        self, action: str, kind: str = "", target_id: UUID | None = None, name: str = "", *,
        result: Literal["success", "failure", "denied"] = "success", **detail: Any,
    ) -> None:  # fmt: skip
        """Append one row to the audit log, in this transaction. ``detail`` holds no secret.

        It is written when the block ends: the chain's end is one row that every writer locks, and a Work that
        held it while it waits for a peer's row could wait for a Work that has the peer and waits for the chain.
        """
        actor = self.actor
        self._records.append({
            "session": actor.session_id, "actor": actor.name, "source": f"{actor.source} {actor.address}".strip(),
            "action": action, "kind": kind, "target": target_id, "name": name, "result": result,
            "detail": json.dumps(detail, default=str),
        })  # fmt: skip

    def flush(self, field: str, value: object, existing: str) -> None:
        """Write what is pending. What a constraint refuses, since somebody was faster, becomes this ``Conflict``."""
        try:
            self.db.flush()
        except IntegrityError as error:
            raise Conflict(field, value, existing, hint="Repeat the command.") from error

    def __enter__(self) -> Self:
        self.db = Session(self.hub.engine, expire_on_commit=False)
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self._read_only else {}
        try:
            self.db.connection(execution_options=options)
        except BaseException as error:
            self.db.close()
            if isinstance(error, SQLAlchemyError):
                raise _away(error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self.db.rollback()
                return
            self.db.flush()
            for record in self._records:
                self.db.connection().execute(_APPEND, record)
            revision = self._bump() if self._touched else 0
            self.db.commit()
        finally:
            self.db.close()
        if revision:
            self.truth = self._reconcile(revision)

    def _bump(self) -> int:
        """Raise the node's desired revision and note what changed.

        The UPDATE holds the node's row until the commit, so revisions become visible in order and the agent
        can ask for "everything after N" without missing one that commits late.
        """
        run = self.db.connection().execute
        node = {"node": self.node_id}
        revision: int = run(_RAISE, node).scalar_one()
        for kind, statement in _REVISED.items():
            run(statement, {"r": revision, "ids": [i for k, i in self._touched if k == kind]})
        values = {"kinds": [k for k, _ in self._touched], "ids": [i for _, i in self._touched]}
        run(_CHANGED, node | values | {"r": revision, "interfaces": list(self._touched.values())})
        return revision

    def _reconcile(self, revision: int) -> Truth:
        if self.hub.kernel is None:
            return Truth(applied=False, pending="agent not running")
        try:
            reply = self.hub.kernel.reconcile(revision, self._wait_ms)
        except Unavailable as error:
            log.info("pending: %s", error)
            return Truth(
                applied=False,
                pending=f"agent {error.message.removeprefix('the agent ').rstrip('.')}".replace(
                    "agent is not", "agent not"
                ),
            )
        if reply.code is Code.DATABASE:
            return Truth(applied=False, pending="agent can't reach the database")
        if reply.code is not Code.OK or reply.a < revision:
            return Truth(applied=False, pending="agent still applying")
        return self._failures() if reply.b else Truth()

    def _failures(self) -> Truth:
        """The kernel's words about what this change touched, if the agent failed on any of it."""
        query = text(
            "SELECT detail FROM applied WHERE node_id = :node AND result = 'failed' AND object_id = ANY(:ids) LIMIT 3"
        )
        owners = [*(i for _, i in self._touched), *self._touched.values()]
        with self.hub.engine.connect() as connection:
            words = connection.execute(query, {"node": self.node_id, "ids": owners}).scalars().all()
        return Truth(applied=False, failed="; ".join(dict.fromkeys(words))) if words else Truth()


def record_refusal(hub: Hub, actor: Actor, action: str, error: NexusError) -> None:
    """Audit what was refused, in a transaction of its own, since the refused one was rolled back."""
    with hub.work(actor) as w:
        w.audit(action, result="denied", error=error.code)


def make_engine(dsn: str, role: db.AppRole, *, size: int = 8) -> Engine:
    """An engine whose pool checks each connection before use and waits at most five seconds for one.

    Its errors name no values: a row that was refused may hold a password's hash.
    """
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: db.connect(dsn, role),
        pool_size=size,
        max_overflow=size,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
    )

    @event.listens_for(engine, "handle_error")
    def _translate(context: Any) -> None:
        original = context.original_exception
        if isinstance(original, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
            raise Unavailable(
                "the database", "had two changes wait for each other and stopped this one", hint="Repeat the command."
            ) from original
        if isinstance(original, psycopg.errors.DiskFull):
            raise Unavailable(
                "the database", "has no room left on its disk", hint="Make room; nothing was changed."
            ) from original
        if isinstance(original, psycopg.OperationalError) and context.is_disconnect:
            raise _away(original) from original

    return engine


def _away(error: Exception) -> Unavailable:
    if isinstance(error, PoolTimeout):
        return Unavailable("the database", "has no connection free for this process", hint="Try again in a moment.")
    words = "" if isinstance(error, psycopg.Error) else str(getattr(error, "orig", error)).strip().splitlines()[-1]
    return Unavailable(
        "the database",
        f"can't be reached: {words}" if words else "went away",
        hint="It is tried again by itself; repeat the command.",
    )
