"""``nexushub status``, and the one line that ``nexushub`` alone prints into a pipe."""

from __future__ import annotations

from typing import Any

from nexushub.cli import client, drift, exits, interface, output
from nexushub.cli.options import command, meta
from nexushub.safe import safe


@command()
def status() -> int:
    """Show the hub at a glance; exit 6 on open drift."""
    view = client.get("status")
    found = [item for item in view["drift"] if item["status"] == "open"]
    if meta("json"):
        output.json_document(view)
        return exits.DIFFERS if found else exits.DONE
    output.write(safe(line(view)) + "\n")
    if view["interfaces"]:
        output.table(interface.COLUMNS, view["interfaces"])
    for words in view["failed"]:
        output.say(f"failed: {words}")
    if found:
        output.say(f"{len(found)} open drift: nexushub drift adopt|revert|ignore ID")
        output.table(drift.COLUMNS, found)
    return exits.DIFFERS if found else exits.DONE


def line(view: dict[str, Any]) -> str:
    """The hub in one line."""
    node, interfaces = view["node"], view["interfaces"]
    found = sum(item["status"] == "open" for item in view["drift"])
    parts = [
        f"{len(interfaces)} interface{'' if len(interfaces) == 1 else 's'}",
        f"{sum(v['peers_up'] for v in interfaces)} of {sum(v['peers_total'] for v in interfaces)} peers up",
        f"agent {node['agent']}",
        f"{view['pending']} pending" if view["pending"] else "everything applied" if not view["failed"] else "",
        f"{len(view['failed'])} failed" if view["failed"] else "",
        f"{found} drift" if found else "no drift",
        node["note"],
    ]
    return f"{node['name']}: " + ", ".join(part for part in parts if part)
