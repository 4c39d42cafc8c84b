"""Peers, one or many, and the files of their clients."""

from __future__ import annotations

import json

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import RootModel

from nexushub import qr
from nexushub.errors import Invalid
from nexushub.services import interfaces, peers
from nexushub.services.peerfields import NewPeer
from nexushub.views import CreatedPeer, PeerRow, PeerView
from web import bodies
from web.context import answer, changing, expected, reading, told

api = APIBlueprint("peers", __name__, url_prefix="/api/v1/peers", abp_tags=[Tag(name="peers")])
rows_api = APIBlueprint("peer_rows", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="peers")])


class NewPeerOrPeers(RootModel[bodies.NewPeers | bodies.NewPeer]):
    """One peer, or ``peers`` with many of one interface."""


_IMAGE = {"description": "A QR code of the peer's file. It holds secrets."}


@api.get("", responses={200: bodies.PeerPage})
def page(query: bodies.PeerQuery) -> Response:
    """A page of peers, by name."""
    with reading() as w:
        return answer(peers.page(w, **query.model_dump()))


@rows_api.get("/peer-rows", responses={200: bodies.PeerRows})
def rows(query: bodies.RowQuery) -> Response:
    """Every peer as one light row, for tables. Not below /peers, where every word may be a name."""
    with reading() as w:
        found = peers.rows(w, interface=query.interface)
    # Not through the model: it would look at each of 160 000 cells of ten thousand rows.
    document = json.dumps({"fields": PeerRow._fields, "rows": [(str(row.id), *row[1:]) for row in found]})
    return Response(document, mimetype="application/json")


@api.post("", responses={201: bodies.CreatedPeers})
def create(body: NewPeerOrPeers) -> Response:
    """Make one peer, or many in one transaction. The answer has their files, with the private keys that were made."""
    given = body.root
    new = given.peers if isinstance(given, bodies.NewPeers) else [given]
    with changing() as w:
        made = peers.create_many(
            w,
            interface=given.interface,
            peers=[NewPeer(**item.model_dump(exclude_unset=True, exclude={"interface"})) for item in new],
        )
    items = [CreatedPeer(peer=told(one.peer, w.truth), config=one.config) for one in made]
    return answer(bodies.CreatedPeers(items=items), 201)


@api.get("/<ref:ref>", responses={200: PeerView})
def show(path: bodies.Ref) -> Response:
    """One peer."""
    with reading() as w:
        return answer(peers.get(w, path.ref))


@api.patch("/<ref:ref>", responses={200: PeerView})
def edit(path: bodies.Ref, header: bodies.IfMatch, body: bodies.PeerEdit) -> Response:
    """Change the fields that are given."""
    with changing() as w:
        row = peers.find(w, path.ref)
        version = expected(str(row.id), "peer", row.name)
        view = peers.edit(w, row.id, version=version, **body.model_dump(exclude_unset=True))
    return answer(told(view, w.truth))


@api.delete("/<ref:ref>", responses={200: PeerView})
def delete(path: bodies.Ref, header: bodies.IfMatch) -> Response:
    """Delete a peer. Its addresses are free again. Answers what it was."""
    with changing() as w:
        row = peers.find(w, path.ref, lock=True)
        interfaces.check_version(row.version, expected(str(row.id), "peer", row.name), "peer", row.name)
        view = peers.delete(w, [row.id])[0]
    return answer(told(view, w.truth))


@api.post("/<ref:ref>/enable", responses={200: PeerView})
def enable(path: bodies.Ref) -> Response:
    """Put a peer back on its device."""
    with changing() as w:
        view = peers.set_enabled(w, [path.ref], True)[0]
    return answer(told(view, w.truth))


@api.post("/<ref:ref>/disable", responses={200: PeerView})
def disable(path: bodies.Ref) -> Response:
    """Take a peer off its device; it keeps its addresses."""
    with changing() as w:
        view = peers.set_enabled(w, [path.ref], False)[0]
    return answer(told(view, w.truth))


@api.get("/<ref:ref>/config", responses={200: bodies.PeerConfigView})
def config(path: bodies.Ref) -> Response:
    """The peer's file as wg-quick reads it. Each showing is audited."""
    with changing() as w:
        found = peers.config(w, path.ref)
    return answer(
        bodies.PeerConfigView(name=found.name, file_name=found.file_name, text=found.text, compact=found.compact)
    )


@api.get("/<ref:ref>/qr.svg", responses={200: {**_IMAGE, "content": {"image/svg+xml": {"schema": {"type": "string"}}}}})
def qr_svg(path: bodies.Ref) -> Response:
    """The peer's file as a QR code, SVG. Each showing is audited."""
    return Response(_drawn(path.ref, "svg"), mimetype="image/svg+xml")


@api.get(
    "/<ref:ref>/qr.png",
    responses={200: {**_IMAGE, "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
)
def qr_png(path: bodies.Ref) -> Response:
    """The peer's file as a QR code, PNG. Each showing is audited."""
    return Response(_drawn(path.ref, "png"), mimetype="image/png")


@api.post("/<ref:ref>/rotate-psk", responses={200: PeerView})
def rotate_psk(path: bodies.Ref, body: bodies.RotatePsk) -> Response:
    """Give a peer a new preshared key, or none. Its file must be handed out again."""
    with changing() as w:
        view = peers.rotate_psk(w, path.ref, remove=body.remove)
    return answer(told(view, w.truth))


@api.post("/<ref:ref>/rotate-key", responses={200: CreatedPeer})
def rotate_key(path: bodies.Ref) -> Response:
    """Give a peer a new key pair, and its new file."""
    with changing() as w:
        made = peers.rotate_key(w, path.ref)
    return answer(CreatedPeer(peer=told(made.peer, w.truth), config=made.config))


def _drawn(ref: str, kind: str) -> str | bytes:
    with changing() as w:
        text = peers.config(w, ref).text
    try:
        return qr.to_svg(text) if kind == "svg" else qr.to_png(text)
    except ValueError as error:
        raise Invalid("config", None, str(error)) from error
