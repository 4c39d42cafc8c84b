"""A screen that is a table: moving, filter, sort, marks and refresh, the same for every noun."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

from textual.widget import Widget

from tui.screens.ask import Choose
from tui.screens.framed import Framed
from tui.widgets.filterbar import FilterBar
from tui.widgets.lines import Part
from tui.widgets.table import Shape, Table

R = TypeVar("R")


class Listing(Framed, Generic[R]):
    """Rows of one noun. Subclasses say their shape, how rows are loaded, and what the keys do to them."""

    ORDER: ClassVar[str] = "name"
    EMPTY: ClassVar[str] = ""
    NOUN: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False
        self._then: Any = None

    def shape(self) -> Shape[R]:
        raise NotImplementedError

    def load(self) -> None:
        """Begin to read the rows again."""
        raise NotImplementedError

    def body(self) -> Iterable[Widget]:
        yield Table(self.shape(), order=self.ORDER, empty=self.EMPTY, id="table")
        yield FilterBar()

    @property
    def table(self) -> Table[R]:
        return self.query_one("#table", Table)

    def on_mount(self) -> None:
        self.set_focus(self.table)

    def on_screen_resume(self) -> None:
        self.paint_frame()
        self.load()

    def status_parts(self) -> list[Part]:
        table = self.table
        parts: list[Part] = []
        if table.marks:
            parts.append((f"{len(table.marks):,} marked", "bold $accent"))
        if table.filter_text:
            parts.append((f"filter {table.filter_text} {len(table.view):,}/{len(table.rows):,}", "bold"))
        elif not table.waiting:
            parts.append((f"{len(table.rows):,} {self.NOUN if len(table.rows) == 1 else self.NOUN + 's'}", "$muted"))
        if self.frozen:
            parts.append(("frozen, f goes on", "bold"))
        return parts

    def why_not(self, name: str) -> str | None:
        if name in ("open", "edit", "toggle", "delete", "copy") and self.table.current is None:
            return f"There is no {self.NOUN} here to do that with."
        if name in ("filter", "sort", "mark", "mark_all", "mark_range") and not self.table.rows:
            return f"There is no {self.NOUN} yet."
        if name == "unmark" and not self.table.marks:
            return "Nothing is marked."
        return None

    def on_table_changed(self) -> None:
        self.paint_status()

    # Filter

    def do_filter(self) -> None:
        self.query_one(FilterBar).open()

    def on_filter_bar_typed(self, event: FilterBar.Typed) -> None:
        self.table.set_filter(event.text)

    def set_filter(self, text: str) -> None:
        self.query_one(FilterBar).set(text)
        self.table.set_filter(text)

    async def do_back(self) -> None:
        """Escape first clears the filter."""
        if self.table.filter_text:
            self.set_filter("")
        else:
            await self.hub_app.do_back()

    # Sort

    def do_sort(self) -> None:
        columns = {column.letter: column for column in self.table.shape.columns if column.letter}

        def sort(letter: str | None) -> None:
            if letter:
                self.table.sort_by(columns[letter].name)

        self.app.push_screen(Choose("sort by", [(letter, one.title.lower()) for letter, one in columns.items()]), sort)

    def do_freeze(self) -> None:
        self.frozen = not self.frozen
        if not self.frozen:
            self.load()
        self.paint_status()

    # Moving

    def do_up(self) -> None:
        self.table.move(-1)

    def do_down(self) -> None:
        self.table.move(1)

    def do_page_up(self) -> None:
        self.table.move(1 - self.table.page)

    def do_page_down(self) -> None:
        self.table.move(self.table.page - 1)

    def do_top(self) -> None:
        self.table.go(0)

    def do_bottom(self) -> None:
        self.table.go(len(self.table.view) - 1)
