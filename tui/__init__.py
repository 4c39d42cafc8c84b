"""The terminal interface. Importing this package imports neither Textual nor the database stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nexushub.config import Settings

CONFIGURATION = 78
"""sysexits.h EX_CONFIG: the process can't start as it is configured."""

DUMB = "This terminal can't show a full screen. Try: nexushub status, nexushub peer list, nexushub --help\n"


def run(settings: Settings, *, embed: bool = True) -> int:
    """Open the TUI and return the exit code when it was left."""
    if os.environ.get("TERM", "dumb") == "dumb":
        sys.stderr.write(DUMB)
        return 1
    # Textual reads these once, when it is imported: smooth scrolling and animation cost 23 kB a page over SSH.
    os.environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    from tui.app import NexusApp  # noqa: PLC0415  (0.2 s, and only now is the environment as it must be)
    from tui.hangup import ends_on_hang_up  # noqa: PLC0415  (as above)

    app = NexusApp(settings, embed=embed)
    with ends_on_hang_up(app.link):
        app.run(mouse=wants_mouse(os.environ))
        app.link.close()
    if app.parting:
        sys.stderr.write(f"{app.parting}\n")
    return app.return_code or 0


def wants_mouse(environ: Mapping[str, str]) -> bool:
    """Over SSH the terminal's own selection is worth more than clicks: it is the one way to copy that always works."""
    return not environ.get("SSH_CONNECTION")
