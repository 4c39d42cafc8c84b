"""The locked screen: nothing of what was open shows until the password is typed again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from nexushub.errors import NexusError, SignIn
from tui import keys
from tui.screens.framed import Framed
from tui.screens.login import TRIES
from tui.widgets.form import Entry, Field, Form
from tui.widgets.lines import Line, Part, assemble


class Lock(Framed):
    """What was open stays open beneath."""

    SECTION = "lock"
    PLACE = "Locked"
    INSIDE = False
    BINDINGS: ClassVar = keys.bindings("lock")

    def __init__(self, reason: str = "") -> None:
        super().__init__()
        self._reason = reason
        self._failures = 0

    def body(self) -> Iterable[Widget]:
        actor = self.hub_app.link.actor
        yield Vertical(
            Vertical(
                Static(
                    assemble([("Locked for ", "$muted"), (actor.name if actor else "", "bold")]), classes="box-title"
                ),
                Form([Field("password", "Password", secret=True, required=True)]),
                Line(id="login-note"),
                id="login-box",
            ),
            id="center",
        )

    def on_mount(self) -> None:
        self.paint_frame()
        self.note(self._reason)
        self.query_one(Form).focus_first()

    def status_parts(self) -> list[Part]:
        return []

    def note(self, text: str, style: str = "$muted") -> None:
        self.query_one("#login-note", Line).show([(text, style)])

    def do_save(self) -> None:
        form = self.query_one(Form)
        if not form.missing():
            self.background(lambda: self._unlock(form.values["password"]), "unlock")

    async def _unlock(self, password: str) -> None:
        try:
            await self.hub_app.link.unlock(password)
        except SignIn as error:
            self.failed(error)
            return
        self.hub_app.say("Unlocked.")
        self.dismiss()

    def failed(self, error: NexusError) -> None:
        entry = self.query_one(Form).widget("password")
        assert isinstance(entry, Entry)
        entry.value = ""
        self.note(str(error), "$error")
        if isinstance(error, SignIn):
            self._failures += 1
            if self._failures >= TRIES:
                self.hub_app.parting = "Too many failed sign-ins."
                self.hub_app.exit(return_code=4)

    def do_back(self) -> None:
        self.hub_app.soon(self.hub_app.sign_out)
