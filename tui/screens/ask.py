"""Questions: a confirmation whose default is to change nothing, and a menu of one letter each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from nexushub.safe import safe
from tui import keys
from tui.screens.framed import Dialog
from tui.widgets.form import Entry, Field
from tui.widgets.lines import Foot, Line, Part, assemble, paragraphs


class Push(Widget, can_focus=True):
    """A button of one line."""

    def __init__(self, label: str, *, id: str) -> None:
        super().__init__(id=id)
        self.label = label

    def render(self) -> Content:
        return Content(self.label)

    def get_content_width(self, container: object, viewport: object) -> int:
        return len(self.label)


class Ask(Dialog[bool]):
    """Says what will happen and asks. Cancel has the focus; where it can't be undone for many, a word is typed."""

    SECTION = "ask"
    BINDINGS: ClassVar = keys.bindings("ask")

    def __init__(self, title: str, lines: Iterable[str], action: str, *, type_this: str = "") -> None:
        super().__init__()
        self.question = title
        self._lines = list(lines)
        self._action = action
        self._type_this = type_this

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static(assemble([(self.question, "bold")]))
            if self._lines:
                yield Static(paragraphs([[(line, "")] for line in self._lines]))
            if self._type_this:
                yield Static(assemble([("Type ", "$muted"), (self._type_this, "bold"), (" to go on:", "$muted")]))
                yield Entry(Field("typed", "typed"))
            with Horizontal(id="ask-buttons"):
                yield Push("Cancel", id="cancel")
                yield Push(self._action, id="act")
            yield Foot()

    def on_mount(self) -> None:
        self.paint_foot()
        self.set_focus(self.query_one(Entry) if self._type_this else self.query_one("#cancel"))

    @property
    def _confirmed(self) -> bool:
        return not self._type_this or self.query_one(Entry).value == safe(self._type_this)

    async def entered(self, entry: Entry) -> None:
        self.set_focus(self.query_one("#act" if self._confirmed else "#cancel"))

    def do_choose(self) -> None:
        if getattr(self.focused, "id", "") == "act":
            if self._confirmed:
                self.dismiss(True)
            else:
                self.set_focus(self.query_one(Entry))
        else:
            self.dismiss(False)

    def do_next(self) -> None:
        self.focus_next()

    def do_previous(self) -> None:
        self.focus_previous()

    def on_click(self, event: events.Click) -> None:
        if isinstance(event.widget, Push):
            self.set_focus(event.widget)
            self.do_choose()


class Choose(Dialog[str]):
    """A menu in the last lines: one letter chooses, escape closes."""

    SECTION = "choose"
    BINDINGS: ClassVar = keys.bindings("choose")

    def __init__(self, title: str, options: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.question = title
        self.options = options

    def compose(self) -> ComposeResult:
        with Vertical(id="choose"):
            for number in range(self._rows):
                yield Line(id=f"choose-{number}")

    @property
    def _rows(self) -> int:
        return len(self._lines(self.app.size.width))

    def _lines(self, width: int) -> list[list[Part]]:
        lines: list[list[Part]] = [[(f" {self.question}  ", "bold")]]
        used = len(self.question) + 3
        for letter, label in (*self.options, ("esc", "cancel")):
            need = len(letter) + len(label) + 3
            if used + need > width:
                lines.append([(" ", "")])
                used = 1
            lines[-1] += [(letter, "bold $primary"), (f" {label}  ", "")]
            used += need
        return lines

    def on_mount(self) -> None:
        for number, line in enumerate(self._lines(self.app.size.width)):
            self.query_one(f"#choose-{number}", Line).show(line)

    def on_key(self, event: events.Key) -> None:
        if event.character and event.character in {letter for letter, _ in self.options}:
            event.stop()
            self.dismiss(event.character)
