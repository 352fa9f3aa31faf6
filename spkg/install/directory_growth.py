"""What directories take as names come into them, and what an overlayfs takes to note that entries are gone.

Counted as ext4 does, whose names take most: eight bytes each and the name, rounded up.  A directory of many
blocks is split in half again and again, so that up to half of it is empty.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from spkg.install.tree_path import Parts

__all__ = ["DirectoryGrowth", "name_octets", "removal_peak"]

NAME_OVERHEAD: Final = 8
"""What a name takes beside itself."""
OWN_NAMES: Final = 36
"""What every directory has in it: itself, the one above, and a checksum."""
COPIES: Final = 3
"""A directory that is removed from a lower layer: its copy, an empty one in its place, the work directory."""


def name_octets(name: bytes) -> int:
    """Return what a name takes in a directory."""
    return -(-(NAME_OVERHEAD + len(name)) // 4) * 4


def directory_blocks(octets: int, block: int) -> int:
    """Return how many blocks names take."""
    blocks = -(-octets // block)
    return blocks if blocks <= 1 else 2 * blocks


class DirectoryGrowth:
    """How directories grow.

    Args:
        block: The size of a block.
        grows: Whether names take blocks at all.
    """

    def __init__(self, block: int, *, grows: bool) -> None:
        self._block = block
        self._grows = grows
        self._names: defaultdict[Parts, set[bytes]] = defaultdict(set)
        self._octets: dict[Parts, int] = {}
        self._counted: dict[Parts, int] = {}

    def begin(self, directory: Parts) -> None:
        """Note that a directory is new, or a new copy: its first block is counted elsewhere."""
        if directory not in self._octets:
            self._octets[directory] = OWN_NAMES
            self._counted[directory] = 1

    def add(self, path: Parts) -> int:
        """Add a name to its directory, and return how many blocks that takes."""
        above, name = path[:-1], path[-1]
        if not self._grows or name in self._names[above]:
            return 0
        self._names[above].add(name)
        self._octets[above] = self._octets.get(above, 0) + name_octets(name)
        before = self._counted.get(above, 0)
        self._counted[above] = max(before, directory_blocks(self._octets[above], self._block))
        return self._counted[above] - before


def removal_peak(paths: Iterable[Parts], block: int, *, grows: bool = True) -> tuple[int, int]:
    """Return how many blocks and names it takes at most to remove entries of a lower layer one by one.

    What notes that entries are gone goes with their directory; those above it are being removed meanwhile.

    Args:
        paths: What is removed; without that at the top, which stays noted.
        block: The size of a block.
        grows: Whether names take blocks at all.
    """
    octets: defaultdict[Parts, int] = defaultdict(int)
    names: defaultdict[Parts, int] = defaultdict(int)
    for path in paths:
        octets[path[:-1]] += name_octets(path[-1])
        names[path[:-1]] += 1
    peaks: defaultdict[Parts, tuple[int, int]] = defaultdict(lambda: (0, 0))
    most = (0, 0)
    for directory in sorted(octets, key=len, reverse=True):
        blocks = COPIES + (directory_blocks(OWN_NAMES + octets[directory], block) if grows else 0)
        below, inside = peaks[directory]
        peak = blocks + below, COPIES + names[directory] + inside
        most = max(most[0], peak[0]), max(most[1], peak[1])
        above = directory[:-1]
        peaks[above] = max(peaks[above][0], peak[0]), max(peaks[above][1], peak[1])
    return most
