"""``nexushub interface``."""

from __future__ import annotations

from typing import Any

import click

from nexushub.cli import asking, client, output
from nexushub.cli.options import command
from nexushub.cli.output import Column

NAME = asking.Name("interface")
_POLICY = click.Choice(["allow", "deny"])


def state(view: dict[str, Any]) -> str:
    return output.truth(view).partition(":")[0] if view["enabled"] else "down"


COLUMNS = (
    Column("NAME", lambda v: v["name"]),
    Column("STATE", state, coloured=True),
    Column("ADDRESSES", lambda v: v["addresses"]),
    Column("PORT", lambda v: v["listen_port"]),
    Column("ENDPOINT", lambda v: v["endpoint"]),
    Column("PEERS UP", lambda v: f"{v['peers_up']}/{v['peers_total']}"),
    Column("FREE", lambda v: v["addresses_free"]),
    Column("RX", lambda v: v["rx_bytes"], output.size),
    Column("TX", lambda v: v["tx_bytes"], output.size),
)


@command()
def listing() -> None:
    output.table(COLUMNS, client.get("interfaces")["items"])


@command()
@click.argument("name", type=NAME)
def show(name: str) -> None:
    _record(client.get("interfaces", name))


def _fields(function: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--address",
                "addresses",
                multiple=True,
                metavar="ADDRESS/LENGTH",
                help="The hub's own address in the tunnel; repeat for more.",
            ),
            click.option("--listen-port", type=int, metavar="PORT", help="UDP; default the first free one from 51820."),
            click.option("--endpoint", metavar="HOST[:PORT]", help="Where clients dial the hub."),
            click.option("--dns", multiple=True, metavar="A,B", help="Name servers and search domains for clients."),
            click.option("--mtu", type=int, help="Default 1420."),
            click.option("--policy", type=_POLICY, help="Packets from peers that no rule matches; default allow."),
            click.option("--policy-egress", type=_POLICY, help="Packets to peers that no rule matches; default allow."),
            click.option(
                "--no-filter",
                type=click.Choice(["refuse", "open"]),
                help="Without a packet filter: keep the link down, or let all pass.",
            ),
            click.option(
                "--key-policy",
                type=click.Choice(["stored", "once", "never"]),
                help="Peers' private keys: kept, shown once, or never made here.",
            ),
            click.option(
                "--nat/--no-nat", default=None, help="Masquerade what leaves for elsewhere, and forward for it."
            ),
        )
    ):
        function = option(function)
    return function


@command()
@click.argument("positional", metavar="[NAME]", required=False)
@click.option("--name", help="[a-z][a-z0-9_-]{0,14}, such as wg0.")
@_fields
@click.option("--down", "is_down", is_flag=True, help="Make it and leave it down.")
def create(positional: str | None, name: str | None, is_down: bool, **given: Any) -> int:
    body = _body(given) | {"name": one_name(positional, name)}
    if not body.get("addresses"):
        raise click.UsageError("Missing option '--address', such as --address 10.8.0.1/24.")
    if is_down:
        body["enabled"] = False
    view = client.post("interfaces", body=body)
    _record(view)
    return asking.told(f"Interface {view['name']} created", [view])


@command()
@click.argument("name", type=NAME)
@click.option("--name", "new_name", help="A new name.")
@_fields
def edit(name: str, new_name: str | None, **given: Any) -> int:
    body = _body(given) | ({"name": new_name} if new_name is not None else {})
    if not body:
        raise click.UsageError("Nothing to change: give at least one option.")
    view = client.patch("interfaces", name, body=body)
    _record(view)
    return asking.told(f"Interface {view['name']} changed", [view])


@command()
@click.argument("names", type=NAME, nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def delete(names: tuple[str, ...], yes: bool, dry_run: bool) -> int:
    views = [client.get("interfaces", name) for name in names]
    output.say(
        "\n".join(
            f"{'Would delete' if dry_run else 'Deletes'} {v['name']}, {v['peers_total']} peers and their keys."
            for v in views
        )
    )
    if dry_run:
        output.table(COLUMNS, views)
        return 0
    asking.confirmed("Delete this?", yes)
    gone = [client.delete("interfaces", view["id"]) for view in views]
    output.table(COLUMNS, gone)
    return asking.told("Deleted", gone)


@command()
@click.argument("names", type=NAME, nargs=-1, required=True)
def up(names: tuple[str, ...]) -> int:
    return _switch(names, "up")


@command()
@click.argument("names", type=NAME, nargs=-1, required=True)
def down(names: tuple[str, ...]) -> int:
    return _switch(names, "down")


@command()
@click.argument("name", type=NAME)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
def rotate_key(name: str, yes: bool, dry_run: bool) -> int:
    view = client.get("interfaces", name)
    output.say(
        f"A new key for {view['name']}: all {view['peers_total']} clients need a new file, the old ones stop working."
    )
    if dry_run:
        _record(view)
        return 0
    asking.confirmed("Rotate the key?", yes)
    view = client.post("interfaces", view["id"], "rotate-key")
    _record(view)
    return asking.told(f"Interface {view['name']} has a new key", [view])


def one_name(positional: str | None, option: str | None) -> str:
    """The name, given in either of two ways, or a usage error."""
    if positional and option and positional != option:
        raise click.UsageError("The name is given twice, and differs.")
    name = positional if positional is not None else option
    if name is None:
        raise click.UsageError("Missing option '--name'.")
    return name


def _body(given: dict[str, Any]) -> dict[str, Any]:
    body = {key: value for key, value in given.items() if value not in (None, ())}
    for key in ("addresses", "dns"):
        if key in body:
            body[key] = asking.split(body[key])
    return body


def _switch(names: tuple[str, ...], action: str) -> int:
    views = [client.post("interfaces", name, action) for name in names]
    output.table(COLUMNS, views)
    return asking.told(f"{', '.join(view['name'] for view in views)} {action}", views)


def _record(view: dict[str, Any]) -> None:
    output.record(
        [
            ("name", view["name"]),
            ("state", f"{state(view)}"),
            ("kernel", output.truth(view)),
            ("addresses", view["addresses"]),
            ("listen port", view["listen_port"]),
            ("endpoint", view["endpoint"]),
            ("dns", view["dns"]),
            ("mtu", view["mtu"]),
            ("policy", f"ingress {view['policy']}, egress {view['policy_egress']}, without filter {view['no_filter']}"),
            ("key policy", view["key_policy"]),
            ("nat", view["nat"]),
            ("public key", view["public_key"]),
            ("peers", f"{view['peers_up']} up of {view['peers_total']}, {view['addresses_free']} addresses free"),
            ("traffic", f"received {output.size(view['rx_bytes'])}, sent {output.size(view['tx_bytes'])}"),
            ("id", view["id"]),
            ("version", view["version"]),
        ],
        view,
    )
