"""Looking up the name of a host, in a thread: a resolver that does not answer is not waited for."""

import socket
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["LookUp", "numeric_addresses"]


def numeric_addresses(host: str, port: int, kind: socket.SocketKind) -> Sequence[Any] | None:
    """Return where a host is whose name is an address, which needs no resolver; None for any other."""
    try:
        return socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None


class LookUp:
    """A name that is being looked up.

    Args:
        host: The name.
        port: The port that each address gets.
        kind: The kind of the sockets that it is for.
    """

    def __init__(self, host: str, port: int, kind: socket.SocketKind) -> None:
        self._found: Sequence[Any] = ()
        self._problem: OSError | UnicodeError | None = None

        def look_up() -> None:
            try:
                self._found = socket.getaddrinfo(host, port, type=kind)
            except (OSError, UnicodeError) as exc:
                self._problem = exc

        self._thread = threading.Thread(target=look_up, name="look-up", daemon=True)
        self._thread.start()

    def is_over(self, seconds: float) -> bool:
        """Wait so long at most; return whether the resolver has answered."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def addresses(self) -> Sequence[Any]:
        """Return what it has answered.

        Raises:
            OSError: There is no such name, or it can't say.
            UnicodeError: It can't be a name.
        """
        if self._problem is not None:
            raise self._problem
        return self._found
