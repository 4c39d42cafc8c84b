"""Accounts: the first administrator, the seed, and those an administrator makes."""

from __future__ import annotations

import re

from sqlalchemy import func, text
from sqlmodel import col, select

from nexushub import models
from nexushub.errors import Conflict, Invalid
from nexushub.services import needs, public, seal
from nexushub.services.auth import hash_password, user_view
from nexushub.views import Role, UserView
from nexushub.work import Work

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_RESERVED = ("-", "agent", "root")


@public("the first-run wizard must know whether to open before anybody can sign in")
def none_exist(w: Work) -> bool:
    """Whether this hub has no account yet."""
    return w.db.exec(select(func.count()).select_from(models.User)).one() == 0


@public("there is nobody yet who could be asked; it refuses once an account exists")
def create_first(w: Work, *, name: str, email: str, password: str) -> UserView:
    """Make the first super-admin. ``Conflict`` when an account exists, also when two wizards race."""
    # Two wizards at once: the lock is held to the commit, so the second one sees the first one's account.
    w.db.connection().execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
    if not none_exist(w):
        raise Conflict("name", name, "an account that exists", hint="Sign in with it.")
    return _create(w, name, email, password, "super_admin")


@needs("user.create")
def create(w: Work, *, name: str, email: str, password: str, role: Role) -> UserView:
    """Make an account. ``Invalid`` and ``Conflict`` name the field."""
    return _create(w, name, email, password, role)


@needs("user.create")
def seed(w: Work, *, name: str, email: str, password: str, reset_password: bool = False) -> tuple[UserView, str]:
    """Make the super-admin of the environment variables once; a second run changes nothing that exists.

    Returns the account and one sentence that says what was done. Only ``reset_password`` sets a password again.
    """
    existing = w.db.exec(
        select(models.User).where(
            (col(models.User.name) == name.casefold()) | (func.lower(models.User.email) == email.casefold())
        )
    ).all()
    if len(existing) > 1 or (existing and existing[0].name != name.casefold()):
        raise Conflict(
            "email",
            email,
            f"the account {existing[0].name!r}",
            hint="Set NEXUSHUB_ADMIN_USERNAME to its name, or use another address.",
        )
    if not existing:
        return _create(w, name, email, password, "super_admin"), f"created the super-admin {name!r}"
    user = existing[0]
    if not reset_password:
        return user_view(user), f"the account {user.name!r} exists; nothing was changed"
    user.password_hash = hash_password(password, context=(user.name,))
    user.failures, user.locked_until, user.updated_at, user.version = 0, None, w.now, user.version + 1
    w.db.connection().execute(
        text("UPDATE sessions SET revoked_at = :now WHERE user_id = :user AND revoked_at IS NULL"),
        {"now": w.now, "user": user.id},
    )
    w.audit("user.reset_password", "user", user.id, user.name)
    return user_view(user), f"set the password of {user.name!r} again and ended its sessions"


@needs("user.read")
def listing(w: Work) -> list[UserView]:
    """Every account, by name."""
    return [user_view(user) for user in w.db.exec(select(models.User).order_by(models.User.name)).all()]


@needs("self.session")
def whoami(w: Work) -> UserView | None:
    """The actor's own account; None for the root user of this machine, who has none."""
    return user_view(w.db.get_one(models.User, w.actor.user_id)) if w.actor.user_id else None


def _create(w: Work, name: str, email: str, password: str, role: Role) -> UserView:
    key = name.strip().casefold()
    if not _NAME.fullmatch(key):
        raise Invalid("name", name, "it must be 1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit")
    if key in _RESERVED:
        raise Invalid("name", name, "it is reserved for NexusHub itself")
    address = email.strip()
    if not _EMAIL.fullmatch(address) or len(address) > 254:
        raise Invalid("email", email, "it is not an e-mail address")
    clash = w.db.exec(
        select(models.User).where(
            (col(models.User.name) == key) | (func.lower(models.User.email) == address.casefold())
        )
    ).first()
    if clash is not None:
        field, value = ("name", key) if clash.name == key else ("email", address)
        raise Conflict(field, value, f"the account {clash.name!r}")
    user = models.User(
        name=key, email=address, role=role, password_hash=hash_password(password, context=(key,)),
        created_at=w.now, updated_at=w.now,
    )  # fmt: skip
    w.db.add(user)
    w.audit("user.create", "user", user.id, key, role=role)
    return user_view(user)


seal(__name__)
