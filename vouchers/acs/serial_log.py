"""The serial numbers that a run has written, kept in a file without a name: a run may have millions."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Final, Self

__all__ = ["SerialLog"]

SERIALS_IN_MEMORY: Final = 1 << 16
"""How many bytes are kept in memory."""
NUMBERS_AT_ONCE: Final = 1 << 13
"""How many numbers are written at a time."""


class SerialLog:
    """Serial numbers in the order in which they were added; usable in a ``with`` statement."""

    def __init__(self) -> None:
        self._count = 0
        self._file = SpooledTemporaryFile(max_size=SERIALS_IN_MEMORY)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, serials: Iterable[int]) -> None:
        """Add serial numbers.

        Raises:
            OSError: There is no room for them.
        """
        left = iter(serials)
        while some := array("Q", islice(left, NUMBERS_AT_ONCE)):
            self._file.write(some.tobytes())
            self._count += len(some)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        self._file.seek(0)
        while octets := self._file.read(SERIALS_IN_MEMORY):
            yield from array("Q", octets)
