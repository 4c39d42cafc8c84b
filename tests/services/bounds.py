"""What must be refused, as SQL: values by table and column, and statements that clash with the rows of ``filled``."""

from __future__ import annotations

LONG = "'" + "x" * 65 + "'"

NULLABLE = {
    "applied": set(),
    "audit_head": set(),
    "audit_log": {"session_id", "target_id"},
    "alembic_version": set(),
    "changes": set(),
    "drift": {"peer_id", "public_key", "decided_at"},
    "group_members": set(),
    "groups": set(),
    "interface_addresses": set(),
    "interfaces": set(),
    "key_checks": {"retired_at"},
    "nodes": {"agent_seen_at"},
    "peer_addresses": set(),
    "peer_status": {"last_handshake"},
    "preshared_keys": {"retired_at"},
    "settings": set(),
    "peers": {"private_key", "dns", "mtu", "quota_bytes", "expires_at"},
    "sessions": {"revoked_at"},
    "users": {"password_hash", "locked_until", "last_login_at"},
}
"""Where a NULL means something. Everywhere else it is refused, so no CHECK can be passed by one."""

NO_NAME = [
    "''",
    "' x'",
    "'x '",
    LONG,
    "E'a\\nPostUp = id'",
    "E'a\\rb'",
    "E'a\\tb'",
    "E'a\\x1b[2J'",
    "E'a\\x7fb'",
    "E'a\\u0085b'",
    "E'a\\u2028b'",
    "E'a\\u2029b'",
    "E'a\\u202eb'",
    "E'a\\u2066b'",
    "E'a\\u200bb'",
    "E'a\\ufeffb'",
    r"convert_from('\x610062', 'UTF8')",
    "NULL",
]
NO_ENDPOINT = ["E'host\\n:1'", "'a b:1'", "'host:1;id'", "E'h\\u2028:1'", f"'{'h' * 261}'", "NULL"]
NO_DNS = [
    "ARRAY['a b']",
    "ARRAY[NULL]",
    "ARRAY['9.9.9.9', NULL]",
    "ARRAY['']",
    "ARRAY[E'a\\nPostUp = x']",
    "ARRAY[['1.1.1.1'],['9.9.9.9']]",
    "array_fill('9.9.9.9'::text, ARRAY[9])",
]
NO_KEY = [
    r"'\x00'",
    "decode(repeat('aa', 31), 'hex')",
    "decode(repeat('aa', 33), 'hex')",
    "decode(repeat('00', 32), 'hex')",
    "NULL",
]

SETS: dict[str, dict[str, list[str]]] = {
    "interfaces": {
        "name": [
            "''",
            "'WG0'",
            "'0wg'",
            "'wg/0'",
            "'wg 0'",
            "'a23456789012345x'",
            "E'wg0\\n'",
            "E'wg\\u2028'",
            "'wg1'",
            "NULL",
        ],
        "listen_port": ["0", "-1", "65536", "51821", "NULL"],
        "endpoint": NO_ENDPOINT,
        "dns": [*NO_DNS, "NULL"],
        "mtu": ["0", "-1", "1279", "9001", "NULL"],
        "policy": ["'permit'", "''", "NULL"],
        "policy_egress": ["'ALLOW'", "NULL"],
        "no_filter": ["'closed'", "NULL"],
        "key_policy": ["'ephemeral'", "NULL"],
        "nat": ["NULL"],
        "enabled": ["NULL"],
        "private_key": [r"'\x'", "decode(repeat('aa', 32), 'hex')", "NULL"],
        "public_key": [*NO_KEY, "(SELECT public_key FROM interfaces WHERE name = 'wg1')"],
        "version": ["0", "NULL"],
        "node_id": ["gen_random_uuid()", "NULL"],
    },
    "interface_addresses": {
        "address": [
            "'10.9.0.1/24'",
            "'10.0.0.1/8'",
            "'10.9.0.129/25'",
            "'10.8.0.0/24'",
            "'10.8.0.255/24'",
            "'11.0.0.1/7'",
            "'fd00:9::1/64'",
            "'fd00:8::/64'",
            "'2000::1/15'",
            "'10.8.0.1.2/24'",
            "'fe80::1%eth0/64'",
            "NULL",
        ],
        "position": ["-1", "16", "1", "NULL"],
        "next_host": ["-1", "NULL"],
        "interface_id": ["gen_random_uuid()", "NULL"],
        "network": ["'10.8.0.0/25'"],
    },
    "peers": {
        "name": [*NO_NAME, "'bob'"],
        "public_key": [*NO_KEY, "(SELECT public_key FROM peers WHERE name = 'bob')"],
        "private_key": [r"'\x'", "decode(repeat('aa', 32), 'hex')"],
        "allowed_ips": [
            "ARRAY['10.0.0.1/24']",
            "ARRAY['10.0.0.0/33']",
            "ARRAY['any']",
            "ARRAY['10.0.0.0/8', NULL]",
            "ARRAY[E'10.0.0.0/8\\nPostUp = x']",
            "ARRAY['10.0.0.0']",
            "ARRAY['010.0.0.0/8x']",
            "array_fill('10.0.0.0/8'::text, ARRAY[257])",
            "NULL",
        ],
        "endpoint": NO_ENDPOINT,
        "peer_endpoint": NO_ENDPOINT,
        "keepalive": ["-1", "65536", "NULL"],
        "dns": NO_DNS,
        "mtu": ["0", "1279", "9001"],
        "owner": [f"'{'x' * 129}'", "E'a\\nb'", "E'a\\u2028b'", "NULL"],
        "notes": [f"'{'x' * 2001}'", "E'a\\nb'", "E'a\\u202eb'", "NULL"],
        "quota_bytes": ["0", "-1", "9223372036854775808"],
        "enabled": ["NULL"],
        "version": ["0", "NULL"],
        "interface_id": ["(SELECT id FROM interfaces WHERE name = 'wg1')", "gen_random_uuid()", "NULL"],
        "node_id": ["gen_random_uuid()", "NULL"],
    },
    "peer_addresses": {
        "network": [
            "'10.8.0.3/32'",
            "'fd00:8::3/128'",
            "'10.8.0.0/24'",
            "'10.9.0.2/32'",
            "'10.8.0.2/31'",
            "'10.8.0.2.1/32'",
            "'010.8.0.9x/32'",
            "'::ffff:10.8.0.2%1'",
            "NULL",
        ],
        "kind": ["'range'", "NULL"],
        "position": ["-1", "1024", "NULL"],
        "interface_id": ["(SELECT id FROM interfaces WHERE name = 'wg1')", "NULL"],
        "peer_id": ["gen_random_uuid()", "NULL"],
    },
    "preshared_keys": {
        "preshared_key": [r"'\x'", "decode(repeat('aa', 32), 'hex')", "NULL"],
        "peer_id": ["gen_random_uuid()", "NULL"],
    },
    "groups": {"name": [*NO_NAME, "'guests'"]},
    "users": {
        "name": ["''", "'Root'", "'a b'", "'-a'", "E'ann\\n'", "'root@hub'", f"'{'a' * 64}'", "'ben'", "NULL"],
        "email": [
            "''",
            "'ann'",
            "'a@b@c'",
            "'a b@c'",
            "E'a@c\\n'",
            "E'a\\u2028@c'",
            "E'a\\u202e@c'",
            f"'{'a' * 253}@c'",
            "'BEN@example.org'",
            "NULL",
        ],
        "role": ["'root'", "''", "NULL"],
        "password_hash": ["''", "'secret'", "'$2b$12$abc'", "'x$argon2id$'"],
        "failures": ["-1", "NULL"],
        "version": ["0", "NULL"],
        "last_login_from": [LONG, "E'a\\nb'", "NULL"],
    },
    "sessions": {
        "token_hash": ["decode(repeat('aa', 31), 'hex')", r"'\x'", "decode(repeat('bb', 32), 'hex')", "NULL"],
        "surface": ["'phone'", "NULL"],
        "expires_at": ["created_at", "created_at - interval '1 second'", "NULL"],
        "agent": [f"'{'x' * 257}'", "E'a\\nb'"],
        "address": [LONG, "E'a\\x1bb'"],
        "user_id": ["gen_random_uuid()", "NULL"],
    },
    "key_checks": {
        "check_value": [r"'\x'", "decode(repeat('aa', 15), 'hex')", "NULL"],
        "key_id": ["''", "'a b'", f"'{'k' * 33}'", "E'1\\n'"],
    },
    "nodes": {
        "name": ["''", "'a b'", "E'a\\n'", f"'{'n' * 64}'", "NULL"],
        "desired_revision": ["-1", "NULL"],
        "applied_revision": ["-1", "NULL"],
    },
    "settings": {"key": ["''", "NULL"], "value": ["NULL"]},
}
ROW = {
    "interfaces": "name = 'wg0'",
    "peers": "name = 'alice'",
    "groups": "name = 'staff'",
    "users": "name = 'ann'",
    "interface_addresses": "network = '10.8.0.0/24'",
    "peer_addresses": "network = '10.8.0.2/32'",
    "settings": "key = 'a'",
    "sessions": r"token_hash = decode(repeat('aa', 32), 'hex')",
}
BY_AGENT: dict[str, dict[str, list[str]]] = {
    "applied": {
        "kind": ["'user'", "NULL"],
        "result": ["'ok'", "'failed'", "NULL"],
        "detail": [f"'{'x' * 1001}'", "NULL"],
        "revision": ["NULL"],
    },
    "drift": {
        "status": ["'fixed'", "'ignored'", "NULL"],
        "decided_at": ["now()"],
        "field": ["''", "NULL"],
        "public_key": [r"'\x'"],
        "interface_id": ["gen_random_uuid()", "NULL"],
    },
    "peer_status": {"rx_bytes": ["-1", "NULL"], "tx_bytes": ["-1", "NULL"], "peer_id": ["gen_random_uuid()", "NULL"]},
}
UNPROVEN = {"interfaces.interfaces_id_node_key"}
"""What the foreign keys of peers and addresses point at."""

PEER = "(id, interface_id, node_id, name, public_key, key_created_at, created_at, updated_at)"
ADDRESS = (
    "INSERT INTO peer_addresses (id, peer_id, interface_id, node_id, network, kind)"
    " SELECT gen_random_uuid(), id, interface_id, node_id"
)
HUB = "INSERT INTO interface_addresses (id, interface_id, node_id, address, position) SELECT gen_random_uuid(), id"
NEW = f"INSERT INTO peers {PEER} SELECT gen_random_uuid()"
CHANGE = "INSERT INTO changes (node_id, revision, kind, object_id, interface_id) SELECT id"
NOW = "now(), now(), now()"


CLASHES = [
    # Overlaps: between two peers of an interface, between peers of two, nested either way, whole internet.
    f"{ADDRESS}, '10.8.0.3/32', 'address' FROM peers WHERE name = 'alice'",
    f"{ADDRESS}, '10.8.0.3/32', 'network' FROM peers WHERE name = 'alice'",
    f"{ADDRESS}, '192.168.7.0/24', 'network' FROM peers WHERE name = 'alice'",
    f"{ADDRESS}, '192.168.7.128/25', 'network' FROM peers WHERE name = 'alice'",
    f"{ADDRESS}, '192.168.0.0/16', 'network' FROM peers WHERE name = 'bob'",
    f"{ADDRESS}, '0.0.0.0/0', 'network' FROM peers WHERE name = 'carol'",
    f"{ADDRESS}, '::/0', 'network' FROM peers WHERE name = 'carol'",
    f"{ADDRESS}, '10.8.0.2/32', 'network' FROM peers WHERE name = 'alice'",
    f"{ADDRESS}, '172.16.0.0/24', 'address' FROM peers WHERE name = 'alice'",
    f"{ADDRESS}, '10.8.0.0/24', 'network' FROM peers WHERE name = 'bob'",
    f"{ADDRESS}, '10.8.0.2/31', 'network' FROM peers WHERE name = 'bob'",
    # Interfaces: networks that overlap, an address of an interface that is another's.
    f"{HUB}, node_id, '10.8.0.129/25', 5 FROM interfaces WHERE name = 'wg1'",
    f"{HUB}, node_id, '10.8.0.9/24', 5 FROM interfaces WHERE name = 'wg0'",
    f"{HUB}, gen_random_uuid(), '10.77.0.1/24', 5 FROM interfaces WHERE name = 'wg0'",
    # A peer that says it is on another node than its interface; a second active preshared key; a key twice.
    f"{NEW}, id, gen_random_uuid(), 'x', sha256('x'), {NOW} FROM interfaces WHERE name = 'wg0'",
    f"{NEW}, interface_id, node_id, 'x', public_key, {NOW} FROM peers WHERE name = 'bob'",
    f"{NEW}, interface_id, node_id, 'carol', sha256('x'), {NOW} FROM peers WHERE name = 'bob'",
    "INSERT INTO preshared_keys (id, peer_id, preshared_key, created_at)"
    " SELECT gen_random_uuid(), id, decode(repeat('aa', 61), 'hex'), now() FROM peers WHERE name = 'alice'",
    "INSERT INTO nodes (id, name) SELECT gen_random_uuid(), name FROM nodes",
    "INSERT INTO group_members SELECT gen_random_uuid(), id FROM peers",
    f"{CHANGE}, 1, 'user', id, id FROM nodes",
    f"{CHANGE}, NULL, 'peer', id, id FROM nodes",
]


AGENTS = [
    "UPDATE applied SET result = 'ok', detail = 'words'",
    "UPDATE drift SET status = 'fixed', decided_at = now()",
]
