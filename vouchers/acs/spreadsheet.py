"""What spreadsheets do to a table: they run formulas, and write numbers and errors in their own way."""

import csv
import re
from collections.abc import Iterable
from typing import Final, TextIO

__all__ = ["SpreadsheetWriter", "plain_cell", "spoilt_cell"]

FORMULA: Final = re.compile("'*[=+@\t\r-]")
"""A cell that a spreadsheet may run, or one that is already kept from that."""
QUOTED: Final = re.compile('="((?:[^"]|"")*)"')
"""A formula that only keeps a number from being read as one."""
ROUNDED: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[Ee]\+[0-9]+")
ERROR_CELL: Final = re.compile(r"#(N/A|REF!|NAME\?|VALUE!|DIV/0!|NUM!|NULL!|SPILL!|CALC!|####*)")


class SpreadsheetWriter:
    """Writes CSV in which no cell is a formula: one that looks like it begins with ``'``."""

    def __init__(self, file: TextIO, end: str = "\r\n") -> None:
        self._table = csv.writer(file, lineterminator=end)

    def row(self, cells: Iterable[object]) -> None:
        """Write a row."""
        self._table.writerow([_safe(cell) for cell in cells])


def plain_cell(text: str) -> str:
    """Return what a cell means: without the ``'`` of :class:`SpreadsheetWriter`, and without ``="…"``."""
    if found := QUOTED.fullmatch(text):
        return found[1].replace('""', '"')
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def spoilt_cell(text: str) -> str | None:
    """Return how a spreadsheet has spoilt a cell; None if it has not."""
    if ERROR_CELL.fullmatch(text):
        return f"{text!r} is the error of a formula"
    if ROUNDED.fullmatch(text):
        return f"{text!r} is a number that a spreadsheet has rounded; format the column as text"
    return None


def _safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell
