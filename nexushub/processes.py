"""Processes known by id and start time, so that a later one with the same id is never taken for them."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nexushub.errors import KernelError


def running() -> Iterator[tuple[tuple[int, int], list[bytes], int]]:
    """Every process of this machine: id and start time, command line, network namespace."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            namespace = os.stat(entry / "ns/net").st_ino
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if (started := started_at(int(entry.name))) is not None:
            yield (int(entry.name), started), arguments, namespace


def started_at(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None when there is no such process."""
    try:
        # The program's name comes second, in parentheses, and may hold spaces and parentheses itself.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def end(pid: int, started: int, *, first: signal.Signals = signal.SIGTERM, patience: float = 10.0) -> None:
    """End a process: asked with ``first``, killed after ``patience`` seconds. Another one of that id is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Asked after the handle was opened, so the answer is about the process that the handle is for.
        if started_at(pid) != started:
            return
        for number, seconds in ((first, patience), (signal.SIGKILL, patience)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if _ended(handle, seconds):
                return
    finally:
        os.close(handle)
    raise KernelError("end process", str(pid), "it does not end, not even when killed")


def _ended(handle: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(int(seconds * 1000)))
