"""Serial numbers of a table that a spreadsheet may have changed: nothing tells it for certain."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from spkg.common.findings import Finding
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.spreadsheet import doubtful_number

__all__ = ["list_warnings"]

MOST_NAMED: Final = 20
"""How many lines are named for each kind of warning; all are counted."""


@dataclass
class _Lines:
    """Lines of one kind."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)
    """The first of them, with what is told of each."""

    def add(self, line: int, text: str) -> None:
        """Count a line."""
        self.count += 1
        if len(self.first) < MOST_NAMED:
            self.first.append((line, text))


def list_warnings(devices: Iterable[ListedDevice]) -> Iterator[Finding]:
    """Yield what may be wrong with a table of devices, line by line; nothing of a list in JSON.

    Args:
        devices: The list; read to its end, in constant memory.

    Raises:
        FormatError: The list is malformed.
        OSError: It can't be read.
    """
    by_length: dict[int, _Lines] = {}
    doubtful = _Lines()
    for one in devices:
        if one.device is None or not one.in_table:
            continue
        number = one.device.serial_number
        if number.isascii() and number.isdigit():
            by_length.setdefault(len(number), _Lines()).add(one.line, number)
        if (what := doubtful_number(number)) is not None:
            doubtful.add(one.line, f"line {one.line}: the serial number {number!r} {what}")
    yield from _lost_zeros(by_length)
    for _, message in doubtful.first:
        yield Finding(code="doubtful-number", message=message)
    if doubtful.count > MOST_NAMED:
        message = f"and {doubtful.count - MOST_NAMED} more lines with doubtful serial numbers"
        yield Finding(code="doubtful-number", message=message)


def _lost_zeros(by_length: dict[int, _Lines]) -> Iterator[Finding]:
    """Yield which numbers have fewer digits than most of their column has: they may have lost zeros."""
    if not by_length:
        return
    usual = max(by_length, key=lambda length: (by_length[length].count, length))
    shorter = [found for length, found in by_length.items() if length < usual]
    total = sum(found.count for found in shorter)
    if by_length[usual].count <= total or by_length[usual].count < 2:
        return
    lines = sorted(line for found in shorter for line in found.first)[:MOST_NAMED]
    for line, number in lines:
        message = (
            f"line {line}: the serial number {number!r} has {len(number)} digits, most have {usual}: "
            "a spreadsheet may have removed leading zeros"
        )
        yield Finding(code="lost-zeros", message=message)
    if total > len(lines):
        message = f"and {total - len(lines)} more lines with fewer digits than most"
        yield Finding(code="lost-zeros", message=message)
