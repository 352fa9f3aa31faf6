"""What a new entry gets beside its mode: from its directory, or from the file that it replaces.

A directory gives its group, if its set-group-ID bit is set, and its default access control list.  Files and
directories are made elsewhere and renamed, so the kernel gives them neither.  A replaced file hands on its
own list: with one, the group bits of its mode are only the mask, the most that the list gives to anybody.
"""

import errno
import os
import struct
from typing import Final

from spkg.common.frozen import dataclass

__all__ = [
    "ACCESS_LIST",
    "DEFAULT_LIST",
    "NO_HERITAGE",
    "SET_GROUP",
    "Heritage",
    "access_list",
    "drop_list",
    "endow",
    "group_of_list",
    "is_portable",
    "set_mode",
    "set_owner",
]

ACCESS_LIST: Final = "system.posix_acl_access"
DEFAULT_LIST: Final = "system.posix_acl_default"
SET_GROUP: Final = 0o2000
VERSION: Final = struct.Struct("<I")
LIST_ENTRY: Final = struct.Struct("<HHI")
"""Tag, permissions and identifier of an entry of an access control list."""
OWNER: Final = 0x01
NAMED: Final = frozenset({0x02, 0x08})
"""The tags of entries for a user and for a group with an identifier."""
GROUP: Final = 0x04
MASK: Final = 0x10
EVERYBODY: Final = 0x20
NO_LIST: Final = frozenset({errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors for a file without a list, and for a file system without lists."""
NO_MODES: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of a file system without modes and owners, as one in user space; vfat passes over them."""
UNMAPPED: Final = 0xFFFFFFFF
"""The identifier of a user or group that this user namespace does not know."""


@dataclass(frozen=True, kw_only=True)
class Heritage:
    """What a new entry gets of its directory, or of the file that it replaces."""

    group: int | None = None
    """The group; None for that of the process."""
    default_list: bytes | None = None
    """The default access control list, as the kernel encodes it."""
    own_list: bytes | None = None
    """The access control list of the replaced file; it has the permissions of the mode."""

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
    entries = _entries(default)
    masked = any(tag == MASK for tag, _, _ in entries)
    limits = {OWNER: mode >> 6, MASK if masked else GROUP: mode >> 3, EVERYBODY: mode}
    found = default[: VERSION.size]
    for tag, permissions, identifier in entries:
        found += LIST_ENTRY.pack(tag, permissions & limits.get(tag, 0o7), identifier)
    return found


def group_of_list(found: bytes) -> int:
    """Return the permissions of a file's own group in an access control list: all bits where it has none."""
    return min((permissions for tag, permissions, _ in _entries(found) if tag == GROUP), default=0o7)


def is_portable(found: bytes) -> bool:
    """Whether an access control list can be given to another file: all of its users and groups are known."""
    return all(tag not in NAMED or identifier != UNMAPPED for tag, _, identifier in _entries(found))


def drop_list(descriptor: int) -> None:
    """Remove the access control list that a new file has got where it was made."""
    try:
        os.removexattr(descriptor, ACCESS_LIST)
    except OSError as exc:
        if exc.errno not in NO_LIST:
            raise


def endow(descriptor: int, mode: int, heritage: Heritage) -> None:
    """Give a new file or directory what it gets beside its mode."""
    if heritage.group is not None:
        set_owner(descriptor, (-1, heritage.group))
    if heritage.default_list is not None:
        os.setxattr(descriptor, ACCESS_LIST, access_list(heritage.default_list, mode))
    if heritage.own_list is not None:
        os.setxattr(descriptor, ACCESS_LIST, heritage.own_list)


def _entries(found: bytes) -> list[tuple[int, int, int]]:
    """Return the entries of an access control list: tag, permissions and identifier."""
    return list(LIST_ENTRY.iter_unpack(found[VERSION.size :]))


def set_owner(descriptor: int, owner: tuple[int, int]) -> None:
    """Set user and group of an open file, where that is allowed."""
    try:
        os.fchown(descriptor, *owner)
    except OSError as exc:
        # Not allowed, or unknown in this user namespace, or there are none.
        if exc.errno not in NO_MODES | {errno.EPERM, errno.EINVAL}:
            raise


def set_mode(place: int | str, mode: int) -> None:
    """Set the mode of an open file or of a path, where the file system has modes."""
    try:
        os.chmod(place, mode)  # noqa: PTH101 - mostly a descriptor
    except OSError as exc:
        if exc.errno not in NO_MODES:
            raise
