"""``nexushub`` and ``python -m nexushub``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line. Its exit status is what ``sys.exit`` in the installed script gets."""
    from nexushub.cli.app import main as run  # noqa: PLC0415  (so that importing this module starts nothing)

    return run()


if __name__ == "__main__":
    sys.exit(main())
