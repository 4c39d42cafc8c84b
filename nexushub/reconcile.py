"""What has to be done so that a WireGuard link becomes what it must be. Pure: values in, operations out.

``plan`` compares and orders; ``Kernel.apply`` does. After a plan was carried out in full, observing and
planning again gives ``[]``. A process killed between any two operations leaves a state from which the next
plan gets there too. Both hold when no network is an allowed IP of two desired peers, which the database's
exclusion constraint sees to: WireGuard itself would hand it back and forth.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from nexushub.kernel.port import (
    CLEAR,
    AddAddress,
    AddRoute,
    CreateLink,
    DeleteLink,
    LinkUp,
    Operation,
    RemoveAddress,
    RemovePeer,
    RemoveRoute,
    SetDevice,
    SetMtu,
    SetPeer,
)
from nexushub.kernel.values import (
    Cidr,
    InterfaceAddress,
    InterfaceSpec,
    InterfaceState,
    Key,
    PeerSpec,
    PeerState,
    SecretKey,
)

Leave = frozenset[tuple[Key | None, str]]
"""Fields whose drift an administrator chose to ignore: a peer's key (None for the interface) and the field's
name as in ``Difference``; ``"peer"`` is whether the peer is there at all."""

_KINDS = ("wireguard", "wireguard-go")


def plan(
    desired: InterfaceSpec | None,
    observed: InterfaceState | None,
    *,
    leave: Leave = frozenset(),
    redial: Collection[Key] = frozenset(),
) -> list[Operation]:
    """Operations that lead from the observed state to the desired one, in an order that is safe to stop in.

    Peers that must go, go first, then allowed IPs that must leave a peer, then everything that adds: a
    network handed from one peer to another is never with both, and a revoked peer does not wait for 10 000
    others. The link goes up after its peers and addresses, and routes come last.

    A link without our alias (``owner`` None) is never deleted; if one is in the way of an interface, the
    plan begins with ``CreateLink``, which raises ``Foreign`` unless an unfinished link of ours is taken over.

    A different endpoint is never a difference: peers roam, and sending the configured one would cut them
    off (kilo issue 82). The desired endpoint is sent when the peer is new, when the device knows none, and
    for the keys in ``redial``, where the caller knows that somebody changed the configured endpoint.

    To plan a small change on a large hub pass both values with only those peers: 10 000 peers cost 10 ms.
    """
    if desired is None or not desired.up:
        mine = observed is not None and observed.owner is not None and (desired is None or observed.owner == desired.id)
        return [DeleteLink(observed.name)] if observed is not None and mine else []
    operations: list[Operation] = []
    if observed is not None and observed.owner is not None:
        if observed.owner != desired.id or observed.kind not in _KINDS:
            operations.append(DeleteLink(desired.name))
            observed = None
    if observed is None or observed.owner is None:
        operations.append(CreateLink(desired.name, desired.id))
    known = {} if observed is None else observed.peers
    operations += _revocations(desired, known, leave)
    changes = _peer_changes(desired, known, leave, frozenset(redial))
    operations += changes.shrinks
    operations += _device(desired, observed, leave)
    operations += changes.additions
    operations += _link(desired, observed, leave)
    return operations


def _revocations(desired: InterfaceSpec, known: dict[Key, PeerState], leave: Leave) -> Iterator[Operation]:
    if known.keys() <= desired.peers.keys():
        return
    for key in known:
        if key not in desired.peers and (key, "peer") not in leave:
            yield RemovePeer(desired.name, key)


def _device(desired: InterfaceSpec, observed: InterfaceState | None, leave: Leave) -> Iterator[Operation]:
    key = port = None
    if observed is None or (observed.private_key != desired.private_key and (None, "private_key") not in leave):
        key = desired.private_key
    if observed is None or (observed.listen_port != desired.listen_port and (None, "listen_port") not in leave):
        port = desired.listen_port
    if key is not None or port is not None:
        yield SetDevice(desired.name, key, port)


@dataclass(slots=True)
class _Changes:
    shrinks: list[Operation]
    additions: list[Operation]


def _peer_changes(
    desired: InterfaceSpec, known: dict[Key, PeerState], leave: Leave, redial: frozenset[Key]
) -> _Changes:
    """Peers that differ. The loop is written for 10 000 peers that don't: no call for any of them."""
    changes = _Changes([], [])
    get = known.get
    for key, spec in desired.peers.items():
        state = get(key)
        if state is None:
            if (key, "peer") not in leave:
                changes.additions.append(_new_peer(desired.name, spec))
        elif (
            spec.allowed_ips != state.allowed_ips
            or spec.keepalive != state.keepalive
            or spec.preshared_key != state.preshared_key
            or (spec.endpoint is not None and (state.endpoint is None or key in redial))
        ):
            _changed_peer(changes, desired.name, spec, state, leave=leave, redial=redial)
    return changes


def _new_peer(name: str, spec: PeerSpec) -> SetPeer:
    # A preshared key of None is sent as CLEAR all the same: a key that is removed and added again by
    # somebody else in between must not keep the other's.
    return SetPeer(name, spec.public_key, spec.allowed_ips, spec.preshared_key or CLEAR, spec.keepalive, spec.endpoint)


def _changed_peer(
    changes: _Changes, name: str, spec: PeerSpec, state: PeerState, *, leave: Leave, redial: frozenset[Key]
) -> None:
    """Append the one or two operations for a peer that is there and differs in something."""
    key = spec.public_key
    allowed: tuple[Cidr, ...] | None = None
    want, have = frozenset(spec.allowed_ips), frozenset(state.allowed_ips)
    if want != have and (key, "allowed_ips") not in leave:
        kept = want & have
        if kept != have:
            changes.shrinks.append(SetPeer(name, key, tuple(sorted(kept)), update_only=True))
        if kept != want:
            allowed = spec.allowed_ips
    psk = keepalive = endpoint = None
    if spec.preshared_key != state.preshared_key and (key, "preshared_key") not in leave:
        psk = spec.preshared_key or CLEAR
    if spec.keepalive != state.keepalive and (key, "keepalive") not in leave:
        keepalive = spec.keepalive
    if spec.endpoint is not None and (state.endpoint is None or key in redial) and spec.endpoint != state.endpoint:
        endpoint = spec.endpoint
    if not (allowed is None and psk is None and keepalive is None and endpoint is None):
        changes.additions.append(SetPeer(name, key, allowed, psk, keepalive, endpoint, update_only=True))


# -- link


def _version(network: str) -> int:
    return 6 if ":" in network else 4


def _link(desired: InterfaceSpec, observed: InterfaceState | None, leave: Leave) -> Iterator[Operation]:
    name = desired.name
    if observed is None or (observed.mtu != desired.mtu and (None, "mtu") not in leave):
        yield SetMtu(name, desired.mtu)
    lost: tuple[InterfaceAddress, ...] = ()
    if (None, "addresses") not in leave:
        have = () if observed is None else observed.addresses
        lost = tuple(address for address in have if address not in desired.addresses)
        yield from _addresses(name, desired.addresses, have, lost)
    if observed is None or (not observed.up and (None, "up") not in leave):
        yield LinkUp(name)
    if (None, "routes") not in leave:
        routes = frozenset[Cidr]() if observed is None else frozenset(observed.routes)
        wanted = frozenset(desired.routes)
        yield from (RemoveRoute(name, network) for network in sorted(routes - wanted))
        # The kernel drops a link's IPv4 routes with its last IPv4 address.
        shaken = any(_version(address) == 4 for address in lost)
        for network in desired.routes:
            if network not in routes or (shaken and _version(network) == 4):
                yield AddRoute(name, network)


def _addresses(
    name: str, want: Iterable[InterfaceAddress], have: tuple[InterfaceAddress, ...], lost: tuple[InterfaceAddress, ...]
) -> Iterator[Operation]:
    """Change the addresses of a link.

    IPv4: the new one first, since the kernel drops all IPv4 routes of a link with its last IPv4 address.
    Removing the first address of a network takes the others of that network with it
    (net.ipv4.conf.*.promote_secondaries is 0), so those are added once more. IPv6: the old one first, since
    the same address with another length would be refused.
    """
    yield from (RemoveAddress(name, address) for address in lost if _version(address) == 6)
    yield from (AddAddress(name, address) for address in want if address not in have)
    gone = [address for address in lost if _version(address) == 4]
    yield from (RemoveAddress(name, address) for address in gone)
    networks = {ipaddress.ip_interface(address).network for address in gone}
    if networks:
        yield from (
            AddAddress(name, address) for address in want if ipaddress.ip_interface(address).network in networks
        )


# -- drift, for people


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as it must be. Secrets appear as ``set``, ``other`` or ``none``, never themselves."""

    public_key: Key | None
    """The peer, or None for the interface itself."""
    field: str
    """``link``, ``private_key``, ``listen_port``, ``mtu``, ``addresses``, ``up``, ``routes``; for a peer
    ``peer``, ``allowed_ips``, ``preshared_key``, ``keepalive``."""
    desired: str
    observed: str


def _secret(value: SecretKey | None) -> str:
    return "none" if value is None else "set"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(values)) or "none"


def differences(desired: InterfaceSpec | None, observed: InterfaceState | None) -> list[Difference]:
    """Everything in which the link is not what it must be, the interface first, then peers by key.

    Endpoints, handshakes and counters are never in it: they change by themselves.
    """
    if desired is None or not desired.up:
        gone = observed is None or observed.owner is None or (desired is not None and observed.owner != desired.id)
        return [] if gone else [Difference(None, "link", "absent", "present")]
    if observed is None:
        return [Difference(None, "link", "present", "absent")]
    if observed.owner != desired.id or observed.kind not in _KINDS:
        what = "not made by NexusHub" if observed.owner is None else "of another interface, or without WireGuard"
        return [Difference(None, "link", "present", what)]
    found = list(_interface_differences(desired, observed))
    for key in sorted(desired.peers.keys() | observed.peers.keys()):
        spec, state = desired.peers.get(key), observed.peers.get(key)
        if spec is None or state is None:
            found.append(
                Difference(key, "peer", "absent" if spec is None else "present", "absent" if spec else "present")
            )
        else:
            found += _peer_differences(spec, state)
    return found


def _interface_differences(desired: InterfaceSpec, observed: InterfaceState) -> Iterator[Difference]:
    if desired.private_key != observed.private_key:
        yield Difference(None, "private_key", "set", "none" if observed.private_key is None else "other")
    for field in ("listen_port", "mtu"):
        want, have = getattr(desired, field), getattr(observed, field)
        if want != have:
            yield Difference(None, field, str(want), str(have))
    for field in ("addresses", "routes"):
        want, have = _listed(getattr(desired, field)), _listed(getattr(observed, field))
        if want != have:
            yield Difference(None, field, want, have)
    if not observed.up:
        yield Difference(None, "up", "up", "down")


def _peer_differences(spec: PeerSpec, state: PeerState) -> Iterator[Difference]:
    key = spec.public_key
    if spec.allowed_ips != state.allowed_ips and frozenset(spec.allowed_ips) != frozenset(state.allowed_ips):
        yield Difference(key, "allowed_ips", _listed(spec.allowed_ips), _listed(state.allowed_ips))
    if spec.preshared_key != state.preshared_key:
        both = spec.preshared_key is not None and state.preshared_key is not None
        yield Difference(
            key, "preshared_key", _secret(spec.preshared_key), "other" if both else _secret(state.preshared_key)
        )
    if spec.keepalive != state.keepalive:
        yield Difference(key, "keepalive", str(spec.keepalive), str(state.keepalive))
