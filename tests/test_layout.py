"""The rules of the house that no linter has: sizes, names, one commit, docstrings where they are owed."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("nexushub", "tui", "web")
MODULE_LINES = 400
FUNCTION_LINES = 60
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "core", "base", "managers", "manager", "repositories", "misc"}
#: What the command line reaches over HTTP, and so never imports where a module is loaded.
NOT_FOR_THE_COMMAND_LINE = (
    "nexushub.boot",
    "nexushub.db",
    "nexushub.models",
    "nexushub.reconcile",
    "nexushub.schema",
    "nexushub.services",
    "nexushub.work",
    "alembic",
    "bcc",
    "flask",
    "psycopg",
    "pydantic",
    "pyroute2",
    "sqlalchemy",
    "sqlmodel",
    "textual",
    "waitress",
)


@cache
def modules(*parts: str) -> tuple[Path, ...]:
    found = [path for part in parts for path in sorted((ROOT / part).rglob("*.py"))]
    assert found, f"no module under {parts}"
    return tuple(found)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_modules_fit_one_sitting() -> None:
    long = {
        shown(path): n
        for path in modules(*PRODUCT, "tests")
        if (n := len(path.read_text().splitlines())) > MODULE_LINES
    }
    assert not long


def test_functions_fit_one_screen() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in modules(*PRODUCT, "tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]
    assert not long


def test_migrations_do_not_shadow_alembic() -> None:
    assert not list((ROOT / "alembic").rglob("__init__.py")), "`import alembic` would find our migrations"
    program = "import alembic; print(alembic.__file__)"
    found = subprocess.run(
        [ROOT / ".venv/bin/python", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "site-packages" in found


def test_no_drawer_for_everything() -> None:
    named = [path for path in modules(*PRODUCT) if {path.stem, *path.relative_to(ROOT).parts} & FORBIDDEN_NAMES]
    assert not named


def test_one_commit() -> None:
    """A service that commits tears one intent in two; the unit of work does it, once."""
    places = {
        shown(path)
        for path in modules("nexushub/services", "nexushub/cli", "nexushub/agent", "tui", "web")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    }
    assert not places
    assert "commit" in (ROOT / "nexushub/work.py").read_text()


def test_no_shell() -> None:
    places = [
        f"{shown(path)}:{node.value.lineno}"
        for path in modules(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert not places


@pytest.mark.parametrize("package", ["nexushub/services", "nexushub/kernel"])
def test_public_names_say_what_they_do(package: str) -> None:
    bare = [f"{shown(path)}: {name}" for path in modules(package) for name in undocumented(path)]
    assert not bare


def undocumented(path: Path) -> list[str]:
    module = tree(path)
    names = [] if ast.get_docstring(module) or not module.body else ["the module"]
    for node in module.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            names.append(node.name)
        if isinstance(node, ast.ClassDef):
            names += [
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
                and not method.name.startswith("_")
                and not ast.get_docstring(method)
                and not _explained_elsewhere(method)
            ]
    return names


def _explained_elsewhere(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Properties are nouns and overrides repeat; neither owes a sentence."""
    names = {node.id for node in ast.walk(ast.Module(method.decorator_list, [])) if isinstance(node, ast.Name)}  # type: ignore[arg-type]  # only walked
    return bool(names & {"property", "override", "cached_property"})


def test_command_line_loads_nothing_heavy() -> None:
    """At the top of a module; inside a function is for the commands that work on this machine."""
    found = [
        f"{shown(path)}:{node.lineno} {name}"
        for path in modules("nexushub/cli")
        for node in tree(path).body
        for name in imported(node)
        if any(name == heavy or name.startswith(heavy + ".") for heavy in NOT_FOR_THE_COMMAND_LINE)
    ]
    assert not found


def imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def test_every_exception_from_a_rule_has_a_reason() -> None:
    bare = [
        f"{shown(path)}:{number}"
        for path in modules(*PRODUCT, "tests")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ("# noqa" in line or "# type: ignore" in line) and path != Path(__file__) and not _reasoned(line)
    ]
    assert not bare


def _reasoned(line: str) -> bool:
    """Words after the code of the rule: ``# noqa: S603  (arguments of ours)``."""
    for mark in ("# noqa", "# type: ignore"):
        if mark in line:
            after = line.split(mark, 1)[1]
            return len([word for word in after.replace("#", " ").split()[1:] if word.strip("()").isascii()]) > 1
    return True
