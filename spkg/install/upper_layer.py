"""The upper layer of an overlayfs: where it can be seen, it tells what lies in a lower layer only."""

import os
import re
from collections.abc import Sequence
from typing import Final

from spkg.install.system_calls import file_system_type
from spkg.install.tree_path import Parts

__all__ = ["TMPFS", "UpperLayer", "upper_layer"]

_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")
OPTION: Final = b"upperdir="
TMPFS: Final = 0x01021994
"""The type of a tmpfs, on which every name takes an inode."""
SHARING: Final = (5, 8)
"""The version of Linux since which what notes that entries are gone are names of one inode."""


class UpperLayer:
    """The directory behind a root in the upper layer.

    Args:
        directory: Its path; None if it can't be seen from here, so that anything may lie in a lower layer.
        kind: The type of its file system, as the kernel numbers them; 0 if it is unknown.
        takes: Whether a directory is known to take blocks there, as never on tmpfs.
    """

    def __init__(self, directory: bytes | None, kind: int = 0, *, takes: bool = False) -> None:
        self._directory = directory
        self.kind = kind
        """The type of its file system; 0 if it is unknown."""
        known = takes or kind not in {0, TMPFS}
        self.names_count = not known or _version(os.uname().release) < SHARING
        """Whether to note that entries are gone may take an inode for each."""

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
    takes = fields[3] == b"/" and _takes_blocks(b"/" + b"/".join(point))
    options = fields[-1].split(b",")
    above = next((_plain(one[len(OPTION) :]) for one in options if one.startswith(OPTION)), None)
    if above is None or not above.startswith(b"/"):
        return UpperLayer(None, takes=takes)
    try:
        descriptor = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # it is in another container, or not for this user
        return UpperLayer(None, takes=takes)
    try:
        kind = file_system_type(descriptor)
    finally:
        os.close(descriptor)
    # A bind mount shows only a part of the overlayfs.
    return UpperLayer(b"/".join((above, *_split(_plain(fields[3])), *root[len(point) :])), kind)


def _takes_blocks(top: bytes) -> bool:
    """Whether the directory at the top of an overlayfs, which is in the upper layer, takes blocks."""
    try:
        return os.lstat(top).st_blocks > 0
    except OSError:
        return False


def _version(release: str) -> tuple[int, ...]:
    """Return the first two numbers of the version of the kernel."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (0, 0) if found is None else (int(found[1]), int(found[2]))


def _split(path: bytes) -> Parts:
    return tuple(part for part in path.split(b"/") if part)


def _plain(text: bytes) -> bytes:
    """Return a text of mountinfo with its octal escapes decoded."""
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 8) & 0xFF,)), text)
