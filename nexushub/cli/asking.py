"""What commands ask of people, and what they take from them: confirmation, names, lists, sizes, keys."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nexushub.cli import exits, output
from nexushub.errors import Conflict, Invalid, NexusError

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

COMPLETION_S = 0.15
"""A TAB waits no longer for the names."""
_SIZE = re.compile(r"(\d{1,18})\s*(?:([kmgtpe])(i?)b?|b)?", re.I)


class Name(click.ParamType[str]):
    """A name or id. Completed from the running server, silently not at all when it does not answer at once."""

    name = "name"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        import json

        from click.shell_completion import CompletionItem

        from nexushub.cli import client

        target = {"interface": "/interfaces", "peer": "/peer-rows", "group": "/groups"}[self.kind]
        try:
            document = json.loads(client.ask("GET", client.PREFIX + target, timeout=COMPLETION_S).body)
        except (NexusError, ValueError):
            return []
        if "rows" in document:
            at = document["fields"].index("name")
            names = [row[at] for row in document["rows"]]
        else:
            names = [item["name"] for item in document["items"]]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def confirmed(question: str, yes: bool) -> None:
    """Return when the person agrees. Without a terminal nothing is asked: ``--yes`` must be given."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            "This destroys something and there is no terminal to ask on: add --yes, or --dry-run to see what."
        )
    output.say(f"{question} [y/N] ")
    if input().strip().lower() not in ("y", "yes"):
        raise click.Abort()


def split(values: Sequence[str]) -> list[str]:
    """``A,B`` and repeated options alike, as one list."""
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def quota(value: str) -> int | None:
    """Bytes from ``500M``, ``10GiB`` or a number; K, M, G, T are powers of 1024. ``none`` takes a limit away."""
    if value.lower() in ("none", ""):
        return None
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise Invalid("quota", value, "it must be bytes such as 500M or 10GiB, or none")
    power = " kmgtpe".index((match[2] or " ").lower())
    return int(match[1]) << 10 * power


def text_of(source: str, what: str) -> str:
    """The text of a file, or of standard input for ``-``."""
    try:
        if source == "-":
            return sys.stdin.read()
        with open(source, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Invalid(what, source, str(error.strerror or error)) from error
    except UnicodeDecodeError as error:
        raise Invalid(what, source, "it is not UTF-8 text") from error


def public_key_of(source: str) -> str:
    """The public key of a file's private key, as ``wg genkey`` writes one. The private key stays here."""
    from nexushub.kernel.values import parse_secret_key
    from nexushub.secrets import public_key

    try:
        return str(public_key(parse_secret_key(text_of(source, "key_file").strip())))
    except ValueError as error:
        raise Invalid("key_file", source, str(error)) from error


def write_file(path: Path, content: str | bytes, *, force: bool) -> None:
    """Write a file of secrets, mode 0600 from its first byte. One that exists stays unless ``force``."""
    data = content.encode() if isinstance(content, str) else content
    # A new file renamed into place: an old one's mode or a link of that name would decide who reads it.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(
            temporary, "wb", opener=lambda name, flags: os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        ) as handle:
            handle.write(data)
        if force:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    except FileExistsError as error:
        raise Conflict("output", path, "a file that exists", hint="Add --force to replace it.") from error
    except OSError as error:
        raise Invalid("output", str(path), str(error.strerror)) from error
    finally:
        temporary.unlink(missing_ok=True)


def told(what: str, views: Sequence[dict[str, Any]]) -> int:
    """Say what was done and what the kernel made of it; the exit status. Pending is done, failed is not."""
    truths = list(dict.fromkeys(output.truth(view) for view in views))
    joined = "; ".join(truths)
    output.say(f"{what}{'; ' if joined.startswith(('pending', 'failed')) else ', '}{joined}." if truths else f"{what}.")
    return exits.FAILED if any(view.get("failed") for view in views) else exits.DONE
