"""The ledger of the service: opened when it can be, and whether it could be used when last tried."""

from collections.abc import Callable
from datetime import datetime
from threading import Lock

from spkg.errors import SpkgError
from vouchers.acs.ledger import Ledger

__all__ = ["LedgerAccess"]


class LedgerAccess:
    """One ledger, for many threads.

    Args:
        url: Where it is.
        clock: Returns the current time.
        changed: Called when it goes away, with the reason, or comes back, with None.
    """

    def __init__(
        self, url: str, clock: Callable[[], datetime], changed: Callable[[SpkgError | None], object]
    ) -> None:
        self._url, self._clock, self._changed = url, clock, changed
        self._ledger: Ledger | None = None
        self._lock = Lock()
        self._up: bool | None = None

    def ledger(self, actor: str | None = None) -> Ledger:
        """Return the ledger, for changes of this actor.

        Raises:
            LedgerAwayError: The database can't be reached at the moment.
            HostError: It can't be used.
        """
        with self._lock:
            if self._ledger is None:
                self._ledger = Ledger(self._url, self._clock, create=False, actor="service")
            opened = self._ledger
        return opened if actor is None else opened.on_behalf_of(actor)

    def note(self, problem: SpkgError | None) -> None:
        """Remember whether the ledger could be used."""
        up = problem is None
        if up is not self._up:
            self._up = up
            self._changed(problem)

    def close(self) -> None:
        """Close the ledger."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()
