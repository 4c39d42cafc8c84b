"""What the device must be after an apply, checked against ``wg`` and ``ip``, not against our own reading."""

from __future__ import annotations

from collections.abc import Collection

from nexushub.kernel.local import LocalKernel
from nexushub.kernel.values import InterfaceSpec, InterfaceState, Key
from nexushub.reconcile import differences, plan
from tests.fix_kernel import ip_link, ip_routes, wg_dump


def converge(kernel: LocalKernel, desired: InterfaceSpec, redial: Collection[Key] = ()) -> InterfaceState:
    """Observe, plan, apply, and require that a second pass sends nothing."""
    kernel.apply(plan(desired, kernel.observe(desired.name), redial=redial))
    observed = kernel.observe(desired.name)
    assert plan(desired, observed) == []
    assert observed is not None
    assert differences(desired, observed) == []
    return observed


def check_device(desired: InterfaceSpec) -> None:
    """Compare what ``wg`` shows with the specification. Endpoints roam and are not in it."""
    device, peers = wg_dump(desired.name)
    assert device == {"private_key": desired.private_key.reveal(), "listen_port": desired.listen_port}
    assert set(peers) == {str(key) for key in desired.peers}
    for key, spec in desired.peers.items():
        seen = peers[str(key)]
        assert seen["allowed_ips"] == tuple(sorted(spec.allowed_ips)), f"allowed IPs of {key}"
        assert seen["preshared_key"] == (spec.preshared_key and spec.preshared_key.reveal()), f"PSK of {key}"
        assert seen["keepalive"] == spec.keepalive, f"keepalive of {key}"


def check_link(desired: InterfaceSpec) -> None:
    """Compare what ``ip`` shows with the specification."""
    mtu, addresses = ip_link(desired.name)
    assert mtu == desired.mtu
    assert addresses == tuple(sorted(desired.addresses))
    assert ip_routes(desired.name) == tuple(sorted(desired.routes))


def check(desired: InterfaceSpec) -> None:
    """Compare everything with the specification."""
    check_device(desired)
    check_link(desired)
