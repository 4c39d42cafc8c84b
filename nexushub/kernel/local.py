"""The kernel port on this machine: rtnetlink for links, and WireGuard by netlink or by wireguard-go's socket.

Which of the two configures a link depends on the link, so links of both kinds can live side by side, and a
wireguard-go link keeps working after the kernel module was installed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from typing import Protocol
from uuid import UUID

from nexushub.errors import Foreign, KernelError
from nexushub.kernel import uapi
from nexushub.kernel.links import Link, Links, no_wireguard, port_in_use, userspace_program, wait_until
from nexushub.kernel.netlink import NetlinkDevices
from nexushub.kernel.port import (
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
from nexushub.kernel.values import InterfaceState, Key, PeerState, Sample, SecretKey

KERNEL = "wireguard"
USERSPACE = "wireguard-go"

_BATCH = 1000
"""Peers in one transaction of wireguard-go, which stops forwarding nothing but answers no reader meanwhile."""


class _Devices(Protocol):
    """One way to configure WireGuard devices. ``uapi`` is one as a module; ``netlink`` has the other."""

    def read(self, name: str) -> tuple[SecretKey | None, int, dict[Key, PeerState]]: ...

    def read_peers(self, name: str, keys: Collection[Key]) -> dict[Key, PeerState]: ...

    def sample(self, name: str) -> dict[Key, Sample]: ...

    def write(self, name: str, operations: Sequence[SetDevice | SetPeer | RemovePeer]) -> None: ...


class LocalKernel:
    """The machine this process runs on, seen from its network namespace. Implements ``port.Kernel``.

    ``before_up`` is called with the link's name before a link goes up for the first time: the place where
    the packet filter attaches, so that no packet passes before it does. What it raises stops the apply with
    the link still down.
    """

    def __init__(self, kind: str, *, before_up: Callable[[str], None] | None = None) -> None:
        self.kind = kind
        self.before_up = before_up
        self._links = Links()
        self._netlink: NetlinkDevices | None = None

    def close(self) -> None:
        """Give up the sockets; links, peers and routes stay."""
        self._links.close()
        if self._netlink is not None:
            self._netlink.close()

    def _kernel_devices(self) -> NetlinkDevices:
        if self._netlink is None:
            self._netlink = NetlinkDevices()
        return self._netlink

    # -- reading

    def _devices(self, link: Link) -> _Devices | None:
        """What configures this link's device, or None when it is no WireGuard device."""
        if link.kind == "wireguard":
            return self._kernel_devices()
        return uapi if link.kind == "tun" and uapi.answers(link.name) else None

    def observe(self, name: str) -> InterfaceState | None:
        """The link as it is now, or None when there is none. Not atomic: it takes five reads."""
        link = self._links.find(name)
        if link is None:
            return None
        devices = self._devices(link)
        kind = link.kind if devices is None else KERNEL if link.kind == "wireguard" else USERSPACE
        private_key, listen_port, peers = (None, 0, {}) if devices is None else devices.read(name)
        if devices is uapi and link.up and listen_port and not port_in_use(listen_port):
            listen_port = 0  # it says the port it was told, also when it could not open it
        return InterfaceState(
            name=name,
            kind=kind,
            index=link.index,
            owner=link.owner,
            private_key=private_key,
            listen_port=listen_port,
            mtu=link.mtu,
            up=link.up,
            addresses=self._links.addresses(link),
            routes=self._links.routes(link),
            peers=peers,
        )

    def observe_peers(self, name: str, keys: Collection[Key]) -> dict[Key, PeerState]:
        """Those of the peers that are on the device; see the port."""
        devices = self._devices_by_name(name)
        return {} if devices is None else devices.read_peers(name, keys)

    def sample(self, name: str) -> dict[Key, Sample]:
        """Handshake, counters and endpoint of every peer; see the port."""
        devices = self._devices_by_name(name)
        return {} if devices is None else devices.sample(name)

    def _devices_by_name(self, name: str) -> _Devices | None:
        link = self._links.find(name)
        return None if link is None else self._devices(link)

    def owned(self) -> dict[str, UUID]:
        """Our links by name: by alias, or by the mark of a wireguard-go that never got its alias."""
        owners = ((link.name, self._links.owner_of(link)) for link in self._links.all())
        return {name: owner for name, owner in owners if owner is not None}

    # -- writing

    def apply(self, operations: Sequence[Operation]) -> None:
        """Carry operations out in order. Every link is looked at first: what is not ours raises ``Foreign``."""
        ours: dict[str, Link] = {}
        pending: list[SetDevice | SetPeer | RemovePeer] = []
        for operation in operations:
            if isinstance(operation, SetDevice | SetPeer | RemovePeer):
                if pending and (pending[0].name != operation.name or len(pending) >= _BATCH):
                    self._configure(ours, pending)
                pending.append(operation)
                continue
            self._configure(ours, pending)
            if isinstance(operation, CreateLink | DeleteLink):
                ours.pop(operation.name, None)
                self._create(operation) if isinstance(operation, CreateLink) else self._delete(operation)
            else:
                self._do(self._ours(ours, operation.name), operation)
        self._configure(ours, pending)

    def _ours(self, known: dict[str, Link], name: str) -> Link:
        """The link of that name, once looked up in an apply, or an error when it is gone or foreign."""
        if name not in known:
            link = self._links.find(name)
            if link is None:
                raise KernelError("use link", name, "it does not exist", errno=errno.ENODEV)
            if self._links.owner_of(link) is None:
                raise Foreign(name)
            known[name] = link
        return known[name]

    def _configure(self, ours: dict[str, Link], pending: list[SetDevice | SetPeer | RemovePeer]) -> None:
        """Send what has gathered, as one batch, and empty the list."""
        if not pending:
            return
        link = self._ours(ours, pending[0].name)
        devices = self._devices(link)
        if devices is None:
            raise KernelError(
                "configure device", link.name, "its wireguard-go process does not answer", errno=errno.ECONNREFUSED
            )
        batch = pending.copy()
        pending.clear()
        if devices is uapi:
            _refuse_used_ports(link.name, batch)
        devices.write(link.name, batch)

    def _create(self, operation: CreateLink) -> None:
        """Make the link, or take over one that was made for this interface and not finished."""
        link = self._links.find(operation.name)
        if link is not None:
            owner = self._links.owner_of(link)
            if owner is None:
                raise Foreign(operation.name)
            if owner == operation.id:
                if link.owner is None:
                    self._links.adopt(link.name, owner)
                return
            self._links.delete(link)
        if self.kind == KERNEL:
            self._links.create_kernel(operation.name, operation.id)
        else:
            self._links.create_userspace(operation.name, operation.id)

    def _delete(self, operation: DeleteLink) -> None:
        """Remove the link; one that is gone already is fine."""
        if self._links.find(operation.name) is not None:
            self._links.delete(self._ours({}, operation.name))

    def _do(self, link: Link, operation: Operation) -> None:
        links = self._links
        match operation:
            case SetMtu(mtu=mtu):
                links.set_mtu(link, mtu)
            case AddAddress(address=address):
                links.add_address(link, address)
            case RemoveAddress(address=address):
                links.remove_address(link, address)
            case AddRoute(network=network):
                links.add_route(link, network)
            case RemoveRoute(network=network):
                links.remove_route(link, network)
            case LinkUp():
                self._up(link)
            case _:
                raise TypeError(f"no such operation: {operation!r}")

    def _up(self, link: Link) -> None:
        """Filter first, then up.

        A wireguard-go opens its port in its own time, some versions only when the link is up, and keeps
        quiet when it can't: so the port is awaited.
        """
        if self.before_up is not None:
            self.before_up(link.name)
        if link.kind == "wireguard":
            self._links.set_up(link)
            return
        self._links.set_up(link)
        port = uapi.listen_port(link.name)
        if port:
            wait_until(lambda: port_in_use(port), "bring up", link.name, f"wireguard-go did not open UDP port {port}")


def _refuse_used_ports(name: str, batch: Sequence[SetDevice | SetPeer | RemovePeer]) -> None:
    """Refuse a port that another program has.

    A wireguard-go that is told such a port closes the old one first, and then has none: the hub would be
    deaf. The kernel's own WireGuard keeps the old port and says so.
    """
    for operation in batch:
        port = operation.listen_port if isinstance(operation, SetDevice) else None
        if port and port_in_use(port) and uapi.listen_port(name) != port:
            raise KernelError("configure device", name, f"UDP port {port} is in use", errno=errno.EADDRINUSE)


def open_kernel(*, before_up: Callable[[str], None] | None = None) -> LocalKernel:
    """The kernel of this machine: its own WireGuard when it has it, else wireguard-go.

    Raises ``KernelError`` when there is neither, with what to install, and when the right to administer the
    network is missing.
    """
    with closing(Links()) as links:
        kind = KERNEL if links.probe_kernel() else USERSPACE
    if kind == USERSPACE and userspace_program() is None:
        raise no_wireguard("open WireGuard", "of this machine")
    return LocalKernel(kind, before_up=before_up)
