"""Help (``?``): this screen's keys with a sentence each, those that don't apply with the reason, the keys of
everywhere, and what the words on the screens mean."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import ClassVar

from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from tui import keys
from tui.screens.framed import Framed
from tui.widgets.filterbar import FilterBar
from tui.widgets.lines import Part, paragraphs

CONCEPTS = (
    ("up", "The peer's last handshake is less than 180 seconds old, the life of a WireGuard session."),
    ("idle", "An older handshake: the peer is away, or has nothing to say."),
    ("never", "No handshake since it was added."),
    ("off", "The peer is disabled, or its interface is down; it keeps its address."),
    ("expired", "Past its date: it is no longer in the kernel."),
    ("applied", "The kernel was read back and has what the database says."),
    ("pending", "Saved, and not in the kernel yet; the reason stands beside it. It is tried again by itself."),
    ("failed", "Saved, and the kernel refused it, in its own words."),
    (
        "drift",
        "The kernel was changed by something else. Adopt takes that over, revert puts it back, ignore leaves it.",
    ),
    ("embedded", "No agent or server ran here, so this program runs both for as long as it is open. Tunnels stay."),
)
LABEL = 13


Entry = tuple[str, str, bool]
"""A label, what it means, and whether it applies now."""


def entries(found: Iterable[tuple[keys.Key, str | None]]) -> list[Entry]:
    """The keys as labels and sentences; one that does not apply says why."""
    return [
        (
            key.shown if key.keys else f":{key.label}",
            f"{key.help} Not now: {reason}" if reason else key.help,
            not reason,
        )
        for key, reason in found
    ]


def lines_of(title: str, found: Iterable[Entry], search: str, width: int) -> list[list[Part]]:
    """A title and its entries, wrapped under themselves; only those that hold every word of the search."""
    lines: list[list[Part]] = []
    for label, meaning, applies in found:
        if not all(word in f"{label} {meaning}".lower() for word in search.lower().split()):
            continue
        for number, part in enumerate(textwrap.wrap(meaning, max(20, width - LABEL - 8))):
            style = "" if applies else "$muted"
            lines.append(
                [(f"  {label if not number else '':<{LABEL}}", "bold" if applies else "$muted"), (part, style)]
            )
    return [[(title, "bold $primary")], *lines, []] if lines else []


class Guide(Framed):
    """The help of the screen it was opened from."""

    SECTION = "help"
    PLACE = "Help"
    BINDINGS: ClassVar = keys.bindings("help")

    def __init__(self, of: Framed) -> None:
        super().__init__()
        self._of = of

    @property
    def subject(self) -> str:
        return self._of.PLACE

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(Static(id="text"), id="detail", can_focus=False)
        yield FilterBar()

    def on_mount(self) -> None:
        self._paint("")

    def on_resize(self) -> None:
        self._paint(self.query_one(FilterBar).entry.value)

    def _paint(self, search: str) -> None:
        here = [(key, self._of.why_not(key.name)) for key in keys.KEYS[self._of.SECTION]]
        width = self.app.size.width
        lines = [
            *lines_of(f"Keys of {self._of.PLACE}", entries(here), search, width),
            *lines_of("Keys of everywhere", entries((key, None) for key in keys.KEYS["app"]), search, width),
            *lines_of("Words", [(word, meaning, True) for word, meaning in CONCEPTS], search, width),
        ]
        self.query_one("#text", Static).update(paragraphs(lines or [[("Nothing here has these words.", "$muted")]]))

    def do_filter(self) -> None:
        self.query_one(FilterBar).open()

    def on_filter_bar_typed(self, event: FilterBar.Typed) -> None:
        self._paint(event.text)

    def do_line_up(self) -> None:
        self.query_one("#detail").scroll_up(animate=False)

    def do_line_down(self) -> None:
        self.query_one("#detail").scroll_down(animate=False)

    def do_page_up(self) -> None:
        self.query_one("#detail").scroll_page_up(animate=False)

    def do_page_down(self) -> None:
        self.query_one("#detail").scroll_page_down(animate=False)
