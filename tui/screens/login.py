"""Signing in. Painted before anything slow is imported; what is typed early waits for the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from nexushub.errors import NexusError, SignIn
from tui import display, keys
from tui.screens.framed import Framed
from tui.widgets.form import Entry, Field, Form
from tui.widgets.lines import Line, Part, assemble

TRIES = 5
"""Failures after which the screen closes; over SSH the session ends with it."""


class Box(Vertical):
    """The sign-in box."""

    def __init__(self, address: str) -> None:
        super().__init__(id="login-box")
        self._address = address

    def compose(self) -> ComposeResult:
        yield Static(assemble([("Sign in", "bold $primary")]), classes="box-title")
        yield Form(
            [
                Field("name", "Name", required=True),
                Field("password", "Password", secret=True, required=True),
            ]
        )
        yield Line(id="login-note")
        if self._address:
            yield Static(assemble([(f"from {self._address}", "$muted")]), classes="box-note")


class Login(Framed):
    """The first screen."""

    SECTION = "login"
    PLACE = "Sign in"
    INSIDE = False
    BINDINGS: ClassVar = keys.bindings("login")

    def __init__(self) -> None:
        super().__init__()
        self._ready = False
        self._queued = False
        self._failures = 0

    def body(self) -> Iterable[Widget]:
        yield Vertical(Box(self.hub_app.link.address), id="center")

    def on_mount(self) -> None:
        self.paint_frame()
        self.query_one(Form).focus_first()

    def status_parts(self) -> list[Part]:
        return []

    def note(self, text: str, style: str = "$muted") -> None:
        if self.is_mounted:
            self.query_one("#login-note", Line).show([(text, style)])

    def waiting(self, text: str) -> None:
        """The database is away."""
        self.note(text, "$warning")

    def opened(self) -> None:
        self._ready = True
        self.note("")
        if self._queued:
            self._queued = False
            self.do_save()

    def begin_again(self, note: str) -> None:
        self._clear("name", "password")
        self.note(note)
        self.query_one(Form).focus_first()

    def do_save(self) -> None:
        form = self.query_one(Form)
        if form.missing():
            if not form.focus_after():
                form.focus_first()
            return
        if not self._ready:
            self._queued = True
            self.note("One moment: the database is being opened.")
            return
        self.background(lambda: self._sign_in(form.values), "sign-in")

    async def _sign_in(self, values: dict[str, str]) -> None:
        self.note("Signing in.")
        signed = await self.hub_app.link.sign_in(values["name"], values["password"])
        self._failures = 0
        self._clear("password")
        self.note("")
        note = f"Signed in as {signed.user.name}."
        if signed.previous_login_at:
            where = f" from {signed.previous_login_from}" if signed.previous_login_from else ""
            note += f" Last time: {display.when(signed.previous_login_at)}{where}."
        self.hub_app.soon(self.hub_app.enter, note)

    def failed(self, error: NexusError) -> None:
        text = str(error)
        if isinstance(error, SignIn):
            self._failures += 1
            self._clear("password")
            if error.locked_until:
                text += f" Try again after {display.when(error.locked_until)}."
            if self._failures >= TRIES:
                self.hub_app.parting = "Too many failed sign-ins."
                self.hub_app.exit(return_code=4)
                return
        self.note(text, "$error")
        self.set_focus(self.query_one(Form).widget("password"))

    def _clear(self, *names: str) -> None:
        for name in names:
            entry = self.query_one(Form).widget(name)
            assert isinstance(entry, Entry)
            entry.value = ""

    def do_next(self) -> None:
        self.focus_next()

    def do_previous(self) -> None:
        self.focus_previous()

    def do_back(self) -> None:
        self.hub_app.exit()
