"""Accounts."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from nexushub.services import users
from web import bodies
from web.context import answer, reading

api = APIBlueprint("users", __name__, url_prefix="/api/v1/users", abp_tags=[Tag(name="users")])


@api.get("", responses={200: bodies.UserPage})
def listing() -> Response:
    """Every account, by name."""
    with reading() as w:
        return answer(bodies.UserPage(items=users.listing(w)))
