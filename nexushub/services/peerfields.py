"""What a peer's row must satisfy before it is stored: its fields, its name, its key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlmodel import col, select

from nexushub import fields, models
from nexushub.errors import Conflict, Invalid, NexusError
from nexushub.kernel.values import Key, SecretKey
from nexushub.safe import safe
from nexushub.secrets import generate_preshared_key, generate_private_key, public_key
from nexushub.services import public, seal
from nexushub.work import Work

PLAIN = frozenset(
    {"name", "allowed_ips", "endpoint", "peer_endpoint", "keepalive", "dns", "mtu", "owner", "notes", "quota_bytes", "expires_at"}
)  # fmt: skip
"""Fields that are stored as they are, once parsed."""


class NewPeer(BaseModel):
    """The fields of a peer to make. Only the name is needed; everything else is filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    ip: tuple[str, ...] = ()
    allowed_ips: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    endpoint: str = ""
    peer_endpoint: str = ""
    keepalive: int = 0
    dns: tuple[str, ...] | None = None
    mtu: int | None = None
    public_key: str | None = None
    psk: bool = False
    expires_at: datetime | str | None = None
    quota_bytes: int | None = None
    owner: str = ""
    notes: str = ""
    groups: tuple[str, ...] = ()


@public("called by the peers' service, which has checked")
def new_row(w: Work, parent: models.Interface, new: NewPeer) -> tuple[models.Peer, SecretKey | None, SecretKey | None]:
    """A row for a new peer, with its private and preshared key where it gets one. Nothing is added to the session."""
    private = None
    if new.public_key is not None:
        key = fields.public_key(new.public_key)
    elif parent.key_policy == "never":
        raise Invalid(
            "public_key", None, f"{parent.name} never makes private keys, so the client's public key is needed"
        )
    else:
        private = generate_private_key()
        key = public_key(private)
    given = {name: parse(w, parent, name, getattr(new, name)) for name in PLAIN}
    row = models.Peer(
        interface_id=parent.id, node_id=parent.node_id, public_key=bytes(key), key_created_at=w.now, created_at=w.now,
        updated_at=w.now, **given,
    )  # fmt: skip
    if private is not None and parent.key_policy == "stored":
        row.private_key = w.keyring.seal("peers", "private_key", row.id, bytes(private))
    return row, private, generate_preshared_key() if new.psk else None


@public("a pure function of its arguments")
def parse(w: Work, parent: models.Interface, name: str, value: Any) -> Any:
    """One field's value, canonical, or ``Invalid`` with the field's name."""
    match name:
        case "name":
            return fields.name("name", value)
        case "allowed_ips":
            return fields.cidrs("allowed_ips", value)
        case "endpoint":
            return fields.endpoint("endpoint", value, default_port=parent.listen_port)
        case "peer_endpoint":
            return fields.endpoint("peer_endpoint", value, numeric=True)
        case "keepalive":
            return fields.integer("keepalive", value, 0, 65535)
        case "dns":
            return None if value is None else fields.dns(value)
        case "mtu":
            return None if value is None else fields.mtu(value)
        case "owner":
            return fields.note("owner", value, longest=128)
        case "notes":
            return fields.note("notes", value, longest=2000)
        case "quota_bytes":
            return fields.quota(value)
        case "enabled":
            return fields.flag("enabled", value)
        case _:
            return fields.expiry(value, w.now)


@public("it changes a sentence")
def named(error: NexusError, name: str, among: int) -> NexusError:
    """Put the peer's name before the error, when there are several it could be about."""
    if among > 1:
        error.message = f"peer {safe(name)!r}: {error.message}"
    return error


@public("called by the peers' service, which has checked")
def check_names(w: Work, given: Sequence[str]) -> None:
    """``Conflict`` naming whoever has one of these names, ``Invalid`` for what is no name."""
    names = []
    for name in given:
        try:
            names.append(fields.name("name", name))
        except NexusError as error:
            raise named(error, name, len(given)) from error
    twice = next((n for n, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise Conflict("name", twice, "another peer of the same list")
    query = (
        select(models.Peer.name, models.Interface.name)
        .join(models.Interface, col(models.Interface.id) == models.Peer.interface_id)
        .where(models.Peer.node_id == w.node_id, col(models.Peer.name).in_(names))
    )
    taken = w.db.exec(query).first()
    if taken is not None:
        raise Conflict("name", taken[0], f"a peer on {taken[1]}")


@public("called by the peers' service, which has checked")
def check_keys(w: Work, parent: models.Interface, made: Sequence[models.Peer]) -> None:
    """``Conflict`` naming whoever has one of these public keys on this interface, the hub itself included."""
    keys = Counter(row.public_key for row in made)
    for key, count in keys.items():
        if count > 1:
            raise Conflict("public_key", Key(key), "another peer of the same list")
        if key == parent.public_key:
            raise Conflict("public_key", Key(key), f"the hub itself on {parent.name}")
    ids = [row.id for row in made]
    with w.db.no_autoflush:
        clash = w.db.exec(
            select(models.Peer).where(
                models.Peer.interface_id == parent.id,
                col(models.Peer.public_key).in_(list(keys)),
                col(models.Peer.id).not_in(ids),
            )
        ).first()
    if clash is not None:
        raise Conflict("public_key", Key(clash.public_key), f"peer {clash.name!r} on {parent.name}")


@public("called by the peers' service, which has checked")
def new_key(w: Work, parent: models.Interface, row: models.Peer, key: Key, private: SecretKey | None) -> None:
    """Give a row another public key, and the private one where the hub keeps it."""
    row.public_key, row.key_created_at = bytes(key), w.now
    row.private_key = w.keyring.seal("peers", "private_key", row.id, bytes(private)) if private else None
    check_keys(w, parent, [row])


seal(__name__)
