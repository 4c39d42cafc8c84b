"""A small internet in network namespaces: one for the hub, one for each client, one with the bridge between them.

    NAME-hub ── veth ── NAME-net: bridge ── veth ── NAME-c1, NAME-c2 …

Nothing of it is in the machine's own namespace, and its addresses are from the ranges kept for documentation, so
no packet can leave. Clients get their WireGuard link from the text of their file, through the same kernel layer
that the hub uses: a client that works proves its file.

What exists is written down before it is made. ``remove`` works from that record alone, in another process, after
a crash at any point, and touches only what is in it. This process never enters a namespace: children do, by
``ip netns exec``.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nexushub import processes
from nexushub.errors import Conflict, Invalid, KernelError
from nexushub.kernel import uapi

NETWORK = ipaddress.IPv4Network("192.0.2.0/24")
NETWORK6 = ipaddress.IPv6Network("2001:db8:51::/64")
MOST_CLIENTS = 100
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
"""All that a child gets of ours: also this very package, wherever it is installed."""
_NAMESPACES = Path("/run/netns")
_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Site:
    """A machine of the lab: its namespace, and its addresses on the lab's internet."""

    namespace: str
    number: int
    link: str
    """What its WireGuard link is called: unique on the machine, as wireguard-go's sockets are not per namespace."""

    @property
    def address(self) -> str:
        return str(NETWORK[self.number + 1])

    @property
    def address6(self) -> str:
        return str(NETWORK6[self.number + 1])


@dataclass(frozen=True, slots=True)
class Topology:
    """What a lab consists of. ``prefix`` keeps several labs on one machine apart."""

    prefix: str
    clients: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,9}", self.prefix):
            raise Invalid("prefix", self.prefix, "it must match [a-z][a-z0-9-]{0,9}")
        if not 1 <= self.clients <= MOST_CLIENTS:
            raise Invalid("clients", self.clients, f"it must be a number from 1 to {MOST_CLIENTS}")

    @property
    def internet(self) -> str:
        return f"{self.prefix}-net"

    @property
    def hub(self) -> Site:
        return Site(f"{self.prefix}-hub", 0, f"{self.prefix}0")

    @property
    def sites(self) -> tuple[Site, ...]:
        """The clients, numbered from 1."""
        return tuple(Site(f"{self.prefix}-c{n}", n, f"{self.prefix}c{n}") for n in range(1, self.clients + 1))


@dataclass
class Record:
    """What was made or is about to be, in a file. A process is known by its id and its start time, so that a
    later one with the same id is not taken for it."""

    path: Path
    prefix: str
    clients: int
    namespaces: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    """WireGuard links and the namespace each is in."""
    processes: list[tuple[int, int]] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    """Removed with all that is in them."""
    details: dict[str, Any] = field(default_factory=dict)
    """What the caller wants to find again. No secrets."""

    @property
    def topology(self) -> Topology:
        return Topology(self.prefix, self.clients)

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        values = {name: value for name, value in asdict(self).items() if name != "path"}
        temporary.write_text(json.dumps(values, indent=1))
        temporary.replace(self.path)

    def process(self, pid: int) -> None:
        """Note a process that ``remove`` is to end."""
        started = processes.started_at(pid)
        if started is not None:
            self.processes.append((pid, started))
            self.save()


def load(path: Path) -> Record | None:
    """The record of a lab that exists, wholly or in part; None when there is none."""
    try:
        values = json.loads(path.read_text())
        return Record(path=path, **{**values, "processes": [(pid, start) for pid, start in values["processes"]]})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        hint = "Remove it after deleting what it names (ip netns list)."
        raise KernelError("read", str(path), f"it is not a lab's record: {error}", hint=hint) from error


# -- making


def create(topology: Topology, record: Record) -> None:
    """Make the namespaces, the bridge and the links between them. About 30 ms a site.

    Raises ``Conflict`` when a namespace of that name exists already, before anything is made, and ``KernelError``
    without the right to make one.
    """
    if os.geteuid() != 0:
        raise KernelError("make the lab", topology.prefix, "it needs root", errno=errno.EPERM, hint="Run it with sudo.")
    every = (topology.hub, *topology.sites)
    names = [topology.internet, *(site.namespace for site in every)]
    for name in names:
        if (_NAMESPACES / name).exists():
            raise Conflict("namespace", name, "something else", hint=f"Remove it with: ip netns delete {name}")
    record.namespaces = names
    record.links = {site.link: site.namespace for site in every}
    record.save()
    for name in names:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", topology.internet, "link", "add", "br0", "type", "bridge")
    _ip("-n", topology.internet, "link", "set", "br0", "up")
    for site in every:
        _plug(topology.internet, site)


def _plug(internet: str, site: Site) -> None:
    near = f"p{site.number}"
    _ip("-n", internet, "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", site.namespace)
    _ip("-n", internet, "link", "set", near, "master", "br0", "up")
    _ip("-n", site.namespace, "address", "add", f"{site.address}/{NETWORK.prefixlen}", "dev", "eth0")
    # Nobody else can have the address; without this the kernel takes a second to find that out.
    v6 = f"{site.address6}/{NETWORK6.prefixlen}"
    _ip("-n", site.namespace, "address", "add", v6, "dev", "eth0", "nodad")
    _ip("-n", site.namespace, "link", "set", "eth0", "up")


def forward(namespace: str) -> None:
    """Let a hub's namespace pass packets from client to client."""
    for family in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        inside(namespace, ["tee", f"/proc/sys/net/{family}"], text="1\n")


def clients_up(configs: Mapping[Site, str], record: Record) -> None:
    """Give each site the WireGuard link that its file describes: keys, addresses, MTU, peers, routes.

    DNS is left alone. ``KernelError`` names the first site that failed, with the file's line or the kernel's
    words; the others are set up. The file's text goes to a child by its standard input only.
    """
    with ThreadPoolExecutor(4) as pool:  # a child is Python starting up, mostly
        pending = {site: pool.submit(_client, site, config) for site, config in configs.items()}
    failed: KernelError | None = None
    for site, answer in ((site, future.result()) for site, future in pending.items()):
        if "error" in answer:
            failed = failed or KernelError("set up client", site.namespace, str(answer["error"]).rstrip("."))
        else:
            record.processes += _programs(site.link, site.namespace)
    record.save()
    if failed:
        raise failed


def _client(site: Site, config: str) -> dict[str, Any]:
    done = inside(site.namespace, [sys.executable, "-m", "nexushub.labclient", site.link], text=config, check=False)
    if done.returncode:
        return {"error": _last(done.stderr)}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def inside(
    namespace: str, argv: Sequence[str], *, text: str = "", check: bool = True, timeout: float = _TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run a program in a namespace and return what it printed. ``KernelError`` with its words when it fails."""
    return _run(entering(namespace, argv), text=text, check=check, timeout=timeout)


def entering(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command that runs another in a namespace."""
    return [_program("ip"), "netns", "exec", namespace, *argv]


@dataclass(frozen=True, slots=True)
class Ping:
    sent: int
    received: int


def ping(namespace: str, address: str, count: int = 3, *, interval: float = 0.2, wait: float = 1.0) -> Ping:
    """Ping an address from a namespace, v4 or v6; how many came back. ``wait`` is for the last, in seconds."""
    argv = ["ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", str(wait), address]
    done = inside(namespace, argv, check=False, timeout=count * interval + wait + _TIMEOUT)
    found = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
    if found is None:
        raise KernelError("ping", f"{address} from {namespace}", _last(done.stderr or done.stdout))
    return Ping(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a site's device says of one of its peers."""

    handshake: int
    """Unix time in seconds; 0 is never."""
    rx_bytes: int
    tx_bytes: int


def peers(site: Site) -> list[Seen]:
    """The peers of a site's link as ``wg`` shows them, in its order; empty when there is no link."""
    done = inside(site.namespace, ["wg", "show", site.link, "dump"], check=False)
    rows = [line.split("\t") for line in done.stdout.splitlines()[1:]]
    return [Seen(int(row[4]), int(row[5]), int(row[6])) for row in rows]


# -- removing


def remove(record: Record) -> None:
    """Take away everything in the record, then the record. What is gone already is fine.

    ``KernelError`` names what could not be removed; the record stays, so that it can be tried again.
    """
    while found := _children(record):  # they outlive a crash, and would go on making what is removed here
        for pid, started in found:
            processes.end(pid, started)
    for pid, started in _databases(record):
        processes.end(pid, started, first=signal.SIGINT)  # PostgreSQL's fast shutdown
    for link, namespace in record.links.items():
        _remove_link(link, namespace)
    for pid, started in record.processes:
        processes.end(pid, started)
    for link in record.links:
        if not uapi.answers(link):
            uapi.socket_path(link).unlink(missing_ok=True)
    for name in record.namespaces:
        if (_NAMESPACES / name).exists():
            _ip("netns", "delete", name)
    for directory in record.directories:
        for pid, started in _working_in(directory):
            processes.end(pid, started)
        _remove_directory(directory)
    record.path.unlink(missing_ok=True)


def _remove_link(link: str, namespace: str) -> None:
    """Delete a WireGuard link; the wireguard-go behind it ends with it, and takes its socket along."""
    if not (_NAMESPACES / namespace).exists():
        return
    while True:  # one that is starting becomes another process
        behind = _programs(link, namespace)
        with suppress(KernelError):  # there may be no link: not made yet, or gone
            _ip("-n", namespace, "link", "delete", link)
        for process in behind:
            processes.end(*process)
        if not behind:
            return


def _children(record: Record) -> list[tuple[int, int]]:
    """Programs of ours in the lab's namespaces, or on their way there."""
    homes = {os.stat(path).st_ino for name in record.namespaces if (path := _NAMESPACES / name).exists()}
    names = {name.encode() for name in record.namespaces}
    return [
        found
        for found, arguments, inode in processes.running()
        if (inode in homes or names.intersection(arguments)) and _ours(arguments)
    ]


def _databases(record: Record) -> list[tuple[int, int]]:
    """PostgreSQL servers whose data is in one of the lab's directories."""
    places = tuple(f"{directory}/".encode() for directory in record.directories)
    return [
        found
        for found, arguments, _ in processes.running()
        if places and arguments[0].endswith(b"/postgres") and any(word.startswith(places) for word in arguments)
    ]


def _ours(arguments: list[bytes]) -> bool:
    return b"-m" in arguments and any(word.partition(b".")[0] == b"nexushub" for word in arguments)


def _programs(link: str, namespace: str) -> list[tuple[int, int]]:
    """Each wireguard-go of that link in that namespace: one elsewhere is somebody else's.

    Found by its command line, since one that is just starting has no socket yet, and the socket names the process
    that opened it, which has ended by the time it answers.
    """
    home = os.stat(_NAMESPACES / namespace).st_ino
    return [
        found
        for found, arguments, inode in processes.running()
        if inode == home and arguments[0].endswith(b"wireguard-go") and link.encode() in arguments
    ]


def _working_in(directory: str) -> list[tuple[int, int]]:
    """Processes whose command line names something in a directory of the lab, such as an initdb left alone."""
    inside_it = directory.rstrip("/").encode() + b"/"
    return [ids for ids, words, _ in processes.running() if any(word.startswith(inside_it) for word in words)]


def _remove_directory(directory: str) -> None:
    """Remove a directory in which a program that is just ending (initdb, its start killed) may still write."""
    deadline = time.monotonic() + 10
    while True:
        try:
            shutil.rmtree(directory, ignore_errors=False, onerror=_missing_is_fine)
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _missing_is_fine(_: object, __: str, error: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


# -- programs


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise KernelError("run", name, "it is not installed", errno=errno.ENOENT, hint="apt-get install iproute2")
    return found


def _ip(*arguments: str) -> None:
    _run([_program("ip"), *arguments])


def _run(
    argv: Sequence[str], *, text: str = "", check: bool = True, timeout: float = _TIMEOUT
) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, names made here, no shell
            argv, input=text, env=ENVIRONMENT, cwd="/", capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise KernelError("run", " ".join(argv[:5]), f"it did not end in {timeout:.0f} s") from error
    if check and done.returncode:
        raise KernelError("run", " ".join(argv[:8]), _last(done.stderr), errno=done.returncode)
    return done


def _last(words: str) -> str:
    return (words.strip().splitlines() or ["it failed without a word"])[-1].rstrip(".")
