"""The options that every command has. Their values go to the context; whoever needs one asks ``meta``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def command(*, json: bool = True, remote: bool = True) -> Callable[[F], click.Command]:
    """Make a click command with the options that all have: ``--json``, ``--server``, ``--color``."""

    def wrap(function: F) -> click.Command:
        made = click.command(context_settings=SETTINGS)(function)
        if json:
            made.params.append(kept("--json", is_flag=True, help="One JSON document on standard output."))
        if remote:
            made.params.append(
                kept(
                    "--server",
                    metavar="URL",
                    help="Another hub's API; default NEXUSHUB_SERVER, then this machine's socket.",
                )
            )
        made.params.append(
            kept("--color", type=click.Choice(["auto", "always", "never"]), help="Colour; also NO_COLOR.")
        )
        return made

    return wrap


def kept(name: str, **attrs: Any) -> click.Option:
    """An option that goes to the context, for whoever asks there, and not to the function."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            ctx.meta[f"nexushub.{param.name}"] = value

    return click.Option([name], expose_value=False, callback=keep, **attrs)


def meta(name: str) -> Any:
    """The value of an option that every command has, None when it was not given."""
    ctx = click.get_current_context(silent=True)
    return ctx.meta.get(f"nexushub.{name}") if ctx else None
