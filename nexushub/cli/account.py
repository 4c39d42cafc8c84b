"""``nexushub login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import os
import sys
from getpass import getpass

import click

from nexushub.cli import asking, client, output, session
from nexushub.cli.options import command


@command(json=False)
@click.argument("positional", metavar="[NAME]", required=False)
@click.option("--name", help="Account name or e-mail address; asked for when left out.")
@click.option("--password-file", metavar="FILE|-", help="Read the password's first line there instead of asking.")
def login(positional: str | None, name: str | None, password_file: str | None) -> None:
    """Sign in and keep the session. Its token goes to a file that only you can read."""
    account = positional or name
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not account:
        if not terminal:
            raise click.UsageError("There is no terminal to ask for the name: give NAME and --password-file.")
        sys.stderr.write("Name: ")
        sys.stderr.flush()
        account = input()
    if password_file is not None:
        password = asking.text_of(password_file, "password_file").split("\n", 1)[0].rstrip("\r")
    elif terminal:
        password = getpass("Password: ", stream=sys.stderr)
    else:
        raise click.UsageError(
            "There is no terminal to ask for the password: give --password-file FILE, or - for standard input."
        )
    where = client.place()
    # Without the old session: one that has ended must not stand in the way of a new one.
    session.forget(where.key)
    if where.token:
        output.say("NEXUSHUB_TOKEN is set and goes before the session that begins here.")
    answer = client.call("POST", client.path("auth", "login"), {"name": account, "password": password})
    session.keep(where.key, answer["token"])
    before = (
        f" Last sign-in: {answer['previous_login_at']} from {answer['previous_login_from']}."
        if answer["previous_login_at"]
        else ""
    )
    output.say(
        f"Signed in as {answer['user']['name']} ({answer['user']['role']}), "
        f"until {answer['expires_at']} at the latest.{before}"
    )


@command(json=False)
def logout() -> None:
    """End the session."""
    where = client.place()
    if not session.find(where.key):
        output.say("You are not signed in here.")
        return
    try:
        client.post("auth", "logout")
    finally:
        session.forget(where.key)
    output.say("Signed out.")


@command()
def whoami() -> None:
    """Show who you are to the hub."""
    view = client.get("auth", "whoami")
    user = view["user"] or {}
    output.record(
        [
            ("name", view["name"]),
            ("role", view["role"]),
            ("e-mail", user.get("email", "")),
            ("by", "session" if user else f"user id {os.geteuid()} of this machine"),
        ],
        view,
    )
