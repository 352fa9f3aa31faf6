"""What an init system wants to know of a service: sd_notify, the watchdog, sockets that are open already."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

__all__ = ["ServiceManager"]

FIRST_SOCKET: Final = 3
"""The descriptor of the first socket that systemd hands over."""
MOST_SOCKETS: Final = 16


class ServiceManager:
    """Systemd, or nobody.

    Args:
        environment: The variables of the environment.
        process: The id of the main process, which it has started.
    """

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog = environment.get("WATCHDOG_USEC", "")
        handed = environment.get("LISTEN_FDS", "")
        mine = environment.get("LISTEN_PID", "") in {"", str(process)}
        self._sockets = min(int(handed), MOST_SOCKETS) if handed.isdigit() and mine else 0

    @property
    def watchdog_interval(self) -> float | None:
        """How often it wants to hear that the agent still decides, in seconds: half of its limit."""
        return int(self._watchdog) / 2e6 if self._watchdog.isdigit() and int(self._watchdog) else None

    def sockets(self) -> tuple[socket.socket, ...]:
        """Return the sockets that it has opened for us (LISTEN_FDS)."""
        found = []
        for descriptor in range(FIRST_SOCKET, FIRST_SOCKET + self._sockets):
            with suppress(OSError):
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - it has no name
                found.append(socket.socket(fileno=descriptor))
        return tuple(found)

    def tell(self, *lines: str) -> None:
        """Send lines such as ``READY=1``; without a service manager nothing happens."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # an abstract name
            address = f"\0{address[1:]}"
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(address)
            sender.sendall("\n".join(lines).encode())
