"""Where the kernel disagrees with the database, and what was decided about it."""

from __future__ import annotations

from uuid import UUID

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import Field

from nexushub.services import drift
from nexushub.views import DriftView
from web import bodies
from web.context import answer, changing, reading

api = APIBlueprint("drift", __name__, url_prefix="/api/v1/drift", abp_tags=[Tag(name="drift")])


class DriftId(bodies.Lenient):
    id: UUID = Field(description="An id of the listing.")


@api.get("", responses={200: bodies.DriftPage})
def listing(query: bodies.DriftQuery) -> Response:
    """What is open, oldest first."""
    with reading() as w:
        return answer(bodies.DriftPage(items=drift.listing(w, everything=query.everything)))


@api.post("/<ref:id>/adopt", responses={200: DriftView})
def adopt(path: DriftId) -> Response:
    """Take the kernel's value into the database."""
    with changing() as w:
        return answer(drift.adopt(w, path.id))


@api.post("/<ref:id>/revert", responses={200: DriftView})
def revert(path: DriftId) -> Response:
    """Put the database's value back into the kernel."""
    with changing() as w:
        return answer(drift.revert(w, path.id))


@api.post("/<ref:id>/ignore", responses={200: DriftView})
def ignore(path: DriftId) -> Response:
    """Leave both as they are and say no more about it."""
    with changing() as w:
        return answer(drift.ignore(w, path.id))
