"""The way to PostgreSQL: connections, the schema's revision, and waiting for a database that is away.

libpq reads the DSN, so several hosts and every option it knows work. Imports psycopg and nothing slower: a
start that must be refused for a wrong key is refused in well under a second.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import conninfo
from psycopg.types.string import TextLoader

from nexushub.errors import Configuration, Unavailable

AppRole = Literal["nexushub_app", "nexushub_agent", "nexushub_owner", "nexushub_backup"]

ROOT = Path(__file__).resolve().parent.parent


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
        for kind in ("inet", "cidr"):  # canonical strings; the kernel layer's values are strings too
            connection.adapters.register_loader(kind, TextLoader)
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


def head() -> str:
    """The schema revision that this version of NexusHub writes.

    Read from the files' names: importing Alembic costs 0.3 s, and every start asks.
    """
    return max(path.name[:4] for path in (ROOT / "alembic" / "versions").glob("[0-9]*.py"))


def check_known(revision: str | None) -> None:
    """Refuse a database that a newer version wrote: this one would write rows that the newer does not understand."""
    if revision is not None and not list((ROOT / "alembic" / "versions").glob(f"{revision}_*.py")):
        raise Configuration(
            "database",
            f"its schema is {revision!r}, which this version does not know",
            hint="Start the NexusHub version that wrote it, or a newer one.",
        )


def current(connection: psycopg.Connection[Any]) -> str | None:
    """The schema revision of a database, None for an empty one."""
    if connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def upgrade(dsn: str, target: str = "head") -> None:
    """Bring the schema to a revision, one transaction a step, one process at a time."""
    from nexushub import schema  # noqa: PLC0415  (SQLAlchemy and Alembic cost 0.8 s, and most starts need no migration)

    schema.migrate(dsn, target)


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
