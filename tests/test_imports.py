"""What a short command loads. Everything heavy costs more than the command itself: SQLModel half a second."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("textual", "rich", "sqlmodel", "sqlalchemy", "psycopg", "pydantic", "flask", "pyroute2", "bcc", "numpy")
_PROGRAM = """
import sys, json, runpy
sys.argv = ["nexushub", *sys.argv[1:]]
code = 0
try:
    runpy.run_module("nexushub", run_name="__main__", alter_sys=False)
except SystemExit as end:
    code = end.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""


def loaded_by(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NEXUSHUB_RUN_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = result.stderr.strip().splitlines()
    assert lines, result
    assert lines[-1].startswith("["), result.stderr
    import json

    return result, set(json.loads(lines[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["peer", "--help"], ["peer", "list"]], ids=" ".join)
def test_short_commands_load_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    result, loaded = loaded_by(tmp_path, *arguments)
    if arguments == ["peer", "list"]:
        # No server runs here: the command got as far as asking for one.
        assert result.returncode == 75, result.stderr
    else:
        assert result.returncode == 0, result.stderr
    assert "nexushub" in loaded
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_embedded_database_starts_before_the_database_stack() -> None:
    program = "import sys; import nexushub.postgres; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)
