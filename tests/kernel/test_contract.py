"""The port's contract, over every backend that this machine has. Run in QEMU for kernel WireGuard."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from nexushub.errors import Foreign, KernelError
from nexushub.kernel.local import LocalKernel
from nexushub.kernel.port import CreateLink, RemovePeer, SetMtu, SetPeer
from nexushub.kernel.values import Cidr, Endpoint, InterfaceSpec, PeerSpec
from nexushub.reconcile import plan
from tests.fix_kernel import Namespace, run, snapshot, wg_dump
from tests.kernel.specs import OTHER, hub, many, peer, public_key, secret_key
from tests.kernel.truth import check, check_device, check_link, converge

A, B = Endpoint("192.0.2.1", 1111), Endpoint("2001:db8::2", 2222)

Vary = Callable[[InterfaceSpec, object], InterfaceSpec]


def _one(spec: InterfaceSpec, **fields: object) -> InterfaceSpec:
    """The specification with its peer 1 changed."""
    first = replace(spec.peers[public_key(1)], **fields)  # type: ignore[arg-type]  # one table for all fields
    return replace(spec, peers={**spec.peers, first.public_key: first})


def _peers(spec: InterfaceSpec, peers: object) -> InterfaceSpec:
    assert isinstance(peers, tuple)
    return replace(spec, peers={one.public_key: one for one in peers})


def _field(name: str) -> Vary:
    return lambda spec, value: replace(spec, **{name: value})  # type: ignore[arg-type]  # one table for all fields


def _peer_field(name: str) -> Vary:
    return lambda spec, value: _one(spec, **{name: value})


X, Y, Z = "10.99.1.0/24", "10.99.2.0/24", "fd99:3::/48"
FIELDS: dict[str, tuple[Vary, Sequence[object]]] = {
    "private_key": (_field("private_key"), [secret_key(1), secret_key(2)]),
    "listen_port": (_field("listen_port"), [47101, 47102]),
    "mtu": (_field("mtu"), [1420, 1380, 1280]),
    "addresses": (
        _field("addresses"),
        [
            (),
            ("10.77.0.1/16",),
            ("10.77.0.1/24",),
            ("10.77.0.2/16",),
            ("10.77.0.1/16", "10.77.0.2/16"),
            ("fd77::1/64",),
            ("fd77::1/48",),
            ("10.77.0.1/16", "fd77::1/64"),
        ],
    ),
    "routes": (_field("routes"), [(), (X,), (Y,), (X, Y, Z), ("0.0.0.0/0", "::/0")]),
    "preshared_key": (_peer_field("preshared_key"), [None, secret_key(7), secret_key(8)]),
    "keepalive": (_peer_field("keepalive"), [0, 25, 65535]),
    "allowed_ips": (_peer_field("allowed_ips"), [(), (X,), (Y,), (X, Y), (X, Y, Z), ("0.0.0.0/0", "::/0")]),
    "presence": (_peers, [(), (peer(1, X),), (peer(2, X),), (peer(1, X), peer(2, Y)), (peer(2, Y), peer(3))]),
    "handover": (
        _peers,
        [
            (peer(1, X), peer(2)),
            (peer(1), peer(2, X)),
            (peer(1, X), peer(2, Y)),
            (peer(1, Y), peer(2, X)),
            (peer(1, X, Y, Z), peer(2)),
            (peer(1), peer(2, X, Y, Z)),
            (peer(1, X, Z), peer(2, Y)),
        ],
    ),
}


LINK_FIELDS = ("mtu", "addresses", "routes")
"""Fields that ``ip`` witnesses; ``wg`` the others. In emulation each costs half a second to ask."""


def _walk(count: int) -> list[int]:
    """A walk over states 0 to count - 1 that takes every ordered pair of them exactly once: an Euler circuit."""
    ways = {state: [other for other in range(count) if other != state] for state in range(count)}
    stack, walk = [0], []
    while stack:
        if ways[stack[-1]]:
            stack.append(ways[stack[-1]].pop())
        else:
            walk.append(stack.pop())
    return walk[::-1]


def test_the_walk_takes_every_ordered_pair_once() -> None:
    for count in range(2, 9):
        steps = list(itertools.pairwise(_walk(count)))
        assert sorted(steps) == list(itertools.permutations(range(count), 2))


@pytest.mark.parametrize("field", FIELDS)
def test_every_ordered_pair_of_states_converges(field: str, kernel: LocalKernel, namespace: Namespace) -> None:
    vary, states = FIELDS[field]
    base = hub(namespace.link_name(), peer(1, "10.77.0.2/32"))
    walk = _walk(len(states))
    for state in walk:
        desired = vary(base, states[state])
        converge(kernel, desired)
        (check_link if field in LINK_FIELDS else check_device)(desired)
    check(vary(base, states[walk[-1]]))
    print(f"{field}: {len(walk) - 1} ordered pairs, 0 wrong")


@pytest.mark.parametrize(("before", "after"), itertools.product([None, A, B], repeat=2))
def test_an_endpoint_is_dialled_first_and_roams_freely(
    before: Endpoint | None, after: Endpoint | None, kernel: LocalKernel, namespace: Namespace
) -> None:
    name = namespace.link_name()
    converge(kernel, hub(name, peer(1, endpoint=before)))
    changed = hub(name, peer(1, endpoint=after))
    unasked = converge(kernel, changed).peers[public_key(1)].endpoint
    assert unasked == (before or after), "only a device that knows no endpoint takes the configured one by itself"
    asked = converge(kernel, changed, redial=[public_key(1)]).peers[public_key(1)].endpoint
    assert asked == (after or before), "a peer keeps its last endpoint: WireGuard has no way to clear it"
    assert wg_dump(name)[1][str(public_key(1))]["endpoint"] == (None if asked is None else str(asked))


@pytest.mark.parametrize("count", [1, 21, 22, 90, 91, 1000, 10_000])
def test_many_peers(count: int, kernel: LocalKernel, namespace: Namespace) -> None:
    desired = hub(namespace.link_name(), *many(count))
    converge(kernel, desired)
    check(desired)
    some = list(desired.peers)[:: max(count // 7, 1)]
    read = kernel.observe_peers(desired.name, [*some, public_key(99_999)])
    assert list(read) == some
    for key in some:
        spec, state = desired.peers[key], read[key]
        assert (spec.allowed_ips, spec.preshared_key, spec.keepalive) == (
            state.allowed_ips,
            state.preshared_key,
            state.keepalive,
        )
    sampled = kernel.sample(desired.name)
    assert {key: entry.endpoint for key, entry in sampled.items()} == {
        key: spec.endpoint for key, spec in desired.peers.items()
    }


@pytest.mark.parametrize("count", [499, 500, 501, 1001, 3000])
def test_one_peer_with_more_allowed_ips_than_a_message_holds(
    count: int, kernel: LocalKernel, namespace: Namespace
) -> None:
    networks = [f"10.{number // 256}.{number % 256}.0/24" for number in range(count)]
    desired = hub(namespace.link_name(), peer(1, *networks), peer(2, "fd99::/64"), addresses=())
    converge(kernel, desired)
    check(desired)
    fewer = hub(desired.name, peer(1, *networks[::2]), peer(2, "fd99::/64", *networks[1::2]), addresses=())
    converge(kernel, fewer)
    check(fewer)


def test_allowed_ips_compare_as_the_device_writes_them(kernel: LocalKernel, namespace: Namespace) -> None:
    """Spellings in which libraries differ: ::/96, one zero group, a long run of zeros, the default routes."""
    networks = ["::102:304/128", "fd00:0:1:2:3:4:5:6/128", "fd00:0:0:1::/64", "::/0", "0.0.0.0/0", "::1:0:0/96"]
    desired = hub(namespace.link_name(), peer(1, *networks))
    assert converge(kernel, desired).peers[public_key(1)].allowed_ips == tuple(sorted(networks))


def test_a_peer_removed_meanwhile_does_not_come_back(kernel: LocalKernel, namespace: Namespace) -> None:
    desired = hub(namespace.link_name(), peer(1, X), peer(2, Y))
    converge(kernel, desired)
    changed = plan(hub(desired.name, peer(1, X, psk=5), peer(2, Y)), kernel.observe(desired.name))
    run("wg", "set", desired.name, "peer", str(public_key(1)), "remove")
    kernel.apply(changed)
    assert set(wg_dump(desired.name)[1]) == {str(public_key(2))}


def test_changes_made_by_hand_are_undone(kernel: LocalKernel, namespace: Namespace) -> None:
    desired = hub(namespace.link_name(), peer(1, X, psk=3), peer(2, Y, keepalive=25), routes=(X,))
    converge(kernel, desired)
    name, one, rogue = desired.name, str(public_key(1)), str(public_key(66))
    for command in (
        ["wg", "set", name, "peer", one, "allowed-ips", Z, "preshared-key", "/dev/null"],
        ["wg", "set", name, "peer", rogue, "allowed-ips", f"{X},{Y}"],
        ["wg", "set", name, "listen-port", "47900"],
        ["ip", "link", "set", name, "mtu", "1300"],
        ["ip", "address", "add", "10.66.0.1/24", "dev", name],
        ["ip", "address", "delete", "fd77::1/64", "dev", name],
        ["ip", "route", "delete", X, "dev", name],
        ["ip", "route", "add", Y, "dev", name, "proto", "78"],
        ["ip", "link", "set", name, "down"],
    ):
        run(*command)
    assert plan(desired, kernel.observe(name))[0] == RemovePeer(name, public_key(66)), "a rogue peer goes first"
    converge(kernel, desired)
    check(desired)


# -- what is not ours


def _foreign_things(name: str) -> None:
    """A link, an address, routes, nft and tc that somebody else made."""
    run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    run("ip", "address", "add", "10.55.0.1/24", "dev", name)
    run("ip", "link", "set", name, "up")
    run("ip", "route", "add", "10.56.0.0/24", "dev", name)
    run("ip", "route", "add", "10.57.0.0/24", "dev", name, "proto", "78")
    run("nft", "-f", "-", input_text="table inet theirs { chain c { type filter hook forward priority 0; }; }\n")
    run("tc", "qdisc", "add", "dev", name, "clsact")
    run("tc", "filter", "add", "dev", name, "ingress", "bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1")


def test_what_others_made_is_not_touched(kernel: LocalKernel, namespace: Namespace) -> None:
    _foreign_things("theirs0")
    run("ip", "route", "add", "unreachable", "10.58.0.0/24")
    desired = hub(namespace.link_name(), peer(1, X), routes=(X, Z))
    before = snapshot()
    for _ in range(3):
        converge(kernel, desired)
        converge(kernel, hub(desired.name, peer(2, Y), port=47111, addresses=("10.78.0.1/24",), routes=(Y,)))
        kernel.apply(plan(None, kernel.observe(desired.name)))
        assert kernel.observe(desired.name) is None
    assert snapshot() == before


def test_routes_of_others_on_our_link_stay(kernel: LocalKernel, namespace: Namespace) -> None:
    desired = hub(namespace.link_name(), peer(1, X), routes=(X,))
    converge(kernel, desired)
    run("ip", "route", "add", "10.59.0.0/24", "dev", desired.name)
    run("tc", "qdisc", "add", "dev", desired.name, "clsact")
    converge(kernel, replace(desired, routes=(Cidr(Y),)))
    assert "10.59.0.0/24" in run("ip", "route", "show", "dev", desired.name)
    assert "clsact" in run("tc", "qdisc", "show", "dev", desired.name)


def test_a_route_that_others_set_is_not_replaced(kernel: LocalKernel, namespace: Namespace) -> None:
    _foreign_things("theirs0")
    before = run("ip", "-j", "route", "show")
    desired = hub(namespace.link_name(), addresses=(), routes=("10.56.0.0/24",))
    with pytest.raises(KernelError, match=r"add route 10\.56\.0\.0/24") as caught:
        kernel.apply(plan(desired, None))
    assert "remove it" in caught.value.hint
    assert run("ip", "-j", "route", "show") == before


def _foreign_wireguard(kind: str, name: str) -> None:
    """A WireGuard link with a peer that an administrator made by hand."""
    if kind == "netlink":
        run("ip", "link", "add", name, "type", "wireguard")
    else:
        run("wireguard-go", name)
    run("wg", "set", name, "listen-port", "47555", "peer", str(public_key(9)), "allowed-ips", X)


def test_a_foreign_wireguard_link_is_refused_and_left_alone(
    backend: str, kernel: LocalKernel, namespace: Namespace
) -> None:
    name = namespace.link_name()
    _foreign_wireguard(backend, name)
    before = (snapshot(), wg_dump(name))
    observed = kernel.observe(name)
    assert observed is not None
    assert observed.owner is None
    assert set(observed.peers) == {public_key(9)}
    assert kernel.owned() == {}
    assert plan(None, observed) == [], "a foreign link is never planned to be deleted"
    for operations in (
        plan(hub(name, peer(1, Y)), observed),
        [SetMtu(name, 1300)],
        [RemovePeer(name, public_key(9))],
        [SetPeer(name, public_key(9), ())],
    ):
        with pytest.raises(Foreign):
            kernel.apply(operations)
    assert (snapshot(), wg_dump(name)) == before


def test_a_foreign_link_of_another_kind_is_refused(kernel: LocalKernel, namespace: Namespace) -> None:
    name = namespace.link_name()
    run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    before = snapshot()
    observed = kernel.observe(name)
    assert observed is not None
    assert (observed.kind, observed.owner, observed.private_key, observed.peers) == ("veth", None, None, {})
    with pytest.raises(Foreign):
        kernel.apply(plan(hub(name), observed))
    assert snapshot() == before


# -- links


def test_a_link_of_a_deleted_interface_is_found_and_replaced(kernel: LocalKernel, namespace: Namespace) -> None:
    old = hub(namespace.link_name(), peer(1, X), owner=OTHER)
    converge(kernel, old)
    assert kernel.owned() == {old.name: OTHER}
    new = hub(old.name, peer(2, Y))
    converge(kernel, new)
    check(new)
    assert kernel.owned() == {new.name: new.id}
    kernel.apply(plan(replace(new, up=False), kernel.observe(new.name)))
    assert kernel.owned() == {}


def test_making_a_link_twice_is_once(kernel: LocalKernel, namespace: Namespace) -> None:
    name = namespace.link_name()
    desired = hub(name, peer(1, X))
    converge(kernel, desired)
    index = json.loads(run("ip", "-j", "link", "show", name))[0]["ifindex"]
    kernel.apply([CreateLink(name, desired.id)])
    assert json.loads(run("ip", "-j", "link", "show", name))[0]["ifindex"] == index
    check(desired)


def test_the_filter_attaches_before_the_link_is_up(backend: str, kernel: LocalKernel, namespace: Namespace) -> None:
    seen: list[tuple[str, bool]] = []

    def attach(name: str) -> None:
        seen.append((name, "UP" in json.loads(run("ip", "-j", "link", "show", name))[0]["flags"]))

    kernel.before_up = attach
    desired = hub(namespace.link_name(), peer(1, X))
    converge(kernel, desired)
    assert seen == [(desired.name, False)]


def test_a_filter_that_fails_leaves_the_link_down(kernel: LocalKernel, namespace: Namespace) -> None:
    def attach(name: str) -> None:
        raise KernelError("attach filter", name, "no")

    kernel.before_up = attach
    desired = hub(namespace.link_name(), routes=(X,))
    with pytest.raises(KernelError, match="attach filter"):
        kernel.apply(plan(desired, None))
    observed = kernel.observe(desired.name)
    assert observed is not None
    assert not observed.up


# -- refusals


def test_a_port_in_use_is_named_and_the_hub_stays_reachable(kernel: LocalKernel, namespace: Namespace) -> None:
    first, second = (hub(namespace.link_name(), port=port, addresses=()) for port in (47301, 47302))
    converge(kernel, first)
    converge(kernel, second)
    with pytest.raises(KernelError, match="in use") as caught:
        kernel.apply(plan(replace(second, listen_port=47301), kernel.observe(second.name)))
    assert caught.value.errno == 98
    assert wg_dump(second.name)[0]["listen_port"] == 47302
    assert ":47302" in run("ss", "-uln")


def test_a_refused_peer_is_named_among_others(kernel: LocalKernel, namespace: Namespace) -> None:
    desired = hub(namespace.link_name())
    converge(kernel, desired)
    bad = replace(peer(2, X), allowed_ips=(Cidr("10.0.0.0/99"),))
    peers: list[PeerSpec] = [peer(1, Y), bad, peer(3, Z)]
    with pytest.raises(KernelError) as caught:
        kernel.apply([SetPeer(desired.name, one.public_key, one.allowed_ips) for one in peers])
    assert (caught.value.op, caught.value.target, caught.value.errno) == ("set peer", str(public_key(2)), 22)
    assert str(public_key(1)) in wg_dump(desired.name)[1], "what came before the refused one stays"


def test_peers_of_a_link_that_is_gone(kernel: LocalKernel, namespace: Namespace) -> None:
    name = namespace.link_name()
    assert kernel.observe(name) is None
    assert kernel.observe_peers(name, [public_key(1)]) == {}
    assert kernel.sample(name) == {}
    with pytest.raises(KernelError, match="does not exist"):
        kernel.apply([SetPeer(name, public_key(1))])
