"""The reading side: the SQL that joins rows with what the agent read back, and its mapping to views.

No public function here reads by itself; the services that do carry the permission.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

from sqlalchemy import RowMapping

from nexushub.views import InterfaceView, PeerRow, PeerState, PeerView

# Somebody who was seen less than three agent heartbeats (5 s each) ago runs.
_AGENT_ALIVE = "(n.agent_seen_at IS NOT NULL AND n.agent_seen_at > CAST(:now AS timestamptz) - interval '15 seconds')"

INTERFACES = f"""
SELECT i.*, n.name AS node, {_AGENT_ALIVE} AS alive,
       ap.result AS ap_result, ap.detail AS ap_detail, ap.revision AS ap_revision,
       ad.addresses, ad.used,
       coalesce(s.total, 0) AS total, coalesce(s.up, 0) AS up, coalesce(s.rx, 0) AS rx, coalesce(s.tx, 0) AS tx
FROM interfaces i
JOIN nodes n ON n.id = i.node_id
LEFT JOIN applied ap ON ap.node_id = i.node_id AND ap.object_id = i.id
LEFT JOIN LATERAL (
    SELECT array_agg(a.address::text ORDER BY a.position) AS addresses,
           array_agg((SELECT count(*) FROM peer_addresses pa
                      WHERE pa.interface_id = i.id AND pa.kind = 'address' AND family(pa.network) = family(a.network)
                        AND pa.network <<= a.network) ORDER BY a.position) AS used
    FROM interface_addresses a WHERE a.interface_id = i.id) ad ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS total,
           count(*) FILTER (WHERE p.enabled AND i.enabled AND (p.expires_at IS NULL OR p.expires_at > :now)
                              AND st.last_handshake > CAST(:now AS timestamptz) - interval '180 seconds') AS up,
           sum(st.rx_bytes)::bigint AS rx, sum(st.tx_bytes)::bigint AS tx
    FROM peers p LEFT JOIN peer_status st ON st.peer_id = p.id WHERE p.interface_id = i.id) s ON true
WHERE i.node_id = :node"""

# WireGuard's Reject-After-Time: a session older than 180 s carries nothing (white paper, section 6.1).
_STATE = """CASE WHEN NOT p.enabled OR NOT i.enabled THEN 'off'
     WHEN p.expires_at <= :now THEN 'expired'
     WHEN st.last_handshake > CAST(:now AS timestamptz) - interval '180 seconds' THEN 'up'
     WHEN st.last_handshake IS NULL THEN 'never' ELSE 'idle' END"""

PEERS = f"""
SELECT p.*, i.name AS interface, i.enabled AS interface_enabled, {_AGENT_ALIVE} AS alive, {_STATE} AS state,
       ap.result AS ap_result, ap.detail AS ap_detail, ap.revision AS ap_revision,
       iap.result AS i_result, iap.detail AS i_detail,
       st.last_handshake, coalesce(st.endpoint, '') AS remote, coalesce(st.rx_bytes, 0) AS rx,
       coalesce(st.tx_bytes, 0) AS tx, coalesce(st.rx_rate, 0) AS rx_rate, coalesce(st.tx_rate, 0) AS tx_rate,
       EXISTS (SELECT 1 FROM preshared_keys k WHERE k.peer_id = p.id AND k.retired_at IS NULL) AS psk,
       ARRAY(SELECT host(a.network) FROM peer_addresses a WHERE a.peer_id = p.id AND a.kind = 'address' ORDER BY a.position) AS addresses,
       ARRAY(SELECT a.network::text FROM peer_addresses a WHERE a.peer_id = p.id AND a.kind = 'network' ORDER BY a.position) AS networks,
       ARRAY(SELECT g.name FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.peer_id = p.id ORDER BY g.name) AS groups
FROM peers p
JOIN interfaces i ON i.id = p.interface_id
JOIN nodes n ON n.id = p.node_id
LEFT JOIN peer_status st ON st.peer_id = p.id
LEFT JOIN applied ap ON ap.node_id = p.node_id AND ap.object_id = p.id
LEFT JOIN applied iap ON iap.node_id = p.node_id AND iap.object_id = p.interface_id
WHERE p.node_id = :node"""

# Light, for ten thousand at once: no arrays, times as numbers.
PEER_ROWS = f"""
SELECT p.id, p.name, i.name AS interface, {_STATE} AS state, coalesce(host(a.network), '') AS address,
       coalesce(extract(epoch FROM st.last_handshake), 0)::float8 AS last_handshake,
       coalesce(st.rx_rate, 0) AS rx_rate, coalesce(st.tx_rate, 0) AS tx_rate,
       coalesce(st.rx_bytes, 0) AS rx, coalesce(st.tx_bytes, 0) AS tx, coalesce(st.endpoint, '') AS remote,
       coalesce(extract(epoch FROM p.expires_at), 0)::float8 AS expires_at, p.owner,
       CASE WHEN ap.revision IS NULL OR ap.revision < p.revision THEN 'pending' ELSE ap.result END AS truth,
       encode(p.public_key, 'base64') AS public_key, p.version
FROM peers p
JOIN interfaces i ON i.id = p.interface_id
LEFT JOIN peer_addresses a ON a.peer_id = p.id AND a.kind = 'address' AND a.position = 0
LEFT JOIN peer_status st ON st.peer_id = p.id
LEFT JOIN applied ap ON ap.node_id = p.node_id AND ap.object_id = p.id
WHERE p.node_id = :node"""


def truth(row: RowMapping) -> dict[str, Any]:
    """Whether the kernel agrees with this row: ``applied``, ``pending`` with the reason, or ``failed``."""
    if row["ap_revision"] is not None and row["ap_revision"] >= row["revision"]:
        failed = row["ap_detail"] if row["ap_result"] == "failed" else None
        return {"applied": failed is None, "pending": None, "failed": failed}
    if row.get("i_result") == "failed":
        return {"applied": False, "pending": None, "failed": f"interface {row['interface']}: {row['i_detail']}"}
    return {
        "applied": False,
        "pending": "agent still applying" if row["alive"] else "agent not running",
        "failed": None,
    }


def interface_view(row: RowMapping) -> InterfaceView:
    """Map a row of ``INTERFACES``."""
    addresses = row["addresses"] or []
    free = [_hosts(address) - used for address, used in zip(addresses, row["used"] or [], strict=True)]
    return InterfaceView(
        id=row["id"], name=row["name"], node=row["node"], enabled=row["enabled"], addresses=addresses,
        listen_port=row["listen_port"], endpoint=row["endpoint"], dns=row["dns"], mtu=row["mtu"], policy=row["policy"],
        policy_egress=row["policy_egress"], no_filter=row["no_filter"], key_policy=row["key_policy"], nat=row["nat"],
        public_key=_b64(row["public_key"]), peers_total=row["total"], peers_up=row["up"],
        addresses_free=max(0, min([*free, 2**31])), rx_bytes=row["rx"], tx_bytes=row["tx"], version=row["version"],
        created_at=row["created_at"], updated_at=row["updated_at"], **truth(row),
    )  # fmt: skip


def _hosts(address: str) -> int:
    """How many peers a network can hold beside the hub: not the network address, nor v4's broadcast."""
    network = ipaddress.ip_interface(address).network
    if network.prefixlen >= network.max_prefixlen - 1:
        return network.num_addresses - 1
    return network.num_addresses - (3 if network.version == 4 else 2)


def peer_view(row: RowMapping) -> PeerView:
    """Map a row of ``PEERS``."""
    state: PeerState = row["state"]
    return PeerView(
        id=row["id"], name=row["name"], interface=row["interface"], interface_id=row["interface_id"], state=state,
        enabled=row["enabled"], addresses=row["addresses"], networks=row["networks"], allowed_ips=row["allowed_ips"],
        endpoint=row["endpoint"], peer_endpoint=row["peer_endpoint"], keepalive=row["keepalive"], dns=row["dns"],
        mtu=row["mtu"], public_key=_b64(row["public_key"]), private_key_stored=row["private_key"] is not None,
        preshared_key=row["psk"], groups=row["groups"], owner=row["owner"], notes=row["notes"],
        quota_bytes=row["quota_bytes"], expires_at=row["expires_at"], last_handshake=row["last_handshake"],
        remote=row["remote"], rx_bytes=row["rx"], tx_bytes=row["tx"], rx_rate=row["rx_rate"], tx_rate=row["tx_rate"],
        key_created_at=row["key_created_at"], version=row["version"], created_at=row["created_at"],
        updated_at=row["updated_at"], **truth(row),
    )  # fmt: skip


def peer_row(row: Any) -> PeerRow:
    """Map a row of ``PEER_ROWS``, by position."""
    return PeerRow._make(row)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
