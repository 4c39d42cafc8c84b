"""What one request works with: the hub, who asks, and the unit of work around the change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from flask import Response, current_app, g, request
from pydantic import BaseModel

from nexushub.errors import Stale
from nexushub.views import Actor, Truth

if TYPE_CHECKING:
    from nexushub.work import Hub, Work

V = TypeVar("V", bound=BaseModel)

STATEMENT_MS = 8000
"""No statement of a request runs longer; the request's own deadline is ten seconds."""


def hub() -> Hub:
    return cast("Hub", current_app.extensions["nexushub"])


def actor() -> Actor:
    """Who asks. The gate has set it, or the route is public and does not call this."""
    return cast(Actor, g.actor)


@contextmanager
def changing() -> Iterator[Work]:
    """A Work of this request's actor, bounded in time."""
    with hub().work(actor()) as w:
        w.db.connection().exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
        yield w


@contextmanager
def reading() -> Iterator[Work]:
    """The same, read only."""
    with hub().reading(actor()) as w:
        w.db.connection().exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
        yield w


def told(view: V, truth: Truth) -> V:
    """The view with what the kernel made of the change, known once the Work has ended."""
    return view.model_copy(update=truth.model_dump())


def answer(view: BaseModel, status: int = 200, *, location: str = "") -> Response:
    """A view as JSON. What has an id and a version carries its ETag."""
    response = Response(view.model_dump_json(), status, mimetype="application/json")
    if hasattr(view, "version") and hasattr(view, "id"):
        response.headers["ETag"] = etag(str(view.id), view.version)
    if location:
        response.headers["Location"] = location
    return response


def etag(object_id: str, version: int) -> str:
    return f'"{object_id}-{version}"'


def expected(object_id: str, kind: str, name: str) -> int | None:
    """The version that If-Match asks for; None for ``*``. An ETag of another object is as stale as an old one.

    The gate has made sure that the header is there.
    """
    given = request.headers.get("If-Match", "").strip()
    if given == "*":
        return None
    for tag in given.split(","):
        tagged, dash, version = tag.strip().removeprefix("W/").strip('"').rpartition("-")
        if dash and tagged == object_id and version.isascii() and version.isdigit() and len(version) < 10:
            return int(version)
    raise Stale(kind, name)
