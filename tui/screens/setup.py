"""The first run: an administrator, then an interface. After that somebody is signed in and a peer can be added."""

from __future__ import annotations

from collections.abc import Sequence

from nexushub.errors import Conflict, Invalid
from nexushub.services import interfaces, users
from tui.screens.forms import INTERFACE, FormScreen, interface_fields, read
from tui.widgets.form import Field

FIRST = "Welcome. This hub has no account yet: make the administrator's. (1 of 2)"
SECOND = "Now the first interface. What is proposed is free on this hub. (2 of 2; esc leaves it for later)"


class Setup(FormScreen):
    """Two pages of one screen. The account is made when the first is done, so leaving at the second loses nothing."""

    PLACE = "First run"

    def __init__(self) -> None:
        super().__init__()
        self._second = False

    def lead(self) -> str:
        return FIRST

    def fields(self) -> Sequence[Field]:
        return [
            Field("name", "Name", "admin", required=True),
            Field("email", "E-mail", required=True),
            Field(
                "password",
                "Password",
                hint="15 characters at least; a few unrelated words make a good one.",
                secret=True,
                required=True,
            ),
            Field("again", "Password again", secret=True, required=True),
        ]

    def do_back(self) -> None:
        if self._second:
            self.hub_app.soon(self.hub_app.enter, "No interface yet: a adds one.")
        else:
            self.hub_app.exit()

    async def save(self) -> None:
        await (self._interface() if self._second else self._admin())

    async def _admin(self) -> None:
        values = self.form.values
        if values["password"] != values["again"]:
            raise Invalid("again", None, "the two passwords differ")
        link = self.hub_app.link
        try:
            await link.write_first(
                users.create_first, name=values["name"], email=values["email"], password=values["password"]
            )
        except Conflict as error:
            if not await self._somebody_else_was_first():
                raise
            self.hub_app.soon(self.hub_app.sign_out, str(error))
            return
        await link.sign_in(values["name"], values["password"])
        self._second = True
        proposed = await link.read(interfaces.suggest)
        shown = ("name", "addresses", "listen_port", "endpoint", "dns")
        await self.form.start_from([field for field in interface_fields(None, proposed) if field.name in shown])
        self.query_one(".lead").update(SECOND)  # type: ignore[attr-defined]  # a Static; query_one of a class is typed Widget
        self.form.focus_first()
        self.paint_frame()
        self.say(f"account '{values['name']}' made")

    async def _somebody_else_was_first(self) -> bool:
        return not await self.hub_app.link.nobody_yet()

    async def _interface(self) -> None:
        view, truth = await self.hub_app.link.write(interfaces.create, **read(self.form.values, INTERFACE))
        note = f"interface {view.name} added" + (
            f"; pending: {truth.pending}"
            if truth.pending
            else f", but the kernel refused: {truth.failed}"
            if truth.failed
            else ""
        )
        self.hub_app.soon(self.hub_app.enter, f"{note}. Now enter opens it and a adds its first peer.")
