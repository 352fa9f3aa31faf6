"""Times of vouchers: always UTC, to the second, and months as the calendar has them.

Appendix C is silent on the length of a month: it ends on the same day of a later month, or on its last day
where that has none such.
"""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

__all__ = ["LAST", "Units", "end_of", "read_time", "write_time"]

LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of all durations: there is no later year in a dateTime of four digits."""
MOMENT: Final = re.compile(
    r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)T"
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.\d{1,20})?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))?",
    re.ASCII,
)
"""An xs:dateTime, with or without a zone, and the form of Figure 5, which has no dashes."""
FARTHEST: Final = 14 * 60
"""How far a zone may be from UTC, in minutes (XML Schema, dateTime)."""


class Units(Enum):
    """What a Duration counts in (Table 62); the values are those on the wire."""

    DAYS = "Days"
    MONTHS = "Months"


def read_time(text: str) -> datetime:
    """Return the time that a dateTime states, in UTC, parts of a second cut off.

    Args:
        text: An xs:dateTime, UTC where it has no zone, or in the form of Figure 5, as ``20021025T12:06:34``.

    Raises:
        ValueError: It is neither, or a time that no calendar has.
    """
    found = MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no dateTime, as 2002-10-25T12:06:34Z is")
    part = {name: int(found[name]) for name in ("year", "month", "day", "hour", "minute", "second")}
    midnight = (part["hour"], part["minute"], part["second"]) == (24, 0, 0)  # the end of a day, in XML Schema
    if midnight:
        part["hour"] = 0
    away = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    if away > timedelta(minutes=FARTHEST) or int(found["minutes"] or 0) > 59:
        raise ValueError(f"{text[:40]!r} has a zone that is none")
    try:
        local = datetime(**part, tzinfo=UTC) + timedelta(days=midnight)
        return local + away if found["sign"] == "-" else local - away
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{text[:40]!r} is a time that no calendar has") from exc


def write_time(time: datetime) -> str:
    """Return a time as an xs:dateTime in UTC.

    Raises:
        ValueError: It has no zone: nobody knows when it is.
    """
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def end_of(start: datetime, duration: int, units: Units) -> datetime:
    """Return when a duration is over that begins at *start*; never later than :data:`LAST`.

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
