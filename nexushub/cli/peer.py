"""``nexushub peer``: listing, showing, enabling, disabling, deleting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from nexushub.cli import asking, client, output
from nexushub.cli.options import command, meta
from nexushub.cli.output import Column

NAME = asking.Name("peer")
PAGE = 1000


def _age(moment: float) -> str:
    return f"{output.ago(max(0.0, time.time() - moment))} ago" if moment else ""


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) if moment else ""


# The same columns over both shapes: a light row of the whole table, and a full view.
ROW_COLUMNS = (
    Column("NAME", lambda v: v["name"]),
    Column("INTERFACE", lambda v: v["interface"]),
    Column("STATUS", lambda v: v["state"], coloured=True),
    Column("ADDRESS", lambda v: v["address"]),
    Column("HANDSHAKE", lambda v: _utc(v["last_handshake"])),
    Column("RX", lambda v: v["rx_bytes"], output.size),
    Column("TX", lambda v: v["tx_bytes"], output.size),
    Column("KERNEL", lambda v: v["truth"], coloured=True),
)
_ON_TERMINAL = tuple(
    Column("HANDSHAKE", lambda v: v["last_handshake"], _age) if column.title == "HANDSHAKE" else column
    for column in ROW_COLUMNS
)


def light(view: dict[str, Any]) -> dict[str, Any]:
    """A full view in the shape of a light row."""
    from datetime import datetime

    seen = view["last_handshake"]
    return view | {
        "address": ",".join(view["addresses"]),
        "last_handshake": datetime.fromisoformat(seen).timestamp() if seen else 0,
        "truth": output.truth(view).partition(":")[0],
    }


def table(rows: list[dict[str, Any]], document: Any = None) -> None:
    import sys

    output.table(_ON_TERMINAL if sys.stdout.isatty() else ROW_COLUMNS, rows, document)


@command()
@click.option("--interface", type=asking.Name("interface"), help="Only peers of this interface.")
@click.option("--search", help="Part of a name, owner or address.")
@click.option("--state", type=click.Choice(["up", "idle", "never", "off", "expired"]), help="Only peers in this state.")
@click.option("--group", type=asking.Name("group"), help="Only peers of this group.")
def listing(interface: str | None, search: str | None, state: str | None, group: str | None) -> None:
    if meta("json"):
        output.json_document(list(every(interface=interface, search=search, state=state, group=group)))
    elif search or state or group:
        table([light(view) for view in every(interface=interface, search=search, state=state, group=group)])
    else:
        answer = client.get("peer-rows", interface=interface)
        table([dict(zip(answer["fields"], row, strict=True)) for row in answer["rows"]])


@command()
@click.argument("name", type=NAME)
def show(name: str) -> None:
    record(client.get("peers", name))


@command()
@click.argument("names", type=NAME, nargs=-1, required=True)
def enable(names: tuple[str, ...]) -> int:
    return _switch(names, "enable")


@command()
@click.argument("names", type=NAME, nargs=-1, required=True)
def disable(names: tuple[str, ...]) -> int:
    return _switch(names, "disable")


@command()
@click.argument("names", type=NAME, nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def delete(names: tuple[str, ...], yes: bool, dry_run: bool) -> int:
    views = [client.get("peers", name) for name in names]
    if dry_run:
        output.say(f"Would delete {_count(len(views))}.")
        table([light(view) for view in views], views)
        return 0
    output.say(f"Deletes {', '.join(view['name'] for view in views)}.")
    asking.confirmed("Delete this?", yes)
    gone = [client.delete("peers", view["id"]) for view in views]
    table([light(view) for view in gone], gone)
    return asking.told(f"{_count(len(gone)).capitalize()} deleted", gone)


def every(**filters: Any) -> Iterator[dict[str, Any]]:
    """Full views of all peers that match, page after page."""
    after = None
    while True:
        page = client.get("peers", limit=PAGE, after=after, **filters)
        yield from page["items"]
        after = page["next"]
        if after is None:
            return


def record(view: dict[str, Any]) -> None:
    """Print one peer."""
    dns = "the interface's" if view["dns"] is None else view["dns"]
    output.record(
        [
            ("name", view["name"]),
            ("interface", view["interface"]),
            ("status", view["state"]),
            ("kernel", output.truth(view)),
            ("addresses", view["addresses"]),
            ("networks", view["networks"]),
            ("client routes", view["allowed_ips"] or "the interface's networks"),
            ("endpoint", view["endpoint"] or "the interface's"),
            ("dialled at", view["peer_endpoint"]),
            ("keepalive", f"{view['keepalive']} s" if view["keepalive"] else "off"),
            ("dns", dns),
            ("mtu", view["mtu"] or "the interface's"),
            ("public key", view["public_key"]),
            ("private key", "stored" if view["private_key_stored"] else "not here"),
            ("preshared key", view["preshared_key"]),
            ("groups", view["groups"]),
            ("owner", view["owner"]),
            ("notes", view["notes"]),
            ("expires", view["expires_at"] or "never"),
            ("quota", output.size(view["quota_bytes"]) if view["quota_bytes"] else "none"),
            ("handshake", view["last_handshake"] or "never"),
            ("remote", view["remote"]),
            ("traffic", f"received {output.size(view['rx_bytes'])}, sent {output.size(view['tx_bytes'])}"),
            ("id", view["id"]),
            ("version", view["version"]),
        ],
        view,
    )


def _count(number: int) -> str:
    return "1 peer" if number == 1 else f"{number} peers"


def _switch(names: tuple[str, ...], action: str) -> int:
    views = [client.post("peers", name, action) for name in names]
    table([light(view) for view in views], views)
    return asking.told(f"{_count(len(views)).capitalize()} {action}d", views)
