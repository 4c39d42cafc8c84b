"""Server-side allowed IPs: allocation of a peer's own addresses, and the networks behind it.

Every caller holds the interface's row lock. The constraints of ``peer_addresses`` stand behind the checks: what
is checked here gets a good sentence, what slips past is refused all the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from nexushub import fields, models
from nexushub.errors import Conflict, Exhausted, Invalid
from nexushub.kernel import values
from nexushub.services import public, seal
from nexushub.work import Work

_BATCH = 256
_ASKED = "unnest(CAST(:f AS text[]), CAST(:c AS inet[])) AS q(field, asked)"
_TAKEN_BY_PEER = text(
    "SELECT q.field, q.asked::text AS asked, p.name AS owner, i.name AS interface, a.network::text AS has"
    f" FROM {_ASKED} JOIN peer_addresses a ON a.node_id = :n AND a.network && q.asked"
    " JOIN peers p ON p.id = a.peer_id JOIN interfaces i ON i.id = p.interface_id LIMIT 1"
)
_TAKEN_BY_INTERFACE = text(
    "SELECT q.field, q.asked::text AS asked, i.name AS owner, a.address::text AS has"
    f" FROM {_ASKED} JOIN interface_addresses a ON a.node_id = :n JOIN interfaces i ON i.id = a.interface_id"
    " WHERE (a.interface_id <> :i AND a.network && q.asked) OR (a.interface_id = :i AND q.asked >>= a.address) LIMIT 1"
)
Wanted = tuple[models.Peer, Sequence[str], Sequence[str]]
"""A peer's row, the addresses asked for (none: allocate), the networks behind it."""


@public("called with the interface's row locked by a service that has checked")
def assign(w: Work, parent: models.Interface, wanted: Sequence[Wanted]) -> None:
    """Give new peers their addresses and networks, all in one pass."""
    pools = _pools(w, parent)
    if not pools:
        raise Invalid("interface", parent.name, "it has no address, so its peers can't get one")
    explicit = [_explicit(parent, pools, ip) for _, ip, _ in wanted]
    behind = [_behind(networks) for _, _, networks in wanted]
    _check_free(
        w, parent, [(row, own.values(), nets) for (row, _, _), own, nets in zip(wanted, explicit, behind, strict=True)]
    )
    asked = {address for own in explicit for address in own.values()}
    rows: list[models.PeerAddress] = []
    for pool in pools:
        missing = [i for i, own in enumerate(explicit) if pool.id not in own]
        fresh = list(_allocate(w, parent, pool, len(missing), asked))
        for i, address in zip(missing, fresh, strict=True):
            explicit[i][pool.id] = address
    for (row, _, _), own, nets in zip(wanted, explicit, behind, strict=True):
        ordered = [own[pool.id] for pool in pools if pool.id in own]
        rows += [_address(row, f"{a}/{32 if '.' in a else 128}", "address", n) for n, a in enumerate(ordered)]
        rows += [_address(row, n, "network", i) for i, n in enumerate(nets)]
    w.db.add_all(rows)
    w.flush("networks", parent.name, "a peer that was made at the same moment")


@public("called with the interface's row locked by a service that has checked")
def reassign(
    w: Work, parent: models.Interface, row: models.Peer, ip: Sequence[str] | None, networks: Sequence[str] | None
) -> None:
    """Change a peer's addresses, its networks, or both; None leaves one as it is."""
    present = w.db.exec(
        select(models.PeerAddress)
        .where(models.PeerAddress.peer_id == row.id)
        .order_by(col(models.PeerAddress.position))
    ).all()
    if ip is None:
        ip = [a.network.split("/")[0] for a in present if a.kind == "address"]
    if networks is None:
        networks = [a.network for a in present if a.kind == "network"]
    release(w, [row.id])
    w.db.connection().execute(text("DELETE FROM peer_addresses WHERE peer_id = :p"), {"p": row.id})
    w.db.expire_all()
    assign(w, parent, [(row, ip, networks)])


@public("called by a service that has checked, before the peers' rows go")
def release(w: Work, peer_ids: Sequence[UUID]) -> None:
    """Let allocation find the addresses of these peers again: lower each network's starting point to them."""
    w.db.connection().execute(
        text(
            "UPDATE interface_addresses ia SET next_host = least(ia.next_host, f.host) FROM ("
            " SELECT i.id, min(pa.network::inet - i.network::inet) AS host FROM interface_addresses i"
            " JOIN peer_addresses pa ON pa.interface_id = i.interface_id AND pa.kind = 'address'"
            "  AND family(pa.network) = family(i.network) AND pa.network <<= i.network"
            " WHERE pa.peer_id = ANY(:ids) GROUP BY i.id) f WHERE f.id = ia.id"
        ),
        {"ids": list(peer_ids)},
    )


def _pools(w: Work, parent: models.Interface) -> list[models.InterfaceAddress]:
    query = select(models.InterfaceAddress).where(models.InterfaceAddress.interface_id == parent.id)
    return list(w.db.exec(query.order_by(col(models.InterfaceAddress.position)).with_for_update()).all())


def _explicit(
    parent: models.Interface, pools: Sequence[models.InterfaceAddress], given: Sequence[str]
) -> dict[UUID, str]:
    """The addresses asked for, by pool. Never the hub's own, the network's or the broadcast address."""
    found: dict[UUID, str] = {}
    for item in given:
        plain = item.removesuffix("/32") if "." in item else item.removesuffix("/128")
        address = fields.parsed("ip", plain, values.parse_address)
        pool = next((p for p in pools if ipaddress.ip_address(address) in ipaddress.ip_network(str(p.network))), None)
        if pool is None:
            nets = ", ".join(str(p.network) for p in pools)
            raise Invalid("ip", item, f"it is not in {parent.name}'s {nets}")
        if address == pool.address.split("/")[0]:
            raise Conflict("ip", address, f"the hub itself on {parent.name}")
        if not _usable(pool, ipaddress.ip_address(address)):
            raise Invalid("ip", item, f"it is the network or broadcast address of {pool.network}")
        if pool.id in found:
            raise Invalid("ip", item, f"one address of {pool.network} is enough")
        found[pool.id] = address
    return found


def _usable(pool: models.InterfaceAddress, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    network = ipaddress.ip_network(str(pool.network))
    if network.prefixlen >= network.max_prefixlen - 1:
        return True
    return address != network.network_address and not (network.version == 4 and address == network.broadcast_address)


def _behind(given: Sequence[str]) -> list[str]:
    return [str(item) for item in fields.cidrs("networks", given)]


def _allocate(
    w: Work, parent: models.Interface, pool: models.InterfaceAddress, count: int, asked: set[str]
) -> Iterator[str]:
    """The lowest free addresses of a pool. ``next_host`` remembers where the taken ones end, so it is O(count)."""
    if not count:
        return
    network = ipaddress.ip_network(str(pool.network))
    hub = ipaddress.ip_interface(pool.address).ip
    offset, found = pool.next_host, 0
    while found < count:
        batch = [network.network_address + i for i in range(offset, min(offset + _BATCH, network.num_addresses))]
        if not batch:
            held = network.num_addresses - 1 - sum(not _usable(pool, a) for a in {network[0], network[-1]} - {hub})
            raise Exhausted(f"{network} on {parent.name}", held)
        taken = set(
            w.db.connection().execute(
                text("SELECT host(c) FROM unnest(CAST(:c AS inet[])) c WHERE EXISTS (SELECT 1 FROM peer_addresses a WHERE a.node_id = :n AND a.network && c)"),
                {"n": parent.node_id, "c": [str(a) for a in batch]},
            ).scalars()
        )  # fmt: skip
        for address in batch:
            offset += 1
            if address == hub or not _usable(pool, address) or str(address) in taken or str(address) in asked:
                continue
            yield str(address)
            found += 1
            if found == count:
                break
    pool.next_host = offset


def _check_free(
    w: Work, parent: models.Interface, wanted: Sequence[tuple[models.Peer, Iterable[str], Iterable[str]]]
) -> None:
    """Name whoever has an address or network that was asked for, in the list or in the database."""
    seen: list[tuple[str, str, models.Peer]] = []
    for row, own, networks in wanted:
        for field, item in [*(("ip", a) for a in own), *(("networks", n) for n in networks)]:
            one = ipaddress.ip_network(item)
            for _, earlier, owner in seen:
                other = ipaddress.ip_network(earlier)
                if owner is not row and other.version == one.version and other.overlaps(one):
                    raise Conflict(field, item, f"peer {owner.name!r} of the same list")
            seen.append((field, item, row))
    if not seen:
        return
    names = {"n": parent.node_id, "i": parent.id, "f": [f for f, _, _ in seen], "c": [c for _, c, _ in seen]}
    peer = w.db.connection().execute(_TAKEN_BY_PEER, {k: names[k] for k in ("n", "f", "c")}).first()
    if peer:
        raise Conflict(peer.field, peer.asked, f"peer {peer.owner!r} on {peer.interface}, which has {peer.has}")
    hub = w.db.connection().execute(_TAKEN_BY_INTERFACE, names).first()
    if hub:
        raise Conflict(hub.field, hub.asked, f"interface {hub.owner!r}, which has {hub.has}")


def _address(row: models.Peer, network: str, kind: str, position: int) -> models.PeerAddress:
    return models.PeerAddress(
        peer_id=row.id,
        interface_id=row.interface_id,
        node_id=row.node_id,
        network=network,
        kind=kind,
        position=position,
    )


seal(__name__)
