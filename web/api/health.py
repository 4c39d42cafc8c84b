"""What the hub says of itself: to load balancers, to ``status`` and to ``doctor``."""

from __future__ import annotations

from flask import Response, current_app
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from nexushub import __version__, db, readiness
from nexushub.services import health as service
from nexushub.views import Check, Page, StatusView
from web import bodies
from web.context import answer, hub, reading

api = APIBlueprint("health", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="hub")])


class CheckPage(Page[Check]):
    pass


@api.get("/status", responses={200: StatusView})
def status() -> Response:
    """The hub at a glance."""
    with reading() as w:
        return answer(service.status(w))


@api.get("/checks", responses={200: CheckPage})
def checks() -> Response:
    """The part of ``nexushub doctor`` that only the server can see."""
    with reading() as w:
        return answer(CheckPage(items=service.checks(w)))


@api.get("/health", responses={200: bodies.Health}, security=[{}])
def health() -> Response:
    """The process runs. Says nothing of what it needs; ``ready`` does."""
    return answer(bodies.Health(version=__version__))


@api.get("/ready", responses={200: bodies.Ready, 503: bodies.Ready}, security=[{}])
def ready() -> Response:
    """Whether requests can be served: database, its schema, and the agent. 503 when one of the three is missing."""
    database, revision = readiness.database(hub())
    agent = readiness.agent(hub())
    good = database == agent == "ok" and revision == db.head()
    return answer(
        bodies.Ready(ready=good, database=database, schema_revision=revision, agent=agent), 200 if good else 503
    )


@api.get("/openapi.json", responses={200: {"description": "OpenAPI 3.1"}}, security=[{}], doc_ui=False)
def openapi() -> Response:
    """The API's description."""
    from web.contract import document  # noqa: PLC0415  (needs the finished application, which imports this)

    return Response(document(current_app), mimetype="application/json")
