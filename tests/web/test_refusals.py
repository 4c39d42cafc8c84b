"""Bad input at every door: the field is named, the status is 4xx, and nothing is stored."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from nexushub.work import Hub
from tests.hostile import REFUSED_NAMES
from tests.web.conftest import Api

KEY = base64.b64encode(bytes(range(32))).decode()

BAD_PEERS: list[tuple[str, dict[str, Any]]] = [
    ("name", {"name": ""}),
    ("name", {"name": " alice"}),
    ("name", {"name": "x" * 65}),
    ("name", {"name": "a\nPostUp = id"}),
    ("name", {"name": "a\u2028b"}),
    ("name", {"name": "a\x1b[31m"}),
    ("name", {"name": 7}),
    ("name", {"name": None}),
    ("ip", {"ip": ["010.8.0.9"]}),
    ("ip", {"ip": ["10.8.0.0"]}),
    ("ip", {"ip": ["10.8.0.255"]}),
    ("ip", {"ip": ["10.8.0.1"]}),
    ("ip", {"ip": ["192.0.2.1"]}),
    ("ip", {"ip": ["::ffff:10.8.0.9"]}),
    ("ip", {"ip": ["fe80::1%eth0"]}),
    ("ip", {"ip": "10.8.0.9"}),
    ("allowed_ips", {"allowed_ips": ["10.0.0.1/8"]}),
    ("allowed_ips", {"allowed_ips": ["010.0.0.1/32"]}),
    ("allowed_ips", {"allowed_ips": ["10.0.0.0/33"]}),
    ("allowed_ips", {"allowed_ips": ["10.0.0.0/255.0.0.0"]}),
    ("allowed_ips", {"allowed_ips": ["::ffff:10.0.0.0/104"]}),
    ("allowed_ips", {"allowed_ips": ["fe80::%1/64"]}),
    ("allowed_ips", {"allowed_ips": ["everything"]}),
    ("networks", {"networks": ["192.168.7.1/24"]}),
    ("networks", {"networks": ["10.8.0.0/24"]}),
    ("endpoint", {"endpoint": "hub example"}),
    ("endpoint", {"endpoint": "hub.example.org:0"}),
    ("endpoint", {"endpoint": "hub.example.org:65536"}),
    ("endpoint", {"endpoint": "hub\nPostUp = id:1"}),
    ("peer_endpoint", {"peer_endpoint": "somewhere.example.org:51820"}),
    ("keepalive", {"keepalive": -1}),
    ("keepalive", {"keepalive": 65536}),
    ("keepalive", {"keepalive": "25"}),
    ("keepalive", {"keepalive": 2**80}),
    ("keepalive", {"keepalive": True}),
    ("dns", {"dns": ["8.8.8"]}),
    ("dns", {"dns": ["1.1.1.1 PostUp"]}),
    ("dns", {"dns": ["9.9.9.9"] * 9}),
    ("mtu", {"mtu": 1279}),
    ("mtu", {"mtu": 9001}),
    ("public_key", {"public_key": "short"}),
    ("public_key", {"public_key": KEY[:-1]}),
    ("public_key", {"public_key": base64.b64encode(bytes(32)).decode()}),
    ("public_key", {"public_key": base64.b64encode(b"\x01" + bytes(31)).decode()}),
    ("expires", {"expires_at": "yesterday"}),
    ("expires", {"expires_at": "2001-01-01"}),
    ("expires", {"expires_at": "999999w"}),
    ("quota_bytes", {"quota_bytes": 0}),
    ("quota_bytes", {"quota_bytes": -5}),
    ("quota_bytes", {"quota_bytes": 2**63}),
    ("owner", {"owner": "a\x00b"}),
    ("owner", {"owner": "\u202eevil"}),
    ("notes", {"notes": "n" * 2001}),
    ("notes", {"notes": "a\ud800"}),
    ("surprise", {"surprise": 1}),
    ("private_key", {"private_key": KEY}),
]

BAD_INTERFACES: list[tuple[str, dict[str, Any]]] = [
    ("name", {"name": "Wg0"}),
    ("name", {"name": "0wg"}),
    ("name", {"name": "wg/0"}),
    ("name", {"name": "w" * 16}),
    ("name", {"name": ""}),
    ("name", {"name": "wg0\n"}),
    ("addresses", {"addresses": []}),
    ("addresses", {"addresses": ["10.9.0.0/24"]}),
    ("addresses", {"addresses": ["10.9.0.255/24"]}),
    ("addresses", {"addresses": ["010.9.0.1/24"]}),
    ("addresses", {"addresses": ["10.9.0.1/33"]}),
    ("addresses", {"addresses": ["::ffff:10.9.0.1/120"]}),
    ("addresses", {"addresses": ["fe80::1%lo/64"]}),
    ("addresses", {"addresses": ["10.9.0.1/24", "10.9.0.2/24"]}),
    ("addresses", {"addresses": [f"10.{i}.0.1/24" for i in range(10, 27)]}),
    ("listen_port", {"listen_port": 0}),
    ("listen_port", {"listen_port": 65536}),
    ("listen_port", {"listen_port": "51820"}),
    ("endpoint", {"endpoint": "a b"}),
    ("dns", {"dns": ["-bad-"]}),
    ("mtu", {"mtu": 1279}),
    ("mtu", {"mtu": 9001}),
    ("mtu", {"mtu": 1420.5}),
    ("policy", {"policy": "maybe"}),
    ("policy_egress", {"policy_egress": ""}),
    ("no_filter", {"no_filter": None}),
    ("key_policy", {"key_policy": "always"}),
    ("nat", {"nat": "yes"}),
    ("private_key", {"private_key": KEY}),
]

_ALIAS = {"addresses": "address"}


def _stored(hub: Hub) -> list[Any]:
    with hub.engine.connect() as connection:
        return [
            tuple(row)
            for table in ("interfaces", "peers", "peer_addresses", "preshared_keys", "groups", "nodes")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1")
        ]


def _names(problem: dict[str, Any], field: str) -> bool:
    pointers = [item["pointer"].split("/")[-1] for item in problem.get("errors", [])]
    return any(name in (problem.get("field"), *pointers) for name in (field, _ALIAS.get(field, field))) or any(
        field in item["pointer"].split("/") for item in problem.get("errors", [])
    )


def test_a_bad_peer_is_refused_by_field(api: Api, hub: Hub, wg0: str) -> None:
    api.ok("POST", "/peers", {"interface": wg0, "name": "victim"})
    before = _stored(hub)
    for field, bad in BAD_PEERS:
        for method, path, body in (
            ("POST", "/peers", {"interface": wg0, "name": "alice", **bad}),
            ("POST", "/peers", {"interface": wg0, "peers": [{"name": "first"}, {"name": "alice", **bad}]}),
            ("PATCH", "/peers/victim", bad),
        ):
            response = api(method, path, data=json.dumps(body), content_type="application/json")
            assert response.status_code in (409, 422), (method, body, response.text)
            assert _names(response.get_json(), field), (method, body, response.text)
            assert _stored(hub) == before, (method, body)


def test_a_bad_interface_is_refused_by_field(api: Api, hub: Hub, wg0: str) -> None:
    before = _stored(hub)
    for field, bad in BAD_INTERFACES:
        for method, path, body in (
            ("POST", "/interfaces", {"name": "wg5", "addresses": ["10.9.0.1/24"], **bad}),
            ("PATCH", f"/interfaces/{wg0}", bad),
        ):
            response = api(method, path, body)
            assert response.status_code in (409, 422), (method, body, response.text)
            assert _names(response.get_json(), field), (method, body, response.text)
            assert _stored(hub) == before, (method, body)


def test_clashes_name_the_other(api: Api, wg0: str) -> None:
    one = api.ok("POST", "/peers", {"interface": wg0, "name": "alice", "networks": ["192.168.7.0/24"]})["items"][0][
        "peer"
    ]
    clashes = [
        ("POST", "/peers", {"interface": wg0, "name": "alice"}, "name", "wg0"),
        ("POST", "/peers", {"interface": wg0, "name": "bob", "public_key": one["public_key"]}, "public_key", "alice"),
        ("POST", "/peers", {"interface": wg0, "name": "bob", "ip": one["addresses"]}, "ip", "alice"),
        ("POST", "/peers", {"interface": wg0, "name": "bob", "networks": ["192.168.7.128/25"]}, "networks", "alice"),
        ("POST", "/interfaces", {"name": "wg0", "addresses": ["10.9.0.1/24"]}, "name", "wg0"),
        (
            "POST",
            "/interfaces",
            {"name": "wg1", "addresses": ["10.9.0.1/24"], "listen_port": 51820},
            "listen_port",
            "wg0",
        ),
        ("POST", "/interfaces", {"name": "wg1", "addresses": ["10.8.0.129/25"]}, "address", "wg0"),
    ]
    for method, path, body, field, other in clashes:
        problem = api.problem(method, path, body)
        assert (problem["status"], problem["code"], problem["field"]) == (409, "conflict", field), problem
        assert other in problem["existing"], problem


def test_hostile_names_are_refused_at_every_input(api: Api, hub: Hub, wg0: str) -> None:
    api.ok("POST", "/peers", {"interface": wg0, "name": "alice"})
    api.ok("POST", "/groups", {"name": "staff"})
    before = _stored(hub)
    doors: list[tuple[str, str, Callable[[str], dict[str, Any]]]] = [
        ("POST", "/peers", lambda name: {"interface": wg0, "name": name}),
        ("POST", "/peers", lambda name: {"interface": wg0, "peers": [{"name": "ok"}, {"name": name}]}),
        ("PATCH", "/peers/alice", lambda name: {"name": name}),
        ("POST", "/groups", lambda name: {"name": name}),
        ("POST", "/interfaces", lambda name: {"name": name, "addresses": ["10.9.0.1/24"]}),
        ("PATCH", "/interfaces/wg0", lambda name: {"name": name}),
    ]
    for name in REFUSED_NAMES:
        for method, path, body in doors:
            response = api(method, path, data=json.dumps(body(name)), content_type="application/json")
            assert response.status_code == 422, (ascii(name), method, path, response.text)
            assert _names(response.get_json(), "name"), (ascii(name), response.text)
    assert _stored(hub) == before


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"{}"', "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"name":' * 50_000 + b"1" + b"}" * 50_000, "application/json", 400),
        (b'{"name": ' + b"9" * 10_000 + b"}", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"name":"x","addresses":["10.9.0.1/24"]}', "text/plain", 415),
        (b"name=x", "application/x-www-form-urlencoded", 415),
        (b'{"name": "' + b"x" * (1024 * 1024) + b'"}', "application/json", 413),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_bodies_that_are_not_what_they_should_be(api: Api, data: bytes, kind: str, status: int) -> None:
    response = api("POST", "/interfaces", data=data, content_type=kind)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json"), response.text


@pytest.mark.parametrize(
    "path",
    ["/peers/%00", "/peers/a%00b", "/peers?search=%00", "/peers?after=a%00", "/interfaces/%ff", "/peers/%ed%a0%80"],
)
def test_paths_and_queries_that_no_name_has(api: Api, path: str) -> None:
    assert api("GET", path).status_code in (400, 404, 422)


def test_refusals_echo_no_value_of_an_unknown_field(api: Api, wg0: str) -> None:
    text = api("POST", "/peers", {"interface": wg0, "name": "alice", "private_key": KEY}).text
    assert KEY not in text
    assert api.problem("POST", "/auth/login", {"name": "a", "password": ["hunter2hunter2"]}, uid=None)["status"] == 422
    assert "hunter2" not in api("POST", "/auth/login", {"name": "a", "password": ["hunter2hunter2"]}, uid=None).text
