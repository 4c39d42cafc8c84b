"""From what a person or a script wrote to values: each refusal becomes ``Invalid`` with the field's name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from nexushub.errors import Invalid, NotFound
from nexushub.kernel import values
from nexushub.kernel.values import Cidr, InterfaceAddress, Key
from nexushub.safe import check_text, clean_name

T = TypeVar("T")

MTU_MIN = 1280
"""IPv6 needs it (RFC 8200 section 5)."""
MTU_MAX = 9000
MAX_DNS = 8


def parsed(field: str, value: str, parse: Callable[[str], T]) -> T:
    """Apply a parser of ``kernel.values`` and name the field when it refuses."""
    try:
        return parse(value)
    except ValueError as error:
        raise Invalid(field, value, str(error)) from error


def ref(kind: str, value: str) -> UUID | str:
    """A name or an id as somebody wrote it. What no name can be is ``NotFound``, not a database error."""
    try:
        return UUID(value)
    except ValueError:
        if not searchable(value):
            raise NotFound(kind, value) from None
        return value


def searchable(value: str) -> bool:
    """Whether PostgreSQL can take it as text: no NUL, no lone surrogate."""
    return "\0" not in value and not re.search("[\ud800-\udfff]", value)


def search(field: str, value: str) -> str:
    if not searchable(value) or len(value) > 200:
        raise Invalid(field, value[:200], "it must be at most 200 characters of text")
    return value


def name(field: str, value: str, *, longest: int = 64) -> str:
    """A peer's or group's name: printable, one line, nothing that a terminal or a file could obey."""
    return parsed(field, value, lambda text: clean_name(text, longest=longest))


def note(field: str, value: str, *, longest: int) -> str:
    """Free text of one line, possibly empty."""
    return parsed(field, value, lambda text: check_text(text, longest=longest))


def interface_name(value: str) -> str:
    if not values.INTERFACE_NAME.fullmatch(value):
        raise Invalid("name", value, "it must match [a-z][a-z0-9_-]{0,14}, such as wg0")
    return value


def integer(field: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(field, value, f"it must be a number from {low} to {high}")
    return value


def port(field: str, value: object) -> int:
    return integer(field, value, 1, 65535)


def mtu(value: object) -> int:
    return integer("mtu", value, MTU_MIN, MTU_MAX)


def choice(field: str, value: object, options: Iterable[str]) -> str:
    allowed = tuple(options)
    if value not in allowed:
        raise Invalid(field, value, f"it must be one of {', '.join(allowed)}")
    return str(value)


def flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Invalid(field, value, "it must be true or false")
    return value


def cidrs(field: str, given: Iterable[str], *, most: int = 256) -> list[Cidr]:
    """Networks, canonical, in the order given; a repeated or contained one is refused by name."""
    found = [parsed(field, item, values.parse_cidr) for item in given]
    if len(found) > most:
        raise Invalid(field, len(found), f"at most {most} are taken")
    networks = [ipaddress.ip_network(item) for item in found]
    for i, one in enumerate(networks):
        for other in networks[:i]:
            if one.version == other.version and one == other:
                raise Invalid(field, str(one), "it is given twice")
    return found


def interface_addresses(given: Iterable[str]) -> list[InterfaceAddress]:
    """A hub's addresses: one at least, 16 at most, no two in overlapping networks."""
    found = [parsed("address", item, values.parse_interface_address) for item in given]
    if not found:
        raise Invalid("address", None, "an interface needs one, such as 10.8.0.1/24")
    if len(found) > 16:
        raise Invalid("address", len(found), "at most 16 are taken")
    networks = [ipaddress.ip_interface(item).network for item in found]
    for i, one in enumerate(networks):
        for other in networks[:i]:
            if one.overlaps(other):
                raise Invalid("address", found[i], f"its network overlaps {other} of the same interface")
    return found


def dns(given: Iterable[str]) -> list[str]:
    """Name servers, and search domains as wg-quick(8) takes them in the same line."""
    found = list(given)
    if len(found) > MAX_DNS:
        raise Invalid("dns", len(found), f"at most {MAX_DNS} are taken")
    return [_dns(item.strip()) for item in found]


def _dns(item: str) -> str:
    if re.fullmatch(r"[0-9.]+", item) or ":" in item:
        return parsed("dns", item, values.parse_address)
    if len(item) > 253 or not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*", item):
        raise Invalid("dns", item, "it is neither an address nor a search domain")
    return item


def endpoint(field: str, value: str, *, default_port: int | None = None, numeric: bool = False) -> str:
    """``HOST:PORT`` in canonical form, or empty for none."""
    if not value:
        return ""
    return parsed(
        field, value, lambda text: str(values.parse_endpoint(text, default_port=default_port, numeric=numeric))
    )


def public_key(value: str) -> Key:
    return parsed("public_key", value, values.parse_public_key)


def expiry(value: datetime | str | None, now: datetime) -> datetime | None:
    """A time in the future: ISO 8601 (UTC unless it says), a date, or a span such as ``30d``, ``12h``, ``90m``."""
    if value is None or value == "":
        return None
    when = value if isinstance(value, datetime) else _expiry(value, now)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    if when <= now:
        raise Invalid("expires", str(value), "it is in the past")
    return when.astimezone(UTC)


def _expiry(value: str, now: datetime) -> datetime:
    span = re.fullmatch(r"(\d{1,6})([smhdw])", value.strip())
    try:
        if span:
            unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[span[2]]
            return now + timedelta(**{unit: int(span[1])})
        return datetime.fromisoformat(value.strip())
    except (ValueError, OverflowError) as error:
        raise Invalid(
            "expires", value, "it must be a time such as 2027-01-31T12:00:00Z, or a span such as 30d"
        ) from error


def quota(value: object) -> int | None:
    """Bytes, 1 to 2**63-1, or none."""
    return None if value is None else integer("quota_bytes", value, 1, 2**63 - 1)
