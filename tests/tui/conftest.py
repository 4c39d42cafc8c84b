"""The TUI on a real hub and a real database, driven by Textual's pilot or in a pseudo-terminal."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import argon2
import pytest
from textual.pilot import Pilot

from nexushub import boot, config
from nexushub.config import Settings
from nexushub.services import auth, users
from nexushub.work import Hub
from tests.fix_db import Database
from tui import themes
from tui.app import NexusApp

PASSWORD = "seven small boats at anchor"
KEY = base64.b64encode(bytes(range(32))).decode()

Opened = Callable[..., AbstractAsyncContextManager[Pilot[None]]]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same terminal for everybody: no session of tmux or SSH, UTF-8, colours."""
    for name in ("TMUX", "SSH_CONNECTION", "NO_COLOR", "COLORFGBG", "NEXUSHUB_THEME", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    themes.glyphs.cache_clear()
    yield
    themes.glyphs.cache_clear()


def environment(database: Database, directory: Path) -> dict[str, str]:
    """Settings of a hub on a database of one test's own."""
    return {
        "NEXUSHUB_DATABASE_URL": database.dsn("nexushub_owner"),
        "PEER_KEY_ENCRYPTION_KEY": KEY,
        "NEXUSHUB_STATE_DIR": str(directory / "state"),
        "NEXUSHUB_RUN_DIR": str(directory / "run"),
        "NEXUSHUB_NODE": "hub1",
        "NEXUSHUB_CONFIG": str(directory / "none.toml"),
    }


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return config.load(environment(database, tmp_path))


@pytest.fixture
def hub(settings: Settings) -> Iterator[Hub]:
    """A hub with nothing in it, and no agent."""
    opened = boot.open_hub(boot.prepare(settings))
    yield opened
    opened.close()


@pytest.fixture
def admin(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hub has an administrator; this is the name. Hashing is made cheap: how dear it is, is not tested here."""
    monkeypatch.setattr(auth, "_HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    with hub.work(auth.local_actor("local")) as w:
        users.create_first(w, name="alice", email="alice@example.com", password=PASSWORD)
    return "alice"


@pytest.fixture
def opened(settings: Settings, hub: Hub) -> Opened:
    """Open the app at a size; with ``who`` signed in. Nothing unforeseen may have happened in it."""

    @asynccontextmanager
    async def open_app(who: str = "", size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
        app = NexusApp(settings, embed=False, hub=hub)
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            if who:
                await app.link.sign_in(who, PASSWORD)
                await app.enter()
                await settled(pilot)
            yield pilot
            assert app.unexpected == []

    return open_app


async def settled(pilot: Pilot[None]) -> None:
    """Wait until no worker runs and everything is painted."""
    for _ in range(2):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def shown(pilot: Pilot[None]) -> str:
    """The screen as lines of text."""
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


def painted(pilot: Pilot[None]) -> list[list[tuple[str, str]]]:
    """The screen with its colours, for what only those tell."""
    return [[(text, str(style)) for text, style, _ in strip] for strip in pilot.app.screen._compositor.render_strips()]


def clean_environment() -> dict[str, str]:
    """For programs under test: this process's, without what would change them."""
    dropped = ("TMUX", "SSH_CONNECTION", "NO_COLOR", "COLORFGBG", "COLORTERM", "LC_ALL")
    return {name: value for name, value in os.environ.items() if name not in dropped}
