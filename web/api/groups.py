"""Groups of peers."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from nexushub.services import groups
from nexushub.views import GroupView
from web import bodies
from web.context import answer, changing, reading

api = APIBlueprint("groups", __name__, url_prefix="/api/v1/groups", abp_tags=[Tag(name="groups")])


@api.get("", responses={200: bodies.GroupPage})
def listing() -> Response:
    """Every group with its peers, by name."""
    with reading() as w:
        return answer(bodies.GroupPage(items=groups.listing(w)))


@api.post("", responses={201: GroupView})
def create(body: bodies.GroupName) -> Response:
    """Make an empty group."""
    with changing() as w:
        return answer(groups.create(w, body.name), 201)


@api.delete("/<ref:ref>", responses={204: None})
def delete(path: bodies.Ref, header: bodies.IfMatch) -> Response:
    """Delete a group; its peers stay."""
    with changing() as w:
        groups.delete(w, path.ref)
    return Response(status=204)


@api.post("/<ref:ref>/add", responses={200: GroupView})
def add(path: bodies.Ref, body: bodies.Members) -> Response:
    """Put peers into a group."""
    with changing() as w:
        return answer(groups.add(w, path.ref, body.peers))


@api.post("/<ref:ref>/remove", responses={200: GroupView})
def remove(path: bodies.Ref, body: bodies.Members) -> Response:
    """Take peers out of a group."""
    with changing() as w:
        return answer(groups.remove(w, path.ref, body.peers))
