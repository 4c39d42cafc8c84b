"""What PostgreSQL itself refuses, typed by hand as the roles that write: no bound rests on our code alone."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from nexushub import db
from nexushub.services import auth, groups, interfaces, peers
from nexushub.work import Hub
from tests.fix_db import Database
from tests.services.bounds import ADDRESS, AGENTS, BY_AGENT, CLASHES, NULLABLE, ROW, SETS, UNPROVEN

REFUSED = (psycopg.errors.IntegrityError, psycopg.errors.DataError, psycopg.errors.GeneratedAlways)


@pytest.fixture(scope="module")
def filled(shared_hub: Hub, shared_database: Database) -> Database:
    """wg0 with alice and bob, wg1 with carol, two users, a session, and what an agent would have written."""
    with shared_hub.work(auth.local_actor(), wait_ms=0) as w:
        interfaces.create(w, name="wg0", addresses=["10.8.0.1/24", "fd00:8::1/64"], listen_port=51820)
        interfaces.create(w, name="wg1", addresses=["10.9.0.1/24", "fd00:9::1/64"], listen_port=51821)
        for name in ("staff", "guests"):
            groups.create(w, name)
        peers.create(w, interface="wg0", name="alice", psk=True)
        peers.create(w, interface="wg0", name="bob")
        peers.create(w, interface="wg1", name="carol", networks=["192.168.7.0/24"])
    with psycopg.connect(shared_database.dsn("nexushub_owner")) as owner:
        owner.execute(
            """
            INSERT INTO users (id, name, email, role, password_hash)
            SELECT gen_random_uuid(), n, n || '@example.org', 'viewer', '$argon2id$' FROM unnest(ARRAY['ann', 'ben']) n;
            INSERT INTO sessions (id, user_id, token_hash, surface, created_at, last_seen_at, expires_at)
            SELECT gen_random_uuid(), id, decode(repeat(h, 32), 'hex'), 'web', now(), now(), now() + interval '1 hour'
            FROM users, unnest(ARRAY['aa', 'bb']) h WHERE name = 'ann';
            INSERT INTO settings VALUES ('a', '1'), ('b', '2');
            INSERT INTO applied (node_id, object_id, kind, revision, result)
            SELECT node_id, id, 'peer', 1, 'applied' FROM peers;
            INSERT INTO drift (id, node_id, interface_id, field, desired, observed, status, since)
            SELECT gen_random_uuid(), node_id, id, 'mtu', '1420', '1400', 'open', now() FROM interfaces;
            INSERT INTO peer_status (peer_id, interface_id, sampled_at) SELECT id, interface_id, now() FROM peers;
            """
        )
    return shared_database


@pytest.fixture
def app(filled: Database) -> Iterator[psycopg.Connection]:
    with db.connect(filled.dsn("nexushub_app")) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def agent(filled: Database) -> Iterator[psycopg.Connection]:
    with db.connect(filled.dsn("nexushub_agent")) as connection:
        yield connection
        connection.rollback()


def cases(table: dict[str, dict[str, list[str]]]) -> list[tuple[str, str, str]]:
    return [
        (t, column, value) for t, columns in table.items() for column, values in columns.items() for value in values
    ]


def accepted(connection: psycopg.Connection, statements: list[str]) -> list[str]:
    """Those of the statements that PostgreSQL carried out. One that touches no row counts: it proves nothing."""
    found = []
    for statement in statements:
        try:
            with connection.transaction(force_rollback=True):
                rows = connection.execute(statement).rowcount
            found.append(f"{statement} ({rows} rows)")
        except REFUSED:
            continue
    return found


@pytest.mark.parametrize("table", SETS)
def test_a_bound_is_refused_to_the_services_role(app: psycopg.Connection, table: str) -> None:
    given = [(column, value) for t, column, value in cases(SETS) if t == table]
    statements = [f"UPDATE {table} SET {c} = {v} WHERE {ROW.get(table, 'true')}" for c, v in given]
    assert accepted(app, statements) == []
    # The row is there and may be written: what was refused was the value.
    column = given[0][0]
    with app.transaction(force_rollback=True):
        if table == "interface_addresses":
            column = "position"
        assert app.execute(f"UPDATE {table} SET {column} = {column} WHERE {ROW.get(table, 'true')}").rowcount >= 1


@pytest.mark.parametrize("table", BY_AGENT)
def test_a_bound_is_refused_to_the_agents_role(agent: psycopg.Connection, table: str) -> None:
    statements = [f"UPDATE {table} SET {c} = {v}" for t, c, v in cases(BY_AGENT) if t == table]
    assert accepted(agent, statements) == []


@pytest.mark.parametrize("statement", CLASHES)
def test_what_clashes_is_refused(app: psycopg.Connection, statement: str) -> None:
    assert accepted(app, [statement]) == []


def test_what_the_agent_may_not_say_is_refused(agent: psycopg.Connection) -> None:
    assert accepted(agent, AGENTS) == []
    again = (
        "INSERT INTO drift (id, node_id, interface_id, field, desired, observed, status, since)"
        " SELECT gen_random_uuid(), node_id, interface_id, field, 'a', 'b', 'open', now() FROM drift"
    )
    assert accepted(agent, [again]) == []


def test_a_null_is_refused_wherever_it_means_nothing(filled: Database) -> None:
    with psycopg.connect(filled.dsn("postgres")) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, is_nullable FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
    found: dict[str, set[str]] = {table: set() for table, _, _ in rows}
    for table, column, nullable in rows:
        if nullable == "YES":
            found[table].add(column)
    assert found == NULLABLE


def test_a_network_can_be_handed_to_the_peer_it_is_inside_of(app: psycopg.Connection) -> None:
    """Nested in the same peer is not an overlap: WireGuard keeps both with it."""
    with app.transaction(force_rollback=True):
        app.execute(f"{ADDRESS}, '192.168.0.0/16', 'network' FROM peers WHERE name = 'carol'")


def test_every_constraint_is_what_refuses_some_case(filled: Database) -> None:
    """Without it, one of the statements above is accepted: so none is there for show, and none is untested."""
    statements: dict[str, list[str]] = {}
    for table, column, value in cases(SETS) + cases(BY_AGENT):
        statements.setdefault(table, []).append(f"UPDATE {table} SET {column} = {value} WHERE {ROW.get(table, 'true')}")
    for statement in CLASHES + AGENTS:
        _, second, third, *_ = statement.split()
        statements.setdefault(third if second == "INTO" else second, []).append(statement)
    with psycopg.connect(filled.dsn("postgres")) as connection:
        found = connection.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'x', 'u') ORDER BY 1, 2"
        ).fetchall()
        unproven = [f"{t}.{name}" for t, name in found if not proven(connection, t, name, statements.get(t, []))]
    assert {name for name in unproven if not name.startswith("audit_")} == UNPROVEN


def proven(connection: psycopg.Connection, table: str, constraint: str, statements: list[str]) -> bool:
    with connection.transaction(force_rollback=True):
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint} CASCADE")
        return bool(accepted(connection, statements))
