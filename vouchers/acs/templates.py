"""Options as an operator offers them, without a serial number and a device (docs/options.md)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from spkg.common.times import read_time
from spkg.common.toml_document import Table, load_table
from spkg.errors import FormatError
from vouchers.model import MAX_EXTRA_DEPTH, MAX_VOUCHER_OPTIONS, DeviceId, Extra, Mode, Option
from vouchers.months import Units

__all__ = ["NOBODY", "Template", "load_options", "read_options"]

NOBODY: Final = DeviceId(manufacturer="", oui="000000", product_class="", serial_number="0")
"""A device for checking Options."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """What a voucher does to one Option, on any device."""

    ident: str
    description: str = ""
    mode: Mode
    start: datetime | None = None
    duration: int | None = None
    units: Units | None = None
    transferable: bool = False
    extra: tuple[Extra, ...] = ()

    def __post_init__(self) -> None:
        self.option(0, NOBODY).check_for_issuing()

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended, so every device would refuse it."""
        end = self.option(0, NOBODY).expires(now)
        return end is not None and end <= now

    def option(self, serial: int, device: DeviceId) -> Option:
        """Return the Option for one device.

        Raises:
            ValueError: The Option would be invalid (Table 62).
        """
        return Option(
            serial=str(serial),
            device=device,
            ident=self.ident,
            description=self.description,
            mode=self.mode,
            start=self.start,
            duration=self.duration,
            units=self.units,
            transferable=self.transferable,
            extra=self.extra,
        )


def load_options(path: Path) -> tuple[Template, ...]:
    """Read a file of Options.

    Raises:
        FormatError: It is not a valid file of Options.
        OSError: It can't be read.
    """
    return read_options(load_table(path))


def read_options(document: Table) -> tuple[Template, ...]:
    """Return the Options that *document* describes, which go into one voucher.

    Raises:
        FormatError: It describes no Options, too many, one twice, or an invalid one.
    """
    tables = document.tables("option")
    document.finish()
    if not 1 <= len(tables) <= MAX_VOUCHER_OPTIONS:
        raise document.error(
            "option", f"expected 1 to {MAX_VOUCHER_OPTIONS} [[option]] tables, got {len(tables)}"
        )
    found: dict[str, Template] = {}
    for table in tables:
        template = _template(table)
        if template.ident in found:
            raise table.error("ident", f"{template.ident!r} occurs twice")
        found[template.ident] = template
    return tuple(found.values())


def _template(table: Table) -> Template:
    mode, units = table.text("mode"), table.text("duration-units")
    ident, description = table.text("ident"), table.text("description")
    duration, transferable = table.integer("duration"), table.boolean("transferable")
    start = _time(table, "start-date")
    extra = _extra(table, table.any("extra") or {})
    table.finish()
    if ident is None or mode is None:
        raise table.error("" if ident is None and mode is None else "mode", "ident and mode are required")
    if mode not in {one.value for one in Mode}:
        raise table.error(
            "mode", f"expected one of {', '.join(one.value for one in Mode)}, got {mode[:40]!r}"
        )
    if units not in {None, *(one.value for one in Units)}:
        raise table.error("duration-units", f"expected Days or Months, got {str(units)[:40]!r}")
    try:
        return Template(
            ident=ident,
            description=description or "",
            mode=Mode(mode),
            start=start,
            duration=duration,
            units=None if units is None else Units(units),
            transferable=transferable or False,
            extra=extra,
        )
    except ValueError as exc:
        raise table.error("", str(exc), section="C.3, Table 62") from exc


def _time(table: Table, key: str) -> datetime | None:
    """Return a time that is written as in TOML or as in a voucher; without a zone it is UTC."""
    value = table.any(key)
    if isinstance(value, datetime):
        whole = value.replace(microsecond=0)
        try:
            return whole.replace(tzinfo=UTC) if value.tzinfo is None else whole.astimezone(UTC)
        except OverflowError as exc:
            raise table.error(key, "must be in the years 1 to 9999, in UTC") from exc
    if not isinstance(value, str | None):
        raise table.error(key, "must be a time such as 2026-12-01T00:00:00Z")
    try:
        return None if value is None else read_time(value)
    except ValueError as exc:
        raise table.error(key, str(exc)) from exc


def _extra(table: Table, values: Any, depth: int = 1) -> tuple[Extra, ...]:
    """Return further elements: strings, numbers and booleans, or tables of them."""
    if not isinstance(values, dict):
        raise table.error("extra", "must be a table: write [option.extra]")
    return tuple((name, _content(table, name, value, depth)) for name, value in values.items())


def _content(table: Table, name: str, value: Any, depth: int) -> str | tuple[Extra, ...]:
    if isinstance(value, dict) and depth < MAX_EXTRA_DEPTH:
        return _extra(table, value, depth + 1)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int) and abs(value) < 1 << 63:
        return str(value)
    if isinstance(value, str):
        return value
    raise _unfit(table, name)


def _unfit(table: Table, name: str) -> FormatError:
    problem = f"must be a string, a 64-bit number, true, false or a table, at most {MAX_EXTRA_DEPTH} deep"
    return table.error(f"extra.{name}", problem)
