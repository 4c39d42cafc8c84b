"""The values that cross the kernel port. Standard library only, no behaviour beyond parsing and printing.

A value is parsed once, at the edge, and is canonical from then on: two allowed IPs are equal when their
strings are. ``parse_*`` raise ``ValueError`` with a reason that names what is wrong; the service layer turns
it into ``Invalid`` with the field's name.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NewType, NoReturn
from uuid import UUID

Cidr = NewType("Cidr", str)
"""A network in canonical form, host bits zero: ``10.8.0.0/24``, ``fd00::/64``."""

InterfaceAddress = NewType("InterfaceAddress", str)
"""An address with its network's length, host bits kept: ``10.8.0.1/24``."""

INTERFACE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,14}")
ALIAS_PREFIX = "nexushub:"
"""Owned links carry the alias ``nexushub:<interface uuid>``; a link without it is never changed."""

# RFC 7748 section 6.1 and "May the Fourth" of cr.yp.to/ecdh.html: points of small order, with which the
# shared secret is zero whatever the other side's key. Little-endian, the top bit cleared.
_LOW_ORDER = frozenset(
    bytes.fromhex(h)
    for h in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


class Key(bytes):
    """A WireGuard public key: 32 bytes, shown in base64."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Key:
        if len(raw) != 32:
            raise ValueError(f"a key has 32 bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    def __str__(self) -> str:
        return base64.b64encode(self).decode()

    def __repr__(self) -> str:
        return f"Key({self})"


class SecretKey(bytes):
    """A private or preshared key: 32 bytes that never print themselves.

    ``str``, ``repr`` and ``format`` are redacted, and pickling raises, so that no log line, traceback or
    cache holds one by accident. ``reveal`` is the one way out, easy to find by searching for it.
    """

    __slots__ = ()

    def __new__(cls, raw: bytes) -> SecretKey:
        if len(raw) != 32:
            raise ValueError(f"a key has 32 bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    def reveal(self) -> str:
        """The key in base64, as ``wg`` writes it."""
        return base64.b64encode(self).decode()

    def __repr__(self) -> str:
        return "SecretKey(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def hex(self, *_: Any) -> NoReturn:
        """Refused: hexadecimal would be a way out that nobody searches for."""
        raise TypeError("a secret key does not print itself; use reveal()")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret key is not pickled")


def decode_key(text: str) -> bytes:
    """The 32 bytes of a key in base64, or ``ValueError``. Only the canonical spelling is taken."""
    if not re.fullmatch(r"[A-Za-z0-9+/]{43}=", text):
        raise ValueError("a WireGuard key is 44 characters of base64 that end in '='")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("its last character has stray bits; it is not the canonical spelling of any key")
    return raw


def parse_public_key(text: str) -> Key:
    """A public key. All-zero and low-order points are refused: WireGuard would accept a key nobody can use."""
    raw = decode_key(text)
    if raw[:31] + bytes([raw[31] & 0x7F]) in _LOW_ORDER:
        raise ValueError("it is a low-order point, which no WireGuard peer can have")
    return Key(raw)


def parse_secret_key(text: str) -> SecretKey:
    """A private or preshared key; the all-zero key means "none" to the kernel and is refused."""
    raw = decode_key(text)
    if not any(raw):
        raise ValueError("the all-zero key means 'no key' to the kernel")
    return SecretKey(raw)


def _parsed(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    if "%" in text:
        raise ValueError("a zone id has no meaning here")
    try:
        value = ipaddress.ip_interface(text)
    except ValueError as error:
        address = text.partition("/")[0]
        if re.search(r"(^|\.)0\d", address):
            raise ValueError(
                "an octet with a leading zero is read as octal by some programs; write it without"
            ) from error
        raise ValueError("it is not an IPv4 or IPv6 address") from error
    if "/" in text and not re.fullmatch(r"0|[1-9]\d{0,2}", text.partition("/")[2]):
        raise ValueError("the part after '/' must be a prefix length such as 24")
    if isinstance(value, ipaddress.IPv6Interface) and value.ip.ipv4_mapped is not None:
        raise ValueError(f"write the IPv4 address {value.ip.ipv4_mapped} itself, not its IPv6-mapped form")
    return value


def parse_cidr(text: str) -> Cidr:
    """A network; an address alone is its /32 or /128. Host bits are an error that names the masked form."""
    value = _parsed(text.strip())
    if value.ip != value.network.network_address:
        raise ValueError(f"it has host bits set; the network is {value.network}")
    return Cidr(str(value.network))


def parse_address(text: str) -> str:
    """One unicast address without a length, in canonical form."""
    if "/" in text:
        raise ValueError("give the address alone, without a prefix length")
    value = _parsed(text.strip()).ip
    if (
        value.is_multicast
        or value.is_unspecified
        or value.is_loopback
        or value == ipaddress.IPv4Address("255.255.255.255")
    ):
        raise ValueError("it is not an address a host can have")
    return str(value)


def parse_interface_address(text: str) -> InterfaceAddress:
    """The hub's address with its network: ``10.8.0.1/24``. The network and broadcast address are refused."""
    if "/" not in text:
        raise ValueError("give the prefix length too, such as 10.8.0.1/24")
    value = _parsed(text.strip())
    network = value.network
    parse_address(str(value.ip))
    if network.prefixlen < (8 if value.version == 4 else 16):
        raise ValueError(
            f"a /{network.prefixlen} is larger than any hub's network; use /{8 if value.version == 4 else 16} or longer"
        )
    if network.prefixlen < network.max_prefixlen - 1:
        if value.ip == network.network_address:
            raise ValueError(f"it is the network address; the first host is {network.network_address + 1}")
        if value.version == 4 and value.ip == network.broadcast_address:
            raise ValueError("it is the broadcast address of its network")
    return InterfaceAddress(str(value))


def network_of(address: InterfaceAddress) -> Cidr:
    """The network that an interface address is in."""
    return Cidr(str(ipaddress.ip_interface(address).network))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer or a hub listens: an IP address or a host name, and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def parse_endpoint(text: str, *, default_port: int | None = None, numeric: bool = False) -> Endpoint:
    """``host:port``, ``192.0.2.1:51820`` or ``[2001:db8::1]:51820``.

    ``default_port`` is taken when the text has none. ``numeric`` refuses host names: the kernel takes none.
    """
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host:
            raise ValueError("an IPv6 endpoint is written [2001:db8::1]:51820")
    elif text.count(":") > 1:
        host, rest = text, ""
        if default_port is None:
            raise ValueError("an IPv6 endpoint is written [2001:db8::1]:51820")
    else:
        host, colon, port_text = text.partition(":")
        rest = colon + port_text
    if rest and not re.fullmatch(r":[0-9]{1,5}", rest):
        raise ValueError("it must be HOST:PORT")
    port = int(rest[1:]) if rest else default_port
    if port is None:
        raise ValueError("give the port too, such as vpn.example.com:51820")
    if not 1 <= port <= 65535:
        raise ValueError("the port must be 1 to 65535")
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        host = parse_address(host)
    elif numeric:
        raise ValueError("it must be an IP address and a port: the kernel takes no host name")
    elif len(host) > 253 or not host or not all(_HOST_LABEL.fullmatch(label) for label in host.rstrip(".").split(".")):
        raise ValueError("it is neither an IP address nor a host name")
    return Endpoint(host.rstrip("."), port)


@dataclass(frozen=True, slots=True)
class PeerSpec:
    """What one peer on a device must be. Every field is set: there is no "leave alone" in a desired state."""

    public_key: Key
    allowed_ips: tuple[Cidr, ...]
    """Server-side allowed IPs, canonical and sorted; from here packets are accepted, to here they are sent."""
    preshared_key: SecretKey | None = None
    keepalive: int = 0
    """Seconds; 0 is off."""
    endpoint: Endpoint | None = None
    """Where to dial the peer first. Peers roam, so a different endpoint on the device is never drift."""


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """What one WireGuard link must be."""

    id: UUID
    name: str
    private_key: SecretKey
    listen_port: int
    addresses: tuple[InterfaceAddress, ...]
    mtu: int = 1420
    up: bool = True
    """False: the link must not exist. WireGuard links hold no state worth keeping down."""
    routes: tuple[Cidr, ...] = ()
    """Networks behind peers, outside the interface's own; sorted."""
    nat: bool = False
    peers: dict[Key, PeerSpec] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        return f"{ALIAS_PREFIX}{self.id}"


@dataclass(slots=True)
class PeerState:
    """What one peer on a device is, read back."""

    public_key: Key
    allowed_ips: tuple[Cidr, ...] = ()
    preshared_key: SecretKey | None = None
    keepalive: int = 0
    endpoint: Endpoint | None = None
    last_handshake: float = 0.0
    """Unix time in seconds; 0 is never."""
    rx_bytes: int = 0
    tx_bytes: int = 0


@dataclass(slots=True)
class InterfaceState:
    """What one link is, read back. ``owner`` is None for a link that NexusHub did not make."""

    name: str
    kind: str
    """``wireguard`` (kernel) or ``wireguard-go``."""
    index: int
    owner: UUID | None
    private_key: SecretKey | None
    listen_port: int
    mtu: int
    up: bool
    addresses: tuple[InterfaceAddress, ...]
    routes: tuple[Cidr, ...]
    """Only the routes that NexusHub set on this link."""
    peers: dict[Key, PeerState]


class Sample(NamedTuple):
    """What changes by itself on one peer; the status reader takes one of each peer every second."""

    last_handshake: float
    """Unix time in seconds; 0 is never."""
    rx_bytes: int
    """Received from the peer since the device was made."""
    tx_bytes: int
    endpoint: Endpoint | None
