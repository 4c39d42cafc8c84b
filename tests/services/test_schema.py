"""The schema: up, down and up again, against the models, two processes at once, a newer version, foreign databases."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import nexushub.models  # noqa: F401  (fills the metadata)
from nexushub import boot, config, db, postgres, schema
from nexushub.errors import Configuration, Unavailable
from nexushub.postgresfiles import ROLES
from nexushub.services import auth, health, interfaces, peers
from nexushub.work import Hub
from tests.fix_db import Database, clone, dump
from tests.fix_hub import MASTER_KEY


def test_up_down_up_gives_the_same_schema(empty_database: Database) -> None:
    dsn = empty_database.dsn("nexushub_owner")
    schema.migrate(dsn)
    first = dump(empty_database, "--schema-only")
    schema.migrate(dsn, "base")
    with psycopg.connect(dsn) as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
        assert {row[0] for row in left} == {"alembic_version", "alembic_version_pkc"}
    schema.migrate(dsn)
    assert dump(empty_database, "--schema-only") == first
    assert "CREATE TABLE public.peers" in first


def test_the_models_are_the_tables(shared_database: Database) -> None:
    """Columns, types and nullability. Constraints and indexes stand in the SQL and nowhere else."""
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: db.connect(shared_database.dsn("nexushub_owner")), poolclass=NullPool
    )

    def ours(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
        # audit_head is the database's own: only audit_append reads and writes it.
        return kind in ("table", "column") and name not in ("audit_head", "alembic_version")

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": ours})
        found = compare_metadata(context, SQLModel.metadata)
        assert found == []
        # The comparison sees a difference when there is one.
        connection.execute(text("ALTER TABLE peers ALTER mtu TYPE bigint, ADD extra text, ALTER owner DROP NOT NULL"))
        kinds = {str(d[0][0] if isinstance(d, list) else d[0]) for d in compare_metadata(context, SQLModel.metadata)}
        assert kinds == {"modify_type", "remove_column", "modify_nullable"}


def test_a_newer_schema_is_refused_and_untouched(database: Database, settings: config.Settings) -> None:
    boot.prepare(settings)
    with psycopg.connect(database.dsn("nexushub_owner")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9042'")
    before = dump(database)
    for migrate in (True, False):
        started = time.monotonic()
        with pytest.raises(Configuration, match="'9042', which this version does not know"):
            boot.prepare(settings, migrate=migrate)
        assert time.monotonic() - started < 1
    with pytest.raises(Configuration, match="does not know"):
        schema.migrate(database.dsn("nexushub_owner"))
    assert dump(database) == before


def test_without_migrating_an_older_schema_is_left_alone(empty_database: Database, tmp_path: Path) -> None:
    settings = config.load(environment(empty_database.dsn("nexushub_owner"), tmp_path), file=tmp_path / "none")
    before = dump(empty_database)
    with pytest.raises(Unavailable, match="nexushub db upgrade"):
        boot.prepare(settings, migrate=False)
    assert dump(empty_database) == before


def test_two_processes_migrate_at_once(empty_database: Database, tmp_path: Path) -> None:
    given = environment(empty_database.dsn("nexushub_owner"), tmp_path)
    running = [
        subprocess.Popen([sys.executable, "-m", "nexushub", "db", "upgrade"], env=given, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    words = [process.communicate(timeout=60)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], words
    with psycopg.connect(empty_database.dsn("nexushub_owner")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(db.head(),)]
        assert connection.execute("SELECT count(*) FROM nodes").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM key_checks").fetchone() == (1,)


def test_a_migration_that_fails_leaves_nothing(empty_database: Database) -> None:
    """A table of ours that is there already stops it in the middle; what it had made is gone again."""
    dsn = empty_database.dsn("nexushub_owner")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE drift (mine int)")
    before = dump(empty_database)
    with pytest.raises(Exception, match='relation "drift" already exists'):
        schema.migrate(dsn)
    assert dump(empty_database) == before


def test_a_dsn_of_several_hosts_finds_the_one_that_lives(shared_database: Database) -> None:
    cluster = shared_database.cluster
    dsn = f"host=127.0.0.1,{cluster.socket_directory} port=1,5432 dbname={shared_database.name} user=nexushub_app"
    started = time.monotonic()
    db.wait(dsn, 5)
    with db.connect(dsn, "nexushub_app") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("nexushub_app",)
    assert time.monotonic() - started < 2
    url = f"postgresql://nexushub_app@127.0.0.1:1,%2Fnowhere:5432/{shared_database.name}"
    with pytest.raises(Unavailable, match="does not answer"):
        db.wait(url, 0)


@pytest.mark.parametrize("dsn", ["postgresql://[", "nonsense", "host=x prot=1"])
def test_what_is_no_dsn_is_a_configuration_error(dsn: str) -> None:
    with pytest.raises(Configuration, match="NEXUSHUB_DATABASE_URL"):
        db.wait(dsn, 5)


def environment(dsn: str, directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "NEXUSHUB_DATABASE_URL": dsn,
        "PEER_KEY_ENCRYPTION_KEY": MASTER_KEY,
        "NEXUSHUB_STATE_DIR": str(directory / "state"),
        "NEXUSHUB_RUN_DIR": str(directory / "run"),
        "NEXUSHUB_NODE": "hub-test",
        "NEXUSHUB_CONFIG": str(directory / "none.toml"),
    }


OWNER = "nxt_plain_owner"


@pytest.fixture
def plain(cluster: postgres.Cluster) -> Iterator[Database]:
    """A database as a provider hands it out: its owner may create no role and is a member of none."""
    with psycopg.connect(cluster.dsn("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {OWNER}")
        with clone(cluster, "template0", OWNER) as database:
            yield database
        connection.execute(f"DROP ROLE {OWNER}")


@contextmanager
def without_roles(cluster: postgres.Cluster) -> Iterator[None]:
    """Our roles under names that nobody looks for. Open connections stay what they are."""
    roles = [role for role in ROLES if role != "nexushub_owner"]
    with psycopg.connect(cluster.dsn("postgres", "postgres"), autocommit=True) as connection:
        for role in roles:
            connection.execute(f"ALTER ROLE {role} RENAME TO hidden_{role}")
        try:
            yield
        finally:
            for role in roles:
                connection.execute(f"ALTER ROLE hidden_{role} RENAME TO {role}")


@pytest.mark.parametrize("extension", ["created by the owner", "there already"])
@pytest.mark.parametrize("roles", ["in the cluster", "nowhere"])
def test_a_database_without_our_roles_works(plain: Database, tmp_path: Path, extension: str, roles: str) -> None:
    given = environment(f"{plain.dsn('postgres')} options='-c role={OWNER}'", tmp_path)
    settings = config.load(given, file=tmp_path / "none")
    with without_roles(plain.cluster) if roles == "nowhere" else nullcontext():
        if extension == "there already":
            with psycopg.connect(plain.dsn("postgres")) as connection:
                connection.execute("CREATE EXTENSION btree_gist")
        hub = boot.open_hub(boot.prepare(settings))
        try:
            use(hub)
        finally:
            hub.close()
        boot.prepare(settings)


def use(hub: Hub) -> None:
    root = auth.local_actor()
    with hub.work(root, wait_ms=0) as w:
        interfaces.create(w, name="wg0", addresses=["10.8.0.1/24"])
        assert peers.create(w, interface="wg0", name="alice").peer.addresses == ["10.8.0.2"]
    with hub.reading(root) as w:
        assert w.db.connection().execute(text("SELECT current_user, count(*) FROM audit_log")).one() == (OWNER, 2)
        role = next(check for check in health.checks(w) if check.name == "database role")
    assert (role.state, role.detail) == ("warning", OWNER)
    assert "nexushub_app" in role.fix


def test_doctor_is_content_with_the_role_of_least_right(shared_hub: Hub) -> None:
    with shared_hub.reading(auth.local_actor()) as w:
        role = next(check for check in health.checks(w) if check.name == "database role")
    assert (role.state, role.detail, role.fix) == ("ok", "nexushub_app", "")
