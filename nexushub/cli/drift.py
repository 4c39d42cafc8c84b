"""``nexushub drift``."""

from __future__ import annotations

import click

from nexushub.cli import client, exits, output
from nexushub.cli.options import command
from nexushub.cli.output import Column

COLUMNS = (
    Column("ID", lambda v: v["id"]),
    Column("STATUS", lambda v: v["status"], coloured=True),
    Column("INTERFACE", lambda v: v["interface"]),
    Column("PEER", lambda v: v["peer"] or v["public_key"]),
    Column("FIELD", lambda v: v["field"]),
    Column("WANTED", lambda v: v["desired"]),
    Column("IN THE KERNEL", lambda v: v["observed"]),
    Column("SINCE", lambda v: v["since"]),
)


@command()
@click.option("--all", "everything", is_flag=True, help="Also what was decided or is gone.")
def listing(everything: bool) -> int:
    items = client.get("drift", everything=str(everything).lower())["items"]
    output.table(COLUMNS, items)
    return exits.DIFFERS if any(item["status"] == "open" for item in items) else exits.DONE


def _decide(ids: tuple[str, ...], action: str) -> None:
    output.table(COLUMNS, [client.post("drift", drift_id, action) for drift_id in ids])


@command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
def adopt(ids: tuple[str, ...]) -> None:
    _decide(ids, "adopt")


@command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
def revert(ids: tuple[str, ...]) -> None:
    _decide(ids, "revert")


@command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
def ignore(ids: tuple[str, ...]) -> None:
    _decide(ids, "ignore")
