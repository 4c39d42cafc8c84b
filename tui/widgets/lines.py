"""The one-line widgets of the frame: where am I, what is going on, which keys. Text is data, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from nexushub.safe import cells, safe
from tui import themes
from tui.display import fit
from tui.keys import Key

Part = tuple[str, str]
"""A text and its style; the text is made safe here, so that no caller can forget it."""


def assemble(parts: Iterable[Part]) -> Content:
    """Styled content from plain texts; brackets in them are brackets."""
    return Content.assemble(*((safe(text), style) if style else safe(text) for text, style in parts))


def paragraphs(lines: Iterable[Iterable[Part]]) -> Content:
    """Several lines, each of parts."""
    return Content("\n").join(assemble(line) for line in lines)


class Line(Static):
    """One line that redraws only when its text changes, without a new layout."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._parts: list[Part] = []

    def show(self, parts: Iterable[Part]) -> None:
        if (new := list(parts)) != self._parts:
            self._parts = new
            self.update(assemble(new), layout=False)

    @property
    def text(self) -> str:
        return "".join(safe(text) for text, _ in self._parts)


class Rule(Widget):
    """A line across the screen."""

    def render_line(self, y: int) -> Strip:
        return Strip.blank(0) if not self.size.width else self._drawn(self.size.width)

    def _drawn(self, width: int) -> Strip:
        from rich.segment import Segment  # noqa: PLC0415  (the one place here that needs it)

        return Strip([Segment(themes.glyphs().rule * width, self.rich_style)], width)


class Head(Line):
    """Which program on which host, which place, who and when; what does not fit is left out from the middle."""

    def place(self, node: str, place: str, subject: str, *, who: str, clock: str, notes: str) -> None:
        width = self.size.width or 80
        left, middle, right = (
            f" NexusHub  {safe(node)}",
            f"{place}  {safe(subject)}".strip(),
            f"{safe(who)} {clock} ".lstrip(),
        )
        for candidate in (f"{left}  {notes}" if notes else left, left, " NexusHub"):
            room = width - cells(candidate) - cells(right) - 4
            if room >= cells(middle):
                break
        middle = fit(middle, max(0, min(cells(middle), width - cells(candidate) - cells(right) - 4)))
        pad = max(2, (width - cells(middle)) // 2 - cells(candidate))
        gap = max(1, width - cells(candidate) - pad - cells(middle) - cells(right))
        self.show([(candidate, "$muted"), (" " * pad, ""), (middle, "bold"), (" " * gap, ""), (right, "$muted")])


class Status(Line):
    """State, then the result of what was done last. The result is what a person waits for: where there is no room
    for both, state goes, and a long result takes a second and third line."""

    LINES = 3

    def parts(self, parts: Sequence[Part]) -> None:
        width = max(20, self.app.size.width - 2)
        dot = f" {themes.glyphs().dot} "
        *state, last = parts
        state = [part for part in state if part[0]]
        if last[0]:
            while state and sum(cells(safe(text)) + len(dot) for text, _ in state) + cells(safe(last[0])) > width:
                state.pop(next((n for n, part in enumerate(state) if part[1] == "$muted"), 0))
            state.append(last)
        joined: list[Part] = []
        for number, part in enumerate(state):
            joined += [part] if not number else [(dot, "$muted"), part]
        need = min(self.LINES, max(1, -(-sum(cells(safe(text)) for text, _ in joined) // width)))
        if self.styles.height is None or self.styles.height.value != need:
            self.styles.height = need
        self.show(joined)


class Foot(Line):
    """The keys, most used first; as many as fit."""

    def keys(self, keys: Iterable[Key]) -> None:
        width, used = self.size.width or 80, 1
        wanted = list(keys)
        chosen: list[Key] = []
        # The last one is help, which leads to all the others, so it is given room first.
        for key in (*wanted[-1:], *wanted[:-1]):
            need = len(key.shown) + len(key.label) + 3
            if used + need - 2 <= width:
                chosen.append(key)
                used += need
        parts: list[Part] = [(" ", "")]
        for key in (*chosen[1:], *chosen[:1]):
            parts += [(key.shown, "bold $primary"), (f" {key.label}  ", "$muted")]
        self.show(parts)
