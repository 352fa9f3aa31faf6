"""The root directory of a device as it is looked at: nothing here changes it.

An existing file is never opened but to be read, and anything but a regular file is never opened at all.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from spkg.install.beneath import Beneath
from spkg.install.heritage import ACCESS_LIST, DEFAULT_LIST, SET_GROUP, Heritage
from spkg.install.system_calls import is_fixed, is_read_only
from spkg.install.tree_path import Parts, shown
from spkg.install.tree_removal import names_in

__all__ = ["NO_ATTRIBUTES", "ReadableRoot", "descriptor_at"]

NO_ATTRIBUTES: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of a file system that has no extended attributes."""


class ReadableRoot(Beneath):
    """A directory, and all that can be known of what is beneath it.

    Every method that takes a path raises ``OSError`` with that path if it fails, and ``ValueError`` if the
    path is not one below the root.
    """

    def status(self, path: Parts) -> os.stat_result | None:
        """Return the status of a path, or None if it does not exist."""
        if not path:
            return os.fstat(self._fd)

        def look(parent: int, name: bytes) -> os.stat_result | None:
            try:
                return os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return None

        try:
            return self._at(path, look)
        except FileNotFoundError:  # a directory above it does not exist
            return None

    def names(self, path: Parts) -> list[bytes]:
        """Return the names in a directory, sorted by their bytes."""
        with self._opened(path) as descriptor:
            return sorted(names_in(descriptor))

    def target(self, path: Parts) -> bytes:
        """Return the target of a symbolic link."""
        return self._at(path, lambda parent, name: os.readlink(name, dir_fd=parent))

    def read(self, path: Parts, limit: int) -> bytes:
        """Return the contents of a regular file of at most *limit* bytes."""

        def read(parent: int, name: bytes) -> bytes:
            # Open only what is known to be a regular file: a FIFO could block, a device could do anything.
            with descriptor_at(name, os.O_PATH | os.O_NOFOLLOW, parent) as found:
                mode = os.fstat(found).st_mode
                if not stat.S_ISREG(mode):
                    number = {stat.S_IFDIR: errno.EISDIR, stat.S_IFLNK: errno.ELOOP}.get(stat.S_IFMT(mode))
                    told = "not a regular file" if number is None else os.strerror(number)
                    raise OSError(number or errno.EINVAL, told)
                with open(_readable(found, name, parent), "rb") as file:
                    octets = file.read(limit + 1)
            if len(octets) > limit:
                raise OSError(errno.EFBIG, f"larger than {limit} bytes")
            return octets

        return self._at(path, read)

    def heritage(self, path: Parts) -> Heritage:
        """Return what a directory gives to new entries in it."""
        with self._opened(path) as descriptor:
            found = os.fstat(descriptor)
            try:
                default = os.getxattr(descriptor, DEFAULT_LIST)
            except OSError:  # there is none, or the file system has no such lists
                default = None
        return Heritage(group=found.st_gid if found.st_mode & SET_GROUP else None, default_list=default)

    def attribute_names(self, path: Parts) -> tuple[str, ...]:
        """Return the names of an entry's extended attributes, or none if they can't be read; needs /proc."""

        def list_them(parent: int, name: bytes) -> list[str]:
            return os.listxattr(_place_of(parent, name), follow_symlinks=False)

        try:
            return tuple(sorted(self._at(path, list_them)))
        except OSError:
            return ()

    def access_list(self, path: Parts) -> bytes | None:
        """Return the access control list of an entry; None if it has none but its mode; this needs /proc."""

        def get(parent: int, name: bytes) -> bytes | None:
            try:
                return os.getxattr(_place_of(parent, name), ACCESS_LIST, follow_symlinks=False)
            except OSError as exc:
                if exc.errno != errno.ENODATA and exc.errno not in NO_ATTRIBUTES:
                    raise
                return None

        return self._at(path, get)

    def fixed(self, path: Parts, *, whole: bool = False) -> tuple[Parts, str] | None:
        """Return an entry that can be neither removed nor renamed, and why; None if none is known.

        Args:
            path: The entry.
            whole: Whether to look at everything below it, too.
        """
        try:
            with self._parent(path) as parent:
                why = is_fixed(path[-1] if path else b"", parent)
        except OSError:
            return None
        if why is not None:
            return path, why
        return self._fixed_below(path) if whole else None

    def writable(self, path: Parts) -> bool:
        """Whether this user may change the entries of a directory; True if it is missing.

        Also where nothing can be written at all: no permission would help.
        """
        try:
            with self._parent((*path, b".")) as found:
                if os.access(".", os.W_OK | os.X_OK, dir_fd=found, effective_ids=True):
                    return True
                return bool(os.fstatvfs(found).f_flag & os.ST_RDONLY) or is_read_only(found)
        except OSError:
            return True

    def is_read_only(self) -> bool:
        """Whether nothing can be written in the root, though its file system is mounted for writing."""
        return is_read_only(self._fd)

    def space(self) -> os.statvfs_result:
        """Return the size and free space of the file system."""
        try:
            return os.fstatvfs(self._fd)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, shown(())) from exc

    def file_system(self) -> str:
        """Return the real path of the directory, below which mounts are looked for; this needs /proc."""
        return os.readlink(f"/proc/self/fd/{self._fd}")  # noqa: PTH115 - a fixed path of the kernel

    @contextmanager
    def locked(self, path: Parts) -> Iterator[bool]:
        """Lock a directory against other processes; gives False if another process holds the lock."""
        descriptor = self._list(path)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            except OSError as exc:
                raise OSError(exc.errno, exc.strerror, shown(path)) from exc
            else:
                yield True
        finally:
            os.close(descriptor)  # this releases the lock

    def _fixed_below(self, path: Parts) -> tuple[Parts, str] | None:
        """Look at everything below a directory; only directories are opened."""
        waiting = [path]
        while waiting:
            at = waiting.pop()
            with suppress(OSError), self._opened(at) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    below = (*at, os.fsencode(entry.name))
                    why = is_fixed(below[-1], descriptor)
                    if why is not None:
                        return below, why
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(below)
        return None


@contextmanager
def descriptor_at(name: bytes, flags: int, parent: int) -> Iterator[int]:
    """Give a descriptor of a name in an open directory, and close it."""
    descriptor = os.open(name, flags | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _place_of(parent: int, name: bytes) -> bytes:
    """Return a path of a name in an open directory, for calls on attributes: they take no directory."""
    return b"/proc/self/fd/%d/%s" % (parent, name)


def _readable(found: int, name: bytes, parent: int) -> int:
    """Return a descriptor with which a regular file that was found can be read.

    Raises:
        OSError: It can't be opened; FileNotFoundError never, since it was found.
    """
    try:
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)  # this very file
    except FileNotFoundError:  # there is no /proc, as early in a boot
        pass
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError as exc:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from exc
    if not os.path.samestat(os.fstat(descriptor), os.fstat(found)):
        os.close(descriptor)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return descriptor
