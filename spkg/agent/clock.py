"""The clocks and the chance, and whether the clock of a gateway can be relied on: many start in 1970."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from spkg.agent.settings import VoucherClock
from spkg.common.boots import Boot
from spkg.cwmp.schedule import Moment

__all__ = ["EARLIEST", "Outside", "is_synchronized"]

EARLIEST: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""A clock before this has not been set: this program did not exist then."""
TIMEX: Final = 512
"""More than the size of a struct timex, in bytes."""
UNSYNCHRONIZED: Final = 5
"""What adjtimex returns where nothing has set the clock by the network (TIME_ERROR)."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The clocks and the chance, which the agent asks for nowhere else."""

    clock: Callable[[], float]
    """Returns the seconds since 1970, whether they are right or not."""
    boot: Callable[[], Boot]
    """Returns this boot, and how much of it has passed."""
    draw: Callable[[], float]
    """Returns a random number from 0 up to 1."""
    token: Callable[[], str]
    """Returns a random word that nobody can guess, safe in a URL."""
    synchronized: Callable[[], bool]
    """Whether the kernel says that the clock was set by the network."""

    def wall(self) -> float | None:
        """Return the time in seconds since 1970; None if the clock has not been set."""
        seconds = self.clock()
        return seconds if seconds >= EARLIEST.timestamp() else None

    def when(self) -> datetime | None:
        """Return the time; None if the clock has not been set."""
        seconds = self.wall()
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    def moment(self) -> Moment:
        """Return this moment, by both clocks."""
        return Moment(self.wall(), self.boot().seconds)

    def network_time(self, rule: VoucherClock) -> datetime | None:
        """Return the time that counts for vouchers; None if it is not network time (C.2)."""
        return None if rule is VoucherClock.NTP and not self.synchronized() else self.when()


def is_synchronized() -> bool:
    """Whether the kernel says that the clock was set by the network."""
    timex = ctypes.create_string_buffer(TIMEX)  # modes 0: nothing is changed
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (AttributeError, OSError):
        return False
    return state not in {UNSYNCHRONIZED, -1}
