"""The files of a bulk output: vouchers, an index, and the lines that were rejected."""

from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from spkg.common.atomic_output import write_all
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.signing import SignedVouchers
from vouchers.acs.spreadsheet import SpreadsheetWriter
from vouchers.acs.voucher_form import VoucherForm

__all__ = ["BULK_INDEX", "BULK_REJECTED", "BulkOutput", "RejectedLines"]

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
        opened = stack.enter_context(FileIO(directory / BULK_REJECTED, "x"))
        self.reject = stack.enter_context(RejectedLines(opened))
        """Writes the lines that get no voucher."""

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


class RejectedLines:
    """Writes the lines of a list that get no voucher, and why, so that they can be mended and given back.

    Args:
        file: Where; it has at least the names of the columns when the block ends.
    """

    def __init__(self, file: FileIO) -> None:
        self._file, self._named = file, False
        self._table = SpreadsheetWriter(self)
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._name_columns()

    def __call__(self, line: ListedDevice, reason: str) -> None:
        """Write a line, and why it gets no voucher.

        Raises:
            OSError: It can't be written.
        """
        self._name_columns(line.columns)
        self._table.listed((line.line, reason), line.cells)
        self.count += 1

    def write(self, text: str) -> None:
        """Write a row of the table.

        Raises:
            OSError: It can't be written.
        """
        # What is not UTF-8 in a list is written as it was.
        write_all(self._file, text.encode(errors="surrogateescape"))

    def _name_columns(self, columns: tuple[str, ...] = ()) -> None:
        """Write the first line, once: it has the columns of the list."""
        if not self._named:
            self._named = True
            self._table.listed(("line", "reason"), columns)


def _table(stack: ExitStack, path: Path) -> SpreadsheetWriter:
    opened = path.open("x", newline="", encoding="utf-8")
    return SpreadsheetWriter(stack.enter_context(opened))
