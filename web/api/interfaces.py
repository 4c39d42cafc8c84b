"""Interfaces."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from nexushub.services import interfaces
from nexushub.services.interfaces import Suggestion
from nexushub.views import InterfaceView
from web import bodies
from web.context import answer, changing, expected, reading, told

api = APIBlueprint("interfaces", __name__, url_prefix="/api/v1/interfaces", abp_tags=[Tag(name="interfaces")])
suggestion_api = APIBlueprint("suggestion", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="interfaces")])


@api.get("", responses={200: bodies.InterfacePage})
def listing() -> Response:
    """Every interface of this hub, by name. There are few: one page."""
    with reading() as w:
        return answer(bodies.InterfacePage(items=interfaces.listing(w)))


@suggestion_api.get("/interface-suggestion", responses={200: Suggestion})
def suggestion() -> Response:
    """A name, network and port that are free, for a new interface."""
    with reading() as w:
        return answer(interfaces.suggest(w))


@api.post("", responses={201: InterfaceView})
def create(body: bodies.NewInterface) -> Response:
    """Make an interface with a new key pair."""
    with changing() as w:
        view = interfaces.create(w, **body.model_dump(exclude_unset=True))
    return answer(told(view, w.truth), 201, location=f"/api/v1/interfaces/{view.name}")


@api.get("/<ref:ref>", responses={200: InterfaceView})
def show(path: bodies.Ref) -> Response:
    """One interface."""
    with reading() as w:
        return answer(interfaces.get(w, path.ref))


@api.patch("/<ref:ref>", responses={200: InterfaceView})
def edit(path: bodies.Ref, header: bodies.IfMatch, body: bodies.InterfaceChange) -> Response:
    """Change the fields that are given."""
    with changing() as w:
        row = interfaces.find(w, path.ref)
        version = expected(str(row.id), "interface", row.name)
        view = interfaces.edit(w, row.id, version=version, **body.model_dump(exclude_unset=True))
    return answer(told(view, w.truth))


@api.delete("/<ref:ref>", responses={200: InterfaceView})
def delete(path: bodies.Ref, header: bodies.IfMatch) -> Response:
    """Delete an interface with its peers and their keys. Answers what it was."""
    with changing() as w:
        row = interfaces.find(w, path.ref)
        view = interfaces.delete(w, row.id, version=expected(str(row.id), "interface", row.name))
    return answer(told(view, w.truth))


@api.post("/<ref:ref>/up", responses={200: InterfaceView})
def up(path: bodies.Ref) -> Response:
    """Bring an interface up."""
    with changing() as w:
        view = interfaces.set_enabled(w, path.ref, True)
    return answer(told(view, w.truth))


@api.post("/<ref:ref>/down", responses={200: InterfaceView})
def down(path: bodies.Ref) -> Response:
    """Take an interface down: its link goes, its peers stay in the database."""
    with changing() as w:
        view = interfaces.set_enabled(w, path.ref, False)
    return answer(told(view, w.truth))


@api.post("/<ref:ref>/rotate-key", responses={200: InterfaceView})
def rotate_key(path: bodies.Ref) -> Response:
    """Give the hub a new key pair on this interface. Every client needs a new file."""
    with changing() as w:
        view = interfaces.rotate_key(w, path.ref)
    return answer(told(view, w.truth))
