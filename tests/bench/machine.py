"""What a benchmark ran on, and how its goals are printed."""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import Any


def goal(name: str, limit: float, value: float) -> dict[str, Any]:
    """One goal: met when the value is at most the limit."""
    return {"name": name, "limit": limit, "value": round(value, 4), "met": value <= limit}


def report(subject: str, measured: dict[str, Any], goals: list[dict[str, Any]]) -> None:
    """Print the one JSON object. A goal missed is ``met: false``; the exit status says only that it was measured."""
    where = {"kernel": platform.release(), "python": platform.python_version(), "cpus": os.cpu_count()}
    document = {"subject": subject, "machine": where, "measured": measured, "goals": goals}
    print(json.dumps(document, indent=None if "--json" in sys.argv else 1))


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
