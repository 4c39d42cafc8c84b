"""Peers through the service layer: allocation, refusals that name the other, files, revisions."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from sqlalchemy import text

from nexushub.errors import Conflict, Exhausted, Invalid, NexusError, NotFound, Stale
from nexushub.secrets import generate_private_key, public_key
from nexushub.services import groups, interfaces, peers
from nexushub.services.peerfields import NewPeer
from nexushub.views import Actor, CreatedPeer
from nexushub.work import Hub, Work


def make(hub: Hub, root: Actor, **given: Any) -> CreatedPeer:
    with hub.work(root, wait_ms=0) as w:
        return peers.create(w, interface=given.pop("interface", "wg0"), **given)


def test_a_name_is_enough(hub: Hub, root: Actor, wg0: str) -> None:
    made = make(hub, root, name="alice-laptop")
    assert made.peer.addresses == ["10.8.0.2", "fd00:8::2"]
    assert made.peer.state == "never"
    assert "Address = 10.8.0.2/32, fd00:8::2/128" in made.config
    assert "AllowedIPs = 10.8.0.0/24, fd00:8::/64" in made.config
    assert "Endpoint = hub.example.com:51820" in made.config
    with hub.work(root) as w:
        assert peers.config(w, "alice-laptop").text == made.config


def test_pending_without_an_agent(hub: Hub, root: Actor, wg0: str) -> None:
    with hub.work(root) as w:
        peers.create(w, interface="wg0", name="bob")
    assert (w.truth.applied, w.truth.pending, w.truth.failed) == (False, "agent not running", None)
    with hub.reading(root) as w:
        view = peers.get(w, "bob")
    assert (view.applied, view.pending) == (False, "agent not running")


def test_addresses_are_never_the_hubs_network_or_broadcast(hub: Hub, root: Actor) -> None:
    with hub.work(root, wait_ms=0) as w:
        interfaces.create(w, name="wg1", addresses=["10.9.0.3/29"], listen_port=51999)
    got = [make(hub, root, interface="wg1", name=f"p{i}").peer.addresses[0] for i in range(5)]
    assert got == ["10.9.0.1", "10.9.0.2", "10.9.0.4", "10.9.0.5", "10.9.0.6"]
    with pytest.raises(Exhausted) as caught:
        make(hub, root, interface="wg1", name="p6")
    assert caught.value.size == 5
    assert "10.9.0.0/29 on wg1" in str(caught.value)
    for ip, kind in (
        ("10.9.0.0", Invalid),
        ("10.9.0.7", Invalid),
        ("10.9.0.3", Conflict),
        ("10.9.0.4", Conflict),
        ("10.8.0.9", Invalid),
    ):
        with pytest.raises(kind):
            make(hub, root, interface="wg1", name="explicit", ip=[ip])


def test_a_disabled_peer_keeps_its_address_and_a_deleted_one_frees_it(hub: Hub, root: Actor, wg0: str) -> None:
    for name in ("a", "b", "c"):
        make(hub, root, name=name)
    with hub.work(root, wait_ms=0) as w:
        peers.set_enabled(w, ["a"], False)
        peers.delete(w, ["b"])
    assert make(hub, root, name="d").peer.addresses == ["10.8.0.3", "fd00:8::3"]
    assert make(hub, root, name="e").peer.addresses == ["10.8.0.5", "fd00:8::5"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"networks": ["10.8.0.2/32"]}, "networks"),
        ({"networks": ["192.168.7.0/24"]}, "networks"),
        ({"networks": ["192.168.0.0/16"]}, "networks"),
        ({"networks": ["10.8.0.0/24"]}, "networks"),
        ({"networks": ["0.0.0.0/0"]}, "networks"),
        ({"ip": ["10.8.0.2"]}, "ip"),
        ({"name": "site"}, "name"),
    ],
)
def test_what_another_peer_has_is_refused_naming_it(
    hub: Hub, root: Actor, wg0: str, given: dict[str, Any], field: str
) -> None:
    make(hub, root, name="site", networks=["192.168.7.0/24"])
    with pytest.raises(Conflict) as caught:
        make(hub, root, **({"name": "thief"} | given))
    assert caught.value.field == field
    assert "wg0" in str(caught.value)


def test_the_clients_allowed_ips_never_reach_the_hub(hub: Hub, root: Actor, wg0: str) -> None:
    for name in ("one", "two"):
        made = make(hub, root, name=name, allowed_ips=["0.0.0.0/0", "::/0"])
        assert "AllowedIPs = 0.0.0.0/0, ::/0" in made.config
    with hub.reading(root) as w:
        nets = w.db.connection().execute(text("SELECT network::text FROM peer_addresses")).scalars().all()
    assert all(ipaddress.ip_network(n).num_addresses == 1 for n in nets)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a\nPostUp = id"), ("name", "[Peer]"), ("name", "x\u2028y"), ("name", "nul\0"), ("name", "esc\x1b[2J"), ("name", ""),
        ("name", " padded"), ("name", "x" * 65), ("name", "rlo\u202egnp"), ("ip", ["010.8.0.5"]), ("ip", ["::ffff:10.8.0.5"]), ("ip", ["fe80::1%eth0"]),
        ("ip", ["10.8.0.300"]), ("networks", ["10.1.2.3/8"]), ("networks", ["1.2"]), ("networks", ["10.0.0.0/255.0.0.0"]), ("allowed_ips", ["10.0.0.1/24"]),
        ("keepalive", 65536), ("keepalive", -1), ("mtu", 1279), ("mtu", 9001), ("dns", ["1.2.3"]), ("dns", ["a b"]), ("endpoint", "host:0"), ("endpoint", "h\nost:1"),
        ("peer_endpoint", "vpn.example.com:51820"), ("peer_endpoint", "192.0.2.1"), ("public_key", "A" * 43 + "="), ("public_key", "short"),
        ("public_key", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), ("expires_at", "2001-01-01"), ("expires_at", "soon"), ("quota_bytes", 0), ("owner", "a\x07b"),
    ],
)  # fmt: skip
def test_bad_values_name_their_field_and_store_nothing(hub: Hub, root: Actor, wg0: str, field: str, value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        make(hub, root, **({"name": "ok"} | {field: value}))
    assert caught.value.field == {"expires_at": "expires", "quota_bytes": "quota_bytes"}.get(field, field)
    with hub.reading(root) as w:
        assert peers.page(w).items == []
        assert (
            w.db.connection().execute(text("SELECT count(*) FROM audit_log WHERE action = 'peer.create'")).scalar_one()
            == 0
        )


def test_a_thousand_names_are_one_transaction(hub: Hub, root: Actor) -> None:
    with hub.work(root, wait_ms=0) as w:
        interfaces.create(w, name="big", addresses=["10.20.0.1/16"], listen_port=52000)
    with hub.work(root, wait_ms=0) as w:
        made = peers.create_many(w, interface="big", peers=[NewPeer(name=f"n{i:04}") for i in range(1000)])
    assert len({p.peer.addresses[0] for p in made}) == 1000
    assert [p.peer.name for p in made] == [f"n{i:04}" for i in range(1000)]
    with hub.work(root, wait_ms=0) as w, pytest.raises(Conflict, match="n0999"):
        peers.create_many(w, interface="big", peers=[NewPeer(name="fresh"), NewPeer(name="n0999")])
    with hub.reading(root) as w:
        revision, changes = (
            w.db.connection().execute(text("SELECT max(revision), count(*) FROM changes WHERE kind = 'peer'")).one()
        )
        assert (revision, changes) == (2, 1000)
        with pytest.raises(NotFound):
            peers.get(w, "fresh")


def test_a_stale_version_overwrites_nothing(hub: Hub, root: Actor, wg0: str) -> None:
    first = make(hub, root, name="alice").peer
    with hub.work(root, wait_ms=0) as w:
        peers.edit(w, "alice", version=first.version, notes="mine")
    with hub.work(root, wait_ms=0) as w, pytest.raises(Stale):
        peers.edit(w, "alice", version=first.version, notes="theirs")
    with hub.reading(root) as w:
        assert peers.get(w, "alice").notes == "mine"


def test_every_editable_field_round_trips(hub: Hub, root: Actor, wg0: str) -> None:
    make(hub, root, name="alice")
    key = str(public_key(generate_private_key()))
    changes: dict[str, Any] = {
        "name": "alicia", "ip": ["10.8.0.77", "fd00:8::77"], "networks": ["192.168.3.0/24"], "allowed_ips": ["0.0.0.0/0"],
        "endpoint": "other.example.com:443", "peer_endpoint": "192.0.2.9:5555", "keepalive": 25, "dns": ["9.9.9.9", "corp.example"],
        "mtu": 1380, "owner": "bob", "notes": "desk 4", "quota_bytes": 10**9, "public_key": key, "enabled": False,
    }  # fmt: skip
    with hub.work(root, wait_ms=0) as w:
        groups.create(w, "staff")
        view = peers.edit(w, "alice", groups=["staff"], **changes)
    shown = view.model_dump()
    shown["ip"] = shown["addresses"]
    assert {k: shown[k] for k in changes} == changes
    assert view.groups == ["staff"]
    assert view.version == 2
    assert not view.private_key_stored
    with hub.work(root, wait_ms=0) as w:
        peers.edit(w, "alicia", networks=[], keepalive=0, dns=None, mtu=None, allowed_ips=[], groups=[])
        cleared = peers.get(w, "alicia")
    assert (cleared.networks, cleared.keepalive, cleared.dns, cleared.mtu, cleared.groups) == ([], 0, None, None, [])
    assert cleared.addresses == ["10.8.0.77", "fd00:8::77"]


@pytest.mark.parametrize("policy", ["stored", "once", "never"])
def test_key_policies(hub: Hub, root: Actor, policy: str) -> None:
    with hub.work(root, wait_ms=0) as w:
        interfaces.create(w, name="wg9", addresses=["10.30.0.1/24"], listen_port=53000, key_policy=policy)
    own = str(public_key(generate_private_key()))
    supplied = make(hub, root, interface="wg9", name="own", public_key=own)
    assert "<insert-your-private-key>" in supplied.config
    if policy == "never":
        with pytest.raises(Invalid, match="public key is needed"):
            make(hub, root, interface="wg9", name="made")
        return
    made = make(hub, root, interface="wg9", name="made", psk=True)
    assert "PresharedKey" in made.config
    assert "insert" not in made.config
    with hub.work(root, wait_ms=0) as w:
        again = peers.config(w, "made")
        assert again.has_private_key == (policy == "stored")
    with hub.reading(root) as w:
        assert (
            w.db.connection().execute(text("SELECT count(*) FROM audit_log WHERE action = 'peer.config'")).scalar_one()
            == 1
        )


def test_keys_of_others_are_refused(hub: Hub, root: Actor, wg0: str) -> None:
    first = make(hub, root, name="alice").peer
    with pytest.raises(Conflict, match="alice"):
        make(hub, root, name="twin", public_key=first.public_key)
    with hub.reading(root) as w:
        hub_key = interfaces.get(w, "wg0").public_key
    with pytest.raises(Conflict, match="hub itself"):
        make(hub, root, name="mirror", public_key=hub_key)


def test_a_failure_in_the_middle_leaves_nothing(hub: Hub, root: Actor, wg0: str) -> None:
    def half(w: Work) -> None:
        peers.create(w, interface="wg0", name="half")
        raise RuntimeError("the plug was pulled")

    with pytest.raises(RuntimeError, match="pulled"), hub.work(root) as w:
        half(w)
    with hub.reading(root) as w:
        assert peers.page(w).items == []
        counts = (
            w.db.connection()
            .execute(
                text(
                    "SELECT (SELECT count(*) FROM changes WHERE kind = 'peer'), (SELECT count(*) FROM audit_log WHERE action = 'peer.create')"
                )
            )
            .one()
        )
    assert tuple(counts) == (0, 0)


def test_pages_walk_every_peer_once(hub: Hub, root: Actor, wg0: str) -> None:
    names = sorted(f"p{i:02}" for i in range(25))
    with hub.work(root, wait_ms=0) as w:
        peers.create_many(w, interface="wg0", peers=[NewPeer(name=n) for n in reversed(names)])
    walked, after = [], None
    with hub.reading(root) as w:
        while True:
            page = peers.page(w, after=after, limit=7)
            walked += [p.name for p in page.items]
            after = page.next
            if after is None:
                break
        assert walked == names
        assert [r.name for r in peers.rows(w)] == names
        assert [p.name for p in peers.page(w, search="P1", limit=50).items] == [n for n in names if n.startswith("p1")]
        assert len(peers.page(w, state="never", limit=50).items) == 25


def test_a_viewer_may_read_and_nothing_else(hub: Hub, root: Actor, wg0: str) -> None:
    make(hub, root, name="alice")
    viewer = Actor(name="eve", role="viewer", source="api")
    with hub.reading(viewer) as w:
        assert peers.get(w, "alice").name == "alice"
    for call in (
        lambda w: peers.create(w, interface="wg0", name="x"),
        lambda w: peers.config(w, "alice"),
        lambda w: peers.delete(w, ["alice"]),
        lambda w: peers.set_enabled(w, ["alice"], False),
        lambda w: interfaces.delete(w, "wg0"),
    ):
        with hub.work(viewer, wait_ms=0) as w, pytest.raises(NexusError, match="permission"):
            call(w)
