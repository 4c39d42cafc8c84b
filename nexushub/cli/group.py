"""``nexushub group``."""

from __future__ import annotations

import click

from nexushub.cli import asking, client, output
from nexushub.cli.options import command
from nexushub.cli.output import Column

NAME = asking.Name("group")
PEER = asking.Name("peer")
COLUMNS = (
    Column("NAME", lambda v: v["name"]),
    Column("COUNT", lambda v: len(v["peers"])),
    Column("PEERS", lambda v: v["peers"]),
)


@command()
def listing() -> None:
    output.table(COLUMNS, client.get("groups")["items"])


@command()
@click.argument("name")
def create(name: str) -> None:
    output.table(COLUMNS, [view := client.post("groups", body={"name": name})], view)
    output.say(f"Group {view['name']} created.")


@command(json=False)
@click.argument("names", type=NAME, nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def delete(names: tuple[str, ...], yes: bool, dry_run: bool) -> None:
    output.say(f"{'Would delete' if dry_run else 'Deletes'} {', '.join(names)}; the peers stay.")
    if dry_run:
        return
    asking.confirmed("Delete this?", yes)
    for name in names:
        client.delete("groups", name)
    output.say("Deleted.")


@command()
@click.argument("name", type=NAME)
@click.argument("peers", type=PEER, nargs=-1, required=True)
def add(name: str, peers: tuple[str, ...]) -> None:
    output.table(COLUMNS, [view := client.post("groups", name, "add", body={"peers": list(peers)})], view)


@command()
@click.argument("name", type=NAME)
@click.argument("peers", type=PEER, nargs=-1, required=True)
def remove(name: str, peers: tuple[str, ...]) -> None:
    output.table(COLUMNS, [view := client.post("groups", name, "remove", body={"peers": list(peers)})], view)
