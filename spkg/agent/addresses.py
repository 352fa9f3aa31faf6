"""The addresses of this device: what a ConnectionRequestURL can name."""

import fcntl
import socket
import struct
from typing import Final

__all__ = ["address_of_interface"]

GET_ADDRESS: Final = 0x8915
"""The request for the IPv4 address of a network interface (SIOCGIFADDR)."""
LONGEST_INTERFACE: Final = 15
"""The longest name of a network interface, in bytes."""
ADDRESS: Final = slice(20, 24)
"""Where the address is in the answer."""


def address_of_interface(name: str) -> str:
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
