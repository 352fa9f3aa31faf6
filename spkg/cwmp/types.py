"""The types of arguments and parameters: text in the one form that each value has (Tables 6, 60).

A value stays text.  Two texts that mean the same have the same canonical form, so comparing them is comparing
values.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal, cast

from spkg.common.hostile_xml import XML_BLANKS, XML_BOOLEANS
from spkg.common.times import read_time, write_time
from spkg.cwmp.faults import FaultCode
from spkg.errors import FormatError

__all__ = [
    "MAX_UNSTATED",
    "NO_TIME",
    "CwmpType",
    "WrongTypeError",
    "WrongValueError",
    "read_cwmp_time",
    "read_type",
    "write_boot_time",
    "write_cwmp_time",
]

MAX_UNSTATED: Final = 64 << 10
"""The longest string or base64 without a stated length, in characters."""
NO_TIME: Final = "0001-01-01T00:00:00Z"
"""No time, as later editions write it; the schema does not take the 0000-00-00 of 2004."""
FORM: Final = re.compile(
    r"(?P<base>string|int|unsignedInt|boolean|dateTime|base64)"
    r"(?:\((?P<length>\d{1,7})(?P<kilo>K?)\)|\[(?P<least>-?\d{1,10})?:(?P<most>-?\d{1,10})?\]"
    r"|\{(?P<choices>[^{}]*)\})?",
    re.ASCII,
)
"""How a type is written; which part goes with which base is checked afterwards."""
RANGES: Final = {"int": (-(1 << 31), (1 << 31) - 1), "unsignedInt": (0, (1 << 32) - 1)}
WHOLE_NUMBER: Final = re.compile(r"[+-]?\d{1,64}", re.ASCII)
NOT_KNOWN: Final = re.compile(
    r"000[01]-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,20})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII
)
"""A time of no calendar: none at all, or since boot, in the form of 2004 or of later editions (A.2.1)."""
VALUE_SHOWN: Final = 40
"""How many characters of a wrong value are shown."""
BLANKS: Final = dict.fromkeys(map(ord, XML_BLANKS))

Base = Literal["string", "int", "unsignedInt", "boolean", "dateTime", "base64"]


class WrongTypeError(FormatError):
    """A text that is not of its type."""

    CODE: ClassVar[FaultCode] = FaultCode.INVALID_TYPE


class WrongValueError(FormatError):
    """A value that its type does not allow: out of range, too long, or none of its alternatives."""

    CODE: ClassVar[FaultCode] = FaultCode.INVALID_VALUE


@dataclass(frozen=True)
class CwmpType:
    """A type of Table 6 or 60, as :func:`read_type` reads it."""

    base: Base
    least: int | None = None
    """The smallest number."""
    most: int | None = None
    """The largest number, or the most characters."""
    choices: tuple[str, ...] = ()
    """The strings of an enumeration."""

    def __str__(self) -> str:
        if self.choices:
            return f"{self.base}{{{'|'.join(self.choices)}}}"
        if self.base in RANGES:
            ends = ("" if end is None else str(end) for end in (self.least, self.most))
            return self.base if self.least is self.most is None else f"{self.base}[{':'.join(ends)}]"
        return self.base if self.most is None else f"{self.base}({self.most})"

    @property
    def xsd(self) -> str:
        """The type for an xsi:type, with the prefix ``xsd`` or ``soapenc``."""
        return f"{'soapenc' if self.base == 'base64' else 'xsd'}:{self.base}"

    def read(self, text: str) -> str:
        """Return the canonical form of a value.

        Raises:
            WrongTypeError: The text is not of this type (9006).
            WrongValueError: It is, but not one of its values (9007).
        """
        match self.base:
            case "string":
                return self._read_string(text)
            case "int" | "unsignedInt":
                return self._read_number(text)
            case "boolean":
                found = XML_BOOLEANS.get(text.strip(XML_BLANKS))
                if found is None:
                    raise WrongTypeError(f"expected a boolean, 0 or 1, got {_shown(text)}")
                return "1" if found else "0"
            case "dateTime":
                return write_cwmp_time(read_cwmp_time(text))
            case "base64":
                return self._read_base64(text)

    def _read_string(self, text: str) -> str:
        if self.choices:
            if text not in self.choices:
                raise WrongValueError(f"expected {' or '.join(self.choices)}, got {_shown(text)}")
        elif len(text) > self._length:
            raise WrongValueError(f"expected at most {self._length} characters, got {len(text)}")
        return text

    def _read_number(self, text: str) -> str:
        if WHOLE_NUMBER.fullmatch(text.strip(XML_BLANKS)) is None:
            raise WrongTypeError(f"expected an integer, got {_shown(text)}")
        number = int(text)
        least, most = RANGES[self.base]
        least = least if self.least is None else self.least
        most = most if self.most is None else self.most
        if not least <= number <= most:
            raise WrongValueError(f"expected {least} to {most}, got {_shown(str(number))}")
        return str(number)

    def _read_base64(self, text: str) -> str:
        try:
            canonical = b64encode(b64decode(text.translate(BLANKS), validate=True)).decode()
        except ValueError as exc:
            raise WrongTypeError("must be base64") from exc
        if len(canonical) > self._length:
            raise WrongValueError(
                f"expected at most {self._length} characters of base64, got {len(canonical)}"
            )
        return canonical

    @property
    def _length(self) -> int:
        return MAX_UNSTATED if self.most is None else self.most


def read_type(form: str) -> CwmpType:
    """Return the type that is written as in the tables: ``string(64)``, ``int[0:2]``, ``unsignedInt[1:]``.

    The length may be in thousands, ``string(32K)``, which are of 1024.  A string that is an enumeration has
    its alternatives in braces, ``string{Up|Down}``.

    Raises:
        FormatError: It is no such type, or one without values.
    """
    found = FORM.fullmatch(form)
    if found is None:
        problem = f"expected a type such as string(64), int[0:2] or boolean, got {_shown(form)}"
        raise FormatError(problem, section="A.2.1, Table 6")
    base = cast("Base", found["base"])
    numeric = base in RANGES
    has_length, has_range = found["length"] is not None, form.endswith("]")
    choices = () if found["choices"] is None else tuple(found["choices"].split("|"))
    if (
        (has_length and base not in {"string", "base64"})
        or (has_range and not numeric)
        or (found["choices"] is not None and base != "string")
    ):
        raise FormatError(f"{base} has no {form.removeprefix(base)[:VALUE_SHOWN]}", section="A.2.1, Table 6")
    if "" in choices or len({*choices}) < len(choices):
        raise FormatError(f"{form[:VALUE_SHOWN]}: each alternative must have characters, and occur once")
    if has_length:
        return CwmpType(base, most=int(found["length"]) << (10 if found["kilo"] else 0))
    least, most = (None if found[end] is None else int(found[end]) for end in ("least", "most"))
    if numeric:
        first, last = RANGES[base]
        smallest, largest = first if least is None else least, last if most is None else most
        if not first <= smallest <= largest <= last:
            raise FormatError(
                f"{form[:VALUE_SHOWN]}: expected a range within {first} to {last}", section="A.2.1"
            )
    return CwmpType(base, least, most, choices)


def read_cwmp_time(text: str) -> datetime | None:
    """Return the time that a dateTime states, in UTC and without fractions of a second.

    Returns:
        None if the text stands for no time, or for one since boot.

    Raises:
        WrongTypeError: It is no dateTime.
    """
    text = text.strip(XML_BLANKS)
    if NOT_KNOWN.fullmatch(text):
        return None
    try:
        return read_time(text)
    except ValueError as exc:
        raise WrongTypeError(str(exc), section="A.2.1") from exc


def write_cwmp_time(time: datetime | None) -> str:
    """Return a time as a dateTime in UTC; None is no time.

    Raises:
        ValueError: It has no zone, so it is ambiguous.
    """
    return NO_TIME if time is None else write_time(time)


def write_boot_time(seconds: float) -> str:
    """Return a time since boot, for a device without a clock: 0001-01-03T03:04:05 is two days and more."""
    return (datetime(1, 1, 1) + timedelta(seconds=int(seconds))).isoformat()  # noqa: DTZ001 - of no calendar


def _shown(text: str) -> str:
    return f"{text[:VALUE_SHOWN]!r}"
