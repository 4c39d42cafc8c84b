"""The last known good state, encrypted on disk, so that a hub boots with its database away.

Written after every change that takes something away before the change is reported as applied: a peer that was
revoked must stay revoked if machine and database go down in the next moment.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from uuid import UUID

from nexushub.agent.desired import Desired, WantedInterface, WantedPeer
from nexushub.errors import NexusError
from nexushub.kernel.values import Cidr, InterfaceAddress, InterfaceSpec, Key, PeerSpec, SecretKey, parse_endpoint
from nexushub.secrets import Keyring

_FORMAT = 1


def path_of(state_dir: Path) -> Path:
    return state_dir / "agent" / "desired.snapshot"


def save(path: Path, node: UUID, desired: Desired, keyring: Keyring) -> None:
    """Write the whole state atomically, mode 0600: a reader finds the old file or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sealed = keyring.seal("agent", "snapshot", node, _encode(desired))
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(node.bytes + sealed)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, keyring: Keyring) -> tuple[UUID, Desired, float] | None:
    """Node, state, and when it was written (Unix seconds); None when there is no snapshot.

    ``NexusError`` when there is one that does not open: somebody altered it, or its key is not loaded.
    """
    try:
        data = path.read_bytes()
        written = path.stat().st_mtime
    except FileNotFoundError:
        return None
    if len(data) < 64:
        raise NexusError(
            f"The snapshot {path} is cut short.", hint="Remove it; it is written again when the database answers."
        )
    node = UUID(bytes=data[:16])
    return node, _decode(keyring.open("agent", "snapshot", node, data[16:])), written


def _encode(desired: Desired) -> bytes:
    interfaces = []
    for w in desired.interfaces.values():
        s = w.spec
        peers = [
            [p.id.hex, p.name, bytes(p.spec.public_key).hex(), p.spec.allowed_ips,
             p.spec.preshared_key.reveal() if p.spec.preshared_key else None, p.spec.keepalive,
             str(p.spec.endpoint) if p.spec.endpoint else None, p.enabled, p.expires_at, p.revision, p.networks]
            for p in w.peers.values()
        ]  # fmt: skip
        interfaces.append(
            [w.id.hex, w.revision, w.networks, s.name, s.private_key.reveal(), s.listen_port, s.addresses, s.mtu, s.up, s.nat, peers]
        )  # fmt: skip
    return json.dumps([_FORMAT, desired.revision, interfaces], separators=(",", ":")).encode()


def _decode(data: bytes) -> Desired:
    number, revision, rows = json.loads(data)
    if number != _FORMAT:
        raise NexusError(
            f"The snapshot has format {number}, this version reads {_FORMAT}.",
            hint="Remove it once the database answers.",
        )
    interfaces = {}
    for hex_id, at, networks, name, key, port, addresses, mtu, up, nat, peers in rows:
        spec = InterfaceSpec(
            id=UUID(hex_id), name=name, private_key=_secret(key), listen_port=port, mtu=mtu, up=up, nat=nat,
            addresses=tuple(InterfaceAddress(a) for a in addresses),
        )  # fmt: skip
        wanted = WantedInterface(spec.id, spec, tuple(Cidr(n) for n in networks), at)
        for (
            peer_id,
            peer_name,
            public,
            allowed,
            psk,
            keepalive,
            endpoint,
            enabled,
            expires_at,
            peer_at,
            behind,
        ) in peers:
            peer = PeerSpec(
                Key(bytes.fromhex(public)), tuple(Cidr(n) for n in allowed), _secret(psk) if psk else None, keepalive,
                parse_endpoint(endpoint) if endpoint else None,
            )  # fmt: skip
            wanted.peers[UUID(peer_id)] = WantedPeer(
                UUID(peer_id), peer_name, peer, enabled, expires_at, peer_at, tuple(behind)
            )
        interfaces[spec.id] = wanted
    return Desired(revision, interfaces)


def _secret(text: str) -> SecretKey:
    return SecretKey(base64.b64decode(text))
