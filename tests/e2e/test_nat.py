"""NAT: a client reaches what is behind the hub, other tables stay, and everything is taken back."""

from __future__ import annotations

from pathlib import Path

from nexushub import labnet
from nexushub.kernel.nat import program
from nexushub.kernel.values import Cidr
from nexushub.services import interfaces, peers
from tests.fix_agent import LabHub, until

FAR = "203.0.113.9"


def forwarding(lab: LabHub) -> str:
    return labnet.inside(lab.agent.namespace, ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout.strip()


def tables(lab: LabHub) -> str:
    return labnet.inside(lab.agent.namespace, ["nft", "list", "tables"]).stdout


def test_nat_is_set_works_and_is_taken_back(lab_hub: LabHub) -> None:
    internet = lab_hub.record.topology.internet
    labnet.inside(internet, ["ip", "address", "add", f"{FAR}/32", "dev", "lo"])
    labnet.inside(internet, ["ip", "address", "replace", "192.0.2.254/24", "dev", _bridge(internet)])
    lab_hub.ip("route", "replace", f"{FAR}/32", "via", "192.0.2.254")
    labnet.inside(lab_hub.agent.namespace, ["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"])
    labnet.inside(lab_hub.agent.namespace, ["nft", "-f", "-"], text="add table inet theirs\n")
    with lab_hub.hub.work(lab_hub.root) as w:
        made = peers.create(w, interface=lab_hub.name, name="alice", allowed_ips=["10.8.0.0/24", f"{FAR}/32"])
    labnet.clients_up({lab_hub.sites[0]: made.config}, lab_hub.record)
    client = lab_hub.sites[0].namespace
    assert labnet.ping(client, "10.8.0.1", 1).received == 1
    assert labnet.ping(client, FAR, 1, wait=1).received == 0

    with lab_hub.hub.work(lab_hub.root) as w:
        interfaces.edit(w, lab_hub.name, nat=True)
    assert w.truth.applied, w.truth
    until(lambda: labnet.ping(client, FAR, 1, wait=1).received == 1, 8, "NAT does not carry alice")
    assert "inet nexushub" in tables(lab_hub)

    labnet.inside(lab_hub.agent.namespace, ["nft", "delete", "table", "inet", "nexushub"])
    lab_hub.hub.kernel.reconcile(0, 0)  # type: ignore[union-attr]  # the lab's hub has one
    until(lambda: "inet nexushub" in tables(lab_hub), 5, "the table did not come back")

    with lab_hub.hub.work(lab_hub.root) as w:
        interfaces.edit(w, lab_hub.name, nat=False)
    assert w.truth.applied
    assert (forwarding(lab_hub), tables(lab_hub).strip()) == ("0", "table inet theirs")


def _bridge(namespace: str) -> str:
    shown = labnet.inside(namespace, ["ip", "-o", "link", "show", "type", "bridge"]).stdout
    return shown.split(":")[1].strip()


def test_the_program_replaces_one_table_in_one_transaction(tmp_path: Path) -> None:
    text = program({"wg0": [Cidr("10.8.0.0/24"), Cidr("fd00::/64")]}).splitlines()
    assert text[:2] == ["add table inet nexushub", "delete table inet nexushub"]
    assert text[-2:] == [
        'add rule inet nexushub postrouting ip saddr 10.8.0.0/24 oifname != "wg0" counter masquerade',
        'add rule inet nexushub postrouting ip6 saddr fd00::/64 oifname != "wg0" counter masquerade',
    ]
    assert "flush" not in program({})
