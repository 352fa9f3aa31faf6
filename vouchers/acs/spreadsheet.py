"""What spreadsheets do to a table: they run formulas, and write numbers and errors in their own way."""

import csv
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ["SpreadsheetWriter", "doubtful_number", "plain_cell", "spoilt_cell"]

FORMULA: Final = re.compile("[=+@\t\r-]")
"""What begins a cell that a spreadsheet may run."""
KEPT_CELL: Final = re.compile("'+[=+@\t\r-]")
"""A cell that is kept from that; more than one ``'`` stands for one less."""
QUOTED: Final = re.compile('="((?:[^"]|"")*)"')
"""A formula that only keeps a number from being read as one."""
ROUNDED: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[Ee]\+[0-9]+")
ERROR_CELL: Final = re.compile(r"#[^\W\d_][^\s!?]{0,20}[!?]|#(N/A|N/D|NV|I/T|####*)|Err:[0-9]{3}")
"""The error of a formula, in whatever language: ``#REF!``, ``#BEZUG!``, ``#N/A``, ``Err:502``."""
EXACT_DIGITS: Final = 15
"""How many digits of a number a spreadsheet keeps."""
DECIMALS: Final = re.compile("([0-9]+)[.,]0+")


class SpreadsheetWriter:
    """Writes CSV in which no cell is a formula: one that looks like it begins with ``'``."""

    def __init__(self, file: "SupportsWrite[str]", end: str = "\r\n") -> None:
        self._table = csv.writer(file, lineterminator=end)

    def row(self, cells: Iterable[object]) -> None:
        """Write a row of values."""
        self._table.writerow([_safe(cell) for cell in cells])

    def listed(self, values: Iterable[object], cells: Iterable[str]) -> None:
        """Write a row of values, and cells of a list as they were: read again, they mean the same."""
        self._table.writerow([*map(_safe, values), *map(_kept_safe, cells)])


def plain_cell(text: str) -> str:
    """Return what a cell means: without the ``'`` of :class:`SpreadsheetWriter`, and without ``="…"``."""
    if KEPT_CELL.match(text):
        text = text[1:]
    if found := QUOTED.fullmatch(text):
        return found[1].replace('""', '"')
    return text


def spoilt_cell(text: str) -> str | None:
    """Return how a spreadsheet has spoilt a cell; None if it has not."""
    if ERROR_CELL.fullmatch(text):
        return f"{text!r} is the error of a formula"
    if ROUNDED.fullmatch(text):
        return f"{text!r} is a number that a spreadsheet has rounded; format the column as text"
    return None


def doubtful_number(text: str) -> str | None:
    """Return what a spreadsheet or another program may have done to a serial number; None if nothing."""
    if (
        text.isascii()
        and text.isdecimal()
        and len(text) > EXACT_DIGITS
        and not text[EXACT_DIGITS:].strip("0")
    ):
        return f"has only zeros behind its first {EXACT_DIGITS} digits: a spreadsheet may have rounded it"
    if found := DECIMALS.fullmatch(text):
        return f"may have been {found[1]!r} before a program took it for a number"
    if text.startswith("'"):
        return "begins with an apostrophe, which in a spreadsheet is not part of a text"
    return None


def _safe(cell: object) -> object:
    """Return the cell for a value, which :func:`plain_cell` returns of it."""
    if not isinstance(cell, str):
        return cell
    if QUOTED.fullmatch(cell):
        doubled = cell.replace('"', '""')
        return f'\'="{doubled}"'
    return f"'{cell}" if FORMULA.match(cell) or KEPT_CELL.match(cell) else cell


def _kept_safe(cell: str) -> str:
    """Return a cell that means what this one means."""
    return f"'{cell}" if FORMULA.match(cell) else cell
