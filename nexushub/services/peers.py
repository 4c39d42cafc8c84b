"""Peers: making, changing and removing them, and the files their clients get.

Two fields never mix: the client's allowed IPs (what it routes into the tunnel) and the server's (the peer's own
addresses plus the networks behind it). Giving the first to the second would let one full-tunnel client capture
every other peer's traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from nexushub import fields, models
from nexushub.errors import Conflict, Invalid, NexusError, NotFound
from nexushub.kernel.values import SecretKey
from nexushub.secrets import generate_preshared_key, generate_private_key, public_key
from nexushub.services import (
    addresses,
    clients,
    groups,
    interfaces,
    needs,
    peerfields,
    public,
    seal,
)
from nexushub.services.clients import PeerConfig
from nexushub.services.peerfields import NewPeer
from nexushub.services.rows import PEER_ROWS, PEERS, peer_row, peer_view
from nexushub.views import CreatedPeer, Page, PeerRow, PeerView
from nexushub.work import Work

_EDITABLE = peerfields.PLAIN | {"ip", "networks", "public_key", "groups", "enabled"}
MOST_AT_ONCE = 20_000


@needs("peer.read")
def page(
    w: Work, *, interface: str | None = None, search: str = "", state: str | None = None, group: str | None = None,
    after: str | None = None, limit: int = 100,
) -> Page[PeerView]:  # fmt: skip
    """A page of peers by name; ``after`` is the last page's ``next``. No count: it would cost more than the page."""
    limit = fields.integer("limit", limit, 1, 1000)
    query, values = PEERS, {"node": w.node_id, "now": w.now, "limit": limit + 1}
    if interface:
        query, values["interface"] = query + " AND p.interface_id = :interface", interfaces.find(w, interface).id
    if group:
        query += " AND EXISTS (SELECT 1 FROM group_members m WHERE m.peer_id = p.id AND m.group_id = :group)"
        values["group"] = groups.find(w, group).id
    if search:
        query += " AND position(lower(:search) IN lower(p.name || ' ' || p.owner || ' ' || array_to_string(ARRAY(SELECT host(a.network) FROM peer_addresses a WHERE a.peer_id = p.id), ' '))) > 0"
        values["search"] = fields.search("search", search)
    if after:
        query, values["after"] = query + ' AND p.name COLLATE "C" > :after', fields.search("after", after)
    query = f"SELECT * FROM ({query}) q" if state else query
    if state:
        query += " WHERE q.state = :state"
        values["state"] = fields.choice("state", state, ("up", "idle", "never", "off", "expired"))
    order = "q.name" if state else "p.name"
    rows = (
        w.db.connection().execute(text(f'{query} ORDER BY {order} COLLATE "C" LIMIT :limit'), values).mappings().all()
    )
    items = [peer_view(row) for row in rows[:limit]]
    return Page[PeerView](items=items, next=items[-1].name if len(rows) > limit else None)


@needs("peer.read")
def rows(w: Work, *, interface: str | None = None) -> list[PeerRow]:
    """Every peer as one light row, by name."""
    query, values = PEER_ROWS, {"node": w.node_id, "now": w.now}
    if interface:
        query, values["interface"] = query + " AND p.interface_id = :interface", interfaces.find(w, interface).id
    return [peer_row(row) for row in w.db.connection().execute(text(query + ' ORDER BY p.name COLLATE "C"'), values)]


@needs("peer.read")
def rows_changed(w: Work, since: datetime, *, interface: str | None = None) -> list[PeerRow]:
    """The rows whose status, fields or kernel state changed since a time; deleted peers are not in here."""
    query, values = PEER_ROWS, {"node": w.node_id, "now": w.now, "since": since}
    if interface:
        query, values["interface"] = query + " AND p.interface_id = :interface", interfaces.find(w, interface).id
    query += " AND (st.sampled_at >= :since OR p.updated_at >= :since OR ap.at >= :since)"
    return [peer_row(row) for row in w.db.connection().execute(text(query), values)]


@needs("peer.read")
def get(w: Work, ref: str | UUID) -> PeerView:
    """One peer by name or id, or ``NotFound``."""
    return _views(w, [find(w, ref).id])[0]


@public("a lookup; every caller checks its own permission and returns no row")
def find(w: Work, ref: str | UUID, *, lock: bool = False) -> models.Peer:
    """The row by name or id."""
    query = select(models.Peer).where(models.Peer.node_id == w.node_id)
    wanted = fields.ref("peer", ref) if isinstance(ref, str) else ref
    query = query.where(models.Peer.id == wanted if isinstance(wanted, UUID) else models.Peer.name == wanted)
    row = w.db.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("peer", str(ref), hint="'nexushub peer list' shows them.")
    return row


@needs("peer.create")
def create(w: Work, /, *, interface: str | UUID, **given: Any) -> CreatedPeer:
    """Make one peer and its file. See ``NewPeer`` for the fields."""
    return create_many(w, interface=interface, peers=[NewPeer(**given)])[0]


@needs("peer.create")
def create_many(w: Work, *, interface: str | UUID, peers: Sequence[NewPeer]) -> list[CreatedPeer]:
    """Make peers in one transaction: all or none. The error names the peer at fault.

    Addresses are allocated under the interface's row lock, with the UNIQUE constraint behind it: measured, a
    read-then-insert without the lock gave 700 duplicates in 800.
    """
    if len(peers) > MOST_AT_ONCE:
        raise Invalid("peers", len(peers), f"at most {MOST_AT_ONCE} are made at once")
    parent = interfaces.find(w, interface, lock=True)
    peerfields.check_names(w, [new.name for new in peers])
    secrets: dict[UUID, tuple[SecretKey | None, SecretKey | None]] = {}
    made: list[models.Peer] = []
    for new in peers:
        try:
            row, private, psk = peerfields.new_row(w, parent, new)
        except NexusError as error:
            raise peerfields.named(error, new.name, len(peers)) from error
        made.append(row)
        secrets[row.id] = (private, psk)
    peerfields.check_keys(w, parent, made)
    w.db.add_all(made)
    w.flush("name", ", ".join(row.name for row in made[:3]), "a peer that was made at the same moment")
    addresses.assign(w, parent, [(row, new.ip, new.networks) for row, new in zip(made, peers, strict=True)])
    for row in made:
        _store_psk(w, row, secrets[row.id][1])
        w.touch("peer", row.id, parent.id)
    groups.set_members(w, [(row.id, new.groups) for row, new in zip(made, peers, strict=True) if new.groups])
    _audit_created(w, parent, made)
    views = _views(w, [row.id for row in made])
    hub = clients.hub_side(w, parent)
    return [
        CreatedPeer(peer=view, config=clients.file(hub, view, *secrets[view.id]).text)
        for view in views
    ]  # fmt: skip


@needs("peer.edit")
def edit(w: Work, /, ref: str | UUID, *, version: int | None = None, **changes: Any) -> PeerView:
    """Change fields of a peer; those not named stay. ``Stale`` when ``version`` is not the present one."""
    unknown = changes.keys() - _EDITABLE
    if unknown:
        raise Invalid(sorted(unknown)[0], None, "a peer has no such field to edit")
    parent = interfaces.find(w, find(w, ref).interface_id, lock=True)
    row = find(w, ref, lock=True)
    interfaces.check_version(row.version, version, "peer", row.name)
    before = {name: getattr(row, name) for name in changes if name in peerfields.PLAIN or name == "enabled"}
    if changes.get("name", row.name) != row.name:
        peerfields.check_names(w, [changes["name"]])
    for name in before:
        setattr(row, name, peerfields.parse(w, parent, name, changes[name]))
    if changes.get("public_key") is not None:
        key = fields.public_key(changes["public_key"])
        if bytes(key) != row.public_key:
            peerfields.new_key(w, parent, row, key, None)
    if "ip" in changes or "networks" in changes:
        addresses.reassign(w, parent, row, changes.get("ip"), changes.get("networks"))
    if "groups" in changes:
        groups.set_members(w, [(row.id, tuple(changes["groups"]))], replace=True)
    return _changed(
        w, row, "peer.edit", fields=sorted(changes), before=before, after={k: getattr(row, k) for k in before}
    )


@needs("peer.edit")
def set_enabled(w: Work, refs: Sequence[str | UUID], enabled: bool) -> list[PeerView]:
    """Enable or disable peers, in one transaction. A disabled peer keeps its addresses and leaves the device."""
    changed = [row for row in _found(w, refs) if row.enabled != enabled]
    for row in changed:
        row.enabled = enabled
        _changed(w, row, "peer.enable" if enabled else "peer.disable")
    return _views(w, [row.id for row in _found(w, refs)])


@needs("peer.delete")
def delete(w: Work, refs: Sequence[str | UUID]) -> list[PeerView]:
    """Delete peers, in one transaction. The returned views are what they were; their addresses are free again."""
    for interface_id in sorted({find(w, ref).interface_id for ref in refs}):
        interfaces.find(w, interface_id, lock=True)  # whoever allocates there waits, or has waited for us
    found = _found(w, refs)
    views = _views(w, [row.id for row in found])
    for row in found:
        w.audit("peer.delete", "peer", row.id, row.name, interface=str(row.interface_id))
        w.touch("peer", row.id, row.interface_id)
    addresses.release(w, [row.id for row in found])
    for row in found:
        w.db.delete(row)
    w.db.flush()
    return views


@needs("peer.secret")
def config(w: Work, ref: str | UUID) -> PeerConfig:
    """The peer's file, with its private key where the interface's key policy keeps one. Each showing is audited."""
    row = find(w, ref)
    private = None
    if row.private_key is not None:
        private = SecretKey(w.keyring.open("peers", "private_key", row.id, row.private_key))
    psk_row = _active_psk(w, row)
    psk = (
        SecretKey(w.keyring.open("preshared_keys", "preshared_key", psk_row.id, psk_row.preshared_key))
        if psk_row
        else None
    )
    w.audit("peer.config", "peer", row.id, row.name, private_key=private is not None)
    hub = clients.hub_side(w, interfaces.find(w, row.interface_id))
    return clients.file(hub, _views(w, [row.id])[0], private, psk)


@needs("peer.edit")
def rotate_key(w: Work, ref: str | UUID) -> CreatedPeer:
    """Give a peer a new key pair and its new file; the old key is off the device when this is applied."""
    row = find(w, ref, lock=True)
    parent = interfaces.find(w, row.interface_id)
    if parent.key_policy == "never":
        raise Conflict(
            "public_key",
            row.name,
            f"the key policy of {parent.name!r}, which never makes private keys",
            hint="Let the client make a key and give its public key: nexushub peer edit NAME --public-key KEY.",
        )
    private = generate_private_key()
    peerfields.new_key(w, parent, row, public_key(private), private if parent.key_policy == "stored" else None)
    view = _changed(w, row, "peer.rotate_key")
    psk_row = _active_psk(w, row)
    psk = (
        SecretKey(w.keyring.open("preshared_keys", "preshared_key", psk_row.id, psk_row.preshared_key))
        if psk_row
        else None
    )
    return CreatedPeer(peer=view, config=clients.file(clients.hub_side(w, parent), view, private, psk).text)


@needs("peer.edit")
def rotate_psk(w: Work, ref: str | UUID, *, remove: bool = False) -> PeerView:
    """Give a peer a new preshared key, or none. The client's file must be handed out again."""
    row = find(w, ref, lock=True)
    present = _active_psk(w, row)
    if present is not None:
        present.retired_at = w.now
        w.db.flush()
    _store_psk(w, row, None if remove else generate_preshared_key())
    return _changed(w, row, "peer.rotate_psk", removed=remove)


def _found(w: Work, refs: Sequence[str | UUID]) -> list[models.Peer]:
    # In the order of their ids: two bulk actions over the same peers can't wait for each other's locks.
    ids = sorted({find(w, ref).id for ref in refs})
    return [find(w, peer_id, lock=True) for peer_id in ids]


def _active_psk(w: Work, row: models.Peer) -> models.PresharedKey | None:
    return w.db.exec(
        select(models.PresharedKey).where(
            models.PresharedKey.peer_id == row.id, col(models.PresharedKey.retired_at).is_(None)
        )
    ).first()


def _store_psk(w: Work, row: models.Peer, psk: SecretKey | None) -> None:
    if psk is None:
        return
    stored = models.PresharedKey(peer_id=row.id, preshared_key=b"", created_at=w.now)
    stored.preshared_key = w.keyring.seal("preshared_keys", "preshared_key", stored.id, bytes(psk))
    w.db.add(stored)


def _audit_created(w: Work, parent: models.Interface, made: Sequence[models.Peer]) -> None:
    if len(made) == 1:
        w.audit("peer.create", "peer", made[0].id, made[0].name, interface=parent.name)
    else:
        w.audit("peer.create", "interface", parent.id, parent.name, peers=[row.name for row in made])


def _changed(w: Work, row: models.Peer, action: str, **detail: Any) -> PeerView:
    row.version += 1
    row.updated_at = w.now
    w.flush("name", row.name, "a peer that was made at the same moment")
    w.audit(action, "peer", row.id, row.name, **detail)
    w.touch("peer", row.id, row.interface_id)
    return _views(w, [row.id])[0]


def _views(w: Work, ids: Sequence[UUID]) -> list[PeerView]:
    """Views in the order of the ids."""
    w.db.flush()
    found = w.db.connection().execute(
        text(PEERS + " AND p.id = ANY(:ids)"), {"node": w.node_id, "now": w.now, "ids": list(ids)}
    )
    by_id = {row["id"]: peer_view(row) for row in found.mappings()}
    return [by_id[peer_id] for peer_id in ids]


seal(__name__)
