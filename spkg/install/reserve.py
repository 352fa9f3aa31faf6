"""The room that is reserved for going back, so that it works on a full file system."""

from typing import Final

__all__ = ["RESERVE", "RESERVE_INODES", "reserve_for"]

RESERVE: Final = 1 << 16
"""What is reserved for going back at least, in bytes: for directories, markers and small texts."""
LARGE: Final = 1 << 26
"""The size of a file system from which on more is reserved, in bytes."""
LARGE_RESERVE: Final = 1 << 18
"""What is reserved there at least: xfs makes a file only while it has room for much more than the file."""
RESERVE_INODES: Final = 32
"""How many files and directories going back makes of its own, at most."""


def reserve_for(journal: int, record: int, size: int | None) -> int:
    """Return how many bytes are reserved for going back, from the lengths of journal and record.

    A file system that does not say its size has the size None.

    Of each step, going back has one or two; each is in its journal and, shorter, in its record.
    """
    least = RESERVE if size is None or size < LARGE else LARGE_RESERVE
    return least + 3 * journal + 2 * record
