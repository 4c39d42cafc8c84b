"""Numbers and times as people read them. Pure functions; nothing here knows a screen."""

from __future__ import annotations

from datetime import UTC, datetime

from nexushub.safe import cells, safe_line

MINUTE, HOUR, DAY = 60, 3600, 86400
HANDSHAKE_FRESH = 180
"""Seconds after which WireGuard drops a session (Reject-After-Time): older is no longer ``up``."""


def span(seconds: float) -> str:
    """``12 s``, ``4 min``, ``2 h``, ``31 d``. Seconds go in fives: a screen of ages must not redraw all the time."""
    if seconds < MINUTE:
        return f"{int(max(0, seconds)) // 5 * 5} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min"
    if seconds < 2 * DAY:
        return f"{int(seconds // HOUR)} h"
    return f"{int(seconds // DAY)} d"


def ago(then: float, now: float) -> str:
    """How long ago; 0 is never."""
    return span(now - then) if then else "never"


def until(then: float, now: float, dash: str) -> str:
    """How long from now; 0 is no limit."""
    if not then:
        return dash
    return f"in {span(then - now)}" if then > now else "past"


def rate(octets: int, dash: str) -> str:
    """Bytes a second as bits a second, three digits: ``9.0 Mb``."""
    if not octets:
        return dash
    value = float(octets * 8)
    for unit in ("b", "kb", "Mb", "Gb"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "b" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} Tb"


def size(octets: int, dash: str) -> str:
    """Bytes, three digits: ``1.2 GB``."""
    if not octets:
        return dash
    value = float(octets)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} PB"


def when(moment: datetime | None, never: str = "never") -> str:
    """A moment in the reader's time zone, to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else never


def seconds(moment: datetime | None) -> float:
    """Unix time, 0 for none."""
    return moment.timestamp() if moment else 0.0


def utc_now() -> datetime:
    return datetime.now(UTC)


def count(number: int, noun: str) -> str:
    """``1 peer``, ``412 peers``."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text made safe and exactly ``width`` cells wide, cut with an ellipsis; wide characters count two."""
    shown = safe_line(text, width)
    space = " " * (width - cells(shown))
    return space + shown if right else shown + space
