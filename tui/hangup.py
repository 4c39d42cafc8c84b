"""Ending when the terminal is gone: within a second, in good order if that can be, else in any."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tui.link import Link

LIMIT = 0.9
"""Seconds that a hung-up terminal's process may take."""


@contextmanager
def ends_on_hang_up(link: Link) -> Iterator[None]:
    """While this is open, SIGHUP and SIGTERM end the process with 128 plus their number.

    What was half typed is lost, what was half done is not: one action is one transaction. A thread does the work,
    since the terminal may be gone and the main thread be stuck writing to it.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=_end, args=(link, number), daemon=True).start()

    before = {number: signal.signal(number, handler) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end(link: Link, number: int) -> None:
    limit = threading.Timer(LIMIT, os._exit, (128 + number,))
    limit.daemon = True
    limit.start()
    try:
        link.close(LIMIT / 2)
    finally:
        os._exit(128 + number)
