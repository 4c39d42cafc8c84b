from __future__ import annotations

import re

import pytest

from nexushub.work import Hub
from tests.web.conftest import PASSWORD, Api
from web.identity import PUBLIC


def _paths(api: Api) -> list[tuple[str, str, str]]:
    """Every rule of the application as method, endpoint and a path that matches."""
    found = []
    for rule in api.app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            path = re.sub(r"<ref:id>", "00000000-0000-4000-8000-000000000000", rule.rule)
            found.append((method, rule.endpoint, re.sub(r"<[^>]+>", "x", path)))
    return found


def test_every_route_is_closed_or_on_the_reviewed_list(api: Api) -> None:
    """A stranger gets 401 everywhere but where the list says why not."""
    seen = set()
    for method, endpoint, path in _paths(api):
        seen.add(endpoint)
        for uid in (None, 65534):
            response = api(method, "/" + path, {} if method != "GET" else None, uid=uid)
            closed = response.status_code == 401 and response.get_json()["code"] == "sign_in"
            assert closed is (endpoint not in PUBLIC), (method, path, response.status_code)
    assert seen >= set(PUBLIC), "the list names routes that do not exist"
    assert all(PUBLIC.values())
    assert len(seen) > 30


def test_every_method_of_a_closed_path_is_closed(api: Api) -> None:
    for method in ("HEAD", "OPTIONS"):
        assert api(method, "/peers", uid=None).status_code == 401, method


def test_root_of_this_machine_needs_no_token_and_others_do(api: Api) -> None:
    who = api.ok("GET", "/auth/whoami")
    assert (who["role"], who["source"], who["user"]) == ("super_admin", "cli", None)
    assert who["name"].startswith("root@")
    assert api.problem("GET", "/auth/whoami", uid=1000)["code"] == "sign_in"


def test_a_header_can_not_claim_the_socket(api: Api) -> None:
    for name in ("nexushub.peer_uid", "Nexushub-Peer-Uid", "Nexushub.Peer_uid", "X-Forwarded-For", "Remote-Addr"):
        assert api("GET", "/peers", uid=None, headers={name: "0"}).status_code == 401


def test_a_session_lasts_until_its_end(api: Api, viewer: str) -> None:
    headers = api.sign_in(viewer)
    who = api.ok("GET", "/auth/whoami", uid=None, headers=headers)
    assert (who["name"], who["role"], who["user"]["email"]) == ("vera", "viewer", "vera@example.org")
    # The token decides, also for root: who signed in as somebody acts as that account.
    assert api.ok("GET", "/auth/whoami", uid=0, headers=headers)["name"] == "vera"
    assert api("POST", "/auth/logout", uid=None, headers=headers).status_code == 204
    assert api("GET", "/auth/whoami", uid=None, headers=headers).status_code == 401
    assert api("GET", "/auth/whoami", uid=0, headers=headers).status_code == 401


def test_every_wrong_sign_in_looks_the_same(api: Api, viewer: str) -> None:
    answers = []
    for name, password in ((viewer, "wrong"), ("nobody", PASSWORD), ("", ""), ("vera@example.org", "x")):
        problem = api.problem("POST", "/auth/login", {"name": name, "password": password}, uid=None)
        problem.pop("request_id")
        answers.append(problem)
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["status"] == 401


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Basic dmVyYTp4", "Bearer \u00e9\u00e9", "x" * 9000])
def test_a_broken_token_is_no_identity(api: Api, value: str) -> None:
    assert api("GET", "/peers", uid=None, headers={"Authorization": value}).status_code == 401


def test_what_a_viewer_may_not_do(api: Api, viewer: str, wg0: str, hub: Hub) -> None:
    headers = api.sign_in(viewer)
    made = api("POST", "/peers", {"interface": wg0, "name": "alice"}, uid=None, headers=headers)
    assert (made.status_code, made.get_json()["code"], made.get_json()["needs"]) == (403, "denied", "peer.create")
    assert api.ok("GET", "/peers", uid=None, headers=headers)["items"] == []
    with hub.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT action, result FROM audit_log WHERE actor = 'vera' ORDER BY seq"
        ).all()
    assert tuple(rows[-1]) == ("peer.create", "denied"), "a refusal is audited"


def test_forwarded_addresses_count_only_from_trusted_proxies(api: Api, hub: Hub) -> None:
    from web.identity import client_address

    def seen(remote: str, forwarded: str) -> str:
        with api.app.test_request_context(environ_base={"REMOTE_ADDR": remote}, headers={"X-Forwarded-For": forwarded}):
            return client_address()

    assert seen("192.0.2.7", "10.0.0.1") == "192.0.2.7"
    object.__setattr__(hub.settings, "trusted_proxies", ("127.0.0.0/8", "10.0.0.0/8"))
    assert seen("127.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert seen("127.0.0.1", "uid:0, 203.0.113.9, 10.1.1.1") == "203.0.113.9"
    assert seen("127.0.0.1", "uid:0") == "127.0.0.1"
    assert seen("192.0.2.7", "203.0.113.9") == "192.0.2.7"
