"""Adding and changing interfaces and peers. What a form sends is what was changed in it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from nexushub.errors import Conflict, Invalid, NexusError, Stale
from nexushub.services import interfaces, peers
from nexushub.services.peerfields import NewPeer
from nexushub.views import InterfaceView, PeerView
from tui import display, keys
from tui.screens.framed import Framed
from tui.screens.peer import PeerScreen
from tui.widgets.form import Entry, Field, Form
from tui.widgets.lines import assemble

YES_NO = ("no", "yes")
ALIASES = {"address": ("addresses", "ip"), "network": ("networks",), "port": ("listen_port",)}
"""What an error calls a field, where a form has it under another name."""


def words(text: str) -> tuple[str, ...]:
    """A list as people type it: commas, spaces or both."""
    return tuple(text.replace(",", " ").split())


def number(field: str) -> Callable[[str], int]:
    """Reads a whole number, or refuses in the name of the field."""

    def read(text: str) -> int:
        if not text.strip().isascii() or not text.strip().isdecimal():
            raise Invalid(field, text, "it must be a whole number")
        return int(text)

    return read


def or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: read(text) if text.strip() else None


INTERFACE: Mapping[str, Callable[[str], Any]] = {
    "name": str.strip, "addresses": words, "listen_port": number("listen_port"), "endpoint": str.strip, "dns": words,
    "mtu": number("mtu"), "policy": str, "policy_egress": str, "no_filter": str, "key_policy": str,
    "nat": lambda text: text == "yes",
}  # fmt: skip
PEER: Mapping[str, Callable[[str], Any]] = {
    "interface": str, "name": str.strip, "ip": words, "allowed_ips": words, "networks": words, "endpoint": str.strip,
    "peer_endpoint": str.strip, "keepalive": number("keepalive"), "dns": lambda text: words(text) or None,
    "mtu": or_none(number("mtu")), "public_key": or_none(str.strip), "psk": lambda text: text == "yes",
    "expires_at": or_none(str.strip), "quota_bytes": or_none(number("quota_bytes")), "owner": str.strip,
    "groups": lambda text: tuple(part.strip() for part in text.split(",") if part.strip()), "notes": str.strip,
}  # fmt: skip
"""How each field's text becomes what the services take."""


class FormScreen(Framed):
    """A form with a save key. Errors of the services go to the field that they name."""

    SECTION = "form"
    INSIDE = False
    BINDINGS: ClassVar = keys.bindings("form")

    def __init__(self) -> None:
        super().__init__()
        self._saving = False

    def fields(self) -> Sequence[Field]:
        raise NotImplementedError

    def lead(self) -> str:
        return ""

    def body(self) -> Iterable[Widget]:
        lead = [Static(assemble([(self.lead(), "")]), classes="lead")] if self.lead() else []
        yield Vertical(*lead, Form(self.fields(), id="form"), classes="form-body")

    @property
    def form(self) -> Form:
        return self.query_one(Form)

    def on_mount(self) -> None:
        self.form.focus_first()

    def do_next(self) -> None:
        self.focus_next()

    def do_previous(self) -> None:
        self.focus_previous()

    def do_back(self) -> None:
        self.dismiss()

    def do_save(self) -> None:
        if self._saving:
            self.say("Still saving.")
            return
        if missing := self.form.missing():
            if not self.form.focus_after():
                self.form.show_errors(missing)
            return
        self.form.show_errors({})
        self._saving = True
        self.say("Saving.")
        self.background(self._save, "save")

    async def _save(self) -> None:
        try:
            await self.save()
        finally:
            self._saving = False

    async def save(self) -> None:
        raise NotImplementedError

    def failed(self, error: NexusError) -> None:
        if isinstance(error, Invalid | Conflict) and not isinstance(error, Stale):
            names = ALIASES.get(error.field, (error.field,))
            if self.form.show_errors(dict.fromkeys(names, str(error))):
                self.say("Nothing was saved: see the field.", "$error")
                return
        self.hub_app.say_error(error)


def read(values: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The fields' texts as values; ``Invalid`` names the field."""
    return {name: readers[name](text) for name, text in values.items()}


def interface_fields(view: InterfaceView | None, proposed: interfaces.Suggestion | None) -> list[Field]:
    if view is None:
        name, address = (proposed.name, proposed.address) if proposed else ("wg0", "")
        port, endpoint = (str(proposed.listen_port), proposed.endpoint) if proposed else ("51820", "")
        values: dict[str, Any] = {}
    else:
        name, address, port, endpoint = view.name, ", ".join(view.addresses), str(view.listen_port), view.endpoint
        values = view.model_dump()
    return [
        Field("name", "Name", name, required=True),
        Field(
            "addresses",
            "Addresses",
            address,
            "The hub's own address in its network, such as 10.8.0.1/24; a v6 one may follow.",
            required=True,
        ),
        Field("listen_port", "Port", port, required=True),
        Field(
            "endpoint",
            "Endpoint",
            endpoint,
            "Where clients reach this hub: a name or address, with :port if another port is forwarded.",
            "not known yet",
        ),
        Field("dns", "DNS", ", ".join(values.get("dns", ())), "Given to the clients.", empty="none"),
        Field("mtu", "MTU", str(values.get("mtu", 1420))),
        Field("nat", "NAT", YES_NO[bool(values.get("nat", False))], choices=YES_NO),
        Field("policy", "Policy in", values.get("policy", "allow"), choices=("allow", "deny")),
        Field("policy_egress", "Policy out", values.get("policy_egress", "allow"), choices=("allow", "deny")),
        Field("no_filter", "Without filter", values.get("no_filter", "refuse"), choices=("refuse", "open")),
        Field(
            "key_policy",
            "Client keys",
            values.get("key_policy", "stored"),
            "stored: kept encrypted. once: shown at creation only. never: clients bring their own.",
            choices=("stored", "once", "never"),
        ),
    ]


class InterfaceForm(FormScreen):
    """A new interface, or the fields of one."""

    PLACE = "Interface"

    def __init__(self, view: InterfaceView | None = None) -> None:
        super().__init__()
        self.view = view

    @property
    def subject(self) -> str:
        return self.view.name if self.view else "new"

    def fields(self) -> Sequence[Field]:
        return interface_fields(self.view, None)

    def on_mount(self) -> None:
        if self.view is None:
            self.background(self._propose, "propose")

    async def _propose(self) -> None:
        """Fill in a free name, network and port, unless somebody typed already."""
        if self.form.changes:
            return
        proposed = await self.hub_app.link.read(interfaces.suggest)
        await self.form.start_from(interface_fields(None, proposed))
        self.form.focus_first()

    async def save(self) -> None:
        link = self.hub_app.link
        if self.view is None:
            view, truth = await link.write(interfaces.create, **read(self.form.values, INTERFACE))
            self.hub_app.say_done(f"interface {view.name} added", truth)
        else:
            if not self.form.changes:
                self.say("Nothing was changed.")
                self.dismiss()
                return
            changes = read(self.form.changes, INTERFACE)
            view, truth = await link.write(interfaces.edit, self.view.id, version=self.view.version, **changes)
            self.hub_app.say_done(f"interface {view.name} changed", truth)
        self.dismiss()


def _identity_fields(view: PeerView | None, names: Sequence[str], interface: str) -> tuple[list[Field], list[Field]]:
    """What names a peer, and its keys: asked only where it can still be chosen."""
    if view is not None:
        return [Field("name", "Name", view.name, required=True)], []
    about = "A name is enough. Paste several lines to add one peer for each."
    first = [
        Field("name", "Name", "", about, required=True, lines=True),
        Field("interface", "Interface", interface, choices=names),
    ]
    keys = [
        Field("psk", "Preshared key", "no", choices=YES_NO),
        Field("public_key", "Public key", "", "Only if the client made its own key.", "made here"),
    ]
    return first, keys


def peer_fields(view: PeerView | None, names: Sequence[str], interface: str) -> list[Field]:
    first, psk = _identity_fields(view, names, interface)
    values: dict[str, Any] = {} if view is None else view.model_dump() | {"ip": view.addresses}
    listed = {name: ", ".join(values.get(name) or ()) for name in ("ip", "allowed_ips", "networks", "dns", "groups")}
    expires = values.get("expires_at")
    quota = values.get("quota_bytes")
    mtu = values.get("mtu")
    return [
        *first,
        Field("ip", "Addresses", listed["ip"], empty="the next free one"),
        Field(
            "allowed_ips",
            "Client routes",
            listed["allowed_ips"],
            "What the client sends into the tunnel; 0.0.0.0/0, ::/0 is everything.",
            "the interface's networks",
        ),
        Field(
            "networks", "Networks behind", listed["networks"], "Networks that are reached through this peer.", "none"
        ),
        *psk,
        Field(
            "keepalive",
            "Keepalive",
            str(values.get("keepalive", 0)),
            "Seconds; 25 for a client behind NAT that must be reachable, 0 is off.",
        ),
        Field(
            "expires_at",
            "Expires",
            expires.isoformat(timespec="minutes") if expires else "",
            "A date, or a span such as 30d.",
            "never",
        ),
        Field("owner", "Owner", values.get("owner", ""), empty="nobody"),
        Field("groups", "Groups", listed["groups"], "Separated by commas.", "none"),
        Field("dns", "DNS", listed["dns"], empty="the interface's"),
        Field("mtu", "MTU", str(mtu) if mtu else "", empty="the interface's"),
        Field(
            "endpoint",
            "Hub's endpoint",
            values.get("endpoint", ""),
            "In this client's file only.",
            "the interface's",
        ),
        Field(
            "peer_endpoint",
            "Hub dials",
            values.get("peer_endpoint", ""),
            "Where the hub reaches the peer.",
            "it waits for the peer",
        ),
        Field("quota_bytes", "Quota", str(quota) if quota else "", "In bytes.", "none"),
        Field("notes", "Notes", values.get("notes", ""), empty="none"),
    ]


class PeerForm(FormScreen):
    """A new peer, or several, or the fields of one."""

    PLACE = "Peer"

    def __init__(self, view: PeerView | None = None, *, interface: str = "") -> None:
        super().__init__()
        self.view = view
        self._interface = interface
        self._names: list[str] = []

    @property
    def subject(self) -> str:
        return self.view.name if self.view else "new"

    def fields(self) -> Sequence[Field]:
        known = self.hub_app.status.interfaces if self.hub_app.status else []
        return peer_fields(self.view, [one.name for one in known] or [self._interface or "wg0"], self._interface)

    def on_mount(self) -> None:
        if self.view is None:
            self.background(self._learn_interfaces, "interfaces")

    async def _learn_interfaces(self) -> None:
        names = [one.name for one in await self.hub_app.link.read(interfaces.listing)]
        if not names:
            self.say("There is no interface yet: add one first, with a in Interfaces.", "$warning")
            self.dismiss()
        elif (
            names != list(next(f.choices for f in self.form.fields if f.name == "interface")) and not self.form.changes
        ):
            await self.form.start_from(peer_fields(None, names, self._interface))
            self.form.focus_first()

    def on_entry_lines(self, event: Entry.Lines) -> None:
        """Several names were pasted: all are added, with the other fields the same for each."""
        self._names = event.lines
        entry = self.form.widget("name")
        assert isinstance(entry, Entry)
        shown = ", ".join(event.lines[:3]) + (", and more" if len(event.lines) > 3 else "")
        entry.value = f"{display.count(len(event.lines), 'name')}: {shown}"
        entry.disabled = True
        self.say(f"{display.count(len(event.lines), 'peer')} will be added; esc starts again.")
        self.focus_next()

    async def save(self) -> None:
        if self.view is not None:
            await self._edit(self.view)
            return
        values = self.form.values
        given = read({name: text for name, text in values.items() if text or name in ("interface", "name")}, PEER)
        interface, name = given.pop("interface"), given.pop("name")
        link = self.hub_app.link
        if self._names:
            new = [NewPeer(name=one, **given) for one in self._names]
            made, truth = await link.write(peers.create_many, interface=interface, peers=new)
            self.hub_app.say_done(f"{display.count(len(made), 'peer')} added to {interface}", truth)
            self.dismiss()
            return
        created, truth = await link.write(peers.create, interface=interface, name=name, **given)
        self.hub_app.say_done(f"peer '{created.peer.name}' added", truth)
        created = created.model_copy(update={"peer": created.peer.model_copy(update=truth.model_dump())})
        self.hub_app.soon(self.app.switch_screen, PeerScreen(str(created.peer.id), created=created))

    async def _edit(self, view: PeerView) -> None:
        if not self.form.changes:
            self.say("Nothing was changed.")
            self.dismiss()
            return
        changes = read(self.form.changes, PEER)
        changed, truth = await self.hub_app.link.write(peers.edit, view.id, version=view.version, **changes)
        self.hub_app.say_done(f"peer '{changed.name}' changed", truth)
        self.dismiss()
