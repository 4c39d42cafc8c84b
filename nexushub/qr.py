"""QR codes for terminals, pages and files, made from text that is decoded again to exactly the same.

Error correction L, since a screen is not scratched and a smaller code fits more terminals; the mask is the best of
the eight. Always black on white with a quiet zone: no decoder tried read light on dark, and half did without a
quiet zone. ``qrcode`` and Pillow are imported when first needed, as most commands draw no code.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

Matrix = tuple[tuple[bool, ...], ...]
"""Rows of modules, True is dark, without a quiet zone."""

QUIET = 4
"""Modules of white around a code: what the standard asks."""
LEAST_QUIET = 2
"""What decoders still take on a screen; fewer lose codes."""
MOST_BYTES = 2953
"""Of a version 40 code at level L."""

# Colours 16 and 231 of the 256 are black and white in every palette; 0 and 7 are whatever the theme says.
_BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m"
_RESET = "\x1b[0m"
_BY = "\u00d7"
_CELLS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


@dataclass(frozen=True, slots=True)
class Fit:
    """The largest rung of the ladder that a screen holds, or what it would take."""

    matrix: Matrix | None
    """None: nothing fits."""
    quiet: int
    compact: bool
    """True: the code holds the compact spelling, not the file's own text."""
    columns: int
    rows: int
    """The cells this code takes; when nothing fits, those that the smallest would."""
    sentence: str
    """When nothing fits, what to do about it; else empty."""


def matrix(text: str) -> Matrix:
    """The code's modules. ``ValueError`` when the text is longer than any QR code holds."""
    import qrcode  # noqa: PLC0415 - only who draws a code waits for it
    from qrcode.exceptions import DataOverflowError  # noqa: PLC0415 - as above

    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=0)
    # One segment in one mode: splitting saves nothing on base64, and decoders join segments differently.
    code.add_data(text.encode(), optimize=0)
    try:
        code.make(fit=True)
    except (DataOverflowError, ValueError) as error:  # it raises one or the other: version 41 is checked twice
        size = len(text.encode())
        raise ValueError(f"it has {size} bytes and a QR code holds {MOST_BYTES}; use the file") from error
    return tuple(tuple(bool(module) for module in row) for row in code.get_matrix())


def size(modules: int, quiet: int) -> tuple[int, int]:
    """Columns and rows of terminal cells for a code of so many modules a side; a cell is two modules high."""
    side = modules + 2 * quiet
    return side, (side + 1) // 2


def fit(full: str, compact: str, columns: int, rows: int) -> Fit:
    """The first that fits: the file's text, then the compact spelling, each with quiet zone 4, then 2.

    Never less: a code with no quiet zone, or with a field left out, looks right and does not work.
    """
    least: tuple[int, int] | None = None
    for text in (full, compact):
        try:
            modules = matrix(text)
        except ValueError:
            continue
        for quiet in (QUIET, LEAST_QUIET):
            needed = size(len(modules), quiet)
            if needed[0] <= columns and needed[1] <= rows:
                return Fit(modules, quiet, text is compact and text != full, *needed, "")
            least = min(least, needed) if least else needed
    if least is None:
        return Fit(None, 0, False, 0, 0, "This file is too long for any QR code: use the file.")
    sizes = f"needs {least[0]}{_BY}{least[1]}, you have {columns}{_BY}{rows}"
    sentence = f"The QR code {sizes}: enlarge the window or shrink the font."
    return Fit(None, 0, False, *least, sentence)


def to_half_blocks(modules: Matrix, quiet: int = QUIET) -> list[tuple[tuple[bool, bool], ...]]:
    """Rows of terminal cells; each cell is its (upper, lower) module, True is dark. Quiet zone included."""
    side = len(modules) + 2 * quiet
    blank = (False,) * side
    margin = (False,) * quiet
    padded = [blank] * quiet + [(*margin, *row, *margin) for row in modules] + [blank] * (quiet + side % 2)
    return [tuple(zip(padded[row], padded[row + 1], strict=True)) for row in range(0, len(padded), 2)]


def to_ansi(code: str | Matrix, quiet: int = QUIET) -> str:
    """Lines for a terminal: half blocks, black on white whatever the theme, colours reset at each line's end.

    Takes the text, or the matrix that ``fit`` chose. The colours are sent even where colour is turned off: they
    are the content. The shapes alone hold the code too, so a terminal without colours shows it on white paper.
    """
    modules = matrix(code) if isinstance(code, str) else code
    return "".join(
        f"{_BLACK_ON_WHITE}{''.join(_CELLS[cell] for cell in line)}{_RESET}\n"
        for line in to_half_blocks(modules, quiet)
    )


def to_svg(text: str) -> str:
    """An SVG image, white background and quiet zone included, one unit a module. It holds no text."""
    modules = matrix(text)
    side = len(modules) + 2 * QUIET
    runs = []
    for y, row in enumerate(modules, QUIET):
        x = 0
        while x < len(row):
            length = 1
            while x + length < len(row) and row[x + length] == row[x]:
                length += 1
            if row[x]:
                runs.append(f"M{x + QUIET} {y}h{length}v1h-{length}z")
            x += length
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" width="{side * 8}" height="{side * 8}" '
        f'shape-rendering="crispEdges" role="img" aria-label="QR code">'
        f'<path fill="#fff" d="M0 0h{side}v{side}H0z"/><path fill="#000" d="{"".join(runs)}"/></svg>\n'
    )


def to_png(text: str, scale: int = 6) -> bytes:
    """A PNG image in black and white, ``scale`` pixels a module, quiet zone included."""
    from PIL import Image  # noqa: PLC0415 - only who draws a picture waits for it

    modules = matrix(text)
    side = len(modules) + 2 * QUIET
    image = Image.new("1", (side, side), 1)
    image.putdata(
        [
            0 if module else 1
            for row in ((),) * QUIET + modules + ((),) * QUIET
            for module in ((False,) * QUIET + (row or (False,) * len(modules)) + (False,) * QUIET)
        ]
    )
    stream = io.BytesIO()
    image.resize((side * scale, side * scale), Image.Resampling.NEAREST).save(stream, "PNG", optimize=True)
    return stream.getvalue()
