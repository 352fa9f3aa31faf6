"""Features that some systems lack, with fallbacks: packages install on Linux, but are built anywhere."""

import os
import select
from contextlib import suppress
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from typing import IO, Final

__all__ = [
    "BINARY",
    "CLOSE_ON_EXEC",
    "DIRECTORY_ONLY",
    "FORKS",
    "LOCKS",
    "NON_BLOCKING",
    "NO_FOLLOW",
    "READS_AT_ONCE",
    "free_room",
    "is_own",
    "lock",
    "os_name",
    "own",
    "read_at",
    "restrict",
    "sync_all",
    "write_fully",
]

BINARY: Final[int] = getattr(os, "O_BINARY", 0)
CLOSE_ON_EXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
DIRECTORY_ONLY: Final[int] = getattr(os, "O_DIRECTORY", 0)
NON_BLOCKING: Final[int] = getattr(os, "O_NONBLOCK", 0)
NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
FORKS: Final = hasattr(os, "fork")
"""Whether a process can fork."""
LOCKS: Final = find_spec("fcntl") is not None
"""Whether a process can lock a file."""
READS_AT_ONCE: Final = hasattr(os, "preadv")
"""Whether several threads can read one file at different places."""


def os_name(name: str) -> str:
    """Return a name as the functions of the system take it, so that it is UTF-8 on disk, whatever the locale.

    Names in packages and manifests are UTF-8 (decision 8); Python would write them in the encoding of the
    locale.
    """
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def free_room(directory: Path) -> int | None:
    """Return how many bytes are free in the file system of a directory; None if unknown.

    Raises:
        OSError: The file system can't be queried.
    """
    if not hasattr(os, "statvfs"):
        return None
    room = os.statvfs(directory)
    return room.f_bavail * room.f_frsize


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """Return at most *count* bytes from *offset*; the file position does not change.

    Raises:
        OSError: They can't be read.
    """
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)


def restrict(descriptor: int, mode: int) -> None:
    """Set the permissions of an open file, if the system has them.

    Raises:
        OSError: They can't be set.
    """
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)


def own(descriptor: int, user: int, group: int) -> None:
    """Set the owner and group of an open file, if that is allowed and the system has them."""
    if hasattr(os, "fchown"):
        with suppress(PermissionError):
            os.fchown(descriptor, user, group)


def is_own(status: os.stat_result) -> bool:
    """Whether a file belongs to the user that this process runs as, if the system has users."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def sync_all() -> None:
    """Write everything to disk, if the system can do that in one call."""
    if hasattr(os, "sync"):
        os.sync()


def lock(descriptor: int) -> bool:
    """Lock a file or directory until it is closed; return False if another process holds the lock.

    Raises:
        OSError: The file system has no locks.
    """
    if not LOCKS:
        return True  # creating the same file a second time is refused anyway
    import fcntl  # noqa: PLC0415 - not on every system

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_fully(output: IO[bytes] | FileIO, octets: bytes | memoryview) -> None:
    """Write all of *octets*, even if the file is not buffered and accepts them in parts.

    Raises:
        OSError: It can't be written.
    """
    view = memoryview(octets)
    while view:
        taken = output.write(view)
        if taken is None:  # it does not block, and has no room at the moment
            select.select([], [output], [])
        else:
            view = view[taken:]
