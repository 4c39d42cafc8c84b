"""Errors as RFC 9457 problems: one table from error class to status, one shape for everything that is not 2xx.

A problem's ``code`` is stable. What the caller sent is never echoed by validation errors, as it may be a secret.
"""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any

from flask import Response, g, request
from pydantic import BaseModel, Field, ValidationError
from werkzeug.exceptions import HTTPException

from nexushub import errors
from nexushub.errors import NexusError
from nexushub.secrets import Undecryptable
from nexushub.work import record_refusal
from web.context import hub

log = logging.getLogger(__name__)

STATUS: dict[type[NexusError], int] = {
    NexusError: 500,
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.Exhausted: 409,
    errors.Denied: 403,
    errors.SignIn: 401,
    errors.KernelError: 502,
    errors.Foreign: 409,
    errors.Unavailable: 503,
    errors.Configuration: 500,
    Undecryptable: 500,
}
"""Every class of the error tree. A test walks the tree, so a new class can't fall through to 500 unseen."""

CODES = {
    400: "bad_request",
    401: "sign_in",
    403: "denied",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    412: "stale",
    413: "too_large",
    414: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    428: "precondition_required",
    429: "too_many_requests",
    431: "too_large",
    500: "internal",
    503: "unavailable",
}
"""Codes of the problems that no class of ours stands for."""

RETRY_AFTER_S = 5
_EVIDENCE = ("existing", "kind", "name", "needs", "pool", "size", "op", "target", "what", "locked_until")


class FieldProblem(BaseModel):
    pointer: str = Field(description="JSON pointer to the field in the request's body, or the parameter's name.")
    detail: str


class Problem(BaseModel):
    """RFC 9457. ``code`` is what to match on."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str | None = None
    errors: list[FieldProblem] | None = None
    request_id: str


class Precondition(HTTPException):
    code = 428
    description = "This changes something: send If-Match with the ETag you read, or * to change whatever is there."


def problem(status: int, code: str, detail: str, **more: Any) -> Response:
    """A problem as a response."""
    document = {
        "type": f"urn:nexushub:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **{key: value for key, value in more.items() if value not in (None, "", [])},
        "request_id": g.setdefault("request_id", secrets.token_hex(8)),
    }
    from flask import json  # noqa: PLC0415  (named like the module that everything else here means)

    response = Response(json.dumps(document), status, mimetype="application/problem+json")
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="nexushub"'
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def status_of(error: NexusError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def from_error(error: NexusError) -> Response:
    """An error of ours. A refusal is audited; what is our fault goes to the log with its traceback."""
    status = status_of(error)
    if isinstance(error, errors.Denied) and "actor" in g:
        record_refusal(hub(), g.actor, error.needs, error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, errors.Unavailable):
        log.error("%s %s: %s", request.method, request.path, error, exc_info=error)
    evidence = {name: getattr(error, name) for name in _EVIDENCE if hasattr(error, name)}
    if evidence.get("locked_until"):
        evidence["locked_until"] = evidence["locked_until"].isoformat()
    field = getattr(error, "field", None)
    if field and isinstance(error, errors.Invalid | errors.Conflict) and not isinstance(error, errors.Stale):
        evidence["field"] = field
        reason = error.reason if isinstance(error, errors.Invalid) else error.message
        evidence["errors"] = [{"pointer": f"/{field}", "detail": reason}]
    return problem(status, error.code, error.message, hint=error.hint, **evidence)


def from_http(error: HTTPException) -> Response:
    """What Flask and Werkzeug refuse: unknown paths, wrong methods, bodies too large."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]  # a ready answer of ours, passed through abort()
    status = error.code or 500
    response = problem(status, CODES.get(status, "http"), error.description or HTTPStatus(status).phrase)
    if (methods := getattr(error, "valid_methods", None)) is not None:
        response.headers["Allow"] = ", ".join(sorted(methods))
    return response


def from_validation(error: ValidationError) -> Response:
    """What a request's model refuses, by pointer."""
    found = [
        {"pointer": "/" + "/".join(str(part) for part in item["loc"]), "detail": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:20]
    ]
    first = found[0]
    field = first["pointer"].rsplit("/", 1)[-1]
    return problem(
        422, "invalid", f"{field}: {first['detail']}." if field else f"{first['detail']}.", field=field, errors=found
    )


def from_bug(error: Exception) -> Response:
    """What nobody expected: logged whole, answered without a word of it."""
    log.error(
        "%s %s failed, request %s",
        request.method,
        request.path,
        g.setdefault("request_id", secrets.token_hex(8)),
        exc_info=error,
    )
    return problem(
        500, "internal", "NexusHub failed on this request.", hint="Its log has the details under this request_id."
    )
