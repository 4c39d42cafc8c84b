"""The port between NexusHub and the machine: what can be observed, and which operations exist.

``reconcile.plan(desired, observed)`` is pure and yields operations; a ``Kernel`` carries them out. Each
operation is idempotent where the kernel allows it, and a process killed between any two of them leaves a
state from which the next plan converges.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from nexushub.kernel.values import Cidr, Endpoint, InterfaceAddress, InterfaceState, Key, PeerState, Sample, SecretKey


@dataclass(frozen=True, slots=True)
class CreateLink:
    """Make the link, down, and set its alias before anything else, so that a crash leaves no foreign link."""

    name: str
    id: UUID


@dataclass(frozen=True, slots=True)
class DeleteLink:
    """Remove the link, with its peers and routes."""

    name: str


@dataclass(frozen=True, slots=True)
class SetDevice:
    """Set the device's key or port; None leaves a field alone."""

    name: str
    private_key: SecretKey | None = None
    listen_port: int | None = None


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Set the MTU, in bytes."""

    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Put one of the hub's addresses on the link."""

    name: str
    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Take an address off the link."""

    name: str
    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class LinkUp:
    """Bring the link up; the packet filter attaches before."""

    name: str


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Route a network behind a peer to the link."""

    name: str
    network: Cidr


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Remove a route of ours."""

    name: str
    network: Cidr


@dataclass(frozen=True, slots=True)
class RemovePeer:
    """Take a peer off the device; its sessions end with this."""

    name: str
    public_key: Key


@dataclass(frozen=True, slots=True)
class SetPeer:
    """Create a peer or change the fields that are not None.

    ``allowed_ips`` replaces the whole list: the kernel's "add" leaves removed entries authorised.
    ``preshared_key=CLEAR`` and ``keepalive=0`` clear; a field left out stays as it is.
    """

    name: str
    public_key: Key
    allowed_ips: tuple[Cidr, ...] | None = None
    preshared_key: SecretKey | None = None
    """32 zero bytes (``CLEAR``) remove the preshared key."""
    keepalive: int | None = None
    endpoint: Endpoint | None = None
    update_only: bool = False
    """Change it only if it is there: a peer removed meanwhile must not come back."""


CLEAR = SecretKey(bytes(32))
"""As a preshared key in ``SetPeer``: remove it."""

Operation = (
    CreateLink
    | DeleteLink
    | SetDevice
    | SetMtu
    | AddAddress
    | RemoveAddress
    | LinkUp
    | AddRoute
    | RemoveRoute
    | RemovePeer
    | SetPeer
)


class Kernel(Protocol):
    """What the agent needs of the machine. Two implementations speak to WireGuard: netlink and uapi."""

    kind: str
    """``wireguard`` or ``wireguard-go``: what ``CreateLink`` makes."""

    def observe(self, name: str) -> InterfaceState | None:
        """The link as it is now, all of it, or None when no link has that name."""

    def observe_peers(self, name: str, keys: Collection[Key]) -> dict[Key, PeerState]:
        """Those of the peers that are on the device, read back after a small change.

        Costs what the device's dump costs, and nothing for each peer that was not asked for: 40 ms instead of
        150 at 10 000 peers. A peer, or the whole link, that is gone is missing from the answer.
        """

    def sample(self, name: str) -> dict[Key, Sample]:
        """Handshake, counters and endpoint of every peer, as cheap as it goes; empty when the link is gone."""

    def owned(self) -> dict[str, UUID]:
        """Every link that carries our alias, by name, also those of interfaces that no longer exist."""

    def apply(self, operations: Sequence[Operation]) -> None:
        """Carry operations out in order; peer operations that follow one another travel in batches.

        Raises ``KernelError`` with the step, the object and the kernel's words. What came before the failed
        step stays done: the caller observes and plans again.
        """

    def close(self) -> None:
        """Give up sockets. Links, peers and routes stay as they are."""
