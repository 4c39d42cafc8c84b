"""The way from the screens to the service layer: the database stack warmed in a thread, and one Work per intent.

Nothing here is imported before the login box is painted; SQLModel and its company cost half a second.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from nexushub.config import Settings
from nexushub.errors import SignIn, Unavailable

if TYPE_CHECKING:
    from nexushub.boot import Started
    from nexushub.embed import Embedded
    from nexushub.views import Actor, SignedIn, Truth
    from nexushub.work import Hub, Work

T = TypeVar("T")
P = ParamSpec("P")

SCREENS = ("interfaces", "interface", "peers", "peer", "forms", "setup", "guide", "palette", "lock")
_AWAY = ("OperationalError", "AdminShutdown", "CannotConnectNow", "ConnectionTimeout", "TimeoutError")
RECHECK = 10.0
"""Seconds between checks that the session still holds, while a screen only refreshes itself."""


class Link:
    """What one TUI holds of the hub: the open hub, who is signed in, and the children it embeds."""

    def __init__(self, settings: Settings, *, embed: bool = True, hub: Hub | None = None) -> None:
        self.settings = settings
        self.hub = hub
        self.actor: Actor | None = None
        self.token = ""
        self.address = ""
        self.embedded: Embedded | None = None
        self._embed = embed
        self._started: Started | None = None
        self._checked = 0.0
        self._closing = threading.Lock()

    # Opening and closing

    async def open(self) -> bool:
        """Bring the stack up; True when the hub has no account yet. Raises ``Unavailable`` to be tried again,
        ``Configuration`` for what a person must change."""
        return await asyncio.to_thread(self._open)

    def _open(self) -> bool:
        from nexushub import boot, embed  # noqa: PLC0415  (after the first paint)

        if self.hub is None:
            self._started = boot.prepare(self.settings)
            self.hub = boot.open_hub(self._started)
        for name in SCREENS:
            importlib.import_module(f"tui.screens.{name}")
        if self._embed and self.embedded is None:
            self.embedded = embed.Embedded(self.settings)
            self.embedded.start()
        return self._nobody_yet()

    async def nobody_yet(self) -> bool:
        """Whether the hub has no account."""
        return await asyncio.to_thread(_plainly, self._nobody_yet)

    def _nobody_yet(self) -> bool:
        from nexushub.services import auth, users  # noqa: PLC0415  (after the first paint)

        with self.opened.reading(auth.local_actor("tui")) as w:
            return users.none_exist(w)

    def close(self, seconds: float = 10.0) -> None:
        """End what this process started: session, children, and the embedded database if nobody else uses it."""
        from nexushub import postgres  # noqa: PLC0415  (only needed here)

        with self._closing:
            if self.embedded is not None:
                self.embedded.stop(seconds)
                self.embedded = None
            if self._started is not None:
                if self.hub is not None:
                    self.hub.close()
                if self._started.cluster is not None:
                    postgres.stop(self._started.cluster)
                self._started = None

    @property
    def opened(self) -> Hub:
        if self.hub is None:
            raise Unavailable("the database", "is not reached yet")
        return self.hub

    # Who

    async def sign_in(self, name: str, password: str) -> SignedIn:
        from nexushub.services import auth  # noqa: PLC0415  (after the first paint)

        def run() -> SignedIn:
            return auth.sign_in(self.opened, name, password, surface="tui", address=self.address)

        return self._begin(await asyncio.to_thread(_plainly, run))

    async def unlock(self, password: str) -> SignedIn:
        from nexushub.services import auth  # noqa: PLC0415  (after the first paint)

        actor = self.actor
        if actor is None:
            raise SignIn()
        return self._begin(await asyncio.to_thread(_plainly, lambda: auth.unlock_screen(self.opened, actor, password)))

    def _begin(self, signed: SignedIn) -> SignedIn:
        from nexushub.services import auth  # noqa: PLC0415  (after the first paint)

        self.token = signed.token
        self.actor = auth.resume(self.opened, signed.token, source="tui", address=self.address)
        return signed

    async def sign_out(self) -> None:
        from nexushub.services import auth  # noqa: PLC0415  (after the first paint)

        if self.token:
            try:
                await self.write(auth.sign_out)
            finally:
                self.token, self.actor = "", None

    def _who(self, *, activity: bool) -> Actor:
        """The actor, asked of the database again: an account that was disabled or a session that was ended stops
        at the next action, and a screen left alone within seconds."""
        from nexushub.services import auth  # noqa: PLC0415  (after the first paint)

        if not self.token or self.actor is None:
            raise SignIn("Nobody is signed in.")
        if activity or time.monotonic() - self._checked > RECHECK:
            self.actor = auth.resume(self.opened, self.token, source="tui", address=self.address, activity=activity)
            self._checked = time.monotonic()
        return self.actor

    # Work

    async def read(self, function: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read for a person who pressed a key."""
        return await self._read(True, function, *args, **kwargs)

    async def watch(self, function: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read for a screen that refreshes itself; it does not keep the session alive."""
        return await self._read(False, function, *args, **kwargs)

    async def _read(
        self, activity: bool, function: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def run() -> T:
            with self.opened.reading(self._who(activity=activity)) as w:
                return function(w, *args, **kwargs)

        return await asyncio.to_thread(_plainly, run)

    async def write(
        self, function: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[T, Truth]:
        """Change something, in one transaction; the second result says whether the kernel agrees."""

        def run() -> tuple[T, Truth]:
            with self.opened.work(self._who(activity=True)) as w:
                result = function(w, *args, **kwargs)
            return result, w.truth

        return await asyncio.to_thread(_plainly, run)

    async def write_first(self, function: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The first account, which nobody who is signed in could make."""
        from nexushub.services import auth  # noqa: PLC0415  (after the first paint)

        def run() -> T:
            with self.opened.work(auth.local_actor("tui")) as w:
                return function(w, *args, **kwargs)

        return await asyncio.to_thread(_plainly, run)


def _plainly(run: Callable[[], T]) -> T:
    """Run, with a database that can't be connected to as the error that the screens know."""
    try:
        return run()
    except Exception as error:
        if not _is_away(error):
            raise
        raise Unavailable("the database", "does not answer", hint="It is tried again by itself.") from error


def _is_away(error: BaseException | None) -> bool:
    """Whether the driver could not connect or lost its connection, told by name: surfaces don't import drivers."""
    while error is not None:
        kind = type(error)
        if kind.__module__.startswith(("psycopg", "sqlalchemy")) and kind.__name__ in _AWAY:
            return True
        error = error.__cause__
    return False
