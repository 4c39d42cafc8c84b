"""Links, addresses and routes through rtnetlink, and the wireguard-go process behind a link.

Everything happens in the network namespace in which ``Links`` was made. Source of the messages: rtnetlink(7)
and the kernel's Documentation/netlink/specs/rt_link.yaml, rt_addr.yaml, rt_route.yaml.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it ships no types
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]  # it ships no types

from nexushub.errors import KernelError
from nexushub.kernel import uapi
from nexushub.kernel.values import ALIAS_PREFIX, Cidr, InterfaceAddress

ROUTE_PROTOCOL = 78
"""Who set a route (rtm_protocol): ours carry this number, and only those are ever seen or removed."""
_IFF_UP = 0x1
_IFA_F_NODAD = 0x02
_ADDR_GEN_NONE = 1
_START_TIMEOUT = 10.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETTLE = 2.0
"""Seconds in which a wireguard-go that starts or ends has to show it."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link as rtnetlink describes it."""

    name: str
    index: int
    kind: str
    """``wireguard``, ``tun`` (also what a wireguard-go link is), ``dummy``, …; empty for hardware."""
    alias: str
    mtu: int
    up: bool

    @property
    def owner(self) -> UUID | None:
        return _owner_in(self.alias)


def _owner_in(alias: str) -> UUID | None:
    if not alias.startswith(ALIAS_PREFIX):
        return None
    try:
        return UUID(alias.removeprefix(ALIAS_PREFIX))
    except ValueError:
        return None


@contextmanager
def _step(op: str, target: str, hint: str = "") -> Iterator[None]:
    """Turn the kernel's refusal into a ``KernelError`` that says which step it was."""
    try:
        yield
    except (NetlinkError, OSError) as error:
        number = error.code if isinstance(error, NetlinkError) else (error.errno or 0)
        if number in (errno.EPERM, errno.EACCES) and not hint:
            hint = "This needs root, or CAP_NET_ADMIN for the agent's user."
        raise KernelError(op, target, str(error.args[-1]), errno=number, hint=hint) from error


class Links:
    """The links of one network namespace: the one in which this object was made."""

    def __init__(self) -> None:
        # strict_check: the kernel filters dumps itself (a full routing table has a million entries);
        # ext_ack: its own words instead of a bare errno.
        self._route = IPRoute(strict_check=True, ext_ack=True)

    def close(self) -> None:
        """Give up the netlink socket; links stay."""
        self._route.close()

    # -- reading

    def find(self, name: str) -> Link | None:
        """The link of that name, or None."""
        try:
            with _step("read link", name):
                return self._link(self._route.link("get", ifname=name)[0])
        except KernelError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def all(self) -> list[Link]:
        """Every link of the namespace."""
        with _step("list links", "of this namespace"):
            return [self._link(message) for message in self._route.get_links()]

    @staticmethod
    def _link(message: Any) -> Link:
        info = message.get_attr("IFLA_LINKINFO")
        return Link(
            message.get_attr("IFLA_IFNAME"),
            message["index"],
            (info.get_attr("IFLA_INFO_KIND") if info else None) or "",
            message.get_attr("IFLA_IFALIAS") or "",
            message.get_attr("IFLA_MTU"),
            bool(message["flags"] & _IFF_UP),
        )

    def owner_of(self, link: Link) -> UUID | None:
        """Whose link it is: by its alias, or by the mark of the wireguard-go process that holds it.

        The mark counts because the alias can only be set after that process made the link: one killed in
        between would leave a link that looks foreign for ever.
        """
        if link.owner or link.kind != "tun":
            return link.owner
        marks = (_mark_of(pid) for pid in _programs(link.name))
        return next((owner for mark in marks if (owner := _owner_in(mark)) is not None), None)

    def addresses(self, link: Link) -> tuple[InterfaceAddress, ...]:
        """Every address of the link, sorted."""
        with _step("read addresses", link.name):
            found = [
                f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
                for message in self._route.get_addr(index=link.index)
            ]
        return tuple(sorted(InterfaceAddress(address) for address in found))

    def routes(self, link: Link) -> tuple[Cidr, ...]:
        """The networks that we routed to this link, sorted; routes that others set don't appear."""
        found: list[Cidr] = []
        with _step("read routes", link.name):
            for family, every in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - the default route, no socket
                for message in self._route.get_routes(family=family, oif=link.index, proto=ROUTE_PROTOCOL):
                    if message["proto"] == ROUTE_PROTOCOL and message.get_attr("RTA_OIF") == link.index:
                        found.append(Cidr(f"{message.get_attr('RTA_DST') or every}/{message['dst_len']}"))
        return tuple(sorted(found))

    # -- links

    def create_kernel(self, name: str, owner: UUID) -> None:
        """Make a kernel WireGuard link, down.

        The kernel takes no alias while it makes a link, so the link is born under a name that can only be
        ours and gets alias and final name in one further message: killed in between, the next try finds and
        removes it, and never a link of that name without alias.
        """
        newborn = f"nxh{owner.hex[:12]}"
        with _step("create link", name):
            leftover = self.find(newborn)
            if leftover and leftover.kind == "wireguard" and not leftover.alias:
                self._route.link("del", index=leftover.index)
            self._route.link("add", ifname=newborn, kind="wireguard")
            index = self._route.link("get", ifname=newborn)[0]["index"]
            try:
                self._route.link("set", index=index, IFLA_IFALIAS=f"{ALIAS_PREFIX}{owner}", ifname=name)
            except NetlinkError:
                self._route.link("del", index=index)
                raise

    def probe_kernel(self) -> bool:
        """Whether this kernel makes WireGuard links, found by making one: that also loads its module, and
        nothing else proves it. Raises ``KernelError`` without the right to try."""
        name = "nxhprobe"
        try:
            with _step("try a WireGuard link", name):
                with _tolerating(errno.EEXIST):
                    self._route.link("add", ifname=name, kind="wireguard")
                self._route.link("del", ifname=name)
        except KernelError as error:
            if error.errno == errno.EOPNOTSUPP:
                return False
            raise
        return True

    def create_userspace(self, name: str, owner: UUID) -> None:
        """Start a wireguard-go for the link, in its own session so that it outlives this process.

        It inherits nothing but a mark in its environment. A socket file that a dead process left is removed;
        one on which somebody listens means that the name is in use in another namespace.
        """
        program = userspace_program()
        if program is None:
            raise no_wireguard("create link", name)
        if uapi.answers(name):
            reason = "a wireguard-go of that name runs in another network namespace, and they share one directory"
            raise KernelError("create link", name, reason, errno=errno.EADDRINUSE, hint="Choose another name.")
        uapi.socket_path(name).unlink(missing_ok=True)
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, a validated name, no shell
                [program, name],
                env={"PATH": _PATH, uapi.MARK: f"{ALIAS_PREFIX}{owner}"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                timeout=_START_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KernelError("create link", name, f"wireguard-go did not start: {error}") from error
        words = [line for line in done.stderr.decode(errors="replace").splitlines() if line and line[0] not in "┌│└"]
        if done.returncode:
            raise KernelError("create link", name, f"wireguard-go: {words[-1] if words else 'failed without a word'}")
        self.adopt(name, owner)

    def adopt(self, name: str, owner: UUID) -> None:
        """Give the link of a wireguard-go that we started its alias.

        No link-local address either: the kernel would invent one, and the link is to have exactly the
        addresses of its interface.
        """
        wait_until(lambda: uapi.answers(name), "create link", name, "wireguard-go opened no socket")
        link = self.find(name)
        if link is None:
            raise KernelError("create link", name, "wireguard-go made no link", errno=errno.ENODEV)
        with _step("set alias", name):
            self._route.link("set", index=link.index, IFLA_IFALIAS=f"{ALIAS_PREFIX}{owner}")
        generation = [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE]]}]]
        if Path(f"/proc/sys/net/ipv6/conf/{name}").exists():
            with _step("disable link-local address", name):
                self._route.link("set", index=link.index, IFLA_AF_SPEC={"attrs": generation})

    def delete(self, link: Link) -> None:
        """Remove the link; the wireguard-go behind it ends by itself, and takes its socket with it."""
        with _step("delete link", link.name):
            self._route.link("del", index=link.index)
        if link.kind == "tun":
            reason = "its wireguard-go process did not end"
            wait_until(lambda: not uapi.answers(link.name), "delete link", link.name, reason)

    def set_mtu(self, link: Link, mtu: int) -> None:
        """Set the MTU, in bytes of payload."""
        with _step("set mtu", f"{link.name} {mtu}"):
            self._route.link("set", index=link.index, mtu=mtu)

    def set_up(self, link: Link) -> None:
        """Bring the link up. The kernel opens the UDP port here and refuses when somebody else has it."""
        with _step("bring up", link.name, "Is its UDP port in use?"):
            self._route.link("set", index=link.index, state="up")

    # -- addresses and routes

    def add_address(self, link: Link, address: InterfaceAddress) -> None:
        """Give the link an address; one that is there already is fine. IPv6 without duplicate detection:
        WireGuard has no neighbours that could answer, and a tentative address can't be used for a second."""
        value = ipaddress.ip_interface(address)
        options: dict[str, Any] = {"IFA_FLAGS": _IFA_F_NODAD} if value.version == 6 else {}
        with _step("add address", f"{address} on {link.name}"), _tolerating(errno.EEXIST):
            prefix = value.network.prefixlen
            self._route.addr("add", index=link.index, address=str(value.ip), prefixlen=prefix, **options)

    def remove_address(self, link: Link, address: InterfaceAddress) -> None:
        """Take an address off the link; one that is gone is fine."""
        value = ipaddress.ip_interface(address)
        with _step("remove address", f"{address} on {link.name}"), _tolerating(errno.EADDRNOTAVAIL):
            prefix = value.network.prefixlen
            self._route.addr("del", index=link.index, address=str(value.ip), prefixlen=prefix)

    def add_route(self, link: Link, network: Cidr) -> None:
        """Route a network to the link. Never in place of a route that somebody else set: that is an error."""
        hint = "Another route to that network exists; remove it, or take the network off the peer."
        try:
            with _step("add route", f"{network} on {link.name}"):
                self._route.route("add", **_route(link, network))
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
            if network not in self.routes(link):
                raise KernelError(error.op, error.target, error.reason, errno=error.errno, hint=hint) from error

    def remove_route(self, link: Link, network: Cidr) -> None:
        """Remove our route to a network; one that is gone is fine."""
        with _step("remove route", f"{network} on {link.name}"), _tolerating(errno.ESRCH):
            self._route.route("del", **_route(link, network))


def _route(link: Link, network: Cidr) -> dict[str, Any]:
    version = ipaddress.ip_network(network).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    scope = {"scope": 253} if version == 4 else {}
    return {"dst": network, "oif": link.index, "proto": ROUTE_PROTOCOL, "family": family, **scope}


@contextmanager
def _tolerating(number: int) -> Iterator[None]:
    """Let one error pass: the state that the step was to reach is there already."""
    try:
        yield
    except NetlinkError as error:
        if error.code != number:
            raise


def wait_until(condition: Callable[[], bool], op: str, target: str, reason: str) -> None:
    """Wait for what a wireguard-go does in its own time; ``KernelError`` with the reason when it doesn't."""
    deadline = time.monotonic() + _SETTLE
    while not condition():
        if time.monotonic() > deadline:
            raise KernelError(op, target, f"{reason} in {_SETTLE:.0f} s", errno=errno.ETIMEDOUT)
        time.sleep(0.002)


def _programs(name: str) -> Iterator[int]:
    """The processes that were started as ``wireguard-go NAME``.

    Asking the socket for its peer (SO_PEERCRED) is no use: wireguard-go listens first and then goes to the
    background, so what the socket names is a process that has ended.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words[0].endswith(b"wireguard-go") and name.encode() in words[1:]:
            yield int(entry.name)


def _mark_of(pid: int) -> str:
    """The alias that we gave a wireguard-go at its start, or empty: also when its user is another one."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/thread-self/ns/net").st_ino:
            return ""
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return ""
    start = f"{uapi.MARK}=".encode()
    marks = [entry.removeprefix(start) for entry in environment.split(b"\0") if entry.startswith(start)]
    return marks[0].decode("ascii", "replace") if marks else ""


def userspace_program() -> str | None:
    """Where wireguard-go is installed, or None. An agent's PATH may lack the directories it is in."""
    return shutil.which("wireguard-go", path=f"{os.environ.get('PATH', '')}:{_PATH}")


def no_wireguard(op: str, target: str) -> KernelError:
    """The error of a machine that has neither kernel WireGuard nor wireguard-go."""
    hint = "Install wireguard-go (apt-get install wireguard-go), or run a kernel that has the wireguard module."
    return KernelError(op, target, "this machine has no WireGuard", errno=errno.EOPNOTSUPP, hint=hint)


def port_in_use(port: int) -> bool:
    """Whether any socket of this namespace has that UDP port, IPv4 or IPv6."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - a look, never used
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return True
    return False
