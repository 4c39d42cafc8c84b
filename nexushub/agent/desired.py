"""What the database wants of this hub: rows to values, all of them or only those that changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from uuid import UUID

import psycopg

from nexushub.kernel.values import Cidr, InterfaceAddress, InterfaceSpec, Key, PeerSpec, SecretKey, parse_endpoint
from nexushub.secrets import Keyring

MANY = 2000
"""More changed objects than this are read as everything: one big read beats many small ones."""


@dataclass(slots=True)
class WantedPeer:
    """A peer's row. Whether it may be on the device depends on the time too, so ``spec`` stands apart from that."""

    id: UUID
    name: str
    spec: PeerSpec
    enabled: bool
    expires_at: float | None
    """Unix seconds. Kept here so that expiry is enforced with the database away."""
    revision: int
    networks: tuple[Cidr, ...] = ()
    """Those of its allowed IPs that are behind it; they need routes."""

    def active(self, now: float) -> bool:
        return self.enabled and (self.expires_at is None or self.expires_at > now)


@dataclass(slots=True)
class WantedInterface:
    """An interface's row and its peers by id. ``spec`` has no peers; ``at`` puts the active ones in."""

    id: UUID
    spec: InterfaceSpec
    networks: tuple[Cidr, ...]
    revision: int
    peers: dict[UUID, WantedPeer] = field(default_factory=dict)

    def at(self, now: float) -> InterfaceSpec:
        """The link as it must be at a time: with the peers that are enabled and not expired, and their routes."""
        active = [p for p in self.peers.values() if p.active(now)]
        routes = {n for p in active for n in p.networks if not inside(n, self.networks)}
        return self.with_peers({p.spec.public_key: p.spec for p in active}, tuple(sorted(routes)))

    def with_peers(self, peers: dict[Key, PeerSpec], routes: tuple[Cidr, ...] = ()) -> InterfaceSpec:
        """The link with just these peers and routes."""
        s = self.spec
        return InterfaceSpec(s.id, s.name, s.private_key, s.listen_port, s.addresses, s.mtu, s.up, routes, s.nat, peers)


@dataclass(slots=True)
class Desired:
    """Everything this node wants, at a revision."""

    revision: int
    interfaces: dict[UUID, WantedInterface]


def inside(network: Cidr, own: Iterable[Cidr]) -> bool:
    """Whether a network lies in one of the interface's own, which the kernel routes by itself."""
    one = ip_network(network)
    return any(_within(one, ip_network(other)) for other in own)


def _within(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and other.prefixlen <= one.prefixlen and one.network_address in other


_INTERFACES = """SELECT i.id, i.name, i.listen_port, i.mtu, i.enabled, i.nat, i.private_key, i.revision,
  ARRAY(SELECT a.address::text FROM interface_addresses a WHERE a.interface_id = i.id ORDER BY a.position),
  ARRAY(SELECT a.network::text FROM interface_addresses a WHERE a.interface_id = i.id ORDER BY a.position)
  FROM interfaces i WHERE i.node_id = %(node)s"""
_PEERS = """SELECT p.id, p.interface_id, p.name, p.public_key, p.peer_endpoint, p.keepalive, p.enabled,
  extract(epoch FROM p.expires_at)::float8, p.revision FROM peers p WHERE p.node_id = %(node)s"""
_ADDRESSES = "SELECT a.peer_id, a.network::text, a.kind FROM peer_addresses a WHERE a.node_id = %(node)s"
_PSKS = """SELECT k.peer_id, k.id, k.preshared_key FROM preshared_keys k JOIN peers p ON p.id = k.peer_id
  WHERE k.retired_at IS NULL AND p.node_id = %(node)s"""


def read(connection: psycopg.Connection[Any], node: UUID, keyring: Keyring) -> Desired:
    """Everything, in one snapshot of the database."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        revision = _revision(connection, node)
        interfaces = _interfaces(connection, node, keyring, None)
        for interface_id, peer in _peers(connection, node, keyring, None):
            interfaces[interface_id].peers[peer.id] = peer
    return Desired(revision, interfaces)


@dataclass(slots=True)
class Delta:
    """What changed since a revision. An id without a row in ``interfaces`` or ``peers`` was deleted."""

    revision: int
    interface_ids: set[UUID]
    interfaces: dict[UUID, WantedInterface]
    peer_ids: dict[UUID, UUID]
    """Peer to the interface it is or was on."""
    peers: dict[UUID, tuple[UUID, WantedPeer]]


def read_since(connection: psycopg.Connection[Any], node: UUID, keyring: Keyring, since: int) -> Delta | None:
    """What changed after a revision, or None when it is too much, or the log of changes does not reach back."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        revision = _revision(connection, node)
        rows = connection.execute(
            "SELECT revision, kind, object_id, interface_id FROM changes WHERE node_id = %s AND revision > %s LIMIT %s",
            [node, since, MANY + 1],
        ).fetchall()
        if len(rows) > MANY or len({row[0] for row in rows}) != revision - since:
            return None
        interface_ids = {row[2] for row in rows if row[1] == "interface"}
        peer_ids = {row[2]: row[3] for row in rows if row[1] == "peer"}
        interfaces = _interfaces(connection, node, keyring, interface_ids) if interface_ids else {}
        peers = {p.id: (i, p) for i, p in _peers(connection, node, keyring, peer_ids)} if peer_ids else {}
    return Delta(revision, interface_ids, interfaces, peer_ids, peers)


def _revision(connection: psycopg.Connection[Any], node: UUID) -> int:
    row = connection.execute("SELECT desired_revision FROM nodes WHERE id = %s", [node]).fetchone()
    return int(row[0]) if row else 0


def _interfaces(
    connection: psycopg.Connection[Any], node: UUID, keyring: Keyring, ids: Iterable[UUID] | None
) -> dict[UUID, WantedInterface]:
    query, values = _only(_INTERFACES, "i.id", node, ids)
    found = {}
    for row in connection.execute(query, values):
        key = SecretKey(keyring.open("interfaces", "private_key", row[0], bytes(row[6])))
        spec = InterfaceSpec(
            id=row[0], name=row[1], private_key=key, listen_port=row[2], mtu=row[3], up=row[4], nat=row[5],
            addresses=tuple(InterfaceAddress(a) for a in row[8]),
        )  # fmt: skip
        found[row[0]] = WantedInterface(row[0], spec, tuple(Cidr(n) for n in row[9]), row[7])
    return found


def _peers(
    connection: psycopg.Connection[Any], node: UUID, keyring: Keyring, ids: Iterable[UUID] | None
) -> list[tuple[UUID, WantedPeer]]:
    psks: dict[UUID, SecretKey] = {}
    for peer_id, row_id, sealed in connection.execute(*_only(_PSKS, "k.peer_id", node, ids)):
        psks[peer_id] = SecretKey(keyring.open("preshared_keys", "preshared_key", row_id, bytes(sealed)))
    allowed: defaultdict[UUID, list[Cidr]] = defaultdict(list)
    behind: defaultdict[UUID, list[Cidr]] = defaultdict(list)
    for peer_id, network, kind in connection.execute(*_only(_ADDRESSES, "a.peer_id", node, ids)):
        allowed[peer_id].append(Cidr(network))
        if kind == "network":
            behind[peer_id].append(Cidr(network))
    found = []
    for row in connection.execute(*_only(_PEERS, "p.id", node, ids)):
        spec = PeerSpec(
            public_key=Key(bytes(row[3])), allowed_ips=tuple(sorted(allowed[row[0]])), preshared_key=psks.get(row[0]),
            keepalive=row[5], endpoint=parse_endpoint(row[4]) if row[4] else None,
        )  # fmt: skip
        found.append((row[1], WantedPeer(row[0], row[2], spec, row[6], row[7], row[8], tuple(behind.get(row[0], ())))))
    return found


def _only(query: str, column: str, node: UUID, ids: Iterable[UUID] | None) -> tuple[str, dict[str, Any]]:
    if ids is None:
        return query, {"node": node}
    return f"{query} AND {column} = ANY(%(ids)s)", {"node": node, "ids": list(ids)}
