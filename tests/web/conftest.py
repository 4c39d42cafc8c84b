from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nexushub.services import users
from nexushub.views import Actor
from nexushub.work import Hub
from web.app import create_app
from web.identity import PEER_UID

PASSWORD = "correct horse battery staple"


class Api:
    """Requests to an application, by default as root over the unix socket."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._client: FlaskClient = app.test_client()

    def __call__(self, method: str, path: str, body: Any = None, *, uid: int | None = 0, **more: Any) -> TestResponse:
        environ = {} if uid is None else {PEER_UID: uid}
        if body is not None:
            more["json"] = body
        headers = dict(more.pop("headers", {}))
        if method in ("PATCH", "DELETE"):
            headers.setdefault("If-Match", "*")
        url = path[1:] if path.startswith("//") else f"/api/v1{path}"
        return self._client.open(url, method=method, environ_overrides=environ, headers=headers, **more)

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON of an answer that must be a success."""
        response = self(method, path, body, **more)
        assert response.status_code < 300, response.text
        return response.get_json() if response.data else None

    def problem(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The problem of an answer that must be one."""
        response = self(method, path, body, **more)
        assert response.status_code >= 400, response.text
        assert response.mimetype == "application/problem+json"
        document = response.get_json()
        assert document["status"] == response.status_code
        return dict(document)

    def sign_in(self, name: str) -> dict[str, str]:
        """The header of a new session."""
        token = self.ok("POST", "/auth/login", {"name": name, "password": PASSWORD}, uid=None)["token"]
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def api(hub: Hub) -> Api:
    return Api(create_app(hub))


@pytest.fixture
def viewer(hub: Hub, root: Actor) -> str:
    """The name of an account that may only look."""
    with hub.work(root, wait_ms=0) as w:
        return users.create(w, name="vera", email="vera@example.org", password=PASSWORD, role="viewer").name
