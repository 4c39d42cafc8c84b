"""``nexushub lab``: local, by ``nexushub.lab``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from nexushub.cli.options import command


def _lab() -> Any:
    return import_module("nexushub.lab")


@command(json=False, remote=False)
@click.option("--clients", type=click.IntRange(1, 50), default=3, help="How many WireGuard clients; default 3.")
def up(clients: int) -> int:
    return int(_lab().up(clients=clients) or 0)


@command(json=False, remote=False)
def down() -> int:
    return int(_lab().down() or 0)


@command(json=True, remote=False)
def status() -> int:
    return int(_lab().status() or 0)
