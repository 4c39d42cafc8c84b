"""Migrations, through Alembic. Imported only when there is something to migrate."""

from __future__ import annotations

from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from alembic import command
from nexushub import db


def _config(connection: Connection | None = None) -> Config:
    config = Config(db.ROOT / "alembic.ini")
    config.attributes["connection"] = connection
    return config


def migrate(dsn: str, target: str = "head") -> None:
    """Bring the schema to a revision, up or down.

    Everything happens in one transaction: a migration that fails leaves the database as it was.
    """
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: db.connect(dsn, "nexushub_owner"), poolclass=NullPool
    )
    with engine.begin() as connection:
        # Two starting processes: the second waits, then finds nothing to do. The number is arbitrary and fixed.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7163829401)")
        present = MigrationContext.configure(connection).get_current_revision()
        db.check_known(present)
        goal = db.head() if target == "head" else target
        if goal == "base" or (present is not None and goal < present):
            command.downgrade(_config(connection), goal)
        elif goal != present:
            command.upgrade(_config(connection), goal)
