"""Whether a hub can serve: its database with this version's schema, and its agent. For load balancers."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from nexushub.errors import NexusError
from nexushub.kernel.remote import Code
from nexushub.work import Hub

log = logging.getLogger(__name__)


def database(hub: Hub) -> tuple[str, str]:
    """``ok`` or what is wrong with the database, and its schema's revision. The reason goes to the log alone."""
    try:
        with hub.engine.connect() as connection:
            return "ok", str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "none")
    except (SQLAlchemyError, NexusError) as error:
        log.warning("not ready: %s", error)
        return "does not answer", ""


def agent(hub: Hub) -> str:
    """``ok``, or what is wrong with the agent."""
    if hub.kernel is None:
        return "not running"
    try:
        return "ok" if hub.kernel.status().code is Code.OK else "can't reach the database"
    except NexusError as error:
        return error.message.removeprefix("the agent ").rstrip(".")
