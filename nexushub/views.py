"""What the surfaces receive: frozen read models, the same for TUI, API and command line. No secrets in here.

JSON is made from these: snake_case, ISO-8601 UTC, bytes as integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")

Role = Literal["super_admin", "admin", "operator", "auditor", "viewer"]
PeerState = Literal["up", "idle", "never", "off", "expired"]
"""``up`` = a handshake within 180 s, WireGuard's own limit for a session (Reject-After-Time); ``idle`` = an older
one; ``never`` = none yet; ``off`` = disabled, or its interface is; ``expired`` = past its expiry."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. Made by ``services.auth`` or, for the root user of this machine, by the surface."""

    name: str
    role: Role
    source: Literal["tui", "cli", "web", "api", "agent", "local"]
    user_id: UUID | None = None
    session_id: UUID | None = None
    address: str = ""


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Truth(View):
    """Whether the kernel agrees. Exactly one of: applied, pending with the reason, failed with its words."""

    applied: bool = True
    pending: str | None = None
    failed: str | None = None


class InterfaceView(Truth):
    id: UUID
    name: str
    node: str
    enabled: bool
    addresses: list[str]
    listen_port: int
    endpoint: str
    dns: list[str]
    mtu: int
    policy: str
    policy_egress: str
    no_filter: str
    key_policy: str
    nat: bool
    public_key: str
    peers_total: int
    peers_up: int
    addresses_free: int
    """How many more peers fit, in the smallest of its networks; capped at 2**31."""
    rx_bytes: int
    tx_bytes: int
    version: int
    created_at: datetime
    updated_at: datetime


class PeerView(Truth):
    id: UUID
    name: str
    interface: str
    interface_id: UUID
    state: PeerState
    enabled: bool
    addresses: list[str]
    """The peer's own addresses, without a length."""
    networks: list[str]
    """Server-side networks behind the peer."""
    allowed_ips: list[str]
    """What the client routes; empty: the interface's networks."""
    endpoint: str
    """The hub's endpoint in this client's file; empty: the interface's."""
    peer_endpoint: str
    """Where the hub dials the peer; empty: it waits."""
    keepalive: int
    dns: list[str] | None
    """None: the interface's."""
    mtu: int | None
    public_key: str
    private_key_stored: bool
    preshared_key: bool
    groups: list[str]
    owner: str
    notes: str
    quota_bytes: int | None
    expires_at: datetime | None
    last_handshake: datetime | None
    remote: str
    """Where its last packet came from, ``address:port``."""
    rx_bytes: int
    tx_bytes: int
    rx_rate: int
    tx_rate: int
    """Bytes a second, from the agent's last two samples."""
    key_created_at: datetime
    version: int
    created_at: datetime
    updated_at: datetime


class PeerRow(NamedTuple):
    """One line of the peer table, light: ten thousand of them are read at once. Times are Unix seconds, 0 = never."""

    id: UUID
    name: str
    interface: str
    state: PeerState
    address: str
    last_handshake: float
    rx_rate: int
    tx_rate: int
    rx_bytes: int
    tx_bytes: int
    remote: str
    expires_at: float
    owner: str
    truth: Literal["applied", "pending", "failed"]
    public_key: str
    version: int


class CreatedPeer(View):
    """A peer just made, with its file. With key policy ``once`` this is the only time the private key is seen."""

    peer: PeerView
    config: str


class DriftView(View):
    """One field in which the kernel disagrees with the database, since when, and what was decided."""

    id: UUID
    interface: str
    peer: str | None
    public_key: str | None
    field: str
    desired: str
    observed: str
    status: Literal["open", "repaired", "adopted", "reverted", "ignored", "gone"]
    since: datetime
    decided_at: datetime | None
    decided_by: str


class NodeView(View):
    name: str
    desired_revision: int
    applied_revision: int
    agent: str
    """``running``, or why not."""
    agent_seen_at: datetime | None
    backend: str
    """``wireguard`` or ``wireguard-go``."""
    note: str
    """What the agent has to say, such as that it runs from its snapshot since the database is away."""


class StatusView(View):
    """The hub at a glance: what ``nexushub status`` prints."""

    node: NodeView
    version: str
    interfaces: list[InterfaceView]
    drift: list[DriftView]
    pending: int
    failed: list[str]


class Check(View):
    """One line of ``nexushub doctor``."""

    name: str
    state: Literal["ok", "warning", "failed", "unknown"]
    detail: str
    fix: str = ""


class UserView(View):
    id: UUID
    name: str
    email: str
    role: Role
    enabled: bool
    locked_until: datetime | None
    last_login_at: datetime | None
    last_login_from: str
    created_at: datetime
    version: int


class GroupView(View):
    id: UUID
    name: str
    peers: list[str]


class SignedIn(View):
    """A session just begun. The token is shown to the caller once and stored only as a hash."""

    token: str
    user: UserView
    expires_at: datetime
    previous_login_at: datetime | None
    previous_login_from: str


class Page(View, Generic[T]):
    """A keyset page. ``next`` is opaque; None at the end."""

    items: list[T]
    next: str | None = None
