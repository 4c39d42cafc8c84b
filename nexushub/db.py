"""The way to PostgreSQL: conninfo, engine, migrations, and waiting for a database that is away.

libpq reads the DSN, so several hosts and every option it knows work; SQLAlchemy only gets a connector. A
connection that died is noticed when it is taken from the pool and replaced, so that a killed, restarted or
failed-over server needs no restart of ours.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import conninfo
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from nexushub.errors import Configuration, Unavailable

AppRole = Literal["nexushub_app", "nexushub_agent", "nexushub_owner", "nexushub_backup"]

_ROOT = Path(__file__).resolve().parent.parent


def connect_options(dsn: str) -> dict[str, Any]:
    """libpq options that every connection of ours has: a dead server is noticed in seconds, not in two hours."""
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise Configuration("NEXUSHUB_DATABASE_URL", f"it is not a PostgreSQL DSN: {str(error).strip()}") from error
    defaults: dict[str, Any] = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20000,
        "application_name": "nexushub",
        "target_session_attrs": "read-write",
    }
    return {key: value for key, value in defaults.items() if key not in given}


def connect(dsn: str, role: AppRole | None = None, *, autocommit: bool = False) -> psycopg.Connection[Any]:
    """Open a connection and take the role of least right that this process needs, where it exists."""
    connection = psycopg.connect(dsn, autocommit=True, **connect_options(dsn))
    try:
        with connection.cursor() as cursor:
            # UTC: times print alike everywhere. Two minutes: a forgotten transaction must not hold the row locks.
            cursor.execute("SET timezone TO 'UTC'; SET idle_in_transaction_session_timeout TO '120s'")
            if role:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND pg_has_role(oid, 'MEMBER')", [role])
                if cursor.fetchone():
                    cursor.execute(f"SET ROLE {role}")
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def make_engine(dsn: str, role: AppRole, *, size: int = 8) -> Engine:
    """An engine whose pool checks each connection before use and waits at most five seconds for one."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(dsn, role),
        pool_size=size,
        max_overflow=size,
        pool_timeout=5,
        pool_pre_ping=True,
        native_inet_types=False,
    )

    @event.listens_for(engine, "handle_error")
    def _translate(context: Any) -> None:
        original = context.original_exception
        if isinstance(original, psycopg.OperationalError) and context.is_disconnect:
            raise Unavailable("the database", "went away", hint="It is tried again by itself; repeat the command.") from original

    return engine


def _alembic(connection: Connection | None = None) -> Config:
    config = Config(_ROOT / "alembic.ini")
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The schema revision that this version of NexusHub writes."""
    revision = ScriptDirectory.from_config(_alembic()).get_current_head()
    assert revision is not None, "alembic/versions is part of the program"
    return revision


def current(dsn: str) -> str | None:
    """The schema revision of the database, None for an empty one."""
    engine = _owner_engine(dsn)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(dsn: str, target: str = "head") -> None:
    """Bring the schema to a revision, one transaction a step, one process at a time.

    A database newer than this program is refused: an older program would write rows that the newer one does
    not understand.
    """
    with _owner_engine(dsn).begin() as connection:
        # Two starting processes: the second waits, then finds nothing to do. The number is arbitrary and fixed.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7163829401)")
        present = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}
        if present is not None and present not in known:
            raise Configuration("database", f"its schema is {present!r}, which this version does not know", hint="Start the NexusHub version that wrote it, or a newer one.")
        if target == "head" and present == head():
            return
        if target == "head" or present is None:
            command.upgrade(_alembic(connection), target)
        else:
            command.downgrade(_alembic(connection), target) if target < present else command.upgrade(_alembic(connection), target)


def _owner_engine(dsn: str) -> Engine:
    return create_engine("postgresql+psycopg://", creator=lambda: connect(dsn, "nexushub_owner"), poolclass=NullPool)


def wait(dsn: str, seconds: float) -> None:
    """Wait until the database answers, or raise ``Unavailable`` with its last words."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        try:
            connect(dsn).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                words = str(error).strip().splitlines()
                raise Unavailable("the database", f"does not answer: {words[-1] if words else error}") from error
        time.sleep(pause)
        pause = min(1.0, pause * 2)
