"""A client of the lab, from its file: runs in the client's namespace, with the file on its standard input.

What ``wg-quick up`` would do, done through NexusHub's own kernel layer. DNS is left alone.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

from nexushub import wgquick
from nexushub.errors import Invalid, KernelError, NexusError
from nexushub.kernel import port
from nexushub.kernel.local import open_kernel
from nexushub.kernel.values import Cidr, Endpoint, PeerSpec, network_of


def operations(link: str, config: str) -> Iterator[port.Operation]:
    """What makes a link of a file. Routes lead to what the client sends into the tunnel, unless the
    network of one of its own addresses leads there already."""
    file = wgquick.parse(config)
    if file.private_key is None:
        raise Invalid("config", "", "it has no PrivateKey")
    yield port.CreateLink(link, uuid4())
    yield port.SetDevice(link, file.private_key, file.listen_port or 0)
    yield port.SetMtu(link, file.mtu or 1420)
    for address in file.addresses:
        yield port.AddAddress(link, address)
    connected = {network_of(address) for address in file.addresses}
    routes: list[Cidr] = []
    for peer in file.peers:
        spec = peer.spec
        yield port.SetPeer(
            link, spec.public_key, spec.allowed_ips, spec.preshared_key, spec.keepalive, _numeric(spec), False
        )
        routes += [network for network in spec.allowed_ips if network not in connected]
    yield port.LinkUp(link)
    for network in routes:
        yield port.AddRoute(link, network)


def _numeric(spec: PeerSpec) -> Endpoint | None:
    """The endpoint as an address: the kernel takes no host names."""
    if spec.endpoint is None:
        return None
    try:
        found = socket.getaddrinfo(spec.endpoint.host, spec.endpoint.port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise KernelError("resolve", spec.endpoint.host, error.strerror or "it has no address") from error
    return Endpoint(str(found[0][4][0]), spec.endpoint.port)


def main(link: str, config: str) -> dict[str, str]:
    """Set up one client's link in the namespace that this process was started in."""
    try:
        steps = list(operations(link, config))
        with closing(open_kernel()) as kernel:
            kernel.apply(steps)
    except NexusError as error:
        return {"error": str(error)}
    return {}


if __name__ == "__main__":
    json.dump(main(sys.argv[1], sys.stdin.read()), sys.stdout)
