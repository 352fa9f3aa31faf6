"""dateTime as TR-069 writes it: UTC, to the second, and also in the form of Figure 5."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = [
    "read_time",
    "time_since_boot",
    "write_time",
]

MOMENT: Final = re.compile(
    r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)T"
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.\d{1,20})?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))?",
    re.ASCII,
)
"""An xs:dateTime, with or without a zone, and the form of Figure 5, which has no dashes."""
FARTHEST: Final = 14 * 60
"""How far a zone may be from UTC, in minutes (XML Schema, dateTime)."""


def read_time(text: str) -> datetime:
    """Return the time that a dateTime states, in UTC, without fractions of a second.

    Args:
        text: An xs:dateTime, UTC if it has no zone, or the form of Figure 5, such as ``20021025T12:06:34``.

    Raises:
        ValueError: It is neither, or not a valid date and time.
    """
    found = MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a dateTime such as 2002-10-25T12:06:34Z, got {text[:40]!r}")
    part = {name: int(found[name]) for name in ("year", "month", "day", "hour", "minute", "second")}
    midnight = (part["hour"], part["minute"], part["second"]) == (24, 0, 0)  # the end of a day, in XML Schema
    if midnight:
        part["hour"] = 0
    away = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    if away > timedelta(minutes=FARTHEST) or int(found["minutes"] or 0) > 59:
        raise ValueError(f"{text[:40]!r} has an invalid time zone")
    try:
        local = datetime(**part, tzinfo=UTC) + timedelta(days=midnight)
        return local + away if found["sign"] == "-" else local - away
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{text[:40]!r} is not a valid date and time") from exc


def write_time(time: datetime) -> str:
    """Return a time as an xs:dateTime in UTC.

    Raises:
        ValueError: It has no zone, so it is ambiguous.
    """
    if time.tzinfo is None:
        raise ValueError("the time has no zone")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def time_since_boot(seconds: float) -> str:
    """Return a time since boot as a dateTime, for devices without a clock (A.2.1)."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"0000-00-{days:02}T{hours:02}:{minutes:02}:{rest:02}"
