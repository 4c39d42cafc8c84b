"""The frame around every screen, and the way a key becomes an action.

A key runs ``do_NAME`` of its screen. Before that ``why_not(NAME)`` may answer with a reason, which the status
line then shows: a key that does nothing silently teaches nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from textual.app import ComposeResult
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from nexushub.errors import NexusError
from tui import keys
from tui.widgets.form import Entry
from tui.widgets.lines import Foot, Head, Part, Rule, Status

if TYPE_CHECKING:
    from tui.app import NexusApp

T = TypeVar("T")
TOO_SMALL = "NexusHub needs 40 columns and 12 lines."


class Acts:
    """Dispatches ``act(name)``, the action of every binding in ``tui.keys``."""

    SECTION: ClassVar[str]
    ready = False
    """Mounted and with its cursor in place: keys that came before this wait for it."""

    @property
    def hub_app(self) -> NexusApp:
        return cast("NexusApp", cast(Any, self).app)

    def why_not(self, name: str) -> str | None:
        """Why a key does not apply now, or None when it does."""
        return None

    def say(self, text: str, style: str = "") -> None:
        self.hub_app.say(text, style)

    async def action_act(self, name: str) -> None:
        reason = self.why_not(name)
        if reason is not None:
            self.say(reason)
            return
        result = getattr(self, f"do_{name}")()
        if inspect.isawaitable(result):
            await result


class Framed(Acts, Screen[None]):
    """A screen with the frame. Subclasses give ``body`` and what the head says."""

    PLACE: ClassVar[str] = ""
    INSIDE: ClassVar[bool] = True
    """Signed in: the keys of the app work here."""
    BINDINGS: ClassVar = []
    AUTO_FOCUS = ""
    """Screens say themselves where the cursor is: Textual's choice would be the first field, shown or not."""

    def compose(self) -> ComposeResult:
        yield Head(id="head")
        yield Rule(classes="rule")
        yield from self.body()
        yield Rule(classes="rule")
        yield Status(id="status")
        yield Foot(id="foot")
        yield Static(TOO_SMALL, id="too-small")

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    @property
    def subject(self) -> str:
        """What of the place is shown: a name, or nothing."""
        return ""

    def on_mount(self) -> None:
        # Textual calls the subclass's handler before this one.
        self.ready = True
        self.paint_frame()

    def on_resize(self) -> None:
        self.call_after_refresh(self.paint_frame)

    def on_screen_resume(self) -> None:
        self.paint_frame()

    @property
    def composed(self) -> bool:
        """Whether the frame's widgets are there; a screen is called mounted a little before."""
        return self.is_mounted and bool(self.query(Foot))

    def paint_frame(self) -> None:
        """Bring head, status line and footer up to date; each redraws only if its text changed."""
        if not self.composed:
            return
        app = self.hub_app
        self.query_one("#head", Head).place(
            app.node, self.PLACE, self.subject, who=app.who, clock=app.clock_text, notes=app.head_note
        )
        self.query_one("#foot", Foot).keys(self.foot_keys())
        self.paint_status()

    def foot_keys(self) -> list[keys.Key]:
        return keys.footer(self.SECTION, inside=self.INSIDE)

    def status_parts(self) -> list[Part]:
        """What the status line says of this screen, before what it says everywhere."""
        return []

    def paint_status(self) -> None:
        if self.composed:
            self.query_one("#status", Status).parts([*self.status_parts(), *self.hub_app.status_parts()])

    async def entered(self, entry: Entry) -> None:
        """Enter in a field is the field's own key; it means save."""
        await self.action_act("save")

    def tick(self, now: datetime) -> None:
        """Called once a second while this screen is shown."""

    def background(
        self, work: Callable[[], Awaitable[None]], group: str, failed: Callable[[NexusError], None] | None = None
    ) -> None:
        """Run work that waits for the database without holding the keys up. Newer work of a group drops the older,
        whose late answer is then nobody's. ``work`` is called when its turn comes: what is dropped before never was."""

        async def run() -> None:
            await self.hub_app.guarded(work(), failed or self.failed)

        name = f"{self.SECTION}.{group}"
        self.run_worker(run, group=name, exclusive=True, exit_on_error=False)  # type: ignore[arg-type]  # infers Never

    def failed(self, error: NexusError) -> None:
        """Show what went wrong; forms show it at the field instead."""
        self.hub_app.say_error(error)


class Dialog(Acts, ModalScreen[T], Generic[T]):
    """A box over the screen, with its own footer line inside."""

    def on_mount(self) -> None:
        self.ready = True

    def do_back(self) -> None:
        self.dismiss(None)

    def paint_foot(self) -> None:
        self.query_one(Foot).keys(keys.footer(self.SECTION, inside=False))
