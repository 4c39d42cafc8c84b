"""``python -m tui``: the TUI with the settings of this machine."""

from __future__ import annotations

import sys

from nexushub import config
from nexushub.errors import Configuration
from tui import CONFIGURATION, run

if __name__ == "__main__":
    try:
        sys.exit(run(config.load()))
    except Configuration as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(CONFIGURATION)
