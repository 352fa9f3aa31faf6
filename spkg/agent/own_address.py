"""The address that packets to an ACS leave from: asked often, so nothing is looked up each time."""

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from spkg.agent.look_up import LookUp, numeric_addresses
from spkg.download.url import Location

__all__ = ["OwnAddress"]

NAME_LASTS: Final = 60.0
"""For how long the address of an ACS is not looked up again, in seconds."""
NO_NAME_LASTS: Final = 5.0
"""The same where the name could not be looked up."""
RESOLVER_PATIENCE: Final = 2.0
"""For how long the agent waits for a resolver, in seconds."""
OWN_LASTS: Final = 0.5
"""For how long our own address holds: less than the agent waits when it hears of another one."""


class OwnAddress:
    """Finds the address of this device that a server sees.

    Args:
        clock: Gives seconds of a clock that does not jump.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looking: tuple[Any, LookUp | None] = (None, None)
        """The name that is being looked up."""
        self._known: tuple[Any, float, Sequence[Any]] = (None, 0.0, ())
        """The last name that was looked up, until when that holds, and what was found."""
        self._own: tuple[str, float, str | None] = ("", 0.0, None)
        """The last URL for which the address was wanted, until when that holds, and the address."""

    def towards(self, location: Location) -> str | None:
        """Return the address that packets to a server leave from; None where there is no way to it now."""
        known, until, found = self._own
        if known != location.url or self._clock() >= until:
            found = self._seen(location)
            self._own = (location.url, self._clock() + OWN_LASTS, found)
        return found

    def _seen(self, location: Location) -> str | None:
        for family, kind, protocol, _, address in self._addresses(location):
            with suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.connect(address)  # of UDP: nothing is sent
                own: str = probe.getsockname()[0]
                return own.partition("%")[0]
        return None

    def _addresses(self, location: Location) -> Sequence[Any]:
        """Return where packets to a server go."""
        place = (location.host, location.port)
        known, until, found = self._known
        if known != place or self._clock() >= until:
            fresh = numeric_addresses(*place, socket.SOCK_DGRAM) or self._looked_up(place)
            # Without a resolver the way to where the server was shows our address as well.
            found = fresh or (found if known == place else ())
            self._known = (place, self._clock() + (NAME_LASTS if fresh else NO_NAME_LASTS), found)
        return found

    def _looked_up(self, place: tuple[str, int]) -> Sequence[Any]:
        """Return where a name leads; nothing as long as the resolver does not answer, which is asked once."""
        asked, looking = self._looking
        if looking is None or asked != place:
            looking = LookUp(*place, socket.SOCK_DGRAM)
        if not looking.is_over(RESOLVER_PATIENCE):
            self._looking = (place, looking)
            return ()
        self._looking = (None, None)
        with suppress(OSError, UnicodeError):
            return looking.addresses()
        return ()
