"""What the agent writes back: what is true, what differs, and what it repaired."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import psycopg

from nexushub.kernel.values import Key, Sample

Kind = Literal["interface", "peer"]


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one object: applied when ``failure`` is empty, else the kernel's own words."""

    kind: Kind
    object_id: UUID
    revision: int
    failure: str = ""


def results(connection: psycopg.Connection[Any], node: UUID, done: Sequence[Result]) -> None:
    """Store outcomes; one that says nothing new is not written again."""
    if not done:
        return
    connection.execute(
        """INSERT INTO applied (node_id, object_id, kind, revision, result, detail, at)
        SELECT %s, o, k, r, CASE f WHEN '' THEN 'applied' ELSE 'failed' END, left(f, 1000), now()
        FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[]) AS t(o, k, r, f)
        ON CONFLICT (node_id, object_id) DO UPDATE
        SET revision = excluded.revision, result = excluded.result, detail = excluded.detail, at = excluded.at
        WHERE (applied.revision, applied.result, applied.detail) IS DISTINCT FROM (excluded.revision, excluded.result, excluded.detail)""",
        [
            node,
            [d.object_id for d in done],
            [d.kind for d in done],
            [d.revision for d in done],
            [d.failure for d in done],
        ],
    )


def forget(connection: psycopg.Connection[Any], node: UUID, objects: Iterable[UUID]) -> None:
    """Drop the outcomes of objects whose rows are gone."""
    connection.execute("DELETE FROM applied WHERE node_id = %s AND object_id = ANY(%s)", [node, list(objects)])


def applied(connection: psycopg.Connection[Any], node: UUID) -> dict[UUID, int]:
    """The revision at which each object was last applied without failure."""
    rows = connection.execute(
        "SELECT object_id, revision FROM applied WHERE node_id = %s AND result = 'applied'", [node]
    )
    return dict(rows.fetchall())


def heartbeat(connection: psycopg.Connection[Any], node: UUID, revision: int, backend: str, note: str) -> None:
    """Say that the agent lives and how far it is; drop the log of changes that it has followed."""
    connection.execute(
        "UPDATE nodes SET applied_revision = greatest(applied_revision, %s), agent_seen_at = now(), agent_backend = %s, agent_note = %s WHERE id = %s",
        [revision, backend, note, node],
    )


def prune(connection: psycopg.Connection[Any], node: UUID, revision: int) -> None:
    """Drop changes that were followed, all but the last thousand revisions."""
    connection.execute("DELETE FROM changes WHERE node_id = %s AND revision <= %s", [node, revision - 1000])


def silence(connection: psycopg.Connection[Any], node: UUID) -> None:
    """Say at a clean stop that no agent runs, so that nobody waits fifteen seconds to learn it."""
    connection.execute("UPDATE nodes SET agent_seen_at = NULL, agent_note = '' WHERE id = %s", [node])


def audit(connection: psycopg.Connection[Any], action: str, interface: UUID, name: str, **detail: Any) -> None:
    """Record what the agent did on its own account."""
    connection.execute(
        "SELECT audit_append(NULL, 'agent', 'agent', %s, 'interface', %s, %s, 'success', %s::jsonb)",
        [action, interface, name, json.dumps(detail, default=str)],
    )


@dataclass(frozen=True, slots=True)
class Held:
    """An item of drift that is open or ignored: the field stays as the kernel has it."""

    id: UUID
    interface_id: UUID
    public_key: Key | None
    field: str
    desired: str
    observed: str
    status: str


def held(connection: psycopg.Connection[Any], node: UUID) -> list[Held]:
    """The items that an administrator has not decided, or decided to leave."""
    rows = connection.execute(
        "SELECT id, interface_id, public_key, field, desired, observed, status FROM drift WHERE node_id = %s AND status IN ('open', 'ignored')",
        [node],
    )
    return [Held(r[0], r[1], Key(bytes(r[2])) if r[2] else None, *r[3:]) for r in rows]


def open_drift(
    connection: psycopg.Connection[Any], node: UUID, interface: UUID, peer: UUID | None, key: Key | None,
    field: str, desired: str, observed: str, *, repaired: bool,
) -> None:  # fmt: skip
    """Store a new item: ``open`` waits for a decision, ``repaired`` says that the agent acted at once."""
    now = datetime.now(UTC)
    connection.execute(
        """INSERT INTO drift (id, node_id, interface_id, peer_id, public_key, field, desired, observed, status, since, decided_at, decided_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
        [
            uuid4(), node, interface, peer, bytes(key) if key else None, field, desired, observed,
            "repaired" if repaired else "open", now, now if repaired else None, "agent" if repaired else "",
        ],
    )  # fmt: skip


def update_drift(connection: psycopg.Connection[Any], item: UUID, *, observed: str | None = None) -> None:
    """Note a new observed value, or, without one, that the difference is gone."""
    if observed is not None:
        connection.execute("UPDATE drift SET observed = %s WHERE id = %s", [observed, item])
    else:
        connection.execute(
            "UPDATE drift SET status = 'gone', decided_at = now(), decided_by = 'agent' WHERE id = %s", [item]
        )


def samples(
    connection: psycopg.Connection[Any], interface: UUID, rows: Sequence[tuple[UUID, Sample]], seconds: float
) -> None:
    """Store changed samples in one statement. A counter below the last one began again: its value is the delta."""
    connection.execute(
        """INSERT INTO peer_status AS s (peer_id, interface_id, last_handshake, endpoint, rx_bytes, tx_bytes,
          device_rx_bytes, device_tx_bytes, rx_rate, tx_rate, sampled_at)
        SELECT t.p, %s, CASE WHEN t.h > 0 THEN to_timestamp(t.h) END, t.e, t.rx, t.tx, t.rx, t.tx, 0, 0, now()
        FROM unnest(%s::uuid[], %s::float8[], %s::text[], %s::bigint[], %s::bigint[]) AS t(p, h, e, rx, tx)
        WHERE EXISTS (SELECT 1 FROM peer_addresses a WHERE a.peer_id = t.p)
        ON CONFLICT (peer_id) DO UPDATE SET
          last_handshake = greatest(s.last_handshake, excluded.last_handshake),
          endpoint = CASE excluded.endpoint WHEN '' THEN s.endpoint ELSE excluded.endpoint END,
          rx_bytes = s.rx_bytes + CASE WHEN excluded.rx_bytes >= s.device_rx_bytes THEN excluded.rx_bytes - s.device_rx_bytes ELSE excluded.rx_bytes END,
          tx_bytes = s.tx_bytes + CASE WHEN excluded.tx_bytes >= s.device_tx_bytes THEN excluded.tx_bytes - s.device_tx_bytes ELSE excluded.tx_bytes END,
          rx_rate = (CASE WHEN excluded.rx_bytes >= s.device_rx_bytes THEN excluded.rx_bytes - s.device_rx_bytes ELSE excluded.rx_bytes END / %s::float8)::bigint,
          tx_rate = (CASE WHEN excluded.tx_bytes >= s.device_tx_bytes THEN excluded.tx_bytes - s.device_tx_bytes ELSE excluded.tx_bytes END / %s::float8)::bigint,
          device_rx_bytes = excluded.device_rx_bytes, device_tx_bytes = excluded.device_tx_bytes,
          interface_id = excluded.interface_id, sampled_at = excluded.sampled_at""",
        [
            interface, [p for p, _ in rows], [s.last_handshake for _, s in rows],
            [str(s.endpoint) if s.endpoint else "" for _, s in rows], [s.rx_bytes for _, s in rows],
            [s.tx_bytes for _, s in rows], seconds, seconds,
        ],
    )  # fmt: skip
