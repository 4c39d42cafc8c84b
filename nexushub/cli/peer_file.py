"""``nexushub peer``: the file of a peer's client, its QR code, and new keys for it. What these print are secrets."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from nexushub.cli import asking, client, output, peer
from nexushub.cli.options import command, meta
from nexushub.errors import Invalid

_CELLS_UNKNOWN = (200, 120)
"""Columns and rows to draw for when the output is no terminal."""


@command(json=False)
@click.argument("name", type=peer.NAME)
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Write it there, mode 0600.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def config(name: str, target: Path | None, force: bool) -> None:
    """Print a peer's file for its client, as wg-quick reads it."""
    _deliver(client.get("peers", name, "config")["text"], target, force)


@command(json=False)
@click.argument("name", type=peer.NAME)
@click.option("--png", type=click.Path(path_type=Path), help="Write an image instead, mode 0600.")
@click.option("--svg", type=click.Path(path_type=Path), help="Write an image instead, mode 0600.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def qr_code(name: str, png: Path | None, svg: Path | None, force: bool) -> None:
    """Draw a peer's file as a QR code, black on white."""
    from nexushub import qr

    answer = client.get("peers", name, "config")
    if png or svg:
        try:
            if svg:
                asking.write_file(svg, qr.to_svg(answer["text"]), force=force)
            if png:
                asking.write_file(png, qr.to_png(answer["text"]), force=force)
        except ValueError as error:
            raise Invalid("config", None, str(error)) from error
        output.say(f"Wrote {' and '.join(str(path) for path in (svg, png) if path)}.")
        return
    size = shutil.get_terminal_size() if sys.stdout.isatty() else _CELLS_UNKNOWN
    fit = qr.fit(answer["text"], answer["compact"], *size)
    if fit.matrix is None:
        raise Invalid(
            "terminal", None, fit.sentence.rstrip("."), hint=f"Or write an image: nexushub peer qr {name} --png FILE"
        )
    output.write(qr.to_ansi(fit.matrix, fit.quiet))


@command()
@click.argument("name", type=peer.NAME)
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Write the new file there, mode 0600.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
def rotate_key(name: str, target: Path | None, force: bool, yes: bool, dry_run: bool) -> int:
    view = client.get("peers", name)
    output.say(f"A new key for {view['name']}: its old file stops working.")
    if dry_run:
        peer.record(view)
        return 0
    asking.confirmed("Rotate the key?", yes)
    made = client.post("peers", view["id"], "rotate-key")
    if target is not None or not meta("json"):
        _deliver(made["config"], target, force)
    if meta("json"):
        shown_once = target is None and not made["peer"]["private_key_stored"]
        output.json_document(made["peer"] | ({"config": made["config"]} if shown_once else {}))
    return asking.told(f"Peer {view['name']} has a new key", [made["peer"]])


@command()
@click.argument("name", type=peer.NAME)
@click.option("--remove", is_flag=True, help="Take the preshared key away instead.")
def rotate_psk(name: str, remove: bool) -> int:
    view = client.post("peers", name, "rotate-psk", body={"remove": remove})
    peer.record(view)
    return asking.told(f"Peer {view['name']} has {'no' if remove else 'a new'} preshared key", [view])


def _deliver(text: str, target: Path | None, force: bool) -> None:
    if target is None:
        output.write(text)
        return
    asking.write_file(target, text, force=force)
    output.say(f"Wrote {target}.")
