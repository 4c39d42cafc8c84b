"""Codes, their sizes, and the ladder down to a sentence. That they decode is shown in test_client_files."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from PIL import Image

from nexushub import qr

# Measured sizes, from one-time links and otpauth URIs up to whole files: bytes, then cells with quiet zone 4 and 2.
SIZES = [
    ("https://hub.example/x/".upper() + "A" * 14, (33, 17), (29, 15)),
    ("u" * 85, (45, 23), (41, 21)),
    ("u" * 106, (45, 23), (41, 21)),
    ("u" * 107, (49, 25), (45, 23)),
    ("u" * 135, (53, 27), (49, 25)),
    ("u" * 218, (61, 31), (57, 29)),
    ("u" * 276, (69, 35), (65, 33)),
    ("u" * 362, (73, 37), (69, 35)),
]


@pytest.mark.parametrize(("text", "wide", "narrow"), SIZES, ids=lambda value: str(value)[:12])
def test_sizes(text: str, wide: tuple[int, int], narrow: tuple[int, int]) -> None:
    modules = qr.matrix(text)
    assert qr.size(len(modules), 4) == wide
    assert qr.size(len(modules), 2) == narrow
    for quiet, expected in ((4, wide), (2, narrow)):
        cells = qr.to_half_blocks(modules, quiet)
        assert (len(cells[0]), len(cells)) == expected
        assert {len(line) for line in cells} == {expected[0]}


FULL, COMPACT = "f" * 362, "c" * 276


@pytest.mark.parametrize(
    ("columns", "rows", "text", "quiet", "compact"),
    [
        (200, 60, FULL, 4, False),
        (73, 37, FULL, 4, False),
        (72, 37, FULL, 2, False),
        (73, 36, FULL, 2, False),
        (69, 35, FULL, 2, False),
        (69, 34, COMPACT, 2, True),
        (68, 35, COMPACT, 2, True),
        (65, 33, COMPACT, 2, True),
    ],
)
def test_the_ladder(columns: int, rows: int, text: str, quiet: int, compact: bool) -> None:
    found = qr.fit(FULL, COMPACT, columns, rows)
    assert found.matrix == qr.matrix(text)
    assert (found.quiet, found.compact, found.sentence) == (quiet, compact, "")
    assert found.columns <= columns
    assert found.rows <= rows


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (64, 33), (65, 32), (1, 1)])
def test_the_last_rung_is_a_sentence(columns: int, rows: int) -> None:
    found = qr.fit(FULL, COMPACT, columns, rows)
    assert found.matrix is None
    assert (found.columns, found.rows) == (65, 33)
    assert found.sentence == (
        f"The QR code needs 65\u00d733, you have {columns}\u00d7{rows}: enlarge the window or shrink the font."
    )


def test_compact_with_quiet_zone_four_comes_before_two() -> None:
    assert qr.fit("f" * 400, "c" * 100, 60, 30).quiet == 4


def test_a_text_longer_than_any_code() -> None:
    assert len(qr.matrix("x" * qr.MOST_BYTES)) == 177
    with pytest.raises(ValueError, match="it has 2954 bytes and a QR code holds 2953; use the file"):
        qr.matrix("x" * (qr.MOST_BYTES + 1))
    assert qr.fit("x" * 3000, "x" * 2990, 500, 500).sentence == "This file is too long for any QR code: use the file."
    assert qr.fit("x" * 3000, "x" * 100, 500, 500).compact


def test_half_blocks_are_the_modules_with_white_around() -> None:
    modules = qr.matrix("hello")
    for quiet in (4, 3, 2):
        rows = [row for line in qr.to_half_blocks(modules, quiet) for row in zip(*line, strict=True)]
        side = len(modules) + 2 * quiet
        for y, row in enumerate(rows):
            for x, dark in enumerate(row):
                inside = quiet <= x < side - quiet and quiet <= y < side - quiet
                assert dark == (modules[y - quiet][x - quiet] if inside else False)


def test_ansi_lines_set_both_colours_and_reset() -> None:
    for code in ("hello", qr.matrix("hello")):
        lines = qr.to_ansi(code, 2).splitlines()
        assert len(lines) == 13
        for line in lines:
            assert line.startswith("\x1b[38;5;16;48;5;231m")
            assert line.endswith("\x1b[0m")
            assert line.count("\x1b") == 2


def test_png_is_black_and_white_with_a_quiet_zone() -> None:
    with Image.open(io.BytesIO(qr.to_png("hello", scale=5))) as image:
        assert image.format == "PNG"
        assert image.size == (29 * 5, 29 * 5)
        assert image.mode == "1"
        assert image.crop((0, 0, 29 * 5, 20)).getextrema() == (255, 255)


def test_svg_is_one_element_tree_without_text_or_script() -> None:
    svg = qr.to_svg("a secret text")
    assert "secret" not in svg
    assert svg.count("<") == svg.count(">") == 4
    assert 'viewBox="0 0 29 29"' in svg


def test_nothing_heavy_is_imported_before_a_code_is_drawn() -> None:
    code = "import sys, nexushub.qr; print(sorted({'qrcode', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
