"""What reaches the ACS, whether the clock is set or not: its files are read before rights are given up."""

from collections.abc import Callable

from spkg.agent.client import AcsClient
from spkg.agent.settings import AcsSettings, BeforeBootClock

__all__ = ["clients_of"]


def clients_of(
    settings: AcsSettings, clock: Callable[[], float], has_clock: Callable[[], bool]
) -> Callable[[], AcsClient]:
    """Return what gives the client for a clock that is set, or is not; all files are read now.

    Args:
        settings: How the ACS is reached.
        clock: Returns the time in seconds; it never jumps.
        has_clock: Whether the clock of the device is set.

    Raises:
        HostError: A file of the settings is not valid.
        OSError: One can't be read.
    """
    usual = AcsClient(settings, clock)
    usual.load()
    if settings.before_boot_clock is not BeforeBootClock.IGNORE_DATES:
        return lambda: usual
    without_dates = AcsClient(settings, clock, ignore_dates=True)
    without_dates.load()
    return lambda: usual if has_clock() else without_dates
