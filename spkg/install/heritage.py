"""What a directory gives to entries that are made in it.

That is its group, if its set-group-ID bit is set, and its default access control list.  Files and directories
are made elsewhere and renamed, so the kernel gives them neither.
"""

import errno
import os
import struct
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ACCESS_LIST",
    "DEFAULT_LIST",
    "NO_HERITAGE",
    "SET_GROUP",
    "Heritage",
    "access_list",
    "endow",
    "set_owner",
]

ACCESS_LIST: Final = "system.posix_acl_access"
DEFAULT_LIST: Final = "system.posix_acl_default"
SET_GROUP: Final = 0o2000
VERSION: Final = struct.Struct("<I")
LIST_ENTRY: Final = struct.Struct("<HHI")
"""Tag, permissions and identifier of an entry of an access control list."""
OWNER: Final = 0x01
GROUP: Final = 0x04
MASK: Final = 0x10
EVERYBODY: Final = 0x20


@dataclass(frozen=True, kw_only=True)
class Heritage:
    """What new entries of a directory get."""

    group: int | None = None
    """The group; None for that of the process."""
    default_list: bytes | None = None
    """The default access control list, as the kernel encodes it."""

    @property
    def set_group(self) -> int:
        """The bit that new directories get."""
        return 0 if self.group is None else SET_GROUP


NO_HERITAGE: Final = Heritage()


def access_list(default: bytes, mode: int) -> bytes:
    """Return the access control list of a new file or directory, as the kernel makes it.

    Args:
        default: The default list of its directory, as the kernel encodes it.
        mode: The mode that it is made with: no permission beyond it is given.
    """
    entries = list(LIST_ENTRY.iter_unpack(default[VERSION.size :]))
    masked = any(tag == MASK for tag, _, _ in entries)
    limits = {OWNER: mode >> 6, MASK if masked else GROUP: mode >> 3, EVERYBODY: mode}
    found = default[: VERSION.size]
    for tag, permissions, identifier in entries:
        found += LIST_ENTRY.pack(tag, permissions & limits.get(tag, 0o7), identifier)
    return found


def endow(descriptor: int, mode: int, heritage: Heritage) -> None:
    """Give a new file or directory what the kernel gives to those that are made in their directory."""
    if heritage.group is not None:
        set_owner(descriptor, (-1, heritage.group))
    if heritage.default_list is not None:
        os.setxattr(descriptor, ACCESS_LIST, access_list(heritage.default_list, mode))


def set_owner(descriptor: int, owner: tuple[int, int]) -> None:
    """Set user and group of an open file, where that is allowed."""
    try:
        os.fchown(descriptor, *owner)
    except OSError as exc:
        # Not allowed, or unknown in this user namespace.
        if exc.errno not in {errno.EPERM, errno.EINVAL}:
            raise
