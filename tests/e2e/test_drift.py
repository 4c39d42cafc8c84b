"""The kernel changed by hand: seen, shown, decided; what is dangerous is repaired at once; foreign things stay."""

from __future__ import annotations

import subprocess

import pytest
from sqlalchemy import text

from nexushub import labnet
from nexushub.kernel.values import Key
from nexushub.secrets import generate_private_key, public_key
from nexushub.services import drift, interfaces, peers
from nexushub.views import DriftView
from tests.fix_agent import LabHub, until


def items(lab: LabHub, status: str = "open") -> dict[str, DriftView]:
    with lab.hub.reading(lab.root) as w:
        return {d.field: d for d in drift.listing(w) if d.status == status}


def look(lab: LabHub) -> None:
    """Have the agent look at everything now rather than within thirty seconds."""
    assert lab.hub.kernel is not None
    with lab.hub.reading(lab.root) as w:
        before = w.db.connection().execute(text("SELECT count(*) FROM drift")).scalar_one()
    lab.hub.kernel.reconcile(0, 0)
    until(lambda: _count(lab) > before, 5, "the agent did not see it")


def _count(lab: LabHub) -> int:
    with lab.hub.reading(lab.root) as w:
        return int(w.db.connection().execute(text("SELECT count(*) FROM drift")).scalar_one())


@pytest.fixture
def alice(lab_hub: LabHub) -> str:
    with lab_hub.hub.work(lab_hub.root) as w:
        made = peers.create(w, interface=lab_hub.name, name="alice", keepalive=25)
    return made.peer.public_key


def keepalive(lab: LabHub, key: str) -> str:
    return dict(line.split("\t") for line in lab.wg("show", lab.name, "persistent-keepalive").splitlines())[key]


def test_a_changed_field_waits_for_a_decision(lab_hub: LabHub, alice: str) -> None:
    lab_hub.wg("set", lab_hub.name, "peer", alice, "persistent-keepalive", "77")
    look(lab_hub)
    item = items(lab_hub)["keepalive"]
    assert (item.peer, item.desired, item.observed) == ("alice", "25", "77")
    assert keepalive(lab_hub, alice) == "77"

    with lab_hub.hub.work(lab_hub.root) as w:
        peers.edit(w, "alice", notes="an edit of another field decides nothing")
    assert w.truth.applied
    assert keepalive(lab_hub, alice) == "77"

    with lab_hub.hub.work(lab_hub.root) as w:
        drift.revert(w, item.id)
    assert w.truth.applied
    assert keepalive(lab_hub, alice) == "25"
    assert items(lab_hub) == {}

    lab_hub.wg("set", lab_hub.name, "peer", alice, "persistent-keepalive", "88")
    look(lab_hub)
    with lab_hub.hub.work(lab_hub.root) as w:
        drift.adopt(w, items(lab_hub)["keepalive"].id)
    with lab_hub.hub.reading(lab_hub.root) as w:
        assert peers.get(w, "alice").keepalive == 88

    lab_hub.wg("set", lab_hub.name, "peer", alice, "persistent-keepalive", "99")
    look(lab_hub)
    with lab_hub.hub.work(lab_hub.root) as w:
        drift.ignore(w, items(lab_hub)["keepalive"].id)
    lab_hub.hub.kernel.reconcile(0, 0)  # type: ignore[union-attr]  # the lab's hub has one
    assert keepalive(lab_hub, alice) == "99"
    with lab_hub.hub.work(lab_hub.root) as w:
        peers.edit(w, "alice", keepalive=30)
    assert w.truth.applied
    assert keepalive(lab_hub, alice) == "30"


def test_a_stranger_is_removed_and_audited_and_can_be_adopted(lab_hub: LabHub, alice: str) -> None:
    stranger = str(public_key(generate_private_key()))
    lab_hub.wg("set", lab_hub.name, "peer", stranger, "allowed-ips", "10.8.0.200/32,192.168.44.0/24")
    seconds = until(lambda: stranger not in lab_hub.wg("show", lab_hub.name, "peers"), 35, "the stranger stays")
    print(f"a stranger was removed after {seconds:.1f} s")
    item = items(lab_hub, "repaired")["peer"]
    assert item.observed == "10.8.0.200/32, 192.168.44.0/24"
    with lab_hub.hub.reading(lab_hub.root) as w:
        row = w.db.connection().execute(text("SELECT actor, detail FROM audit_log WHERE action = 'drift.repair'")).one()
    assert row.actor == "agent"
    assert row.detail["peer"] == stranger
    with lab_hub.hub.work(lab_hub.root) as w:
        drift.adopt(w, item.id)
    assert w.truth.applied, w.truth
    assert stranger in lab_hub.wg("show", lab_hub.name, "peers")
    assert "192.168.44.0/24 dev" in lab_hub.ip("route")
    assert items(lab_hub, "open") == {}


def test_a_removed_peer_and_a_removed_link_come_back(lab_hub: LabHub, alice: str) -> None:
    lab_hub.wg("set", lab_hub.name, "peer", alice, "remove")
    until(lambda: alice in lab_hub.wg("show", lab_hub.name, "peers"), 35, "alice was lost")
    lab_hub.ip("link", "delete", lab_hub.name)
    until(
        lambda: alice in labnet.inside(lab_hub.agent.namespace, ["wg", "show", "all", "peers"], check=False).stdout,
        10,
        "the link stays away",
    )
    assert {"peer", "link"} <= items(lab_hub, "repaired").keys()


def test_a_foreign_link_of_the_same_name_is_left_alone(lab_hub: LabHub) -> None:
    name = lab_hub.name[:-1] + "f"
    lab_hub.ip("link", "add", name, "type", "bridge")
    before = lab_hub.ip("-d", "link", "show", name)
    with lab_hub.hub.work(lab_hub.root) as w:
        interfaces.create(w, name=name, addresses=["10.99.0.1/24"], listen_port=51999)
    assert w.truth.failed is not None
    assert "not made by NexusHub" in w.truth.failed
    assert lab_hub.ip("-d", "link", "show", name) == before
    lab_hub.ip("link", "delete", name)

    def applied() -> bool:
        with lab_hub.hub.reading(lab_hub.root) as w:
            return interfaces.get(w, name).applied

    lab_hub.record.links[name] = lab_hub.agent.namespace
    lab_hub.record.save()
    until(applied, 10, "it did not come up once the name was free")


def test_foreign_peers_links_and_tables_are_never_touched(lab_hub: LabHub, alice: str) -> None:
    namespace, own = lab_hub.agent.namespace, lab_hub.name[:-1] + "x"
    lab_hub.record.links[own] = namespace
    lab_hub.record.save()
    subprocess.run(["ip", "netns", "exec", namespace, "wireguard-go", own], check=True, capture_output=True)
    key = generate_private_key()
    labnet.inside(
        namespace,
        [
            "wg",
            "set",
            own,
            "listen-port",
            "52222",
            "private-key",
            "/dev/stdin",
            "peer",
            str(Key(bytes(public_key(generate_private_key())))),
            "allowed-ips",
            "10.50.0.0/16",
        ],
        text=key.reveal(),
    )
    labnet.inside(
        namespace,
        ["nft", "-f", "-"],
        text="add table inet theirs\nadd chain inet theirs c { type filter hook forward priority 0; policy accept; }\n",
    )
    before = (
        lab_hub.wg("show", own, "dump"),
        labnet.inside(namespace, ["nft", "list", "table", "inet", "theirs"]).stdout,
    )
    for n in range(5):
        with lab_hub.hub.work(lab_hub.root) as w:
            peers.create(w, interface=lab_hub.name, name=f"p{n}")
            peers.set_enabled(w, ["alice"], bool(n % 2))
        assert w.truth.applied
    lab_hub.agent.kill()
    lab_hub.agent.start()
    lab_hub.hub.kernel.reconcile(0, 0)  # type: ignore[union-attr]  # the lab's hub has one
    after = (
        lab_hub.wg("show", own, "dump"),
        labnet.inside(namespace, ["nft", "list", "table", "inet", "theirs"]).stdout,
    )
    assert after == before
