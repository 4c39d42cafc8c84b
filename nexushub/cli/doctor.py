"""``nexushub doctor``: what this machine, its processes and the server say, each with what to type."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from nexushub.cli import client, exits, output
from nexushub.cli.options import command, meta
from nexushub.errors import NexusError
from nexushub.machine import Finding
from nexushub.safe import safe

_COLOURS = {"ok": output.GREEN, "warning": output.YELLOW, "failed": output.RED, "unknown": output.DIM}


@command()
@click.option("--quiet", is_flag=True, help="Only what is not ok.")
def doctor(quiet: bool) -> int:
    """Check every part and say what to type about what is wrong. Exit 6 when something failed."""
    found = [*_local(), *_served()]
    shown = [item for item in found if not quiet or item.state != "ok"]
    if meta("json"):
        output.json_document([item._asdict() for item in shown])
    elif sys.stdout.isatty():
        _print(shown)
    else:
        output.write("".join("\t".join(safe(part) for part in item) + "\n" for item in shown))
    bad = [item for item in found if item.state == "failed"]
    output.say(
        f"{len(bad)} failed, {sum(item.state == 'warning' for item in found)} warnings."
        if bad or not quiet
        else "Nothing failed."
    )
    return exits.DIFFERS if bad else exits.DONE


def _print(items: list[Finding]) -> None:
    width = max((len(item.name) for item in items), default=0)
    for item in items:
        mark = output.paint(item.state.ljust(8), _COLOURS[item.state])
        output.write(f"{mark}{safe(item.name).ljust(width)}  {safe(item.detail)}\n")
        if item.fix:
            output.write(f"{' ' * (8 + width)}  → {safe(item.fix)}\n")


def _local() -> Iterator[Finding]:
    """This machine. Nothing of it is asked when the commands go to another server."""
    if client.place().server:
        return
    from nexushub import config, machine

    try:
        settings = config.load()
    except NexusError as error:
        yield Finding("settings", "failed", error.message, error.hint)
        return
    yield Finding("settings", "ok", "read")
    yield from machine.checks(settings)


def _served() -> Iterator[Finding]:
    """What only the server can see: over the API, so that it is the server's own view."""
    try:
        client.ask("GET", f"{client.PREFIX}/health")
        yield Finding("server", "ok", "answers")
        for item in client.get("checks")["items"]:
            yield Finding(item["name"], item["state"], item["detail"], item["fix"])
        yield from _forwarding(client.get("interfaces")["items"])
    except NexusError as error:
        yield Finding("server", "failed", error.message, error.hint)


def _forwarding(interfaces: list[dict[str, Any]]) -> Iterator[Finding]:
    """NAT needs forwarding in the kernel. The agent turns it on for interfaces with NAT; this says whether it is so."""
    if client.place().server:
        return
    nat = [view["name"] for view in interfaces if view["nat"] and view["enabled"]]
    for family, file in (("IPv4", "/proc/sys/net/ipv4/ip_forward"), ("IPv6", "/proc/sys/net/ipv6/conf/all/forwarding")):
        on = _first_line(file) == "1"
        wanted = [
            view["name"]
            for view in interfaces
            if view["name"] in nat and any((":" in a) == (family == "IPv6") for a in view["addresses"])
        ]
        if wanted and not on:
            key = file.removeprefix("/proc/sys/").replace("/", ".")
            yield Finding(
                f"{family} forwarding",
                "failed",
                f"off, and {', '.join(wanted)} has NAT: its peers reach the hub and nothing behind it",
                f"sysctl -w {key}=1, or let the agent do it: nexushub interface edit {wanted[0]} --nat",
            )
        elif on and not nat:
            yield Finding(
                f"{family} forwarding",
                "ok",
                "on, though no interface has NAT: this machine routes between its networks",
            )
        else:
            yield Finding(
                f"{family} forwarding",
                "ok",
                f"on, for {', '.join(wanted)}"
                if on and wanted
                else "off, and no interface needs it"
                if not on
                else "on",
            )


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""
