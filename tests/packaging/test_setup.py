"""scripts/setup.sh: what it says when something can't be had, and that it does nothing twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}
#: Discard's port, on which nothing listens.
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What set-up needs of a checkout, in a directory that other users can read."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    return tmp_path


def setup(directory: Path, mode: str = "run", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [directory / "scripts/setup.sh", mode],
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def last_words(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(("target", "needs"), [("run", "network interfaces"), ("test", "network namespaces")])
def test_without_root_it_says_what_to_type(checkout: Path, target: str, needs: str) -> None:
    result = subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "make", target],
        cwd=checkout,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, "make's own code for a failed command"
    words = result.stderr.splitlines()[0]
    assert needs in words
    assert words.endswith(f"Type: sudo make {target}")
    assert not (checkout / ".venv").exists()


def test_a_second_run_does_nothing() -> None:
    before = (ROOT / ".venv/nexushub-stamp").stat().st_mtime_ns
    began = time.monotonic()
    result = setup(ROOT)
    spent = time.monotonic() - began
    print(f"second set-up {spent:.3f} s")
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"set-up: ready in 0\.\d s\n", result.stderr)
    assert spent < 1
    assert (ROOT / ".venv/nexushub-stamp").stat().st_mtime_ns == before


def test_the_installed_command_works_from_anywhere(tmp_path: Path) -> None:
    command = ROOT / ".venv/bin/nexushub"
    result = subprocess.run(
        [command, "--version"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert re.search(r"\d+\.\d+\.\d+", result.stdout)


def test_only_bcc_comes_from_the_system() -> None:
    program = "import bcc, sys; print(bcc.__file__); print(*sys.path)"
    result = subprocess.run(
        [ROOT / ".venv/bin/python", "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert "bcc/__init__.py" in result.stdout
    assert "dist-packages" not in result.stdout.splitlines()[1]


def test_package_servers_out_of_reach(checkout: Path, tmp_path: Path) -> None:
    """Debian's own apt-get, with one source that nobody serves, and a package list in which one is missing."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (programs / "dpkg-query").chmod(0o755)
    apt = tmp_path / "apt"
    (apt / "lists/partial").mkdir(parents=True)
    (apt / "parts").mkdir()
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [trusted=yes] {NOWHERE} bookworm main\n")
    (apt / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "{apt}/parts";'
        f' Dir::State::lists "{apt}/lists"; Dir::State::status "{apt}/status"; Dir::Cache "{apt}"; Acquire::Retries "0"; Debug::NoLocking "true";'
    )
    kept = Path("/etc/postgresql-common/createcluster.d/nexushub-no-main-cluster.conf")
    result = setup(checkout, PATH=f"{programs}:{ENVIRONMENT['PATH']}", APT_CONFIG=str(apt / "apt.conf"))
    assert re.search(r"package servers.*check (the network and )?/etc/apt/sources.list", last_words(result))
    assert not kept.exists(), "the choice against a main cluster was left behind"


def test_package_index_out_of_reach(checkout: Path) -> None:
    result = setup(checkout, PIP_INDEX_URL=NOWHERE, PIP_RETRIES="0", PIP_CONFIG_FILE="/dev/null")
    assert "The Python package index could not be reached" in last_words(result)
    assert not (checkout / ".venv/nexushub-stamp").exists(), "the next run would believe that all is there"


def test_a_package_with_another_hash_is_refused(checkout: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "nxtoy-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nxtoy.py", "")
        wheel.writestr("nxtoy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nxtoy\nVersion: 1.0\n")
        wheel.writestr("nxtoy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("nxtoy-1.0.dist-info/RECORD", "")
    (checkout / "requirements.lock").write_text(f"nxtoy==1.0 --hash=sha256:{'0' * 64}\n")
    result = setup(checkout, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels), PIP_CONFIG_FILE="/dev/null")
    assert "not the one that requirements.lock names" in last_words(result)
    assert not list((checkout / ".venv").rglob("nxtoy.py"))


@pytest.fixture
def full_disk(checkout: Path, tmp_path: Path) -> Iterator[Path]:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "nxt-small", str(small)], check=True)
    try:
        shutil.copytree(checkout / "scripts", small / "scripts")
        shutil.copy(checkout / "requirements.lock", small)
        yield small
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_full_disk(full_disk: Path) -> None:
    assert "the disk is full" in last_words(setup(full_disk))


def test_unknown_mode(checkout: Path) -> None:
    assert "usage: scripts/setup.sh run|test|check" in last_words(setup(checkout, "walk"))
