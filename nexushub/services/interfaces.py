"""WireGuard interfaces: the hub's links, their addresses and policies.

What clashes is refused with the other's name: ports and networks are unique on a node, by constraint, and the
checks here only give the clash its name.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from nexushub import fields, models
from nexushub.errors import Conflict, Invalid, NotFound, Stale
from nexushub.kernel import values
from nexushub.secrets import generate_private_key, public_key
from nexushub.services import needs, public, seal
from nexushub.services.rows import INTERFACES, interface_view
from nexushub.views import InterfaceView, View
from nexushub.work import Work

FIRST_PORT = 51820
_EDITABLE = frozenset({"name", "addresses", "listen_port", "endpoint", "dns", "mtu", "policy", "policy_egress", "no_filter", "key_policy", "nat"})  # fmt: skip


# An address of another interface would clash as well as a network behind one of its peers.
_TAKEN = text(
    "SELECT network::text FROM interface_addresses WHERE node_id = :n AND family(network) = 4"
    " UNION SELECT network::text FROM peer_addresses WHERE node_id = :n AND kind = 'network' AND family(network) = 4"
)


class Suggestion(View):
    """What the form proposes for a new interface: the next name, network and port that are free.

    ``address`` is empty when no private network is left.
    """

    name: str
    address: str
    listen_port: int
    endpoint: str


@needs("interface.read")
def listing(w: Work) -> list[InterfaceView]:
    """Every interface of this node, by name."""
    rows = w.db.connection().execute(
        text(INTERFACES + " ORDER BY i.name"), {"node": w.node_id, "now": w.now, "ref": None, "id": None}
    )
    return [interface_view(row) for row in rows.mappings()]


@needs("interface.read")
def get(w: Work, ref: str | UUID) -> InterfaceView:
    """One interface by name or id, or ``NotFound``."""
    return _view(w, find(w, ref).id)


@public("a lookup; every caller checks its own permission and returns no row")
def find(w: Work, ref: str | UUID, *, lock: bool = False) -> models.Interface:
    """The row by name or id. ``lock`` takes the row lock under which addresses are allocated."""
    query = select(models.Interface).where(models.Interface.node_id == w.node_id)
    wanted = fields.ref("interface", ref) if isinstance(ref, str) else ref
    query = query.where(models.Interface.id == wanted if isinstance(wanted, UUID) else models.Interface.name == wanted)
    row = w.db.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("interface", str(ref), hint="'nexushub interface list' shows them.")
    return row


@needs("interface.create")
def suggest(w: Work) -> Suggestion:
    """Propose what is free here: name, an RFC 1918 network that no interface has, a port."""
    rows = w.db.exec(select(models.Interface).where(models.Interface.node_id == w.node_id)).all()
    names = {row.name for row in rows}
    ports = {row.listen_port for row in rows}
    taken = [ipaddress.ip_network(n) for n in w.db.connection().execute(_TAKEN, {"n": w.node_id}).scalars()]
    name = next(f"wg{i}" for i in itertools.count() if f"wg{i}" not in names)
    private = (f"10.{8 + i // 256}.{i % 256}.0/24" for i in range(248 * 256))
    candidates = map(ipaddress.IPv4Network, itertools.chain(private, (f"192.168.{i}.0/24" for i in range(256))))
    network = next((n for n in candidates if not any(n.overlaps(t) for t in taken if t.version == 4)), None)
    port = next(p for p in range(FIRST_PORT, 65536) if p not in ports)
    endpoint = next((values.parse_endpoint(row.endpoint).host for row in rows if row.endpoint), "")
    address = f"{network.network_address + 1}/24" if network else ""
    return Suggestion(name=name, address=address, listen_port=port, endpoint=endpoint)


@needs("interface.create")
def create(
    w: Work, *, name: str, addresses: Sequence[str], listen_port: int | None = None, endpoint: str = "",
    dns: Sequence[str] = (), mtu: int = 1420, policy: str = "allow", policy_egress: str = "allow",
    no_filter: str = "refuse", key_policy: str = "stored", nat: bool = False, enabled: bool = True,
) -> InterfaceView:  # fmt: skip
    """Make an interface with a new key pair. ``Conflict`` names the interface that has the name, port or network."""
    _lock_node(w)
    port = fields.port("listen_port", listen_port) if listen_port is not None else suggest(w).listen_port
    key = generate_private_key()
    row = models.Interface(
        node_id=w.node_id, name=fields.interface_name(name), listen_port=port,
        endpoint=fields.endpoint("endpoint", endpoint, default_port=port), dns=fields.dns(dns), mtu=fields.mtu(mtu),
        policy=fields.choice("policy", policy, ("allow", "deny")),
        policy_egress=fields.choice("policy_egress", policy_egress, ("allow", "deny")),
        no_filter=fields.choice("no_filter", no_filter, ("refuse", "open")),
        key_policy=fields.choice("key_policy", key_policy, ("stored", "once", "never")),
        nat=fields.flag("nat", nat), enabled=fields.flag("enabled", enabled),
        private_key=b"", public_key=bytes(public_key(key)), created_at=w.now, updated_at=w.now,
    )  # fmt: skip
    row.private_key = w.keyring.seal("interfaces", "private_key", row.id, bytes(key))
    _check_name_and_port(w, row)
    w.db.add(row)
    w.flush("name", row.name, "an interface that was made at the same moment")
    _set_addresses(w, row, fields.interface_addresses(addresses))
    w.audit("interface.create", "interface", row.id, row.name, addresses=list(addresses), listen_port=port)
    w.touch("interface", row.id, row.id)
    return _view(w, row.id)


@needs("interface.edit")
def edit(w: Work, /, ref: str | UUID, *, version: int | None = None, **changes: Any) -> InterfaceView:
    """Change fields of an interface; those not named stay. ``Stale`` when ``version`` is not the present one."""
    unknown = changes.keys() - _EDITABLE
    if unknown:
        raise Invalid(sorted(unknown)[0], None, "an interface has no such field to edit")
    _lock_node(w)
    row = find(w, ref, lock=True)
    check_version(row.version, version, "interface", row.name)
    before = {name: getattr(row, name) for name in changes if name != "addresses"}
    parse: dict[str, Any] = {
        "name": fields.interface_name,
        "listen_port": lambda v: fields.port("listen_port", v),
        "endpoint": lambda v: fields.endpoint("endpoint", v, default_port=changes.get("listen_port", row.listen_port)),
        "dns": fields.dns,
        "mtu": fields.mtu,
        "policy": lambda v: fields.choice("policy", v, ("allow", "deny")),
        "policy_egress": lambda v: fields.choice("policy_egress", v, ("allow", "deny")),
        "no_filter": lambda v: fields.choice("no_filter", v, ("refuse", "open")),
        "key_policy": lambda v: fields.choice("key_policy", v, ("stored", "once", "never")),
        "nat": lambda v: fields.flag("nat", v),
    }
    for name in before:
        setattr(row, name, parse[name](changes[name]))
    _check_name_and_port(w, row)
    if "addresses" in changes:
        before["addresses"] = _addresses(w, row.id)
        _set_addresses(w, row, fields.interface_addresses(changes["addresses"]))
    after = {name: _addresses(w, row.id) if name == "addresses" else getattr(row, name) for name in before}
    return _changed(w, row, "interface.edit", before=before, after=after)


@needs("interface.edit")
def set_enabled(w: Work, ref: str | UUID, enabled: bool) -> InterfaceView:
    """Bring an interface up or down. Down removes the link: every peer on it is cut off, its rows stay."""
    row = find(w, ref, lock=True)
    if row.enabled == enabled:
        return _view(w, row.id)
    row.enabled = enabled
    return _changed(w, row, "interface.up" if enabled else "interface.down")


@needs("interface.edit")
def rotate_key(w: Work, ref: str | UUID) -> InterfaceView:
    """Give the hub a new key pair on this interface. Every client needs a new file: the old ones stop working."""
    row = find(w, ref, lock=True)
    key = generate_private_key()
    row.private_key = w.keyring.seal("interfaces", "private_key", row.id, bytes(key))
    row.public_key = bytes(public_key(key))
    return _changed(w, row, "interface.rotate_key")


@needs("interface.delete")
def delete(w: Work, ref: str | UUID, *, version: int | None = None) -> InterfaceView:
    """Delete an interface, its peers and their keys. The returned view is what it was."""
    row = find(w, ref, lock=True)
    check_version(row.version, version, "interface", row.name)
    view = _view(w, row.id)
    w.audit("interface.delete", "interface", row.id, row.name, peers=view.peers_total)
    w.touch("interface", row.id, row.id)
    w.db.delete(row)
    w.db.flush()
    return view


@public("a comparison")
def check_version(present: int, expected: int | None, kind: str, name: str) -> None:
    """``Stale`` unless the caller saw the present version; None asks for no check."""
    if expected is not None and expected != present:
        raise Stale(kind, name)


def _lock_node(w: Work) -> None:
    """Serialise changes of names, ports and networks on a node, so that a clash is named and not a race."""
    w.db.connection().execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:node, 1))"), {"node": str(w.node_id)}
    )


def _changed(w: Work, row: models.Interface, action: str, **detail: Any) -> InterfaceView:
    row.version += 1
    row.updated_at = w.now
    w.flush("name", row.name, "an interface that was made at the same moment")
    w.audit(action, "interface", row.id, row.name, **detail)
    w.touch("interface", row.id, row.id)
    return _view(w, row.id)


def _check_name_and_port(w: Work, row: models.Interface) -> None:
    with w.db.no_autoflush:
        others = w.db.exec(
            select(models.Interface).where(models.Interface.node_id == w.node_id, col(models.Interface.id) != row.id)
        ).all()
    for other in others:
        if other.name == row.name:
            raise Conflict("name", row.name, f"interface {other.name!r}")
        if other.listen_port == row.listen_port:
            raise Conflict("listen_port", row.listen_port, f"interface {other.name!r}")


def _addresses(w: Work, interface_id: UUID) -> list[str]:
    query = select(models.InterfaceAddress).where(models.InterfaceAddress.interface_id == interface_id)
    return [row.address for row in w.db.exec(query.order_by(col(models.InterfaceAddress.position))).all()]


def _set_addresses(w: Work, row: models.Interface, addresses: Sequence[values.InterfaceAddress]) -> None:
    """Replace the addresses. A network that peers still have addresses in can't go; the error counts them."""
    for address in addresses:
        _check_network(w, row, address)
    orphans = w.db.connection().execute(
        text("SELECT count(*), min(p.name) FROM peer_addresses a JOIN peers p ON p.id = a.peer_id WHERE a.interface_id = :i AND a.kind = 'address' AND NOT a.network <<= ANY(CAST(:nets AS inet[]))"),
        {"i": row.id, "nets": [values.network_of(a) for a in addresses]},
    ).one()  # fmt: skip
    if orphans[0]:
        raise Conflict(
            "address",
            ", ".join(addresses),
            f"{orphans[0]} peers such as {orphans[1]!r} whose addresses are in the network that would go",
            hint="Delete or move them first.",
        )
    owner = w.db.connection().execute(
        text("SELECT p.name, a.network::text FROM peer_addresses a JOIN peers p ON p.id = a.peer_id WHERE a.interface_id = :i AND a.network >>= ANY(CAST(:own AS inet[])) LIMIT 1"),
        {"i": row.id, "own": [a.split("/")[0] for a in addresses]},
    ).first()  # fmt: skip
    if owner:
        raise Conflict("address", ", ".join(addresses), f"peer {owner[0]!r}, which has {owner[1]}")
    _check_no_broadcast(w, row, addresses)
    w.db.connection().execute(text("DELETE FROM interface_addresses WHERE interface_id = :i"), {"i": row.id})
    w.db.add_all(
        models.InterfaceAddress(interface_id=row.id, node_id=row.node_id, address=address, position=position)
        for position, address in enumerate(addresses)
    )
    w.flush("address", ", ".join(addresses), "an interface that was made at the same moment")


def _check_no_broadcast(w: Work, row: models.Interface, addresses: Sequence[values.InterfaceAddress]) -> None:
    """A shorter or longer network has other ends: no peer may be left with an address that no host can have."""
    ends = {}
    for network in (ipaddress.ip_network(values.network_of(address)) for address in addresses):
        if network.prefixlen < network.max_prefixlen - 1:
            ends[str(network[0])] = network
            if network.version == 4:
                ends[str(network[-1])] = network
    clash = w.db.connection().execute(
        text(
            "SELECT p.name, host(a.network) FROM peer_addresses a JOIN peers p ON p.id = a.peer_id"
            " WHERE a.interface_id = :i AND a.kind = 'address' AND host(a.network) = ANY(:ends) LIMIT 1"
        ),
        {"i": row.id, "ends": list(ends)},
    ).first()  # fmt: skip
    if clash:
        raise Conflict(
            "address",
            ", ".join(addresses),
            f"peer {clash[0]!r}, whose {clash[1]} would be the network or broadcast address of {ends[clash[1]]}",
        )


def _check_network(w: Work, row: models.Interface, address: values.InterfaceAddress) -> None:
    network = values.network_of(address)
    clash = w.db.connection().execute(
        text("SELECT i.name, a.network::text FROM interface_addresses a JOIN interfaces i ON i.id = a.interface_id WHERE a.node_id = :node AND a.interface_id <> :i AND a.network && CAST(:net AS inet) LIMIT 1"),
        {"node": w.node_id, "i": row.id, "net": network},
    ).first()  # fmt: skip
    if clash:
        raise Conflict("address", address, f"the network {clash[1]} of interface {clash[0]!r}, which overlaps it")
    behind = w.db.connection().execute(
        text("SELECT p.name, a.network::text FROM peer_addresses a JOIN peers p ON p.id = a.peer_id WHERE a.node_id = :node AND a.kind = 'network' AND a.network && CAST(:net AS inet) AND (a.interface_id <> :i OR a.network >>= CAST(:net AS inet)) LIMIT 1"),
        {"node": w.node_id, "i": row.id, "net": network},
    ).first()  # fmt: skip
    if behind:
        raise Conflict("address", address, f"the network {behind[1]} behind peer {behind[0]!r}, which overlaps it")


def _view(w: Work, interface_id: UUID) -> InterfaceView:
    w.db.flush()
    row = w.db.connection().execute(
        text(INTERFACES + " AND i.id = :id"), {"node": w.node_id, "now": w.now, "id": interface_id}
    )
    return interface_view(row.mappings().one())


seal(__name__)
