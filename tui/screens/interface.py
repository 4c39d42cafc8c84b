"""One interface: its state, and where the kernel differs from the database."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any, ClassVar

from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from nexushub.errors import NotFound
from nexushub.services import drift, interfaces
from nexushub.views import DriftView, InterfaceView
from tui import keys, overview
from tui.screens.ask import Ask, Choose
from tui.screens.framed import Framed
from tui.screens.interfaces import COPY, copy_text, delete_question, down_question
from tui.widgets.lines import paragraphs

DECISIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "adopt": (drift.adopt, "taken into the database"),
    "revert": (drift.revert, "put back"),
    "ignore": (drift.ignore, "left as it is"),
}


class InterfaceScreen(Framed):
    """The overview and the drift of one interface."""

    SECTION = "interface"
    PLACE = "Interface"
    BINDINGS: ClassVar = keys.bindings("interface")

    def __init__(self, view: InterfaceView) -> None:
        super().__init__()
        self.view = view
        self.items: list[DriftView] = []
        self.chosen = 0
        self._shown: object = None

    @property
    def subject(self) -> str:
        return self.view.name

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(Static(id="drift"), Static(id="text"), id="detail", can_focus=False)

    def on_mount(self) -> None:
        self.paint()

    def on_screen_resume(self) -> None:
        self.load()

    def load(self) -> None:
        self.background(self._load, "load")

    def tick(self, now: datetime) -> None:
        self.load()

    async def _load(self) -> None:
        link = self.hub_app.link
        try:
            self.view = await link.watch(interfaces.get, self.view.id)
        except NotFound:
            self.say("The interface was deleted by somebody else.")
            self.dismiss()
            return
        chosen = self.items[self.chosen].id if self.items else None
        self.items = [one for one in await link.watch(drift.listing) if one.interface == self.view.name]
        ids = [one.id for one in self.items]
        self.chosen = ids.index(chosen) if chosen in ids else min(self.chosen, max(0, len(ids) - 1))
        self.paint_frame()
        self.paint()

    def paint(self) -> None:
        if not self.is_mounted:
            return
        lines = overview.interface_lines(self.view)
        items = overview.drift_lines(self.items, self.chosen, self.hub_app.now().timestamp()) if self.items else []
        if self._shown != (lines, items):
            self._shown = (lines, items)
            self.query_one("#text", Static).update(paragraphs(lines))
            self.query_one("#drift", Static).update(paragraphs([*items, []] if items else []))
            self.query_one("#drift").display = bool(items)

    def foot_keys(self) -> list[keys.Key]:
        found = super().foot_keys()
        return found if self.items else [key for key in found if key.name not in DECISIONS]

    def why_not(self, name: str) -> str | None:
        if name in DECISIONS and not self.items:
            return "There is no drift: the kernel has what the database says."
        if name in DECISIONS and self.items[self.chosen].status == "repaired":
            return "The agent repaired this one by itself; it is shown for a day."
        return None

    # Moving

    def _move(self, by: int) -> None:
        if self.items:
            self.chosen = max(0, min(self.chosen + by, len(self.items) - 1))
            self.paint()
        else:
            self.query_one("#detail").scroll_relative(y=by, animate=False)

    def do_up(self) -> None:
        self._move(-1)

    def do_down(self) -> None:
        self._move(1)

    def do_page_up(self) -> None:
        self.query_one("#detail").scroll_page_up(animate=False)

    def do_page_down(self) -> None:
        self.query_one("#detail").scroll_page_down(animate=False)

    def do_top(self) -> None:
        self.query_one("#detail").scroll_home(animate=False)

    def do_bottom(self) -> None:
        self.query_one("#detail").scroll_end(animate=False)

    # Keys

    def do_open(self) -> None:
        self.hub_app.soon(self.hub_app.go_peers_of, self.view.name)

    def do_add(self) -> None:
        from tui.screens.forms import PeerForm  # noqa: PLC0415  (it imports the peer screen)

        self.app.push_screen(PeerForm(interface=self.view.name))

    def do_edit(self) -> None:
        from tui.screens.forms import InterfaceForm  # noqa: PLC0415  (as above)

        self.app.push_screen(InterfaceForm(self.view))

    def do_toggle(self) -> None:
        if self.view.enabled and self.view.peers_up:
            self._ask(down_question(self.view), self._toggle)
        else:
            self.background(self._toggle, "write")

    async def _toggle(self) -> None:
        view, truth = await self.hub_app.link.write(interfaces.set_enabled, self.view.id, not self.view.enabled)
        self.hub_app.say_done(f"interface {view.name} {'up' if view.enabled else 'down'}", truth)
        await self._load()

    def do_rotate_key(self) -> None:
        lines = [
            f"Every client of {self.view.name} needs a new file: {self.view.peers_total:,} of them stop working now."
        ]
        self._ask(Ask(f"Make a new key for {self.view.name}?", lines, "New key"), self._rotate_key)

    async def _rotate_key(self) -> None:
        view, truth = await self.hub_app.link.write(interfaces.rotate_key, self.view.id)
        self.hub_app.say_done(
            f"new key for interface {view.name}; its {view.peers_total:,} clients need new files", truth
        )
        await self._load()

    def do_delete(self) -> None:
        self._ask(delete_question(self.view), self._delete)

    async def _delete(self) -> None:
        view, truth = await self.hub_app.link.write(interfaces.delete, self.view.id)
        self.hub_app.say_done(f"interface {view.name} deleted", truth)
        self.dismiss()

    def do_adopt(self) -> None:
        self._decide("adopt")

    def do_revert(self) -> None:
        self._decide("revert")

    def do_ignore(self) -> None:
        self._decide("ignore")

    def _decide(self, decision: str) -> None:
        self.background(lambda: self._decided(decision, self.items[self.chosen]), "write")

    async def _decided(self, decision: str, item: DriftView) -> None:
        function, words = DECISIONS[decision]
        _, truth = await self.hub_app.link.write(function, item.id)
        self.hub_app.say_done(f"drift of {item.peer or item.interface} {item.field}: {words}", truth)
        await self._load()

    def do_copy(self) -> None:
        def chosen(letter: str | None) -> None:
            if letter:
                self.hub_app.copy(*copy_text(self.view, letter))

        self.app.push_screen(Choose("copy", COPY), chosen)

    def _ask(self, question: Ask, then: Callable[[], Coroutine[Any, Any, None]]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.background(then, "write")

        self.app.push_screen(question, answered)
