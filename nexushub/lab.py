"""``nexushub lab``: a hub in a namespace, with real clients, for demonstrations and tests.

The hub is a whole one: a PostgreSQL of its own, agent and server in the hub's namespace, interface and peers made
through the services. Each client is set up from the file that those hand out. Everything is under the state and
run directories' ``lab`` and in one record, and ``stop`` leaves nothing of it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nexushub import config, labnet, processes
from nexushub.errors import Conflict, KernelError, Unavailable
from nexushub.labnet import Record, Site, Topology

if TYPE_CHECKING:
    from nexushub.work import Hub

ADMIN = "admin"
PORT = 51820
NETWORKS = ("10.66.0.1/24", "fd66::1/64")
_PEOPLE = ("alice-laptop", "bob-phone", "carol-tablet", "dave-desktop", "erin-router", "frank-server")
_PATIENCE = 60.0
"""Seconds for the hub's processes to answer: a first start makes a database, on a busy machine in ten."""
_HANDSHAKE = 15.0


@dataclass(frozen=True, slots=True)
class Client:
    """One client of a lab as it is now."""

    peer: str
    namespace: str
    handshake: int
    """Unix time in seconds of the last one; 0 is never."""
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A lab as it is now."""

    complete: bool
    """False: its start was cut off, or one of its processes has ended."""
    hub: str
    """The namespace."""
    interface: str
    config: str
    """The file of settings that makes ``nexushub`` work on this hub, as NEXUSHUB_CONFIG."""
    password_file: str
    clients: tuple[Client, ...]


def prefix_of(settings: config.Settings) -> str:
    """What the lab's namespaces and links begin with: ``lab``, or for another run directory something of its own,
    so that two of them on a machine don't meet."""
    standard = config.load({}, file=Path(os.devnull)).run_dir
    return "lab" if settings.run_dir == standard else f"lab{zlib.crc32(bytes(settings.run_dir)) % 0x10000:04x}-"


def start(settings: config.Settings, *, clients: int = 3) -> Record:
    """Make a lab and wait until every client has shaken hands with the hub; about five seconds for three.

    ``Conflict`` when there is one already, whole or in part. What fails half-way is taken down again before the
    error goes on.
    """
    with _locked(settings):
        path, prefix = _record_path(settings), prefix_of(settings)
        if labnet.load(path) is not None:
            raise Conflict("lab", prefix, "one that is there already", hint="Remove it with: nexushub lab down")
        topology = Topology(prefix, clients)
        record = Record(path, prefix, clients)
        try:
            _build(record, topology, settings)
        except BaseException:
            labnet.remove(record)
            raise
        return record


def stop(settings: config.Settings) -> bool:
    """Remove the lab, also one whose start was cut off. False when there was none."""
    with _locked(settings):
        record = labnet.load(_record_path(settings))
        if record is not None:
            labnet.remove(record)
        return record is not None


def look(settings: config.Settings) -> Seen | None:
    """The lab as it is now; None when there is none."""
    record = labnet.load(_record_path(settings))
    if record is None:
        return None
    lab = lab_settings(settings)
    alive = all(processes.started_at(pid) == started for pid, started in record.processes)
    found = []
    for site in record.topology.sites:
        seen = labnet.peers(site) if alive else []
        numbers = (seen[0].handshake, seen[0].rx_bytes, seen[0].tx_bytes) if seen else (0, 0, 0)
        found.append(Client(record.details.get("peers", {}).get(site.namespace, ""), site.namespace, *numbers))
    return Seen(
        complete=bool(record.details.get("complete")) and alive,
        hub=record.topology.hub.namespace,
        interface=record.topology.hub.link,
        config=str(lab.state_dir / "nexushub.toml"),
        password_file=str(lab.state_dir / "password"),
        clients=tuple(found),
    )


def lab_settings(settings: config.Settings) -> config.Settings:
    """The settings of the lab's hub: directories of its own, and nothing of the machine's hub."""
    return replace(
        config.load({}, file=Path(os.devnull)),
        state_dir=settings.state_dir / "lab",
        run_dir=settings.run_dir / "lab",
        node="lab",
    )


# -- making


def _build(record: Record, topology: Topology, settings: config.Settings) -> None:
    lab = lab_settings(settings)
    for directory in (lab.state_dir, lab.run_dir):
        if directory.exists():
            raise Conflict("directory", directory, "something else", hint="A lab's directory must be the lab's alone.")
        record.directories.append(str(directory))
        record.save()
        directory.mkdir(parents=True, mode=0o711)
    labnet.create(topology, record)
    labnet.forward(topology.hub.namespace)
    file = _private(
        lab.state_dir / "nexushub.toml", f'state_dir = "{lab.state_dir}"\nrun_dir = "{lab.run_dir}"\nnode = "lab"\n'
    )
    password = _private(lab.state_dir / "password", secrets.token_urlsafe(12) + "\n").read_text().strip()
    for role, address, kind in (
        ("agent", lab.agent_socket, socket.SOCK_SEQPACKET),
        ("serve", lab.api_socket, socket.SOCK_STREAM),
    ):
        _spawn(record, role, file, lab.state_dir / f"{role}.log")
        _answers(record, role, address, kind, lab.state_dir / f"{role}.log")
    configs = _peers(lab, topology, password)
    record.details = {"peers": {site.namespace: name for site, (name, _) in configs.items()}}
    record.save()
    labnet.clients_up({site: text for site, (_, text) in configs.items()}, record)
    _shake_hands(topology)
    record.details["complete"] = True
    record.save()


def _private(path: Path, text: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def _spawn(record: Record, role: str, file: Path, log: Path) -> None:
    """Start the agent or the server in the hub's namespace, to go on when this process has ended."""
    argv = labnet.entering(record.topology.hub.namespace, [sys.executable, "-P", "-m", "nexushub", role])
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        pid = os.posix_spawn(
            argv[0],
            argv,
            {**labnet.ENVIRONMENT, "NEXUSHUB_CONFIG": str(file), "PYTHONUNBUFFERED": "1"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(output)
    record.process(pid)


def _answers(record: Record, role: str, path: Path, kind: socket.SocketKind, log: Path) -> None:
    """Wait until somebody listens on the socket. ``Unavailable`` has the last line of the process's log."""
    pid, started = record.processes[-1]
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.05)
            else:
                return
        if processes.started_at(pid) != started:
            break
    words = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise Unavailable(f"the lab's {role} process", f"did not start: {words[-1].rstrip('.')}")


def _peers(lab: config.Settings, topology: Topology, password: str) -> dict[Site, tuple[str, str]]:
    """Make account, interface and peers through the services; for each client its peer's name and file."""
    from nexushub import boot, postgres  # noqa: PLC0415 - the services are half a second to import

    started = boot.prepare(lab)
    try:
        with closing(boot.open_hub(started)) as hub:
            return _seed(hub, topology, password)
    finally:
        if started.cluster is not None:
            postgres.stop(started.cluster)  # lets go: agent and server use it


def _seed(hub: Hub, topology: Topology, password: str) -> dict[Site, tuple[str, str]]:
    from nexushub.services import auth, interfaces, peers, users  # noqa: PLC0415 - as above
    from nexushub.services.peerfields import NewPeer  # noqa: PLC0415 - as above

    actor = auth.local_actor()
    sites = {_name(site.number): site for site in topology.sites}
    new = [
        NewPeer(
            name=name,
            keepalive=25,
            psk=bool(site.number % 2),
            # Every other client dials over IPv6.
            endpoint="" if site.number % 2 else f"[{topology.hub.address6}]:{PORT}",
            owner=name.partition("-")[0],
        )
        for name, site in sites.items()
    ]
    with hub.work(actor) as w:
        users.create_first(w, name=ADMIN, email=f"{ADMIN}@lab.example", password=password)
    with hub.work(actor, wait_ms=15_000) as w:
        interfaces.create(
            w, name=topology.hub.link, addresses=NETWORKS, listen_port=PORT, endpoint=f"{topology.hub.address}:{PORT}"
        )
        made = peers.create_many(w, interface=topology.hub.link, peers=new)
    if not w.truth.applied:
        words = w.truth.failed or f"pending: {w.truth.pending}"
        raise KernelError("set up hub", topology.hub.namespace, words)
    return {sites[item.peer.name]: (item.peer.name, item.config) for item in made}


def _name(number: int) -> str:
    return _PEOPLE[number - 1] if number <= len(_PEOPLE) else f"client-{number}"


def _shake_hands(topology: Topology) -> None:
    waiting = list(topology.sites)
    deadline = time.monotonic() + _HANDSHAKE
    while waiting := [site for site in waiting if not any(peer.handshake for peer in labnet.peers(site))]:
        if time.monotonic() > deadline:
            reason = f"no handshake with the hub in {_HANDSHAKE:.0f} s"
            raise KernelError("connect client", waiting[0].namespace, reason)
        time.sleep(0.05)


@contextmanager
def _locked(settings: config.Settings) -> Iterator[None]:
    """One at a time makes or removes a lab."""
    settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (settings.run_dir / "lab.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _record_path(settings: config.Settings) -> Path:
    return settings.run_dir / "lab.json"


# -- for the command line


def up(clients: int = 3) -> int:
    """``nexushub lab up``. Run again it finds the lab that is there, and makes a broken one anew."""
    from nexushub.cli import output  # noqa: PLC0415 - words go where all commands' words go

    settings = config.load()
    seen = look(settings)
    if seen is not None and not (seen.complete and len(seen.clients) == clients):
        output.say("Removing the lab that is there …")
        stop(settings)
        seen = None
    if seen is None:
        output.say(f"Making a hub and {clients} clients …")
        start(settings, clients=clients)
        seen = look(settings)
    assert seen is not None, "it was there, or was just made"
    output.say(
        f"The lab is up: {len(seen.clients)} clients of {seen.interface}, in the namespaces "
        f"{', '.join(client.namespace for client in seen.clients)}.\n"
        f"Open it:  NEXUSHUB_CONFIG={seen.config} nexushub\n"
        f"Sign in:  {ADMIN}, with the password in {seen.password_file}\n"
        f"Try:      ip netns exec {seen.clients[0].namespace} ping {NETWORKS[0].partition('/')[0]}\n"
        f"Remove:   nexushub lab down"
    )
    return 0


def down() -> int:
    """``nexushub lab down``."""
    from nexushub.cli import output  # noqa: PLC0415 - as above

    output.say("The lab is removed." if stop(config.load()) else "There is no lab.")
    return 0


def status() -> int:
    """``nexushub lab status``: exit 3 when there is none, 1 when something of it has ended."""
    from nexushub.cli import exits, output  # noqa: PLC0415 - as above

    seen = look(config.load())
    if seen is None:
        output.complain("There is no lab.", hint="Make one with: nexushub lab up")
        return exits.NOT_FOUND
    now = time.time()
    clients = [
        {
            "peer": client.peer,
            "namespace": client.namespace,
            "last_handshake_seconds": int(now - client.handshake) if client.handshake else None,
            "rx_bytes": client.rx_bytes,
            "tx_bytes": client.tx_bytes,
        }
        for client in seen.clients
    ]
    document = {
        "complete": seen.complete,
        "hub": seen.hub,
        "interface": seen.interface,
        "config": seen.config,
        "clients": clients,
    }
    pairs = [(name, value) for name, value in document.items() if name != "clients"]
    pairs += [(str(c["namespace"]), _sentence(c)) for c in clients]
    output.record(pairs, document)
    return exits.DONE if seen.complete else exits.FAILED


def _sentence(client: Mapping[str, object]) -> str:
    seconds = client["last_handshake_seconds"]
    when = "no handshake yet" if seconds is None else f"handshake {seconds} s ago"
    return f"{client['peer']}: {when}, received {client['rx_bytes']} B, sent {client['tx_bytes']} B"
