"""What the detail screens say of one peer or interface, as lines of styled text. Pure: views in, lines out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nexushub.views import DriftView, InterfaceView, PeerView, StatusView, Truth
from tui import display, themes
from tui.widgets.lines import Part

LABEL = 16
_SECRET = re.compile(r"^(\s*(?:PrivateKey|PresharedKey)\s*=\s*)(\S.*)$", re.MULTILINE)
MASKED = 44
"""The length of a key in base64: a mask of the same length keeps lines where they are."""


def masked(text: str) -> str:
    """A client's file with its two secrets hidden."""
    return _SECRET.sub(lambda match: match[1] + themes.glyphs().mask * MASKED, text)


def hub_parts(status: StatusView | None) -> list[Part]:
    """For the status line: whether the agent works, and what waits, was refused or differs."""
    if status is None:
        return []
    agent = status.node.agent
    parts: list[Part] = [("agent ok", "$muted") if agent == "running" else (_once(f"agent {agent}"), "$warning")]
    if status.pending:
        parts.append((f"{status.pending:,} pending", "$warning"))
    if status.failed:
        parts.append((f"{len(status.failed):,} failed", "$error"))
    if drift := sum(one.status == "open" for one in status.drift):
        parts.append((f"{drift:,} drift", "$warning"))
    return parts


def _once(text: str) -> str:
    return text.replace("agent agent", "agent")


def row(label: str, value: str, style: str = "", note: str = "") -> list[Part]:
    parts: list[Part] = [(f"{label:<{LABEL}}", "$muted"), (value, style)]
    if note:
        parts.append((f"  {note}", "$muted"))
    return parts


def truth_row(truth: Truth) -> list[Part]:
    """Whether the kernel has what the database says; never silence."""
    if truth.failed:
        return row("Kernel", f"refused: {truth.failed}", "bold $error")
    if truth.pending:
        return row("Kernel", f"pending: {truth.pending}", "bold $warning")
    return row("Kernel", "applied", "$success")


def state_row(state: str) -> list[Part]:
    style = {"up": "bold $success", "expired": "bold $error"}.get(state, "bold")
    return row("Status", f"{themes.glyphs().state.get(state, ' ')} {state}", style)


def peer_lines(view: PeerView, now: float) -> list[list[Part]]:
    """The overview of a peer."""
    dash = themes.glyphs().dash
    handshake = display.seconds(view.last_handshake)
    lines = [
        state_row(view.state),
        truth_row(view),
        row("Interface", view.interface),
        row("Addresses", ", ".join(view.addresses) or dash),
        row("Last handshake", display.ago(handshake, now), note=display.when(view.last_handshake, "")),
        row("Comes from", view.remote or dash),
        row("Received", display.size(view.rx_bytes, dash), note=_rate(view.rx_rate)),
        row("Sent", display.size(view.tx_bytes, dash), note=_rate(view.tx_rate)),
        [],
        row("Public key", view.public_key),
        row(
            "Private key", "kept here, encrypted" if view.private_key_stored else "not kept here: only its owner has it"
        ),
        row("Preshared key", "yes" if view.preshared_key else "no"),
        row("Key made", display.when(view.key_created_at)),
        [],
        row("Client routes", ", ".join(view.allowed_ips) or "the interface's networks"),
        row("Networks behind", ", ".join(view.networks) or dash),
        row("DNS", "the interface's" if view.dns is None else ", ".join(view.dns) or dash),
        row("MTU", str(view.mtu) if view.mtu else "the interface's"),
        row("Keepalive", f"{view.keepalive} s" if view.keepalive else "off"),
    ]
    if view.endpoint:
        lines.append(row("Hub's endpoint", view.endpoint, note="in this client's file"))
    if view.peer_endpoint:
        lines.append(row("Hub dials", view.peer_endpoint))
    expires = display.seconds(view.expires_at)
    lines += [
        [],
        row("Owner", view.owner or dash),
        row("Groups", ", ".join(view.groups) or dash),
        row("Expires", display.when(view.expires_at, "never"), note=display.until(expires, now, "") if expires else ""),
        row("Quota", display.size(view.quota_bytes or 0, "none")),
        row("Notes", view.notes or dash),
        row("Made", display.when(view.created_at), note=f"changed {display.when(view.updated_at)}"),
    ]
    return lines


def _rate(octets: int) -> str:
    return f"{display.rate(octets, '')}/s" if octets else ""


def interface_lines(view: InterfaceView) -> list[list[Part]]:
    """The overview of an interface."""
    dash = themes.glyphs().dash
    free = (
        f"{view.addresses_free:,} addresses free"
        if view.addresses_free < 2**31
        else "more addresses free than anybody needs"
    )
    nat = "yes: peers reach the outside through this hub's address" if view.nat else "no"
    return [
        state_row("up" if view.enabled else "down"),
        truth_row(view),
        row("Addresses", ", ".join(view.addresses) or dash, note=free),
        row("Listens on", f"{view.listen_port}/udp"),
        row("Endpoint", view.endpoint or dash, note="" if view.endpoint else "clients need one: press e"),
        row("Peers", f"{view.peers_up:,} up of {view.peers_total:,}"),
        row("Received", display.size(view.rx_bytes, dash)),
        row("Sent", display.size(view.tx_bytes, dash)),
        [],
        row("Public key", view.public_key),
        row("DNS", ", ".join(view.dns) or dash),
        row("MTU", str(view.mtu)),
        row("NAT", nat),
        row("Policy in", view.policy),
        row("Policy out", view.policy_egress),
        row("Without filter", view.no_filter),
        row(
            "Client keys",
            {
                "stored": "kept here, encrypted",
                "once": "shown once, then forgotten",
                "never": "made by the clients",
            }.get(view.key_policy, view.key_policy),
        ),
        row("Made", display.when(view.created_at), note=f"changed {display.when(view.updated_at)}"),
    ]


def drift_lines(items: Iterable[DriftView], chosen: int, now: float) -> list[list[Part]]:
    """What the kernel has otherwise than the database, since when; the chosen one is what A, R and I act on."""
    lines: list[list[Part]] = [[("Drift: the kernel differs from the database", "bold $warning")]]
    for number, item in enumerate(items):
        what = f"peer {item.peer}" if item.peer else item.public_key or item.interface
        here = number == chosen
        lines.append(
            [
                ("> " if here else "  ", "bold"),
                (f"{what} {item.field}: ", "bold" if here else ""),
                (f"wanted {item.desired or 'nothing'}, is {item.observed or 'nothing'}", "bold" if here else ""),
                (f"  {item.status} for {display.span(now - display.seconds(item.decided_at or item.since))}", "$muted"),
            ]
        )
    return lines
