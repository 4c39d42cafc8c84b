"""Text from people and from the network: made visible before it is printed, checked before it is stored.

A terminal obeys what it is sent. ``safe`` is what every screen, command and log line passes text through: a
character that moves the cursor, turns the reading direction or takes no room becomes a visible escape such as
``\\x1b`` or ``\\u202e``. ``check_text`` and its short forms refuse the same characters at input, so that most
text never needs it.

One rule serves both: a character is plain when Unicode gives it a shape of its own, or when it is the ASCII
space. Everything else is not: controls (C0, C1, DEL), format characters (bidi controls and isolates, zero-width
joiners, tags), surrogates, private use, unassigned code points, line and paragraph separators, other spaces, and
the few letters and marks that Unicode itself lists as ignorable. Emoji that are joined from several with a
zero-width joiner are therefore refused in names: a rule that lets the joiner through between the right
neighbours has to know every terminal's idea of right. Presentation selectors, which keyboards add to emoji by
themselves, are dropped from input. Arabic, CJK, Devanagari and emoji stay as they are, and so do combining marks,
at most four on one base.

Standard library only: the command line, the agent and the server all import this.
"""

from __future__ import annotations

import re
import unicodedata

NAME_LIMIT = 64
RULE_NAME_LIMIT = 128
OWNER_LIMIT = 128
NOTE_LIMIT = 2000

MARKS = 4
"""Combining marks on one base character. Vietnamese needs two, Hebrew and Tibetan up to four; twenty cover the
lines above and below."""

# Category Lo, Mn or So, hence "printable", yet drawn as nothing: Default_Ignorable_Code_Point in Unicode's
# DerivedCoreProperties, without the format characters that isprintable() refuses already, and the empty Braille
# pattern, which is a blank in every font.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Names never enter a WireGuard file here, but lists, comments and other tools carry them on.
_DIRECTIVE = re.compile(r"\[\s*(?:interface|peer)\s*\]|\b(?:pre|post)(?:up|down)\b", re.IGNORECASE)
_SELECTORS = str.maketrans("", "", "\ufe0e\ufe0f")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CONTROL_NAMES = {
    "\0": "a NUL",
    "\t": "a tab",
    "\n": "a line break",
    "\r": "a carriage return",
    "\x1b": "an escape character",
    "\x7f": "a DEL",
    "\u2028": "a line separator",
    "\u2029": "a paragraph separator",
}
_KINDS = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair",
    "Co": "a private-use character",
    "Cn": "a character that Unicode has not assigned",
}


def safe(text: str) -> str:
    """The text on one line, with every character that is not plain as a visible escape.

    What comes out is printable and holds no newline; printing it moves the cursor to the right and nothing else.
    The escapes are for eyes: a backslash that was there already is left alone, so this is not reversible.
    """
    if text.isascii() and text.isprintable():
        return text
    parts: list[str] = []
    marks = MARKS  # a mark with nothing before it would sit on the neighbour's cell
    for char in text:
        if not _plain(char):
            parts.append(_escape(char))
            marks = 0
        elif unicodedata.category(char) in ("Mn", "Me"):
            marks += 1
            parts.append(char if marks <= MARKS else _escape(char))
        else:
            parts.append(char)
            marks = 0
    return "".join(parts)


def safe_block(text: str) -> str:
    """``safe`` for text of several lines: each line made safe, line feeds kept."""
    return "\n".join(safe(line) for line in text.split("\n"))


def safe_line(text: str, width: int) -> str:
    """``safe``, cut to ``width`` terminal cells; what was cut shows as an ellipsis in the last one."""
    shown = safe(text)
    if cells(shown) <= width:
        return shown
    parts: list[str] = []
    room = width - 1
    for char in shown:
        room -= _cell(char)
        if room < 0:
            break
        parts.append(char)
    return "".join(parts) + "…" if width > 0 else ""


def cells(text: str) -> int:
    """How many terminal cells the text takes; East Asian wide characters and emoji take two, marks none."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def check_text(text: str, *, longest: int, empty: bool = True, multiline: bool = False) -> str:
    """The text in NFC when it may be stored, else ``ValueError`` with the reason, fit for ``Invalid``.

    ``longest`` is in characters, after normalising. ``multiline`` allows line feeds inside; a CR LF pair counts as
    one, and line feeds at the end, which every editor leaves, are dropped. Leading and trailing spaces are refused
    rather than cut: two names that differ by one look the same.
    """
    # Normalising is not linear for a hostile megabyte of marks, so the length comes first.
    if len(text) > 4 * longest:
        raise ValueError(f"it has {len(text)} characters; {longest} are the most")
    try:
        text = unicodedata.normalize("NFC", text.translate(_SELECTORS))
    except UnicodeError as error:
        raise ValueError("it is not Unicode text") from error
    if multiline:
        text = text.replace("\r\n", "\n").rstrip("\n")
    for line in text.split("\n") if multiline else (text,):
        _check_line(line)
    if text != text.strip():
        raise ValueError("it begins or ends with a space")
    if not text and not empty:
        raise ValueError("it is empty")
    if len(text) > longest:
        raise ValueError(f"it has {len(text)} characters; {longest} are the most")
    return text


def clean_name(text: str, *, longest: int = NAME_LIMIT) -> str:
    """The name of a peer or group; rules pass ``longest=RULE_NAME_LIMIT``. ``ValueError`` has the reason."""
    name = check_text(text, longest=longest, empty=False)
    if found := _DIRECTIVE.search(name):
        raise ValueError(f"it contains {found[0]!r}, which means something in a WireGuard file")
    return name


def clean_owner(text: str) -> str:
    """Who a peer belongs to: one line, may be empty."""
    return check_text(text, longest=OWNER_LIMIT)


def clean_note(text: str, *, multiline: bool = False) -> str:
    """Notes: long, may be empty, one line unless told otherwise."""
    return check_text(text, longest=NOTE_LIMIT, multiline=multiline)


def _check_line(line: str) -> None:
    marks = MARKS
    for char in line:
        if not _plain(char):
            raise ValueError(f"it contains {_describe(char)}")
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if marks > MARKS:
            raise ValueError(f"it has a combining mark (U+{ord(char):04X}) where none belongs")


def _plain(char: str) -> bool:
    return char.isprintable() and not _INVISIBLE.match(char)


def _escape(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    for form, digits in (("x", 2), ("u", 4)):
        if code < 16**digits:
            return f"\\{form}{code:0{digits}x}"
    return f"\\U{code:08x}"


def _describe(char: str) -> str:
    code = f"U+{ord(char):04X}"
    if char in _CONTROL_NAMES:
        return f"{_CONTROL_NAMES[char]} ({code})"
    category = unicodedata.category(char)
    if category in _KINDS:
        return f"{_KINDS[category]} ({code})"
    kind = "a space other than the plain one" if category == "Zs" else "an invisible character"
    return f"{kind} ({code} {unicodedata.name(char, '')})".replace(" )", ")")


def _cell(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
