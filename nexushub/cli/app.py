"""Dispatch: from the words typed to a function of a module that is imported only then, and from errors to exits."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from nexushub.cli import COMMANDS, GROUPS, Command, exits, output
from nexushub.cli.options import SETTINGS, kept
from nexushub.errors import NexusError
from nexushub.safe import safe

_HELP_EXIT = (
    "Exit status: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 conflict, 6 drift, 75 try later, "
    "78 configuration, 130 interrupted."
)


class Lazy(click.Group):
    """A group whose members are lines of the table."""

    def __init__(self, prefix: str, **attrs: Any) -> None:
        super().__init__(context_settings=SETTINGS, **attrs)
        self.prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._members())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        member = self._members().get(cmd_name)
        if isinstance(member, Command):
            return load(member)
        return Lazy(f"{cmd_name} ", name=cmd_name, help=member) if member is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's own lines, so that help imports no command."""
        lines = [
            (name, member.help if isinstance(member, Command) else member) for name, member in self._members().items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(lines)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name what was probably meant: click itself only knows commands that were imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
                near = _near(args[0], self.list_commands(ctx))
                raise click.UsageError(f"No such command {args[0]!r}.{near}", ctx) from error
            raise

    def _members(self) -> dict[str, Command | str]:
        found: dict[str, Command | str] = {}
        for command in COMMANDS:
            if command.path.startswith(self.prefix):
                word, space, _ = command.path.removeprefix(self.prefix).partition(" ")
                found[word] = GROUPS[word] if space else command
        return found


def _near(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(word, known, 1)
    return f" Did you mean {found[0]!r}?" if found else ""


def load(command: Command) -> click.Command:
    """The click command of a line of the table."""
    module, _, name = command.target.partition(":")
    made = getattr(import_module(f"nexushub.cli.{module}"), name)
    assert isinstance(made, click.Command), command.target
    made.name = command.path.rpartition(" ")[2]
    made.help = made.help or command.help
    made.short_help = command.help
    return made


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from nexushub import __version__

        output.write(f"nexushub {__version__}\n")
        ctx.exit(0)


def _start(ctx: click.Context) -> Any:
    if ctx.invoked_subcommand is None:
        from nexushub.cli.start import start

        return start()
    return None


def make_root() -> click.Group:
    """The whole command, as a group of lazy groups."""
    root = Lazy(
        "",
        name="nexushub",
        help="Administer a WireGuard hub. Without a command: the terminal interface.",
        epilog=_HELP_EXIT,
    )
    root.invoke_without_command = True
    root.no_args_is_help = False
    root.callback = click.pass_context(_start)
    root.params = [
        kept("--server", metavar="URL", help="Another hub's API."),
        kept("--color", type=click.Choice(["auto", "always", "never"]), help="Colour; also NO_COLOR."),
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
        ),
    ]
    return root


def main(args: list[str] | None = None) -> int:
    """Run one command and return its exit status. Nothing that a person can cause leaves a traceback."""
    try:
        status = make_root().main(args, prog_name="nexushub", standalone_mode=False)
        return status if isinstance(status, int) else exits.DONE
    except click.UsageError as error:
        _usage(error)
        return exits.USAGE
    except click.ClickException as error:
        output.complain(error.format_message())
        return exits.FAILED
    except NexusError as error:
        output.complain(error.message, hint=error.hint)
        return exits.exit_status(error)
    except (click.Abort, KeyboardInterrupt):
        output.complain("Interrupted.")
        return exits.INTERRUPTED


def _usage(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(f"{error.format_message()}\n")
        return
    if error.ctx is not None:
        sys.stderr.write(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help'.\n\n")
    sys.stderr.write(f"Error: {safe(error.format_message())}\n")
