"""A lab's internet: clients that come up from their files alone, and an end that leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nexushub import clientconf, labnet, processes
from nexushub.clientconf import ClientConfig
from nexushub.errors import Conflict, Invalid, KernelError
from nexushub.kernel import uapi
from nexushub.kernel.values import Cidr, Endpoint, InterfaceAddress
from nexushub.labnet import Record, Site
from nexushub.secrets import generate_preshared_key, generate_private_key, public_key
from tests.fix_lab import MakeLab, lab_prefix, leftovers


def files(record: Record, *, full_tunnel: bool = False) -> dict[Site, str]:
    """The hub's file and each client's, as NexusHub writes them; every other client dials over IPv6."""
    hub, sites = record.topology.hub, record.topology.sites
    hub_key = generate_private_key()
    hub_file = f"[Interface]\nPrivateKey = {hub_key.reveal()}\nListenPort = 51820\nAddress = 10.66.0.1/24, fd66::1/64\n"
    made: dict[Site, str] = {}
    for site in sites:
        key, psk = generate_private_key(), generate_preshared_key()
        own = (f"10.66.0.{site.number + 1}", f"fd66::{site.number + 1:x}")
        config = ClientConfig(
            addresses=(InterfaceAddress(f"{own[0]}/32"), InterfaceAddress(f"{own[1]}/128")),
            public_key=public_key(hub_key),
            allowed_ips=(Cidr("0.0.0.0/0"), Cidr("::/0")) if full_tunnel else (Cidr("10.66.0.0/24"), Cidr("fd66::/64")),
            private_key=key,
            dns=("10.66.0.1",),
            mtu=1420,
            preshared_key=psk,
            endpoint=Endpoint(hub.address6 if site.number % 2 else hub.address, 51820),
            keepalive=25,
        )
        made[site] = clientconf.render(config) if site.number % 2 else clientconf.compact(config)
        hub_file += f"[Peer]\nPublicKey = {public_key(key)}\nPresharedKey = {psk.reveal()}\n"
        hub_file += f"AllowedIPs = {own[0]}/32, {own[1]}/128\n"
    return {hub: hub_file, **made}


def bring_up(record: Record, *, full_tunnel: bool = False) -> None:
    """The hub first: a client whose first packet meets nobody tries again after five seconds only."""
    (hub, text), *rest = files(record, full_tunnel=full_tunnel).items()
    labnet.clients_up({hub: text}, record)
    labnet.clients_up(dict(rest), record)


def test_clients_reach_the_hub_and_each_other(lab_net: MakeLab) -> None:
    began = time.monotonic()
    record = lab_net(3)
    made = time.monotonic()
    bring_up(record)
    labnet.forward(record.topology.hub.namespace)
    up = time.monotonic()
    hub, sites = record.topology.hub, record.topology.sites
    for site in sites:
        for address in ("10.66.0.1", "fd66::1"):
            assert labnet.ping(site.namespace, address, 2) == labnet.Ping(2, 2)
        for address in (f"10.66.0.{site.number + 1}", f"fd66::{site.number + 1:x}"):
            assert labnet.ping(hub.namespace, address, 2) == labnet.Ping(2, 2)
    assert labnet.ping(sites[0].namespace, "10.66.0.4", 2) == labnet.Ping(2, 2)
    assert labnet.ping(sites[1].namespace, "fd66::2", 2) == labnet.Ping(2, 2)
    print(
        f"3 clients and a hub: namespaces {made - began:.2f} s, WireGuard links {up - made:.2f} s, "
        f"14 round trips {time.monotonic() - up:.2f} s"
    )
    seen = labnet.peers(hub)
    assert len(seen) == 3
    assert all(peer.handshake > 0 and peer.rx_bytes > 0 and peer.tx_bytes > 0 for peer in seen)
    assert labnet.ping(hub.namespace, "10.66.0.99", 1, wait=0.2) == labnet.Ping(1, 0)


def test_a_full_tunnel(lab_net: MakeLab) -> None:
    record = lab_net(1)
    bring_up(record, full_tunnel=True)
    (site,) = record.topology.sites
    labnet.inside(record.topology.hub.namespace, ["ip", "address", "add", "203.0.113.7/32", "dev", "lo"])
    assert labnet.ping(site.namespace, "203.0.113.7", 2).received == 2


def test_a_file_that_says_nonsense_is_named(lab_net: MakeLab) -> None:
    record = lab_net(1)
    (site,) = record.topology.sites
    for text, words in {
        "[Interface]\nPostUp = id\n": "line 2: PostUp is not taken over",
        "[Interface]\nMTU = 1420\n": "it has no PrivateKey",
        files(record)[site] + "Endpoint = 192.0.2.1:1\n": "Endpoint is given a second time",
    }.items():
        with pytest.raises(KernelError, match=words) as refused:
            labnet.clients_up({site: text}, record)
        assert refused.value.target == site.namespace
    assert not uapi.answers(site.link)


def running(pid: int) -> bool:
    """Also false for one that has ended and waits for its parent to notice."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_is_removed_from_the_record_alone(tmp_path: Path) -> None:
    record = Record(tmp_path / "lab.json", lab_prefix(), 2)
    labnet.create(record.topology, record)
    labnet.clients_up(files(record), record)
    pids = [pid for pid, _ in record.processes]
    assert len(pids) == 3
    assert leftovers(record.prefix)
    secrets = record.path.read_text()
    assert "PrivateKey" not in secrets
    found = labnet.load(record.path)
    assert found == record
    began = time.monotonic()
    labnet.remove(found)
    print(f"removed in {time.monotonic() - began:.2f} s")
    assert not leftovers(record.prefix)
    assert not any(running(pid) for pid in pids)
    assert labnet.load(record.path) is None
    labnet.remove(found)


def test_processes_that_others_have_now_are_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        started = processes.started_at(bystander.pid)
        assert started is not None
        labnet.remove(Record(tmp_path / "x", lab_prefix(), 1, processes=[(bystander.pid, started - 1)]))
        assert bystander.poll() is None
        labnet.remove(Record(tmp_path / "x", lab_prefix(), 1, processes=[(bystander.pid, started)]))
        assert bystander.wait(5) == -signal.SIGTERM


def test_a_process_that_does_not_listen_is_killed() -> None:
    argv = [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout
        stubborn.stdout.readline()
        started = processes.started_at(stubborn.pid)
        assert started is not None
        processes.end(stubborn.pid, started, patience=0.2)
        assert stubborn.wait(5) == -signal.SIGKILL


def test_namespaces_of_others_are_not_taken(tmp_path: Path) -> None:
    prefix = lab_prefix()
    subprocess.run(["ip", "netns", "add", f"{prefix}-c1"], check=True)
    try:
        record = Record(tmp_path / "lab.json", prefix, 1)
        with pytest.raises(Conflict, match=f"{prefix}-c1"):
            labnet.create(record.topology, record)
        assert leftovers(prefix).namespaces == (f"{prefix}-c1",)
        assert labnet.load(record.path) is None
    finally:
        subprocess.run(["ip", "netns", "delete", f"{prefix}-c1"], check=True)


def test_a_wireguard_go_of_the_same_name_elsewhere_is_left_alone(lab_net: MakeLab, tmp_path: Path) -> None:
    record = lab_net(1)
    (site,) = record.topology.sites
    labnet.clients_up(files(record), record)
    other = Record(tmp_path / "other.json", lab_prefix(), 1)
    labnet.create(other.topology, other)
    other.links[site.link] = other.topology.hub.namespace
    labnet.remove(other)
    assert uapi.answers(site.link)


@pytest.mark.parametrize("prefix", ["", "Lab", "1x", "a" * 11, "a/b", "a b", "a\nb", "../x", "-x"])
def test_prefixes_are_checked(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="prefix"):
        labnet.Topology(prefix, 1)


@pytest.mark.parametrize("clients", [0, -1, 101])
def test_there_is_a_bound_on_clients(clients: int) -> None:
    with pytest.raises(Invalid, match="clients"):
        labnet.Topology("lab", clients)


def test_a_broken_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    for text in ("", "{}", "[]", '{"prefix": 1}', "\x00"):
        (tmp_path / "lab.json").write_text(text)
        with pytest.raises(KernelError, match=r"lab\.json"):
            labnet.load(tmp_path / "lab.json")


# -- crashes


_CRASHING = """
import os, sys
from pathlib import Path
from nexushub import labnet
from nexushub.labnet import Record
from tests.e2e.test_labnet import files

calls = 0
real = labnet._run

def counted(*arguments, **options):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os._exit(9)
    return real(*arguments, **options)

labnet._run = counted
record = Record(Path(sys.argv[1]), sys.argv[2], 1)
labnet.create(record.topology, record)
labnet.clients_up(files(record), record)
print(calls)
"""


def crashing(path: Path, prefix: str, at: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", _CRASHING, str(path), prefix, str(at)]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        argv,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_killed_before_any_step_it_is_removed_without_rest(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    at, done, output = 0, False, ""
    while not done:
        at += 1
        prefix = lab_prefix()
        with crashing(path, prefix, at) as process:
            output, _ = process.communicate(timeout=60)
        done = process.returncode == 0
        assert process.returncode in (0, 9)
        record = labnet.load(path)
        assert record is not None
        labnet.remove(record)
        assert not leftovers(prefix), f"killed at step {at}"
    assert at - 1 == int(output)
    assert at > 15
    print(f"killed at each of {at - 1} steps: nothing left")


@pytest.mark.parametrize("tenths", [4, 6, 8, 10, 12])
def test_killed_at_any_moment_it_is_removed_without_rest(tmp_path: Path, tenths: int) -> None:
    path, prefix = tmp_path / "lab.json", lab_prefix()
    with crashing(path, prefix, 10_000) as process:
        time.sleep(tenths / 10)
        # The whole session: also the children that are setting up links at this moment.
        os.killpg(process.pid, signal.SIGKILL)
    record = labnet.load(path)
    if record is not None:
        labnet.remove(record)
    assert not leftovers(prefix)
