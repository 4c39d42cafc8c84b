"""Who is asking: password sign-in, sessions, and the root user of this machine.

A failed sign-in costs the same work and says the same sentence whatever was wrong. Its counter is committed in
a transaction of its own, since the caller's rolls back.
"""

from __future__ import annotations

import socket
import threading
import unicodedata
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import argon2
from sqlalchemy import func, or_
from sqlmodel import col, select

from nexushub import models
from nexushub.errors import Invalid, SignIn, Unavailable
from nexushub.secrets import new_token, token_hash
from nexushub.services import needs, public, seal
from nexushub.views import Actor, SignedIn, UserView, View
from nexushub.work import Hub, Work

IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=12)
_SEEN_EVERY = timedelta(seconds=30)
_FREE_FAILURES = 5
_HARD_STOP = 100

PASSWORD_MIN = 15
PASSWORD_MAX = 256

# RFC 9106 section 4, the second recommended option: t=3, 64 MiB, p=4; 181 ms on two shared cores.
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)
# Two at once bound the memory at 128 MiB; a third caller waits, and gives up after ten seconds.
_HASHING = threading.BoundedSemaphore(2)
_NOBODY = _HASHER.hash("nobody has this password")

Surface = Literal["tui", "cli", "web", "api"]


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


@public("a pure function of its argument")
def hash_password(password: str, *, context: tuple[str, ...] = ()) -> str:
    """Check a new password against the policy and hash it. ``Invalid`` says what to change, never the password.

    15 characters at least and no composition rule (NIST SP 800-63B-4 section 3.1.1.2); NFKC first, so that the
    same keys typed on another system give the same password.
    """
    normal = _normal(password)
    if len(normal) < PASSWORD_MIN:
        raise Invalid(
            "password",
            None,
            f"it must have at least {PASSWORD_MIN} characters",
            hint="A few unrelated words make a good one.",
        )
    if len(normal) > PASSWORD_MAX:
        raise Invalid("password", None, f"it must have at most {PASSWORD_MAX} characters")
    lowered = normal.casefold()
    if len(set(lowered)) < 5:
        raise Invalid("password", None, "it repeats a few characters")
    for word in ("nexushub", "wireguard", "password", *context):
        rest = lowered.replace(word.casefold(), "") if len(word) > 3 else lowered
        if len(rest) < 8 and rest != lowered:
            raise Invalid("password", None, f"it is little more than the word {word!r}")
    return _hash(normal)


def _hash(normal: str) -> str:
    if not _HASHING.acquire(timeout=10):
        raise Unavailable("sign-in", "is busy", hint="Try again in a few seconds.")
    try:
        return _HASHER.hash(normal)
    finally:
        _HASHING.release()


def _verify(stored: str, password: str) -> bool:
    if not _HASHING.acquire(timeout=10):
        raise Unavailable("sign-in", "is busy", hint="Try again in a few seconds.")
    try:
        return _HASHER.verify(stored, _normal(password))
    except argon2.exceptions.VerifyMismatchError:
        return False
    finally:
        _HASHING.release()


@public("it is how an actor becomes known")
def sign_in(hub: Hub, name: str, password: str, *, surface: Surface, address: str = "", agent: str = "") -> SignedIn:
    """Begin a session for a name (or e-mail address) and a password. ``SignIn`` for every failure alike.

    After five failures the account waits 30 s, doubling to an hour, whatever the password: guessing is slowed,
    and the wait ends by itself.
    """
    anonymous = Actor(name="-", role="viewer", source="tui" if surface == "tui" else surface, address=address)
    with hub.reading(anonymous) as w:
        user = _find(w, name)
    good = _verify(user.password_hash if user and user.password_hash else _NOBODY, password[: PASSWORD_MAX * 4])
    locked = user is not None and user.locked_until is not None and user.locked_until > hub.clock()
    if user is None or not good or locked or not user.enabled or user.password_hash is None:
        _count_failure(hub, anonymous, user.id if user else None, name)
        raise SignIn()
    with hub.work(anonymous, wait_ms=0) as w:
        row = w.db.get_one(models.User, user.id, with_for_update=True)
        if not row.enabled or row.password_hash != user.password_hash:
            raise SignIn()  # disabled or changed between the two transactions
        previous_at, previous_from = row.last_login_at, row.last_login_from
        row.failures, row.locked_until, row.last_login_at, row.last_login_from = 0, None, w.now, address
        if _HASHER.check_needs_rehash(user.password_hash):
            row.password_hash = _hash(_normal(password))
        token = new_token()
        session = models.Session(
            user_id=row.id, token_hash=token_hash(token), surface=surface, address=address[:64], agent=agent[:256],
            created_at=w.now, last_seen_at=w.now, expires_at=w.now + ABSOLUTE,
        )  # fmt: skip
        w.db.add(session)
        w.db.flush()
        w.actor = _actor(row, session, anonymous.source, address)
        w.audit("auth.login", "user", row.id, row.name)
        view = user_view(row)
    return SignedIn(
        token=token,
        user=view,
        expires_at=session.expires_at,
        previous_login_at=previous_at,
        previous_login_from=previous_from,
    )


def _find(w: Work, name: str) -> models.User | None:
    key = name.strip().casefold()
    return w.db.exec(
        select(models.User).where(or_(col(models.User.name) == key, func.lower(models.User.email) == key))
    ).first()


def _count_failure(hub: Hub, anonymous: Actor, user_id: UUID | None, name: str) -> None:
    with hub.work(anonymous, wait_ms=0) as w:
        if user_id is not None:
            row = w.db.get_one(models.User, user_id, with_for_update=True)
            row.failures += 1
            if row.failures >= _HARD_STOP:
                row.locked_until = w.now + timedelta(days=3650)
            elif row.failures >= _FREE_FAILURES:
                row.locked_until = w.now + min(
                    timedelta(hours=1), timedelta(seconds=30 * 2 ** (row.failures - _FREE_FAILURES))
                )
        w.audit("auth.login", "user", user_id, name[:64], result="failure")


@public("it is how an actor becomes known")
def resume(hub: Hub, token: str, *, source: Surface, address: str = "", activity: bool = True) -> Actor:
    """The actor of a session token, or ``SignIn`` when it ended: idle 15 minutes, 12 hours old, revoked, disabled.

    ``activity=False`` (a screen that refreshes by itself) does not keep a session alive.
    """
    over = SignIn("The session has ended.", hint="Sign in again.")
    anonymous = Actor(name="-", role="viewer", source=source, address=address)
    with hub.work(anonymous, wait_ms=0) as w:
        found = w.db.exec(
            select(models.Session, models.User)
            .join(models.User, col(models.User.id) == models.Session.user_id)
            .where(models.Session.token_hash == token_hash(token))
        ).first()
        if found is None:
            raise over
        session, user = found
        ended = session.revoked_at is not None or session.expires_at <= w.now or session.last_seen_at + IDLE <= w.now
        if ended or not user.enabled:
            raise over
        if activity and w.now - session.last_seen_at > _SEEN_EVERY:
            session.last_seen_at = w.now
        return _actor(user, session, source, address)


@public("the operating system has said who it is: root owns this machine and its database anyway")
def local_actor(source: Literal["cli", "local", "tui"] = "local") -> Actor:
    """The root user of this machine, audited as ``root@HOST``."""
    return Actor(name=f"root@{socket.gethostname()}", role="super_admin", source=source)


@needs("self.session")
def sign_out(w: Work) -> None:
    """End the actor's own session; its token is dead when this commits."""
    if w.actor.session_id is None:
        return
    w.audit("auth.logout", "user", w.actor.user_id, w.actor.name)
    w.db.get_one(models.Session, w.actor.session_id).revoked_at = w.now


@needs("self.session")
def sessions(w: Work) -> list[SessionView]:
    """The actor's own live sessions, newest first."""
    rows = w.db.exec(
        select(models.Session)
        .where(models.Session.user_id == w.actor.user_id, col(models.Session.revoked_at).is_(None))
        .where(models.Session.expires_at > w.now, models.Session.last_seen_at > w.now - IDLE)
        .order_by(col(models.Session.created_at).desc())
    ).all()
    return [
        SessionView(id=r.id, surface=r.surface, address=r.address, created_at=r.created_at, last_seen_at=r.last_seen_at, current=r.id == w.actor.session_id)
        for r in rows
    ]  # fmt: skip


@public("the screen is locked: the password is what is being asked for")
def unlock_screen(hub: Hub, actor: Actor, password: str) -> SignedIn:
    """Sign the same user in again after the idle lock; the old session is revoked."""
    fresh = sign_in(hub, actor.name, password, surface="tui", address=actor.address)
    if actor.session_id is not None:
        with hub.work(actor, wait_ms=0) as w:
            w.db.get_one(models.Session, actor.session_id).revoked_at = w.now
    return fresh


class SessionView(View):
    """A session as its owner sees it; ``current`` is the one that asks."""

    id: UUID
    surface: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    current: bool


def _actor(
    user: models.User,
    session: models.Session,
    source: Literal["tui", "cli", "web", "api", "agent", "local"],
    address: str,
) -> Actor:
    return Actor(
        name=user.name, role=UserView.model_validate(user, from_attributes=True).role, source=source,
        user_id=user.id, session_id=session.id, address=address,
    )  # fmt: skip


@public("a pure function of its argument")
def user_view(user: models.User) -> UserView:
    """A user as the surfaces see one, without hash and counters."""
    return UserView.model_validate(user, from_attributes=True)


seal(__name__)
