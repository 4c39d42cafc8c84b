"""The application: what is open, who is signed in, one clock. The login box is painted before anything else is
imported; this module and what it imports reach neither SQLModel nor psycopg."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.console import RenderableType
from textual import events
from textual.filter import LineFilter
from textual.screen import Screen

from nexushub.config import Settings
from nexushub.errors import Configuration, NexusError, SignIn, Unavailable
from nexushub.safe import safe_block
from tui import CONFIGURATION, clipboard, keys, overview, themes
from tui.inorder import InOrder
from tui.link import Link
from tui.painter import Painter
from tui.screens.framed import Framed
from tui.screens.login import Login
from tui.widgets.lines import Part

if TYPE_CHECKING:
    from nexushub.views import InterfaceView, PeerRow, StatusView, Truth
    from nexushub.work import Hub

log = logging.getLogger(__name__)

IDLE_LOCK = 15 * 60.0
AWAY = 5
"""Seconds between refreshes while the terminal window is not in front, and between looks at the hub's state."""
RETRY = 3.0
KEEP_ALIVE = 60.0


class NexusApp(InOrder):
    """NexusHub in a terminal."""

    CSS_PATH = "nexushub.tcss"
    TITLE = "NexusHub"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  (Textual declares it so)
        (0, "-tiny"),
        (40, "-narrow"),
        (80, "-normal"),
        (120, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012  (as above)
        (0, "-flat"),
        (12, "-short"),
        (18, "-low"),
        (24, "-tall"),
    ]
    BINDINGS: ClassVar = [*keys.bindings("app"), ("ctrl+p", "act('palette')", "palette")]

    def __init__(self, settings: Settings, *, embed: bool = True, hub: Hub | None = None) -> None:
        # Without colours Textual only greys a theme, unless it draws with the terminal's own.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.settings = settings
        self.link = Link(settings, embed=embed, hub=hub)
        self.link.address = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
        self.animation_level = "none"
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = themes.choose(os.environ)
        self.parting = ""
        """What is printed on the plain terminal after the end."""
        self.status: StatusView | None = None
        self.unexpected: list[BaseException] = []
        """Errors that no code path foresaw; logged, shown, and a failure of any test."""
        self.now: Callable[[], datetime] = lambda: datetime.now().astimezone()
        self._last: Part = ("", "")
        self._away = False
        self._ticks = 0
        self._kept_alive = self.key_at
        self._plain_filters = themes.filters(self._filters)
        self._painter = Painter()

    # Frame

    @property
    def node(self) -> str:
        return self.settings.node

    @property
    def who(self) -> str:
        actor = self.link.actor
        return f"{actor.name} ({actor.role.replace('_', '-')})" if actor else ""

    @property
    def clock_text(self) -> str:
        return self.now().strftime("%H:%M")

    @property
    def head_note(self) -> str:
        embedded = self.link.embedded
        return "embedded" if embedded is not None and embedded.active else ""

    def status_parts(self) -> list[Part]:
        """What holds on every screen: the agent, what waits, what differs, and what was done last."""
        status = self.status if self.link.actor is not None else None
        trouble = self.link.embedded.trouble if self.link.embedded is not None else ""
        return [*overview.hub_parts(status), (trouble, "$error"), self._last]

    def say(self, text: str, style: str = "") -> None:
        """Put the result of what was done last into the status line, where it stays."""
        self._last = (text, style)
        if isinstance(self.screen, Framed):
            self.screen.paint_status()
        elif len(self.screen_stack) > 1 and isinstance(below := self.screen_stack[-2], Framed):
            below.paint_status()

    def say_error(self, error: NexusError) -> None:
        self.say(str(error), "$error")

    def say_done(self, text: str, truth: Truth) -> None:
        """Say what was done, and whether the kernel agrees."""
        if truth.failed:
            self.say(f"{text}, but the kernel refused: {truth.failed}", "$error")
        elif truth.pending:
            self.say(f"{text}; pending: {truth.pending}", "$warning")
        else:
            self.say(text)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        super()._display(screen, cast("RenderableType", self._painter.reduce(renderable, self.size.width)))

    def on_resize(self, event: events.Resize) -> None:
        self._painter.forget()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [one for one in self._plain_filters if one.enabled]

    def watch_theme(self, theme: str) -> None:
        self._plain_filters = themes.filters(self._filters)

    # Start

    def get_default_screen(self) -> Screen[Any]:
        return Login()

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self, lambda _: self._painter.forget())
        self.run_worker(self._open(), group="open", exit_on_error=True)
        self.set_interval(1.0, self._tick)

    async def _open(self) -> None:
        """Warm the database stack while the name is typed; while the database is away, say so and try again."""
        login = self.screen_stack[0]
        assert isinstance(login, Login)
        first: bool | None = None
        while first is None:
            try:
                first = await self.link.open()
            except Unavailable as error:
                login.waiting(f"{error} Trying again.")
                await asyncio.sleep(RETRY)
            except Configuration as error:
                self.parting = str(error)
                self.exit(return_code=CONFIGURATION)
                return
        login.opened()
        if first:
            from tui.screens.setup import Setup  # noqa: PLC0415  (imports the services)

            await self.push_screen(Setup())

    async def guarded(self, work: Awaitable[None], failed: Callable[[NexusError], None]) -> None:
        """Await work of a screen; expected errors go to the screen, a lost session to the lock, the rest to the log."""
        try:
            await work
        except SignIn as error:
            if self.link.actor is None:
                failed(error)
            else:
                self.lock(str(error))
        except NexusError as error:
            failed(error)
        except Exception as error:
            log.exception("unexpected")
            self.unexpected.append(error)
            self.say(f"Unexpected: {type(error).__name__}: {error}", "$error")

    def soon(self, change: Callable[..., Any], *args: Any) -> None:
        """Change screens from the app's own task. A screen's worker that waits for its own screen to be taken away
        would wait for itself."""
        self.call_later(change, *args)

    async def enter(self, note: str = "") -> None:
        """Signed in: show the hub."""
        from tui.screens.interfaces import Interfaces  # noqa: PLC0415  (imports the services)
        from tui.screens.peers import Peers  # noqa: PLC0415  (as above)

        await self._leave_sections()
        self.key_at = self._kept_alive = time.monotonic()
        self.install_screen(Interfaces(), "interfaces")
        self.install_screen(Peers(), "peers")
        self._last = (note, "")
        await self.guarded(self.refresh_status(), self._silent)
        await self.go(
            "peers" if self.status is not None and any(i.peers_total for i in self.status.interfaces) else "interfaces"
        )

    async def go(self, section: str) -> None:
        """Show a section; what was open over another one is closed."""
        while len(self.screen_stack) > 2:
            await self.pop_screen()
        if len(self.screen_stack) == 1:
            await self.push_screen(section)
        elif self.screen is not self.get_screen(section):
            await self.switch_screen(section)

    async def _leave_sections(self) -> None:
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        for name in ("interfaces", "peers"):
            if self.is_screen_installed(name):
                screen = self.get_screen(name)
                self.uninstall_screen(name)
                await screen.remove()

    # Clock

    async def _tick(self) -> None:
        self._ticks += 1
        if self.link.actor is None:
            return
        idle = time.monotonic() - self.key_at
        screen = self.screen
        if idle > IDLE_LOCK:
            self.lock()
            return
        if self._away and self._ticks % AWAY:
            return
        for shown in reversed(self.screen_stack):
            if isinstance(shown, Framed):
                if shown.composed and shown.is_running:  # not on its way in or out
                    shown.paint_frame()
                    shown.tick(self.now())
                break
        if self._ticks % AWAY == 0 and not isinstance(screen, Login):
            work = self._refresh_quietly
            self.run_worker(work, group="status", exclusive=True)  # type: ignore[arg-type]  # infers Never

    async def _refresh_quietly(self) -> None:
        await self.guarded(self.refresh_status(), self._silent)

    def _silent(self, error: NexusError) -> None:
        self.say_error(error)

    async def refresh_status(self) -> None:
        """Ask what waits, failed or differs. Someone who pressed a key since stays signed in by it."""
        from nexushub.services import health  # noqa: PLC0415  (imports SQLModel)

        active = self.key_at > self._kept_alive and time.monotonic() - self._kept_alive > KEEP_ALIVE
        if active:
            self._kept_alive = time.monotonic()
        self.status = await (self.link.read if active else self.link.watch)(health.status)

    def on_app_blur(self) -> None:
        self._away = True

    def on_app_focus(self) -> None:
        self._away = False

    # Keys of everywhere

    async def action_act(self, name: str) -> None:
        if self.link.actor is None or not isinstance(self.screen, Framed) or not self.screen.INSIDE:
            if name == "back":
                self.exit()
            return
        result = getattr(self, f"do_{name}")()
        if result is not None:
            await result

    async def do_interfaces(self) -> None:
        await self.go("interfaces")

    async def do_peers(self) -> None:
        await self.go("peers")

    def do_help(self) -> None:
        from tui.screens.guide import Guide  # noqa: PLC0415  (not needed before)

        if isinstance(self.screen, Framed) and not isinstance(self.screen, Guide):
            self.push_screen(Guide(self.screen))

    def do_palette(self) -> None:
        from tui.screens.palette import Palette  # noqa: PLC0415  (not needed before)

        self.push_screen(Palette())

    async def do_back(self) -> None:
        if len(self.screen_stack) > 2:
            await self.pop_screen()
        else:
            self.exit()

    def do_quit(self) -> None:
        self.exit()

    def do_redraw(self) -> None:
        self._painter.forget()
        self.screen.refresh(layout=True)

    def action_help_quit(self) -> None:
        self.say("q goes back, and leaves from a list.")

    def do_lock(self) -> None:
        self.lock()

    async def do_sign_out(self) -> None:
        await self.sign_out()

    def lock(self, reason: str = "") -> None:
        """Hide everything until the password is typed; what screens hold of secrets is forgotten, the rest stays."""
        from tui.screens.lock import Lock  # noqa: PLC0415  (not needed before)

        if isinstance(self.screen, Lock) or self.link.actor is None:
            return
        for screen in self.screen_stack:
            if (forget := getattr(screen, "forget", None)) is not None:
                forget()
        self.push_screen(Lock(reason))

    async def sign_out(self, note: str = "Signed out.") -> None:
        """End the session and show the sign-in form."""
        await self.guarded(self.link.sign_out(), self.say_error)
        self.link.token, self.link.actor, self.status = "", None, None
        await self._leave_sections()
        login = self.screen_stack[0]
        assert isinstance(login, Login)
        login.begin_again(note)

    # The terminal

    def copy(self, what: str, text: str) -> None:
        """Copy by OSC 52, and by tmux where there is one. Nobody answers, so it is said what was done."""
        self.copy_to_clipboard(text)
        also = " and to tmux" if clipboard.to_tmux(text) else ""
        self.say(f"{what} sent to your terminal (OSC 52){also}; if paste is empty, p on the Config tab prints it")

    def on_plain_terminal(self, text: str) -> None:
        """Show text on the plain terminal, where its own selection always works, until a key is pressed."""
        with self.suspend():
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                sys.stdout.write(f"\n{safe_block(text)}\nPress enter to go back.")
                sys.stdout.flush()
                sys.stdin.readline()
                # The file does not stay on the screen, nor in what the terminal can scroll back to.
                sys.stdout.write("\x1b[2J\x1b[3J\x1b[H")
                sys.stdout.flush()
            finally:
                signal.signal(signal.SIGINT, before)

    def known_peers(self) -> list[PeerRow]:
        """The peers that the table has read, for the palette to jump to."""
        from tui.screens.peers import Peers  # noqa: PLC0415  (imports the services)

        screen = self.get_screen("peers") if self.is_screen_installed("peers") else None
        return list(screen.table.rows.values()) if isinstance(screen, Peers) and screen.is_mounted else []

    async def go_peers_of(self, interface: str) -> None:
        """The peers of one interface: the table with a filter."""
        from tui.screens.peers import Peers  # noqa: PLC0415  (imports the services)

        await self.go("peers")
        if isinstance(self.screen, Peers):
            self.screen.set_filter(f"iface:{interface}")

    def open_interface(self, view: InterfaceView) -> None:
        from tui.screens.interface import InterfaceScreen  # noqa: PLC0415  (imports the services)

        self.push_screen(InterfaceScreen(view))

    def open_peer(self, ref: str) -> None:
        """Show one peer over the section that is open."""
        from tui.screens.peer import PeerScreen  # noqa: PLC0415  (imports the services)

        self.push_screen(PeerScreen(ref))
