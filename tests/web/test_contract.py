from __future__ import annotations

import json

from nexushub import errors
from nexushub.cli import exits
from nexushub.errors import NexusError
from nexushub.secrets import Undecryptable
from tests.web.conftest import Api
from web import contract
from web.problems import STATUS


def _tree(kind: type[NexusError]) -> set[type[NexusError]]:
    return {kind} | {below for each in kind.__subclasses__() for below in _tree(each)}


def test_every_error_has_a_status_and_an_exit() -> None:
    ours = {kind for kind in _tree(NexusError) if kind.__module__ == errors.__name__}
    assert ours | {Undecryptable} <= STATUS.keys()
    assert ours <= exits.BY_CLASS.keys()
    for kind in STATUS:
        assert kind.code in exits.BY_CODE, f"the command line does not know {kind.code}"


def test_the_committed_description_is_the_served_one(api: Api) -> None:
    served = api("GET", "/openapi.json", uid=None)
    assert served.text == contract.FILE.read_text(), "write it again: python -m web.contract"
    document = json.loads(served.text)
    assert document["openapi"].startswith("3.1")


def test_the_description_has_every_route(api: Api) -> None:
    document = json.loads(contract.FILE.read_text())
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    routed = set()
    for rule in api.app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1/") and rule.endpoint != "health.openapi":
            path = rule.rule.replace("<ref:ref>", "{ref}").replace("<ref:id>", "{id}")
            routed |= {(method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert described == routed


def test_errors_are_described_as_problems() -> None:
    document = json.loads(contract.FILE.read_text())
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for status, answer in operation["responses"].items():
                if status >= "400" and not (path.endswith("/ready") and status == "503"):
                    assert "application/problem+json" in answer["content"], (path, method, status)
            if method in ("patch", "delete"):
                assert {"412", "428"} <= operation["responses"].keys()
                assert any(parameter["name"] == "If-Match" for parameter in operation["parameters"])


def test_all_answers_carry_the_security_headers(api: Api) -> None:
    for path, status in (("//", 200), ("/health", 200), ("/peers", 200), ("/nowhere", 404), ("/peers/none", 404)):
        response = api("GET", path)
        assert response.status_code == status, path
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Request-Id"]


def test_health_and_ready(api: Api) -> None:
    assert api.ok("GET", "/health", uid=None)["status"] == "ok"
    ready = api("GET", "/ready", uid=None)
    assert ready.status_code == 503
    assert ready.get_json() == {
        "ready": False,
        "database": "ok",
        "schema_revision": ready.get_json()["schema_revision"],
        "agent": "is not running",
    }
