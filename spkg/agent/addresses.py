"""Where connection requests are taken: the ConnectionRequestURL, and the addresses that it can name."""

import fcntl
import socket
import struct
from collections.abc import Callable
from typing import Final

from spkg.agent.settings import ListenerSettings

__all__ = ["RequestAddress", "interface_without_address"]

AUTO_ADDRESS: Final = "auto"
"""The address that packets to the ACS leave from."""
INTERFACE: Final = "interface:"
"""What stands before the name of a network interface."""
GET_ADDRESS: Final = 0x8915
"""The request for the IPv4 address of a network interface (SIOCGIFADDR)."""
LONGEST_INTERFACE: Final = 15
"""The longest name of a network interface, in bytes."""
ADDRESS: Final = slice(20, 24)
"""Where the address is in the answer."""


class RequestAddress:
    """The ConnectionRequestURL, as it is now.

    Args:
        settings: Where connection requests are taken.
        path: The secret path, with its slash.
        address: Returns the address that packets to the ACS leave from; empty while nothing leads there.
    """

    def __init__(self, settings: ListenerSettings, path: str, address: Callable[[], str]) -> None:
        self._settings = settings
        self._address = address
        self.path = path
        self.port: int | None = settings.port
        """The port that is listened on; None where none is."""

    def url(self) -> str:
        """Return it; empty where no requests are taken, or there is no address yet (P34)."""
        if not self.port or self._settings.address is None:  # 0 becomes one when somebody listens
            return ""
        host = self._settings.host
        if host == AUTO_ADDRESS:
            host = self._address()
        elif host.startswith(INTERFACE):
            host = _address_of_interface(host.removeprefix(INTERFACE))
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.path}" if host else ""


def interface_without_address(settings: ListenerSettings) -> str | None:
    """Return the network interface that the ConnectionRequestURL is to name, if it has no address now."""
    name = settings.host.removeprefix(INTERFACE)
    return name if settings.host.startswith(INTERFACE) and not _address_of_interface(name) else None


def _address_of_interface(name: str) -> str:
    """Return the IPv4 address of a network interface; empty while it has none."""
    octets = name.encode()
    if not octets or len(octets) > LONGEST_INTERFACE:
        return ""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            answer = fcntl.ioctl(probe.fileno(), GET_ADDRESS, struct.pack("256s", octets))
    except OSError:
        return ""
    return socket.inet_ntoa(answer[ADDRESS])
