"""What reaches a terminal, and what is refused before it is stored."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexushub import safe
from tests import hostile

_OBEYED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# From Unicode's DerivedCoreProperties.txt, Default_Ignorable_Code_Point, what is a letter or a mark there.
_IGNORABLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, *range(0xFE00, 0xFE10), 0xFFA0,
              *range(0xE0000, 0xE1000)}  # fmt: skip


def harmless(text: str) -> bool:
    return not any(unicodedata.category(char) in _OBEYED or ord(char) in _IGNORABLE for char in text)


def test_there_are_two_hundred_payloads() -> None:
    assert len(set(hostile.PAYLOADS)) >= 200
    print(f"{len(set(hostile.PAYLOADS))} payloads, {len(hostile.REFUSED_NAMES)} names to refuse")


@pytest.mark.parametrize("payload", hostile.PAYLOADS, ids=ascii)
def test_a_payload_comes_out_harmless_and_visible(payload: str) -> None:
    shown = safe.safe(payload)
    assert harmless(shown)
    assert "\\" in shown
    assert harmless(safe.safe_line(payload, 12))
    assert harmless(safe.safe_block(payload).replace("\n", ""))


def test_every_code_point_alone() -> None:
    changed = 0
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        shown = safe.safe(f"a{char}")
        assert harmless(shown), f"U+{code:04X}"
        if shown != f"a{char}":
            changed += 1
            assert shown.isascii(), f"U+{code:04X}"
    print(f"{sys.maxunicode + 1} code points, {changed} shown as escapes")


@pytest.mark.parametrize("text", hostile.ODD_BUT_FINE)
def test_what_shows_as_itself_is_left_alone(text: str) -> None:
    assert safe.safe(text) == text
    assert safe.clean_name(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("name", hostile.REFUSED_NAMES, ids=lambda name: ascii(name)[:40])
def test_a_hostile_name_is_refused_with_a_harmless_reason(name: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as refused:
        safe.clean_name(name)
    assert harmless(str(refused.value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202eevil", "\\u202eevil"),
        ("\U000e0041", "\\U000e0041"),
        ("\x9b", "\\x9b"),
        ("\ud800", "\\ud800"),
        ("a" + "\u0301" * 6, "a" + "\u0301" * 4 + "\\u0301" * 2),
        ("\u0301a", "\\u0301a"),
    ],
)
def test_escapes_are_readable(text: str, shown: str) -> None:
    assert safe.safe(text) == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\nb", "it contains a line break (U+000A)"),
        ("a\0b", "it contains a NUL (U+0000)"),
        ("a\x1bb", "it contains an escape character (U+001B)"),
        ("a\x9bb", "it contains a control character (U+009B)"),
        ("a\u2028b", "it contains a line separator (U+2028)"),
        ("a\u202eb", "it contains an invisible character (U+202E RIGHT-TO-LEFT OVERRIDE)"),
        ("a\u00a0b", "it contains a space other than the plain one (U+00A0 NO-BREAK SPACE)"),
        ("a\udc80", "it contains half of a surrogate pair (U+DC80)"),
        ("a PostUp = id", "it contains 'PostUp', which means something in a WireGuard file"),
        ("", "it is empty"),
        (" a", "it begins or ends with a space"),
        ("a" * 65, "it has 65 characters; 64 are the most"),
        ("a" * 10**6, "it has 1000000 characters; 64 are the most"),
    ],
)
def test_reasons_say_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as refused:
        safe.clean_name(text)
    assert str(refused.value) == reason


def test_names_are_normalised() -> None:
    assert safe.clean_name("e\u0301") == "é"
    assert safe.clean_name("\u2764\ufe0f phone") == "\u2764 phone"
    assert safe.clean_name("x" * 128, longest=safe.RULE_NAME_LIMIT) == "x" * 128


def test_notes_are_longer_and_of_one_line_unless_told() -> None:
    assert safe.clean_note("") == ""
    assert safe.clean_note("x" * 2000) == "x" * 2000
    assert safe.clean_note("one\r\ntwo\n", multiline=True) == "one\ntwo"
    assert safe.clean_owner("") == ""
    for text in ("one\ntwo", "x" * 2001):
        with pytest.raises(ValueError, match=r"^it "):
            safe.clean_note(text)
    for text in ("one\rtwo", "one\n\u0301two", "one\u2028two", "one\n\x1b[2J"):
        with pytest.raises(ValueError, match=r"^it "):
            safe.clean_note(text, multiline=True)


def test_cut_to_cells() -> None:
    assert safe.safe_line("山田太郎", 8) == "山田太郎"
    assert safe.safe_line("山田太郎", 7) == "山田太…"
    assert safe.safe_line("山田太郎", 6) == "山田…"
    assert safe.safe_line("abc", 3) == "abc"
    assert safe.safe_line("abcd", 3) == "ab…"
    assert safe.safe_line("abcd", 0) == ""


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=80), st.integers(0, 40))
def test_any_text(text: str, width: int) -> None:
    shown = safe.safe(text)
    assert harmless(shown)
    assert safe.safe(shown) == shown
    assert safe.cells(safe.safe_line(text, width)) <= width
    try:
        name = safe.clean_name(text)
    except ValueError:
        return
    assert safe.safe(name) == name
    assert safe.clean_name(name) == name
