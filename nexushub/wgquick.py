"""Reads files of wg-quick(8) and wg(8): for import, and to prove the files that NexusHub writes.

Strict: what this accepts, ``wg-quick strip`` and ``wg setconf`` accept, and understand in the same way. The reverse
does not hold. A key given twice, two peers with one key, one allowed IP in two peers, host bits, service names for
ports and spaces inside words all pass the tools, which pick a meaning; here they are errors that name the line.

Hooks (PreUp, PostUp, PreDown, PostDown) and ``SaveConfig = true`` are never carried over: the first four are
commands that run as root, the last lets the kernel overwrite the truth.

Names of peers are in comments, in one spelling for each tool that wrote them. They are suggestions: whatever does
not pass ``clean_name`` is no name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from nexushub.errors import Invalid
from nexushub.kernel.values import (
    Cidr,
    InterfaceAddress,
    Key,
    PeerSpec,
    SecretKey,
    parse_address,
    parse_cidr,
    parse_endpoint,
    parse_interface_address,
    parse_public_key,
    parse_secret_key,
)
from nexushub.safe import clean_name

T = TypeVar("T")

_HOOKS = {"preup", "postup", "predown", "postdown"}
_INTERFACE = "PrivateKey ListenPort FwMark Address DNS MTU Table PreUp PostUp PreDown PostDown SaveConfig".split()
_PEER = "PublicKey PresharedKey AllowedIPs Endpoint PersistentKeepalive".split()
_KNOWN = {
    "interface": {key.lower(): key for key in _INTERFACE},
    "peer": {key.lower(): key for key in _PEER},
}
_LISTS = {"address", "dns", "allowedips"} | _HOOKS
_SECRETS = {"privatekey", "presharedkey"}

# "Name = x", "Name: x" (wireguard-ui), "friendly_name = x" (Prometheus exporters), "Client: x (id)" (wg-easy),
# "Name# = x" (WGDashboard's "#Name#"), "Client x" and "BEGIN_PEER x" (install scripts), "begin x" (PiVPN).
_KEYED_NAME = re.compile(r"(?:(?:name|friendly[_ ]name|client|user|peer|device)\s*[:=]|name#\s*=?)\s*(.+)", re.I)
_SPACED_NAME = re.compile(r"(?:client|begin_peer|begin)\s+(.+)", re.I)
_NOT_A_NAME = re.compile(r"(?:end|end_peer)\s|.*[=:]", re.I)
_ID_BEHIND = re.compile(r"\s+\([0-9a-f-]+\)$", re.I)


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was understood and left out."""

    line: int
    key: str


@dataclass(frozen=True, slots=True)
class FilePeer:
    """One ``[Peer]``. ``spec.allowed_ips`` are sorted and without repeats."""

    line: int
    spec: PeerSpec
    name: str
    """From a comment, checked; empty when there was none that can be used."""


@dataclass(frozen=True, slots=True)
class WgFile:
    """What a file says. A field that the file leaves out is None or empty."""

    private_key: SecretKey | None
    listen_port: int | None
    fwmark: int
    addresses: tuple[InterfaceAddress, ...]
    dns: tuple[str, ...]
    mtu: int | None
    table: str
    """A routing table's name or number, ``off``, ``auto``, or empty. Import reports it and does not follow it."""
    peers: tuple[FilePeer, ...]
    refused: tuple[Refused, ...]
    """Hooks and SaveConfig, when the caller asked to have them left out rather than refused."""


@dataclass(slots=True)
class _Section:
    kind: str
    line: int
    above: list[str]
    """Comments directly over the header."""
    inside: list[str] = field(default_factory=list)
    """Comments between the header and the first key, also behind the header."""
    later: list[str] = field(default_factory=list)
    values: dict[str, list[tuple[int, str]]] = field(default_factory=dict)


def parse(text: str, *, drop_hooks: bool = False) -> WgFile:
    """The file's meaning, or ``Invalid`` that names the first line at fault and never shows a key.

    ``drop_hooks`` lists hooks in ``refused`` instead of stopping at the first: for adopting a hub whose file has
    an iptables line, once its owner has been told that the line does not come along.
    """
    sections = _split(text)
    interfaces = [section for section in sections if section.kind == "interface"]
    if not interfaces:
        raise Invalid("config", "", "there is no [Interface] section")
    if len(interfaces) > 1:
        raise _at(interfaces[1].line, f"a second [Interface]; the first is in line {interfaces[0].line}")
    interface = interfaces[0]
    refused = tuple(_refused(interface))
    if refused and not drop_hooks:
        raise _at(
            refused[0].line,
            f"{refused[0].key} is not taken over: "
            + ("it runs commands as root" if refused[0].key != "SaveConfig" else "the kernel would overwrite the file"),
        )
    return WgFile(
        private_key=_one(interface, "privatekey", parse_secret_key),
        listen_port=_one(interface, "listenport", _number(0, 65535)) or None,
        fwmark=_one(interface, "fwmark", _fwmark) or 0,
        addresses=_many(interface, "address", _address, r"[,\s]+"),
        dns=_many(interface, "dns", _dns, r"[,\s]+"),
        mtu=_one(interface, "mtu", _number(68, 65535)),
        table=_one(interface, "table", _table) or "",
        peers=_peers([section for section in sections if section.kind == "peer"]),
        refused=refused,
    )


def _at(line: int, reason: str) -> Invalid:
    return Invalid("config", "", f"line {line}: {reason}")


def _split(text: str) -> list[_Section]:
    sections: list[_Section] = []
    waiting: list[str] = []  # comments that a header may still claim
    # Only a line feed ends a line here, as in wg and bash: splitlines() would also see one in U+2028 or a
    # form feed, and so read a directive where the tools read a comment.
    for number, raw in enumerate(text.split("\n"), 1):
        content, hash_sign, comment = raw.partition("#")
        content = content.strip(" \t\r")
        if content.startswith("["):
            sections.append(_Section(_header(content, number), number, waiting, [comment] if comment else []))
            waiting = []
        elif content:
            if not sections:
                raise _at(number, "the file must begin with [Interface] or [Peer]")
            _keep(sections[-1], waiting)
            waiting = []
            _entry(sections[-1], content, number)
        elif hash_sign:
            waiting.append(comment)
        else:
            if sections and not sections[-1].values:
                _keep(sections[-1], waiting)
            waiting = []
    if sections:
        _keep(sections[-1], waiting)
    return sections


def _keep(section: _Section, comments: list[str]) -> None:
    (section.later if section.values else section.inside).extend(comments)


def _header(content: str, number: int) -> str:
    kind = content.lower()
    if kind not in ("[interface]", "[peer]"):
        raise _at(number, f"{content[:40]!r} is not a section; there are [Interface] and [Peer]")
    return kind[1:-1]


def _entry(section: _Section, content: str, number: int) -> None:
    key, equals, value = (part.strip(" \t\r") for part in content.partition("="))
    known = _KNOWN[section.kind]
    if key.lower() not in known:
        where = "Interface" if section.kind == "interface" else "Peer"
        near = difflib.get_close_matches(key.lower()[:40], known, 1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        raise _at(number, f"[{where}] has no key {key[:40]!r}{hint}")
    name = known[key.lower()]
    if not equals or not value:
        raise _at(number, f"{name} has no value")
    if key.lower() not in _HOOKS and re.search(r"[^\t -~]", value):
        raise _at(number, f"{name} has a character that does not belong there")
    earlier = section.values.setdefault(key.lower(), [])
    if earlier and key.lower() not in _LISTS:
        raise _at(number, f"{name} is given a second time; the first is in line {earlier[0][0]}")
    earlier.append((number, value))


def _refused(interface: _Section) -> list[Refused]:
    found = [
        Refused(line, _KNOWN["interface"][key]) for key in sorted(_HOOKS) for line, _ in interface.values.get(key, [])
    ]
    for line, value in interface.values.get("saveconfig", []):
        if value.lower() not in ("true", "false"):
            raise _at(line, "SaveConfig is neither true nor false")
        if value.lower() == "true":
            found.append(Refused(line, "SaveConfig"))
    return sorted(found, key=lambda item: item.line)


def _peers(sections: list[_Section]) -> tuple[FilePeer, ...]:
    peers: list[FilePeer] = []
    keys: dict[Key, int] = {}
    owners: dict[Cidr, int] = {}
    for section in sections:
        key = _one(section, "publickey", parse_public_key)
        if key is None:
            raise _at(section.line, "this peer has no PublicKey")
        if key in keys:
            raise _at(section.line, f"the peer of line {keys[key]} has the same PublicKey")
        keys[key] = section.line
        allowed = set(_many(section, "allowedips", parse_cidr, ","))
        for network in sorted(allowed):
            if network in owners:
                raise _at(section.line, f"{network} is an allowed IP of the peer of line {owners[network]} already")
            owners[network] = section.line
        spec = PeerSpec(
            public_key=key,
            allowed_ips=tuple(sorted(allowed)),
            preshared_key=_one(section, "presharedkey", parse_secret_key),
            keepalive=_one(section, "persistentkeepalive", _keepalive) or 0,
            endpoint=_one(section, "endpoint", parse_endpoint),
        )
        peers.append(FilePeer(section.line, spec, _name(section)))
    return tuple(peers)


def _one(section: _Section, key: str, read: Callable[[str], T]) -> T | None:
    for line, value in section.values.get(key, []):
        return _read(section, key, line, value, read)
    return None


def _many(section: _Section, key: str, read: Callable[[str], T], separator: str) -> tuple[T, ...]:
    return tuple(
        _read(section, key, line, item.strip(), read)
        for line, value in section.values.get(key, [])
        for item in re.split(separator, value)
    )


def _read(section: _Section, key: str, line: int, value: str, read: Callable[[str], T]) -> T:
    try:
        return read(value)
    except ValueError as error:
        shown = "" if key in _SECRETS else f" {value[:60]!r}"
        raise _at(line, f"{_KNOWN[section.kind][key]}{shown}: {error}") from None


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"0|[1-9][0-9]{0,9}", value) or not low <= int(value) <= high:
            raise ValueError(f"it must be a number from {low} to {high}")
        return int(value)

    return read


def _keepalive(value: str) -> int:
    return 0 if value.lower() == "off" else _number(0, 65535)(value)


def _fwmark(value: str) -> int:
    if value.lower() == "off":
        return 0
    if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", value):
        return int(value, 16)
    return _number(0, 0xFFFFFFFF)(value)


def _table(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise ValueError("it must be the name or number of a routing table, 'off' or 'auto'")
    return value


def _address(value: str) -> InterfaceAddress:
    if "/" not in value:
        value += "/128" if ":" in value else "/32"
    return parse_interface_address(value)


def _dns(value: str) -> str:
    if ":" in value or re.fullmatch(r"[0-9.]+", value):
        return parse_address(value)
    # A search domain: the endpoint's rule for host names holds for it too.
    return parse_endpoint(f"{value}:53").host


def _name(section: _Section) -> str:
    every = [_words(comment) for comment in section.above + section.inside + section.later]
    for comment in every:
        if match := _KEYED_NAME.fullmatch(comment):
            return _usable(_ID_BEHIND.sub("", match[1].strip()))
    for comment in (_words(comment) for comment in section.above[-1:] + section.inside[:1]):
        if match := _SPACED_NAME.fullmatch(comment):
            return _usable(match[1].strip())
        if comment and not _NOT_A_NAME.match(comment):
            return _usable(comment)
    return ""


def _words(comment: str) -> str:
    return comment.strip(" \t\r#")


def _usable(name: str) -> str:
    try:
        return clean_name(name)
    except ValueError:
        return ""
