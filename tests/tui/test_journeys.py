"""What people do, from key to database row, on a real hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from nexushub.services import auth, interfaces, peers, users
from nexushub.views import InterfaceView, PeerRow
from nexushub.work import Hub
from tests.fix_db import Database
from tests.tui import seed
from tests.tui.conftest import PASSWORD, Opened, settled, shown
from tui.app import NexusApp
from tui.screens.lock import Lock
from tui.screens.login import Login
from tui.screens.peer import PeerScreen
from tui.screens.peers import Peers
from tui.screens.setup import Setup


def app_of(pilot: Pilot[None]) -> NexusApp:
    assert isinstance(pilot.app, NexusApp)
    return pilot.app


def rows(hub: Hub) -> dict[str, PeerRow]:
    with hub.reading(auth.local_actor("local")) as w:
        return {row.name: row for row in peers.rows(w)}


def listed(hub: Hub) -> dict[str, InterfaceView]:
    with hub.reading(auth.local_actor("local")) as w:
        return {view.name: view for view in interfaces.listing(w)}


async def test_first_run_makes_admin_and_interface(opened: Opened, hub: Hub) -> None:
    async with opened() as pilot:
        assert isinstance(pilot.app.screen, Setup)
        await pilot.press("tab", *"alice@example.com", "tab", *"short", "tab", *"other", "enter")
        await settled(pilot)
        assert "the two passwords differ" in shown(pilot)
        await pilot.press("shift+tab", *[key for _ in range(5) for key in ("backspace",)], *PASSWORD, "tab")
        await pilot.press(*["backspace"] * 5, *PASSWORD, "enter")
        await settled(pilot)
        assert "2 of 2" in shown(pilot)
        await pilot.press("tab", "tab", "tab", *"vpn.example.com", "enter")
        await settled(pilot)
        text = shown(pilot)
        assert "wg0" in text
        assert "pending: agent not running" in text
    with hub.reading(auth.local_actor("local")) as w:
        assert [user.name for user in users.listing(w)] == ["admin"]
    assert listed(hub)["wg0"].endpoint == "vpn.example.com:51820"


async def test_sign_in_says_one_sentence_for_every_failure(opened: Opened, admin: str) -> None:
    async with opened() as pilot:
        for name in ("nobody", admin):
            await pilot.press(*["backspace"] * 10, *name, "tab", *"wrong password here", "enter")
            await settled(pilot)
            assert "Name or password is wrong." in shown(pilot)
            await pilot.press("shift+tab")
        await pilot.press(*["backspace"] * 10, *admin, "tab", *PASSWORD, "enter")
        await settled(pilot)
        assert "alice (super-admin)" in shown(pilot)
        assert "Signed in as alice." in shown(pilot)


async def test_too_many_failures_end_the_program(opened: Opened, admin: str) -> None:
    async with opened() as pilot:
        await pilot.press(*admin, "tab")
        for _ in range(5):
            await pilot.press(*"wrong password here", "enter")
            await settled(pilot)
        assert app_of(pilot).return_code == 4


async def test_keys_that_arrive_in_one_packet_go_where_they_were_meant(opened: Opened, hub: Hub, admin: str) -> None:
    """A whole sign-in, a filter and a form, each posted at once, as a slow link delivers them."""
    seed.interface(hub)
    seed.peer(hub, "frank")

    def burst(pilot: Pilot[None], *names: str) -> None:
        for name in names:
            character = name if len(name) == 1 else {"space": " ", "slash": "/"}.get(name)
            pilot.app.post_message(events.Key(name, character))

    async with opened() as pilot:
        burst(pilot, *admin, "tab", *("space" if c == " " else c for c in PASSWORD), "enter")
        await settled(pilot)
        await settled(pilot)
        assert "alice (super-admin)" in shown(pilot)
        burst(pilot, "3", "slash", *"fra", "enter", "a", *"greta", "enter")
        await settled(pilot)
        await settled(pilot)
        assert "greta" in rows(hub)
        await pilot.press("q")
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, Peers)
        assert screen.table.filter_text == "fra"
        assert not screen.frozen


async def test_a_name_is_enough_for_a_peer_and_its_file_follows(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    async with opened(admin, size=(120, 50)) as pilot:
        await pilot.press("3", "a", *"alice-laptop", "enter")
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, PeerScreen)
        assert screen.tab == "QR"
        assert "█" in shown(pilot)
        await pilot.press("left_square_bracket")
        await settled(pilot)
        text = shown(pilot)
        assert "PrivateKey = ••••" in text
        assert "Endpoint = hub1.example.com:51820" in text
        await pilot.press("v")
        await settled(pilot)
        with hub.work(auth.local_actor("local")) as w:
            config = peers.config(w, "alice-laptop")
        assert next(line for line in config.text.splitlines() if line.startswith("PrivateKey")) in shown(pilot)


async def test_small_terminal_gets_the_file_first_and_a_sentence_for_the_code(
    opened: Opened, hub: Hub, admin: str
) -> None:
    seed.interface(hub)
    async with opened(admin) as pilot:
        await pilot.press("3", "a", *"bob", "enter")
        await settled(pilot)
        assert "AllowedIPs" in shown(pilot)
        await pilot.press("right_square_bracket")
        await settled(pilot)
        assert "enlarge the window or shrink the" in shown(pilot)


async def test_a_taken_name_is_said_at_its_field(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    seed.peer(hub, "alice-laptop")
    async with opened(admin) as pilot:
        await pilot.press("3", "a", *"alice-laptop", "enter")
        await settled(pilot)
        lines = shown(pilot).splitlines()
        at = next(number for number, line in enumerate(lines) if "Name" in line and "alice-laptop" in line)
        assert "'alice-laptop' is taken by" in lines[at + 1]
        assert getattr(pilot.app.focused, "id", "") == "field-name"
        await pilot.press(*"-2", "enter")
        await settled(pilot)
    assert set(rows(hub)) == {"alice-laptop", "alice-laptop-2"}


async def test_pasted_names_become_one_peer_each_in_one_transaction(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    names = [f"phone-{number}" for number in range(12)]
    async with opened(admin) as pilot:
        await pilot.press("3", "a")
        pilot.app.post_message(events.Paste("\r\n".join(names) + "\n"))
        await settled(pilot)
        assert "12 names: phone-0, phone-1, phone-2, and more" in shown(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert "12 peers added to wg0" in shown(pilot)
    assert sorted(rows(hub)) == sorted(names)


async def test_marked_peers_are_disabled_together_and_come_back(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    for name in ("a", "b", "c"):
        seed.peer(hub, name)
    async with opened(admin) as pilot:
        await pilot.press("3", "space", "space", "t")
        await settled(pilot)
        assert "2 peers disabled; pending: agent not running" in shown(pilot)
        assert {name: row.state for name, row in rows(hub).items()} == {"a": "off", "b": "off", "c": "never"}
        await pilot.press("t")
        await settled(pilot)
    assert {row.state for row in rows(hub).values()} == {"never"}


async def test_deleting_asks_and_cancel_has_the_focus(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    seed.peer(hub, "keep")
    async with opened(admin) as pilot:
        await pilot.press("3", "D")
        await settled(pilot)
        assert "Delete peer keep?" in shown(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert set(rows(hub)) == {"keep"}
        await pilot.press("D", "tab", "enter")
        await settled(pilot)
    assert not rows(hub)


async def test_more_than_twenty_want_the_number_typed(opened: Opened, hub: Hub, admin: str, database: Database) -> None:
    seed.interface(hub)
    seed.many(database, 21)
    async with opened(admin) as pilot:
        await pilot.press("3", "asterisk", "D")
        await settled(pilot)
        assert "Delete 21 peers?" in shown(pilot)
        await pilot.press(*"20", "enter", "tab", "enter")
        await settled(pilot)
        assert len(rows(hub)) == 21
        await pilot.press("escape", "D", *"21", "enter", "enter")
        await settled(pilot)
    assert not rows(hub)


async def test_edit_sends_what_was_changed_and_stale_is_refused(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    seed.peer(hub, "alice-laptop", owner="alice")
    async with opened(admin) as pilot:
        await pilot.press("3", "e")
        await settled(pilot)
        with hub.work(auth.local_actor("local")) as w:
            peers.edit(w, "alice-laptop", notes="written meanwhile")
        await pilot.press(*"-x", "enter")
        await settled(pilot)
        assert "was changed by somebody else" in shown(pilot)
        await pilot.press("escape", "e")
        await settled(pilot)
        await pilot.press("end", *"-x", "enter")
        await settled(pilot)
    with hub.reading(auth.local_actor("local")) as w:
        view = peers.get(w, "alice-laptop-x")
    assert (view.owner, view.notes) == ("alice", "written meanwhile")


async def test_interface_is_made_changed_taken_down_and_deleted(opened: Opened, hub: Hub, admin: str) -> None:
    async with opened(admin) as pilot:
        await pilot.press("2", "a")
        await settled(pilot)
        assert "10.8.0.1/24" in shown(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert listed(hub)["wg0"].addresses == ["10.8.0.1/24"]
        await pilot.press("e")
        await settled(pilot)
        await pilot.press(*["tab"] * 5, *"1380", "enter")
        await settled(pilot)
        assert listed(hub)["wg0"].mtu == 1380
        await pilot.press("t")
        await settled(pilot)
        assert not listed(hub)["wg0"].enabled
        await pilot.press("D", *"wg0", "enter", "enter")
        await settled(pilot)
    assert not listed(hub)


async def test_a_network_that_overlaps_is_refused_with_the_others_name(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub, "office", address="10.9.0.1/24")
    async with opened(admin) as pilot:
        await pilot.press("2", "a")
        await settled(pilot)
        await pilot.press("tab", *"10.9.0.129/25", "enter")
        await settled(pilot)
        assert "office" in shown(pilot)
        assert getattr(pilot.app.focused, "id", "") == "field-addresses"
    assert set(listed(hub)) == {"office"}


@pytest.mark.parametrize("decision", ["A adopted", "R reverted", "I ignored"])
async def test_drift_is_shown_and_decided(
    decision: str, opened: Opened, hub: Hub, admin: str, database: Database
) -> None:
    key, status = decision.split()
    seed.interface(hub)
    seed.drift(database, "wg0", "mtu", "1420", "1380")
    async with opened(admin) as pilot:
        await pilot.press("2", "enter")
        await settled(pilot)
        assert "wg0 mtu: wanted 1420, is 1380" in shown(pilot)
        assert "1 drift" in shown(pilot)
        await pilot.press(key)
        await settled(pilot)
    with seed.connect(database) as connection:
        assert connection.execute("SELECT status, decided_by FROM drift").fetchall() == [(status, "alice")]
    assert listed(hub)["wg0"].mtu == (1380 if status == "adopted" else 1420)


async def test_refused_by_the_kernel_is_shown_in_its_words(
    opened: Opened, hub: Hub, admin: str, database: Database
) -> None:
    seed.interface(hub)
    seed.peer(hub, "alice-laptop")
    seed.applied(database)
    with seed.connect(database) as connection:
        connection.execute("UPDATE applied SET result = 'failed', detail = 'set peer: No buffer space'")
    async with opened(admin) as pilot:
        await pilot.press("3")
        await settled(pilot)
        assert "! failed" in shown(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert "refused: set peer: No buffer space" in shown(pilot)


async def test_palette_jumps_to_a_peer_and_changes_the_theme(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    seed.peer(hub, "alice-laptop")
    async with opened(admin) as pilot:
        await pilot.press("3")
        await settled(pilot)
        await pilot.press("colon", *"alice-l", "enter")
        await settled(pilot)
        assert isinstance(pilot.app.screen, PeerScreen)
        await pilot.press("colon", *"theme light", "enter")
        await settled(pilot)
        assert pilot.app.theme == "light"


async def test_lock_hides_everything_and_the_password_brings_it_back(opened: Opened, hub: Hub, admin: str) -> None:
    seed.interface(hub)
    seed.peer(hub, "alice-laptop")
    async with opened(admin, size=(120, 50)) as pilot:
        await pilot.press("3", "enter", "right_square_bracket", "v")
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, PeerScreen)
        app_of(pilot).key_at -= 16 * 60
        await pilot.pause(1.2)
        await settled(pilot)
        assert isinstance(pilot.app.screen, Lock)
        assert "alice-laptop" not in shown(pilot)
        assert screen._config is None
        await pilot.press(*"wrong password", "enter")
        await settled(pilot)
        assert isinstance(pilot.app.screen, Lock)
        await pilot.press(*PASSWORD, "enter")
        await settled(pilot)
        shown_now: object = pilot.app.screen
        assert shown_now is screen


async def test_a_revoked_session_stops_at_the_next_action(
    opened: Opened, hub: Hub, admin: str, database: Database
) -> None:
    seed.interface(hub)
    seed.peer(hub, "alice-laptop")
    async with opened(admin) as pilot:
        await pilot.press("3")
        await settled(pilot)
        with seed.connect(database) as connection:
            connection.execute("UPDATE sessions SET revoked_at = now()")
        await pilot.press("t")
        await settled(pilot)
        assert isinstance(pilot.app.screen, Lock)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(pilot.app.screen, Login)
    assert rows(hub)["alice-laptop"].state == "never"


async def test_file_is_written_for_its_owner_alone_and_never_over_another(
    opened: Opened, hub: Hub, admin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    seed.interface(hub)
    seed.peer(hub, "alice-laptop")
    async with opened(admin) as pilot:
        await pilot.press("3", "enter", "w")
        await settled(pilot)
        path = tmp_path / "alice-laptop.conf"
        assert path.stat().st_mode & 0o777 == 0o600
        assert "PrivateKey = " in path.read_text()
        path.write_text("mine")
        await pilot.press("w")
        await settled(pilot)
        assert "Replace" in shown(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert path.read_text() == "mine"
        await pilot.press("w", "tab", "enter")
        await settled(pilot)
        assert "PrivateKey = " in path.read_text()


async def test_what_others_change_shows_within_seconds(
    opened: Opened, hub: Hub, admin: str, database: Database
) -> None:
    seed.interface(hub)
    seed.peer(hub, "alice-laptop")
    seed.applied(database)
    async with opened(admin) as pilot:
        await pilot.press("3")
        await settled(pilot)
        assert "· never" in shown(pilot)
        seed.sample(database, "alice%", seconds_ago=5, rx_rate=100_000)
        await pilot.pause(2.5)
        await settled(pilot)
        assert "● up" in shown(pilot)
