"""What the kernel says when addresses or routes change: nobody has to look again and again (3.2.2)."""

import socket
from contextlib import suppress
from typing import Final

__all__ = ["AddressNews"]

ROUTING: Final = 0
"""The family of messages on links, addresses and routes (NETLINK_ROUTE)."""
GROUPS: Final = 0x10 | 0x40 | 0x100 | 0x400
"""Addresses and routes of IPv4 and IPv6 (RTMGRP_IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE)."""
MESSAGE: Final = 1 << 16
"""More than one message of the kernel, in bytes; what it says is not looked at."""
MAX_MESSAGES: Final = 1000
"""How many are read at once."""


class AddressNews:
    """Is told by the kernel that an address or a route has come or gone.

    Where the system does not let it, it hears nothing.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with suppress(OSError):
            self._socket = socket.socket(socket.AF_NETLINK, kind, ROUTING)
            self._socket.bind((0, GROUPS))

    def fileno(self) -> int | None:
        """Return what becomes readable with news; None where there will be none."""
        return None if self._socket is None else self._socket.fileno()

    def take(self) -> bool:
        """Take the news that have come; return whether there were any."""
        found = False
        if self._socket is not None:
            for _ in range(MAX_MESSAGES):
                try:
                    self._socket.recv(MESSAGE)
                except BlockingIOError:
                    break
                except OSError:  # more came than the kernel kept for us: that is news, too
                    found = True
                    break
                found = True
        return found

    def close(self) -> None:
        """Hear nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
