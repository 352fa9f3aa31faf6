"""Serial numbers that may have lost their leading zeros: digits, but fewer than most of their column has."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from vouchers.acs.device_list import ListedDevice

__all__ = ["lost_zeros"]

MOST_SHORT: Final = 20
"""How many lines are named; all are counted."""


@dataclass
class _Length:
    """The serial numbers of one length."""

    count: int = 0
    lines: list[tuple[int, str]] = field(default_factory=list)
    """The first of them."""


def lost_zeros(devices: Iterable[ListedDevice]) -> Iterator[str]:
    """Yield what may be wrong with a table of devices, line by line; nothing of a list in JSON.

    Args:
        devices: The list; read to its end, in constant memory.

    Raises:
        FormatError: The list is malformed.
        OSError: It can't be read.
    """
    lengths: dict[int, _Length] = {}
    for one in devices:
        number = "" if one.device is None or not one.columns else one.device.serial_number
        if number.isascii() and number.isdigit():
            of_length = lengths.setdefault(len(number), _Length())
            of_length.count += 1
            if len(of_length.lines) < MOST_SHORT:
                of_length.lines.append((one.line, number))
    if not lengths:
        return
    usual = max(lengths, key=lambda length: (lengths[length].count, length))
    shorter = [found for length, found in lengths.items() if length < usual]
    total = sum(found.count for found in shorter)
    if lengths[usual].count <= total or lengths[usual].count < 2:
        return
    lines = sorted(line for found in shorter for line in found.lines)[:MOST_SHORT]
    for line, number in lines:
        yield (
            f"line {line}: the serial number {number!r} has {len(number)} digits, most have {usual}: "
            "a spreadsheet may have removed leading zeros"
        )
    if total > len(lines):
        yield f"and {total - len(lines)} more lines with fewer digits than most"
