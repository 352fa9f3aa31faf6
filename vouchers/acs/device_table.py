"""Lists of devices in tables (CSV), as spreadsheets and GenieACS write them."""

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Final

from spkg.errors import FormatError
from vouchers.acs.listed_device import MAX_LIST_LINE, ListedDevice, ListLines, fact_name
from vouchers.acs.spreadsheet import plain_cell, spoilt_cell

__all__ = ["MAX_CELL", "read_table"]

MAX_CELL: Final = 1 << 17
"""The widest cell of a table, in characters."""
SEPARATORS: Final = ",;\t"
"""What may separate cells if the table does not say it."""
SEPARATOR_LINE: Final = re.compile('"?sep=([^"])"?', re.IGNORECASE)
"""The line in which a table says it, for spreadsheets."""
QUOTE_HINT: Final = 'a cell that has a quote in it is written "like ""this"""'
LINE_END_HINT: Final = "convert it: tr '\\r' '\\n'"


def read_table(first: str, lines: ListLines) -> Iterator[ListedDevice]:
    """Yield the devices of a table whose first line names its columns.

    Args:
        first: Its first line that is not empty.
        lines: The following ones.

    Raises:
        FormatError: It is not a table with a header that names devices, or its quotes do not fit.
        OSError: It can't be read.
    """
    csv.field_size_limit(MAX_LIST_LINE)  # a cell that is too wide is rejected below, not the list
    lines.in_table = True
    separators: Sequence[str] = SEPARATORS
    if said := SEPARATOR_LINE.fullmatch(first.strip("\r\n")):
        separators, first = said[1], next((line for line in lines if line.strip()), "")
    lines.columns, separator = _columns(first, lines, separators)
    header = [fact_name(plain_cell(name)) for name in lines.columns]
    twice = [name for name in header if name is not None and header.count(name) > 1]
    if twice:
        raise FormatError(f"the column {twice[0]} must occur once", source=lines.source)
    above = lines.number
    table = csv.reader(lines, strict=True, delimiter=separator)
    while True:
        number = above + table.line_num + 1
        lines.begun = lines.octets
        try:
            cells = next(table, None)
        except csv.Error as exc:
            # It is unknown where the next record begins: text in a cell could be taken for a device.
            raise _malformed(exc, number, lines) from exc
        if cells is None:
            return
        if any(cells):
            yield _listed(number, header, cells, lines)


def _listed(
    number: int, header: Sequence[str | None], cells: Sequence[str], lines: ListLines
) -> ListedDevice:
    """Return the device of a row."""
    if len(cells) != len(header):
        return lines.rejected(
            number, f"expected {len(header)} cells as in the first line, got {len(cells)}", cells
        )
    if (widest := max(map(len, cells))) > MAX_CELL:
        return lines.rejected(number, f"a cell must have at most {MAX_CELL} characters, got {widest}", cells)
    named = {name: plain_cell(cell) for name, cell in zip(header, cells, strict=True) if name is not None}
    spoilt = [f"{key}: {what}" for key in sorted(named) if (what := spoilt_cell(named[key]))]
    if spoilt:
        return lines.rejected(number, spoilt[0], cells)
    return lines.listed(number, named, cells)


def _columns(first: str, lines: ListLines, separators: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the columns that the first record names, and what separates its cells.

    Raises:
        FormatError: It does not name devices.
    """
    number = lines.number
    while first.count('"') % 2 and (more := next(lines, "")):  # the name of a column has a line break
        first += more
    failure: csv.Error | None = None
    for separator in separators:
        try:
            columns = next(csv.reader(StringIO(first, ""), strict=True, delimiter=separator), [])
        except csv.Error as exc:
            failure = failure or exc
            continue
        header = {fact_name(plain_cell(name)) for name in columns}
        if "id" in header or {"oui", "product_class", "serial_number"} <= header:
            return tuple(columns), separator
    if failure is not None:
        raise _malformed(failure, number, lines) from failure
    problem = "not a list of devices: the first line must name oui, product_class and serial_number, or id"
    raise FormatError(problem, source=lines.source)


def _malformed(error: csv.Error, number: int, lines: ListLines) -> FormatError:
    """Return why a record can't be read, in our words."""
    problem, hint = "a cell in quotes must end with its quote", QUOTE_HINT
    if "new-line" in str(error):
        problem, hint = "expected lines that end in LF or CR LF, got CR alone", LINE_END_HINT
    elif "unexpected end" in str(error):
        problem = "a cell in quotes does not end"
    return FormatError(f"line {number}: {problem}", source=lines.source, hint=hint)
