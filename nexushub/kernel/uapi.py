"""WireGuard over the socket of a wireguard-go process: its cross-platform userspace API.

The text protocol is described at https://www.wireguard.com/xplatform/#configuration-protocol: one request,
``get=1`` or ``set=1`` with lines, ended by an empty line; the answer ends with ``errno=N`` and an empty line.
Sockets live in one directory that all network namespaces share, so a name is used once on a machine.
"""

from __future__ import annotations

import errno as _errno
import os
import re
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from nexushub.errors import KernelError
from nexushub.kernel.port import RemovePeer, SetDevice, SetPeer
from nexushub.kernel.values import Cidr, Endpoint, Key, PeerState, Sample, SecretKey

__all__ = [
    "DIRECTORY",
    "answers",
    "listen_port",
    "owner_process",
    "read",
    "read_peers",
    "sample",
    "socket_path",
    "write",
]

DIRECTORY = Path("/var/run/wireguard")
MARK = "NEXUSHUB_LINK"
"""Environment variable of a wireguard-go that we started: the alias its link gets."""
_TIMEOUT = 15.0
_NO_KEY = "0" * 64

# A peer's lines come in this order from every wireguard-go since 2018. One match for a peer is six times
# faster than a loop over its lines (10 000 peers: 20 ms against 130); what doesn't match takes the loop.
_PEER = re.compile(
    r"([0-9a-f]{64})\npreshared_key=([0-9a-f]{64})\nprotocol_version=\d+\n(?:endpoint=(.+)\n)?"
    r"last_handshake_time_sec=(\d+)\nlast_handshake_time_nsec=(\d+)\ntx_bytes=(\d+)\nrx_bytes=(\d+)\n"
    r"persistent_keepalive_interval=(\d+)\n((?:allowed_ip=.+\n)*)"
)


def socket_path(name: str) -> Path:
    """Where the wireguard-go of that link listens."""
    return DIRECTORY / f"{name}.sock"


def _connect(name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_TIMEOUT)
        connection.connect(str(socket_path(name)))
    except BaseException:
        connection.close()
        raise
    return connection


def answers(name: str) -> bool:
    """Whether a living process listens on that link's socket; a dead one leaves the file behind."""
    try:
        _connect(name).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError as error:
        raise _refused("reach wireguard-go", name, error) from error
    return True


def owner_process(name: str) -> int | None:
    """The process that listens on that link's socket, or None when nobody does."""
    try:
        connection = _connect(name)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    with connection:
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid) or None


def _refused(op: str, target: str, error: OSError) -> KernelError:
    if isinstance(error, TimeoutError):
        return KernelError(op, target, f"wireguard-go did not answer in {_TIMEOUT:.0f} s", errno=_errno.ETIMEDOUT)
    number = error.errno or 0
    hint = "Is its wireguard-go process still running?" if number in (_errno.ENOENT, _errno.ECONNREFUSED) else ""
    return KernelError(op, target, error.strerror or str(error), errno=number, hint=hint)


def _exchange(name: str, request: bytes) -> bytes:
    """Send one request and return the whole answer, up to the empty line that ends it."""
    with _connect(name) as connection:
        connection.sendall(request)
        answer = bytearray()
        while not answer.endswith(b"\n\n"):
            part = connection.recv(1 << 20)
            if not part:
                raise ConnectionResetError(_errno.ECONNRESET, "wireguard-go closed the connection")
            answer += part
    return bytes(answer)


def _errno_of(answer: str) -> int:
    """The number in the answer's last line; wireguard-go writes it negative."""
    return abs(int(answer[answer.rindex("errno=") + 6 :]))


def _dump(name: str) -> str:
    """Everything about the device as text. OSError when nobody listens or it fails."""
    answer = _exchange(name, b"get=1\n\n").decode("ascii")
    number = _errno_of(answer)
    if number:
        raise OSError(number, os.strerror(number))
    return answer[: answer.rindex("errno=")]


def _checked_dump(name: str, missing: str | None = None) -> str:
    """The dump, or ``KernelError``; when nobody listens ``missing``, if it is given."""
    try:
        return _dump(name)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if missing is None:
            raise _refused("read device", name, error) from error
        return missing
    except OSError as error:
        raise _refused("read device", name, error) from error


def _head(dump: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in dump.partition("public_key=")[0].splitlines())


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host.strip("[]"), int(port))


def _cidrs(lines: str) -> tuple[Cidr, ...]:
    """From ``allowed_ip=A\\nallowed_ip=B\\n``. The device's order depends on its trie, so sort."""
    if not lines:
        return ()
    found = lines[11:-1].split("\nallowed_ip=")
    if len(found) > 1:
        found.sort()
    return tuple(found)  # type: ignore[arg-type]  # wireguard-go prints them canonical, masked


def _state(fields: Sequence[str | None]) -> PeerState:
    """From the nine groups of ``_PEER``."""
    key, psk, endpoint, seconds, nanoseconds, tx, rx, keepalive, allowed = fields
    handshake = 0.0 if seconds == "0" else int(seconds or 0) + int(nanoseconds or 0) / 1e9
    return PeerState(
        bytes.__new__(Key, bytes.fromhex(key or "")),
        _cidrs(allowed or ""),
        None if psk == _NO_KEY else SecretKey(bytes.fromhex(psk or "")),
        int(keepalive or 0),
        _endpoint(endpoint) if endpoint else None,
        handshake,
        int(rx or 0),
        int(tx or 0),
    )


def _fields(block: str) -> Sequence[str | None]:
    """The nine groups of a peer's block, whatever the order of its lines."""
    match = _PEER.fullmatch(block)
    if match:
        return match.groups()
    key, _, rest = block.partition("\n")
    found: dict[str, str] = {}
    allowed = ""
    for line in rest.splitlines():
        name, _, value = line.partition("=")
        if name == "allowed_ip":
            allowed += f"{line}\n"
        else:
            found[name] = value
    return (
        key,
        found.get("preshared_key", _NO_KEY),
        found.get("endpoint"),
        *(found.get(f"last_handshake_time_{unit}", "0") for unit in ("sec", "nsec")),
        *(found.get(name, "0") for name in ("tx_bytes", "rx_bytes", "persistent_keepalive_interval")),
        allowed,
    )


def _blocks(dump: str) -> Iterator[str]:
    """One text for each peer, beginning with its key."""
    blocks = iter(dump.split("public_key="))
    next(blocks)
    return blocks


def listen_port(name: str) -> int:
    """The UDP port the device was told to use, without a look at its peers."""
    return int(_head(_checked_dump(name)).get("listen_port", "0"))


def read(name: str) -> tuple[SecretKey | None, int, dict[Key, PeerState]]:
    """Private key, listen port and every peer of a device.

    10 000 peers are 3 MB. Raises ``KernelError`` when its process does not answer.
    """
    dump = _checked_dump(name)
    head = _head(dump)
    private = head.get("private_key", _NO_KEY)
    peers: dict[Key, PeerState] = {}
    for block in _blocks(dump):
        peer = _state(_fields(block))
        peers[peer.public_key] = peer
    return (
        None if private == _NO_KEY else SecretKey(bytes.fromhex(private)),
        int(head.get("listen_port", "0")),
        peers,
    )


def read_peers(name: str, keys: Collection[Key]) -> dict[Key, PeerState]:
    """Only those peers, searched for in the dump: nothing is spent on the others."""
    dump = _checked_dump(name, missing="")
    found: dict[Key, PeerState] = {}
    for key in keys:
        start = dump.find(f"public_key={key.hex()}\n")
        if start >= 0:
            end = dump.find("public_key=", start + 11)
            found[key] = _state(_fields(dump[start + 11 : end if end >= 0 else None]))
    return found


def sample(name: str) -> dict[Key, Sample]:
    """Handshake, counters and endpoint of every peer; empty when the device is gone."""
    dump = _checked_dump(name, missing="")
    found: dict[Key, Sample] = {}
    for block in _blocks(dump):
        key, _, endpoint, seconds, nanoseconds, tx, rx, _, _ = _fields(block)
        handshake = 0.0 if seconds == "0" else int(seconds or 0) + int(nanoseconds or 0) / 1e9
        found[bytes.__new__(Key, bytes.fromhex(key or ""))] = Sample(
            handshake, int(rx or 0), int(tx or 0), _endpoint(endpoint) if endpoint else None
        )
    return found


def _line(operation: SetDevice | SetPeer | RemovePeer) -> str:
    """The lines of one operation. A new peer gets its preshared key before its allowed IPs, so that there is
    no moment in which it could be reached without."""
    if isinstance(operation, SetDevice):
        text = "" if operation.private_key is None else f"private_key={bytes(operation.private_key).hex()}\n"
        return text if operation.listen_port is None else f"{text}listen_port={operation.listen_port}\n"
    text = f"public_key={operation.public_key.hex()}\n"
    if isinstance(operation, RemovePeer):
        return f"{text}remove=true\n"
    if operation.update_only:
        text += "update_only=true\n"
    if operation.preshared_key is not None:
        text += f"preshared_key={bytes(operation.preshared_key).hex()}\n"
    if operation.endpoint is not None:
        text += f"endpoint={operation.endpoint}\n"
    if operation.keepalive is not None:
        text += f"persistent_keepalive_interval={operation.keepalive}\n"
    if operation.allowed_ips is not None:
        text += "replace_allowed_ips=true\n"
        text += "".join([f"allowed_ip={cidr}\n" for cidr in operation.allowed_ips])
    return text


def _set(name: str, operations: Sequence[SetDevice | SetPeer | RemovePeer]) -> None:
    answer = _exchange(name, f"set=1\n{''.join(map(_line, operations))}\n".encode()).decode("ascii")
    number = _errno_of(answer)
    if number:
        raise OSError(number, os.strerror(number))


def write(name: str, operations: Sequence[SetDevice | SetPeer | RemovePeer]) -> None:
    """Carry out operations in order, as one transaction.

    wireguard-go stops at the first line it refuses and does not say which: what came before stays. So after
    a refusal the operations are sent again one by one (each is idempotent) until the one that fails is
    known, and the ``KernelError`` names its peer.
    """
    try:
        _set(name, operations)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise _refused("configure device", name, error) from error
    except OSError as error:
        for operation in operations:
            try:
                _set(name, [operation])
            except OSError as single:
                raise _refused(*_described(operation), single) from error


def _described(operation: SetDevice | SetPeer | RemovePeer) -> tuple[str, str]:
    if isinstance(operation, SetDevice):
        return "configure device", operation.name
    return ("remove peer" if isinstance(operation, RemovePeer) else "set peer"), str(operation.public_key)
