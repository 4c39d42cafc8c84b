"""The lab's hub: database, agent, server, peers and clients, all real, and nothing left of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nexushub import boot, config, lab, labnet, postgres
from nexushub.errors import Conflict, KernelError
from nexushub.labnet import Ping, Record
from nexushub.services import auth, peers
from nexushub.work import Hub
from tests.fix_lab import leftovers, processes_with

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings() -> Iterator[config.Settings]:
    """Directories short enough for a socket's path, that PostgreSQL's account can enter."""
    place = Path(tempfile.mkdtemp(prefix="nxl-", dir="/tmp"))
    place.chmod(0o711)
    yield config.load(environment(place), file=Path(os.devnull))
    shutil.rmtree(place)


def environment(place: Path) -> dict[str, str]:
    return {"NEXUSHUB_STATE_DIR": str(place / "s"), "NEXUSHUB_RUN_DIR": str(place / "r")}


def cli(settings: config.Settings, *words: str) -> subprocess.CompletedProcess[str]:
    place = environment(settings.run_dir.parent) | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "nexushub", *words]
    return subprocess.run(argv, env=place, cwd="/", capture_output=True, text=True, timeout=100, check=False)


def nothing_left(settings: config.Settings) -> bool:
    assert not leftovers(lab.prefix_of(settings))
    assert not list(processes_with(str(settings.run_dir.parent))), "a database or a process of the hub"
    for directory in (settings.state_dir, settings.run_dir):
        assert [path.name for path in directory.glob("*")] in ([], ["lab.lock"])
    return True


@pytest.fixture(scope="module")
def running(settings: config.Settings) -> Iterator[Record]:
    began = time.monotonic()
    done = cli(settings, "lab", "up", "--clients", "3")
    assert done.returncode == 0, done.stderr
    assert "The lab is up: 3 clients" in done.stderr
    print(f"lab up with 3 clients: {time.monotonic() - began:.1f} s")
    record = labnet.load(settings.run_dir / "lab.json")
    assert record is not None
    yield record
    lab.stop(settings)


def test_clients_from_their_files_reach_the_hub(running: Record, settings: config.Settings) -> None:
    seen = lab.look(settings)
    assert seen is not None
    assert seen.complete
    assert [client.peer for client in seen.clients] == ["alice-laptop", "bob-phone", "carol-tablet"]
    assert all(time.time() - client.handshake < 180 for client in seen.clients)
    hub, sites = running.topology.hub, running.topology.sites
    for site in sites:
        assert labnet.ping(site.namespace, "10.66.0.1", 2) == Ping(2, 2)
        assert labnet.ping(site.namespace, "fd66::1", 2) == Ping(2, 2)
        v4, v6 = own_addresses(site)
        assert labnet.ping(hub.namespace, v4, 2) == Ping(2, 2)
        assert labnet.ping(hub.namespace, v6, 2) == Ping(2, 2)
    assert labnet.ping(sites[0].namespace, own_addresses(sites[1])[0], 2) == Ping(2, 2)


def own_addresses(site: labnet.Site) -> tuple[str, str]:
    shown = json.loads(labnet.inside(site.namespace, ["ip", "-j", "address", "show", "dev", site.link]).stdout)
    v4, v6 = sorted(entry["local"] for entry in shown[0]["addr_info"])
    return v4, v6


def test_a_disabled_peer_is_cut_off_within_two_seconds_and_returns(running: Record, settings: config.Settings) -> None:
    site = running.topology.sites[0]
    started = boot.prepare(lab.lab_settings(settings))
    try:
        with closing(boot.open_hub(started)) as hub:
            disabled = switched(hub, site, False, 2)
            # The client goes on with keys that the hub has forgotten until 15 seconds pass without an answer
            # (Keepalive-Timeout and Rekey-Timeout): only then it shakes hands again.
            enabled = switched(hub, site, True, 20)
    finally:
        if started.cluster is not None:
            postgres.stop(started.cluster)
    print(f"disabled: silent after {disabled:.2f} s; enabled: back after {enabled:.1f} s")


def switched(hub: Hub, site: labnet.Site, enabled: bool, seconds: float) -> float:
    """Enable or disable the first peer; how long after that its traffic shows it."""
    with hub.work(auth.local_actor()) as w:
        peers.set_enabled(w, ["alice-laptop"], enabled)
    assert w.truth.applied
    began = time.monotonic()
    assert until(lambda: labnet.ping(site.namespace, "10.66.0.1", 1, wait=0.3).received == int(enabled), seconds)
    return time.monotonic() - began


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_command_line_finds_it(running: Record, settings: config.Settings) -> None:
    done = cli(settings, "lab", "status", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["complete"]
    assert document["hub"] == running.topology.hub.namespace
    assert [client["peer"] for client in document["clients"]] == ["alice-laptop", "bob-phone", "carol-tablet"]
    assert all(client["rx_bytes"] > 0 for client in document["clients"])
    again = cli(settings, "lab", "up")
    assert again.returncode == 0
    assert "Making" not in again.stderr
    assert labnet.load(running.path) == running


def test_a_second_one_is_refused(running: Record, settings: config.Settings) -> None:
    with pytest.raises(Conflict, match="nexushub lab down"):
        lab.start(settings)


def test_no_secret_is_in_the_record_or_in_a_command_line(running: Record, settings: config.Settings) -> None:
    private = labnet.inside(
        running.topology.sites[0].namespace, ["wg", "show", running.topology.sites[0].link, "private-key"]
    ).stdout.strip()
    password = (settings.state_dir / "lab" / "password").read_text().strip()
    for secret in (private, password):
        assert len(secret) > 12
        assert secret not in running.path.read_text()
        assert not list(processes_with(secret))
        for log in (settings.state_dir / "lab").glob("*.log"):
            assert secret not in log.read_text()
    assert (settings.state_dir / "lab" / "password").stat().st_mode & 0o777 == 0o600


def test_with_its_agent_gone_it_says_so_and_goes(running: Record, settings: config.Settings) -> None:
    """The last one: it ends the lab."""
    agent = next(
        pid for pid, _ in running.processes if b"agent" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    )
    os.kill(agent, signal.SIGKILL)
    assert until(lambda: not (lab.look(settings) or pytest.fail("no lab")).complete, 5)
    assert labnet.ping(running.topology.sites[1].namespace, "10.66.0.1", 2) == Ping(2, 2)
    assert cli(settings, "lab", "status").returncode == 1
    began = time.monotonic()
    done = cli(settings, "lab", "down")
    assert done.returncode == 0, done.stderr
    print(f"lab down: {time.monotonic() - began:.1f} s")
    assert nothing_left(settings)
    assert "There is no lab" in cli(settings, "lab", "down").stderr
    assert cli(settings, "lab", "status").returncode == 3


def test_a_start_that_fails_is_taken_back(settings: config.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KernelError("set up client", "x", "no")

    monkeypatch.setattr(labnet, "clients_up", fail)
    with pytest.raises(KernelError, match="set up client"):
        lab.start(settings, clients=1)
    assert nothing_left(settings)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5, 4.0, 6.0])
def test_killed_while_starting_it_can_be_removed(settings: config.Settings, seconds: float) -> None:
    place = environment(settings.run_dir.parent) | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "nexushub", "lab", "up", "--clients", "2"], env=place, cwd="/", stderr=subprocess.PIPE
    ) as process:
        time.sleep(seconds)
        process.kill()
    lab.stop(settings)
    assert nothing_left(settings)
