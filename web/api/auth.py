"""Signing in and out."""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from nexushub.services import auth, users
from nexushub.views import SignedIn
from web import bodies
from web.context import actor, answer, changing, hub, reading
from web.identity import client_address, local_uid

api = APIBlueprint("auth", __name__, url_prefix="/api/v1/auth", abp_tags=[Tag(name="auth")])


@api.post("/login", responses={200: SignedIn}, security=[{}])
def login(body: bodies.Credentials) -> Response:
    """Begin a session. Every failure is the same 401, whatever was wrong."""
    surface = "api" if local_uid() is None else "cli"
    agent = request.headers.get("User-Agent", "")
    agent = agent if agent.isprintable() else ""
    return answer(auth.sign_in(hub(), body.name, body.password, surface=surface, address=client_address(), agent=agent))  # type: ignore[arg-type]  # both are Surfaces


@api.post("/logout", responses={204: None})
def logout() -> Response:
    """End the session whose token this request carries."""
    with changing() as w:
        auth.sign_out(w)
    return Response(status=204)


@api.get("/whoami", responses={200: bodies.WhoView})
def whoami() -> Response:
    """Who this request is taken to come from."""
    with reading() as w:
        user = users.whoami(w)
    who = actor()
    return answer(bodies.WhoView(name=who.name, role=who.role, source=who.source, user=user))
