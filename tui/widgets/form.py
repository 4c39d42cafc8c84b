"""A form: labelled fields of one line each, an error under the field that it is about.

Fields are compact Textual inputs without a blinking cursor (half a line of traffic a second, for nothing) and
own choices. What a field shows is made safe: a value from the database may hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from nexushub.safe import safe
from tui.widgets.lines import assemble


@dataclass(frozen=True, slots=True)
class Field:
    """One field. ``choices`` makes it a choice, ``secret`` hides what is typed."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    empty: str = ""
    """What an empty field stands for, shown in it."""
    choices: Sequence[str] = ()
    secret: bool = False
    required: bool = False
    lines: bool = False
    """Several pasted lines are kept, for adding many at once."""


@runtime_checkable
class Owner(Protocol):
    """What a field belongs to: it is told of enter."""

    async def entered(self, entry: Entry) -> None: ...


class Entry(Input):
    """A text field of one line."""

    class Lines(Message):
        """Several lines were pasted."""

        def __init__(self, lines: list[str]) -> None:
            self.lines = lines
            super().__init__()

    def __init__(self, field: Field) -> None:
        super().__init__(
            value=safe(field.value), placeholder=field.empty, password=field.secret, compact=True,
            id=f"field-{field.name}",
        )  # fmt: skip
        self.field = field
        self.cursor_blink = False

    async def action_submit(self) -> None:
        """Enter, told at once to whom the field belongs; as a message it would come after keys typed behind it."""
        for node in self.ancestors:
            if isinstance(node, Owner):
                await node.entered(self)
                return

    def validate_value(self, value: str) -> str:
        """What is typed or pasted reaches the terminal again, so control characters become visible first."""
        return safe(value)

    def _on_paste(self, event: events.Paste) -> None:
        lines = [line.strip() for line in event.text.splitlines() if line.strip()]
        if self.field.lines and len(lines) > 1:
            event.stop()
            event.prevent_default()
            self.post_message(self.Lines(lines))


class Choice(Widget, can_focus=True):
    """One of a few words; space and the arrows go through them."""

    BINDINGS: ClassVar = [
        ("space,right", "step(1)", "next"),
        ("left", "step(-1)", "previous"),
    ]
    value: reactive[str] = reactive("")

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"field-{field.name}")
        self.field = field
        self.set_reactive(Choice.value, field.value or field.choices[0])

    def render(self) -> Content:
        parts = []
        for choice in self.field.choices:
            chosen = choice == self.value
            parts += [(f"[{choice}]" if chosen else f" {choice} ", "bold" if chosen else "$muted"), (" ", "")]
        return assemble(parts)

    def action_step(self, by: int) -> None:
        choices = list(self.field.choices)
        self.value = choices[(choices.index(self.value) + by) % len(choices)]


class Form(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The fields of one thing. ``values`` is what they say now, ``changes`` what differs from the beginning."""

    def __init__(self, fields: Sequence[Field], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.fields = fields

    def compose(self) -> ComposeResult:
        for field in self.fields:
            with Vertical(classes="field"):
                with Horizontal(classes="field-line"):
                    yield Static(Content(field.label), classes="field-label")
                    yield Choice(field) if field.choices else Entry(field)
                yield Static("", classes="field-error", id=f"error-{field.name}")
        if any(field.hint for field in self.fields):
            yield Static("", classes="field-hint")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Under the fields stands what the focused one wants to know: a hint for each would fill two screens."""
        if isinstance(event.widget, Entry | Choice):
            for line in self.query(".field-hint").results(Static):
                line.update(Content(event.widget.field.hint))

    def widget(self, name: str) -> Entry | Choice:
        found = self.query_one(f"#field-{name}")
        assert isinstance(found, Entry | Choice)
        return found

    async def start_from(self, fields: Sequence[Field]) -> None:
        """Begin again with other fields or values."""
        self.fields = fields
        await self.recompose()

    @property
    def values(self) -> dict[str, str]:
        return {field.name: self.widget(field.name).value for field in self.fields}

    @property
    def changes(self) -> dict[str, str]:
        """Fields that a person changed. One that still shows what it began with is not among them, even where the
        stored text had to be made visible to be shown."""
        began = {field.name: safe(field.value) or (field.choices[0] if field.choices else "") for field in self.fields}
        return {name: value for name, value in self.values.items() if value != began[name]}

    def show_errors(self, errors: Mapping[str, str]) -> bool:
        """Show each error at its field and go to the first. False when none of the fields is meant."""
        first = None
        for field in self.fields:
            text = errors.get(field.name, "")
            line = self.query_one(f"#error-{field.name}", Static)
            line.set_class(bool(text), "-shown")
            line.update(assemble([(text, "")]))
            if text and first is None:
                first = field.name
        if first is not None:
            self.screen.set_focus(self.widget(first))
        return first is not None

    def missing(self) -> dict[str, str]:
        values = self.values
        return {
            field.name: "It is needed." for field in self.fields if field.required and not values[field.name].strip()
        }

    def focus_first(self) -> None:
        if self.fields:
            self.screen.set_focus(self.widget(self.fields[0].name))

    def focus_after(self) -> bool:
        """Go to the next empty field that is needed, if there is one after the focused."""
        names = [field.name for field in self.fields]
        focused = getattr(self.screen.focused, "id", "") or ""
        here = names.index(focused.removeprefix("field-")) if focused.removeprefix("field-") in names else -1
        for field in self.fields[here + 1 :]:
            if field.required and not self.widget(field.name).value.strip():
                self.screen.set_focus(self.widget(field.name))
                return True
        return False
