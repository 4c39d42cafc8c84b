"""``nexushub`` without a command: the terminal interface on a terminal, one line of status in a pipe."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from nexushub.cli import client, exits, output
from nexushub.cli.status import line
from nexushub.errors import NexusError
from nexushub.safe import safe


def start() -> int:
    """Open the TUI, or say what a pipe can be told. A pipe always gets exit 0: it is for prompts and bars."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        try:
            text = line(client.get("status"))
        except NexusError as error:
            text = f"NexusHub: {error.message}"
        output.write(safe(text) + "\n")
        return exits.DONE
    if os.environ.get("TERM", "dumb") == "dumb":
        output.complain(
            "This terminal (TERM=dumb) can't show the terminal interface.",
            hint="Use commands: nexushub status, nexushub peer list, nexushub --help.",
        )
        return exits.FAILED
    from nexushub import config

    status = import_module("tui").run(config.load())
    return int(status)
