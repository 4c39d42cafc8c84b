"""Word from the kernel that some link, address or route changed.

What changed is not read from the message: it is a hint to look, and a look costs milliseconds. Standard library
only; rtnetlink(7) names the groups.
"""

from __future__ import annotations

import errno
import select
import socket

_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR of linux/rtnetlink.h."""


class Watch:
    """A socket that becomes readable when links or addresses change in this network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))
        self._socket.setblocking(False)

    def wait(self, seconds: float) -> bool:
        """Wait for a change, at most so long. True when there was one, also when the kernel lost count of them."""
        readable, _, _ = select.select([self._socket], [], [], seconds)
        return bool(readable) and self.drain()

    def drain(self) -> bool:
        """Read away what has arrived, such as the echo of the caller's own changes."""
        seen = False
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return seen
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the queue ran over: something changed, whatever it was
                    raise
            seen = True

    def close(self) -> None:
        """Give up the socket."""
        self._socket.close()
