"""Hubs that a whole module shares: a clone of the database costs 0.3 s, and most tests don't disturb each other.

A module that shares one names its objects apart, or starts each test with ``no_rows``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from nexushub import boot, config, postgres
from nexushub.work import Hub
from tests.fix_db import Database, clone
from tests.fix_hub import MASTER_KEY


@pytest.fixture(scope="module")
def shared_database(cluster: postgres.Cluster, template: str) -> Iterator[Database]:
    with clone(cluster, template) as database:
        yield database


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory: pytest.TempPathFactory, shared_database: Database) -> config.Settings:
    directory = tmp_path_factory.mktemp("hub")
    return config.load(
        {
            "NEXUSHUB_DATABASE_URL": shared_database.dsn("nexushub_owner"),
            "PEER_KEY_ENCRYPTION_KEY": MASTER_KEY,
            "NEXUSHUB_STATE_DIR": str(directory / "state"),
            "NEXUSHUB_RUN_DIR": str(directory / "run"),
            "NEXUSHUB_NODE": "hub-test",
        },
        file=directory / "none.toml",
    )


@pytest.fixture(scope="module")
def shared_hub(shared_settings: config.Settings, shared_database: Database) -> Iterator[Hub]:
    """A hub whose services run as nexushub_app, for the tests of one module."""
    started = boot.prepare(shared_settings)
    least = replace(started, settings=replace(shared_settings, database_url=shared_database.dsn("nexushub_app")))
    opened = boot.open_hub(least)
    yield opened
    opened.close()


@pytest.fixture
def no_rows(shared_database: Database) -> None:
    """Empty the shared database of what a person makes; the node and the audit log stay."""
    with psycopg.connect(shared_database.dsn("nexushub_owner"), autocommit=True) as connection:
        connection.execute("TRUNCATE interfaces, groups, users, changes, applied CASCADE")
