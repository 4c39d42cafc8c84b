"""The service layer: functions, one module a noun, first argument one ``Work``.

Each public function carries the permission it needs, checked before its first line runs. A module ends with
``seal(__name__)``: a public function without a permission makes the import fail, so a new one can't be
forgotten open.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from nexushub.errors import Denied
from nexushub.views import Role
from nexushub.work import Work

P = ParamSpec("P")
R = TypeVar("R")

_ALL: frozenset[Role] = frozenset({"super_admin", "admin", "operator", "auditor", "viewer"})
_ADMINS: frozenset[Role] = frozenset({"super_admin", "admin"})
_OPERATORS: frozenset[Role] = _ADMINS | {"operator"}

PERMISSIONS: dict[str, frozenset[Role]] = {
    "interface.read": _ALL,
    "interface.create": _ADMINS,
    "interface.edit": _ADMINS,
    "interface.delete": _ADMINS,
    "peer.read": _ALL,
    "peer.create": _OPERATORS,
    "peer.edit": _OPERATORS,
    "peer.delete": _OPERATORS,
    "peer.secret": _OPERATORS,
    "group.read": _ALL,
    "group.edit": _OPERATORS,
    "drift.read": _ALL,
    "drift.decide": _ADMINS,
    "status.read": _ALL,
    "user.read": _ADMINS,
    "user.create": frozenset({"super_admin"}),
    "self.session": _ALL,
}
"""Who may do what. A permission that is not in here can't be named by a function."""

REGISTRY: dict[str, str] = {}
"""Qualified function name to permission, or ``public: reason``."""


def needs(permission: str) -> Callable[[Callable[Concatenate[Work, P], R]], Callable[Concatenate[Work, P], R]]:
    """Refuse an actor whose role lacks the permission, with ``Denied``, before anything is read."""
    roles = PERMISSIONS[permission]

    def wrap(function: Callable[Concatenate[Work, P], R]) -> Callable[Concatenate[Work, P], R]:
        @functools.wraps(function)
        def checked(w: Work, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if w.actor.role not in roles:
                raise Denied(permission)
            return function(w, *args, **kwargs)

        REGISTRY[f"{function.__module__}.{function.__name__}"] = permission
        return checked

    return wrap


def public(reason: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function that needs no permission, and say why."""

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        REGISTRY[f"{function.__module__}.{function.__name__}"] = f"public: {reason}"
        return function

    return wrap


def seal(module_name: str) -> None:
    """Fail the import of a service module that has a public function without a permission."""
    module = sys.modules[module_name]
    for name, value in vars(module).items():
        if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module_name:
            continue
        if f"{module_name}.{name}" not in REGISTRY:
            raise ImportError(f"{module_name}.{name} carries no permission: decorate it with needs() or public()")
