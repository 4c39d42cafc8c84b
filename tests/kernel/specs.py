"""Short ways to write specifications in the kernel tests. Keys are made from small numbers."""

from __future__ import annotations

import hashlib
from uuid import UUID

from nexushub.kernel.values import Cidr, Endpoint, InterfaceAddress, InterfaceSpec, Key, PeerSpec, SecretKey

OWNER = UUID("11111111-2222-4333-8444-555555555555")
OTHER = UUID("99999999-2222-4333-8444-555555555555")


def public_key(number: int) -> Key:
    return Key(hashlib.sha256(b"public %d" % number).digest())


def secret_key(number: int) -> SecretKey:
    """Clamped as X25519 private keys are: the device gives back what it was given only then."""
    raw = bytearray(hashlib.sha256(b"secret %d" % number).digest())
    raw[0] &= 0xF8
    raw[31] = raw[31] & 0x7F | 0x40
    return SecretKey(bytes(raw))


def peer(
    number: int,
    *allowed: str,
    psk: int | None = None,
    keepalive: int = 0,
    endpoint: Endpoint | None = None,
) -> PeerSpec:
    return PeerSpec(
        public_key(number),
        tuple(sorted(Cidr(network) for network in allowed)),
        None if psk is None else secret_key(psk),
        keepalive,
        endpoint,
    )


def hub(
    name: str,
    *peers: PeerSpec,
    key: int = 1,
    port: int = 47001,
    addresses: tuple[str, ...] = ("10.77.0.1/16", "fd77::1/64"),
    mtu: int = 1420,
    routes: tuple[str, ...] = (),
    up: bool = True,
    owner: UUID = OWNER,
) -> InterfaceSpec:
    return InterfaceSpec(
        owner,
        name,
        secret_key(key),
        port,
        tuple(InterfaceAddress(address) for address in addresses),
        mtu,
        up,
        tuple(sorted(Cidr(network) for network in routes)),
        peers={spec.public_key: spec for spec in peers},
    )


def many(count: int) -> list[PeerSpec]:
    """Peers of a large hub, each with one IPv4 and one IPv6 address, some with more to say."""
    return [
        peer(
            number,
            f"10.{80 + number // 65536}.{number // 256 % 256}.{number % 256}/32",
            f"fd80::{number + 1:x}/128",
            psk=number if number % 3 == 0 else None,
            keepalive=25 if number % 2 else 0,
            endpoint=Endpoint("192.0.2.7", 1000 + number) if number % 5 == 0 else None,
        )
        for number in range(count)
    ]
