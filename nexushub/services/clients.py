"""From a peer's row to its client's file."""

from __future__ import annotations

import base64

from sqlmodel import col, select

from nexushub import clientconf, models
from nexushub.kernel.values import (
    Cidr,
    InterfaceAddress,
    Key,
    SecretKey,
    network_of,
    parse_endpoint,
)
from nexushub.services import public, seal
from nexushub.views import PeerView, View
from nexushub.work import Work


class PeerConfig(View):
    """A client's file. It holds secrets: it is shown, written or drawn, and never logged."""

    name: str
    file_name: str
    text: str
    compact: str
    """The same config in the fewest characters, for a QR code that must be small."""
    has_private_key: bool


class HubSide(View):
    """What every client of an interface is told of the hub."""

    public_key: bytes
    endpoint: str
    networks: list[str]
    dns: list[str]
    mtu: int


@public("no secret is in it, and its callers have checked")
def hub_side(w: Work, parent: models.Interface) -> HubSide:
    """Read the hub's part of the files of one interface, once for many peers."""
    query = select(models.InterfaceAddress).where(models.InterfaceAddress.interface_id == parent.id)
    addresses = w.db.exec(query.order_by(col(models.InterfaceAddress.position))).all()
    return HubSide(
        public_key=parent.public_key, endpoint=parent.endpoint, dns=parent.dns, mtu=parent.mtu,
        networks=[network_of(InterfaceAddress(row.address)) for row in addresses],
    )  # fmt: skip


@public("its callers, which open the secrets, have checked and audited")
def file(hub: HubSide, peer: PeerView, private: SecretKey | None, psk: SecretKey | None) -> PeerConfig:
    """The file of one peer. Without a private key it says where to put one."""
    endpoint = peer.endpoint or hub.endpoint
    config = clientconf.ClientConfig(
        name=peer.name,
        private_key=private,
        addresses=tuple(InterfaceAddress(f"{a}/{32 if '.' in a else 128}") for a in peer.addresses),
        dns=tuple(hub.dns if peer.dns is None else peer.dns),
        mtu=peer.mtu or hub.mtu,
        public_key=Key(hub.public_key),
        preshared_key=psk,
        allowed_ips=tuple(Cidr(n) for n in (peer.allowed_ips or hub.networks)),
        endpoint=parse_endpoint(endpoint) if endpoint else None,
        keepalive=peer.keepalive,
    )
    return PeerConfig(
        name=peer.name, file_name=clientconf.file_name(peer.name), text=clientconf.render(config),
        compact=clientconf.compact(config), has_private_key=private is not None,
    )  # fmt: skip


@public("a pure function of its argument")
def shown_key(raw: bytes) -> str:
    """A public key in base64."""
    return base64.b64encode(raw).decode()


seal(__name__)
