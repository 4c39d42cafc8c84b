"""The peer table's columns, and what time alone does to a row. Pure."""

from __future__ import annotations

from ipaddress import ip_address

from nexushub.views import PeerRow
from tui import display, themes
from tui.filtering import Fields
from tui.widgets.table import Column, Shape

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
        parsed = ip_address(address.partition(",")[0].partition("/")[0])
    except ValueError:
        return (9, 0)
    return (parsed.version, int(parsed))


def columns() -> list[Column[PeerRow]]:
    """Widths of 76 cells at 80 columns; more columns from 102 on."""
    dash = themes.glyphs().dash
    column = Column[PeerRow]

    def handshake(row: PeerRow, now: float) -> str:
        return display.ago(row.last_handshake, now)

    def expires(row: PeerRow, now: float) -> str:
        return display.until(row.expires_at, now, dash)

    return [
        column("status", "Status", 9, lambda r, _: state(r), lambda r: (_ORDER.get(state(r), 9), r.name), "s"),
        column("name", "Name", 21, lambda r, _: r.name, lambda r: r.name.casefold(), "n", grows=True),
        column("address", "Address", 17, lambda r, _: r.address or dash, lambda r: address_order(r.address), "a"),
        column("handshake", "Handshake", 11, handshake, lambda r: -r.last_handshake, "h"),
        column("in", "In/s", 9, lambda r, _: display.rate(r.rx_rate, dash), lambda r: -r.rx_rate, "i", right=True),
        column("out", "Out/s", 10, lambda r, _: display.rate(r.tx_rate, dash), lambda r: -r.tx_rate, "o", right=True),
        column("endpoint", "From", 22, lambda r, _: r.remote or dash, lambda r: r.remote, since=102),
        column("received", "In", 9, lambda r, _: display.size(r.rx_bytes, dash), lambda r: -r.rx_bytes, "", True, 120),
        column("sent", "Out", 9, lambda r, _: display.size(r.tx_bytes, dash), lambda r: -r.tx_bytes, "", True, 129),
        column("expires", "Expires", 9, expires, lambda r: r.expires_at or 1e18, "e", since=138),
        column("interface", "Interface", 16, lambda r, _: r.interface, lambda r: r.interface, since=154),
        column("owner", "Owner", 16, lambda r, _: r.owner or dash, lambda r: r.owner, since=170),
    ]


def shape() -> Shape[PeerRow]:
    """All that the table knows of peers."""
    return Shape(
        columns(),
        key=lambda r: r.id,
        hay=lambda r: f"{r.name} {r.address} {r.interface} {r.owner} {r.remote} {state(r)} {r.public_key}".lower(),
        glyph=state,
        fields=Fields(
            {
                "status": state,
                "iface": lambda r: r.interface,
                "owner": lambda r: r.owner,
                "ip": lambda r: r.address,
                "key": lambda r: r.public_key,
                "name": lambda r: r.name,
                "from": lambda r: r.remote,
            },
            {"expires": lambda r: r.expires_at},
        ),
    )
