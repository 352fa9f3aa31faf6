"""The contents of a voucher: Options for one device (TR-069 Appendix C, Tables 62 and 63).

The types can't hold a value that the tables forbid, so their users need not check again.  The stricter rules
for issuing are in :meth:`Option.check_for_issuing`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from spkg.common.xml_text import check_text
from spkg.cwmp.values import DeviceId
from vouchers.months import Units, end_of

__all__ = [
    "MAX_EXTRA_DEPTH",
    "MAX_VOUCHERS",
    "MAX_VOUCHER_OPTIONS",
    "NAMES",
    "DeviceId",
    "Extra",
    "Mode",
    "Option",
    "Voucher",
]

Extra = tuple[str, "str | tuple[Extra, ...]"]
"""A further element of an Option: its name, and its text or its child elements."""

MAX_VOUCHER_OPTIONS: Final = 64
"""The most Options in one voucher: each needs its own digest."""
MAX_VOUCHERS: Final = 64
"""The most vouchers in one SetVouchers request."""
MAX_DURATION: Final = (1 << 32) - 1
"""The largest unsignedInt."""
MAX_EXTRA: Final = 32
"""The most further elements of an Option, including nested ones."""
MAX_EXTRA_DEPTH: Final = 4
"""The deepest nesting of further elements."""
EXTRA_TEXT: Final = 1024
"""The longest text of a further element, in characters."""
MAX_LONG_TEXT: Final = 256
MAX_SHORT_TEXT: Final = 64
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""The names that a further element may have."""
NAMES: Final = frozenset(
    {
        *("VSerialNum", "DeviceId", "OptionIdent", "OptionDesc", "StartDate"),
        *("Duration", "DurationUnits", "Mode", "Transferable"),
    }
)
"""The elements of Table 62."""


class Mode(Enum):
    """What a voucher does to an Option (Table 62); the values are those on the wire."""

    DISABLE = "Disable"
    WITH_EXPIRATION = "EnableWithExpiration"
    WITHOUT_EXPIRATION = "EnableWithoutExpiration"


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a voucher does to one Option of one device (Table 62)."""

    serial: str
    """VSerialNum: unique among all vouchers of its server."""
    device: DeviceId
    ident: str
    """OptionIdent, its name."""
    description: str
    """OptionDesc."""
    mode: Mode
    start: datetime | None = None
    """StartDate, in UTC; None if it begins when the voucher is applied."""
    duration: int | None = None
    """How long it stays enabled, in *units*; never None with expiration."""
    units: Units | None = None
    """DurationUnits; never None with expiration."""
    transferable: bool = False
    """Whether it stays enabled after a change of provider."""
    extra: tuple[Extra, ...] = ()
    """Further elements, which C.3 allows."""

    def __post_init__(self) -> None:
        check_text("VSerialNum", self.serial, MAX_SHORT_TEXT, least=1)
        check_text("OptionIdent", self.ident, MAX_SHORT_TEXT, least=1)
        check_text("OptionDesc", self.description, MAX_LONG_TEXT)
        if self.start is not None and self.start.tzinfo is None:
            raise ValueError("StartDate: must have a time zone")
        if self.start is not None and (self.start.utcoffset() or self.start.microsecond):
            raise ValueError("StartDate: must be in UTC, to the second")
        if self.duration is not None and not 0 <= self.duration <= MAX_DURATION:
            raise ValueError(f"Duration: must be from 0 to {MAX_DURATION}, got {self.duration}")
        if self.mode is Mode.WITH_EXPIRATION:
            for name, value in (("Duration", self.duration), ("DurationUnits", self.units)):
                if value is None:
                    raise ValueError(f"{name}: required with EnableWithExpiration")
        for name, _ in self.extra:
            if name in NAMES:
                raise ValueError(f"{name!r} is a name of Table 62 and not allowed for a further element")
        count = _check_extra(self.extra, 1)
        if count > MAX_EXTRA:
            raise ValueError(f"expected at most {MAX_EXTRA} further elements, got {count}")

    def check_for_issuing(self) -> None:
        """Raise ``ValueError`` if a field has no meaning in its Mode, or its Duration is 0."""
        enabling = self.mode is not Mode.DISABLE
        if self.start is not None and not enabling:
            raise ValueError("StartDate: has no meaning with Disable")
        for name, value in (("Duration", self.duration), ("DurationUnits", self.units)):
            if value is not None and self.mode is not Mode.WITH_EXPIRATION:
                raise ValueError(f"{name}: has no meaning with {self.mode.value}")
        if self.duration == 0:
            raise ValueError("Duration: must be at least 1, got 0")
        if self.transferable and not enabling:
            raise ValueError("Transferable: has no meaning with Disable")

    def expires(self, applied: datetime) -> datetime | None:
        """Return when it ends; None if it never expires.

        Args:
            applied: When the voucher is applied; the duration counts from then if there is no StartDate.
        """
        if self.mode is not Mode.WITH_EXPIRATION:
            return None
        assert self.duration is not None  # as the constructor has checked
        assert self.units is not None
        return end_of(self.start or applied, self.duration, self.units)


@dataclass(frozen=True, kw_only=True)
class Voucher:
    """Options that are signed together, all for one device."""

    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.options) <= MAX_VOUCHER_OPTIONS:
            raise ValueError(f"expected 1 to {MAX_VOUCHER_OPTIONS} Options, got {len(self.options)}")
        first = self.options[0].device
        if not all(option.device.is_same_device(first) for option in self.options):
            raise ValueError("DeviceId: all Options must be for the same device")

    @property
    def device(self) -> DeviceId:
        """The device that the voucher is for."""
        return self.options[0].device


def _check_extra(extra: tuple[Extra, ...], depth: int) -> int:
    """Return the number of further elements; raise ``ValueError`` if one is invalid."""
    if depth > MAX_EXTRA_DEPTH:
        raise ValueError(f"further elements must be nested at most {MAX_EXTRA_DEPTH} deep")
    count = len(extra)
    for name, inner in extra:
        if NAME.fullmatch(name) is None:
            raise ValueError(f"{name[:40]!r} is not a valid name for a further element")
        if isinstance(inner, str):
            check_text(name, inner, EXTRA_TEXT)
        elif not inner:
            raise ValueError(f"{name}: must contain text or elements")
        else:
            count += _check_extra(inner, depth + 1)
    return count
