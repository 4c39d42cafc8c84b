"""Which differences the agent repairs at once, and which wait for an administrator.

A difference is drift only if the object had been applied at its present revision: anything else is work not
done yet, such as an apply that was killed half-way. Repaired at once is what lets somebody in or keeps everybody
out: an unknown or revoked peer, a peer or link that vanished, a link that is down, another private key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from nexushub.agent.desired import WantedInterface
from nexushub.agent.report import Held
from nexushub.kernel.values import InterfaceSpec, InterfaceState, Key
from nexushub.reconcile import Difference, differences

AT_ONCE = frozenset({"link", "private_key", "up", "peer", "routes"})


@dataclass(slots=True)
class Verdict:
    """What to leave alone in the plan, and what to write down."""

    leave: set[tuple[Key | None, str]] = field(default_factory=set)
    fresh: list[tuple[Difference, UUID | None, bool]] = field(default_factory=list)
    """New drift: the difference, the peer's row if it has one, and whether it is repaired at once."""
    changed: list[tuple[UUID, str]] = field(default_factory=list)
    """Held items whose observed value moved."""
    gone: list[UUID] = field(default_factory=list)
    """Held items that differ no more, or whose desired value changed."""


def judge(
    wanted: WantedInterface, spec: InterfaceSpec, observed: InterfaceState | None,
    *, settled: Mapping[UUID, int], held: Sequence[Held], ours_before: Collection[Key] = (),
) -> Verdict:  # fmt: skip
    """Sort the differences of one link. Pure.

    ``settled`` has the revision at which each object was last applied. ``held`` are the link's open and ignored
    items. ``ours_before`` are keys that were wanted a moment ago: a peer deleted, re-keyed or expired since is not
    a stranger.
    """
    verdict = Verdict()
    by_key = {p.spec.public_key: p for p in wanted.peers.values()}
    known = {(h.public_key, h.field): h for h in held}
    found = {(d.public_key, d.field): d for d in differences(spec, observed)}
    # A link that is absent or down is (re)built whole: it may be one whose birth was cut short.
    whole = observed is not None and observed.up
    for place, item in known.items():
        difference = found.get(place)
        if not whole or difference is None or difference.desired != item.desired:
            verdict.gone.append(item.id)
            continue
        verdict.leave.add(place)
        if difference.observed != item.observed:
            verdict.changed.append((item.id, difference.observed))
    for place, difference in found.items():
        if place in verdict.leave:
            continue
        peer = by_key.get(difference.public_key) if difference.public_key else None
        if difference.field == "peer" and difference.desired == "absent" and difference.public_key in ours_before:
            continue
        if difference.field == "routes" and (
            ours_before or any(settled.get(p.id, -1) < p.revision for p in by_key.values())
        ):
            continue  # routes follow the peers, which are not settled
        owner, revision = (peer.id, peer.revision) if peer else (wanted.id, wanted.revision)
        if settled.get(owner, -1) < revision:
            continue  # not applied yet: this is the work itself
        at_once = difference.field in AT_ONCE or not whole
        if not at_once:
            verdict.leave.add(place)
        if whole or difference.field == "link":
            verdict.fresh.append((_shown(difference, observed), peer.id if peer else None, at_once))
    return verdict


def _shown(difference: Difference, observed: InterfaceState | None) -> Difference:
    """An unknown peer is shown with its allowed IPs, from which an administrator can adopt it."""
    if (
        difference.field != "peer"
        or difference.desired != "absent"
        or observed is None
        or difference.public_key is None
    ):
        return difference
    state = observed.peers[difference.public_key]
    return Difference(difference.public_key, "peer", "absent", ", ".join(state.allowed_ips) or "no allowed IPs")
