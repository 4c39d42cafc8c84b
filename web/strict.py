"""What a request must look like before a route sees it: its bytes, its JSON, its preconditions."""

from __future__ import annotations

import json
from typing import Any, NoReturn, cast
from urllib.parse import quote, unquote

from flask import Request, request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType
from werkzeug.routing import BaseConverter

from nexushub.errors import Invalid
from web.problems import Precondition

BODY_LIMIT = 1024 * 1024
HEADER_LIMIT = 16 * 1024
_CONDITIONAL = ("PATCH", "PUT", "DELETE")


class StrictRequest(Request):
    """A request whose JSON was read once, by ``check``."""

    document: dict[str, Any] | None = None

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        return self.document


class RefConverter(BaseConverter):
    """A name or id in a path. The path is routed in its percent-encoded form, so a name may contain a slash."""

    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        try:
            return _plain(unquote(value, errors="strict"))
        except (UnicodeDecodeError, Invalid) as error:
            # Only Werkzeug's own exceptions survive inside its router.
            raise BadRequest("The path has a name that nothing can have.") from error

    def to_url(self, value: str) -> str:
        return quote(value, safe="")


def encoded_path(environ: dict[str, Any]) -> None:
    """Route on the path as it was sent, so that ``%2F`` inside a name does not end a segment."""
    sent = str(environ.get("REQUEST_URI") or environ["PATH_INFO"])
    if sent.startswith("/"):
        environ["PATH_INFO"] = "/" + sent.partition("?")[0].lstrip("/")


def check() -> None:
    """Refuse NUL and half surrogates, bodies that are not a JSON object, and changes without If-Match."""
    for values in request.args.listvalues():
        for value in values:
            _plain(value)
    if request.method in _CONDITIONAL and request.endpoint is not None and "If-Match" not in request.headers:
        raise Precondition()
    data = request.get_data(cache=True)
    if not data:
        return
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body must be application/json.")
    cast(StrictRequest, request).document = _parse(data)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    _walk(document)
    return document


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _walk(value: Any) -> None:
    # PostgreSQL stores no NUL and UTF-8 no half surrogate: caught here, neither can reach a statement.
    stack = [("", value)]
    while stack:
        name, item = stack.pop()
        if isinstance(item, str):
            _plain(item, name)
        elif isinstance(item, dict):
            for key in item:
                _plain(key, name)
            stack.extend((str(key), each) for key, each in item.items())
        elif isinstance(item, list):
            stack.extend((name, each) for each in item)


def _plain(value: str, name: str = "") -> str:
    if "\0" in value or not _encodes(value):
        raise Invalid(name or "request", None, "it contains a NUL or half of a surrogate pair")
    return value


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
