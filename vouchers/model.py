"""What a voucher says: Options for one device (TR-069 Appendix C, Tables 62 and 63).

The types hold nothing that the tables forbid, so whoever has one need not look again.  What is stricter for
those who issue than for those who read is :meth:`Option.check_for_issuing`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from vouchers.months import Units, end_of

__all__ = [
    "MAX_EXTRA_DEPTH",
    "MAX_VOUCHERS",
    "MAX_VOUCHER_OPTIONS",
    "NAMES",
    "NOT_XML",
    "DeviceId",
    "Extra",
    "Mode",
    "Option",
    "Voucher",
]

Extra = tuple[str, "str | tuple[Extra, ...]"]
"""A further element of an Option: its name, and its text or the elements in it."""

MAX_VOUCHER_OPTIONS: Final = 64
"""The most Options of one voucher: each costs a digest of its own."""
MAX_VOUCHERS: Final = 64
"""The most vouchers of one SetVouchers."""
MAX_DURATION: Final = (1 << 32) - 1
"""The largest unsignedInt."""
MAX_EXTRA: Final = 32
"""The most further elements of an Option, those within others among them."""
MAX_EXTRA_DEPTH: Final = 4
"""How deep they may be nested."""
EXTRA_TEXT: Final = 1024
"""The most characters of one."""
MAX_LONG_TEXT: Final = 256
MAX_SHORT_TEXT: Final = 64
OUI: Final = re.compile(r"[0-9A-F]{6}", re.ASCII)
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""How a further element may be called."""
NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document can have."""
NAMES: Final = frozenset(
    {
        *("VSerialNum", "DeviceId", "OptionIdent", "OptionDesc", "StartDate"),
        *("Duration", "DurationUnits", "Mode", "Transferable"),
    }
)
"""The elements of Table 62."""


class Mode(Enum):
    """What is to become of an Option (Table 62); the values are those on the wire."""

    DISABLE = "Disable"
    WITH_EXPIRATION = "EnableWithExpiration"
    WITHOUT_EXPIRATION = "EnableWithoutExpiration"


@dataclass(frozen=True, kw_only=True)
class DeviceId:
    """The one device that an Option is for (Table 63)."""

    manufacturer: str
    """For display alone."""
    oui: str
    """Six hexadecimal digits, upper case."""
    product_class: str
    serial_number: str

    def __post_init__(self) -> None:
        _check_text("Manufacturer", self.manufacturer, MAX_SHORT_TEXT)
        if OUI.fullmatch(self.oui) is None:
            raise ValueError("OUI: six upper-case hexadecimal digits belong here")
        _check_text("ProductClass", self.product_class, MAX_SHORT_TEXT)
        _check_text("SerialNumber", self.serial_number, MAX_SHORT_TEXT, least=1)

    def is_same_device(self, other: "DeviceId") -> bool:
        """Whether both are of the same device; who made it is for display alone."""
        return (self.oui, self.product_class, self.serial_number) == (
            other.oui,
            other.product_class,
            other.serial_number,
        )


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is to become of one Option of one device (Table 62)."""

    serial: str
    """VSerialNum: unique among all vouchers of its server."""
    device: DeviceId
    ident: str
    """OptionIdent, its name."""
    description: str
    """OptionDesc."""
    mode: Mode
    start: datetime | None = None
    """StartDate, in UTC; None where it begins when the voucher is applied."""
    duration: int | None = None
    """How long it stays enabled, in *units*; never None with expiration."""
    units: Units | None = None
    """DurationUnits; never None with expiration."""
    transferable: bool = False
    """Whether it outlives a change of provider."""
    extra: tuple[Extra, ...] = ()
    """Further elements, which C.3 allows."""

    def __post_init__(self) -> None:
        _check_text("VSerialNum", self.serial, MAX_SHORT_TEXT, least=1)
        _check_text("OptionIdent", self.ident, MAX_SHORT_TEXT, least=1)
        _check_text("OptionDesc", self.description, MAX_LONG_TEXT)
        if self.start is not None and self.start.tzinfo is None:
            raise ValueError("StartDate: a time without a zone")
        if self.start is not None and (self.start.utcoffset() or self.start.microsecond):
            raise ValueError("StartDate: a time in UTC, to the second")
        if self.duration is not None and not 0 <= self.duration <= MAX_DURATION:
            raise ValueError(f"Duration: {self.duration} is no unsignedInt")
        if self.mode is Mode.WITH_EXPIRATION:
            for name, value in (("Duration", self.duration), ("DurationUnits", self.units)):
                if value is None:
                    raise ValueError(f"{name}: required with EnableWithExpiration")
        for name, _ in self.extra:
            if name in NAMES:
                raise ValueError(f"{name!r} is no name for a further element")
        count = _check_extra(self.extra, 1)
        if count > MAX_EXTRA:
            raise ValueError(f"{count} further elements, {MAX_EXTRA} are taken")

    def check_for_issuing(self) -> None:
        """Raise ``ValueError`` where it says what means nothing, or what is over before it begins."""
        enabling = self.mode is not Mode.DISABLE
        if self.start is not None and not enabling:
            raise ValueError("StartDate: means nothing with Disable")
        for name, value in (("Duration", self.duration), ("DurationUnits", self.units)):
            if value is not None and self.mode is not Mode.WITH_EXPIRATION:
                raise ValueError(f"{name}: means nothing with {self.mode.value}")
        if self.duration == 0:
            raise ValueError("Duration: 0 is over before it begins")
        if self.transferable and not enabling:
            raise ValueError("Transferable: means nothing with Disable")

    def expires(self, applied: datetime) -> datetime | None:
        """Return when it ends; None where it does not by itself.

        Args:
            applied: When the voucher is applied, from where it counts without a StartDate.
        """
        if self.mode is not Mode.WITH_EXPIRATION:
            return None
        assert self.duration is not None  # or it would not be here
        assert self.units is not None
        return end_of(self.start or applied, self.duration, self.units)


@dataclass(frozen=True, kw_only=True)
class Voucher:
    """Options that are signed together, all for one device."""

    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.options) <= MAX_VOUCHER_OPTIONS:
            raise ValueError(f"{len(self.options)} Options, from 1 to {MAX_VOUCHER_OPTIONS} belong here")
        first = self.options[0].device
        if not all(option.device.is_same_device(first) for option in self.options):
            raise ValueError("DeviceId: Options for different devices")

    @property
    def device(self) -> DeviceId:
        """The one device that it is for."""
        return self.options[0].device


def _check_extra(extra: tuple[Extra, ...], depth: int) -> int:
    """Return how many further elements there are; raise ``ValueError`` where they are none."""
    if depth > MAX_EXTRA_DEPTH:
        raise ValueError(f"further elements nested deeper than {MAX_EXTRA_DEPTH}")
    count = len(extra)
    for name, inner in extra:
        if NAME.fullmatch(name) is None:
            raise ValueError(f"{name[:40]!r} is no name for a further element")
        if isinstance(inner, str):
            _check_text(name, inner, EXTRA_TEXT)
        elif not inner:
            raise ValueError(f"{name}: there is neither text nor an element in it")
        else:
            count += _check_extra(inner, depth + 1)
    return count


def _check_text(name: str, text: str, most: int, *, least: int = 0) -> None:
    """Raise ``ValueError`` unless a string has the length of its table, and what XML can say."""
    if not least <= len(text) <= most:
        raise ValueError(f"{name}: {len(text)} characters, from {least} to {most} belong here")
    found = NOT_XML.search(text)
    if found is not None:
        raise ValueError(f"{name}: XML has no character U+{ord(found[0]):04X}")
