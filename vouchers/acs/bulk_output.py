"""The files of a bulk output: vouchers, an index, and the lines that were rejected."""

from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Final

from spkg.common.atomic_output import write_all
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.signing import SignedVouchers
from vouchers.acs.spreadsheet import SpreadsheetWriter
from vouchers.acs.voucher_form import VoucherForm

__all__ = ["BULK_INDEX", "BULK_REJECTED", "BulkOutput"]

BULK_REJECTED: Final = "rejected.csv"
BULK_INDEX: Final = "index.csv"
"""Lists the device of each voucher, in order.  NDJSON has no index: each line names its device."""


class BulkOutput:
    """The files of a bulk output."""

    def __init__(self, stack: ExitStack, directory: Path, form: VoucherForm) -> None:
        self._directory, self._name = directory, form.file
        self._all: FileIO | None = None
        if form.file is not None:
            self._all = stack.enter_context(FileIO(directory / form.file, "x"))
        self._index = None
        if form is not VoucherForm.NDJSON:
            self._index = _table(stack, directory / BULK_INDEX)
            self._index.row(("file", "oui", "product_class", "serial_number", "serials"))
        self._rejected = _table(stack, directory / BULK_REJECTED)
        stack.callback(self._name_columns)
        self._columns: tuple[str, ...] | None = None
        self.rejected = 0

    def put(self, written: SignedVouchers) -> None:
        """Write vouchers.

        Raises:
            OSError: They can't be written.
        """
        if self._index is not None:
            for row, _ in written:
                self._index.row((self._name or row[0], *row[1:]))
        if self._all is not None:
            write_all(self._all, b"".join(contents for _, contents in written))
            return
        for row, contents in written:
            with FileIO(self._directory / row[0], "x") as file:
                write_all(file, contents)

    def reject(self, line: ListedDevice, reason: str) -> None:
        """Write a line that gets no voucher, and why.

        Raises:
            OSError: It can't be written.
        """
        self._name_columns(line.columns)
        self._rejected.listed((line.line, reason), line.cells)
        self.rejected += 1

    def _name_columns(self, columns: tuple[str, ...] = ()) -> None:
        """Write the first line of the rejected ones, once: it has the columns of the list."""
        if self._columns is None:
            self._columns = columns
            self._rejected.listed(("line", "reason"), columns)


def _table(stack: ExitStack, path: Path) -> SpreadsheetWriter:
    # What is not UTF-8 in a list is written as it was.
    opened = path.open("x", newline="", encoding="utf-8", errors="surrogateescape")
    return SpreadsheetWriter(stack.enter_context(opened))
