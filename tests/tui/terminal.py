"""A pseudo-terminal around a program: what it writes is counted and kept, as a terminal would get it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self


class Terminal:
    """A program in a pseudo-terminal of a size. Use as a context manager: the program is ended at the exit."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], *, columns: int = 80, lines: int = 24) -> None:
        self.output = b""
        self.began = time.monotonic()
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(argv[0], list(argv), {**environ, "TERM": "xterm-256color"})  # noqa: S606  (a test's own program)
            finally:
                os._exit(127)
        self.resize(columns, lines)
        self.status: int | None = None

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def read(self, seconds: float) -> bytes:
        """What comes within a time; less when the program ends."""
        got = b""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.handle], [], [], left)[0]:
                break
            try:
                data = os.read(self.handle, 65536)
            except OSError:
                break
            if not data:
                break
            got += data
        self.output += got
        return got

    def quiet(self, pause: float = 0.4, limit: float = 8.0) -> bytes:
        """What comes until nothing has come for a while."""
        got = b""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            more = self._next(pause)
            if not more:
                break
            got += more
        return got

    def _next(self, seconds: float) -> bytes:
        if not select.select([self.handle], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self.handle, 65536)
        except OSError:
            return b""
        self.output += data
        return data

    def wait_for(self, text: str, limit: float = 20.0) -> bytes:
        """Everything up to the text; colours and moves between its letters don't matter."""
        got = b""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            got += self._next(0.2)
            if text in plain(got):
                return got
        raise AssertionError(f"{text!r} did not come in {limit} s; the end of what came: {plain(got)[-1500:]!r}")

    def send(self, keys: str) -> None:
        os.write(self.handle, keys.encode())

    def timed(self, keys: str, pause: float = 0.15) -> tuple[int, float]:
        """Send keys; the bytes that answer, and the seconds to the first."""
        began = time.monotonic()
        self.send(keys)
        first = self._next(2)
        took = time.monotonic() - began
        return len(first) + len(self.quiet(pause)), took

    def alive(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self, limit: float = 10.0) -> int:
        """The exit code once it ended; its last output is read, or it could not end."""
        deadline = time.monotonic() + limit
        while self.alive():
            self._next(0.05)
            assert time.monotonic() < deadline, "the program did not end"
        assert self.status is not None
        return self.status

    def end(self) -> None:
        if self.alive():
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.wait(5)
            except AssertionError:
                os.kill(self.pid, signal.SIGKILL)
                self.wait(5)
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;?>=<!$ ]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78cM])")


def plain(data: bytes) -> str:
    """The text without escape sequences."""
    return _SEQUENCE.sub(b"", data).decode(errors="replace")
