"""A lab's internet for tests: namespaces for a hub and its clients, removed afterwards, and a look at what is left."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexushub import labnet
from nexushub.labnet import Record

_numbers = itertools.count()

MakeLab = Callable[[int], Record]


def lab_prefix() -> str:
    """A prefix that no other test on this machine uses."""
    return f"nxt-{os.getpid() % 0x10000:04x}{next(_numbers) % 256:02x}"


@pytest.fixture
def lab_net(tmp_path: Path) -> Iterator[MakeLab]:
    """Call it with a number of clients: their namespaces and the hub's, connected, without any WireGuard yet."""
    records: list[Record] = []

    def make(clients: int) -> Record:
        prefix = lab_prefix()
        records.append(Record(tmp_path / f"{prefix}.json", prefix, clients))
        labnet.create(records[-1].topology, records[-1])
        return records[-1]

    yield make
    for record in records:
        labnet.remove(record)


@dataclass(frozen=True)
class Leftovers:
    """What on this machine carries a prefix."""

    namespaces: tuple[str, ...]
    links: tuple[str, ...]
    sockets: tuple[str, ...]
    processes: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.namespaces or self.links or self.sockets or self.processes)


def leftovers(prefix: str) -> Leftovers:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    return Leftovers(
        tuple(path.name for path in Path("/run/netns").glob(f"{prefix}*")),
        tuple(line.split(":")[1].strip() for line in links if prefix in line),
        tuple(path.name for path in Path("/var/run/wireguard").glob(f"{prefix}*")),
        tuple(processes_with(prefix)),
    )


def processes_with(word: str) -> Iterator[str]:
    """Command lines on this machine with that word in them, this process's own left out."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word.encode() in words and int(entry.name) != os.getpid():
            yield words.replace(b"\0", b" ").decode(errors="replace")
