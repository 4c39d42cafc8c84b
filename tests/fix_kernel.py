"""Network namespaces, WireGuard links in them, and what other tools say is there.

A test that asks for ``namespace`` runs inside a network namespace of its own and leaves nothing: its links
go with it, and so do the wireguard-go processes behind them. Namespaces are entered by the thread that runs
the test only.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nexushub.kernel.links import Links
from nexushub.kernel.local import KERNEL, USERSPACE, LocalKernel

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()

WORDS = {"uapi": USERSPACE, "netlink": KERNEL}


def backends() -> list[str]:
    """Which backends the contract suite runs over here: ``NEXUSHUB_TEST_BACKENDS``, or wireguard-go's."""
    return os.environ.get("NEXUSHUB_TEST_BACKENDS", "uapi").split(",")


def pytest_report_header() -> str:
    chosen = backends()
    return "wireguard: " + ", ".join(f"{name} {'yes' if name in chosen else 'NO'}" for name in WORDS)


def run(*arguments: str, input_text: str | None = None) -> str:
    """A command's output; an error with its words when it fails."""
    done = subprocess.run(arguments, input=input_text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}{done.stdout}"
    return done.stdout


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Namespace:
    """A network namespace of the test's own."""

    name: str
    links: list[str] = field(default_factory=list)

    def link_name(self) -> str:
        """A name for a WireGuard link that no other test on this machine uses."""
        name = f"nx{os.getpid() % 1000000}x{next(_numbers)}"
        self.links.append(name)
        return name

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Run the calling thread inside the namespace."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(inside)
            try:
                yield
            finally:
                _setns(back)
        finally:
            os.close(inside)
            os.close(back)


@contextlib.contextmanager
def new_namespace() -> Iterator[Namespace]:
    """Make a namespace with its loopback up; end what runs in it and remove it afterwards."""
    space = Namespace(f"nxt-k{os.getpid()}-{next(_numbers)}")
    run("ip", "netns", "add", space.name)
    try:
        run("ip", "-n", space.name, "link", "set", "lo", "up")
        yield space
    finally:
        with space.entered():
            remove_links()
        wait_gone(space.links)
        run("ip", "netns", "delete", space.name)


def remove_links() -> None:
    """Delete every link that can be deleted in the namespace this thread is in."""
    for link in json.loads(run("ip", "-j", "link", "show")):
        if link["ifname"] != "lo":
            subprocess.run(["ip", "link", "delete", link["ifname"]], capture_output=True, check=False)


def wait_gone(names: list[str]) -> None:
    """Wait until the wireguard-go processes behind deleted links have taken their sockets away.

    One that was killed leaves its socket file: nobody will, so it is removed here.
    """
    deadline = time.monotonic() + 3
    sockets = [Path(f"/var/run/wireguard/{name}.sock") for name in names]
    while any(path.exists() for path in sockets) and time.monotonic() < deadline:
        time.sleep(0.005)
    for path in sockets:
        path.unlink(missing_ok=True)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with new_namespace() as space, space.entered():
        yield space


@pytest.fixture(params=backends())
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kernel(backend: str, namespace: Namespace) -> Iterator[LocalKernel]:
    """The real kernel port in a namespace of its own, over one of the two ways to reach WireGuard."""
    with contextlib.closing(LocalKernel(WORDS[backend])) as found:
        yield found


@pytest.fixture
def links(namespace: Namespace) -> Iterator[Links]:
    with contextlib.closing(Links()) as found:
        yield found


# -- what others see


def wg_dump(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Device and peers as ``wg show NAME dump`` prints them, peers by public key in base64."""
    first, *rest = run("wg", "show", name, "dump").splitlines()
    private, _, port, _ = first.split("\t")
    peers = {}
    for line in rest:
        key, psk, endpoint, allowed, handshake, rx, tx, keepalive = line.split("\t")
        peers[key] = {
            "preshared_key": None if psk == "(none)" else psk,
            "endpoint": None if endpoint == "(none)" else endpoint,
            "allowed_ips": () if allowed == "(none)" else tuple(sorted(allowed.split(","))),
            "handshake": int(handshake),
            "rx": int(rx),
            "tx": int(tx),
            "keepalive": 0 if keepalive == "off" else int(keepalive),
        }
    return {"private_key": None if private == "(none)" else private, "listen_port": int(port)}, peers


def ip_link(name: str) -> tuple[int, tuple[str, ...]]:
    """MTU and addresses."""
    found = json.loads(run("ip", "-j", "address", "show", "dev", name))[0]
    return found["mtu"], tuple(sorted(f"{entry['local']}/{entry['prefixlen']}" for entry in found["addr_info"]))


def ip_routes(name: str) -> tuple[str, ...]:
    """Destinations of the routes with our protocol number on that link."""
    found = []
    for family, length in (("-4", 32), ("-6", 128)):
        for route in json.loads(run("ip", family, "-j", "route", "show", "dev", name, "proto", "78") or "[]"):
            where = route["dst"]
            where = {"-4": "0.0.0.0/0", "-6": "::/0"}[family] if where == "default" else where
            found.append(where if "/" in where else f"{where}/{length}")
    return tuple(sorted(found))


def snapshot() -> dict[str, str]:
    """Everything in this namespace that is not ours to touch, as text to compare."""
    names = sorted(link["ifname"] for link in json.loads(run("ip", "-j", "link", "show")))
    return {
        "filters": "".join(run("tc", "-j", "filter", "show", "dev", name, "ingress") for name in names),
        "links": run("ip", "-j", "-d", "link", "show"),
        "addresses": run("ip", "-j", "address", "show"),
        "routes": run("ip", "-j", "route", "show", "table", "all"),
        "routes6": run("ip", "-6", "-j", "route", "show", "table", "all"),
        "rules": run("ip", "-j", "rule", "show"),
        "nft": run("nft", "-j", "list", "ruleset"),
        "qdiscs": run("tc", "-j", "qdisc", "show"),
    }
