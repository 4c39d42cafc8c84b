"""``nexushub peer edit``."""

from __future__ import annotations

from typing import Any

import click

from nexushub.cli import asking, client, peer
from nexushub.cli.options import command
from nexushub.cli.peer_create import body, fields


@command()
@click.argument("name", type=peer.NAME)
@click.option("--name", "new_name", help="A new name.")
@fields
def edit(name: str, new_name: str | None, **given: Any) -> int:
    """Change fields of a peer; the others stay.

    A list replaces the old one; an empty value ('') empties it. --expires never and --quota none take a limit away.
    """
    changes = body(given) | ({"name": new_name} if new_name is not None else {})
    if not changes:
        raise click.UsageError("Nothing to change: give at least one option.")
    view = client.patch("peers", name, body=changes)
    peer.record(view)
    return asking.told(f"Peer {view['name']} changed", [view])
