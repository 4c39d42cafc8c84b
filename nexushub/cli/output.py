"""What commands print: data on standard output, words on standard error, and nothing that a terminal would obey.

A list is a table on a terminal, tab-separated values in full when piped, and one JSON document with ``--json``.
JSON is a contract: snake_case, ISO 8601 in UTC, bytes as integers.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nexushub.cli.options import meta
from nexushub.safe import cells, safe, safe_block

GREEN, YELLOW, RED, DIM, BOLD = "32", "33", "31", "2", "1"
_STATE_COLOURS = {
    "up": GREEN, "ok": GREEN, "applied": GREEN, "running": GREEN,
    "idle": YELLOW, "pending": YELLOW, "warning": YELLOW, "expired": YELLOW, "ignored": YELLOW,
    "failed": RED, "open": RED, "off": DIM, "never": DIM, "down": DIM, "unknown": DIM,
}  # fmt: skip
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP = 1024


class Column(NamedTuple):
    title: str
    value: Callable[[Any], Any]
    """The value in full, for pipes."""
    show: Callable[[Any], str] | None = None
    """The value for eyes, when that differs; it gets what ``value`` returned."""
    coloured: bool = False
    """Whether the word is a state."""


def table(columns: Sequence[Column], items: Sequence[Any], document: Any = None) -> None:
    """Print items as a table, as tab-separated values, or ``document`` (default: the items) as JSON."""
    if meta("json"):
        json_document(items if document is None else document)
    elif sys.stdout.isatty():
        _columns(columns, items)
    else:
        write("".join("\t".join(_plain(column.value(item)) for column in columns) + "\n" for item in items))


def record(pairs: Iterable[tuple[str, Any]], document: Any) -> None:
    """Print one object: a line for each field, or ``document`` as JSON."""
    if meta("json"):
        json_document(document)
        return
    found = [(name, _plain(value)) for name, value in pairs]
    if not sys.stdout.isatty():
        write("".join(f"{name}\t{value}\n" for name, value in found))
        return
    width = max(len(name) for name, _ in found)
    write("".join(f"{paint(name.ljust(width), DIM)}  {_state(value)}\n" for name, value in found))


def json_document(document: Any) -> None:
    import json

    write(
        json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"
        if sys.stdout.isatty()
        else json.dumps(document, default=str) + "\n"
    )


def write(text: str) -> None:
    """Write to standard output. A closed pipe ends the command as it ends ``cat``: quietly, by SIGPIPE."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


def say(text: str) -> None:
    """Words, to standard error."""
    _words(f"{safe_block(text)}\n")


def complain(message: str, *, hint: str = "") -> None:
    """What went wrong, and what to do about it."""
    _words(f"{paint('Error:', RED, sys.stderr)} {safe_block(message)}\n" + (f"{safe_block(hint)}\n" if hint else ""))


def _words(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # nobody reads the words; the work still counts


def paint(text: str, colour: str, stream: Any = None) -> str:
    """The text in a colour, where colour is wanted. It must be safe already."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and use_colour(stream) else text


def use_colour(stream: Any = None) -> bool:
    """``--color`` decides, then NO_COLOR, CLICOLOR_FORCE, TERM=dumb, and whether this is a terminal."""
    wish = meta("color")
    if wish in ("always", "never"):
        return bool(wish == "always")
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return os.environ.get("CLICOLOR_FORCE", "0") != "0" or (stream or sys.stdout).isatty()


def size(count: int) -> str:
    """Bytes for eyes: ``1.4 GiB``."""
    value = float(count)
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            return f"{int(value)} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    raise AssertionError("the last unit takes everything")


def ago(seconds: float) -> str:
    """A span for eyes: ``4 min``."""
    for limit, step, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // step)} {unit}"
    return f"{int(seconds // 86400)} d"


def truth(view: Mapping[str, Any]) -> str:
    """What the kernel made of a change, in words."""
    if view.get("failed"):
        return f"failed: {view['failed']}"
    return "applied" if view.get("applied") else f"pending: {view.get('pending') or 'agent still applying'}"


def _columns(columns: Sequence[Column], items: Sequence[Any]) -> None:
    rows = [[_shown(column, item) for column in columns] for item in items]
    widths = [max([len(column.title), *(cells(row[i]) for row in rows)]) for i, column in enumerate(columns)]
    lines = [
        paint(
            "  ".join(column.title.ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip(), BOLD
        )
    ]
    for row in rows:
        padded = [
            (_state(text) if column.coloured else text) + " " * (width - cells(text))
            for column, text, width in zip(columns, row, widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    write("\n".join(lines) + "\n")


def _shown(column: Column, item: Any) -> str:
    value = column.value(item)
    return safe(column.show(value)) if column.show else _plain(value)


def _state(text: str) -> str:
    return paint(text, _STATE_COLOURS.get(text.split(" ", maxsplit=1)[0].rstrip(":"), ""))


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(safe(str(item)) for item in value)
    return safe(str(value))
