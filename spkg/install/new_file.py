"""A file that an installation makes: written, given its mode and owner, and synced."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from spkg.install.heritage import NO_HERITAGE, Heritage, drop_list, endow, set_mode, set_owner
from spkg.install.tree_path import Parts, shown

__all__ = ["NewFile"]

COPY_CHUNK: Final = 1 << 18
"""How many bytes are copied at once."""
WRITE_BACK: Final = 1 << 21
"""After how many bytes the system is asked to carry them out to the disk."""


class NewFile:
    """A file that was just made.  Every error is an ``OSError`` with its path."""

    def __init__(self, descriptor: int, path: Parts) -> None:
        self._descriptor = descriptor
        self._path = path
        self._unsent = 0
        """How many bytes the system was not yet asked to carry out."""

    def write(self, octets: bytes | memoryview) -> None:
        """Write all of *octets*."""
        try:
            written = os.write(self._descriptor, octets)
            while written < len(octets):
                written += os.write(self._descriptor, memoryview(octets)[written:])
        except OSError as exc:
            raise self._located(exc) from exc
        self._unsent += written
        if self._unsent >= WRITE_BACK:
            self._send()

    def set_mode(self, mode: int, owner: tuple[int, int] | None, heritage: Heritage = NO_HERITAGE) -> None:
        """Set the mode, regardless of the umask, and the owner if one is given and may be set.

        Args:
            mode: The mode.
            owner: User and group.
            heritage: What the directory gives that the file will be in.
        """
        try:
            if owner is not None:
                set_owner(self._descriptor, owner)
            drop_list(self._descriptor)  # first, since with a list, the mode sets its mask only
            set_mode(self._descriptor, mode)
            if heritage != NO_HERITAGE:
                endow(self._descriptor, mode, heritage)
        except OSError as exc:
            raise self._located(exc) from exc

    def rewrite(self, octets: bytes) -> None:
        """Replace the contents; the room that they take is used again, since there may be no other."""
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self.write(octets)
            os.ftruncate(self._descriptor, len(octets))
        except OSError as exc:
            raise self._located(exc) from exc

    def read(self) -> Iterator[memoryview]:
        """Give what was written, from the beginning; each piece is valid until the next one."""
        buffer = memoryview(bytearray(COPY_CHUNK))
        position = 0
        try:
            while count := os.preadv(self._descriptor, [buffer], position):
                yield buffer[:count]
                position += count
        except OSError as exc:
            raise self._located(exc) from exc

    def sync(self) -> None:
        """Make the contents durable."""
        try:
            os.fsync(self._descriptor)
        except OSError as exc:
            raise self._located(exc) from exc

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def _send(self) -> None:
        """Let the system carry out what was written, and forget what is on the disk since the last time.

        The disk then works while more is hashed, instead of only during the sync at the end, and a large file
        does not displace everything else from memory.
        """
        end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        begin = max(0, end - self._unsent - WRITE_BACK)
        self._unsent = 0
        with suppress(OSError):  # it is advice: what counts is the sync, which also tells errors
            os.posix_fadvise(self._descriptor, begin, end - begin, os.POSIX_FADV_DONTNEED)

    def _located(self, exc: OSError) -> OSError:
        return OSError(exc.errno, exc.strerror, shown(self._path))
