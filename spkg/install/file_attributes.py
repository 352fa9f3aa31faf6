"""What the kernel says of an entry beyond its status, without opening it: statx, which Python lacks."""

import ctypes
import os
import struct
from typing import Final

__all__ = ["is_fixed", "mount_number"]

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

_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)


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


def mount_number(descriptor: int) -> int | None:
    """Return the number of the mount that a descriptor is on; None if the kernel does not tell."""
    found = _ask(b"", descriptor, MOUNT_NUMBER)
    if found is None or not struct.unpack_from("=I", found, MASK_AT)[0] & MOUNT_NUMBER:
        return None
    return int(struct.unpack_from("=Q", found, MOUNT_AT)[0])


def _ask(name: bytes, parent: int, mask: int) -> bytes | None:
    """Return what statx answers; None if it fails."""
    if _statx is None:
        return None
    answer = ctypes.create_string_buffer(STATX_SIZE)
    flags = NOFOLLOW if name else NOFOLLOW | EMPTY_PATH
    if _statx(parent, os.fsencode(name), flags, mask, answer) != 0:
        return None
    return answer.raw
