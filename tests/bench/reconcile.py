"""Ten thousand peers on one device: full set, read, no-op reconcile, one change, beside ``wg`` in the same run.

``one change`` is plan, apply and read-back of one peer, as the agent does it after a hint; the database's part is
measured apart, in ``database``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from nexushub.agent.apply import apply_link, apply_peers
from nexushub.agent.desired import WantedInterface, WantedPeer
from nexushub.agent.state import Touched
from nexushub.kernel.local import LocalKernel
from nexushub.kernel.values import Cidr, InterfaceAddress, InterfaceSpec, PeerSpec, network_of
from nexushub.reconcile import plan
from nexushub.secrets import generate_preshared_key, generate_private_key, public_key
from tests.bench.machine import goal, milliseconds, report

PEERS = 10_000
ROUNDS = 7


def wanted(name: str) -> WantedInterface:
    """An interface with ten thousand peers, each with one address; a tenth has a preshared key."""
    address = InterfaceAddress("10.64.0.1/16")
    spec = InterfaceSpec(uuid4(), name, generate_private_key(), 40000 + os.getpid() % 20000, (address,))
    found = WantedInterface(spec.id, spec, (network_of(address),), 1)
    for n in range(PEERS):
        psk = generate_preshared_key() if n % 10 == 0 else None
        host = n + 2
        peer = PeerSpec(
            public_key(generate_private_key()), (Cidr(f"10.64.{host >> 8}.{host & 255}/32"),), psk, 25 * (n % 2)
        )
        row = WantedPeer(uuid4(), f"p{n}", peer, True, None, 1)
        found.peers[row.id] = row
    return found


def best(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of several runs, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def setconf_text(spec: InterfaceSpec) -> str:
    lines = ["[Interface]", f"PrivateKey = {spec.private_key.reveal()}", f"ListenPort = {spec.listen_port}"]
    for peer in spec.peers.values():
        lines += ["[Peer]", f"PublicKey = {peer.public_key}", f"AllowedIPs = {', '.join(peer.allowed_ips)}"]
        lines += [f"PersistentKeepalive = {peer.keepalive}"] if peer.keepalive else []
        lines += [f"PresharedKey = {peer.preshared_key.reveal()}"] if peer.preshared_key else []
    return "\n".join(lines) + "\n"


def measure(name: str, floor: str) -> None:
    """Measure in the namespace this process is in, and print."""
    kernel = LocalKernel("wireguard-go")
    link = wanted(name)
    spec = link.at(time.time())
    bare = replace(spec, peers={})
    apply_link(kernel, bare, None, frozenset())
    began = time.perf_counter()
    kernel.apply(plan(spec, kernel.observe(name)))
    full_set = time.perf_counter() - began
    read = best(lambda: kernel.observe(name))

    def no_op() -> None:
        out = apply_link(kernel, spec, kernel.observe(name), frozenset())
        assert out.operations == 0

    def dump() -> None:
        subprocess.run(["wg", "show", name, "dump"], stdout=subprocess.DEVNULL, check=True)

    quiet = best(no_op)
    floor_dump = best(dump)
    state = kernel.observe(name)
    assert state is not None
    rows = list(link.peers.values())
    seen = dict(state.peers)

    def one_change() -> None:
        row = rows[one_change.__dict__.setdefault("n", 5)]
        one_change.__dict__["n"] += 1
        row.spec = replace(row.spec, keepalive=7)
        key = row.spec.public_key
        out = apply_peers(kernel, link, Touched(peers=[row], keys={key}), seen)
        assert (out.operations, out.peer_failures, out.failure) == (1, {}, "")
        seen.update(out.peers)

    one = best(one_change, 15)
    sample = best(lambda: kernel.sample(name))

    other = LocalKernel("wireguard-go")
    floor_spec = replace(bare, id=uuid4(), name=floor, listen_port=bare.listen_port - 1, addresses=())
    apply_link(other, floor_spec, None, frozenset())
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(setconf_text(replace(spec, listen_port=floor_spec.listen_port)))
        file.flush()
        began = time.perf_counter()
        subprocess.run(["wg", "setconf", floor, file.name], check=True)
        setconf = time.perf_counter() - began
    measured = {
        "peers": PEERS, "backend": kernel.kind, "wg_setconf_ms": milliseconds(setconf), "wg_show_dump_ms": milliseconds(floor_dump),
        "full_set_ms": milliseconds(full_set), "full_set_per_setconf": round(full_set / setconf, 2),
        "read_ms": milliseconds(read), "read_per_dump": round(read / floor_dump, 2),
        "no_op_ms": milliseconds(quiet), "no_op_per_dump": round(quiet / floor_dump, 2),
        "one_change_ms": milliseconds(one), "one_change_per_dump": round(one / floor_dump, 2), "sample_ms": milliseconds(sample),
    }  # fmt: skip
    report(
        "reconcile",
        measured,
        [goal("no-op / wg show dump", 3, quiet / floor_dump), goal("one change, ms", 50, one * 1000)],
    )


def main() -> None:
    """Make a namespace, measure in it, leave nothing."""
    names = [f"nxb{os.getpid() % 100000}a", f"nxb{os.getpid() % 100000}b"]
    space = f"nxt-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", space], check=True)
    try:
        flag = ["--json"] if "--json" in sys.argv else []
        subprocess.run(
            ["ip", "netns", "exec", space, sys.executable, "-m", "tests.bench.reconcile", "--inside", *names, *flag],
            check=True,
        )
    finally:
        for name in names:
            subprocess.run(["ip", "-n", space, "link", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", space], check=True)
        for name in names:
            Path(f"/var/run/wireguard/{name}.sock").unlink(missing_ok=True)


if __name__ == "__main__":
    if "--inside" in sys.argv:
        at = sys.argv.index("--inside")
        measure(sys.argv[at + 1], sys.argv[at + 2])
    else:
        main()
