"""One serial number of a ledger, with what its voucher does: a row, read and checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Row

from spkg.common.times import read_time, write_time
from spkg.errors import HostError
from vouchers.acs.ledger_tables import ENTRIES
from vouchers.acs.templates import Template
from vouchers.model import DeviceId, Extra, Mode, Option
from vouchers.months import Units

__all__ = ["LedgerEntry", "SerialState", "entries_after", "entry_columns", "entry_of", "option_columns"]


class SerialState(Enum):
    """The state of a serial number."""

    RESERVED = "reserved"
    """Taken; the voucher may not have been written."""
    ISSUED = "issued"
    VOID = "void"
    """Never to be issued, or issued and no longer to be counted."""


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One serial number, with the device and the Option that it is for.

    What the voucher does, from ``manufacturer`` to ``extras``, is missing if an earlier version reserved it.
    """

    serial: int
    oui: str
    product_class: str
    serial_number: str
    option: str
    digest: str
    """The SHA-256 of the contents of the Option, in hex."""
    signer: str
    """The SHA-256 of the signer's public key, in hex."""
    batch: str | None
    state: SerialState
    reserved_at: str
    issued_at: str | None
    voided_at: str | None
    manufacturer: str | None
    description: str | None
    mode: Mode | None
    start: str | None
    duration: int | None
    duration_units: Units | None
    transferable: bool | None
    extras: tuple[Extra, ...] | None
    end: str | None
    """When the Option ends; None if it does not, or if it has no StartDate and is not issued yet."""
    end_estimated: bool
    """Whether *end* is only the earliest: the voucher has no StartDate and may have been applied later."""
    renews: int | None
    """The serial number that this one renews."""
    renewed_by: int | None
    renewal_duration: int | None
    """What a renewal added to *duration*; the next one adds the same."""
    renewal_units: Units | None
    revokes: int | None
    """The serial number that this one disables."""
    revoked_by: int | None

    @property
    def device(self) -> DeviceId:
        """The device.

        Raises:
            HostError: The entry is damaged.
        """
        try:
            return DeviceId(
                manufacturer=self.manufacturer or "",
                oui=self.oui,
                product_class=self.product_class,
                serial_number=self.serial_number,
            )
        except ValueError as exc:
            raise self.damaged(exc) from exc

    @property
    def template(self) -> Template:
        """What the voucher does to its Option.

        Raises:
            ValueError: It is not known, since an earlier version reserved the serial number.
            HostError: The entry is damaged.
        """
        if self.mode is None:
            raise ValueError(f"serial number {self.serial}: what its voucher does is not known")
        try:
            return Template(
                ident=self.option,
                description=self.description or "",
                mode=self.mode,
                start=None if self.start is None else read_time(self.start),
                duration=self.duration,
                units=self.duration_units,
                transferable=self.transferable or False,
                extra=self.extras or (),
            )
        except ValueError as exc:
            raise self.damaged(exc) from exc

    def damaged(self, why: ValueError) -> HostError:
        """Return the error of an entry that has values which no issuer writes."""
        return HostError(f"the ledger is damaged: serial number {self.serial}: {why}")


ENTRY_NAMES: Final = tuple(LedgerEntry.__dataclass_fields__)
STATES_BY_VALUE: Final = {state.value: state for state in SerialState}
MODES: Final = {mode.value: mode for mode in Mode}
UNITS: Final = {units.value: units for units in Units}
NUMBERS: Final = {
    *("serial", "duration", "transferable", "renewal_duration"),
    *("renews", "renewed_by", "revokes", "revoked_by"),
}
ALWAYS: Final = {
    *("serial", "oui", "product_class", "serial_number", "option", "digest", "signer"),
    *("state", "reserved_at"),
}
"""The fields that are never None."""
CHOICES: Final[Mapping[str, Mapping[Any, Enum | bool]]] = {
    "state": STATES_BY_VALUE,
    "mode": MODES,
    "duration_units": UNITS,
    "renewal_units": UNITS,
    "transferable": {0: False, 1: True},
}


def option_columns(option: Option) -> dict[str, Any]:
    """Return the columns of a row that say what a voucher does to its Option."""
    end = None if option.start is None else option.expires(option.start)
    return {
        "manufacturer": option.device.manufacturer,
        "description": option.description,
        "mode": option.mode.value,
        "start": None if option.start is None else write_time(option.start),
        "duration": option.duration,
        "duration_units": None if option.units is None else option.units.value,
        "transferable": int(option.transferable),
        "extras": json.dumps(option.extra, ensure_ascii=True, separators=(",", ":")),
        "end": None if end is None else write_time(end),
    }


def entry_columns() -> list[Any]:
    """Return the columns to select for :func:`entry_of`."""
    columns: list[Any] = [ENTRIES]
    for name, link in (("renewed_by", "renews"), ("revoked_by", "revokes")):
        other = ENTRIES.alias()
        later = sqlalchemy.select(sqlalchemy.func.min(other.c.serial)).where(
            other.c[link] == ENTRIES.c.serial, other.c.state != SerialState.VOID.value
        )
        columns.append(later.scalar_subquery().label(name))
    return columns


def entries_after(serial: int, wanted: Mapping[str, object]) -> Any:
    """Return what selects entries with these values and larger serial numbers, to be read in that order.

    By an index of one of the values a database reads all that have it, and sorts them.  The first page is
    worth that; the next ones go on from the serial number, or each of them would do so again.
    """
    found = [ENTRIES.c.serial > serial]
    for name, value in wanted.items():
        column: Any = ENTRIES.c[name]
        if serial > 0 and "serial_number" not in wanted:
            column = sqlalchemy.func.coalesce(column, column)
        found.append(column == value)
    return sqlalchemy.and_(*found)


def entry_of(row: Row[Any], ledger: str) -> LedgerEntry:
    """Return the entry in a row of the ledger with this name.

    Raises:
        HostError: It has values that no issuer writes.
    """
    found = row._mapping  # noqa: SLF001 - its public name
    fields: dict[str, Any] = {name: found[name] for name in ENTRY_NAMES if name != "end_estimated"}

    def damaged(name: str, expected: object, got: object) -> HostError:
        return HostError(
            f"{ledger}: damaged: serial number {row.serial}: {name}: expected {expected}, got {got}"
        )

    for name, value in fields.items():
        # SQLite keeps whatever type it is given.
        wanted = int if name in NUMBERS else str
        if not isinstance(value, wanted) and not (value is None and name not in ALWAYS):
            raise damaged(name, wanted.__name__, type(value).__name__)
    for name, choices in CHOICES.items():
        value = fields[name]
        if value is not None and value not in choices:
            raise damaged(name, f"one of {', '.join(map(str, choices))}", repr(value)[:22])
        fields[name] = None if value is None else choices[value]
    for name in ("start", "end"):
        try:
            if fields[name] is not None:
                read_time(fields[name])
        except ValueError as exc:
            raise damaged(name, "a time", repr(fields[name])[:30]) from exc
    try:
        fields["extras"] = None if fields["extras"] is None else _extras(json.loads(fields["extras"]))
    except (ValueError, RecursionError) as exc:
        raise damaged("extras", "JSON of further elements", repr(fields["extras"])[:30]) from exc
    fields["end_estimated"] = fields["end"] is not None and fields["start"] is None
    return LedgerEntry(**fields)


def _extras(found: Any) -> tuple[Extra, ...]:
    """Return further elements from JSON.

    Raises:
        ValueError: It has something else in it.
    """
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise ValueError("expected a list")  # noqa: TRY004 - a defect of the input
    extras: list[Extra] = []
    for one in found:
        if not isinstance(one, list) or len(one) != 2 or not isinstance(one[0], str):
            raise ValueError("expected a name and what it holds")
        extras.append((one[0], one[1] if isinstance(one[1], str) else _extras(one[1])))
    return tuple(extras)
