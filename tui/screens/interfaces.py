"""The interfaces of this hub (key 2)."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from nexushub.services import interfaces
from nexushub.views import InterfaceView
from tui import display, keys, themes
from tui.filtering import Fields
from tui.screens.ask import Ask, Choose
from tui.screens.listing import Listing
from tui.widgets.table import Column, Shape

DELETE_LINES = (
    "Deleted with it: {peers}, keys and all. Clients are cut off.",
    "This can't be undone, except from a backup.",
)


def state(view: InterfaceView) -> str:
    """One word: what the kernel refused comes before what waits, before what was asked for."""
    if view.failed:
        return "failed"
    if view.pending:
        return "pending"
    return "up" if view.enabled else "down"


def delete_question(view: InterfaceView) -> Ask:
    peers = display.count(view.peers_total, "peer")
    lines = [line.format(peers=peers) for line in DELETE_LINES] if view.peers_total else list(DELETE_LINES[1:])
    return Ask(f"Delete interface {view.name}?", lines, "Delete", type_this=view.name)


def down_question(view: InterfaceView) -> Ask:
    return Ask(
        f"Take interface {view.name} down?",
        [f"That disconnects {display.count(view.peers_up, 'peer')} now. Rows and keys stay; t brings it up again."],
        "Take down",
    )


COPY = [("k", "public key"), ("e", "endpoint")]


def copy_text(view: InterfaceView, letter: str) -> tuple[str, str]:
    return ("endpoint", view.endpoint) if letter == "e" else ("public key", view.public_key)


class Interfaces(Listing[InterfaceView]):
    """All interfaces in a table."""

    SECTION = "interfaces"
    PLACE = "Interfaces"
    NOUN = "interface"
    EMPTY = "No interface yet. Press a to add one."
    BINDINGS: ClassVar = keys.bindings("interfaces")

    def shape(self) -> Shape[InterfaceView]:
        dash = themes.glyphs().dash

        def column(
            name: str, title: str, width: int, letter: str = "", since: int = 0, **more: bool
        ) -> Column[InterfaceView]:
            texts = {
                "state": lambda i, now: state(i),
                "name": lambda i, now: i.name,
                "port": lambda i, now: str(i.listen_port),
                "address": lambda i, now: ", ".join(i.addresses) or dash,
                "peers": lambda i, now: f"{i.peers_up}/{i.peers_total}",
                "in": lambda i, now: display.size(i.rx_bytes, dash),
                "out": lambda i, now: display.size(i.tx_bytes, dash),
                "policy": lambda i, now: i.policy,
                "endpoint": lambda i, now: i.endpoint or dash,
                "mtu": lambda i, now: str(i.mtu),
                "dns": lambda i, now: ", ".join(i.dns) or dash,
            }
            orders = {
                "port": lambda i: i.listen_port, "peers": lambda i: -i.peers_up, "in": lambda i: -i.rx_bytes,
                "out": lambda i: -i.tx_bytes, "state": state,
            }  # fmt: skip
            return Column(
                name, title, width, texts[name], orders.get(name, lambda i: i.name), letter, since=since, **more
            )

        return Shape(
            [
                column("state", "Status", 9, "s"),
                column("name", "Name", 16, "n"),
                column("port", "Port", 7, "p", right=True),
                column("address", "Address", 22, "a", grows=True),
                column("peers", "Up/all", 10, "u", right=True),
                column("policy", "Policy", 7, since=74),
                column("in", "In", 9, "i", 83, right=True),
                column("out", "Out", 9, "o", 92, right=True),
                column("endpoint", "Endpoint", 26, since=120),
                column("mtu", "MTU", 6, since=128, right=True),
                column("dns", "DNS", 20, since=150),
            ],
            key=lambda i: i.id,
            hay=lambda i: " ".join(
                [i.name, state(i), *i.addresses, i.endpoint, i.public_key, str(i.listen_port)]
            ).lower(),
            glyph=state,
            fields=Fields({"status": state, "name": lambda i: i.name, "ip": lambda i: " ".join(i.addresses)}, {}),
        )

    def load(self) -> None:
        self.background(self._load, "load")

    async def _load(self) -> None:
        self.table.replace(await self.hub_app.link.watch(interfaces.listing))

    def tick(self, now: datetime) -> None:
        if self.frozen:
            return
        self.table.tick()
        self.background(self._load, "load")

    def do_open(self) -> None:
        from tui.screens.interface import InterfaceScreen  # noqa: PLC0415  (it imports this module)

        if (view := self.table.current) is not None:
            self.app.push_screen(InterfaceScreen(view))

    def do_add(self) -> None:
        from tui.screens.forms import InterfaceForm  # noqa: PLC0415  (as above)

        self.app.push_screen(InterfaceForm())

    def do_edit(self) -> None:
        from tui.screens.forms import InterfaceForm  # noqa: PLC0415  (as above)

        if (view := self.table.current) is not None:
            self.app.push_screen(InterfaceForm(view))

    def do_toggle(self) -> None:
        view = self.table.current
        if view is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.background(lambda: self._toggle(view), "write")

        if view.enabled and view.peers_up:
            self.app.push_screen(down_question(view), answered)
        else:
            answered(True)

    async def _toggle(self, view: InterfaceView) -> None:
        changed, truth = await self.hub_app.link.write(interfaces.set_enabled, view.id, not view.enabled)
        self.hub_app.say_done(f"interface {changed.name} {'up' if changed.enabled else 'down'}", truth)
        await self._load()

    def do_delete(self) -> None:
        view = self.table.current
        if view is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.background(lambda: self._delete(view), "write")

        self.app.push_screen(delete_question(view), answered)

    async def _delete(self, view: InterfaceView) -> None:
        deleted, truth = await self.hub_app.link.write(interfaces.delete, view.id)
        self.hub_app.say_done(
            f"interface {deleted.name} deleted with {display.count(deleted.peers_total, 'peer')}", truth
        )
        await self._load()

    def do_copy(self) -> None:
        view = self.table.current
        if view is None:
            return

        def chosen(letter: str | None) -> None:
            if letter:
                self.hub_app.copy(*copy_text(view, letter))

        self.app.push_screen(Choose("copy", COPY), chosen)
