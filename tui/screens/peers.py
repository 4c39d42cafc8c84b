"""The peers of this hub (key 3): the screen that matters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from nexushub.services import peers
from nexushub.views import PeerRow, PeerView
from tui import display, keys
from tui.peerrows import aged, shape
from tui.screens.ask import Ask, Choose
from tui.screens.listing import Listing
from tui.widgets.table import Shape

RELOAD = 30
"""Seconds between reads of all rows: only they show what others deleted."""
OVERLAP = timedelta(seconds=2)
"""How far back a read of changes reaches: rows become visible at their commit, not when they were stamped."""
NAMED = 5
MANY = 20


def delete_question(names: Sequence[str]) -> Ask:
    """Name what will go; over twenty, have the number typed."""
    count = len(names)
    if count == 1:
        return Ask(
            f"Delete peer {names[0]}?",
            ["Its keys are deleted and its client is cut off.", "This can't be undone, except from a backup."],
            "Delete",
        )
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
        self.background(self._load, "load")

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
        if self.frozen or not self.query("#table") or self.table.waiting:
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
            self.background(self._load_changes, "load")

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

    # Marks

    def do_mark(self) -> None:
        self.table.mark()

    def do_mark_all(self) -> None:
        self.table.mark_all()

    def do_mark_range(self) -> None:
        self.table.mark_range()

    def do_unmark(self) -> None:
        self.table.unmark()

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
            self.background(lambda: edit(row.id), "open")

    def do_toggle(self) -> None:
        """Enables if every chosen peer is off, else disables: of a mixed choice nobody expects the opposite of each."""
        chosen = self.table.chosen
        enable = all(row.state == "off" for row in chosen)
        self.background(lambda: self._set_enabled([row.id for row in chosen], enable), "write")

    async def _set_enabled(self, ids: Sequence[UUID], enabled: bool) -> None:
        views, truth = await self.hub_app.link.write(peers.set_enabled, ids, enabled)
        word = "enabled" if enabled else "disabled"
        self.hub_app.say_done(
            f"peer '{views[0].name}' {word}" if len(views) == 1 else f"{display.count(len(views), 'peer')} {word}",
            truth,
        )
        await self._load()

    def do_delete(self) -> None:
        chosen = self.table.chosen

        def answered(yes: bool | None) -> None:
            if yes:
                self.background(lambda: self._delete([row.id for row in chosen]), "write")

        self.app.push_screen(delete_question([row.name for row in chosen]), answered)

    async def _delete(self, ids: Sequence[UUID]) -> None:
        views, truth = await self.hub_app.link.write(peers.delete, ids)
        self.table.remove_rows(ids)
        self.hub_app.say_done(
            f"peer '{views[0].name}' deleted" if len(views) == 1 else f"{display.count(len(views), 'peer')} deleted",
            truth,
        )

    def do_copy(self) -> None:
        row = self.table.current
        if row is None:
            return
        texts: dict[str, Any] = {
            "a": ("address", row.address),
            "k": ("public key", row.public_key),
            "n": ("name", row.name),
        }

        def chosen(letter: str | None) -> None:
            if letter:
                self.hub_app.copy(*texts[letter])

        self.app.push_screen(Choose("copy", COPY), chosen)
