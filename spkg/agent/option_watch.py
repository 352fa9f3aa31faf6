"""What becomes of the Options by itself: with the time, and with another provider (C.2)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from spkg.errors import SpkgError

__all__ = ["OptionWatch", "Options"]

LOOK_AGAIN: Final = 60.0
"""How often to look whether network time has come, or the store can be used again, in seconds."""


class Options(Protocol):
    """The Options of the device; those of vouchers, given by the command line."""

    def answer(self, octets: bytes, now: datetime | None, provisioning_code: str) -> bytes | None:
        """Return the envelope that answers SetVouchers or GetOptions."""
        ...

    def take(self, octets: bytes, now: datetime | None, provisioning_code: str) -> tuple[int, str] | None:
        """Have a voucher take effect; return the fault that SetVouchers would answer."""
        ...

    def options(self, now: datetime | None, provisioning_code: str) -> Sequence[Any]:
        """Return the state of all Options."""
        ...

    def enabled(self, now: datetime | None, provisioning_code: str) -> str:
        """Return EnabledOptions."""
        ...

    def next_change(self, now: datetime, provisioning_code: str) -> datetime | None:
        """Return when the next Option begins or ends."""
        ...

    def observe(self, now: datetime | None, provisioning_code: str) -> None:
        """Store that a time has come, or another provider."""
        ...


class OptionWatch:
    """Looks at the Options when something has come that changes them without a voucher.

    Args:
        options: The Options; None without vouchers.
        time: Returns the network time; None if it is not established.
        code: Returns the ProvisioningCode as it is now.
        note: Called with what has gone wrong.
    """

    def __init__(
        self,
        options: Options | None,
        *,
        time: Callable[[], datetime | None],
        code: Callable[[], str],
        note: Callable[[str], object],
    ) -> None:
        self._options = options
        self._time = time
        self._code = code
        self._note = note
        self._seen: tuple[str | None, bool] | None = None
        """The ProvisioningCode, and whether there was network time, when it was looked last.

        Without a code that look has failed.
        """

    def look(self) -> float | None:
        """Store that this time has come, and this provider; return when to look again, since 1970."""
        if self._options is None:
            return None
        now, code = self._time(), self._code()
        self._seen = (code, now is not None)
        try:
            self._options.observe(now, code)
            due = None if now is None else self._options.next_change(now, code)
        except SpkgError as exc:
            self._note(f"Options: {exc}")
            if now is not None:
                return now.timestamp() + LOOK_AGAIN
            self._seen = (None, False)
            return None
        return None if due is None else due.timestamp()

    @property
    def is_stale(self) -> bool:
        """Whether there is another provider since, or network time for the first time."""
        if self._options is None or self._seen is None:
            return False
        code, timed = self._seen
        return self._code() != code or (not timed and self._time() is not None)

    def again_at(self, boot: float) -> float | None:
        """Return when to see whether there is network time, in seconds since the boot; None if there is."""
        timeless = self._seen is not None and not self._seen[1]
        return boot + LOOK_AGAIN if timeless else None
