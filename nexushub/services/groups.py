"""Groups of peers, for filters, bulk actions and the scope of rules."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select

from nexushub import fields, models
from nexushub.errors import Conflict, NotFound
from nexushub.services import needs, public, seal
from nexushub.views import GroupView
from nexushub.work import Work


@needs("group.read")
def listing(w: Work) -> list[GroupView]:
    """Every group with the names of its peers."""
    query = text(
        "SELECT g.id, g.name, ARRAY(SELECT p.name FROM group_members m JOIN peers p ON p.id = m.peer_id"
        ' WHERE m.group_id = g.id ORDER BY p.name COLLATE "C") AS peers FROM groups g WHERE g.node_id = :n ORDER BY g.name COLLATE "C"'
    )
    rows = w.db.connection().execute(query, {"n": w.node_id}).mappings()
    return [GroupView(id=row["id"], name=row["name"], peers=row["peers"]) for row in rows]


@public("a lookup; every caller checks its own permission and returns no row")
def find(w: Work, ref: str | UUID) -> models.Group:
    """The row by name or id, or ``NotFound``."""
    query = select(models.Group).where(models.Group.node_id == w.node_id)
    wanted = fields.ref("group", ref) if isinstance(ref, str) else ref
    query = query.where(models.Group.id == wanted if isinstance(wanted, UUID) else models.Group.name == wanted)
    row = w.db.exec(query).first()
    if row is None:
        raise NotFound("group", str(ref), hint="'nexushub group list' shows them.")
    return row


@needs("group.edit")
def create(w: Work, name: str) -> GroupView:
    """Make an empty group."""
    clean = fields.name("name", name)
    taken = select(models.Group).where(models.Group.node_id == w.node_id, models.Group.name == clean)
    if w.db.exec(taken).first():
        raise Conflict("name", clean, "a group that exists")
    row = models.Group(node_id=w.node_id, name=clean, created_at=w.now)
    w.db.add(row)
    w.flush("name", clean, "a group that was made at the same moment")
    w.audit("group.create", "group", row.id, row.name)
    return GroupView(id=row.id, name=row.name, peers=[])


@needs("group.edit")
def delete(w: Work, ref: str | UUID) -> GroupView:
    """Delete a group. Its peers stay."""
    view = _view(w, find(w, ref).id)
    w.db.delete(find(w, ref))
    w.audit("group.delete", "group", view.id, view.name, peers=view.peers)
    return view


@needs("group.edit")
def add(w: Work, ref: str | UUID, peers: Sequence[str | UUID]) -> GroupView:
    """Put peers into a group; one that is in it stays in it."""
    return _members(
        w,
        ref,
        peers,
        "group.add",
        "INSERT INTO group_members (group_id, peer_id) SELECT :g, unnest(CAST(:p AS uuid[])) ON CONFLICT DO NOTHING",
    )


@needs("group.edit")
def remove(w: Work, ref: str | UUID, peers: Sequence[str | UUID]) -> GroupView:
    """Take peers out of a group."""
    return _members(
        w,
        ref,
        peers,
        "group.remove",
        "DELETE FROM group_members WHERE group_id = :g AND peer_id = ANY(CAST(:p AS uuid[]))",
    )


@public("called by the peers' service, which has checked")
def set_members(w: Work, wanted: Sequence[tuple[UUID, Sequence[str]]], *, replace: bool = False) -> None:
    """Put each peer into the groups named; ``replace`` takes it out of the others."""
    w.db.flush()
    known = {name: find(w, name).id for name in {n for _, names in wanted for n in names}}
    if replace:
        w.db.connection().execute(
            text("DELETE FROM group_members WHERE peer_id = ANY(:p)"), {"p": [p for p, _ in wanted]}
        )
    w.db.add_all(models.GroupMember(group_id=known[n], peer_id=p) for p, names in wanted for n in dict.fromkeys(names))
    w.db.flush()


def _members(w: Work, ref: str | UUID, peers: Sequence[str | UUID], action: str, statement: str) -> GroupView:
    group = find(w, ref)
    found = {row.name: row.id for row in _peers(w, peers)}
    w.db.connection().execute(text(statement), {"g": group.id, "p": sorted(found.values())})
    w.audit(action, "group", group.id, group.name, peers=sorted(found))
    return _view(w, group.id)


def _peers(w: Work, refs: Sequence[str | UUID]) -> list[models.Peer]:
    rows = []
    for ref in refs:
        query = select(models.Peer).where(models.Peer.node_id == w.node_id)
        wanted = fields.ref("peer", ref) if isinstance(ref, str) else ref
        query = query.where(models.Peer.id == wanted if isinstance(wanted, UUID) else models.Peer.name == wanted)
        row = w.db.exec(query).first()
        if row is None:
            raise NotFound("peer", str(ref), hint="'nexushub peer list' shows them.")
        rows.append(row)
    return rows


def _view(w: Work, group_id: UUID) -> GroupView:
    w.db.flush()
    return next(view for view in listing(w) if view.id == group_id)


seal(__name__)
