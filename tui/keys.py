"""Every key of the TUI, once. Bindings, footer, ``?``, palette and the manual page are made from this table.

One letter means one thing everywhere. Plain letters, digits, arrows, enter, escape, space and tab only: the
terminal, tmux, screen and sshd keep the rest for themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from textual.binding import Binding, BindingType

FOOT = 9
"""The most keys a footer shows."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one screen: ``name`` is the method ``do_NAME`` that it runs, ``foot`` its place in the footer."""

    name: str
    keys: str
    """Textual's names of the keys, with commas; empty: only the palette has it."""
    label: str
    help: str
    foot: int = 0
    """1 is leftmost, 0 is not shown."""

    @property
    def shown(self) -> str:
        """The key as people know it; of several, the first."""
        return _SHOWN.get(first := self.keys.split(",")[0], first)


_SHOWN = {
    "question_mark": "?", "colon": ":", "slash": "/", "asterisk": "*", "escape": "esc", "space": "space",
    "left_square_bracket": "[", "right_square_bracket": "]", "up": "↑", "down": "↓", "pageup": "pgup",
    "pagedown": "pgdn",
}  # fmt: skip

FORBIDDEN = frozenset({f"ctrl+{letter}" for letter in "absqzhijm"} | {"ctrl+backslash"})
"""Prefixes of screen and tmux, flow control, suspend, and the ones that are another key's byte."""

EXTRA = {"ctrl+q": "quit", "ctrl+p": "palette"}
"""Textual's own habits, kept beside ``q`` and ``:`` for those who know them; nothing relies on them."""

_MOVE = (
    Key("up", "up", "up", "Moves up a row."),
    Key("down", "down", "down", "Moves down a row."),
    Key("page_up", "pageup", "page up", "Moves up a page."),
    Key("page_down", "pagedown", "page down", "Moves down a page."),
    Key("top", "home", "first", "Goes to the first row."),
    Key("bottom", "end", "last", "Goes to the last row."),
)
_FIND = (
    Key("filter", "slash", "filter", "Filters as you type: word !word status:up iface: owner: ip: expires:<7d", 6),
    Key("sort", "s", "sort", "Sorts by a column; the same letter again turns the order round.", 7),
    Key("freeze", "f", "freeze", "Stops and starts the refresh."),
)  # fmt: skip
_MARK = (
    Key("mark", "space", "mark", "Marks the row; t, D and the like then act on all marked.", 8),
    Key("mark_all", "asterisk", "mark all", "Marks every row that the filter shows."),
    Key("mark_range", "V", "mark range", "Marks from the row marked last to this one."),
    Key("unmark", "u", "unmark", "Takes every mark away."),
)

KEYS: Mapping[str, tuple[Key, ...]] = {
    "app": (
        Key("interfaces", "2", "interfaces", "Goes to the interfaces."),
        Key("peers", "3", "peers", "Goes to the peers."),
        Key("help", "question_mark", "help", "Shows the keys of this screen, and what the words mean.", 1),
        Key("palette", "colon", "palette", "Does anything by name, and jumps to any peer or interface."),
        Key("back", "escape,q", "back", "Goes back; q in a list leaves NexusHub."),
        Key("redraw", "", "redraw", "Paints the whole screen again, when something else wrote on it."),
        Key("lock", "", "lock", "Locks the screen until the password is typed."),
        Key("sign_out", "", "sign out", "Ends the session and shows the sign-in form."),
        Key("quit", "", "quit", "Leaves NexusHub. Tunnels stay up."),
    ),
    "interfaces": (
        *_MOVE,
        Key("open", "enter", "open", "Opens the interface.", 1),
        Key("add", "a", "add", "Adds an interface: a free port and network are proposed.", 2),
        Key("edit", "e", "edit", "Changes the interface.", 3),
        Key("toggle", "t", "up/down", "Brings the interface up or takes it down.", 4),
        Key("delete", "D", "delete", "Deletes the interface and its peers, after its name is typed.", 5),
        *_FIND,
        Key("copy", "y", "copy", "Copies the public key or the endpoint."),
    ),
    "interface": (
        *_MOVE,
        Key("open", "enter", "peers", "Shows this interface's peers.", 1),
        Key("add", "a", "add peer", "Adds a peer to this interface.", 2),
        Key("edit", "e", "edit", "Changes the interface.", 3),
        Key("toggle", "t", "up/down", "Brings the interface up or takes it down.", 4),
        Key("rotate_key", "k", "new key", "Makes a new key; every client then needs a new file.", 5),
        Key("adopt", "A", "adopt", "Drift: takes what the kernel has into the database.", 6),
        Key("revert", "R", "revert", "Drift: makes the kernel agree with the database.", 7),
        Key("ignore", "I", "ignore", "Drift: leaves both as they are, and stops showing it.", 8),
        Key("delete", "D", "delete", "Deletes the interface and its peers, after its name is typed.", 8),
        Key("copy", "y", "copy", "Copies the public key or the endpoint."),
    ),
    "peers": (
        *_MOVE,
        Key("open", "enter", "open", "Opens the peer: its state, file and QR code.", 1),
        Key("add", "a", "add", "Adds a peer: a name is enough. Paste several names to add them all.", 2),
        Key("edit", "e", "edit", "Changes the peer.", 3),
        Key("toggle", "t", "on/off", "Disables or enables the peer, or all marked.", 4),
        Key("delete", "D", "delete", "Deletes the peer, or all marked, after asking.", 5),
        *_FIND,
        *_MARK,
        Key("copy", "y", "copy", "Copies the address or the public key."),
    ),
    "peer": (
        Key("tab_next", "right_square_bracket,right", "next tab", "Overview, Config, QR."),
        Key("tab_previous", "left_square_bracket,left", "previous tab", "Overview, Config, QR."),
        Key("line_up", "up", "up", "Scrolls up."),
        Key("line_down", "down", "down", "Scrolls down."),
        Key("copy", "y", "copy", "Copies the file, the address or the public key to your clipboard.", 1),
        Key("print", "p", "print", "Prints the file on the plain terminal, so that you can select it.", 2),
        Key("write", "w", "write", "Writes the file (on the QR tab: a picture) with mode 0600.", 3),
        Key("reveal", "v", "reveal", "Shows the keys in the file for 30 seconds.", 4),
        Key("edit", "e", "edit", "Changes the peer.", 5),
        Key("toggle", "t", "on/off", "Disables or enables the peer.", 6),
        Key("rotate_key", "k", "new keys", "Makes new keys; the client then needs the new file.", 7),
        Key("rotate_psk", "P", "new PSK", "Makes a new preshared key; the client then needs the new file."),
        Key("delete", "D", "delete", "Deletes the peer, after asking.", 8),
    ),
    "form": (
        Key("save", "enter", "save", "Saves; with a mistake, goes to the field and says what it is.", 1),
        Key("next", "tab,down", "next field", "Goes to the next field.", 2),
        Key("previous", "shift+tab,up", "previous field", "Goes to the field before.", 3),
        Key("back", "escape", "cancel", "Leaves without saving.", 4),
    ),
    "login": (
        Key("save", "enter", "sign in", "Signs in.", 1),
        Key("next", "tab,down", "next field", "Goes to the next field.", 2),
        Key("previous", "shift+tab,up", "previous field", "Goes to the field before."),
        Key("back", "escape", "quit", "Leaves NexusHub.", 3),
    ),
    "lock": (
        Key("save", "enter", "unlock", "Unlocks.", 1),
        Key("back", "escape", "sign out", "Ends the session and shows the sign-in form.", 2),
    ),
    "help": (
        Key("line_up", "up", "up", "Scrolls up."),
        Key("line_down", "down", "down", "Scrolls down."),
        Key("page_up", "pageup", "page up", "Scrolls up a page."),
        Key("page_down", "pagedown", "page down", "Scrolls down a page."),
        Key("filter", "slash", "search", "Shows only the lines with these words.", 1),
    ),
    "ask": (
        Key("choose", "enter", "choose", "Does what the highlighted button says.", 1),
        Key("next", "tab,right", "other button", "Goes to the other button.", 2),
        Key("previous", "shift+tab,left", "other button", "Goes to the other button."),
        Key("back", "escape", "cancel", "Changes nothing.", 3),
    ),
    "choose": (Key("back", "escape", "cancel", "Closes the menu."),),
    "palette": (
        Key("choose", "enter", "do it", "Does what is highlighted.", 1),
        Key("up", "up", "up", "Moves up a row."),
        Key("down", "down", "down", "Moves down a row."),
        Key("back", "escape", "cancel", "Closes the palette.", 2),
    ),
}


def bindings(section: str, target: str = "") -> list[BindingType]:
    """Textual's bindings of a section. Each has an id, ``SECTION.NAME``, by which a keymap can move it."""
    return [
        Binding(key.keys, f"{target}act('{key.name}')", key.label, id=f"{section}.{key.name}", tooltip=key.help)
        for key in KEYS[section]
        if key.keys
    ]


def find(section: str, name: str) -> Key:
    """A key by the section it belongs to and its name; those of the app are in every section."""
    return next(key for key in (*KEYS[section], *KEYS["app"]) if key.name == name)


def footer(section: str, *, inside: bool = True) -> list[Key]:
    """The keys that a section's footer shows, most used first. Inside a section the app's are added."""
    own = sorted((key for key in KEYS[section] if key.foot), key=lambda key: key.foot)
    if not inside:
        return own[:FOOT]
    return [*own[: FOOT - 1], find(section, "help")]


def everything() -> Iterator[tuple[str, Key]]:
    """Each key with its section, for the manual page and for tests."""
    for section, keys in KEYS.items():
        for key in keys:
            yield section, key


def named(section: str, name: str, label: str) -> Key:
    """A key under other words, where a screen says the same thing differently."""
    return dataclasses.replace(find(section, name), label=label)
