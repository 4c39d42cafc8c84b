"""The palette (``:``): any action by name, any peer or interface to jump to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from tui import keys, themes
from tui.display import fit
from tui.screens.framed import Dialog, Framed
from tui.widgets.form import Entry, Field
from tui.widgets.lines import Foot, Line

if TYPE_CHECKING:
    from tui.app import NexusApp

SHOWN = 10
MOVES = ("up", "down", "page_up", "page_down", "top", "bottom", "line_up", "line_down")
"""Keys that make no sense by name."""


@dataclass(frozen=True, slots=True)
class Command:
    """One line: what it is called, what stands beside it, what it does."""

    name: str
    note: str
    run: Callable[[], Any]


def rank(command: Command, typed: str) -> int | None:
    """0 is best; None does not match. The beginning of the name beats the beginning of a word beats the middle."""
    name, wanted = command.name.lower(), typed.lower().strip()
    if not wanted or name.startswith(wanted):
        return 0
    if all(word in f"{name} {command.note.lower()}" for word in wanted.split()):
        return 1 if f" {wanted}" in name else 2
    return None


class Palette(Dialog[None]):
    """A line to type in and what it finds."""

    SECTION = "palette"
    BINDINGS: ClassVar = keys.bindings("palette")

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Command] = []
        self._here = 0

    def compose(self) -> ComposeResult:
        with Vertical(id="palette"):
            entry = Entry(Field("command", "command"))
            entry.placeholder = "an action, a peer, an interface, a theme"
            yield entry
            for number in range(SHOWN):
                yield Line(id=f"found-{number}")
            yield Foot()

    def on_mount(self) -> None:
        self._commands = self._actions()
        self._search("")
        self.paint_foot()
        self.set_focus(self.query_one(Entry))

    def _actions(self) -> list[Command]:
        app = self.hub_app
        below = app.screen_stack[-2]
        commands: list[Command] = []
        if isinstance(below, Framed):
            commands += [self._key(below, key) for key in keys.KEYS[below.SECTION] if key.name not in MOVES]
        commands += [self._key(app, key) for key in keys.KEYS["app"] if key.name != "palette"]
        for theme in themes.THEMES:
            commands.append(
                Command(f"theme {theme.name}", "Changes the colours.", partial(setattr, app, "theme", theme.name))
            )
        if app.status is not None:
            commands += [
                Command(one.name, "interface", partial(app.open_interface, one)) for one in app.status.interfaces
            ]
        return commands + [
            Command(row.name, f"peer {row.address}", partial(app.open_peer, str(row.id))) for row in app.known_peers()
        ]

    @staticmethod
    def _key(target: Framed | NexusApp, key: keys.Key) -> Command:
        return Command(key.label, f"{key.shown:<6}{key.help}", partial(target.action_act, key.name))

    def _search(self, typed: str) -> None:
        ranked: list[tuple[int, Command]] = []
        for command in self._commands:
            if (place := rank(command, typed)) is not None:
                ranked.append((place, command))
                if place == 0 and len(ranked) > 500 and not typed:
                    break
        ranked.sort(key=lambda one: one[0])
        self._found = [command for _, command in ranked[:SHOWN]]
        self._here = 0
        self._paint()

    def _paint(self) -> None:
        for number in range(SHOWN):
            line = self.query_one(f"#found-{number}", Line)
            here = number == self._here and bool(self._found)
            line.set_class(here, "-here")
            line.display = number < max(1, len(self._found))
            if number < len(self._found):
                command = self._found[number]
                line.show([(fit(command.name, 20), "bold"), (f" {command.note}", "" if here else "$muted")])
            else:
                line.show([("Nothing is called that.", "$muted")] if number == 0 else [])

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._search(event.value)

    async def entered(self, entry: Entry) -> None:
        self.do_choose()

    def do_choose(self) -> None:
        if not self._found:
            return
        command = self._found[self._here]
        self.dismiss()
        self.hub_app.soon(command.run)

    def do_up(self) -> None:
        self._here = max(0, self._here - 1)
        self._paint()

    def do_down(self) -> None:
        self._here = min(max(0, len(self._found) - 1), self._here + 1)
        self._paint()
