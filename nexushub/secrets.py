"""Secrets: encryption at rest, WireGuard keys, password hashes, tokens.

Values are sealed with AES-256-GCM under a subkey for their purpose (HKDF, RFC 5869), so that a process can be
given one purpose and not the others. The associated data names version, table, column, row and key id: a
ciphertext copied to another row or column does not open. Layout: version, length of key id, key id, 96-bit
random nonce, ciphertext and tag.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets as random
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nexushub.config import Settings
from nexushub.errors import Configuration, NexusError
from nexushub.kernel.values import Key, SecretKey

_VERSION = 1
_PURPOSES = {
    ("interfaces", "private_key"): "hub",
    ("preshared_keys", "preshared_key"): "hub",
    ("agent", "snapshot"): "hub",
    ("peers", "private_key"): "peer",
    ("users", "totp_secret"): "user",
}


class Undecryptable(NexusError):
    """A sealed value does not open: another key, another row, or altered bytes."""

    code = "undecryptable"


@dataclass(frozen=True)
class Keyring:
    """The encryption keys by id, newest first. The newest seals, each opens what it sealed."""

    ids: tuple[str, ...]
    _ciphers: Mapping[tuple[str, str], AESGCM] = field(repr=False)
    _checks: Mapping[str, bytes] = field(repr=False)

    @property
    def newest(self) -> str:
        return self.ids[0]

    def check_value(self, key_id: str) -> bytes:
        """16 bytes that depend on the key and reveal nothing of it; the database keeps them to know a wrong key."""
        return self._checks[key_id]

    def seal(self, table: str, column: str, row: UUID, plain: bytes) -> bytes:
        """Encrypt a value for one place; it opens there and nowhere else."""
        key_id = self.newest
        nonce = os.urandom(12)
        cipher = self._ciphers[key_id, _PURPOSES[table, column]]
        header = bytes([_VERSION, len(key_id)]) + key_id.encode()
        return header + nonce + cipher.encrypt(nonce, plain, _associated(table, column, row, key_id))

    def open(self, table: str, column: str, row: UUID, sealed: bytes) -> bytes:
        """Decrypt a value of that place, or raise ``Undecryptable`` naming the place and the key id."""
        place = f"{table}.{column} of {row}"
        if len(sealed) < 2 or sealed[0] != _VERSION or len(sealed) < 2 + sealed[1] + 28:
            raise Undecryptable(f"{place} does not hold a sealed value.")
        end = 2 + sealed[1]
        key_id = sealed[2:end].decode("ascii", "replace")
        cipher = self._ciphers.get((key_id, _PURPOSES[table, column]))
        if cipher is None:
            raise Undecryptable(
                f"{place} was sealed with key {key_id!r}, which is not loaded.",
                hint="Add that key to PEER_KEY_ENCRYPTION_KEY.",
            )
        try:
            return cipher.decrypt(sealed[end : end + 12], sealed[end + 12 :], _associated(table, column, row, key_id))
        except InvalidTag as error:
            raise Undecryptable(
                f"{place} does not open with key {key_id!r}: it was altered or belongs elsewhere."
            ) from error


def _associated(table: str, column: str, row: UUID, key_id: str) -> bytes:
    return f"v{_VERSION}|{table}|{column}|{row}|{key_id}".encode()


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=f"nexushub/v1/{purpose}".encode()).derive(key)


def parse_keyring(text: str, *, source: str) -> Keyring:
    """Read ``ID:BASE64,ID:BASE64``; a bare base64 has id ``1``. ``Configuration`` never shows the key itself."""
    keys: dict[str, bytes] = {}
    for number, item in enumerate((part.strip() for part in text.strip().split(",")), 1):
        key_id, colon, encoded = item.rpartition(":")
        key_id = key_id if colon else "1"
        where = f"key {number} of {source}"
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", key_id):
            raise Configuration(
                "PEER_KEY_ENCRYPTION_KEY", f"{where} has an id that is not 1 to 32 letters, digits, '.', '_' or '-'"
            )
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:  # binascii.Error, and what is raised for letters outside ASCII
            raise Configuration("PEER_KEY_ENCRYPTION_KEY", f"{where} is not base64") from None
        if len(raw) != 32:
            raise Configuration(
                "PEER_KEY_ENCRYPTION_KEY",
                f"{where} has {len(raw)} bytes, not 32",
                hint="'nexushub key generate' makes one.",
            )
        if len(set(raw)) == 1:
            raise Configuration(
                "PEER_KEY_ENCRYPTION_KEY",
                f"{where} is one byte repeated, which is no key",
                hint="'nexushub key generate' makes one.",
            )
        if key_id in keys:
            raise Configuration("PEER_KEY_ENCRYPTION_KEY", f"{where} has the id {key_id!r} of an earlier one")
        keys[key_id] = raw
    purposes = sorted(set(_PURPOSES.values()))
    return Keyring(
        ids=tuple(keys),
        _ciphers={(i, p): AESGCM(_derive(k, p)) for i, k in keys.items() for p in purposes},
        _checks={i: hmac.digest(_derive(k, "check"), i.encode(), "sha256")[:16] for i, k in keys.items()},
    )


def configured(settings: Settings, environ: Mapping[str, str] | None = None) -> bool:
    """Whether there is a key, or a place that was named for one: then none is made."""
    return bool(settings.peer_key_encryption_key) or _key_file(settings, environ) is not None


def load_keyring(settings: Settings, environ: Mapping[str, str] | None = None) -> Keyring:
    """The keyring from variable, file, systemd credential or the embedded set-up's file, in that order.

    Raises ``Configuration`` when there is none: a database written without its key would be lost, so the
    process does not start.
    """
    if settings.peer_key_encryption_key:
        return parse_keyring(settings.peer_key_encryption_key, source="PEER_KEY_ENCRYPTION_KEY")
    path = _key_file(settings, environ)
    if path is None:
        raise Configuration(
            "PEER_KEY_ENCRYPTION_KEY",
            "it is not set",
            hint="'nexushub key generate' makes one; keep a copy apart from the database's backups.",
        )
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except OSError as error:
        raise Configuration("PEER_KEY_ENCRYPTION_KEY_FILE", f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:  # whose words would show a part of the key
        raise Configuration("PEER_KEY_ENCRYPTION_KEY_FILE", f"{path} is not text") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Configuration("PEER_KEY_ENCRYPTION_KEY_FILE", f"{path} can be read by others", hint=f"chmod 0600 {path}")
    return parse_keyring(text, source=str(path))


def _key_file(settings: Settings, environ: Mapping[str, str] | None) -> Path | None:
    """The file the key is in. One that was asked for is taken whether it exists or not."""
    if settings.peer_key_encryption_key_file:
        return settings.peer_key_encryption_key_file
    credentials = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    candidates = [Path(credentials) / "peer_key_encryption_key"] if credentials else []
    for path in (*candidates, settings.master_key_file):
        try:
            path.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Configuration("PEER_KEY_ENCRYPTION_KEY_FILE", f"{path} can't be read: {error.strerror}") from error
        return path
    return None


def generate_master_key(key_id: str = "1") -> str:
    """A new encryption key in the form that PEER_KEY_ENCRYPTION_KEY takes."""
    return f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}"


def ensure_master_key(settings: Settings) -> None:
    """Make the embedded set-up's key file once, mode 0600, written whole or not at all."""
    path = settings.master_key_file
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(generate_master_key() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # fails if another process was first: one key, never two
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def generate_private_key() -> SecretKey:
    """A new X25519 private key, clamped (RFC 7748 section 5)."""
    raw = bytearray(os.urandom(32))
    raw[0] &= 248
    raw[31] = (raw[31] & 127) | 64
    return SecretKey(bytes(raw))


def generate_preshared_key() -> SecretKey:
    return SecretKey(os.urandom(32))


def public_key(private: SecretKey) -> Key:
    """The public key of a private one."""
    return Key(X25519PrivateKey.from_private_bytes(bytes(private)).public_key().public_bytes_raw())


def new_token() -> str:
    """256 random bits for a session, URL-safe."""
    return random.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What the database keeps of a token. Plain SHA-256 is enough for 256 random bits; lookups go by it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
