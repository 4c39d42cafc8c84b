"""One peer: its state, its file, its QR code. The two secrets in the file are masked until they are asked for, and
forgotten when the screen is left or locked."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from nexushub import qr
from nexushub.errors import Conflict, Invalid, NexusError, NotFound
from nexushub.safe import safe
from nexushub.services import peers
from nexushub.services.clients import PeerConfig
from nexushub.views import CreatedPeer, PeerView
from tui import files, keys, overview, themes
from tui.files import config_of
from tui.screens.ask import Ask, Choose
from tui.screens.framed import Framed
from tui.screens.peers import delete_question
from tui.widgets.code import Code
from tui.widgets.lines import Line, Part, paragraphs

TABS = ("Overview", "Config", "QR")
NO_KEY = "This hub does not keep this peer's private key, so there is no QR code to scan. k makes new keys."
REVEAL = 30.0
"""Seconds for which the keys in the file are shown."""
COPY = [("c", "config"), ("a", "address"), ("k", "public key"), ("l", "command line")]


class PeerScreen(Framed):
    """The tabs of one peer."""

    SECTION = "peer"
    PLACE = "Peer"
    BINDINGS: ClassVar = keys.bindings("peer")

    def __init__(self, ref: str, *, created: CreatedPeer | None = None) -> None:
        super().__init__()
        self.ref = ref
        self.tab = "QR" if created else "Overview"
        self.view: PeerView | None = created.peer if created else None
        self._config: PeerConfig | None = config_of(created) if created else None
        self._only_now = created is not None and not created.peer.private_key_stored
        self._no_config = ""
        self._revealed_until = 0.0
        self._shown: object = None

    @property
    def subject(self) -> str:
        return self.view.name if self.view else ""

    def body(self) -> Iterable[Widget]:
        yield Line(id="tabs")
        yield VerticalScroll(Static(id="text"), id="detail", can_focus=False)
        yield Vertical(Code(), id="qr-center")

    def on_mount(self) -> None:
        if self.tab == "QR" and ((fit := self._fit()) is None or fit.matrix is None):
            self.tab = "Config"
        self.load()
        self.paint()

    def on_resize(self) -> None:
        self._shown = None
        self.call_after_refresh(self.paint)

    def load(self) -> None:
        self.background(self._load, "load")

    async def _load(self, *, watching: bool = False) -> None:
        try:
            view = await (self.hub_app.link.watch if watching else self.hub_app.link.read)(peers.get, self.ref)
        except NotFound:
            self.hub_app.say("The peer was deleted by somebody else.")
            self.dismiss()
            return
        self.view = view
        self.ref = str(view.id)
        self.paint_frame()
        self.paint()

    def tick(self, now: datetime) -> None:
        if self._revealed_until and time.monotonic() > self._revealed_until:
            self._revealed_until = 0.0
        if self.tab == "Overview":
            self.background(lambda: self._load(watching=True), "load")
        self.paint()

    def forget(self) -> None:
        """The screen is locked: nothing of the file stays in memory, unless it could never be shown again."""
        if not self._only_now:
            self._config = None
        self._revealed_until = 0.0
        self.tab = "Overview"
        self._shown = None
        self.paint()

    # Painting

    def paint(self) -> None:
        """Bring the tab up to date, if what it says changed."""
        if not self.is_mounted or self.view is None:
            return
        fit = self._fit() if self.tab == "QR" else None
        bare = fit is not None and fit.matrix is not None
        self.set_class(bare, "-bare")
        self.query_one("#qr-center").display = bare
        self.query_one("#detail").display = not bare
        self.query_one("#tabs", Line).show(self._tab_parts())
        if bare:
            if self._shown != fit:
                self._shown = fit
                self.query_one(Code).show(fit)
                self.query_one("#text", Static).update("")
            return
        lines = self._lines(fit)
        if self._shown != lines:
            self._shown = lines
            self.query_one(Code).show(None)
            self.query_one("#text", Static).update(paragraphs(lines))

    def _lines(self, fit: qr.Fit | None) -> list[list[Part]]:
        if self.tab == "Overview":
            return self._overview()
        return self._config_lines() if self.tab == "Config" else self._qr_lines(fit)

    def _tab_parts(self) -> list[Part]:
        parts: list[Part] = []
        for tab in TABS:
            parts += [
                (f"[{tab}]" if tab == self.tab else f" {tab} ", "bold $primary" if tab == self.tab else "$muted"),
                (" ", ""),
            ]
        return [*parts, ("  [ and ] change the tab", "$muted")]

    def foot_keys(self) -> list[keys.Key]:
        if self.tab == "QR" and self.has_class("-bare"):
            return [
                keys.named("peer", "tab_previous", label=f"{safe(self.subject)[:24]}: back to the file"),
                *(keys.find("peer", name) for name in ("copy", "write")), keys.find("app", "back"),
            ]  # fmt: skip
        return super().foot_keys()

    def _overview(self) -> list[list[Part]]:
        assert self.view is not None
        return overview.peer_lines(self.view, self.hub_app.now().timestamp())

    def _config_lines(self) -> list[list[Part]]:
        if self._config is None:
            return [[(self._no_config or "One moment.", "")]]
        revealed = self._revealed_until > 0
        text = self._config.text if revealed else overview.masked(self._config.text)
        lines: list[list[Part]] = [[(line, "")] for line in text.splitlines()]
        if self._only_now:
            lines[:0] = [
                [
                    (
                        "This file is shown only now: this hub does not keep the private key. Write or copy it.",
                        "bold $warning",
                    )
                ],
                [],
            ]
        if not revealed:
            lines += [
                [],
                [
                    (
                        "The keys are masked; v shows them for 30 seconds. Copy, print and write have them in full.",
                        "$muted",
                    )
                ],
            ]
        return [*lines, [], [("The same from your own machine:", "$muted")], [(f"  {self._command()}", "")]]

    def _command(self) -> str:
        assert self.view is not None
        assert self._config is not None
        # Two shells read this line, here and on the hub: a name that either of them would read otherwise is not in it.
        ref = self.view.name if shlex.quote(self.view.name) == self.view.name else str(self.view.id)
        return f"ssh {self.hub_app.node} nexushub peer config {ref} > {self._config.file_name}"

    def _qr_lines(self, fit: qr.Fit | None) -> list[list[Part]]:
        if fit is None:
            return [[(self._no_config or (NO_KEY if self._config else "One moment."), "")]]
        return [
            [(fit.sentence, "bold")],
            [],
            [("w writes the code as a picture.  y copies the file.  [ goes back to the file.", "$muted")],
        ]

    def _fit(self) -> qr.Fit | None:
        if self._config is None or not self._config.has_private_key:
            return None
        if themes.glyphs() is themes.ASCII:
            return qr.Fit(None, 0, False, 0, 0, "A QR code needs a UTF-8 terminal, and this one's locale is not.")
        width, height = self.app.size
        return qr.fit(self._config.text, self._config.compact, width, height - 1)

    # Tabs

    def do_tab_next(self) -> None:
        self._go(TABS[(TABS.index(self.tab) + 1) % len(TABS)])

    def do_tab_previous(self) -> None:
        self._go(TABS[(TABS.index(self.tab) - 1) % len(TABS)])

    def _go(self, tab: str) -> None:
        self.tab = tab
        self.paint()
        self.paint_frame()
        if tab != "Overview" and self._config is None:
            self.background(self._fetch_config, "config")

    async def _fetch_config(self) -> None:
        await self._with_config()

    async def _with_config(self) -> PeerConfig | None:
        """The file, read once and audited; without a stored key there is none, and the tab says what to do."""
        if self._config is None:
            try:
                self._config = await self._read_config()
                self._no_config = ""
            except (Conflict, Invalid) as error:
                self._no_config = f"{error} k makes new keys."
            self.paint()
            self.paint_frame()
        return self._config

    async def _read_config(self) -> PeerConfig:
        config, _ = await self.hub_app.link.write(peers.config, self.ref)
        return config

    def do_line_up(self) -> None:
        self.query_one("#detail").scroll_up(animate=False)

    def do_line_down(self) -> None:
        self.query_one("#detail").scroll_down(animate=False)

    def why_not(self, name: str) -> str | None:
        if self.view is None:
            return "One moment: the peer is being read."
        if name == "reveal" and self.tab != "Config":
            return "v shows the keys on the Config tab; ] goes there."
        return None

    # The file

    def do_reveal(self) -> None:
        self._revealed_until = 0.0 if self._revealed_until else time.monotonic() + REVEAL
        self.paint()

    def do_copy(self) -> None:
        async def copy(letter: str) -> None:
            view = self.view
            assert view is not None
            if letter in "cl":
                config = await self._with_config()
                if config is None:
                    self.say(self._no_config, "$error")
                    return
                self.hub_app.copy(*(("config", config.text) if letter == "c" else ("command line", self._command())))
            elif letter == "a":
                self.hub_app.copy("address", ", ".join(view.addresses))
            else:
                self.hub_app.copy("public key", view.public_key)

        def chosen(letter: str | None) -> None:
            if letter:
                self.background(lambda: copy(letter), "config")

        self.app.push_screen(Choose("copy", COPY), chosen)

    def do_print(self) -> None:
        self.background(self._print, "config")

    async def _print(self) -> None:
        config = await self._with_config()
        if config is None:
            self.say(self._no_config, "$error")
            return
        self.hub_app.on_plain_terminal(config.text)

    def do_write(self) -> None:
        self.background(self._write, "config")

    async def _write(self) -> None:
        """Write the file, or on the QR tab the picture; an existing file is replaced only when that is said."""
        config = await self._with_config()
        if config is None:
            self.say(self._no_config, "$error")
            return
        if self.tab == "QR":
            path = Path.home() / Path(config.file_name).with_suffix(".png")
            data = qr.to_png(config.text)
        else:
            path = Path.home() / config.file_name
            data = config.text.encode()

        def answered(yes: bool | None) -> None:
            if yes:
                self._save(path, data, replace=True)

        if path.exists():
            self.app.push_screen(Ask(f"Replace {path}?", ["A file of this name is there."], "Replace"), answered)
        else:
            self._save(path, data, replace=False)

    def _save(self, path: Path, data: bytes, *, replace: bool) -> None:
        try:
            files.write_private(path, data, replace=replace)
        except OSError as error:
            self.say(f"{path} was not written: {os.strerror(error.errno or 0)}.", "$error")
            return
        self.say(f"wrote {path}, mode 0600")

    # Changes

    def do_edit(self) -> None:
        from tui.screens.forms import PeerForm  # noqa: PLC0415  (it imports this module)

        self.app.push_screen(PeerForm(self.view), lambda _: self._changed())

    def _changed(self) -> None:
        self._config = None
        self.load()

    def do_toggle(self) -> None:
        self.background(self._toggle, "write")

    async def _toggle(self) -> None:
        assert self.view is not None
        views, truth = await self.hub_app.link.write(peers.set_enabled, [self.view.id], not self.view.enabled)
        self.hub_app.say_done(f"peer '{views[0].name}' {'enabled' if views[0].enabled else 'disabled'}", truth)
        await self._load()

    def do_rotate_key(self) -> None:
        assert self.view is not None
        lines = ["Its present file stops working at once; the client needs the new one."]
        self._ask(Ask(f"Make new keys for {self.view.name}?", lines, "New keys"), self._rotate_key)

    async def _rotate_key(self) -> None:
        created, truth = await self.hub_app.link.write(peers.rotate_key, self.ref)
        self.view, self._config = created.peer, config_of(created)
        self._only_now = not created.peer.private_key_stored
        self.hub_app.say_done(f"new keys for peer '{created.peer.name}'", truth)
        self._go("QR")

    def do_rotate_psk(self) -> None:
        assert self.view is not None
        lines = ["Its present file stops working at once; the client needs the new one."]
        self._ask(Ask(f"Make a new preshared key for {self.view.name}?", lines, "New PSK"), self._rotate_psk)

    async def _rotate_psk(self) -> None:
        view, truth = await self.hub_app.link.write(peers.rotate_psk, self.ref)
        self.hub_app.say_done(f"new preshared key for peer '{view.name}'", truth)
        self._config = None
        self._go("Config")

    def do_delete(self) -> None:
        assert self.view is not None
        self._ask(delete_question([self.view.name]), self._delete)

    async def _delete(self) -> None:
        views, truth = await self.hub_app.link.write(peers.delete, [self.ref])
        self.hub_app.say_done(f"peer '{views[0].name}' deleted", truth)
        self.dismiss()

    def _ask(self, question: Ask, then: Any) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.background(then, "write")

        self.app.push_screen(question, answered)

    def failed(self, error: NexusError) -> None:
        self.hub_app.say_error(error)
