"""Sends a terminal only what differs from what it shows.

Textual repaints whole regions: each change of the layout is a full screen again, three of them before the first
key. Here the last painted segments of each line are kept, and of a line that changed only the part that did is
sent. At 80x24 that takes the way from the start to the peers from 33 kB to 13, and a second of refreshed rates
from 2.6 kB to about 1.

It hooks into ``App._display``, which is Textual's own: the byte-budget test says when an upgrade breaks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from tui import themes

Run = tuple[str, Style | None]
LEAST = 8
"""Cells of sameness that are worth a cursor move, which costs seven or eight bytes."""


class Painter:
    """What one terminal shows, line by line. Forgotten when somebody else may have written to it."""

    def __init__(self) -> None:
        self._shown: dict[int, list[Run]] = {}
        plain = themes.UNICODE
        self._single = {
            ord(char): None
            for char in "".join(plain.state.values())
            + plain.rule
            + plain.up
            + plain.down
            + plain.dash
            + plain.dot
            + plain.mask
            + plain.ellipsis
        }

    def forget(self) -> None:
        self._shown.clear()

    def reduce(self, update: object, width: int) -> object:
        """The update without what the terminal shows already; anything that is no repaint is passed on."""
        if isinstance(update, LayoutUpdate):
            lines = [(y, _runs(strips)) for y, strips in enumerate(update.strips, update.region.y)]
            return _Lines(self._difference(lines))
        if isinstance(update, ChopsUpdate):
            return self._chops(update, width)
        return update

    def _chops(self, update: ChopsUpdate, width: int) -> object:
        lines: list[tuple[int, list[Run]]] = []
        for y, start, end in update.spans:
            strips = list(update.chops[y].values())
            if start > 0 or end < width or any(strip is None for strip in strips):
                # Parts of lines: let Textual send them, and know nothing of these lines any more.
                for line, _, _ in update.spans:
                    self._shown.pop(line, None)
                return update
            lines.append((y, _runs(strip for strip in strips if strip is not None)))
        return _Lines(self._difference(lines))

    def _difference(self, lines: Iterable[tuple[int, list[Run]]]) -> list[tuple[int, int, list[Run]]]:
        """Line, column and runs to send."""
        changed = []
        for y, new in lines:
            old = self._shown.get(y)
            self._shown[y] = new
            if old is None:
                changed.append((y, 0, new))
            elif old != new:
                changed.append(self._part(y, old, new))
        return changed

    def _part(self, y: int, old: list[Run], new: list[Run]) -> tuple[int, int, list[Run]]:
        """The part of a line between what is the same at its beginning and at its end.

        Only where every character is known to take one cell: a terminal that thinks otherwise of some script
        would show the rest shifted, while a whole line it shows as well as it can.
        """
        if not (self._narrow(old) and self._narrow(new)) or _length(old) != _length(new):
            return y, 0, new
        before, after = _flat(old), _flat(new)
        first = next(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
        last = next(i for i, (a, b) in enumerate(zip(reversed(before), reversed(after), strict=True)) if a != b)
        if first < LEAST:
            first = 0
        return y, first, _cut(new, first, len(after) - last)

    def _narrow(self, runs: Sequence[Run]) -> bool:
        return all(text.isascii() or text.translate(self._single).isascii() for text, _ in runs)


class _Lines(CompositorUpdate):
    """Parts of lines at their places."""

    def __init__(self, parts: list[tuple[int, int, list[Run]]]) -> None:
        self.parts = parts

    def render_segments(self, console: Console) -> str:
        return "".join(
            f"\x1b[{y + 1};{x + 1}H{Strip([Segment(text, style) for text, style in runs]).render(console)}"
            for y, x, runs in self.parts
        )


def _runs(strips: Iterable[Iterable[Segment]]) -> list[Run]:
    """A line's texts and styles, neighbours of one style joined."""
    runs: list[Run] = []
    for strip in strips:
        for text, style, control in strip:
            if control or not text:
                continue
            if runs and runs[-1][1] == style:
                runs[-1] = (runs[-1][0] + text, style)
            else:
                runs.append((text, style))
    return runs


def _length(runs: Sequence[Run]) -> int:
    return sum(cell_len(text) for text, _ in runs)


def _flat(runs: Sequence[Run]) -> list[tuple[str, Style | None]]:
    return [(char, style) for text, style in runs for char in text]


def _cut(runs: Sequence[Run], start: int, end: int) -> list[Run]:
    """The runs between two columns; every character takes one."""
    cut: list[Run] = []
    at = 0
    for text, style in runs:
        part = text[max(0, start - at) : max(0, end - at)]
        if part:
            cut.append((part, style))
        at += len(text)
    return cut
