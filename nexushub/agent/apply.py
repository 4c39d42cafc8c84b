"""From the desired state of one link to the kernel, with the read-back that makes "applied" true."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from nexushub.agent.desired import WantedInterface
from nexushub.agent.state import Touched
from nexushub.errors import KernelError
from nexushub.kernel.port import Kernel, SetPeer
from nexushub.kernel.values import InterfaceSpec, InterfaceState, Key, PeerState
from nexushub.reconcile import Leave, differences, plan

log = logging.getLogger(__name__)

_REFUSALS = 20
"""Peers that the kernel may refuse in one pass before the whole link counts as failed."""


@dataclass(slots=True)
class Outcome:
    """What came of one link."""

    operations: int = 0
    failure: str = ""
    """The link's own failure, in the kernel's words."""
    peer_failures: dict[Key, str] = field(default_factory=dict)
    peers: dict[Key, PeerState] = field(default_factory=dict)
    """The peers as read back: all of them, or those asked for."""


def apply_link(
    kernel: Kernel, spec: InterfaceSpec, observed: InterfaceState | None, leave: Leave, redial: Collection[Key] = ()
) -> Outcome:
    """Bring one link to its desired state and read it back.

    A peer that the kernel refuses is left out and the rest goes on: one bad endpoint must not keep 10 000
    peers away.
    """
    out = Outcome()
    refused: set[Key] = set()
    while True:
        trimmed = spec.peers if not refused else {k: p for k, p in spec.peers.items() if k not in refused}
        wanted = InterfaceSpec(
            spec.id, spec.name, spec.private_key, spec.listen_port, spec.addresses, spec.mtu, spec.up, spec.routes, spec.nat, trimmed
        )  # fmt: skip
        operations = plan(wanted, observed, leave=leave, redial=frozenset(redial) - refused)
        try:
            kernel.apply(operations)
        except KernelError as error:
            log.warning("%s", error)
            key = _peer_at_fault(error, operations)
            if key is None or len(refused) >= _REFUSALS:
                out.failure = error.message
                return out
            refused.add(key)
            out.peer_failures[key] = error.message
            observed = kernel.observe(spec.name)
            continue
        out.operations += len(operations)
        break
    if not operations:  # nothing to do is the same as nothing to find
        out.peers = observed.peers if observed else {}
        return out
    state = kernel.observe(spec.name)
    left = [d for d in differences(wanted, state) if (d.public_key, d.field) not in leave]
    for d in left:
        words = f"read back {d.field} as {d.observed}, not {d.desired}"
        if d.public_key is None:
            out.failure = words
        else:
            out.peer_failures[d.public_key] = words
    out.peers = state.peers if state else {}
    return out


def _peer_at_fault(error: KernelError, operations: Collection[object]) -> Key | None:
    for operation in operations:
        if isinstance(operation, SetPeer) and str(operation.public_key) == error.target:
            return operation.public_key
    return None


def apply_peers(kernel: Kernel, wanted: WantedInterface, touched: Touched, seen: dict[Key, PeerState]) -> Outcome:
    """Bring only some peers of a link to their desired state: O(those), and one read-back.

    Planned against what was last read; the read-back afterwards is what counts, and a surprise there makes the
    caller look at the whole link.
    """
    now = time.time()
    active = {p.spec.public_key: p.spec for p in touched.peers if p.active(now)}
    full = wanted.with_peers(active)
    spec = InterfaceSpec(
        full.id, full.name, full.private_key, full.listen_port, full.addresses, full.mtu, full.up, (), full.nat, active
    )
    known = {key: seen[key] for key in touched.keys if key in seen}
    # Only the peers differ between these two: the link itself is not part of this plan.
    state = InterfaceState(
        spec.name, kernel.kind, 0, spec.id, spec.private_key, spec.listen_port, spec.mtu, True, spec.addresses, (), known
    )  # fmt: skip
    out = Outcome()
    operations = plan(spec, state, redial=frozenset(touched.redial) & active.keys())
    try:
        kernel.apply(operations)
    except KernelError as error:
        out.failure = error.message
        return out
    out.operations = len(operations)
    out.peers = kernel.observe_peers(spec.name, touched.keys)
    state.peers = out.peers
    for d in differences(spec, state):
        if d.public_key is not None:
            out.peer_failures[d.public_key] = f"read back {d.field} as {d.observed}, not {d.desired}"
    return out
