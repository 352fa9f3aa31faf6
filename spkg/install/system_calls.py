"""System calls that Python lacks, or whose errors it does not tell."""

import ctypes
import errno
import os
import struct
from typing import Final

from spkg.install.tree_path import Parts, shown

__all__ = [
    "FUSE",
    "OPEN_DIRECTORY",
    "OVERLAYFS",
    "exchange_names",
    "file_system_type",
    "has_openat2",
    "is_fixed",
    "is_read_only",
    "mount_of",
    "open_beneath",
    "sync_file_system",
]

OPEN_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened in which one works."""
OPENAT2: Final = 437
"""The number of the system call; Alpha and MIPS have a different one, and use the walk."""
RESOLVE: Final = 0x01 | 0x02 | 0x04 | 0x08
"""RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS and BENEATH."""
RACES: Final = 128
"""How often a path is resolved again if it changed meanwhile."""
HOW: Final = struct.pack("=QQQ", OPEN_DIRECTORY, 0, RESOLVE)
"""The argument of openat2 for a directory."""
EXCHANGE: Final = 1 << 1
"""RENAME_EXCHANGE."""
NO_EXCHANGE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of a kernel or file system that can't exchange two names."""
FUSE: Final = 0x65735546
"""The type of a file system in user space, as the kernel reports it."""
OVERLAYFS: Final = 0x794C7630
"""The type of an overlayfs, as the kernel reports it."""
STATFS_OCTETS: Final = 256
"""More than the result of statfs has on any machine; it begins with the type."""
NOFOLLOW: Final = 0x100
EMPTY_PATH: Final = 0x1000
IMMUTABLE: Final = 0x10
APPEND: Final = 0x20
MOUNT_NUMBER: Final = 0x1000
"""The mask that asks for the number of the mount (Linux 5.8)."""
STATX_SIZE: Final = 256
MASK_AT: Final = 0
ATTRIBUTES_AT: Final = 8
MOUNT_AT: Final = 144

_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(directory: int, path: Parts) -> int:
    """Return a new descriptor of a directory beneath another one, without links and mounts on the way.

    Raises:
        OSError: It can't be opened.
    """
    for _ in range(RACES):
        descriptor = int(_libc.syscall(OPENAT2, directory, b"/".join(path), HOW, len(HOW)))
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() not in {errno.EAGAIN, errno.EINTR}:
            break
    raise _error(path)


def has_openat2(directory: int) -> bool:
    """Whether the kernel has openat2, and lets this process call it."""
    try:
        os.close(open_beneath(directory, (b".",)))
    except OSError:
        return False
    return True


def exchange_names(parent: int, name: bytes, other_parent: int, other: bytes) -> bool:
    """Let two files change their names at once; False if the system can't.

    Raises:
        OSError: They can't be renamed.
    """
    if not hasattr(_libc, "renameat2"):
        return False
    if _libc.renameat2(parent, name, other_parent, other, EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number not in NO_EXCHANGE:
        raise OSError(number, os.strerror(number))
    return False


def sync_file_system(descriptor: int) -> None:
    """Make all writes to the file system of an open directory durable.

    Raises:
        OSError: That failed.
    """
    if _libc.syncfs(descriptor) != 0:
        raise _error(())


def file_system_type(descriptor: int) -> int:
    """Return the type of the file system of an open directory; 0 if it is unknown."""
    found = ctypes.create_string_buffer(STATFS_OCTETS)
    if _libc.fstatfs(descriptor, found) != 0:
        return 0
    return ctypes.c_ulong.from_buffer(found).value & 0xFFFFFFFF


def is_fixed(name: bytes, parent: int) -> str | None:
    """Return why the entry with a name in a directory can't be removed, renamed or replaced.

    Args:
        name: The name; if it is empty, the directory itself is looked at.
        parent: A descriptor of the directory.

    Returns:
        "immutable" or "append-only"; None if it is neither, or the file system has no such attributes.
    """
    found = _ask(name, parent, 0)
    attributes = 0 if found is None else struct.unpack_from("=Q", found, ATTRIBUTES_AT)[0]
    if attributes & IMMUTABLE:
        return "immutable"
    return "append-only" if attributes & APPEND else None


def is_read_only(directory: int) -> bool:
    """Whether nobody can write in a directory: its file system, mount or subvolume is read-only.

    statvfs does not say that of a subvolume of btrfs.
    """
    return _libc.faccessat(directory, b".", os.W_OK, 0) != 0 and ctypes.get_errno() == errno.EROFS


def mount_of(descriptor: int) -> int:
    """Return the number of the mount: a bind mount shares its device number, but has its own mount number."""
    number = _mount_number(descriptor)
    if number is not None:
        return number
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:  # noqa: PTH123 - a path of the kernel
            for line in file:
                if line.startswith(b"mnt_id:"):
                    return int(line[7:])
    except OSError:
        pass
    return os.fstat(descriptor).st_dev


def _mount_number(descriptor: int) -> int | None:
    """Return the number of the mount that a descriptor is on; None if the kernel does not tell."""
    found = _ask(b"", descriptor, MOUNT_NUMBER)
    if found is None or not struct.unpack_from("=I", found, MASK_AT)[0] & MOUNT_NUMBER:
        return None
    return int(struct.unpack_from("=Q", found, MOUNT_AT)[0])


def _ask(name: bytes, parent: int, mask: int) -> bytes | None:
    """Return what statx answers; None if it fails."""
    if not hasattr(_libc, "statx"):
        return None
    answer = ctypes.create_string_buffer(STATX_SIZE)
    flags = NOFOLLOW if name else NOFOLLOW | EMPTY_PATH
    if _libc.statx(parent, os.fsencode(name), flags, mask, answer) != 0:
        return None
    return answer.raw


def _error(path: Parts) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), shown(path))
