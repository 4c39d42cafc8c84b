"""Least right, tried as each role: the audit log is append-only, the agent reads no peer's private key."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text

from nexushub import db
from nexushub.services import auth, groups, interfaces, peers
from nexushub.work import Hub
from tests.fix_db import Database

APPEND = "SELECT audit_append({session}, '{actor}', 'test', 'peer.create', 'peer', NULL, 'x', 'success', '{{}}')"
TAMPER = [
    "INSERT INTO audit_log SELECT seq + 1, at, 'eve', NULL, source, action, target_kind, target_id, target_name, result, detail, hash, hash FROM audit_log",
    "INSERT INTO audit_head VALUES (true, 9, decode(repeat('00', 32), 'hex'))",
    "UPDATE audit_log SET actor = 'eve'",
    "UPDATE audit_head SET seq = 0",
    "DELETE FROM audit_log",
    "DELETE FROM audit_head",
    "TRUNCATE audit_log",
    "TRUNCATE audit_head",
    "COPY audit_log FROM PROGRAM 'true'",
    "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    "ALTER TABLE audit_log ADD x int",
    "DROP TABLE audit_log",
    "DROP TRIGGER audit_log_append_only ON audit_log",
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER mine BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "SET session_replication_role = replica",
    "SET ROLE nexushub_owner",
    "RESET ROLE; UPDATE audit_log SET actor = 'eve'",
    "CREATE TABLE public.mine (x int)",
]  # fmt: skip
AGENT_ONLY = [
    "SELECT * FROM users",
    "SELECT password_hash FROM users",
    "SELECT token_hash FROM sessions",
    "SELECT private_key FROM peers",
    "SELECT * FROM peers",
    "SELECT row_to_json(peers) FROM peers",
    "SELECT notes FROM peers",
    "SELECT * FROM settings",
    "SELECT * FROM audit_log",
    "UPDATE peers SET enabled = false",
    "UPDATE peers SET revision = 9",
    "INSERT INTO peers SELECT * FROM peers",
    "DELETE FROM peers",
    "UPDATE interfaces SET enabled = false",
    "DELETE FROM interfaces",
    "INSERT INTO peer_addresses SELECT * FROM peer_addresses",
    "DELETE FROM peer_addresses",
    "UPDATE preshared_keys SET retired_at = now()",
    "UPDATE nodes SET desired_revision = 9",
    "UPDATE nodes SET name = 'mine'",
    "INSERT INTO key_checks VALUES ('2', decode(repeat('aa', 16), 'hex'))",
    "INSERT INTO changes (node_id, revision, kind, object_id, interface_id) SELECT id, 9, 'peer', id, id FROM nodes",
    "INSERT INTO sessions SELECT * FROM sessions",
]
APP_ONLY = [
    "INSERT INTO applied (node_id, object_id, kind, revision, result) SELECT id, id, 'peer', 1, 'applied' FROM nodes",
    "UPDATE applied SET result = 'applied'",
    "DELETE FROM changes",
    "UPDATE changes SET revision = 0",
    "DELETE FROM nodes",
    "DELETE FROM key_checks",
    "INSERT INTO drift (id, node_id, interface_id, field, desired, observed, status, since) SELECT gen_random_uuid(), node_id, id, 'mtu', '1', '2', 'open', now() FROM interfaces",
    "DELETE FROM drift",
    "UPDATE peer_status SET rx_bytes = 0",
    "UPDATE alembic_version SET version_num = '9999'",
]  # fmt: skip
DENIED = (psycopg.errors.InsufficientPrivilege,)


@pytest.fixture(scope="module")
def filled(shared_hub: Hub, shared_database: Database) -> Database:
    with shared_hub.work(auth.local_actor(), wait_ms=0) as w:
        interfaces.create(w, name="wg0", addresses=["10.8.0.1/24"])
        peers.create(w, interface="wg0", name="alice", psk=True)
        groups.create(w, "staff")
    with psycopg.connect(shared_database.dsn("nexushub_owner")) as owner:
        owner.execute(
            """
            INSERT INTO users (id, name, email, role) SELECT gen_random_uuid(), 'ann', 'ann@example.org', 'viewer';
            INSERT INTO sessions (id, user_id, token_hash, surface, created_at, last_seen_at, expires_at)
            SELECT gen_random_uuid(), id, sha256('x'), 'web', now(), now(), now() + interval '1 hour' FROM users;
            """
        )
    return shared_database


def carried_out(database: Database, role: str, statements: list[str]) -> list[str]:
    found = []
    for statement in statements:
        with db.connect(database.dsn(role)) as connection:
            try:
                connection.execute(statement)
                found.append(statement)
            except DENIED:
                pass
            connection.rollback()
    return found


@pytest.mark.parametrize("role", ["nexushub_app", "nexushub_agent", "nexushub_backup"])
def test_no_role_but_the_owner_tampers_with_the_audit_log(filled: Database, role: str) -> None:
    assert carried_out(filled, role, TAMPER) == []


def test_the_owner_itself_is_stopped_by_triggers(filled: Database) -> None:
    for statement in ("UPDATE audit_log SET actor = 'eve'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with psycopg.connect(filled.dsn("nexushub_owner")) as owner:
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                owner.execute(statement)
            owner.rollback()


def test_the_agent_reads_no_account_and_no_private_key_and_writes_no_desired_state(filled: Database) -> None:
    assert carried_out(filled, "nexushub_agent", AGENT_ONLY) == []


def test_the_services_write_nothing_that_the_agent_reports(filled: Database) -> None:
    assert carried_out(filled, "nexushub_app", APP_ONLY) == []


def test_each_role_can_do_its_own_work(filled: Database) -> None:
    """So that what was refused above was refused for want of a right, not for want of anything."""
    works = {
        "nexushub_agent": [
            "SELECT private_key FROM interfaces",
            "SELECT id, public_key, peer_endpoint, keepalive, enabled FROM peers",
            "SELECT preshared_key FROM preshared_keys",
            "UPDATE nodes SET agent_seen_at = now(), agent_note = 'x', applied_revision = 1",
            "DELETE FROM changes",
            APPEND.format(session="NULL", actor="agent"),
        ],
        "nexushub_app": [
            "SELECT * FROM audit_log",
            "SELECT private_key FROM peers",
            "UPDATE drift SET status = 'open'",
            APPEND.format(session="NULL", actor="root@hub"),
        ],
        "nexushub_backup": ["SELECT * FROM audit_log", "SELECT private_key FROM peers"],
    }
    for role, statements in works.items():
        assert carried_out(filled, role, statements) == statements


@pytest.mark.parametrize("role", ["nexushub_app", "nexushub_agent"])
def test_nobody_writes_in_anothers_name(filled: Database, role: str) -> None:
    with db.connect(filled.dsn("nexushub_app")) as connection:
        session = connection.execute("SELECT id FROM sessions").fetchone()
        assert session is not None
    with db.connect(filled.dsn(role), autocommit=True) as connection:
        before = connection.execute("SELECT max(revision) FROM changes").fetchone()
        for given, words in (
            ({"session": "NULL", "actor": "ann"}, "ann is a user and needs a session"),
            ({"session": "gen_random_uuid()", "actor": "ann"}, "there is no session"),
        ):
            with pytest.raises(psycopg.errors.RaiseException, match=words):
                connection.execute(APPEND.format(**given))
        # With a session the name that is given does not count.
        connection.execute(APPEND.format(session=f"'{session[0]}'", actor="root@hub"))
        assert connection.execute("SELECT max(revision) FROM changes").fetchone() == before
    with db.connect(filled.dsn("nexushub_app")) as connection:
        assert connection.execute("SELECT actor FROM audit_log ORDER BY seq DESC LIMIT 1").fetchone() == ("ann",)


def test_a_temporary_table_does_not_stand_in_for_the_log(filled: Database) -> None:
    """The function runs with the owner's rights: what it reads must not be what its caller put in the way."""
    with db.connect(filled.dsn("nexushub_app"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE users (id uuid, name text)")
        connection.execute("CREATE TEMP TABLE audit_head (one boolean, seq bigint, hash bytea)")
        connection.execute("SET search_path = pg_temp, public")
        with pytest.raises(psycopg.errors.RaiseException, match="ann is a user"):
            connection.execute(APPEND.format(session="NULL", actor="ann"))


def test_the_chain_holds(filled: Database) -> None:
    with psycopg.connect(filled.dsn("nexushub_owner")) as owner:
        broken = owner.execute(
            """
            SELECT count(*) FILTER (WHERE hash <> sha256(prev_hash || audit_bytes(seq, at, actor, session_id, source, action,
                     target_kind, target_id, target_name, result, detail)) OR prev_hash <> before), count(*), max(seq)
            FROM (SELECT *, coalesce(lag(hash) OVER (ORDER BY seq), decode(repeat('00', 32), 'hex')) AS before FROM audit_log) a
            """
        ).fetchone()
    assert broken is not None
    assert broken[0] == 0
    assert broken[1] == broken[2] >= 3


def test_a_work_runs_as_the_role_of_least_right(shared_hub: Hub) -> None:
    root = auth.local_actor()
    for opened in (shared_hub.work(root, wait_ms=0), shared_hub.reading(root)):
        with opened as w:
            who = w.db.connection().execute(text("SELECT session_user, current_user")).one()
            assert tuple(who) == ("nexushub_app", "nexushub_app")
            may = text(
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
            )
            assert not w.db.connection().execute(may).scalar_one()


def test_a_reading_work_cannot_write(shared_hub: Hub, filled: Database) -> None:
    def write(statement: str) -> None:
        with shared_hub.reading(auth.local_actor()) as w:
            w.db.connection().execute(text(statement))

    def record() -> None:
        with shared_hub.reading(auth.local_actor()) as w:
            w.audit("peer.config", "peer")

    for statement in ("UPDATE peers SET notes = 'x'", "DELETE FROM peers"):
        with pytest.raises(Exception, match="read-only transaction"):
            write(statement)
    with pytest.raises(Exception, match="read-only transaction"):
        record()
