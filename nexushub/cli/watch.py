"""``nexushub watch``."""

from __future__ import annotations

import time
from typing import Any

import click

from nexushub.cli import asking, client, output
from nexushub.cli.options import command, meta
from nexushub.safe import safe

_FIELDS = ("state", "truth", "address", "remote")


@command()
@click.option("--interface", type=asking.Name("interface"), help="Only peers of this interface.")
@click.option("--interval", type=click.FloatRange(0.5, 3600), default=2.0, help="Seconds between two looks; default 2.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many looks.")
def peers(interface: str | None, interval: float, count: int | None) -> None:
    """Print peers whose state changes, as it changes; with --json one document a line."""
    before: dict[str, Any] = {}
    looks = 0
    while True:
        answer = client.get("peer-rows", interface=interface)
        rows = {
            row["id"]: row for row in (dict(zip(answer["fields"], values, strict=True)) for values in answer["rows"])
        }
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for row_id, row in rows.items():
            old = before.get(row_id)
            if old is None or any(row[name] != old[name] for name in _FIELDS):
                _print(now, row, "appeared" if old is None else row["state"])
        for row_id in before.keys() - rows.keys():
            _print(now, before[row_id], "gone")
        before = rows
        looks += 1
        if looks == count:
            return
        time.sleep(interval)


def _print(now: str, row: dict[str, Any], what: str) -> None:
    if meta("json"):
        output.json_document({"at": now, "event": what, **row})
        return
    words = (now, what, row["name"], row["interface"], row["state"], row["truth"], row["remote"])
    output.write("\t".join(safe(str(word)) for word in words) + "\n")
