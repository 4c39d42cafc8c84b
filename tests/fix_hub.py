"""A hub over a test's own database: real services, real keys, no agent unless a test starts one."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nexushub import boot, config
from nexushub.services import auth, interfaces
from nexushub.views import Actor
from nexushub.work import Hub
from tests.fix_db import Database

MASTER_KEY = f"1:{base64.b64encode(os.urandom(32)).decode()}"


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> config.Settings:
    """Settings that point at the test's database and at directories of its own."""
    return config.load(
        {
            "NEXUSHUB_DATABASE_URL": database.dsn("nexushub_owner"),
            "PEER_KEY_ENCRYPTION_KEY": MASTER_KEY,
            "NEXUSHUB_STATE_DIR": str(tmp_path / "state"),
            "NEXUSHUB_RUN_DIR": str(tmp_path / "run"),
            "NEXUSHUB_NODE": "hub-test",
        },
        file=tmp_path / "none.toml",
    )


@pytest.fixture
def hub(settings: config.Settings, database: Database) -> Iterator[Hub]:
    """A hub whose kernel client finds no agent: what is changed stays pending."""
    started = boot.prepare(settings)
    least = replace(started, settings=replace(settings, database_url=database.dsn("nexushub_app")))
    opened = boot.open_hub(least)
    yield opened
    opened.close()


@pytest.fixture
def root() -> Actor:
    return auth.local_actor()


@pytest.fixture
def wg0(hub: Hub, root: Actor) -> str:
    """An interface named wg0 with an IPv4 and an IPv6 network; its name."""
    with hub.work(root, wait_ms=0) as w:
        interfaces.create(w, name="wg0", addresses=["10.8.0.1/24", "fd00:8::1/64"], endpoint="hub.example.com")
    return "wg0"
