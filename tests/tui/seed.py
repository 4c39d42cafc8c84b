"""Rows for the TUI's tests, written straight into the database where the services would take their time."""

from __future__ import annotations

from datetime import datetime

import psycopg

from nexushub.services import auth, interfaces, peers
from nexushub.work import Hub
from tests.fix_db import Database

PUBLIC_KEY = "\\x" + "11" * 32


def interface(hub: Hub, name: str = "wg0", *, address: str = "10.8.0.1/16", port: int = 51820) -> None:
    with hub.work(auth.local_actor("local")) as w:
        interfaces.create(w, name=name, addresses=[address], listen_port=port, endpoint="hub1.example.com")


def peer(hub: Hub, name: str, *, interface: str = "wg0", **fields: object) -> str:
    """A peer made as anybody would; its id."""
    with hub.work(auth.local_actor("local")) as w:
        return str(peers.create(w, interface=interface, name=name, **fields).peer.id)


def connect(database: Database) -> psycopg.Connection:
    """As the owner of the tables."""
    return psycopg.connect(database.dsn("nexushub_owner"), autocommit=True)


def many(database: Database, count: int, *, interface: str = "wg0", at: datetime | None = None) -> None:
    """Peers named peer-00000 and so on, each with an address of a /16 and a status; ten thousand in a second."""
    with connect(database) as connection:
        connection.execute(
            """
            WITH parent AS (SELECT id, node_id FROM interfaces WHERE name = %(interface)s), made AS (
              INSERT INTO peers (id, interface_id, node_id, name, public_key, key_created_at, created_at, updated_at)
              SELECT gen_random_uuid(), parent.id, parent.node_id, 'peer-' || to_char(n, 'FM00000'),
                     sha256(n::text::bytea), t, t, t
              FROM generate_series(0, %(count)s - 1) n, parent, (SELECT coalesce(%(at)s, now()) AS t) clock
              RETURNING id, interface_id, node_id, name)
            INSERT INTO peer_addresses (id, peer_id, interface_id, node_id, network, kind)
            SELECT gen_random_uuid(), id, interface_id, node_id,
                   set_masklen('10.8.0.0'::inet + 2 + substr(name, 6)::int, 32)::cidr, 'address' FROM made
            """,
            {"interface": interface, "count": count, "at": at},
        )
        connection.execute("ANALYZE peers; ANALYZE peer_addresses")


def sample(database: Database, like: str, *, seconds_ago: float, rx_rate: int = 0, tx_rate: int = 0) -> int:
    """A fresh sample of every peer whose name matches, as the agent writes it; how many."""
    with connect(database) as connection:
        return connection.execute(
            """
            INSERT INTO peer_status
              (peer_id, interface_id, last_handshake, endpoint, rx_bytes, tx_bytes, rx_rate, tx_rate, sampled_at)
            SELECT id, interface_id, now() - make_interval(secs => %(ago)s), '192.0.2.7:40112', 1048576, 2097152,
                   %(rx)s * (1 + hashtext(name) %% 7), %(tx)s * (1 + hashtext(name) %% 5), now()
            FROM peers WHERE name LIKE %(like)s
            ON CONFLICT (peer_id) DO UPDATE SET last_handshake = excluded.last_handshake, sampled_at = now(),
              rx_rate = abs(peer_status.rx_rate + 1337), tx_rate = abs(peer_status.tx_rate + 4242)
            """,
            {"like": like, "ago": seconds_ago, "rx": rx_rate, "tx": tx_rate},
        ).rowcount


def applied(database: Database) -> None:
    """As if an agent had applied everything."""
    with connect(database) as connection:
        connection.execute(
            """
            INSERT INTO applied (node_id, object_id, kind, revision, result)
            SELECT node_id, id, 'peer', revision, 'applied' FROM peers
            UNION ALL SELECT node_id, id, 'interface', revision, 'applied' FROM interfaces
            ON CONFLICT (node_id, object_id) DO UPDATE SET revision = excluded.revision
            """
        )


def drift(database: Database, interface: str, field: str, desired: str, observed: str) -> None:
    with connect(database) as connection:
        connection.execute(
            """
            INSERT INTO drift (id, node_id, interface_id, field, desired, observed, status, since)
            SELECT gen_random_uuid(), node_id, id, %s, %s, %s, 'open', now() FROM interfaces WHERE name = %s
            """,
            [field, desired, observed, interface],
        )
