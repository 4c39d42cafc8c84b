"""Keys one after the other, also when a whole sentence of them arrives in one packet."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from textual import events
from textual.app import App
from textual.widget import Widget


class InOrder(App[None]):
    """An app that is through with a key before it looks at the next.

    Textual hands a key to the widget that has the focus and looks for its binding when the key has bubbled back
    up; by then the keys behind it have been handed out too. Over a slow link a tab and a password ended up in the
    name, and ``/`` and ``f`` froze the table instead of filtering for f.
    """

    def __init__(self, *, ansi_color: bool | None = None) -> None:
        super().__init__(ansi_color=ansi_color)
        self.key_at = time.monotonic()
        """When a person last did something."""
        self._handed_to: Widget | None = None

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self.key_at = time.monotonic()
        await self._settle()
        if isinstance(event, events.Key) and not self._consumed(event) and await self._check_bindings(event.key):
            return
        self._handed_to = self.focused or self.screen
        await super().on_event(event)

    def _consumed(self, event: events.Key) -> bool:
        """Whether the focused field types this key; its bindings are looked at only otherwise."""
        return self.focused is not None and self.focused.check_consume_key(event.key, event.character)

    async def _settle(self) -> None:
        """Wait, a second at most, until the screen is there and the last key's widget is through with it."""
        until = time.monotonic() + 1
        while not getattr(self.screen, "ready", True) and time.monotonic() < until:  # noqa: ASYNC110  (Textual has no event for it)
            await asyncio.sleep(0.002)
        widget, self._handed_to = self._handed_to, None
        if widget is not None and widget.is_attached:
            done = asyncio.Event()
            if widget.call_later(done.set):
                with suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), 1)
