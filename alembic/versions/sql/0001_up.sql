CREATE EXTENSION IF NOT EXISTS btree_gist;

-- Text for people, of one line: no control character, line or paragraph separator, bidi control or zero-width
-- character. The code points are named, since what a character class holds depends on the database's locale.
CREATE FUNCTION is_plain(value text, longest integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT char_length(value) <= longest
        AND value !~ '[\u0001-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]'
$$;

-- A list of one dimension in which every item matches and none is NULL.
CREATE FUNCTION is_list(value text[], most integer, pattern text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT cardinality(value) <= most AND coalesce(array_ndims(value), 1) = 1
        AND (SELECT coalesce(bool_and(coalesce(item ~ pattern, false)), true) FROM unnest(value) AS item)
$$;

CREATE TABLE settings (
    key   text PRIMARY KEY CHECK (key <> ''),
    value jsonb NOT NULL
);

-- One row for each encryption key the data was ever written with; a start with a wrong key is refused by it.
CREATE TABLE key_checks (
    key_id      text PRIMARY KEY CHECK (key_id ~ '^[A-Za-z0-9._-]{1,32}$'),
    check_value bytea NOT NULL CHECK (octet_length(check_value) = 16),
    created_at  timestamptz NOT NULL DEFAULT now(),
    retired_at  timestamptz
);

CREATE TABLE nodes (
    id               uuid PRIMARY KEY,
    name             text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    desired_revision bigint NOT NULL DEFAULT 0 CHECK (desired_revision >= 0),
    applied_revision bigint NOT NULL DEFAULT 0 CHECK (applied_revision >= 0),
    agent_seen_at    timestamptz,
    agent_backend    text NOT NULL DEFAULT '',
    agent_note       text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    name          text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    email         text NOT NULL CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$' AND is_plain(email, 254)),
    role          text NOT NULL CHECK (role IN ('super_admin', 'admin', 'operator', 'auditor', 'viewer')),
    password_hash text CHECK (password_hash ~ '^\$argon2id\$'),
    enabled       boolean NOT NULL DEFAULT true,
    failures      integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until  timestamptz,
    last_login_at timestamptz,
    last_login_from text NOT NULL DEFAULT '' CHECK (is_plain(last_login_from, 64)),
    version       integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_name_key ON users (name);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    token_hash   bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    surface      text NOT NULL CHECK (surface IN ('tui', 'cli', 'web', 'api')),
    address      text NOT NULL DEFAULT '' CHECK (is_plain(address, 64)),
    agent        text NOT NULL DEFAULT '' CHECK (is_plain(agent, 256)),
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL CHECK (expires_at > created_at),
    revoked_at   timestamptz
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);

CREATE TABLE interfaces (
    id            uuid PRIMARY KEY,
    node_id       uuid NOT NULL REFERENCES nodes,
    name          text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_-]{0,14}$'),
    listen_port   integer NOT NULL CHECK (listen_port BETWEEN 1 AND 65535),
    endpoint      text NOT NULL DEFAULT '' CHECK (endpoint ~ '^[][A-Za-z0-9_.:-]*$' AND length(endpoint) <= 260),
    dns           text[] NOT NULL DEFAULT '{}' CHECK (is_list(dns, 8, '^[A-Za-z0-9.:-]{1,253}$')),
    mtu           integer NOT NULL DEFAULT 1420 CHECK (mtu BETWEEN 1280 AND 9000),
    policy        text NOT NULL DEFAULT 'allow' CHECK (policy IN ('allow', 'deny')),
    policy_egress text NOT NULL DEFAULT 'allow' CHECK (policy_egress IN ('allow', 'deny')),
    no_filter     text NOT NULL DEFAULT 'refuse' CHECK (no_filter IN ('refuse', 'open')),
    key_policy    text NOT NULL DEFAULT 'stored' CHECK (key_policy IN ('stored', 'once', 'never')),
    nat           boolean NOT NULL DEFAULT false,
    enabled       boolean NOT NULL DEFAULT true,
    private_key   bytea NOT NULL CHECK (octet_length(private_key) > 60),
    public_key    bytea NOT NULL CHECK (octet_length(public_key) = 32 AND public_key <> decode(repeat('00', 32), 'hex')),
    revision      bigint NOT NULL DEFAULT 0,
    version       integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT interfaces_node_name_key UNIQUE (node_id, name),
    CONSTRAINT interfaces_node_port_key UNIQUE (node_id, listen_port),
    CONSTRAINT interfaces_public_key_key UNIQUE (public_key),
    CONSTRAINT interfaces_id_node_key UNIQUE (id, node_id)
);

-- The hub's own addresses. "network" is derived, so it can't disagree with the address.
CREATE TABLE interface_addresses (
    id           uuid PRIMARY KEY,
    interface_id uuid NOT NULL,
    node_id      uuid NOT NULL,
    address      inet NOT NULL,
    network      cidr NOT NULL GENERATED ALWAYS AS (network(address)) STORED,
    position     smallint NOT NULL CHECK (position BETWEEN 0 AND 15),
    -- Offset into the network below which every host is known to be taken; allocation starts there.
    next_host    bigint NOT NULL DEFAULT 1 CHECK (next_host >= 0),
    CONSTRAINT interface_addresses_interface_fkey FOREIGN KEY (interface_id, node_id) REFERENCES interfaces (id, node_id) ON DELETE CASCADE,
    CONSTRAINT interface_addresses_position_key UNIQUE (interface_id, position),
    CONSTRAINT interface_addresses_overlap EXCLUDE USING gist (node_id WITH =, network inet_ops WITH &&),
    CONSTRAINT interface_addresses_length_check CHECK (masklen(address) >= CASE family(address) WHEN 4 THEN 8 ELSE 16 END),
    -- Not the network's own address nor, in IPv4, its broadcast address; /31 and /127 have neither (RFC 3021, 6164).
    CONSTRAINT interface_addresses_host_check CHECK (
        masklen(address) >= CASE family(address) WHEN 4 THEN 31 ELSE 127 END
        OR (host(address) <> host(network(address)) AND (family(address) = 6 OR host(address) <> host(broadcast(address)))))
);

CREATE TABLE peers (
    id            uuid PRIMARY KEY,
    interface_id  uuid NOT NULL,
    node_id       uuid NOT NULL,
    name          text NOT NULL CHECK (is_plain(name, 64) AND name = btrim(name) AND name <> ''),
    public_key    bytea NOT NULL CHECK (octet_length(public_key) = 32 AND public_key <> decode(repeat('00', 32), 'hex')),
    private_key   bytea CHECK (octet_length(private_key) > 60),
    allowed_ips   text[] NOT NULL DEFAULT '{}' CHECK (is_list(allowed_ips, 256, '^[0-9a-f.:]+/[0-9]+$') AND allowed_ips::cidr[] IS NOT NULL),
    endpoint      text NOT NULL DEFAULT '' CHECK (endpoint ~ '^[][A-Za-z0-9_.:-]*$' AND length(endpoint) <= 260),
    peer_endpoint text NOT NULL DEFAULT '' CHECK (peer_endpoint ~ '^[][A-Za-z0-9_.:-]*$' AND length(peer_endpoint) <= 260),
    keepalive     integer NOT NULL DEFAULT 0 CHECK (keepalive BETWEEN 0 AND 65535),
    dns           text[] CHECK (is_list(dns, 8, '^[A-Za-z0-9.:-]{1,253}$')),
    mtu           integer CHECK (mtu BETWEEN 1280 AND 9000),
    owner         text NOT NULL DEFAULT '' CHECK (is_plain(owner, 128)),
    notes         text NOT NULL DEFAULT '' CHECK (is_plain(notes, 2000)),
    quota_bytes   bigint CHECK (quota_bytes > 0),
    expires_at    timestamptz,
    enabled       boolean NOT NULL DEFAULT true,
    key_created_at timestamptz NOT NULL,
    revision      bigint NOT NULL DEFAULT 0,
    version       integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT peers_interface_fkey FOREIGN KEY (interface_id, node_id) REFERENCES interfaces (id, node_id) ON DELETE CASCADE,
    CONSTRAINT peers_node_name_key UNIQUE (node_id, name),
    CONSTRAINT peers_interface_public_key_key UNIQUE (interface_id, public_key),
    CONSTRAINT peers_id_interface_key UNIQUE (id, interface_id, node_id)
);
CREATE INDEX peers_interface_id_idx ON peers (interface_id, name);
CREATE INDEX peers_expires_at_idx ON peers (expires_at) WHERE expires_at IS NOT NULL;

-- Server-side allowed IPs: the peer's own addresses and the networks behind it. Two peers of an interface can't
-- overlap (the kernel would move the range to whoever came last), nor can two interfaces of a node (their routes
-- would).
CREATE TABLE peer_addresses (
    id           uuid PRIMARY KEY,
    peer_id      uuid NOT NULL,
    interface_id uuid NOT NULL,
    node_id      uuid NOT NULL,
    network      cidr NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('address', 'network')),
    position     smallint NOT NULL DEFAULT 0 CHECK (position BETWEEN 0 AND 1023),
    CONSTRAINT peer_addresses_peer_fkey FOREIGN KEY (peer_id, interface_id, node_id) REFERENCES peers (id, interface_id, node_id) ON DELETE CASCADE,
    CONSTRAINT peer_addresses_host_check CHECK (kind = 'network' OR masklen(network) = CASE family(network) WHEN 4 THEN 32 ELSE 128 END),
    CONSTRAINT peer_addresses_taken UNIQUE (interface_id, network),
    CONSTRAINT peer_addresses_overlap EXCLUDE USING gist (interface_id WITH =, network inet_ops WITH &&, peer_id WITH <>),
    CONSTRAINT peer_addresses_node_overlap EXCLUDE USING gist (node_id WITH =, network inet_ops WITH &&, interface_id WITH <>)
);
CREATE INDEX peer_addresses_peer_id_idx ON peer_addresses (peer_id);

CREATE TABLE preshared_keys (
    id            uuid PRIMARY KEY,
    peer_id       uuid NOT NULL REFERENCES peers ON DELETE CASCADE,
    preshared_key bytea NOT NULL CHECK (octet_length(preshared_key) > 60),
    created_at    timestamptz NOT NULL,
    retired_at    timestamptz
);
CREATE UNIQUE INDEX preshared_keys_active_key ON preshared_keys (peer_id) WHERE retired_at IS NULL;
CREATE INDEX preshared_keys_peer_id_idx ON preshared_keys (peer_id);

CREATE TABLE groups (
    id         uuid PRIMARY KEY,
    node_id    uuid NOT NULL REFERENCES nodes,
    name       text NOT NULL CHECK (is_plain(name, 64) AND name = btrim(name) AND name <> ''),
    created_at timestamptz NOT NULL,
    CONSTRAINT groups_node_name_key UNIQUE (node_id, name)
);
CREATE TABLE group_members (
    group_id uuid NOT NULL REFERENCES groups ON DELETE CASCADE,
    peer_id  uuid NOT NULL REFERENCES peers ON DELETE CASCADE,
    PRIMARY KEY (group_id, peer_id)
);
CREATE INDEX group_members_peer_id_idx ON group_members (peer_id);

-- What changed, by revision, so that one edit among ten thousand peers costs the agent one row.
CREATE TABLE changes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node_id      uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
    revision     bigint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('interface', 'peer')),
    object_id    uuid NOT NULL,
    interface_id uuid NOT NULL
);
CREATE INDEX changes_node_revision_idx ON changes (node_id, revision);

-- What the agent read back, by object. No row, or one of an older revision: pending.
CREATE TABLE applied (
    node_id   uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
    object_id uuid NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('interface', 'peer')),
    revision  bigint NOT NULL,
    result    text NOT NULL CHECK (result IN ('applied', 'failed')),
    detail    text NOT NULL DEFAULT '' CHECK (length(detail) <= 1000),
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, object_id),
    CONSTRAINT applied_words_check CHECK (result = 'applied' OR detail <> '')
);

CREATE TABLE drift (
    id           uuid PRIMARY KEY,
    node_id      uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
    interface_id uuid NOT NULL REFERENCES interfaces ON DELETE CASCADE,
    peer_id      uuid REFERENCES peers ON DELETE CASCADE,
    public_key   bytea CHECK (octet_length(public_key) = 32),
    field        text NOT NULL CHECK (field <> ''),
    desired      text NOT NULL,
    observed     text NOT NULL,
    status       text NOT NULL CHECK (status IN ('open', 'repaired', 'adopted', 'reverted', 'ignored', 'gone')),
    since        timestamptz NOT NULL,
    decided_at   timestamptz,
    decided_by   text NOT NULL DEFAULT '',
    CONSTRAINT drift_decided_check CHECK ((status = 'open') = (decided_at IS NULL))
);
CREATE UNIQUE INDEX drift_live_key ON drift (interface_id, coalesce(public_key, ''::bytea), field) WHERE status IN ('open', 'ignored');
CREATE INDEX drift_node_id_idx ON drift (node_id, status);

-- The latest sample of each peer. rx and tx only grow: a device whose counters start again begins a new epoch.
CREATE TABLE peer_status (
    peer_id         uuid PRIMARY KEY REFERENCES peers ON DELETE CASCADE,
    interface_id    uuid NOT NULL,
    last_handshake  timestamptz,
    endpoint        text NOT NULL DEFAULT '',
    rx_bytes        bigint NOT NULL DEFAULT 0 CHECK (rx_bytes >= 0),
    tx_bytes        bigint NOT NULL DEFAULT 0 CHECK (tx_bytes >= 0),
    device_rx_bytes bigint NOT NULL DEFAULT 0,
    device_tx_bytes bigint NOT NULL DEFAULT 0,
    rx_rate         bigint NOT NULL DEFAULT 0,
    tx_rate         bigint NOT NULL DEFAULT 0,
    sampled_at      timestamptz NOT NULL
);
CREATE INDEX peer_status_sampled_at_idx ON peer_status (sampled_at);

CREATE TABLE audit_log (
    seq         bigint PRIMARY KEY CHECK (seq >= 1),
    at          timestamptz NOT NULL,
    actor       text NOT NULL,
    session_id  uuid,
    source      text NOT NULL,
    action      text NOT NULL CHECK (action ~ '^[a-z0-9_]+\.[a-z0-9_]+$'),
    target_kind text NOT NULL DEFAULT '',
    target_id   uuid,
    target_name text NOT NULL DEFAULT '',
    result      text NOT NULL CHECK (result IN ('success', 'failure', 'denied')),
    detail      jsonb NOT NULL DEFAULT '{}',
    prev_hash   bytea NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash        bytea NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE INDEX audit_log_at_idx ON audit_log (at);
CREATE INDEX audit_log_action_idx ON audit_log (action text_pattern_ops, seq);
CREATE INDEX audit_log_actor_idx ON audit_log (actor, seq);
CREATE INDEX audit_log_target_idx ON audit_log (target_id, seq);

-- One row: the chain's end. Its lock orders the writers, so the sequence has no gaps.
CREATE TABLE audit_head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq  bigint NOT NULL,
    hash bytea NOT NULL
);
INSERT INTO audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- Length-prefixed fields: no two different rows have the same bytes.
CREATE FUNCTION audit_field(value text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8') $$;

CREATE FUNCTION audit_bytes(
    seq bigint, at timestamptz, actor text, session_id uuid, source text, action text, target_kind text,
    target_id uuid, target_name text, result text, detail jsonb
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT audit_field(seq::text)
        || audit_field(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || audit_field(actor) || audit_field(coalesce(session_id::text, '')) || audit_field(source)
        || audit_field(action) || audit_field(target_kind) || audit_field(coalesce(target_id::text, ''))
        || audit_field(target_name) || audit_field(result) || audit_field(detail::text)
$$;

-- The only way to write the log. With a session the actor is looked up here, so that no caller can name another.
CREATE FUNCTION audit_append(
    p_session uuid, p_actor text, p_source text, p_action text, p_target_kind text, p_target_id uuid,
    p_target_name text, p_result text, p_detail jsonb
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    head audit_head%ROWTYPE;
    who  text := p_actor;
    now_at timestamptz := clock_timestamp();
    row_hash bytea;
BEGIN
    IF p_session IS NOT NULL THEN
        SELECT u.name INTO who FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = p_session;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'audit: there is no session %', p_session;
        END IF;
    ELSIF EXISTS (SELECT 1 FROM users WHERE name = p_actor) THEN
        RAISE EXCEPTION 'audit: % is a user and needs a session', p_actor;
    END IF;
    SELECT * INTO STRICT head FROM audit_head FOR UPDATE;
    row_hash := sha256(head.hash || audit_bytes(head.seq + 1, now_at, who, p_session, p_source, p_action,
        p_target_kind, p_target_id, p_target_name, p_result, p_detail));
    INSERT INTO audit_log VALUES (head.seq + 1, now_at, who, p_session, p_source, p_action, p_target_kind,
        p_target_id, p_target_name, p_result, p_detail, head.hash, row_hash);
    UPDATE audit_head SET seq = head.seq + 1, hash = row_hash;
    RETURN head.seq + 1;
END $$;
REVOKE EXECUTE ON FUNCTION audit_append FROM PUBLIC;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only: % refused', TG_OP; END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

-- Least right. Where the roles can't exist (a managed database without CREATEROLE) everything runs as the owner,
-- and `nexushub doctor` says so.
DO $$
DECLARE
    missing text;
BEGIN
    FOREACH missing IN ARRAY ARRAY['nexushub_app', 'nexushub_agent', 'nexushub_retention', 'nexushub_backup'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = missing) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', missing);
                EXECUTE format('GRANT %I TO CURRENT_USER', missing);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % could not be created', missing;
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- another hub of this server made it at the same moment
            END;
        END IF;
    END LOOP;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'nexushub_app') THEN
        GRANT USAGE ON SCHEMA public TO nexushub_app;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO nexushub_app;
        GRANT INSERT, UPDATE, DELETE ON settings, users, sessions, interfaces, interface_addresses, peers,
            peer_addresses, preshared_keys, groups, group_members TO nexushub_app;
        GRANT INSERT, UPDATE ON key_checks, nodes TO nexushub_app;
        GRANT INSERT ON changes TO nexushub_app;
        GRANT UPDATE ON drift TO nexushub_app;
        GRANT EXECUTE ON FUNCTION audit_append TO nexushub_app;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'nexushub_agent') THEN
        GRANT USAGE ON SCHEMA public TO nexushub_agent;
        GRANT SELECT ON alembic_version, nodes, key_checks, interfaces, interface_addresses, peer_addresses, preshared_keys, groups,
            group_members, changes, applied, drift, peer_status TO nexushub_agent;
        GRANT SELECT (id, interface_id, node_id, name, public_key, peer_endpoint, keepalive, quota_bytes, expires_at,
            enabled, revision) ON peers TO nexushub_agent;
        GRANT UPDATE (applied_revision, agent_seen_at, agent_backend, agent_note) ON nodes TO nexushub_agent;
        GRANT INSERT, UPDATE, DELETE ON applied, drift, peer_status TO nexushub_agent;
        GRANT DELETE ON changes TO nexushub_agent;
        GRANT EXECUTE ON FUNCTION audit_append TO nexushub_agent;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'nexushub_backup') THEN
        GRANT USAGE ON SCHEMA public TO nexushub_backup;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO nexushub_backup;
    END IF;
END $$;
