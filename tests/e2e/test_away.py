"""The database taken away: the hub boots from its snapshot, what was revoked stays revoked, and it catches up."""

from __future__ import annotations

import pytest

from nexushub import labnet
from nexushub.errors import NexusError
from nexushub.services import health, peers
from nexushub.services.peerfields import NewPeer
from tests.fix_agent import LabHub, until
from tests.fix_db import Database


def ours(lab: LabHub) -> str:
    return labnet.inside(lab.agent.namespace, ["wg", "show", lab.name, "peers"], check=False).stdout


def test_boots_from_the_snapshot_and_catches_up(lab_hub: LabHub, database: Database) -> None:
    with lab_hub.hub.work(lab_hub.root) as w:
        made = peers.create_many(w, interface=lab_hub.name, peers=[NewPeer(name=n, psk=True) for n in ("alice", "bob")])
    keys = {m.peer.name: m.peer.public_key for m in made}
    with lab_hub.hub.work(lab_hub.root) as w:
        peers.set_enabled(w, ["bob"], False)
    assert w.truth.applied
    lab_hub.agent.kill()
    lab_hub.ip("link", "delete", lab_hub.name)
    database.cut()

    lab_hub.agent.start()
    until(lambda: keys["alice"] in ours(lab_hub), 15, "the hub did not boot without its database")
    assert keys["bob"] not in ours(lab_hub)
    labnet.clients_up({lab_hub.sites[0]: made[0].config}, lab_hub.record)
    assert labnet.ping(lab_hub.sites[0].namespace, "10.8.0.1", 3).received == 3
    with pytest.raises(NexusError, match="database"), lab_hub.hub.work(lab_hub.root) as w:
        peers.create(w, interface=lab_hub.name, name="nobody")

    database.restore()

    def running() -> bool:
        with lab_hub.hub.reading(lab_hub.root) as w:
            return health.status(w).node.agent == "running"

    until(running, 10, "the agent did not come back to the database")
    with lab_hub.hub.work(lab_hub.root) as w:
        peers.set_enabled(w, ["bob"], True)
    assert w.truth.applied, w.truth
    assert keys["bob"] in ours(lab_hub)


def test_connections_thrown_out_in_the_middle_come_back_alone(lab_hub: LabHub, database: Database) -> None:
    for n in range(3):
        database.cut()
        database.restore()
        until(lambda n=n: _creates(lab_hub, f"after-{n}"), 15, "nothing could be created after the cut")  # type: ignore[misc]  # bound default
    with lab_hub.hub.reading(lab_hub.root) as w:
        assert [p.name for p in peers.page(w).items] == ["after-0", "after-1", "after-2"]


def _creates(lab: LabHub, name: str) -> bool:
    try:
        with lab.hub.work(lab.root) as w:
            peers.create(w, interface=lab.name, name=name)
    except NexusError:
        return False
    return w.truth.applied or w.truth.pending is not None
