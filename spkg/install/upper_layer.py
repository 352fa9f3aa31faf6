"""The upper layer of an overlayfs: where it can be seen, it tells what lies in a lower layer only."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from spkg.install.tree_path import Parts

__all__ = ["UpperLayer", "upper_layer"]

_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")
OPTION: Final = b"upperdir="


class UpperLayer:
    """The directory behind a root in the upper layer.

    Args:
        directory: Its path; None if it can't be seen from here, so that anything may lie in a lower layer.
    """

    def __init__(self, directory: bytes | None) -> None:
        self._directory = directory

    def lacks(self, path: Parts) -> bool:
        """Whether an entry may lie in a lower layer only."""
        return self._directory is None or not os.path.lexists(b"/".join((self._directory, *path)))


def upper_layer(mounts: Sequence[Sequence[bytes]], root: Parts) -> UpperLayer:
    """Return the upper layer behind a root.

    Args:
        mounts: The lines of /proc/self/mountinfo, split at blanks.
        root: The path of the root; it is on an overlayfs.
    """
    found: tuple[Parts, Sequence[bytes]] | None = None
    for fields in mounts:
        point = _split(_plain(fields[4]))
        if root[: len(point)] == point and (found is None or len(point) >= len(found[0])):
            found = point, fields
    if found is None:
        return UpperLayer(None)
    point, fields = found
    options = fields[-1].split(b",")
    above = next((_plain(one[len(OPTION) :]) for one in options if one.startswith(OPTION)), None)
    if above is None or not above.startswith(b"/") or not Path(os.fsdecode(above)).is_dir():
        return UpperLayer(None)
    # A bind mount shows only a part of the overlayfs.
    return UpperLayer(b"/".join((above, *_split(_plain(fields[3])), *root[len(point) :])))


def _split(path: bytes) -> Parts:
    return tuple(part for part in path.split(b"/") if part)


def _plain(text: bytes) -> bytes:
    """Return a text of mountinfo with its octal escapes decoded."""
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 8) & 0xFF,)), text)
