"""A table of ten thousand rows that costs what its window costs.

Textual's own DataTable lays out every row (1.8 s to the first paint at 10 000) and redraws the window for each
line it scrolls (6.7 kB a key). Here only what is visible is ever formatted, a row is redrawn when its text
differs from what the terminal shows, and the window moves by half a page, so that most keys redraw two rows.

The cursor, the marks and everything that acts on them hold a row's key, never its index: rows that come, go or
change places don't slide under the finger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui import themes
from tui.display import fit
from tui.filtering import Fields, compile_filter

R = TypeVar("R")

SETTLE = 2.0
"""Seconds after a key press in which rows keep their places."""
GUTTER = 3
"""The mark, the glyph and a space."""


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column: how its text is made from a row at a time, and how rows are ordered by it."""

    name: str
    title: str
    width: int
    text: Callable[[R, float], str]
    order: Callable[[R], Any]
    letter: str = ""
    """The letter that sorts by it; empty: it does not sort."""
    right: bool = False
    since: int = 0
    """The terminal's width from which it is shown."""
    grows: bool = False


@dataclass(frozen=True)
class Shape(Generic[R]):
    """All that a table knows of its rows."""

    columns: Sequence[Column[R]]
    key: Callable[[R], Hashable]
    hay: Callable[[R], str]
    """The text that a filter's plain words are looked for in."""
    glyph: Callable[[R], str]
    """A key of ``Glyphs.state``."""
    fields: Fields[R]


class Table(Widget, Generic[R], can_focus=True):
    """A window on many rows; see the module's docstring."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--row", "table--muted", "table--header", "table--cursor", "table--marked", "table--up",
        "table--warning", "table--bad",
    }  # fmt: skip
    _TONES: ClassVar[dict[str, str]] = {
        "up": "table--up", "expired": "table--bad", "failed": "table--bad", "pending": "table--warning",
        "off": "table--muted", "down": "table--muted",
    }  # fmt: skip

    class Changed(Message):
        """How many rows are shown or marked changed, or the order."""

    def __init__(self, shape: Shape[R], *, order: str, empty: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shape = shape
        self.empty = empty
        self.rows: dict[Hashable, R] = {}
        self.view: list[Hashable] = []
        self.marks: dict[Hashable, None] = {}
        self.filter_text = ""
        self.order = order
        self.reverse = False
        self.waiting = True
        """No rows have come yet: an empty table says nothing, rather than that there are none."""
        self.clock: Callable[[], float] = time.time
        self._hay: dict[Hashable, str] = {}
        self._cursor: Hashable | None = None
        self._index = 0
        self._top = 0
        self._drawn: list[tuple[str, str]] = []
        self._touched = 0.0
        self._stale = False
        self._layout: tuple[int, list[tuple[Column[R], int]]] = (0, [])

    # Rows

    def replace(self, rows: Iterable[R]) -> None:
        """Take a whole new set of rows. Cursor and marks stay on the rows that are still there."""
        self.rows = {self.shape.key(row): row for row in rows}
        self._hay = {key: self.shape.hay(row) for key, row in self.rows.items()}
        self.marks = {key: None for key in self.marks if key in self.rows}
        self.waiting = False
        self._arrange()

    def update_rows(self, rows: Iterable[R]) -> None:
        """Take rows that changed. Within two seconds of a key press nothing changes places."""
        for row in rows:
            key = self.shape.key(row)
            new = key not in self.rows
            self.rows[key] = row
            self._hay[key] = self.shape.hay(row)
            self._stale = True
            if new:
                self._touched = 0.0
        self.tick()

    def remove_rows(self, keys: Iterable[Hashable]) -> None:
        """Forget rows; the cursor moves to the next one."""
        for key in keys:
            self.rows.pop(key, None)
            self._hay.pop(key, None)
            self.marks.pop(key, None)
        self._arrange()

    def tick(self) -> None:
        """Redraw the visible rows whose text is no longer what the terminal shows, for their ages and rates."""
        if self._stale and time.monotonic() - self._touched > SETTLE:
            self._arrange(quiet=True)
        for y in range(self.page):
            if y < len(self._drawn) and self._line(y) != self._drawn[y]:
                self._redraw(y)

    def set_filter(self, text: str) -> None:
        self.filter_text = text
        self._top = 0
        self._arrange()

    def sort_by(self, name: str) -> None:
        """Sort by a column; by the same again turns the order round."""
        self.reverse = not self.reverse if name == self.order else False
        self.order = name
        self._arrange()

    def _arrange(self, *, quiet: bool = False) -> None:
        """Filter, sort, find the cursor's row again, and redraw what differs."""
        self._stale = False
        accept = compile_filter(self.filter_text, self.shape.fields, self.clock())
        rows, hay = self.rows, self._hay
        keys = list(rows) if accept is None else [key for key, row in rows.items() if accept(row, hay[key])]
        by = next(column for column in self.shape.columns if column.name == self.order).order
        keys.sort(key=lambda key: by(rows[key]), reverse=self.reverse)
        changed = len(keys) != len(self.view)
        self.view = keys
        try:
            self._index = keys.index(self._cursor) if self._cursor in rows else min(self._index, len(keys) - 1)
        except ValueError:
            self._index = 0
        self._index = max(0, self._index)
        self._cursor = keys[self._index] if keys else None
        self._show_cursor()
        if quiet and not changed:
            return
        self.refresh()
        self.post_message(self.Changed())

    # Cursor and marks

    @property
    def current(self) -> R | None:
        """The row under the cursor."""
        return self.rows[self._cursor] if self._cursor in self.rows else None

    @property
    def chosen(self) -> list[R]:
        """The rows that an action is for: those marked, else the one under the cursor."""
        if self.marks:
            return [self.rows[key] for key in self.marks]
        return [self.current] if self.current is not None else []

    @property
    def page(self) -> int:
        return max(0, self.size.height - 1)

    def move(self, by: int) -> None:
        self.go(self._index + by)

    def go(self, index: int) -> None:
        """Put the cursor on a row. Two rows are redrawn, or the window when it has to move."""
        self._touched = time.monotonic()
        if not self.view:
            return
        before = self._index
        self._index = max(0, min(index, len(self.view) - 1))
        self._cursor = self.view[self._index]
        if self._index == before:
            return
        if self._show_cursor():
            self.refresh()
        else:
            self._redraw(before - self._top)
            self._redraw(self._index - self._top)

    def go_to(self, key: Hashable) -> None:
        """Put the cursor on the row with this key, dropping the filter if it hides it."""
        if key not in self.view and self.filter_text:
            self.set_filter("")
        if key in self.view:
            self.go(self.view.index(key))
        self._cursor = key

    def _show_cursor(self) -> bool:
        """Move the window, by half a page, if the cursor left it. True when it moved."""
        top, page = self._top, max(1, self.page)
        if self._index < top:
            top = self._index - page // 2 if top - self._index <= page else self._index
        elif self._index >= top + page:
            top = self._index - (page - 1) // 2 if self._index < top + 2 * page else self._index - page + 1
        top = max(0, min(top, len(self.view) - page))
        moved = top != self._top
        self._top = top
        return moved

    def mark(self) -> None:
        """Mark or unmark the row under the cursor and step on."""
        if self._cursor is None:
            return
        if self._cursor in self.marks:
            del self.marks[self._cursor]
        else:
            self.marks[self._cursor] = None
        self._redraw(self._index - self._top)
        self.move(1)
        self.post_message(self.Changed())

    def mark_all(self) -> None:
        self._mark(self.view)

    def mark_range(self) -> None:
        """Mark from the row marked last to the one under the cursor."""
        last = next((key for key in reversed(self.marks) if key in self.view), self._cursor)
        if last is None:
            return
        first, end = sorted((self.view.index(last), self._index))
        self._mark(self.view[first : end + 1])

    def unmark(self) -> None:
        self.marks.clear()
        self.refresh()
        self.post_message(self.Changed())

    def _mark(self, keys: Iterable[Hashable]) -> None:
        self.marks.update(dict.fromkeys(keys))
        self.refresh()
        self.post_message(self.Changed())

    # Drawing

    def _redraw(self, y: int) -> None:
        self.refresh(Region(0, y + 1, self.size.width, 1))

    def _columns(self) -> list[tuple[Column[R], int]]:
        """The columns that fit, with their widths; the one that grows takes what is left."""
        width = self.size.width
        if self._layout[0] != width:
            columns = [column for column in self.shape.columns if width >= column.since]
            while len(columns) > 1 and GUTTER + sum(c.width for c in columns) > width:
                columns.pop()
            spare = width - GUTTER - sum(c.width for c in columns)
            self._layout = (width, [(c, max(1, c.width + spare) if c.grows else c.width) for c in columns])
        return self._layout[1]

    def _line(self, y: int) -> tuple[str, str]:
        """A window line as its coloured start and its plain rest. It is cheap: a few fits, no styles."""
        index = self._top + y
        if index >= len(self.view):
            return "", ""
        key = self.view[index]
        row, now = self.rows[key], self.clock()
        glyphs = themes.glyphs()
        start = f"{'*' if key in self.marks else ' '}{glyphs.state.get(self.shape.glyph(row), ' ')} "
        cells = [fit(column.text(row, now), width - 1, right=column.right) + " " for column, width in self._columns()]
        line = start + cells[0], "".join(cells[1:])
        return line if glyphs is themes.UNICODE else (line[0].replace("…", "~"), line[1].replace("…", "~"))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            return self._header(width)
        line = self._line(y - 1)
        if len(self._drawn) != self.page:
            self._drawn = [("", "")] * self.page
        if y - 1 < len(self._drawn):
            self._drawn[y - 1] = line
        index = self._top + y - 1
        if index >= len(self.view):
            return self._blank(y - 1, width)
        key = self.view[index]
        if index == self._index and not self.has_class("-no-cursor"):
            style = self.get_component_rich_style("table--cursor")
            return Strip([Segment(line[0] + line[1], style)]).adjust_cell_length(width, style)
        tone = self._TONES.get(self.shape.glyph(self.rows[key]), "table--row")
        rest = "table--muted" if tone == "table--muted" else "table--row"
        if key in self.marks:
            tone = rest = "table--marked"
        style, tail = self.get_component_rich_style(tone), self.get_component_rich_style(rest)
        if tone == rest:
            return Strip([Segment(line[0] + line[1], style)]).adjust_cell_length(width, style)
        return Strip([Segment(line[0], style), Segment(line[1], tail)]).adjust_cell_length(width, tail)

    def _blank(self, y: int, width: int) -> Strip:
        style = self.get_component_rich_style("table--muted")
        if y != min(2, self.page - 1) or self.view:
            return Strip.blank(width, style)
        text = "" if self.waiting else self.empty if not self.rows else "Nothing matches the filter; esc clears it."
        return Strip([Segment("   " + fit(text, max(0, width - 3)), style)]).adjust_cell_length(width, style)

    def _header(self, width: int) -> Strip:
        glyphs = themes.glyphs()
        parts = [" " * GUTTER]
        for column, cells in self._columns():
            arrow = (glyphs.down if self.reverse else glyphs.up) if column.name == self.order else ""
            parts.append(fit(column.title + arrow, cells - 1, right=column.right) + " ")
        style = self.get_component_rich_style("table--header")
        return Strip([Segment("".join(parts), style)]).adjust_cell_length(width, style)

    # Events

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def on_resize(self, event: events.Resize) -> None:
        self._drawn = []
        self._show_cursor()
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.move(-3)

    def on_click(self, event: events.Click) -> None:
        if event.y > 0 and self._top + event.y - 1 < len(self.view):
            self.go(self._top + event.y - 1)
