"""The one table of keys: complete, free of what terminals keep for themselves, and no key does nothing."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.pilot import Pilot

import tui
from nexushub.work import Hub
from tests.tui import seed
from tests.tui.conftest import Opened, painted, settled
from tui import keys
from tui.app import NexusApp
from tui.screens.framed import Acts

MODULES = ("login", "lock", "interfaces", "interface", "peers", "peer", "forms", "setup", "guide", "palette", "ask")


def actors() -> dict[str, list[type]]:
    """Each section with the classes whose keys it holds."""
    found: dict[str, list[type]] = {"app": [NexusApp]}
    for name in MODULES:
        module = importlib.import_module(f"tui.screens.{name}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__ and issubclass(kind, Acts) and hasattr(kind, "SECTION"):
                found.setdefault(kind.SECTION, []).append(kind)
    return found


def test_every_key_has_its_action_and_every_section_its_screen() -> None:
    found = actors()
    assert set(found) == set(keys.KEYS)
    for section, key in keys.everything():
        for kind in found[section]:
            if inspect.isabstract(kind) or kind.__name__ == "FormScreen":
                continue
            assert callable(getattr(kind, f"do_{key.name}", None)), f"{kind.__name__} can't do {key.name}"


def test_no_action_is_without_a_key() -> None:
    for section, kinds in actors().items():
        known = {key.name for key in (*keys.KEYS[section], *keys.KEYS["app"])}
        for kind in kinds:
            actions = {name.removeprefix("do_") for name in dir(kind) if name.startswith("do_")}
            assert actions <= known, f"{kind.__name__} has {actions - known} and no key for it"


def test_no_key_belongs_to_the_terminal() -> None:
    for _, key in keys.everything():
        for one in filter(None, key.keys.split(",")):
            assert one not in keys.FORBIDDEN
            assert not re.match(r"(alt|meta|super|ctrl)\+|f\d+$|shift\+(up|down|left|right)", one), one


def test_a_key_means_one_thing_in_a_section() -> None:
    for section in keys.KEYS:
        taken = [one for key in keys.KEYS[section] for one in key.keys.split(",") if one]
        assert len(taken) == len(set(taken)), section
        inside = section in ("interfaces", "interface", "peers", "peer")
        if inside:
            everywhere = {one for key in keys.KEYS["app"] for one in key.keys.split(",") if one}
            assert not everywhere & set(taken), section


def test_one_letter_means_one_thing_everywhere() -> None:
    meaning: dict[str, str] = {}
    for section, key in keys.everything():
        for one in key.keys.split(","):
            if len(one) == 1 and section != "choose":
                assert meaning.setdefault(one, key.name) == key.name, f"{one} is {key.name} in {section}"


def test_bindings_have_ids_and_sentences() -> None:
    for section in keys.KEYS:
        for binding in keys.bindings(section):
            assert isinstance(binding, Binding)
            assert binding.id == f"{section}.{binding.action.split(chr(39))[1]}"
            assert binding.tooltip.endswith((".", "<7d"))


def test_footers_fit() -> None:
    for section in keys.KEYS:
        footer = keys.footer(section)
        assert len(footer) <= keys.FOOT
        assert footer[-1].name == "help"


def test_no_timer_is_faster_than_a_second() -> None:
    for path in Path(tui.__file__).parent.rglob("*.py"):
        for interval in re.findall(r"set_interval\(\s*([\d.]+)", path.read_text()):
            assert float(interval) >= 1, path


SCREENS = {
    "interfaces": ["2"],
    "interface": ["2", "enter"],
    "peers": ["3"],
    "peer": ["3", "enter"],
    "help": ["3", "question_mark"],
    "form": ["3", "a"],
    "palette": ["3", "colon"],
    "choose": ["3", "y"],
    "ask": ["3", "D"],
    "app": ["3"],
}


@pytest.mark.parametrize("section", [section for section in SCREENS])
async def test_every_binding_pressed(section: str, opened: Opened, hub: Hub, admin: str) -> None:
    """Each key does something that shows: the screen changes, or the status line says why not."""
    seed.interface(hub)
    for name in ("alice-laptop", "bob-phone", "carol"):
        seed.peer(hub, name)
    async with opened(admin) as pilot:
        app = pilot.app
        assert isinstance(app, NexusApp)
        app.on_plain_terminal = lambda text: app.say("printed")  # type: ignore[method-assign]  # a pilot has no terminal to suspend
        pressable = [(key, one) for key in keys.KEYS[section] for one in key.keys.split(",") if one]
        # "back" in a list leaves the program, so it comes last.
        for key, one in sorted(pressable, key=lambda pair: pair[0].name == "back"):
            app.say("-")
            await come_to(pilot, section)
            if key.name in ("up", "page_up", "top"):
                await pilot.press("end")
            before = (painted(pilot), app.screen, app.screen.focused)
            await pilot.press(one)
            await settled(pilot)
            if app.return_code is not None:
                assert key.name == "back"
                return
            after = (painted(pilot), app.screen, app.screen.focused)
            assert after != before or key.name in QUIET.get(section, ()), f"{section}: {one} ({key.name}) did nothing"


async def come_to(pilot: Pilot[None], section: str) -> None:
    """Be on the section's screen, by as few keys as may be."""
    app = pilot.app
    assert isinstance(app, NexusApp)
    if getattr(app.screen, "SECTION", "") == section:
        return
    while len(app.screen_stack) > 2:
        app.pop_screen()
        await pilot.pause()
    await pilot.press(*SCREENS[section])
    await settled(pilot)
    assert section == "app" or getattr(app.screen, "SECTION", "") == section


QUIET = {
    # Nothing to scroll on a screen that is not full, one row in the table, the first row or line already there.
    "interfaces": ("up", "down", "page_up", "page_down", "top", "bottom", "mark", "mark_all"),
    "interface": ("up", "down", "page_up", "page_down", "top", "bottom"),
    "peers": ("mark_range",),
    "peer": ("line_up",),
    "help": ("line_up", "page_up"),
    "palette": ("up",),
    "app": ("peers",),
}
