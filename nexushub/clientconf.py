"""A peer's file: what its owner gives to a WireGuard client. Pure: values in, text out.

``wg-quick`` runs parts of its file as root, and a name with a line break in it was all it took to get commands
into one (CVE-2026-72603 in another product). So nothing that a person typed freely is ever written here: no name,
no note, no comment with either. Each value is checked against the characters that its own syntax needs before it
is written, whatever type it claims to have.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from nexushub.kernel.values import Cidr, Endpoint, InterfaceAddress, Key, SecretKey

PLACEHOLDER = "<insert-your-private-key>"
"""In place of a private key that the hub does not have. ``wg`` refuses it by name; leaving the line out would give
a link that comes up and never answers, since a missing key is no error to the kernel."""

DEFAULT_MTU = 1420
"""What ``wg-quick`` sets by itself over an ordinary link of 1500, so the compact spelling leaves it out."""

_VALUE = re.compile(r"[A-Za-z0-9_:\[\]+/=., -]+")
_BASE = re.compile(r"[a-zA-Z0-9_=+][a-zA-Z0-9_=+.-]{0,14}")
# What the kernel, Windows or everyday use have taken already; compared in lower case, up to the first dot.
_TAKEN = frozenset(
    ["all", "default", "lo", "con", "nul", "prn", "aux"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in range(10)]
)


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Everything a client's file says. ``name`` is for the file's name alone and never gets inside."""

    addresses: tuple[InterfaceAddress, ...]
    """With the mask the client needs: /32 and /128 do, as the routes come from ``allowed_ips``."""
    public_key: Key
    """The hub's."""
    allowed_ips: tuple[Cidr, ...]
    """What the *client* routes into the tunnel; not the hub's allowed IPs for this peer."""
    private_key: SecretKey | None = None
    dns: tuple[str, ...] = ()
    """Servers' addresses, and domains to search."""
    mtu: int | None = None
    preshared_key: SecretKey | None = None
    endpoint: Endpoint | None = None
    keepalive: int = 0
    """Seconds; 0 is off and is left out."""
    name: str = ""


def render(config: ClientConfig) -> str:
    """The file as ``wg-quick`` reads it, one key a line. It holds secrets.

    Without a private key there is a placeholder that ``wg-quick up`` stops at, and a comment that says so.
    """
    lines = ["[Interface]"]
    if config.private_key is None:
        lines += [
            "# The hub does not have your private key: put it in place of the next line's value.",
            f"PrivateKey = {PLACEHOLDER}",
        ]
    else:
        lines.append(_line("PrivateKey", config.private_key.reveal()))
    if config.addresses:
        lines.append(_line("Address", ", ".join(config.addresses)))
    if config.dns:
        lines.append(_line("DNS", ", ".join(config.dns)))
    if config.mtu is not None:
        lines.append(_line("MTU", str(int(config.mtu))))
    lines += ["", "[Peer]", _line("PublicKey", str(config.public_key))]
    if config.preshared_key is not None:
        lines.append(_line("PresharedKey", config.preshared_key.reveal()))
    if config.allowed_ips:
        lines.append(_line("AllowedIPs", ", ".join(config.allowed_ips)))
    if config.endpoint is not None:
        lines.append(_line("Endpoint", str(config.endpoint)))
    if config.keepalive:
        lines.append(_line("PersistentKeepalive", str(int(config.keepalive))))
    return "\n".join(lines) + "\n"


def compact(config: ClientConfig) -> str:
    """The same config in fewer characters, for a smaller QR code: no spaces, no comment, no default.

    A /32 or /128 goes without its mask and an MTU of 1420 is left out; clients fill in just these. Keys, the
    preshared key, every address and every allowed IP stay: a code that fits but connects differently is no help.
    """
    lean = ClientConfig(
        addresses=tuple(InterfaceAddress(_bare(address)) for address in config.addresses),
        public_key=config.public_key,
        allowed_ips=tuple(Cidr(_bare(network)) for network in config.allowed_ips),
        private_key=config.private_key,
        dns=config.dns,
        mtu=None if config.mtu == DEFAULT_MTU else config.mtu,
        preshared_key=config.preshared_key,
        endpoint=config.endpoint,
        keepalive=config.keepalive,
    )
    lines = (line for line in render(lean).splitlines() if line and not line.startswith("#"))
    return "\n".join(line.replace(" ", "") for line in lines)


def file_name(peer_name: str) -> str:
    """A file's name for this peer that ``wg-quick`` and every file system take: ``alice-laptop.conf``.

    ``wg-quick`` makes the link's name of it, so it has at most 15 characters of ``[a-zA-Z0-9_=+.-]`` before
    ``.conf``. A name that has to be changed for that ends in four digits of its hash, so that two peers whose
    names only differ in what was lost get two files. Takes any text, also a hostile one.
    """
    if _BASE.fullmatch(peer_name) and _free(peer_name):
        return f"{peer_name}.conf"
    plain = unicodedata.normalize("NFKD", peer_name[:256]).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-zA-Z0-9_=+]+", "-", plain).strip("-")[:10].rstrip("-") or "peer"
    digest = hashlib.sha256(peer_name.encode("utf-8", "surrogatepass")).hexdigest()[:4]
    return f"{base}-{digest}.conf"


def _line(key: str, value: str) -> str:
    # The last gate, not the first: types are checked where values enter, and a bug there must not reach a file
    # that somebody runs as root. The value is not in the message, since it may be a key.
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{key} has a character that does not belong in a WireGuard file")
    return f"{key} = {value}"


def _bare(network: str) -> str:
    suffix = "/128" if ":" in network else "/32"
    return network.removesuffix(suffix)


def _free(base: str) -> bool:
    return base.lower().partition(".")[0] not in _TAKEN and not base.endswith(".")
