"""Client configs by the thousand, always the same ones for a seed, each kind of field present and absent."""

from __future__ import annotations

import ipaddress
import random

from nexushub.clientconf import ClientConfig
from nexushub.kernel.values import Cidr, Endpoint, InterfaceAddress, Key, SecretKey

HOSTS = ("localhost", "vpn.example.com", "hub-1.example.net")
"""What an endpoint may be called; tests that resolve them put them in the namespace's hosts file."""


def secret(rng: random.Random) -> SecretKey:
    """Clamped like an X25519 private key, since devices give it back so."""
    raw = bytearray(rng.randbytes(32))
    raw[0] &= 0xF8
    raw[31] = raw[31] & 0x7F | 0x40
    return SecretKey(bytes(raw))


def generate(count: int, seed: int = 51820) -> list[ClientConfig]:
    """``count`` configs: IPv4, IPv6, both; PSK or none; DNS, MTU, keepalive; from one allowed IP to sixty."""
    rng = random.Random(seed)
    return [_config(rng, number) for number in range(count)]


def _config(rng: random.Random, number: int) -> ClientConfig:
    families = ((4,), (6,), (4, 6))[number % 3]
    return ClientConfig(
        name=f"peer-{number}",
        private_key=secret(rng),
        addresses=tuple(_address(rng, family) for family in families for _ in range(rng.choice((1, 1, 1, 2)))),
        dns=tuple(rng.sample(["10.8.0.1", "fd00:8::1", "9.9.9.9", "2620:fe::fe", "corp.example"], rng.randint(0, 3))),
        mtu=rng.choice((None, None, 1280, 1380, 1420, 8920)),
        public_key=Key(rng.randbytes(32)),
        preshared_key=secret(rng) if rng.random() < 0.5 else None,
        allowed_ips=_networks(rng, families, rng.choice((3, 60, 60) if number % 10 == 0 else (1, 2, 3))),
        endpoint=_endpoint(rng),
        keepalive=rng.choice((0, 0, 25, 1, 65535)),
    )


def _ip(rng: random.Random, family: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if family == 4:
        return ipaddress.IPv4Address(rng.randrange(0x0A000000, 0x0B000000))
    return ipaddress.IPv6Address(0xFD << 120 | rng.getrandbits(rng.choice((16, 64, 120))))


def _address(rng: random.Random, family: int) -> InterfaceAddress:
    if rng.random() < 0.7:
        return InterfaceAddress(f"{_ip(rng, family)}/{32 if family == 4 else 128}")
    network = ipaddress.ip_network(f"{_ip(rng, family)}/{24 if family == 4 else 64}", strict=False)
    return InterfaceAddress(f"{network[rng.randint(1, 254)]}/{network.prefixlen}")


def _networks(rng: random.Random, families: tuple[int, ...], count: int) -> tuple[Cidr, ...]:
    if rng.random() < 0.3:
        return tuple(Cidr({4: "0.0.0.0/0", 6: "::/0"}[family]) for family in families)
    found: dict[str, None] = {}
    while len(found) < count:
        family = rng.choice(families)
        length = rng.randint(8, 32) if family == 4 else rng.choice((48, 56, 64, 112, 128))
        found[str(ipaddress.ip_network(f"{_ip(rng, family)}/{length}", strict=False))] = None
    return tuple(Cidr(network) for network in found)


def _endpoint(rng: random.Random) -> Endpoint | None:
    host = rng.choice(("192.0.2.7", "198.51.100.250", "2001:db8::1", "2001:db8:ffff:1:2:3:4:5", rng.choice(HOSTS), ""))
    return Endpoint(host, rng.choice((51820, 1, 443, 65535))) if host else None
