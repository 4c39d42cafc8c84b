"""What requests carry. Strict: an unknown field, or a number in quotes, is refused; bounds are the services' own.

Field names are those of the views, so what was read can be sent back.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nexushub.views import CreatedPeer, DriftView, GroupView, InterfaceView, Page, PeerView, UserView, View


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Lenient(BaseModel):
    """For paths and queries, where everything arrives as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ref(Lenient):
    ref: str = Field(description="A name or an id.")


class IfMatch(BaseModel):
    """Header of every PATCH and DELETE."""

    if_match: str = Field(alias="If-Match", description="The ETag that was read, or * to change whatever is there.")


class Credentials(Strict):
    name: str = Field(max_length=254, description="Account name or e-mail address.")
    password: str = Field(max_length=1024, json_schema_extra={"format": "password"})


class InterfaceChange(Strict):
    """Fields left out stay as they are."""

    name: str = Field("", description="[a-z][a-z0-9_-]{0,14}")
    addresses: list[str] = Field([], description="The hub's own addresses with their network's length: 10.8.0.1/24.")
    listen_port: int = Field(0, description="UDP, 1 to 65535, free on this hub.")
    endpoint: str = Field("", description="HOST or HOST:PORT where clients dial the hub.")
    dns: list[str] = Field([], description="Name servers and search domains for the clients' files.")
    mtu: int = Field(1420, description="1280 to 9000.")
    policy: Literal["allow", "deny"] = Field(
        "allow", description="What happens to packets from peers that no rule matches."
    )
    policy_egress: Literal["allow", "deny"] = Field("allow", description="The same for packets to peers.")
    no_filter: Literal["refuse", "open"] = Field(
        "refuse", description="Without a packet filter: keep the link down, or let everything pass."
    )
    key_policy: Literal["stored", "once", "never"] = Field(
        "stored", description="Whether peers' private keys are kept, shown once, or never made here."
    )
    nat: bool = Field(False, description="Masquerade what leaves the hub for elsewhere, and forward for it.")


class NewInterface(InterfaceChange):
    name: str = Field(description="[a-z][a-z0-9_-]{0,14}")
    addresses: list[str] = Field(description="The hub's own addresses with their network's length: 10.8.0.1/24.")
    listen_port: int | None = Field(None, description="UDP, 1 to 65535; left out: the first free one from 51820.")  # type: ignore[assignment]  # optional only when made
    enabled: bool = True


class PeerChange(Strict):
    """Fields left out stay as they are."""

    name: str = Field("", description="1 to 64 printable characters.")
    ip: list[str] = Field([], description="The peer's own addresses; left out or empty: the next free ones.")
    allowed_ips: list[str] = Field(
        [], description="What the client routes into the tunnel; empty: the interface's networks."
    )
    networks: list[str] = Field([], description="Networks behind the peer that the hub routes to it.")
    endpoint: str = Field("", description="The hub's endpoint in this client's file; empty: the interface's.")
    peer_endpoint: str = Field("", description="Where the hub dials the peer, ADDRESS:PORT; empty: it waits.")
    keepalive: int = Field(0, description="Seconds, 0 is off.")
    dns: list[str] | None = Field(None, description="null: the interface's.")
    mtu: int | None = Field(None, description="null: the interface's.")
    public_key: str | None = Field(None, description="The client's own public key; left out: a key pair is made.")
    expires_at: str | None = Field(None, description="ISO 8601, or a span such as 30d.")
    quota_bytes: int | None = None
    owner: str = ""
    notes: str = ""
    groups: list[str] = Field([], description="Names or ids of groups that exist.")


class PeerEdit(PeerChange):
    enabled: bool = True


class PeerFields(PeerChange):
    name: str = Field(description="1 to 64 printable characters.")
    psk: bool = Field(False, description="Make a preshared key.")


class NewPeer(PeerFields):
    interface: str = Field(description="A name or an id.")


class NewPeers(Strict):
    """Many at once, in one transaction: all or none."""

    interface: str = Field(description="A name or an id.")
    peers: list[PeerFields] = Field(min_length=1)


class RotatePsk(Strict):
    remove: bool = Field(False, description="Take the preshared key away instead.")


class PeerQuery(Lenient):
    interface: str | None = None
    search: str = Field("", max_length=200, description="Part of a name, owner or address.")
    state: Literal["up", "idle", "never", "off", "expired"] | None = None
    group: str | None = None
    after: str | None = Field(None, description="The last page's next.")
    limit: int = Field(100, ge=1, le=1000)


class RowQuery(Lenient):
    interface: str | None = None


class DriftQuery(Lenient):
    everything: bool = Field(False, description="Also what was decided or is gone.")


class GroupName(Strict):
    name: str


class Members(Strict):
    peers: list[str] = Field(min_length=1, description="Names or ids of peers.")


class WhoView(View):
    """Who is asking. ``user`` is null for the root user of this machine, who has no account."""

    name: str
    role: str
    source: str
    user: UserView | None


class PeerConfigView(View):
    """A peer's file. It holds secrets."""

    name: str
    file_name: str
    text: str
    compact: str
    """The same in the fewest characters, for a small QR code."""


class PeerRows(View):
    """The peer table, light. ``fields`` names the columns of every row; times are Unix seconds, 0 = never."""

    fields: list[str]
    rows: list[list[str | int | float]]


class InterfacePage(Page[InterfaceView]):
    pass


class PeerPage(Page[PeerView]):
    pass


class GroupPage(Page[GroupView]):
    pass


class DriftPage(Page[DriftView]):
    pass


class UserPage(Page[UserView]):
    pass


class CreatedPeers(View):
    """The peers that were made, with their files, in the order given."""

    items: list[CreatedPeer]


class Health(View):
    status: Literal["ok"] = "ok"
    version: str


class Ready(View):
    ready: bool
    database: str
    schema_revision: str
    agent: str
