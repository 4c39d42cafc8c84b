DROP TABLE audit_head, audit_log, peer_status, drift, applied, changes, group_members, groups, preshared_keys,
    peer_addresses, peers, interface_addresses, interfaces, sessions, users, nodes, key_checks, settings;
DROP FUNCTION audit_append, audit_bytes, audit_field, audit_refuse, is_list, is_plain;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['nexushub_app', 'nexushub_agent', 'nexushub_retention', 'nexushub_backup'] LOOP
        IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('REVOKE ALL ON SCHEMA public FROM %I', name);
        END IF;
    END LOOP;
END $$;
