"""Kernel WireGuard over generic netlink, encoded and decoded here.

Source: the kernel's include/uapi/linux/wireguard.h, whose opening comment is the protocol's description, and
drivers/net/wireguard/netlink.c for the order in which a dump is written. pyroute2 gives the constants; its
own messages carry one peer each (10 000 peers: 75 s in emulation, against 0.6 s for ``wg setconf``) and its
decoder is forty times slower than ``wg show dump``.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence

from pyroute2 import netlink as nl  # type: ignore[import-untyped]  # it ships no types
from pyroute2.netlink.generic import wireguard as wg  # type: ignore[import-untyped]  # it ships no types

from nexushub.errors import KernelError
from nexushub.kernel.port import RemovePeer, SetDevice, SetPeer
from nexushub.kernel.values import Cidr, Endpoint, Key, PeerState, Sample, SecretKey

_NESTED = nl.NLA_F_NESTED
_GENL_CTRL, _CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 16, 3, 1, 2
_NLM_F_DUMP_INTR = 0x10
_TYPE = 0x3FFF
"""An attribute's type without the two flag bits."""

_PUBLIC_KEY, _PRESHARED_KEY, _FLAGS, _ENDPOINT, _KEEPALIVE, _HANDSHAKE, _RX, _TX, _ALLOWED = range(1, 10)

_MESSAGE = 32_000
"""Bytes of peers in one message. An attribute's length has 16 bits, so the list of peers ends at 65 535."""
_ALLOWED_IPS = 500
"""Allowed IPs of one peer in one message (20 to 32 bytes each); the rest follows in the next."""
_RECEIVE, _TRIES = 1 << 18, 5

_HEADER = struct.Struct("=IHHIIBBxx")
_ATTRIBUTE = struct.Struct("=HH")
_V4, _V6 = struct.Struct("=HHHHHxxHH4sHHBxxx"), struct.Struct("=HHHHHxxHH16sHHBxxx")
_DUMP_V4, _DUMP_V6 = struct.Struct("=HHBxxxHHHxxHH4s"), struct.Struct("=HHBxxxHHHxxHH16s")
_DUMP_PEER = struct.Struct("=HH32sHH32sHHqqHHHxxHHQHHQ")
_DUMP_PEER_LAYOUT = (36, 1, 36, 2, 20, 6, 6, 5, 12, 8, 12, 7)
_NO_KEY = bytes(32)


def _attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


# -- encoding


def _allowed_ips(cidrs: Sequence[Cidr]) -> bytes:
    parts = []
    for cidr in cidrs:
        address, _, length = cidr.partition("/")
        if ":" in address:
            raw = socket.inet_pton(socket.AF_INET6, address)
            parts.append(_V6.pack(_V6.size, _NESTED, 6, 1, socket.AF_INET6, 20, 2, raw, 5, 3, int(length)))
        else:
            raw = socket.inet_aton(address)
            parts.append(_V4.pack(_V4.size, _NESTED, 6, 1, socket.AF_INET, 8, 2, raw, 5, 3, int(length)))
    return _attribute(_ALLOWED | _NESTED, b"".join(parts))


def _endpoint(endpoint: Endpoint) -> bytes:
    """A sockaddr_in or sockaddr_in6."""
    if ":" in endpoint.host:
        host, _, zone = endpoint.host.partition("%")
        scope = socket.if_nametoindex(zone) if zone else 0
        raw = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", endpoint.port, 0)
        return raw + socket.inet_pton(socket.AF_INET6, host) + struct.pack("=I", scope)
    return (
        struct.pack("=H", socket.AF_INET)
        + struct.pack(">H", endpoint.port)
        + socket.inet_aton(endpoint.host)
        + bytes(8)
    )


def _peer(operation: SetPeer | RemovePeer) -> Iterator[bytes]:
    """The nested attribute for one operation; more than one when its allowed IPs need several.

    Only the first piece replaces the list, the others add to it, and never to a peer that has gone.
    """
    key = _attribute(_PUBLIC_KEY, operation.public_key)
    if isinstance(operation, RemovePeer):
        yield _attribute(_NESTED, key + _attribute(_FLAGS, struct.pack("=I", wg.WGPEER_F_REMOVE_ME)))
        return
    allowed = operation.allowed_ips
    flags = 0 if allowed is None else wg.WGPEER_F_REPLACE_ALLOWEDIPS
    flags |= wg.WGPEER_F_UPDATE_ONLY if operation.update_only else 0
    first = key + _attribute(_FLAGS, struct.pack("=I", flags))
    if operation.preshared_key is not None:
        first += _attribute(_PRESHARED_KEY, operation.preshared_key)
    if operation.endpoint is not None:
        first += _attribute(_ENDPOINT, _endpoint(operation.endpoint))
    if operation.keepalive is not None:
        first += _attribute(_KEEPALIVE, struct.pack("=H", operation.keepalive))
    if allowed:
        first += _allowed_ips(allowed[:_ALLOWED_IPS])
    yield _attribute(_NESTED, first)
    for start in range(_ALLOWED_IPS, len(allowed or ()), _ALLOWED_IPS):
        more = key + _attribute(_FLAGS, struct.pack("=I", wg.WGPEER_F_UPDATE_ONLY))
        yield _attribute(_NESTED, more + _allowed_ips((allowed or ())[start : start + _ALLOWED_IPS]))


def encode(operations: Sequence[SetDevice | SetPeer | RemovePeer]) -> Iterator[bytes]:
    """The attributes of as few ``WG_CMD_SET_DEVICE`` messages as the operations fit in, in their order.

    Never with ``WGDEVICE_F_REPLACE_PEERS``: it would end every session of the hub.
    """
    peers: list[bytes] = []
    size = 0
    for operation in operations:
        if isinstance(operation, SetDevice):
            if peers:
                yield _attribute(wg.WGDEVICE_A_PEERS | _NESTED, b"".join(peers))
                peers, size = [], 0
            device = b""
            if operation.private_key is not None:
                device += _attribute(wg.WGDEVICE_A_PRIVATE_KEY, operation.private_key)
            if operation.listen_port is not None:
                device += _attribute(wg.WGDEVICE_A_LISTEN_PORT, struct.pack("=H", operation.listen_port))
            yield device
            continue
        for piece in _peer(operation):
            if peers and size + len(piece) > _MESSAGE:
                yield _attribute(wg.WGDEVICE_A_PEERS | _NESTED, b"".join(peers))
                peers, size = [], 0
            peers.append(piece)
            size += len(piece)
    if peers:
        yield _attribute(wg.WGDEVICE_A_PEERS | _NESTED, b"".join(peers))


# -- decoding


def _attributes(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, first and last byte of each attribute between two offsets."""
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < 4:
            raise ValueError("a netlink attribute shorter than its header")
        yield kind & _TYPE, start + 4, start + length
        start += (length + 3) & ~3


def _cidr(family: int, raw: bytes, length: int) -> Cidr:
    if family == socket.AF_INET:
        return Cidr(f"{socket.inet_ntop(family, raw)}/{length}")
    text = socket.inet_ntop(family, raw)
    # The C library writes ::/96 with a dotted tail, unlike RFC 5952 and everything else here.
    return Cidr(f"{ipaddress.IPv6Address(raw) if '.' in text else text}/{length}")


def _read_allowed(data: memoryview, start: int, end: int) -> Iterator[Cidr]:
    """Allowed IPs in a nest. The kernel writes prefix, family, address; any other order is read too."""
    while start + 4 <= end:
        length = _ATTRIBUTE.unpack_from(data, start)[0]
        if length == _V4.size:
            mask_length, mask_kind, mask, _, _, family, _, kind, raw = _DUMP_V4.unpack_from(data, start + 4)
        elif length == _V6.size:
            mask_length, mask_kind, mask, _, _, family, _, kind, raw = _DUMP_V6.unpack_from(data, start + 4)
        else:
            mask_length = mask_kind = kind = family = mask = 0
            raw = b""
        if (mask_length, mask_kind & _TYPE, kind & _TYPE) != (5, 3, 2):
            found = {kind: bytes(data[a:b]) for kind, a, b in _attributes(data, start + 4, start + length)}
            family, raw, mask = struct.unpack("=H", found[1])[0], found[2], found[3][0]
        yield _cidr(family, raw, mask)
        start += (length + 3) & ~3


def _read_endpoint(data: memoryview, start: int) -> Endpoint:
    family = struct.unpack_from("=H", data, start)[0]
    port = struct.unpack_from(">H", data, start + 2)[0]
    if family == socket.AF_INET:
        return Endpoint(socket.inet_ntop(family, data[start + 4 : start + 8]), port)
    host = socket.inet_ntop(family, data[start + 8 : start + 24])
    scope = struct.unpack_from("=I", data, start + 24)[0]
    return Endpoint(f"{host}%{scope}" if scope else host, port)


class _Raw:
    """One peer of a dump: what is cheap to read, and where the rest lies."""

    __slots__ = ("allowed", "endpoint", "handshake", "keepalive", "key", "psk", "rx", "tx")

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self.key = self.psk = b""
        self.handshake = 0.0
        self.keepalive = self.rx = self.tx = 0
        self.endpoint: Endpoint | None = None
        self.allowed: list[tuple[memoryview, int, int]] = []
        if end - start >= _DUMP_PEER.size:
            f = _DUMP_PEER.unpack_from(data, start)
            layout = (f[0], f[1], f[3], f[4], f[6], f[7], f[10], f[11], f[13], f[14], f[16], f[17])
            if layout == _DUMP_PEER_LAYOUT:
                self.key, self.psk, self.keepalive, self.tx, self.rx = f[2], f[5], f[12], f[15], f[18]
                if f[8]:
                    self.handshake = f[8] + f[9] / 1e9
                start += _DUMP_PEER.size
        for kind, a, b in _attributes(data, start, end):
            self._take(data, kind, a, b)

    def _take(self, data: memoryview, kind: int, start: int, end: int) -> None:
        if kind == _ALLOWED:
            self.allowed.append((data, start, end))
        elif kind == _ENDPOINT:
            self.endpoint = _read_endpoint(data, start)
        elif kind == _PUBLIC_KEY:
            self.key = bytes(data[start:end])
        elif kind == _PRESHARED_KEY:
            self.psk = bytes(data[start:end])
        elif kind == _KEEPALIVE:
            self.keepalive = struct.unpack_from("=H", data, start)[0]
        elif kind == _HANDSHAKE:
            seconds, nanoseconds = struct.unpack_from("=qq", data, start)
            self.handshake = seconds + nanoseconds / 1e9
        elif kind == _RX:
            self.rx = struct.unpack_from("=Q", data, start)[0]
        elif kind == _TX:
            self.tx = struct.unpack_from("=Q", data, start)[0]

    def state(self) -> PeerState:
        cidrs = [cidr for piece in self.allowed for cidr in _read_allowed(*piece)]
        if len(cidrs) > 1:
            cidrs.sort()
        psk = None if self.psk in (_NO_KEY, b"") else SecretKey(self.psk)
        return PeerState(
            Key(self.key), tuple(cidrs), psk, self.keepalive, self.endpoint, self.handshake, self.rx, self.tx
        )


class Dump:
    """A device put together from the messages of a dump."""

    def __init__(self) -> None:
        self.private_key = b""
        self.listen_port = 0
        self.peers: dict[bytes, _Raw] = {}

    def add(self, data: memoryview, start: int, end: int, keys: Collection[bytes] | None = None) -> None:
        """Take one message's attributes. A peer whose allowed IPs did not fit is continued in the next
        message, with its key and the rest of the list and nothing else."""
        for kind, a, b in _attributes(data, start, end):
            if kind == wg.WGDEVICE_A_PEERS:
                for _, first, last in _attributes(data, a, b):
                    if keys is None or bytes(data[first + 4 : first + 36]) in keys:
                        self._add_peer(_Raw(data, first, last))
            elif kind == wg.WGDEVICE_A_PRIVATE_KEY:
                self.private_key = bytes(data[a:b])
            elif kind == wg.WGDEVICE_A_LISTEN_PORT:
                self.listen_port = struct.unpack_from("=H", data, a)[0]

    def _add_peer(self, raw: _Raw) -> None:
        if raw.key in self.peers:
            self.peers[raw.key].allowed += raw.allowed
        else:
            self.peers[raw.key] = raw


class NetlinkDevices:
    """The kernel's WireGuard devices in the network namespace in which this object was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nl.NETLINK_GENERIC)
        self._socket.bind((0, 0))
        self._socket.settimeout(15)
        self._sequence = 0
        self._family = 0

    def close(self) -> None:
        """Give up the socket."""
        self._socket.close()

    def _request(self, family: int, command: int, flags: int, payload: bytes) -> Iterator[memoryview]:
        """Send one message and yield the messages that answer it; OSError with the kernel's number."""
        self._sequence += 1
        flags |= nl.NLM_F_REQUEST | (0 if flags & nl.NLM_F_DUMP else nl.NLM_F_ACK)
        self._socket.send(_HEADER.pack(20 + len(payload), family, flags, self._sequence, 0, command, 1) + payload)
        while True:
            data = memoryview(self._socket.recv(_RECEIVE))
            start = 0
            while start + 16 <= len(data):
                length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, start)
                if sequence == self._sequence:
                    if kind in (nl.NLMSG_ERROR, nl.NLMSG_DONE):
                        number = struct.unpack_from("=i", data, start + 16)[0]
                        if number:
                            raise OSError(-number, os.strerror(-number))
                        return
                    if flags & _NLM_F_DUMP_INTR:
                        raise InterruptedError(errno.EINTR, "the device changed while it was read")
                    yield data[start + 20 : start + length]
                start += (length + 3) & ~3

    def _family_id(self) -> int:
        """WireGuard's number in generic netlink. Asking loads the module; an unloaded and reloaded one may
        get another number, so a refusal clears the memory of it."""
        if not self._family:
            name = _attribute(_CTRL_FAMILY_NAME, wg.WG_GENL_NAME.encode() + b"\0")
            for message in self._request(_GENL_CTRL, _CTRL_GETFAMILY, 0, name):
                for kind, a, _ in _attributes(message, 0, len(message)):
                    if kind == _CTRL_FAMILY_ID:
                        self._family = struct.unpack_from("=H", message, a)[0]
        return self._family

    def _drain(self) -> None:
        """Throw away what is left of a dump that was given up, so that it does not fill the socket."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(_RECEIVE):
                pass
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(15)

    def _dump(self, name: str, keys: Collection[bytes] | None = None) -> Dump:
        payload = _attribute(wg.WGDEVICE_A_IFNAME, name.encode() + b"\0")
        for attempt in range(1, _TRIES + 1):
            dump = Dump()
            try:
                for message in self._request(self._family_id(), wg.WG_CMD_GET_DEVICE, nl.NLM_F_DUMP, payload):
                    dump.add(message, 0, len(message), keys)
                return dump
            except InterruptedError:
                self._drain()
                if attempt == _TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    def _read(self, name: str, keys: Collection[bytes] | None = None) -> Dump:
        try:
            return self._dump(name, keys)
        except OSError as error:
            raise KernelError("read device", name, error.strerror or str(error), errno=error.errno or 0) from error

    def read(self, name: str) -> tuple[SecretKey | None, int, dict[Key, PeerState]]:
        """Private key, listen port and every peer of a device."""
        dump = self._read(name)
        private = None if dump.private_key in (_NO_KEY, b"") else SecretKey(dump.private_key)
        states = [raw.state() for raw in dump.peers.values()]
        return private, dump.listen_port, {state.public_key: state for state in states}

    def read_peers(self, name: str, keys: Collection[Key]) -> dict[Key, PeerState]:
        """Only those peers; the others are skipped over."""
        states = [raw.state() for raw in self._existing(name, frozenset(keys)).peers.values()]
        return {state.public_key: state for state in states}

    def _existing(self, name: str, keys: Collection[bytes] | None = None) -> Dump:
        try:
            return self._read(name, keys)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            return Dump()

    def sample(self, name: str) -> dict[Key, Sample]:
        """Handshake, counters and endpoint of every peer; empty when the device is gone."""
        return {
            Key(raw.key): Sample(raw.handshake, raw.rx, raw.tx, raw.endpoint)
            for raw in self._existing(name).peers.values()
        }

    def write(self, name: str, operations: Sequence[SetDevice | SetPeer | RemovePeer]) -> None:
        """Carry out operations in order, in as few messages as they fit in.

        The kernel stops at the first peer it refuses and does not say which, and messages before it stay
        done. So after a refusal the operations are sent again one by one (each is idempotent) until the one
        that fails is known, and the ``KernelError`` names its peer.
        """
        try:
            self._set(name, operations)
        except OSError as error:
            self._family = 0
            for operation in operations:
                try:
                    self._set(name, [operation])
                except OSError as single:
                    op, target = described(operation)
                    raise KernelError(op, target, single.strerror or str(single), errno=single.errno or 0) from error

    def _set(self, name: str, operations: Sequence[SetDevice | SetPeer | RemovePeer]) -> None:
        device = _attribute(wg.WGDEVICE_A_IFNAME, name.encode() + b"\0")
        for attributes in encode(operations):
            for _ in self._request(self._family_id(), wg.WG_CMD_SET_DEVICE, 0, device + attributes):
                pass


def described(operation: SetDevice | SetPeer | RemovePeer) -> tuple[str, str]:
    """The step and the object of an operation, for an error."""
    if isinstance(operation, SetDevice):
        return "configure device", operation.name
    return ("remove peer" if isinstance(operation, RemovePeer) else "set peer"), str(operation.public_key)
