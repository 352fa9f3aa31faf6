"""Durations of vouchers: days, and months of the calendar (Table 62).

Appendix C does not define the length of a month.  Here a duration ends on the same day of a later month, or
on the last day of that month if it is shorter.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

__all__ = [
    "LAST",
    "Units",
    "end_of",
    "span_of",
]

LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The latest end of a duration: a dateTime with a year of four digits can't be later."""


ALL_SECONDS: Final = int((LAST - datetime(1, 1, 1, tzinfo=UTC)).total_seconds())
"""How long all years of four digits are."""


class Units(Enum):
    """The unit of a Duration (Table 62); the values are those on the wire."""

    DAYS = "Days"
    MONTHS = "Months"


def end_of(start: datetime, duration: int, units: Units) -> datetime:
    """Return when a duration that begins at *start* is over; never later than :data:`LAST`.

    Args:
        start: In UTC.
        duration: How many units, 0 or more.
        units: Days of 24 hours, or months of the calendar.
    """
    match units:
        case Units.DAYS:
            days = (LAST - start).days
            return LAST if duration > days else start + timedelta(days=duration)
        case Units.MONTHS:
            years, month = divmod(start.month - 1 + duration, 12)
            if start.year + years > LAST.year:
                return LAST
            _, last = monthrange(start.year + years, month + 1)
            return start.replace(year=start.year + years, month=month + 1, day=min(start.day, last))


def span_of(seconds: int) -> timedelta:
    """Return a time that people state, never longer than all the years that a date can have."""
    return timedelta(seconds=min(seconds, ALL_SECONDS))
