"""What a command's exit status says, from one table over the error classes and the codes that the API answers with."""

from __future__ import annotations

from nexushub import errors
from nexushub.errors import NexusError

DONE = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
NOT_ALLOWED = 4
CONFLICT = 5
DIFFERS = 6
TRY_LATER = 75
CONFIGURATION = 78
INTERRUPTED = 130

BY_CLASS: dict[type[NexusError], int] = {
    NexusError: FAILED,
    errors.Invalid: FAILED,
    errors.NotFound: NOT_FOUND,
    errors.Conflict: CONFLICT,
    errors.Stale: CONFLICT,
    errors.Exhausted: CONFLICT,
    errors.Denied: NOT_ALLOWED,
    errors.SignIn: NOT_ALLOWED,
    errors.KernelError: FAILED,
    errors.Foreign: CONFLICT,
    errors.Unavailable: TRY_LATER,
    errors.Configuration: CONFIGURATION,
}
"""Every class of ``nexushub.errors``; a test walks the tree."""

BY_CODE = {kind.code: status for kind, status in BY_CLASS.items()} | {
    "precondition_required": FAILED,
    "too_many_requests": TRY_LATER,
    "undecryptable": CONFIGURATION,
}


class Refused(NexusError):
    """An error that the server answered with; ``code`` is the server's."""

    def __init__(self, code: str, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


def exit_status(error: NexusError) -> int:
    """The status for an error, by its code when the server sent it, else by its class."""
    if isinstance(error, Refused):
        return BY_CODE.get(error.code, TRY_LATER if error.status in (502, 503, 504) else FAILED)
    return next(BY_CLASS[kind] for kind in type(error).__mro__ if kind in BY_CLASS)
