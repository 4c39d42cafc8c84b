"""Commands that work on this machine's own processes and database: ``serve agent seed db key``."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from nexushub.cli import asking, output
from nexushub.cli.options import command
from nexushub.errors import Configuration

_SEED = ("NEXUSHUB_ADMIN_USERNAME", "NEXUSHUB_ADMIN_EMAIL", "NEXUSHUB_ADMIN_PASSWORD")


@command(json=False, remote=False)
@click.option("--listen", metavar="ADDRESS:PORT", default="", help="Default NEXUSHUB_LISTEN, then 127.0.0.1:8080.")
def serve(listen: str) -> int:
    """Run the API server until SIGTERM."""
    from nexushub import config

    return int(import_module("web.serve").run(config.load(listen=listen)))


@command(json=False, remote=False)
def agent() -> int:
    """Run the agent that makes the kernel agree with the database, until SIGTERM."""
    from nexushub import config

    return int(import_module("nexushub.agent").run(config.load()))


@command(json=False, remote=False)
@click.option(
    "--reset-password", is_flag=True, help="Set the password of an account that exists again, and end its sessions."
)
@click.option("--password-file", metavar="FILE|-", help="Read the password there instead of NEXUSHUB_ADMIN_PASSWORD.")
def seed(reset_password: bool, password_file: str | None) -> None:
    """Make the super-admin that the environment describes. Run again it changes nothing that exists.

    NEXUSHUB_ADMIN_USERNAME, NEXUSHUB_ADMIN_EMAIL and NEXUSHUB_ADMIN_PASSWORD are read.
    """
    values = {
        name: os.environ.pop(name, "") for name in _SEED
    }  # popped: nothing started from here inherits the password
    if password_file is not None:
        values["NEXUSHUB_ADMIN_PASSWORD"] = asking.text_of(password_file, "password_file").split("\n", 1)[0]
    for name in _SEED:
        if not values[name]:
            raise Configuration(name, "it is not set", hint=f"export {' '.join(f'{key}=…' for key in _SEED)}")
    from nexushub import boot, config
    from nexushub.services import auth, users

    started = boot.prepare(config.load())
    try:
        hub = boot.open_hub(started)
        with hub.work(auth.local_actor("local")) as w:
            _, words = users.seed(
                w, name=values["NEXUSHUB_ADMIN_USERNAME"], email=values["NEXUSHUB_ADMIN_EMAIL"],
                password=values["NEXUSHUB_ADMIN_PASSWORD"], reset_password=reset_password,
            )  # fmt: skip
        hub.close()
    finally:
        _let_go(started)
    output.say(f"{words[:1].upper()}{words[1:]}.")


@command(json=False, remote=False)
@click.option("--id", "key_id", default="1", help="The key's id; a new one for each rotation.")
def key_generate(key_id: str) -> None:
    """Print a new encryption key in the form of PEER_KEY_ENCRYPTION_KEY."""
    from nexushub.secrets import generate_master_key, parse_keyring

    key = generate_master_key(key_id)
    parse_keyring(key, source="--id")
    output.write(f"{key}\n")
    if sys.stdout.isatty():
        output.say("Keep it apart from the database's backups: whoever has both can read every key.")


@command(json=False, remote=False)
def db_upgrade() -> None:
    """Bring the database's schema to this version."""
    from nexushub import boot, config, db

    _let_go(boot.prepare(config.load()))
    output.say(f"The schema is {db.head()}, this version's.")


@command(json=True, remote=False)
def db_current() -> None:
    """Print the schema's revision, and this version's."""
    from nexushub import boot, config, db, postgres
    from nexushub.errors import Unavailable

    settings = config.load()
    cluster = None
    if settings.embedded_database:
        if not (settings.state_dir / "pg" / "data").exists():
            raise Unavailable("the embedded database", "has not been made yet", hint="nexushub db upgrade")
        cluster = postgres.start(settings.state_dir, settings.run_dir)
    try:
        dsn = boot.Started(settings, None, cluster).dsn("nexushub_owner")  # type: ignore[arg-type]  # the DSN needs no key
        db.wait(dsn, 5)
        with db.connect(dsn, "nexushub_owner", autocommit=True) as connection:
            present = db.current(connection)
    finally:
        if cluster is not None:
            postgres.stop(cluster)
    output.record([("schema", present or "none"), ("this version", db.head())], {"schema": present, "head": db.head()})


def _let_go(started: object) -> None:
    cluster = getattr(started, "cluster", None)
    if cluster is not None:
        from nexushub import postgres

        postgres.stop(cluster)
