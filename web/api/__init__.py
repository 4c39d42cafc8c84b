"""The API's routes, one file a noun. Each opens one Work, calls one service and answers with one view."""

from __future__ import annotations

from web.api import auth, drift, groups, health, interfaces, peers, users

BLUEPRINTS = (
    auth.api,
    interfaces.api,
    interfaces.suggestion_api,
    peers.api,
    peers.rows_api,
    groups.api,
    drift.api,
    users.api,
    health.api,
)
