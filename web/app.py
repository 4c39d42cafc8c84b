"""The WSGI application of a hub. Nothing is global: tests make one for each hub."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, g, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from nexushub import __version__
from nexushub.errors import NexusError
from nexushub.work import Hub
from web import identity, problems, strict
from web.api import BLUEPRINTS
from web.problems import Problem

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_POINTER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>NexusHub</title></head>
<body><h1>NexusHub</h1><p>This hub is administered in a terminal: <code>nexushub</code>, and over its API.</p>
<p><a href="/api/v1/openapi.json">The API's description</a> (OpenAPI 3.1)</p></body></html>
"""


def create_app(hub: Hub) -> Flask:
    """Build the application for a hub."""
    app = _openapi()
    app.extensions["nexushub"] = hub
    app.config["MAX_CONTENT_LENGTH"] = strict.BODY_LIMIT
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider's own switch
    app.before_request(identity.gate)
    app.before_request(strict.check)
    app.after_request(_finish)
    app.register_error_handler(NexusError, problems.from_error)
    app.register_error_handler(HTTPException, problems.from_http)
    app.register_error_handler(ValidationError, problems.from_validation)
    app.register_error_handler(Exception, problems.from_bug)
    app.add_url_rule("/", "root", _root)
    for blueprint in BLUEPRINTS:
        app.register_api(blueprint)
    app.wsgi_app = _Encoded(app.wsgi_app)  # type: ignore[method-assign]  # how Flask wants a middleware mounted
    return app


def _openapi() -> OpenAPI:
    app = OpenAPI(
        "nexushub.web",
        info=Info(
            title="NexusHub",
            version=__version__,
            description="A WireGuard hub's interfaces and peers. Errors are RFC 9457 problems with a stable code.",
        ),
        security_schemes={"session": {"type": "http", "scheme": "bearer"}},
        doc_ui=False,
        validation_error_status=422,
        validation_error_model=Problem,
        validation_error_callback=problems.from_validation,
        openapi_extensions={"security": [{"session": []}]},
        static_folder=None,
    )
    app.request_class = strict.StrictRequest
    app.url_map.converters["ref"] = strict.RefConverter
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    return app


class _Encoded:
    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        strict.encoded_path(environ)
        return self._app(environ, start_response)


def _root() -> Response:
    return Response(_POINTER, mimetype="text/html")


def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = g.setdefault("request_id", secrets.token_hex(8))
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response
