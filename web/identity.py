"""Who asks: the root user of this machine by the socket's credentials, anybody else by a session's token.

The gate runs before every route. A route that is not in ``PUBLIC`` answers 401 to whoever is not known, so a new
one can't be open by being forgotten.
"""

from __future__ import annotations

import ipaddress

from flask import g, request

from nexushub.errors import SignIn
from nexushub.services import auth
from nexushub.views import Actor
from web.context import hub

PEER_UID = "nexushub.peer_uid"
"""The environ key for the user id at the unix socket's other end. No header can set it: those begin with HTTP_."""

PUBLIC = {
    "root": "says where the API is",
    "health.health": "says that the process runs, for load balancers",
    "health.ready": "says whether it can serve, for load balancers; no names in it",
    "health.openapi": "the contract, the same for every hub",
    "auth.login": "it is how an identity is got",
}
"""Endpoints that need no identity, each with the reason. Reviewed; a test compares the answers with this list."""


def local_uid() -> int | None:
    """The user id of the process at the other end of the unix socket; None over TCP."""
    uid = request.environ.get(PEER_UID)
    return uid if isinstance(uid, int) else None


def client_address() -> str:
    """Where the request comes from. X-Forwarded-For counts as far as trusted proxies vouch for it, from the right."""
    if (uid := local_uid()) is not None:
        return f"uid:{uid}"
    address = request.remote_addr or ""
    proxies = [ipaddress.ip_network(item) for item in hub().settings.trusted_proxies]
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and _within(address, proxies):
        hop = hops.pop()
        try:
            address = str(ipaddress.ip_address(hop))
        except ValueError:
            break
    return address


def _within(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def identify() -> Actor:
    """The actor of this request, or ``SignIn``.

    A token that is given decides, also for root: who signed in as somebody acts as that account.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    uid = local_uid()
    if scheme.lower() == "bearer" and token.strip():
        source = "api" if uid is None else "cli"
        return auth.resume(hub(), token.strip(), source=source, address=client_address())  # type: ignore[arg-type]  # both are Surfaces
    if uid == 0:
        return auth.local_actor("cli")
    raise SignIn("You are not signed in.", hint="Sign in first: nexushub login.")


def gate() -> None:
    """Know the actor, unless the route is public or does not exist."""
    if request.endpoint is not None and request.endpoint not in PUBLIC:
        g.actor = identify()
