"""``nexushub peer create``: one, or many from a file in one transaction."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import click

from nexushub.cli import asking, client, output, peer
from nexushub.cli.interface import one_name
from nexushub.cli.options import command, meta
from nexushub.errors import Invalid

LISTS = ("ip", "allowed_ips", "networks", "dns", "groups")
_HEADINGS = {
    "name": "name", "ip": "ip", "allowed_ips": "allowed_ips", "networks": "networks", "endpoint": "endpoint",
    "peer_endpoint": "peer_endpoint", "keepalive": "keepalive", "dns": "dns", "mtu": "mtu", "public_key": "public_key",
    "psk": "psk", "expires": "expires_at", "expires_at": "expires_at", "quota": "quota_bytes",
    "quota_bytes": "quota_bytes",
    "owner": "owner", "notes": "notes", "group": "groups", "groups": "groups",
}  # fmt: skip
_TRUE = ("1", "yes", "true", "y")


def fields(function: Any) -> Any:
    """The options that making and editing a peer share."""
    for option in reversed(
        (
            click.option(
                "--ip", multiple=True, metavar="A,B", help="The peer's own addresses; default the next free ones."
            ),
            click.option(
                "--allowed-ips",
                multiple=True,
                metavar="A,B",
                help="What the client routes into the tunnel; default the interface's networks.",
            ),
            click.option(
                "--networks", multiple=True, metavar="A,B", help="Networks behind the peer that the hub routes to it."
            ),
            click.option("--endpoint", metavar="HOST[:PORT]", help="The hub's endpoint in this client's file."),
            click.option("--peer-endpoint", metavar="ADDRESS:PORT", help="Where the hub dials the peer."),
            click.option("--keepalive", type=int, metavar="SECONDS", help="0 is off."),
            click.option(
                "--dns", multiple=True, metavar="A,B", help="For this client; 'none' for none, '' for the interface's."
            ),
            click.option("--mtu", type=int, help="For this client."),
            click.option("--public-key", metavar="KEY", help="The client's own; no private key is made."),
            click.option(
                "--key-file", metavar="FILE|-", help="The client's private key, of which only the public key is sent."
            ),
            click.option(
                "--expires", "expires_at", metavar="WHEN", help="2027-01-31, a time in ISO 8601, or a span such as 30d."
            ),
            click.option("--quota", metavar="BYTES", help="Such as 500M or 10GiB."),
            click.option("--owner", help="Whose it is."),
            click.option("--notes", help="Free text."),
            click.option(
                "--group",
                "groups",
                multiple=True,
                type=asking.Name("group"),
                metavar="NAME",
                help="A group to be in; repeat for more.",
            ),
        )
    ):
        function = option(function)
    return function


def body(given: dict[str, Any]) -> dict[str, Any]:
    """What was typed, in the API's fields."""
    made = {key: value for key, value in given.items() if value not in (None, ())}
    for key in LISTS:
        if key in made and key != "dns":
            made[key] = asking.split(made[key])
    if "dns" in made:
        made["dns"] = _dns(made["dns"])
    if "quota" in made:
        made["quota_bytes"] = asking.quota(made.pop("quota"))
    if "key_file" in made:
        if "public_key" in made:
            raise click.UsageError("Give --public-key or --key-file, not both.")
        made["public_key"] = asking.public_key_of(made.pop("key_file"))
    if made.get("expires_at") in ("", "never"):
        made["expires_at"] = None
    return made


@command()
@click.argument("positional", metavar="[NAME]", required=False)
@click.option("--name", help="The peer's name.")
@click.option("--interface", type=asking.Name("interface"), required=True, help="Where it connects.")
@fields
@click.option("--psk", is_flag=True, help="Make a preshared key.")
@click.option("--from", "source", metavar="FILE|-", help="Many at once: a name a line, or CSV with a heading line.")
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE|DIRECTORY",
    help="Write the client's file there, mode 0600; with --from a file for each.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
def create(  # noqa: PLR0917 - click passes each by name
    positional: str | None, name: str | None, interface: str, psk: bool, source: str | None,
    target: str | None, force: bool, **given: Any,
) -> int:  # fmt: skip
    """Make peers, one or many at once.

    With the interface's key policy "once" a private key is seen this one time: the file is printed unless -o says
    where to write it.
    """
    common = body(given) | ({"psk": True} if psk else {})
    if source is None:
        new = [common | {"name": one_name(positional, name)}]
        made = client.post("peers", body=new[0] | {"interface": interface})["items"]
    else:
        if positional or name:
            raise click.UsageError("Names come from --from; leave NAME out.")
        new = [common | one for one in read(asking.text_of(source, "from"))]
        _refuse_lost_keys(interface, target, new)
        made = client.post("peers", body={"interface": interface, "peers": new})["items"]
    _hand_out(made, target, force, many=source is not None)
    what = f"Peer {made[0]['peer']['name']} created" if source is None else f"{len(made)} peers created"
    return asking.told(what, [one["peer"] for one in made])


def read(text: str) -> list[dict[str, Any]]:
    """Peers from a list: a name a line, or CSV with a heading. Lists in a cell: spaces or ``;``."""
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise Invalid("from", None, "there is no name in it")
    heading = [cell.strip().lower().replace("-", "_") for cell in lines[0].split(",")]
    if "name" not in heading:
        if len(heading) > 1:
            raise Invalid("from", lines[0][:60], "its first line must name the columns, such as name,ip,owner")
        return [{"name": line.rstrip("\r").strip(" ")} for line in lines]
    unknown = [column for column in heading if column not in _HEADINGS]
    if unknown:
        raise Invalid("from", unknown[0], f"there is no such column; there are {', '.join(_HEADINGS)}")
    rows = list(csv.reader(io.StringIO("\n".join(lines[1:]))))
    return [_cells(heading, row, number) for number, row in enumerate(rows, 2)]


def _cells(heading: list[str], row: list[str], number: int) -> dict[str, Any]:
    if len(row) != len(heading):
        raise Invalid("from", ",".join(row)[:60], f"row {number} has {len(row)} columns, not {len(heading)}")
    made: dict[str, Any] = {}
    for column, cell in zip(heading, (cell.strip() for cell in row), strict=True):
        key = _HEADINGS[column]
        if not cell:
            continue
        if key in LISTS:
            made[key] = cell.replace(";", " ").split()
        elif key in ("keepalive", "mtu"):
            if not cell.isascii() or not cell.isdigit():
                raise Invalid(key, cell, f"row {number}: it must be a number")
            made[key] = int(cell)
        elif key == "quota_bytes":
            made[key] = asking.quota(cell)
        else:
            made[key] = cell.lower() in _TRUE if key == "psk" else cell
    return made


def _dns(values: tuple[str, ...]) -> list[str] | None:
    if values in (("none",), ("-",)):
        return []
    return asking.split(values) or None


def _refuse_lost_keys(interface: str, target: str | None, new: list[dict[str, Any]]) -> None:
    """Many new keys that nobody would ever see again are no use: ask where to before making them."""
    if target is None and any("public_key" not in one for one in new):
        if client.get("interfaces", interface)["key_policy"] == "once":
            raise Invalid(
                "output",
                None,
                f"{interface} shows private keys once, so say where the files go",
                hint="Add -o DIRECTORY.",
            )


def _hand_out(made: list[dict[str, Any]], target: str | None, force: bool, *, many: bool) -> None:
    views = [one["peer"] for one in made]
    seen_once = [one for one in made if not one["peer"]["private_key_stored"] and "<insert" not in one["config"]]
    if target is not None:
        _write(made, Path(target), force, many=many)
    elif seen_once and not meta("json"):
        output.say("This file holds the private key, which is not kept: it is shown this once.")
        output.write("\n".join(one["config"] for one in seen_once))
        return
    if meta("json"):
        # The one place where JSON carries a secret: with the policy "once" it would be lost otherwise.
        documents = [
            one["peer"] | ({"config": one["config"]} if one in seen_once and target is None else {}) for one in made
        ]
        output.json_document(documents if many else documents[0])
    else:
        peer.table([peer.light(view) for view in views])


def _write(made: list[dict[str, Any]], target: Path, force: bool, *, many: bool) -> None:
    from nexushub.clientconf import file_name

    if many:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in made:
        path = target / file_name(one["peer"]["name"]) if many or target.is_dir() else target
        asking.write_file(path, one["config"], force=force)
    output.say(f"Wrote {len(made)} files to {target}." if many else f"Wrote {target}.")
