"""How a process starts: key, database, schema, in an order in which a refused start has written nothing.

The encryption key is read first. The database is asked for the check values of the keys it was written with
before the schema is touched. Only then is anything migrated or generated.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg

from nexushub import db, secrets
from nexushub.config import Settings
from nexushub.errors import Configuration, Unavailable
from nexushub.kernel.remote import AgentClient

if TYPE_CHECKING:
    from nexushub.postgres import Cluster
    from nexushub.work import Hub


@dataclass(frozen=True)
class Started:
    """What ``prepare`` found: the keyring, a DSN for each role, and the embedded cluster if there is one."""

    settings: Settings
    keyring: secrets.Keyring
    cluster: Cluster | None

    def dsn(self, role: db.AppRole) -> str:
        """The conninfo of a role; with a DSN from outside, the role is taken after connecting."""
        return self.cluster.dsn(role) if self.cluster else self.settings.database_url


def prepare(settings: Settings, *, migrate: bool = True, wait: float = 20.0) -> Started:
    """Check the key, reach the database (starting the embedded one), check the key against it, migrate.

    Raises ``Configuration`` for a missing, malformed or wrong key and for a schema this version does not know;
    ``Unavailable`` when the database does not answer. A refused start leaves no embedded server behind.
    """
    keyring = None if _may_generate_key(settings) else secrets.load_keyring(settings)
    cluster = _start_cluster(settings)
    try:
        dsn = cluster.dsn("nexushub_owner") if cluster else settings.database_url
        db.wait(dsn, wait)
        with db.connect(dsn, "nexushub_owner", autocommit=True) as connection:
            return Started(settings, _agree(settings, connection, keyring, dsn, migrate=migrate), cluster)
    except BaseException:
        if cluster is not None:
            from nexushub import postgres  # noqa: PLC0415  (imported already: there is a cluster)

            postgres.stop(cluster)
        raise


def _agree(
    settings: Settings, connection: psycopg.Connection[Any], keyring: secrets.Keyring | None, dsn: str, *, migrate: bool
) -> secrets.Keyring:
    """Bring key and schema together, or refuse before the first byte is written."""
    present = db.current(connection)
    db.check_known(present)
    if keyring is None:
        if present is not None and connection.execute("SELECT 1 FROM key_checks LIMIT 1").fetchone():
            raise Configuration(
                "PEER_KEY_ENCRYPTION_KEY",
                f"{settings.master_key_file} is gone, and the database was written with it",
                hint="Put the key file back; a new key can't open the old data.",
            )
        secrets.ensure_master_key(settings)
        keyring = secrets.load_keyring(settings)
    if present is not None:
        check_keys(connection, keyring)
    if present != db.head():
        if not migrate:
            raise Unavailable(
                "the database", f"has schema {present or 'none'}, not {db.head()}", hint="Run: nexushub db upgrade"
            )
        db.upgrade(dsn)
    if migrate:
        register_key(connection, keyring)
        ensure_node(connection, settings.node)
    return keyring


def _may_generate_key(settings: Settings) -> bool:
    """Whether this is the embedded set-up on its first start, the one case in which a key is made by itself."""
    return settings.embedded_database and not secrets.configured(settings)


def _start_cluster(settings: Settings) -> Cluster | None:
    if not settings.embedded_database:
        return None
    from nexushub import postgres  # noqa: PLC0415  (a hub with a database of its own never needs it)

    return postgres.start(settings.state_dir, settings.run_dir)


def check_keys(connection: psycopg.Connection[Any], keyring: secrets.Keyring) -> None:
    """Compare the loaded keys with the check values of every key that the data may be sealed with.

    ``Configuration`` names the key id. Nothing is written: a process with a wrong key must not seal a single
    value that the right key can't open. A retired key need not be loaded, but its id stays its own.
    """
    rows = connection.execute("SELECT key_id, check_value, retired_at IS NOT NULL FROM key_checks ORDER BY key_id")
    for key_id, check_value, retired in rows.fetchall():
        if key_id not in keyring.ids:
            if retired:
                continue
            raise Configuration(
                "PEER_KEY_ENCRYPTION_KEY",
                f"the database was also written with key {key_id!r}, which is not among the loaded keys",
                hint="Add it after the newest one, separated by a comma.",
            )
        if not hmac.compare_digest(bytes(check_value), keyring.check_value(key_id)):
            raise Configuration(
                "PEER_KEY_ENCRYPTION_KEY",
                f"key {key_id!r} is not the one that the database was written with",
                hint="Use the key that was in force then, or give a new key an id of its own; nothing was changed.",
            )


def register_key(connection: psycopg.Connection[Any], keyring: secrets.Keyring) -> None:
    """Keep the newest key's check value, so that every later start can know a wrong key.

    Two first starts with different keys race here: one row stays, and the process that lost is refused. A retired
    key that is the newest again is in force again.
    """
    connection.execute(
        "INSERT INTO key_checks AS k (key_id, check_value) VALUES (%s, %s) ON CONFLICT (key_id) DO UPDATE"
        " SET retired_at = NULL WHERE k.retired_at IS NOT NULL AND k.check_value = excluded.check_value",
        [keyring.newest, keyring.check_value(keyring.newest)],
    )
    check_keys(connection, keyring)


def ensure_node(connection: psycopg.Connection[Any], name: str) -> UUID:
    """The id of this hub's row, made on first use."""
    if connection.execute("SELECT 1 FROM nodes WHERE name = %s", [name]).fetchone() is None:
        connection.execute(
            "INSERT INTO nodes (id, name) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING", [uuid4(), name]
        )
    row = connection.execute("SELECT id FROM nodes WHERE name = %s", [name]).fetchone()
    assert row is not None, "the row was inserted or was there"
    return UUID(str(row[0]))


def open_hub(started: Started, role: db.AppRole = "nexushub_app") -> Hub:
    """Build the hub for a process that uses the service layer. This is where SQLModel is imported."""
    from nexushub.work import Hub, make_engine  # noqa: PLC0415  (0.5 s: after everything that may refuse)

    dsn = started.dsn(role)
    with db.connect(dsn, role, autocommit=True) as connection:
        node_id = ensure_node(connection, started.settings.node)
    return Hub(
        started.settings, make_engine(dsn, role), started.keyring, AgentClient(started.settings.agent_socket), node_id
    )
