"""The command line. ``COMMANDS`` is the one table that feeds dispatch, help, completion and the man pages.

A command is a thin client of the HTTP API over the unix socket, or of another server with ``--server``; only those
marked local touch this machine. A command's module is imported when it is called, not before: listing 500 peers
takes 40 ms as long as nobody imports SQLModel (0.5 s) on the way.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    path: str
    """The words typed: ``peer list``."""
    target: str
    """Module below ``nexushub.cli``, colon, function."""
    help: str
    local: bool = False
    """Works on this machine's files and processes rather than through the API."""


GROUPS = {
    "interface": "WireGuard interfaces of this hub.",
    "peer": "Peers, their files and keys.",
    "group": "Groups of peers.",
    "drift": "Where the kernel disagrees with the database.",
    "watch": "Follow what happens, until interrupted.",
    "key": "The key that encrypts secrets at rest.",
    "db": "The database's schema.",
    "lab": "A hub with real clients in namespaces of this machine, for trying things out.",
}

COMMANDS = (
    Command("status", "status:status", "Show the hub at a glance; exit 6 on open drift."),
    Command("doctor", "doctor:doctor", "Check every part and say what to type about what is wrong.", local=True),
    Command("login", "account:login", "Sign in and keep the session."),
    Command("logout", "account:logout", "End the session."),
    Command("whoami", "account:whoami", "Show who you are to the hub."),
    Command("interface list", "interface:listing", "List interfaces."),
    Command("interface show", "interface:show", "Show one interface."),
    Command("interface create", "interface:create", "Make an interface with a new key pair."),
    Command("interface edit", "interface:edit", "Change fields of an interface; the others stay."),
    Command("interface delete", "interface:delete", "Delete interfaces, with their peers and keys."),
    Command("interface up", "interface:up", "Bring interfaces up."),
    Command("interface down", "interface:down", "Take interfaces down; their peers stay in the database."),
    Command(
        "interface rotate-key", "interface:rotate_key", "Give the hub a new key pair; every client needs a new file."
    ),
    Command("interface import", "interface_file:take", "Make an interface and its peers from a wg-quick file."),
    Command(
        "interface export",
        "interface_file:export",
        "Print an interface and its peers in the form of wg-quick, without secrets.",
    ),
    Command("peer list", "peer:listing", "List peers with their state."),
    Command("peer show", "peer:show", "Show one peer."),
    Command("peer create", "peer_create:create", "Make peers, one or many at once."),
    Command("peer edit", "peer_edit:edit", "Change fields of a peer; the others stay."),
    Command("peer enable", "peer:enable", "Put peers back on their device."),
    Command("peer disable", "peer:disable", "Take peers off their device; they keep their addresses."),
    Command("peer delete", "peer:delete", "Delete peers; their addresses are free again."),
    Command("peer config", "peer_file:config", "Print a peer's file for its client."),
    Command("peer qr", "peer_file:qr_code", "Draw a peer's file as a QR code."),
    Command("peer rotate-key", "peer_file:rotate_key", "Give a peer a new key pair and print its new file."),
    Command("peer rotate-psk", "peer_file:rotate_psk", "Give a peer a new preshared key, or none."),
    Command("group list", "group:listing", "List groups and who is in them."),
    Command("group create", "group:create", "Make a group."),
    Command("group delete", "group:delete", "Delete groups; their peers stay."),
    Command("group add", "group:add", "Put peers into a group."),
    Command("group remove", "group:remove", "Take peers out of a group."),
    Command("drift list", "drift:listing", "List drift; exit 6 when some is open."),
    Command("drift adopt", "drift:adopt", "Take the kernel's value into the database."),
    Command("drift revert", "drift:revert", "Put the database's value back into the kernel."),
    Command("drift ignore", "drift:ignore", "Leave both as they are."),
    Command("watch peers", "watch:peers", "Print peers whose state changes, as it changes."),
    Command("key generate", "local:key_generate", "Print a new encryption key.", local=True),
    Command("db upgrade", "local:db_upgrade", "Bring the database's schema to this version.", local=True),
    Command("db current", "local:db_current", "Print the schema's revision.", local=True),
    Command("seed", "local:seed", "Make the super-admin that the NEXUSHUB_ADMIN_ variables describe.", local=True),
    Command("serve", "local:serve", "Run the API server.", local=True),
    Command("agent", "local:agent", "Run the agent that makes the kernel agree with the database.", local=True),
    Command("lab up", "lab:up", "Start a hub with clients in namespaces.", local=True),
    Command("lab down", "lab:down", "Remove the lab and everything it made.", local=True),
    Command("lab status", "lab:status", "Show what of the lab runs.", local=True),
    Command("completion", "completion:completion", "Print the completion script for a shell.", local=True),
)
