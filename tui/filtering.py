"""The filter language: words, ``!word``, ``field:value``, all of which must hold.

A filter is compiled once into a predicate over a row and its prebuilt lower-case text, so that a keystroke over
ten thousand rows costs a few milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

Predicate = Callable[[R, str], bool]
_SPAN = re.compile(r"([<>])(\d+)([mhdw]?)")
_UNIT = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "": 86400}


@dataclass(frozen=True)
class Fields(Generic[R]):
    """What ``field:value`` can ask of a row: texts that must contain the value, and moments to compare with now."""

    texts: Mapping[str, Callable[[R], str]]
    moments: Mapping[str, Callable[[R], float]]


def compile_filter(text: str, fields: Fields[R], now: float) -> Predicate[R] | None:
    """The predicate for a filter as typed; None for an empty one. Nothing typed is an error: what is not understood
    as a field is looked for as a word, since a filter is typed one letter at a time."""
    tests = [_test(word, fields, now) for word in text.split()]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda row, hay: all(test(row, hay) for test in tests)


def _test(word: str, fields: Fields[R], now: float) -> Predicate[R]:
    if word.startswith("!") and len(word) > 1:
        inner = _test(word[1:], fields, now)
        return lambda row, hay: not inner(row, hay)
    name, colon, value = word.partition(":")
    if colon and name.lower() in fields.texts:
        read, wanted = fields.texts[name.lower()], value.lower()
        return lambda row, hay: wanted in read(row).lower()
    if colon and name.lower() in fields.moments:
        return _moment(fields.moments[name.lower()], value, now)
    wanted = word.lower()
    return lambda row, hay: wanted in hay


def _moment(read: Callable[[R], float], value: str, now: float) -> Predicate[R]:
    """``<7d``: within seven days from now; ``>7d``: later than that; ``none``: no moment at all."""
    if value == "none":
        return lambda row, hay: not read(row)
    match = _SPAN.fullmatch(value)
    if match is None:
        return lambda row, hay: bool(read(row))
    edge = now + int(match[2]) * _UNIT[match[3]]
    if match[1] == "<":
        return lambda row, hay: 0 < read(row) < edge
    return lambda row, hay: read(row) >= edge
