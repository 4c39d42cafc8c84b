"""The line in which a filter is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tui.widgets.form import Entry, Field


class FilterBar(Horizontal):
    """Hidden until ``/``. Filters while it is typed; enter keeps the filter, escape clears it."""

    BINDINGS: ClassVar = [("escape", "drop", "clear")]

    class Typed(Message):
        """The filter is now this."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    def __init__(self) -> None:
        super().__init__(id="filter-bar")
        self.display = False

    def compose(self) -> ComposeResult:
        yield Static(Content("filter"), classes="label")
        entry = Entry(Field("filter", "filter"))
        entry.disabled = True
        yield entry

    @property
    def entry(self) -> Entry:
        return self.query_one(Entry)

    def open(self) -> None:
        # Set here and not by a class of the stylesheet, which takes effect later: the next key is for the field.
        self.display = True
        self.entry.disabled = False
        self.screen.set_focus(self.entry)

    def set(self, text: str) -> None:
        """Show a filter that came from elsewhere, without opening the bar."""
        with self.prevent(Input.Changed):
            self.entry.value = text
            self.entry.cursor_position = len(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    async def entered(self, entry: Entry) -> None:
        self.action_keep()

    def action_keep(self) -> None:
        self.display = False
        self.entry.disabled = True
        self.screen.set_focus(next(iter(self.screen.query("Table")), None))

    def action_drop(self) -> None:
        self.entry.value = ""
        self.action_keep()
