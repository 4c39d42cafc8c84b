"""Where the kernel disagrees with the database, and what an administrator decides about it.

What is dangerous (a peer nobody authorised, a revoked peer that came back) the agent repairs at once; such items
are shown as ``repaired``. Everything else waits, since a hand that changed it may have had a reason.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from nexushub import fields, models
from nexushub.errors import Conflict, NotFound
from nexushub.kernel.values import Key
from nexushub.services import interfaces, needs, peers, seal
from nexushub.views import DriftView
from nexushub.work import Work

_DRIFT = """SELECT d.*, i.name AS interface, p.name AS peer FROM drift d JOIN interfaces i ON i.id = d.interface_id
LEFT JOIN peers p ON p.id = d.peer_id WHERE d.node_id = :node"""


@needs("drift.read")
def listing(w: Work, *, everything: bool = False) -> list[DriftView]:
    """What is open or ignored, and what the agent repaired in the last day; ``everything`` adds the history."""
    recent = (
        ""
        if everything
        else " AND (d.status IN ('open', 'ignored') OR (d.status = 'repaired' AND d.decided_at > CAST(:now AS timestamptz) - interval '1 day'))"
    )
    values: dict[str, Any] = {"node": w.node_id} | ({} if everything else {"now": w.now})
    rows = w.db.connection().execute(text(_DRIFT + recent + " ORDER BY d.since DESC, d.id"), values).mappings()
    return [_view(row) for row in rows]


@needs("drift.decide")
def adopt(w: Work, drift_id: UUID | str) -> DriftView:
    """Take what the kernel has into the database, through the same checks as an edit by hand.

    ``Conflict`` when it can't be: a preshared or private key is never read out of the kernel into the database.
    """
    row = _open(w, drift_id)
    if row.field == "peer" and row.peer_id is None:
        _adopt_peer(w, row)
    elif row.peer_id is not None:
        peers.edit(w, row.peer_id, **_peer_changes(w, row))
    else:
        interfaces.edit(w, row.interface_id, **_interface_changes(row))
    return _decided(w, row, "adopted")


@needs("drift.decide")
def revert(w: Work, drift_id: UUID | str) -> DriftView:
    """Have the agent put the database's value back into the kernel."""
    row = _open(w, drift_id)
    if row.peer_id is not None:
        w.touch("peer", row.peer_id, row.interface_id)
    w.touch("interface", row.interface_id, row.interface_id)
    return _decided(w, row, "reverted")


@needs("drift.decide")
def ignore(w: Work, drift_id: UUID | str) -> DriftView:
    """Leave the kernel as it is in this field until the database's value changes or the item is reverted."""
    return _decided(w, _open(w, drift_id), "ignored")


def _open(w: Work, drift_id: UUID | str) -> models.Drift:
    wanted = fields.ref("drift item", drift_id) if isinstance(drift_id, str) else drift_id
    if not isinstance(wanted, UUID):
        raise NotFound("drift item", wanted, hint="'nexushub drift list' shows them.")
    query = select(models.Drift).where(models.Drift.node_id == w.node_id, col(models.Drift.id) == wanted)
    row = w.db.exec(query.with_for_update()).first()
    if row is None:
        raise NotFound("drift item", str(drift_id), hint="'nexushub drift list' shows them.")
    return row


def _decided(w: Work, row: models.Drift, status: Literal["adopted", "reverted", "ignored"]) -> DriftView:
    row.status, row.decided_at, row.decided_by = status, w.now, w.actor.name
    w.db.flush()
    action = {"adopted": "drift.adopt", "reverted": "drift.revert", "ignored": "drift.ignore"}[status]
    w.audit(action, "interface", row.interface_id, row.field, desired=row.desired, observed=row.observed)
    found = (
        w.db.connection().execute(text(_DRIFT + " AND d.id = :id"), {"node": w.node_id, "id": row.id}).mappings().one()
    )
    return _view(found)


def _list(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip() and item.strip() != "none"]


def _peer_changes(w: Work, row: models.Drift) -> dict[str, Any]:
    match row.field:
        case "keepalive":
            return {"keepalive": 0 if row.observed in ("off", "none", "") else int(row.observed)}
        case "allowed_ips":
            present = peers.get(w, str(row.peer_id))
            own = {f"{a}/{32 if '.' in a else 128}" for a in present.addresses}
            kept = _list(row.observed)
            if not own <= set(kept):
                raise Conflict(
                    "allowed_ips",
                    row.observed,
                    "the peer's own addresses, which are missing there",
                    hint="Revert it, or edit the peer's addresses.",
                )
            return {"networks": [item for item in kept if item not in own]}
        case "peer":
            return {"enabled": False}
    raise Conflict(
        row.field, row.observed, "a secret, which is never read from the kernel", hint="Revert it, or rotate the key."
    )


def _interface_changes(row: models.Drift) -> dict[str, Any]:
    match row.field:
        case "mtu":
            return {"mtu": int(row.observed)}
        case "listen_port":
            return {"listen_port": int(row.observed)}
        case "addresses":
            return {"addresses": _list(row.observed)}
    raise Conflict(row.field, row.observed, "something that only the agent sets", hint="Revert it.")


def _adopt_peer(w: Work, row: models.Drift) -> None:
    """Make a peer of one that somebody put on the device by hand; its own addresses are those of our networks."""
    assert row.public_key is not None, "an unknown peer has a key"
    hosts = [item for item in _list(row.observed) if item.endswith(("/32", "/128"))]
    nets = [item for item in _list(row.observed) if item not in hosts]
    known = {a for i in interfaces.listing(w) if i.id == row.interface_id for a in i.addresses}
    own = w.db.connection().execute(
        text("SELECT host(h) FROM unnest(CAST(:h AS inet[])) h WHERE h <<= ANY(SELECT network(a) FROM unnest(CAST(:a AS inet[])) a)"),
        {"h": hosts, "a": sorted(known)},
    ).scalars().all()  # fmt: skip
    behind = [h for h in hosts if h.split("/")[0] not in own] + nets
    name = f"adopted-{Key(row.public_key)}"[:16].replace("/", "_").replace("+", "-").replace("=", "")
    made = peers.create(
        w,
        interface=row.interface_id,
        name=name,
        public_key=str(Key(row.public_key)),
        ip=tuple(own),
        networks=tuple(behind),
    )
    row.peer_id = made.peer.id


def _view(row: Any) -> DriftView:
    key = str(Key(bytes(row["public_key"]))) if row["public_key"] is not None else None
    return DriftView(
        id=row["id"], interface=row["interface"], peer=row["peer"], public_key=key, field=row["field"],
        desired=row["desired"], observed=row["observed"], status=row["status"], since=row["since"],
        decided_at=row["decided_at"], decided_by=row["decided_by"],
    )  # fmt: skip


seal(__name__)
