"""The checks of ``doctor`` on this machine: key, database, sockets, WireGuard, BPF, nftables, clock, disk."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nexushub.config import Settings
from nexushub.errors import Configuration, NexusError

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
_TIMEX_BYTES = 512
"""More than struct timex has on any architecture."""
_CLOCK_LIMIT_S = 2.0
_DISK_LEAST = 512 * 1024 * 1024
_DISK_FAILED = 64 * 1024 * 1024


class Finding(NamedTuple):
    name: str
    state: str
    """``ok``, ``warning``, ``failed`` or ``unknown``."""
    detail: str
    fix: str = ""
    """What to type, or empty."""


def checks(settings: Settings) -> Iterator[Finding]:
    """Every local check, in the order in which one failing explains the next."""
    keyring, finding = _key(settings)
    yield finding
    yield from _database(settings, keyring)
    yield _agent(settings)
    yield from _wireguard()
    yield from _filter()
    yield _clock()
    yield _disk(settings)


def _key(settings: Settings) -> tuple[Any, Finding]:
    from nexushub import secrets  # noqa: PLC0415  (cryptography: 40 ms)

    try:
        keyring = secrets.load_keyring(settings)
    except Configuration as error:
        if (
            settings.embedded_database
            and not settings.master_key_file.parent.exists()
            and not settings.peer_key_encryption_key
        ):
            return None, Finding(
                "encryption key",
                "unknown",
                f"{settings.master_key_file} can't be seen or was not made yet",
                "It is made on the first start; run doctor as root to check it.",
            )
        return None, Finding("encryption key", "failed", error.message, error.hint)
    return keyring, Finding("encryption key", "ok", f"{len(keyring.ids)} loaded, {keyring.newest!r} seals")


def _database(settings: Settings, keyring: Any) -> Iterator[Finding]:
    import psycopg  # noqa: PLC0415  (100 ms)

    from nexushub import boot, db  # noqa: PLC0415  (psycopg: only doctor asks)

    dsn = settings.database_url or f"host={settings.run_dir / 'pg'} port=5432 dbname=nexushub user=nexushub_owner"
    if settings.embedded_database and not (settings.run_dir / "pg").exists():
        yield Finding(
            "database", "warning", "the embedded one is not running", "It starts with nexushub serve, or with the TUI."
        )
        return
    try:
        with db.connect(dsn, "nexushub_owner", autocommit=True) as connection:
            yield Finding(
                "database",
                "ok",
                f"PostgreSQL {'.'.join(map(str, divmod(connection.info.server_version, 10000)))} answers",
            )
            present = db.current(connection)
            good = present == db.head()
            yield Finding(
                "schema",
                "ok" if good else "failed",
                f"{present or 'none'}, this version's is {db.head()}",
                "" if good else "nexushub db upgrade",
            )
            if keyring is not None and present is not None:
                boot.check_keys(connection, keyring)
                yield Finding("key and database", "ok", "the database was written with the loaded keys")
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            off = abs(time.time() - row[0]) if row else 0.0
            yield Finding(
                "database clock",
                "ok" if off < _CLOCK_LIMIT_S else "warning",
                f"{off:.1f} s from this machine's",
                "" if off < _CLOCK_LIMIT_S else "Run a time service on both.",
            )
    except Configuration as error:
        yield Finding("key and database", "failed", error.message, error.hint)
    except psycopg.Error as error:
        words = str(error).strip().splitlines()
        yield Finding(
            "database",
            "failed",
            words[-1] if words else "does not answer",
            "Check NEXUSHUB_DATABASE_URL." if settings.database_url else "systemctl start nexushub",
        )


def _agent(settings: Settings) -> Finding:
    from nexushub.kernel.remote import AgentClient  # noqa: PLC0415  (only doctor asks)

    try:
        reply = AgentClient(settings.agent_socket).status()
    except NexusError as error:
        return Finding("agent socket", "failed", error.message, error.hint)
    return Finding(
        "agent socket",
        "ok",
        f"applied revision {reply.a}, {reply.c} links"
        + (", from its snapshot: the database is away" if reply.d else ""),
    )


def _wireguard() -> Iterator[Finding]:
    release = platform.release()
    loaded = Path("/sys/module/wireguard").exists()
    module = loaded or any(Path("/lib/modules", release).rglob("wireguard.ko*"))
    program = shutil.which("wireguard-go")
    if module:
        yield Finding("WireGuard", "ok", f"in the kernel {release}")
    elif program:
        yield Finding("WireGuard", "ok", f"{program}; the kernel {release} has no module")
    else:
        yield Finding(
            "WireGuard",
            "failed",
            f"neither in the kernel {release} nor as wireguard-go",
            "apt-get install wireguard-go",
        )
    if not module:
        tun = Path("/dev/net/tun").exists()
        yield Finding(
            "/dev/net/tun",
            "ok" if tun else "failed",
            "present" if tun else "missing, and wireguard-go needs it",
            "" if tun else "modprobe tun; in a container, pass the device through",
        )
    nft = shutil.which("nft")
    yield Finding(
        "nftables",
        "ok" if nft else "warning",
        nft or "no nft program: NAT can't be set up",
        "" if nft else "apt-get install nftables",
    )


def _filter() -> Iterator[Finding]:
    bcc = importlib.util.find_spec("bcc") is not None
    yield Finding(
        "BCC",
        "ok" if bcc else "warning",
        "present" if bcc else "missing: security rules can't be compiled",
        "" if bcc else "apt-get install python3-bpfcc, then make run again",
    )
    release = platform.release()
    given = os.environ.get("BCC_KERNEL_SOURCE", "")
    places = (
        [given] if given else [f"/lib/modules/{release}/build", *map(str, Path("/usr/src").glob("linux-headers-*"))]
    )
    headers = next((place for place in places if Path(place).is_dir()), "")
    yield Finding(
        "kernel headers",
        "ok" if headers else "warning",
        headers or "none found",
        "" if headers else "apt-get install linux-headers-cloud-amd64",
    )
    mounted = any(line.split()[2:3] == ["bpf"] for line in _lines("/proc/mounts"))
    yield Finding(
        "bpffs",
        "ok" if mounted else "warning",
        "mounted" if mounted else "not mounted: the filter would not survive the agent",
        "" if mounted else "mount -t bpf bpf /sys/fs/bpf",
    )


def _clock() -> Finding:
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # modes 0: only reads
    if state < 0:
        return Finding("clock", "unknown", f"adjtimex: {os.strerror(ctypes.get_errno())}")
    synchronised = state != _TIME_ERROR
    return Finding(
        "clock",
        "ok" if synchronised else "warning",
        "synchronised" if synchronised else "not synchronised: expiry and sessions go by it",
        "" if synchronised else "timedatectl set-ntp true",
    )


def _disk(settings: Settings) -> Finding:
    place = settings.state_dir
    while not place.exists():
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding("disk", "unknown", f"{place}: {error.strerror}")
    state = "failed" if free < _DISK_FAILED else "warning" if free < _DISK_LEAST else "ok"
    return Finding(
        "disk",
        state,
        f"{free // 1024**2} MiB free for {settings.state_dir}",
        "" if state == "ok" else "Make room: PostgreSQL stops when the disk is full.",
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
