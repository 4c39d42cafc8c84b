"""The tables as SQLModel classes: columns and nothing else. The constraints stand in the migrations' SQL.

Addresses and networks travel as canonical strings (``db.connect`` sees to it). Ids are made here, not by the
database, since a sealed column's associated data names its row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Computed, Identity, LargeBinary, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY, CIDR, INET, JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel


def _time() -> Any:
    return TIMESTAMP(timezone=True)


class Setting(SQLModel, table=True):
    __tablename__ = "settings"
    key: str = Field(primary_key=True, sa_type=Text)
    value: Any = Field(sa_type=JSONB)


class KeyCheck(SQLModel, table=True):
    __tablename__ = "key_checks"
    key_id: str = Field(primary_key=True, sa_type=Text)
    check_value: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=_time())
    retired_at: datetime | None = Field(default=None, sa_type=_time())


class Node(SQLModel, table=True):
    """One hub: an agent, a kernel, and the rows that carry its id."""

    __tablename__ = "nodes"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    name: str = Field(sa_type=Text)
    desired_revision: int = Field(default=0, sa_type=BigInteger)
    applied_revision: int = Field(default=0, sa_type=BigInteger)
    agent_seen_at: datetime | None = Field(default=None, sa_type=_time())
    agent_backend: str = Field(default="", sa_type=Text)
    agent_note: str = Field(default="", sa_type=Text)
    created_at: datetime = Field(sa_type=_time())


class User(SQLModel, table=True):
    __tablename__ = "users"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    name: str = Field(sa_type=Text)
    email: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    password_hash: str | None = Field(default=None, sa_type=Text)
    enabled: bool = True
    failures: int = 0
    locked_until: datetime | None = Field(default=None, sa_type=_time())
    last_login_at: datetime | None = Field(default=None, sa_type=_time())
    last_login_from: str = Field(default="", sa_type=Text)
    version: int = 1
    created_at: datetime = Field(sa_type=_time())
    updated_at: datetime = Field(sa_type=_time())


class Session(SQLModel, table=True):
    __tablename__ = "sessions"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    token_hash: bytes = Field(sa_type=LargeBinary)
    surface: str = Field(sa_type=Text)
    address: str = Field(default="", sa_type=Text)
    agent: str = Field(default="", sa_type=Text)
    created_at: datetime = Field(sa_type=_time())
    last_seen_at: datetime = Field(sa_type=_time())
    expires_at: datetime = Field(sa_type=_time())
    revoked_at: datetime | None = Field(default=None, sa_type=_time())


class Interface(SQLModel, table=True):
    __tablename__ = "interfaces"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    node_id: UUID = Field(foreign_key="nodes.id")
    name: str = Field(sa_type=Text)
    listen_port: int
    endpoint: str = Field(default="", sa_type=Text)
    dns: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    mtu: int = 1420
    policy: str = Field(default="allow", sa_type=Text)
    policy_egress: str = Field(default="allow", sa_type=Text)
    no_filter: str = Field(default="refuse", sa_type=Text)
    key_policy: str = Field(default="stored", sa_type=Text)
    nat: bool = False
    enabled: bool = True
    private_key: bytes = Field(sa_type=LargeBinary, repr=False)
    public_key: bytes = Field(sa_type=LargeBinary)
    revision: int = Field(default=0, sa_type=BigInteger)
    version: int = 1
    created_at: datetime = Field(sa_type=_time())
    updated_at: datetime = Field(sa_type=_time())


class InterfaceAddress(SQLModel, table=True):
    __tablename__ = "interface_addresses"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    interface_id: UUID
    node_id: UUID
    address: str = Field(sa_type=INET)
    network: str | None = Field(
        default=None, nullable=False, sa_type=CIDR, sa_column_args=(Computed("network(address)", persisted=True),)
    )
    position: int = Field(sa_type=SmallInteger)
    next_host: int = Field(default=1, sa_type=BigInteger)


class Peer(SQLModel, table=True):
    __tablename__ = "peers"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    interface_id: UUID
    node_id: UUID
    name: str = Field(sa_type=Text)
    public_key: bytes = Field(sa_type=LargeBinary)
    private_key: bytes | None = Field(default=None, sa_type=LargeBinary, repr=False)
    allowed_ips: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    endpoint: str = Field(default="", sa_type=Text)
    peer_endpoint: str = Field(default="", sa_type=Text)
    keepalive: int = 0
    dns: list[str] | None = Field(default=None, sa_type=ARRAY(Text))
    mtu: int | None = None
    owner: str = Field(default="", sa_type=Text)
    notes: str = Field(default="", sa_type=Text)
    quota_bytes: int | None = Field(default=None, sa_type=BigInteger)
    expires_at: datetime | None = Field(default=None, sa_type=_time())
    enabled: bool = True
    key_created_at: datetime = Field(sa_type=_time())
    revision: int = Field(default=0, sa_type=BigInteger)
    version: int = 1
    created_at: datetime = Field(sa_type=_time())
    updated_at: datetime = Field(sa_type=_time())


class PeerAddress(SQLModel, table=True):
    """A server-side allowed IP: ``kind`` is ``address`` (the peer's own) or ``network`` (behind it)."""

    __tablename__ = "peer_addresses"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    peer_id: UUID
    interface_id: UUID
    node_id: UUID
    network: str = Field(sa_type=CIDR)
    kind: str = Field(sa_type=Text)
    position: int = Field(default=0, sa_type=SmallInteger)


class PresharedKey(SQLModel, table=True):
    __tablename__ = "preshared_keys"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    peer_id: UUID = Field(foreign_key="peers.id", ondelete="CASCADE")
    preshared_key: bytes = Field(sa_type=LargeBinary, repr=False)
    created_at: datetime = Field(sa_type=_time())
    retired_at: datetime | None = Field(default=None, sa_type=_time())


class Group(SQLModel, table=True):
    __tablename__ = "groups"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    node_id: UUID = Field(foreign_key="nodes.id")
    name: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_time())


class GroupMember(SQLModel, table=True):
    __tablename__ = "group_members"
    group_id: UUID = Field(foreign_key="groups.id", ondelete="CASCADE", primary_key=True)
    peer_id: UUID = Field(foreign_key="peers.id", ondelete="CASCADE", primary_key=True)


class Change(SQLModel, table=True):
    __tablename__ = "changes"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=(Identity(always=True),))
    node_id: UUID = Field(foreign_key="nodes.id", ondelete="CASCADE")
    revision: int = Field(sa_type=BigInteger)
    kind: str = Field(sa_type=Text)
    object_id: UUID
    interface_id: UUID


class Applied(SQLModel, table=True):
    """What the agent read back for one object, and at which revision."""

    __tablename__ = "applied"
    node_id: UUID = Field(foreign_key="nodes.id", ondelete="CASCADE", primary_key=True)
    object_id: UUID = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    revision: int = Field(sa_type=BigInteger)
    result: str = Field(sa_type=Text)
    detail: str = Field(default="", sa_type=Text)
    at: datetime = Field(sa_type=_time())


class Drift(SQLModel, table=True):
    __tablename__ = "drift"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    node_id: UUID = Field(foreign_key="nodes.id", ondelete="CASCADE")
    interface_id: UUID = Field(foreign_key="interfaces.id", ondelete="CASCADE")
    peer_id: UUID | None = Field(default=None, foreign_key="peers.id", ondelete="CASCADE")
    public_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    field: str = Field(sa_type=Text)
    desired: str = Field(sa_type=Text)
    observed: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    since: datetime = Field(sa_type=_time())
    decided_at: datetime | None = Field(default=None, sa_type=_time())
    decided_by: str = Field(default="", sa_type=Text)


class PeerStatus(SQLModel, table=True):
    __tablename__ = "peer_status"
    peer_id: UUID = Field(foreign_key="peers.id", ondelete="CASCADE", primary_key=True)
    interface_id: UUID
    last_handshake: datetime | None = Field(default=None, sa_type=_time())
    endpoint: str = Field(default="", sa_type=Text)
    rx_bytes: int = Field(default=0, sa_type=BigInteger)
    tx_bytes: int = Field(default=0, sa_type=BigInteger)
    device_rx_bytes: int = Field(default=0, sa_type=BigInteger)
    device_tx_bytes: int = Field(default=0, sa_type=BigInteger)
    rx_rate: int = Field(default=0, sa_type=BigInteger)
    tx_rate: int = Field(default=0, sa_type=BigInteger)
    sampled_at: datetime = Field(sa_type=_time())


class AuditRow(SQLModel, table=True):
    """One link of the audit chain. Written by the database function ``audit_append`` and by nothing else."""

    __tablename__ = "audit_log"
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    at: datetime = Field(sa_type=_time())
    actor: str = Field(sa_type=Text)
    session_id: UUID | None = None
    source: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    target_kind: str = Field(default="", sa_type=Text)
    target_id: UUID | None = None
    target_name: str = Field(default="", sa_type=Text)
    result: str = Field(sa_type=Text)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    prev_hash: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)
