"""The OpenAPI document as it is served and committed: problems for every error, in a fixed order.

``python -m web.contract`` writes docs/openapi.json; a test compares the two.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

from flask import Flask
from flask_openapi3.openapi import OpenAPI

FILE = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_DESCRIBED = {
    "400": "The request is not understood",
    "401": "Who is asking is not known",
    "403": "The role does not allow it",
    "404": "There is no such object",
    "409": "It clashes with something that exists",
    "412": "It was changed since it was read",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "422": "A value was refused",
    "428": "If-Match is missing",
    "503": "Database or server is away; try later",
}


def document(app: Flask) -> str:
    """The contract as JSON text, the same for every hub and every run."""
    made: dict[str, Any] = copy.deepcopy(cast(OpenAPI, app).api_doc)
    for path, item in made["paths"].items():
        for method, operation in item.items():
            operation["responses"] = _responses(path, method, operation)
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def _responses(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    wanted = ["400", "503", "422"]
    if operation.get("security") != [{}]:
        wanted += ["401", "403"]
    if path.endswith("/login"):
        wanted += ["401"]
    if "{" in path:
        wanted += ["404"]
    if method in ("post", "patch", "delete"):
        wanted += ["404", "409", "413", "415"]
    if method in ("patch", "delete"):
        wanted += ["412", "428"]
    own = {status: answer for status, answer in operation["responses"].items() if status != "422"}
    return own | {
        status: {"description": _DESCRIBED[status], "content": _PROBLEM} for status in wanted if status not in own
    }


def main() -> None:
    from web.app import create_app  # noqa: PLC0415  (imports this module's readers)

    # No route is called, so the application needs no hub.
    FILE.write_text(document(create_app(None)))  # type: ignore[arg-type]  # the document needs no hub


if __name__ == "__main__":
    main()
