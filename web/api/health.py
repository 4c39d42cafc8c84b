"""What the hub says of itself: to load balancers, to ``status`` and to ``doctor``."""

from __future__ import annotations

import logging

from flask import Response, current_app
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from nexushub import __version__, db
from nexushub.errors import NexusError
from nexushub.kernel.remote import Code
from nexushub.services import health as service
from nexushub.views import Check, Page, StatusView
from web import bodies
from web.context import answer, hub, reading

log = logging.getLogger(__name__)

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="hub")])


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
    database, revision = _database()
    agent = _agent()
    good = database == agent == "ok" and revision == db.head()
    return answer(
        bodies.Ready(ready=good, database=database, schema_revision=revision, agent=agent), 200 if good else 503
    )


@api.get("/openapi.json", responses={200: {"description": "OpenAPI 3.1"}}, security=[{}], doc_ui=False)
def openapi() -> Response:
    """The API's description."""
    from web.contract import document  # noqa: PLC0415  (needs the finished application, which imports this)

    return Response(document(current_app), mimetype="application/json")


def _database() -> tuple[str, str]:
    try:
        with hub().engine.connect() as connection:
            return "ok", str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "none")
    except (SQLAlchemyError, NexusError) as error:
        log.warning("not ready: %s", error)
        return "does not answer", ""


def _agent() -> str:
    kernel = hub().kernel
    if kernel is None:
        return "not running"
    try:
        return "ok" if kernel.status().code is Code.OK else "can't reach the database"
    except NexusError as error:
        return error.message.removeprefix("the agent ").rstrip(".")
