"""Four themes, and the glyphs. Colours are those of the 256-colour palette: sshd drops COLORTERM, so 256 is what
a terminal gets, and a colour that has to be rounded is another colour on every terminal.

Colour never carries meaning alone; a word stands beside it.
"""

from __future__ import annotations

import functools
import locale
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter, NoColor
from textual.theme import BUILTIN_THEMES, Theme

DARK, LIGHT, HIGH_CONTRAST, ANSI = "dark", "light", "high-contrast", "ansi"


def _variables(cursor: str, on_cursor: str, muted: str, line: str) -> dict[str, str]:
    return {
        "block-cursor-background": cursor,
        "block-cursor-foreground": on_cursor,
        "muted": muted,
        "line": line,
        "input-cursor-text-style": "reverse",
    }


THEMES = (
    Theme(
        DARK, primary="#5fafff", secondary="#87afd7", accent="#5fd7d7", success="#5fd787", warning="#ffaf5f",
        error="#ff8787", foreground="#d0d0d0", background="#1c1c1c", surface="#303030", panel="#262626", dark=True,
        variables=_variables("#005f87", "#ffffff", "#949494", "#444444"),
    ),
    Theme(
        LIGHT, primary="#005faf", secondary="#005f87", accent="#005f5f", success="#005f00", warning="#875f00",
        error="#af0000", foreground="#303030", background="#eeeeee", surface="#ffffff", panel="#e4e4e4", dark=False,
        variables=_variables("#afd7ff", "#000000", "#626262", "#bcbcbc"),
    ),
    Theme(
        HIGH_CONTRAST, primary="#ffff00", secondary="#00ffff", accent="#00ffff", success="#00ff00",
        warning="#ffff00", error="#ff8787", foreground="#ffffff", background="#000000", surface="#000000",
        panel="#000000", dark=True, variables=_variables("#ffff00", "#000000", "#ffffff", "#ffffff"),
    ),
    Theme(
        ANSI, ansi=True, primary="ansi_blue", secondary="ansi_cyan", accent="ansi_cyan", success="ansi_green",
        warning="ansi_yellow", error="ansi_red", foreground="ansi_default", background="ansi_default",
        surface="ansi_default", panel="ansi_default", boost="ansi_default", dark=True,
        variables=BUILTIN_THEMES["ansi-dark"].variables
        | _variables("ansi_default", "ansi_default", "ansi_default", "ansi_default"),
    ),
)  # fmt: skip


def choose(environ: Mapping[str, str]) -> str:
    """The theme to begin with: asked for, else what the terminal says of itself."""
    asked = environ.get("NEXUSHUB_THEME", "")
    if asked in {theme.name for theme in THEMES}:
        return asked
    if environ.get("NO_COLOR"):
        return ANSI
    # rxvt, konsole and others: "foreground;background", where 7 and 15 are white.
    if environ.get("COLORFGBG", "").rsplit(";", 1)[-1] in ("7", "15"):
        return LIGHT
    return DARK


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few characters beyond ASCII that the screens draw, in one place so that a plain set can replace them."""

    state: Mapping[str, str]
    rule: str
    up: str
    down: str
    dash: str
    dot: str
    mask: str
    ellipsis: str


UNICODE = Glyphs(
    {"up": "●", "idle": "○", "never": "·", "off": "×", "down": "×", "expired": "!", "pending": "~", "failed": "!"},
    "─", "▲", "▼", "–", "·", "•", "…",
)  # fmt: skip
ASCII = Glyphs(
    {"up": "+", "idle": "o", "never": ".", "off": "x", "down": "x", "expired": "!", "pending": "~", "failed": "!"},
    "-", "^", "v", "-", "-", "*", "~",
)  # fmt: skip


@functools.cache
def glyphs() -> Glyphs:
    """The set that this terminal's locale can show."""
    environ = os.environ
    name = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or locale.getpreferredencoding(False)
    return UNICODE if "utf" in name.lower() else ASCII


PAPER = Style(color="color(16)", bgcolor="color(231)")
"""Black on white of the 256-colour cube. The 16 ANSI colours are the user's to redefine, and a QR code drawn
light on dark can't be read: 0 of 8 decodes."""


class NoColorButPaper(LineFilter):
    """NO_COLOR without the QR code: taking its colours away would make it unreadable, which helps nobody."""

    _plain = NoColor()

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.style == PAPER else self._plain.apply([segment], background)[0] for segment in segments
        ]


def filters(present: Sequence[LineFilter]) -> list[LineFilter]:
    """Textual's line filters, with the one for NO_COLOR replaced by ours."""
    return [NoColorButPaper() if isinstance(one, NoColor) else one for one in present]
