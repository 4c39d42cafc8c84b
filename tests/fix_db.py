"""A real PostgreSQL for tests: one private cluster a session, migrated once, cloned for each test."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from nexushub import db, postgres

TEMPLATE = "nexushub_template"
_PREFIX = "nxp-"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one test's own, with the present schema and no rows."""

    cluster: postgres.Cluster
    name: str

    def dsn(self, role: str = "nexushub_app") -> str:
        return self.cluster.dsn(role, self.name)

    def cut(self) -> None:
        """Take the database away: nobody gets in, and whoever is in is thrown out."""
        with _superuser(self.cluster) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(self.name)))
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])

    def restore(self) -> None:
        with _superuser(self.cluster) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(self.name)))


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A running cluster that nothing else uses. Not synced to disk: it is thrown away."""
    _reap()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
    directory.chmod(0o711)
    running = postgres.start(directory / "state", directory / "run")
    try:
        with _superuser(running) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET synchronous_commit = off")
            connection.execute("SELECT pg_reload_conf()")
        yield running
    finally:
        postgres.stop(running)
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def template(cluster: postgres.Cluster) -> str:
    """The name of a migrated, empty database that others are cloned from."""
    _create(cluster, TEMPLATE, "template1")
    db.upgrade(cluster.dsn("nexushub_owner", TEMPLATE))
    return TEMPLATE


@contextmanager
def clone(cluster: postgres.Cluster, template: str, owner: str = "nexushub_owner") -> Iterator[Database]:
    """A database of the caller's own, dropped at the end with whoever is still connected."""
    name = f"nexushub_{next(_numbers)}"
    _create(cluster, name, template, owner)
    try:
        yield Database(cluster, name)
    finally:
        with _superuser(cluster) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def dump(database: Database, *options: str) -> str:
    """The database as pg_dump writes it: two equal texts are two equal databases."""
    argv = [str(database.cluster.binaries / "pg_dump"), *options, "-d", database.dsn("postgres")]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    # A random word in these two lines keeps a crafted dump from leaving psql's restricted mode.
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


@pytest.fixture
def database(cluster: postgres.Cluster, template: str) -> Iterator[Database]:
    """A fresh clone of the template."""
    with clone(cluster, template) as fresh:
        yield fresh


@pytest.fixture
def empty_database(cluster: postgres.Cluster) -> Iterator[Database]:
    """A database with btree_gist and no schema, for tests of the migrations themselves."""
    with clone(cluster, "template1") as fresh:
        yield fresh


def _superuser(cluster: postgres.Cluster, database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(cluster.dsn("postgres", database), autocommit=True)


def _create(cluster: postgres.Cluster, name: str, template: str, owner: str = "nexushub_owner") -> None:
    with _superuser(cluster) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                *(sql.Identifier(word) for word in (name, owner, template))
            )
        )
    if template == "template1":
        with _superuser(cluster, name) as connection:
            connection.execute("CREATE EXTENSION btree_gist")


def _reap() -> None:
    """End the clusters of test runs that were killed: nobody holds their lock any more."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        use = directory / "state" / "pg.users"
        if not use.exists():
            continue
        with use.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            fcntl.flock(file, fcntl.LOCK_UN)
        if postgres.stop(postgres.start(directory / "state", directory / "run")):
            shutil.rmtree(directory, ignore_errors=True)
