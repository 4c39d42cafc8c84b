"""A QR code in terminal cells: both colours painted on every cell, whatever the theme."""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from nexushub import qr
from tui import themes

_CELLS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


class Code(Widget):
    """Black on white: inverted codes were read by no decoder that was tried."""

    def __init__(self) -> None:
        super().__init__(id="code")
        self._lines: list[str] = []

    def show(self, fit: qr.Fit | None) -> None:
        """Draw what the ladder chose; None takes it off the screen."""
        rows = qr.to_half_blocks(fit.matrix, fit.quiet) if fit is not None and fit.matrix is not None else []
        self._lines = ["".join(_CELLS[cell] for cell in row) for row in rows]
        self.refresh(layout=True)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return len(self._lines[0]) if self._lines else 0

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        if y >= len(self._lines):
            return Strip.blank(self.size.width)
        return Strip([Segment(self._lines[y], themes.PAPER)], len(self._lines[y]))
