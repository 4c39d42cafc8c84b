from __future__ import annotations

import json

import pytest

from nexushub.work import Hub
from tests.web.conftest import Api


def test_a_peer_from_creation_to_deletion(api: Api, wg0: str) -> None:
    made = api("POST", "/peers", {"interface": wg0, "name": "alice-laptop", "groups": []})
    assert made.status_code == 201
    (item,) = made.get_json()["items"]
    view = item["peer"]
    assert (view["applied"], view["pending"], view["failed"]) == (False, "agent not running", None)
    assert item["config"].startswith("[Interface]\nPrivateKey = ")
    assert api.ok("GET", "/peers/alice-laptop") == api.ok("GET", f"/peers/{view['id']}") == view
    config = api.ok("GET", "/peers/alice-laptop/config")
    assert config["text"] == item["config"]
    assert config["file_name"] == "alice-laptop.conf"
    svg, png = api("GET", "/peers/alice-laptop/qr.svg"), api("GET", "/peers/alice-laptop/qr.png")
    assert (svg.mimetype, svg.text[:4]) == ("image/svg+xml", "<svg")
    assert (png.mimetype, png.data[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert api.ok("POST", "/peers/alice-laptop/disable")["state"] == "off"
    assert api.ok("POST", "/peers/alice-laptop/enable")["enabled"] is True
    assert api.ok("POST", "/peers/alice-laptop/rotate-psk", {})["preshared_key"] is True
    assert api.ok("POST", "/peers/alice-laptop/rotate-psk", {"remove": True})["preshared_key"] is False
    rotated = api.ok("POST", "/peers/alice-laptop/rotate-key")
    assert rotated["peer"]["public_key"] != view["public_key"]
    assert api.ok("DELETE", "/peers/alice-laptop")["name"] == "alice-laptop"
    assert api.problem("GET", "/peers/alice-laptop")["code"] == "not_found"


def test_an_interface_from_creation_to_deletion(api: Api) -> None:
    assert api.ok("GET", "/interface-suggestion")["name"] == "wg0"
    made = api("POST", "/interfaces", {"name": "wg7", "addresses": ["10.7.0.1/24"], "nat": True})
    assert made.status_code == 201
    assert made.headers["Location"] == "/api/v1/interfaces/wg7"
    view = made.get_json()
    assert (view["listen_port"], view["nat"], view["pending"]) == (51820, True, "agent not running")
    assert [item["name"] for item in api.ok("GET", "/interfaces")["items"]] == ["wg7"]
    assert api.ok("POST", "/interfaces/wg7/down")["enabled"] is False
    assert api.ok("POST", "/interfaces/wg7/up")["enabled"] is True
    assert api.ok("POST", "/interfaces/wg7/rotate-key")["public_key"] != view["public_key"]
    assert api.ok("PATCH", "/interfaces/wg7", {"mtu": 1380})["mtu"] == 1380
    assert api.ok("DELETE", "/interfaces/wg7")["name"] == "wg7"
    assert api.ok("GET", "/interfaces")["items"] == []


def test_a_thousand_peers_are_one_transaction(api: Api, hub: Hub) -> None:
    api.ok("POST", "/interfaces", {"name": "wg1", "addresses": ["10.20.0.1/16"]})
    names = [{"name": f"peer-{number:04}"} for number in range(1000)]
    broken = api.problem("POST", "/peers", {"interface": "wg1", "peers": [*names, {"name": "bad\u202e"}]})
    assert (broken["status"], broken["field"]) == (422, "name")
    assert api.ok("GET", "/peer-rows")["rows"] == [], "all or none"
    made = api.ok("POST", "/peers", {"interface": "wg1", "peers": names})["items"]
    assert len({item["peer"]["addresses"][0] for item in made}) == 1000
    with hub.engine.connect() as connection:
        revisions = connection.exec_driver_sql("SELECT count(DISTINCT revision) FROM peers").scalar()
    assert revisions == 1
    rows = api.ok("GET", "/peer-rows")
    assert [row[rows["fields"].index("name")] for row in rows["rows"]] == [item["name"] for item in names]


def test_pages_follow_one_another(api: Api, wg0: str) -> None:
    names = [f"p{number:02}" for number in range(25)]
    api.ok("POST", "/peers", {"interface": wg0, "peers": [{"name": name} for name in names]})
    seen, after = [], None
    while True:
        page = api.ok("GET", "/peers", query_string={"limit": 10} | ({"after": after} if after else {}))
        seen += [item["name"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == names
    assert [item["name"] for item in api.ok("GET", "/peers?search=p07")["items"]] == ["p07"]
    for query in ("limit=0", "limit=1001", "limit=x", "state=no", "unknown=1", "interface=none"):
        assert api("GET", f"/peers?{query}").status_code in (404, 422), query


def test_a_change_needs_the_version_that_was_read(api: Api, wg0: str) -> None:
    api.ok("POST", "/peers", {"interface": wg0, "name": "alice"})
    for path, change in (("/peers/alice", {"notes": "x"}), (f"/interfaces/{wg0}", {"mtu": 1400})):
        for method in ("PATCH", "DELETE"):
            bare = api.app.test_client().open(
                f"/api/v1{path}", method=method, json=change, environ_overrides={"nexushub.peer_uid": 0}
            )
            assert (bare.status_code, bare.get_json()["code"]) == (428, "precondition_required")
        tag = api("GET", path).headers["ETag"]
        first = api("PATCH", path, change, headers={"If-Match": tag})
        assert first.status_code == 200
        assert first.headers["ETag"] != tag
        for method in ("PATCH", "DELETE"):
            stale = api.problem(method, path, change, headers={"If-Match": tag})
            assert (stale["status"], stale["code"]) == (412, "stale")
        other = first.headers["ETag"].replace("0", "1").replace("a", "b")
        for broken in (other, '"x"', "", '"-1"', f'"{"9" * 5000}"', tag.replace("-1", "-\u0661")):
            assert api("PATCH", path, change, headers={"If-Match": broken}).status_code == 412, broken
        assert (
            api("PATCH", path, change, headers={"If-Match": f'"other-1", {first.headers["ETag"]}'}).status_code == 200
        )


def test_groups(api: Api, wg0: str) -> None:
    api.ok("POST", "/groups", {"name": "staff"})
    api.ok("POST", "/peers", {"interface": wg0, "name": "alice", "groups": ["staff"]})
    api.ok("POST", "/peers", {"interface": wg0, "name": "bob"})
    assert api.ok("POST", "/groups/staff/add", {"peers": ["bob"]})["peers"] == ["alice", "bob"]
    assert api.ok("POST", "/groups/staff/remove", {"peers": ["alice"]})["peers"] == ["bob"]
    assert [item["name"] for item in api.ok("GET", "/peers?group=staff")["items"]] == ["bob"]
    assert api.problem("POST", "/groups/staff/add", {"peers": ["nobody"]})["status"] == 404
    assert api.problem("POST", "/groups", {"name": "staff"})["status"] == 409
    assert api("DELETE", "/groups/staff").status_code == 204
    assert api.ok("GET", "/groups")["items"] == []


@pytest.mark.parametrize(
    "name", ["a/b", "a%2Fb", "50%", "..", ".", "a b", "?x=1#y", "ünïcode", "日本", "rows", "events"]
)
def test_any_name_can_be_addressed(api: Api, wg0: str, name: str) -> None:
    """Names go through paths whole, whatever a path means by a slash, a dot or a percent sign."""
    from nexushub.cli.client import quote

    made = api.ok("POST", "/peers", {"interface": wg0, "name": name})["items"][0]["peer"]
    path = f"/peers/{quote(name)}"
    if name in (".", ".."):
        path = path.replace(".", "%2E")
    assert api.ok("GET", path)["id"] == made["id"]
    assert api.ok("GET", f"{path}/config")["name"] == name
    assert api.ok("DELETE", path)["id"] == made["id"]


def test_drift_status_users_and_checks_answer(api: Api, wg0: str) -> None:
    assert api.ok("GET", "/drift") == {"items": [], "next": None}
    status = api.ok("GET", "/status")
    assert (status["interfaces"][0]["name"], status["pending"]) == ("wg0", 1)
    assert status["node"]["agent"] == "not running"
    assert api.ok("GET", "/users")["items"] == []
    assert {item["name"] for item in api.ok("GET", "/checks")["items"]} >= {"agent", "PostgreSQL version"}
    assert api.problem("POST", "/drift/00000000-0000-4000-8000-000000000000/adopt")["status"] == 404
    assert api.problem("POST", "/drift/nonsense/adopt")["status"] == 422


def test_no_answer_holds_a_secret(api: Api, wg0: str, hub: Hub) -> None:
    """Keys are in the file and in what makes one, nowhere else."""
    made = api.ok("POST", "/peers", {"interface": wg0, "name": "alice", "psk": True})["items"][0]
    secrets = [
        line.split(" = ")[1] for line in made["config"].splitlines() if line.startswith(("PrivateKey", "PresharedKey"))
    ]
    assert len(secrets) == 2
    answers = [
        api("GET", path).text for path in ("/peers", "/peers/alice", "/peer-rows", "/interfaces", "/status", "/drift")
    ]
    answers.append(json.dumps(made["peer"]))
    with hub.engine.connect() as connection:
        answers += [str(row) for row in connection.exec_driver_sql("SELECT * FROM audit_log")]
    assert not [secret for secret in secrets for answer in answers if secret in answer]
