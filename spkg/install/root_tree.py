"""The tree below a root, as the planner sees it.

A :class:`AnyTree` is only read, never changed; :class:`RootTree` reads a real one.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import Final, Protocol

from spkg.common.frozen import dataclass
from spkg.errors import HostError, os_problem
from spkg.format.paths import OWN_DIRECTORY
from spkg.install.heritage import Heritage
from spkg.install.readable_root import ReadableRoot
from spkg.install.tree_path import Parts
from spkg.install.upper_layer import TMPFS, upper_layer

__all__ = ["OWN", "AnyTree", "EntryKind", "Room", "RootTree", "TreeEntry"]

OWN: Final[Parts] = (OWN_DIRECTORY,)
"""The installer's own directory."""
FOLDING: Final = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "cifs", "smb3", "hfs", "hfsplus"})
"""Types of file systems that ignore the case of names."""

STATUS_BLOCK: Final = 512
"""The unit in which the status of a file counts what it takes."""


class EntryKind(Enum):
    """The kind of a directory entry."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symbolic link"
    OTHER = "special file"
    """A device, FIFO or socket: removed or moved, never replaced or opened."""


@dataclass(frozen=True, kw_only=True)
class TreeEntry:
    """The entry at a path."""

    kind: EntryKind
    mode: int = 0o644
    """The permission bits, including those above 0777."""
    owner: tuple[int, int] = (0, 0)
    """User and group."""
    size: int = 0
    octets: int | None = None
    """What it takes of the file system, in bytes; None if that is its size."""
    links: int = 1
    """How many names it has."""
    lower: bool = False
    """Whether it may be in a lower layer of an overlayfs only: it is copied before it changes."""
    elsewhere: bool = False
    """Whether it is a directory of another file system without a mount, as a btrfs subvolume is."""
    own: bool = False
    """Whether it is the installer's own directory, however it is spelled."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """The space of the file system and the memory."""

    size: int | None
    """The size of the file system, in bytes; None if it does not say."""
    free: int | None
    """The free space, in bytes; None if it is unknown."""
    inodes: int | None
    """How many more files there can be; None if there is no limit."""
    block: int
    """The least space that a file takes, in bytes."""
    memory: int
    """The size of the volatile storage, in bytes."""
    names_count: bool = False
    """Whether a second name of a file takes an inode, as on tmpfs."""
    grows: bool = True
    """Whether directories take more for more names, as not on tmpfs."""


class AnyTree(Protocol):
    """Reads a tree.  Every method raises ``OSError`` if that fails."""

    @property
    def mounts(self) -> frozenset[Parts]:
        """The mount points below the root."""
        ...

    @property
    def folds(self) -> bool:
        """Whether the file system ignores the case of names."""
        ...

    @property
    def layered(self) -> bool:
        """Whether the file system is an overlayfs."""
        ...

    def entry(self, path: Parts) -> TreeEntry | None:
        """Return the entry at a path whose parents are directories."""
        ...

    def names(self, path: Parts) -> Sequence[bytes]:
        """Return the names in a directory."""
        ...

    def target(self, path: Parts) -> bytes:
        """Return the target of a symbolic link."""
        ...

    def fixed(self, path: Parts, *, whole: bool = False) -> tuple[Parts, str] | None:
        """Return an entry that can be neither removed nor renamed, and why; *whole*: also one below it."""
        ...

    def writable(self, path: Parts) -> bool:
        """Whether this user may change the entries of a directory; True if it is missing."""
        ...

    def heritage(self, path: Parts) -> Heritage:
        """Return what a directory gives to new entries in it."""
        ...

    def attribute_names(self, path: Parts) -> tuple[str, ...]:
        """Return the names of the extended attributes of a file, as far as they can be read."""
        ...

    def access_list(self, path: Parts) -> bytes | None:
        """Return the access control list of a file; None if it has none but its mode."""
        ...

    def room(self) -> Room:
        """Return the space of the file system and the memory."""
        ...


class RootTree:
    """The tree below a root.

    Args:
        root: The root.
        reusable: How many bytes, in how many files, are already staged by an installation that is resumed.
        space: The space of the file system; None for that which it has now.

    Raises:
        HostError: There is no /proc, so that mounts below the root would be overlooked.
    """

    def __init__(
        self,
        root: ReadableRoot,
        *,
        reusable: tuple[int, int] = (0, 0),
        space: os.statvfs_result | None = None,
    ) -> None:
        self._root = root
        self._space = space
        self._octets, self._files = reusable
        top = root.status(())
        self._device = None if top is None else top.st_dev
        own = root.status(OWN)
        self._own = None if own is None else (own.st_dev, own.st_ino)
        self.layered = root.layered
        mounts, place = _mount_table(root)
        above = split_mount(place)
        points = {split_mount(_unescaped(fields[4])): fields[fields.index(b"-") + 1] for fields in mounts}
        self.mounts = frozenset(
            point[len(above) :] for point in points if point[: len(above)] == above and point != above
        )
        nearest = max((point for point in points if above[: len(point)] == point), key=len, default=())
        self.folds = _ignores_case(root, points.get(nearest, b"").decode())
        self._upper = upper_layer(mounts, above) if self.layered else None

    def entry(self, path: Parts) -> TreeEntry | None:
        """Return the entry at a path."""
        found = self._root.status(path)
        if found is None:
            return None
        return TreeEntry(
            kind=_kind(found.st_mode),
            mode=stat.S_IMODE(found.st_mode),
            owner=(found.st_uid, found.st_gid),
            size=found.st_size,
            octets=found.st_blocks * STATUS_BLOCK,
            links=found.st_nlink,
            lower=self._upper is not None and self._upper.lacks(path),
            elsewhere=stat.S_ISDIR(found.st_mode) and found.st_dev != self._device,
            own=(found.st_dev, found.st_ino) == self._own,
        )

    def names(self, path: Parts) -> Sequence[bytes]:
        """Return the names in a directory."""
        return self._root.names(path)

    def target(self, path: Parts) -> bytes:
        """Return the target of a symbolic link."""
        return self._root.target(path)

    def fixed(self, path: Parts, *, whole: bool = False) -> tuple[Parts, str] | None:
        """Return an entry that can be neither removed nor renamed, and why; *whole*: also one below it."""
        return self._root.fixed(path, whole=whole)

    def writable(self, path: Parts) -> bool:
        """Whether this user may change the entries of a directory; True if it is missing."""
        return self._root.writable(path)

    def heritage(self, path: Parts) -> Heritage:
        """Return what a directory gives to new entries in it."""
        return self._root.heritage(path)

    def attribute_names(self, path: Parts) -> tuple[str, ...]:
        """Return the names of the extended attributes of a file, as far as they can be read."""
        return self._root.attribute_names(path)

    def access_list(self, path: Parts) -> bytes | None:
        """Return the access control list of a file; None if it has none but its mode."""
        return self._root.access_list(path)

    def room(self) -> Room:
        """Return the space of the file system and the memory."""
        found = self._root.space() if self._space is None else self._space
        counts = found.f_blocks > 0  # a file system in memory without a limit reports none
        kind = self._root.kind if self._upper is None else self._upper.kind
        return Room(
            size=found.f_blocks * found.f_frsize if counts else None,
            free=found.f_bavail * found.f_frsize + self._octets if counts else None,
            inodes=found.f_favail + self._files if found.f_files else None,
            names_count=kind == TMPFS or (self._upper is not None and self._upper.names_count),
            grows=kind != TMPFS,
            block=found.f_frsize,
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        )


def _ignores_case(root: ReadableRoot, kind: str) -> bool:
    """Whether a name is found in another spelling, which a FUSE does not say, nor an ext4.

    Args:
        root: The root; once anything was installed, at least the installer's own directory is there.
        kind: The type of its file system, if there is no name to try it with.
    """
    with suppress(OSError):
        names = root.names(())
        for name in names:
            other = name.swapcase()
            if other not in names:
                return root.status((other,)) is not None
    return kind in FOLDING


def _mount_table(root: ReadableRoot) -> tuple[list[list[bytes]], bytes]:
    """Return the fields of all mounts, and the real path of a root.

    Raises:
        HostError: There is no /proc.
    """
    try:
        with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123 - a fixed path of the kernel
            return [line.split() for line in file], os.fsencode(root.file_system())
    except OSError as exc:
        hint = "mount /proc: the kernel lists mounts below the root only there"
        raise HostError(os_problem(exc), hint=hint) from exc


def split_mount(path: bytes) -> Parts:
    """Return the components of an absolute path."""
    return tuple(part for part in path.split(b"/") if part)


def _unescaped(path: bytes) -> bytes:
    """Return a path of mountinfo with its octal escapes, as for blanks and backslashes, decoded."""
    for octet in b" \t\n#\\":
        path = path.replace(b"\\%03o" % octet, bytes((octet,)))
    return path


def _kind(mode: int) -> EntryKind:
    kinds = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.LINK}
    return kinds.get(stat.S_IFMT(mode), EntryKind.OTHER)
