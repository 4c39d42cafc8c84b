"""The errors that NexusHub raises on purpose, and nothing else.

    NexusError                code, message, hint
    ├─ Invalid                field, value, reason       a value was refused
    ├─ NotFound               kind, name
    ├─ Conflict               field, value, existing     it clashes with something that exists
    │  ├─ Stale               kind, name                 somebody changed it first
    │  └─ Exhausted           pool, size                 no address is left
    ├─ Denied                 needs                      the role does not allow it
    ├─ SignIn                 locked_until               who is asking is not known
    ├─ KernelError            op, target, errno          the kernel refused; its own words are kept
    │  └─ Foreign             name                       a link, peer or table that is not ours
    ├─ Unavailable            what                       database or agent away: try later
    └─ Configuration          key                        the process can't start as it is configured

``code`` is stable and public: scripts and API clients match on it. ``str(error)`` is one sentence a person
can act on. HTTP status and exit code are not here: each surface maps the classes itself.
"""

from __future__ import annotations

from datetime import datetime


class NexusError(Exception):
    """Every expected failure; anything else that escapes is a bug in NexusHub."""

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        #: What to do about it, or empty.
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Invalid(NexusError):
    """A value was refused; nothing was stored."""

    code = "invalid"

    def __init__(self, field: str, value: object, reason: str, *, hint: str = "") -> None:
        #: The field's public name, as in the API and (with dashes) on the command line.
        self.field = field
        #: What was given. Never a secret: the caller passes a placeholder for those.
        self.value = value
        self.reason = reason
        shown = f" {value!r}" if value not in (None, "") else ""
        super().__init__(f"{field}{shown}: {reason}.", hint=hint)


class NotFound(NexusError):
    """Nothing of that kind has that name or id."""

    code = "not_found"

    def __init__(self, kind: str, name: str, *, hint: str = "") -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"There is no {kind} {name!r}.", hint=hint)


class Conflict(NexusError):
    """The value is fine by itself but clashes with something that exists."""

    code = "conflict"

    def __init__(self, field: str, value: object, existing: str, *, hint: str = "") -> None:
        self.field = field
        self.value = value
        #: What it clashes with, named so that a person can find it: ``peer 'bob' on wg0``.
        self.existing = existing
        super().__init__(f"{field} {str(value)!r} is taken by {existing}.", hint=hint)


class Stale(Conflict):
    """Somebody changed the object between the read and this write; nothing was overwritten."""

    code = "stale"

    def __init__(self, kind: str, name: str, *, by: str = "somebody else") -> None:
        super().__init__("version", name, f"a newer {kind}")
        self.message = f"{kind} {name!r} was changed by {by} since you read it; nothing was saved."
        self.hint = "Read it again and repeat the change."


class Exhausted(Conflict):
    """An address pool is full."""

    code = "pool_exhausted"

    def __init__(self, pool: str, size: int) -> None:
        super().__init__("address", pool, "its peers")
        self.pool = pool
        #: How many peers the pool can hold at all.
        self.size = size
        self.message = f"Every address of {pool} is in use: it holds {size} peers."
        self.hint = "Delete a peer, or add another address to the interface."


class Denied(NexusError):
    """The actor is known, and not allowed to do this."""

    code = "denied"

    def __init__(self, needs: str, *, hint: str = "") -> None:
        #: The permission that is missing, such as ``peer.create``.
        self.needs = needs
        super().__init__(f"Not allowed: this needs the permission {needs}.", hint=hint)


class SignIn(NexusError):
    """Who is asking is not known, or no longer. The text is the same whatever was wrong."""

    code = "sign_in"

    def __init__(
        self, message: str = "Name or password is wrong.", *, locked_until: datetime | None = None, hint: str = ""
    ) -> None:
        self.locked_until = locked_until
        super().__init__(message, hint=hint)


class KernelError(NexusError):
    """The kernel, wireguard-go or nft refused an operation; ``message`` ends with its own words."""

    code = "kernel"

    def __init__(self, op: str, target: str, reason: str, *, errno: int = 0, hint: str = "") -> None:
        #: Which step: ``create link``, ``set peer`` and so on.
        self.op = op
        #: Which object: a link's name, a peer's public key, an address.
        self.target = target
        self.errno = errno
        self.reason = reason
        super().__init__(f"{op} {target}: {reason}.", hint=hint)


class Foreign(KernelError):
    """A link of that name exists and NexusHub did not make it, so it is not touched."""

    code = "foreign"

    def __init__(self, name: str) -> None:
        super().__init__("use link", name, "it exists and was not made by NexusHub, which leaves it alone")
        self.hint = f"Remove it (ip link delete {name}) or give the interface another name."


class Unavailable(NexusError):
    """Something that must run does not answer; the same request may work later."""

    code = "unavailable"

    def __init__(self, what: str, reason: str = "does not answer", *, hint: str = "") -> None:
        self.what = what
        super().__init__(f"{what} {reason}.", hint=hint)


class Configuration(NexusError):
    """The process can't start as it is configured; nothing was written."""

    code = "configuration"

    def __init__(self, key: str, reason: str, *, hint: str = "") -> None:
        self.key = key
        super().__init__(f"{key}: {reason}.", hint=hint)
