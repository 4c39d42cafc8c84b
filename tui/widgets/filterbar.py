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

    BINDINGS: ClassVar = [("escape", "drop", "clear"), ("enter", "keep", "keep")]

    class Typed(Message):
        """The filter is now this."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    class Left(Message):
        """The bar was closed; the table has the keys again."""

    def __init__(self) -> None:
        super().__init__(id="filter-bar")

    def compose(self) -> ComposeResult:
        yield Static(Content("filter"), classes="label")
        entry = Entry(Field("filter", "filter"))
        entry.disabled = True
        yield entry

    @property
    def entry(self) -> Entry:
        return self.query_one(Entry)

    def open(self) -> None:
        self.add_class("-shown")
        self.entry.disabled = False
        self.entry.focus()

    def set(self, text: str) -> None:
        """Show a filter that came from elsewhere, without opening the bar."""
        with self.prevent(Input.Changed):
            self.entry.value = text
            self.entry.cursor_position = len(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        self.remove_class("-shown")
        self.entry.disabled = True
        self.post_message(self.Left())

    def action_drop(self) -> None:
        self.entry.value = ""
        self.action_keep()
