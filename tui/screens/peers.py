"""The peers of this hub (key 3): the screen that matters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, ClassVar
from uuid import UUID

from nexushub.services import peers
from nexushub.views import PeerRow, PeerView
from tui import display, keys, themes
from tui.filtering import Fields
from tui.screens.ask import Ask, Choose
from tui.screens.listing import Listing
from tui.widgets.table import Column, Shape

RELOAD = 30
"""Seconds between reads of all rows: only they show what others deleted."""
OVERLAP = timedelta(seconds=2)
"""How far back a read of changes reaches: rows become visible at their commit, not when they were stamped."""
NAMED = 5
MANY = 20
_ORDER = {"up": 0, "idle": 1, "never": 2, "pending": 3, "failed": 4, "expired": 5, "off": 6}


def state(row: PeerRow) -> str:
    """The word in the status column: what the kernel refused comes first, then what waits, then the peer's own."""
    return row.state if row.truth == "applied" else row.truth


def aged(row: PeerRow, now: float) -> PeerRow:
    """The row as time alone changes it: a handshake grows old and an expiry passes without any row changing."""
    if row.state not in ("off", "expired") and 0 < row.expires_at <= now:
        return row._replace(state="expired")
    if row.state == "up" and now - row.last_handshake >= display.HANDSHAKE_FRESH:
        return row._replace(state="idle", rx_rate=0, tx_rate=0)
    return row


def address_order(address: str) -> tuple[int, int]:
    try:
        parsed = ip_address(address.split("/")[0].split(",")[0])
    except ValueError:
        return (9, 0)
    return (parsed.version, int(parsed))


def shape() -> Shape[PeerRow]:
    dash = themes.glyphs().dash

    def name_order(row: PeerRow) -> str:
        return row.name.casefold()

    columns: list[Column[PeerRow]] = [
        Column("status", "Status", 9, lambda r, now: state(r), lambda r: (_ORDER.get(state(r), 9), r.name), "s"),
        Column("name", "Name", 21, lambda r, now: r.name, name_order, "n", grows=True),
        Column("address", "Address", 17, lambda r, now: r.address or dash, lambda r: address_order(r.address), "a"),
        Column("handshake", "Handshake", 11, lambda r, now: display.ago(r.last_handshake, now), lambda r: -r.last_handshake, "h"),
        Column("in", "In/s", 9, lambda r, now: display.rate(r.rx_rate, dash), lambda r: -r.rx_rate, "i", right=True),
        Column("out", "Out/s", 10, lambda r, now: display.rate(r.tx_rate, dash), lambda r: -r.tx_rate, "o", right=True),
        Column("endpoint", "From", 22, lambda r, now: r.remote or dash, lambda r: r.remote, since=102),
        Column("received", "In", 9, lambda r, now: display.size(r.rx_bytes, dash), lambda r: -r.rx_bytes, since=120, right=True),
        Column("sent", "Out", 9, lambda r, now: display.size(r.tx_bytes, dash), lambda r: -r.tx_bytes, since=129, right=True),
        Column("expires", "Expires", 9, lambda r, now: display.until(r.expires_at, now, dash), lambda r: r.expires_at or 1e18, "e", since=138),
        Column("interface", "Interface", 16, lambda r, now: r.interface, lambda r: r.interface, since=154),
        Column("owner", "Owner", 16, lambda r, now: r.owner or dash, lambda r: r.owner, since=170),
    ]  # fmt: skip
    return Shape(
        columns,
        key=lambda r: r.id,
        hay=lambda r: f"{r.name} {r.address} {r.interface} {r.owner} {r.remote} {state(r)} {r.public_key}".lower(),
        glyph=state,
        fields=Fields(
            {
                "status": state, "iface": lambda r: r.interface, "owner": lambda r: r.owner, "ip": lambda r: r.address,
                "key": lambda r: r.public_key, "name": lambda r: r.name, "from": lambda r: r.remote,
            },
            {"expires": lambda r: r.expires_at},
        ),
    )  # fmt: skip


def delete_question(names: Sequence[str]) -> Ask:
    """Name what will go; over twenty, have the number typed."""
    count = len(names)
    if count == 1:
        return Ask(f"Delete peer {names[0]}?", ["Its keys are deleted and its client is cut off.", "This can't be undone, except from a backup."], "Delete")
    lines = [f"  {name}" for name in names[:NAMED]]
    if count > NAMED:
        lines.append(f"  and {count - NAMED:,} more")
    lines.append("Their keys are deleted and their clients are cut off.")
    return Ask(f"Delete {count:,} peers?", lines, "Delete", type_this=str(count) if count > MANY else "")


COPY = [("a", "address"), ("k", "public key"), ("n", "name")]


class Peers(Listing[PeerRow]):
    """All peers in a table."""

    SECTION = "peers"
    PLACE = "Peers"
    NOUN = "peer"
    EMPTY = "No peer yet. Press a to add one: a name is enough."
    BINDINGS: ClassVar = keys.bindings("peers")

    def __init__(self) -> None:
        super().__init__()
        self._since: datetime | None = None
        self._whole_at = 0.0
        self._jump: UUID | None = None

    def shape(self) -> Shape[PeerRow]:
        return shape()

    def jump(self, peer: UUID) -> None:
        """Put the cursor on this peer once the rows are there."""
        self._jump = peer
        self.load()

    def load(self) -> None:
        self.background(self._load(), "load")

    async def _load(self) -> None:
        began = display.utc_now()
        rows = await self.hub_app.link.watch(peers.rows)
        self._since, self._whole_at = began, began.timestamp()
        now = began.timestamp()
        self.table.replace(aged(row, now) for row in rows)
        if self._jump is not None:
            self.table.go_to(self._jump)
            self._jump = None

    def tick(self, now: datetime) -> None:
        """Once a second: what changed is read and only those rows are taken; ages move on in the others."""
        if self.frozen or self.table.waiting:
            return
        moment = now.timestamp()
        table = self.table
        older = [new for row in table.rows.values() if (new := aged(row, moment)) is not row]
        if older:
            table.update_rows(older)
        else:
            table.tick()
        if moment - self._whole_at > RELOAD:
            self.load()
        else:
            self.background(self._load_changes(), "load")

    async def _load_changes(self) -> None:
        if self._since is None:
            return
        began = display.utc_now()
        changed = await self.hub_app.link.watch(peers.rows_changed, self._since - OVERLAP)
        self._since = began
        now = began.timestamp()
        rows = self.table.rows
        fresh = [new for row in changed if rows.get(row.id) != (new := aged(row, now))]
        if fresh:
            self.table.update_rows(fresh)

    # Keys

    def do_open(self) -> None:
        if (row := self.table.current) is not None:
            self.hub_app.open_peer(str(row.id))

    def do_add(self) -> None:
        from tui.screens.forms import PeerForm  # noqa: PLC0415  (it imports the peer screen)

        self.app.push_screen(PeerForm())

    def do_edit(self) -> None:
        from tui.screens.forms import PeerForm  # noqa: PLC0415  (as above)

        async def edit(ref: UUID) -> None:
            view: PeerView = await self.hub_app.link.read(peers.get, ref)
            await self.app.push_screen(PeerForm(view))

        if (row := self.table.current) is not None:
            self.background(edit(row.id), "open")

    def do_toggle(self) -> None:
        """Enables if every chosen peer is off, else disables: of a mixed choice nobody expects the opposite of each."""
        chosen = self.table.chosen
        enable = all(row.state == "off" for row in chosen)
        self.background(self._set_enabled([row.id for row in chosen], enable), "write")

    async def _set_enabled(self, ids: Sequence[UUID], enabled: bool) -> None:
        views, truth = await self.hub_app.link.write(peers.set_enabled, ids, enabled)
        word = "enabled" if enabled else "disabled"
        self.hub_app.say_done(f"peer '{views[0].name}' {word}" if len(views) == 1 else f"{display.count(len(views), 'peer')} {word}", truth)
        await self._load()

    def do_delete(self) -> None:
        chosen = self.table.chosen

        def answered(yes: bool | None) -> None:
            if yes:
                self.background(self._delete([row.id for row in chosen]), "write")

        self.app.push_screen(delete_question([row.name for row in chosen]), answered)

    async def _delete(self, ids: Sequence[UUID]) -> None:
        views, truth = await self.hub_app.link.write(peers.delete, ids)
        self.table.remove_rows(ids)
        self.hub_app.say_done(f"peer '{views[0].name}' deleted" if len(views) == 1 else f"{display.count(len(views), 'peer')} deleted", truth)

    def do_copy(self) -> None:
        row = self.table.current
        if row is None:
            return
        texts: dict[str, Any] = {"a": ("address", row.address), "k": ("public key", row.public_key), "n": ("name", row.name)}

        def chosen(letter: str | None) -> None:
            if letter:
                self.hub_app.copy(*texts[letter])

        self.app.push_screen(Choose("copy", COPY), chosen)
