"""The root directory of a device: the only code that changes its contents.

Every operation works on one name in a directory that was opened beneath the root.  An existing file is never
opened for writing.
"""

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from spkg.format.paths import OWN_DIRECTORY
from spkg.install.heritage import ACCESS_LIST, DEFAULT_LIST, NO_HERITAGE, Heritage, endow, set_mode, set_owner
from spkg.install.new_file import NewFile
from spkg.install.readable_root import NO_ATTRIBUTES, ReadableRoot, descriptor_at
from spkg.install.system_calls import FUSE, OPEN_DIRECTORY, exchange_names, sync_file_system
from spkg.install.tree_path import Parts, shown
from spkg.install.tree_removal import LISTABLE, remove_beneath

__all__ = ["Root"]

NOT_EMPTY: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})
UNKNOWN_ATTRIBUTE: Final = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP})
"""Errors for an extended attribute that can't be set here, or by this user."""


class Root(ReadableRoot):
    """A directory, and all operations beneath it.

    Every method that takes a path raises ``OSError`` with that path if it fails, and ``ValueError`` if the
    path is not one below the root.

    Args:
        path: The directory; if it is a symbolic link, it is followed, since the caller named it.
        resolver: How directories are found; None for the best way that the kernel has.
    """

    def open_own(self, path: Parts) -> int:
        """Return a descriptor to read a regular file in the installer's own directory."""
        if path[:1] != (OWN_DIRECTORY,):
            raise ValueError("a file in the tree is opened by what it is found to be")

        def open_it(parent: int, name: bytes) -> int:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=parent)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(errno.EINVAL, "not a regular file")
            return descriptor

        return self._at(path, open_it)

    def create(self, path: Parts) -> NewFile:
        """Make a new file that only its owner can use."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

        def make(parent: int, name: bytes) -> int:
            descriptor = os.open(name, flags, 0o600, dir_fd=parent)
            try:
                if os.fstat(descriptor).st_mode & 0o600 != 0o600:  # the umask takes that from its owner, too
                    set_mode(descriptor, 0o600)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

        return NewFile(self._at(path, make), path)

    def reopen(self, path: Parts) -> NewFile:
        """Resume a file with one name in the installer's own directory, where no other program writes."""
        if path[:1] != (OWN_DIRECTORY,):
            raise ValueError("a file in the tree is never opened for writing")

        def reopen(parent: int, name: bytes) -> int:
            flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                descriptor = os.open(name, os.O_RDWR | flags, dir_fd=parent)
            except PermissionError:  # it has its final mode, so it is complete
                descriptor = os.open(name, os.O_RDONLY | flags, dir_fd=parent)
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                os.close(descriptor)
                raise OSError(errno.EINVAL, "not a regular file with exactly one name")
            os.lseek(descriptor, 0, os.SEEK_END)
            return descriptor

        return NewFile(self._at(path, reopen), path)

    def mkdir(self, path: Parts, mode: int, heritage: Heritage = NO_HERITAGE) -> None:
        """Make a directory with a mode, regardless of the umask, and with what its parent gives it."""

        def make(parent: int, name: bytes) -> None:
            os.mkdir(name, 0o700, dir_fd=parent)
            with descriptor_at(name, OPEN_DIRECTORY, parent) as made:
                try:
                    set_mode(f"/proc/self/fd/{made}", mode)  # the umask may forbid opening it
                except FileNotFoundError:  # there is no /proc
                    with descriptor_at(b".", LISTABLE, made) as listable:
                        set_mode(listable, mode)
                if path == (OWN_DIRECTORY,):
                    with descriptor_at(b".", LISTABLE, made) as listable:
                        _disown(listable)
                elif heritage != NO_HERITAGE:
                    with descriptor_at(b".", LISTABLE, made) as listable:
                        endow(listable, mode, heritage)
                        if heritage.default_list is not None:
                            os.setxattr(listable, DEFAULT_LIST, heritage.default_list)
                        if heritage.set_group:
                            os.fchmod(listable, os.fstat(listable).st_mode | heritage.set_group)

        self._at(path, make)

    def disown(self, path: Parts) -> None:
        """Let one of the installer's own directories give nothing to what is made in it, if possible."""
        if path[:1] != (OWN_DIRECTORY,):
            raise ValueError("directories of the tree keep their lists")
        with suppress(OSError), self._opened(path) as descriptor:
            _disown(descriptor)

    def mkdir_like(self, model: Parts, path: Parts) -> None:
        """Make a directory with the mode, owner and attributes of another one, in the installer's own."""
        with self._opened(model) as other:
            found = os.fstat(other)
            attributes = {name: os.getxattr(other, name) for name in _attributes(other)}

        def make(parent: int, name: bytes) -> None:
            os.mkdir(name, 0o700, dir_fd=parent)
            with suppress(OSError):
                os.chmod(name, 0o700, dir_fd=parent)  # the umask may forbid opening it
            with descriptor_at(name, LISTABLE, parent) as made:
                set_owner(made, (found.st_uid, found.st_gid))
                for attribute, octets in attributes.items():
                    try:
                        os.setxattr(made, attribute, octets)
                    except OSError as exc:
                        if exc.errno not in UNKNOWN_ATTRIBUTE:
                            raise
                set_mode(made, stat.S_IMODE(found.st_mode))

        self._at(path, make)

    def can_move(self, path: Parts, obstacle: Parts) -> bool:
        """Whether a directory can be renamed: one in a lower layer of an overlayfs can't.

        Nothing changes: a directory is never renamed to one that is not empty, but why tells.

        Args:
            path: The directory.
            obstacle: Another one that is not empty, in the installer's own.
        """
        if obstacle[:1] != (OWN_DIRECTORY,):
            raise ValueError("another program could empty the obstacle")

        def rename(parent: int, other: int) -> None:
            os.rename(path[-1], obstacle[-1], src_dir_fd=parent, dst_dir_fd=other)

        try:
            self._between(path, obstacle, rename)
        except OSError as exc:
            # A file system in user space gives its own reasons.
            if exc.errno != errno.EXDEV and exc.errno not in NOT_EMPTY and self.kind != FUSE:
                raise
            return exc.errno != errno.EXDEV
        raise ValueError("the obstacle was empty")

    def bring_up(self, path: Parts) -> None:
        """Have an overlayfs copy an entry to its upper layer, as before any change.

        Nothing else changes, but the time of a directory of another user.
        """

        def touch(parent: int, name: bytes) -> None:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            times = (found.st_atime_ns, found.st_mtime_ns)
            try:
                os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
            except PermissionError:
                # Only the owner may state a time.  A file is copied when its name changes.
                if stat.S_ISDIR(found.st_mode):
                    with suppress(PermissionError):
                        os.utime(name, dir_fd=parent, follow_symlinks=False)

        self._at(path, touch)

    def rename(self, source: Parts, destination: Parts) -> None:
        """Rename an entry; a file that exists at the destination is replaced."""
        self._forget(source)
        self._forget(destination)

        def rename(parent: int, other: int) -> None:
            os.rename(source[-1], destination[-1], src_dir_fd=parent, dst_dir_fd=other)

        self._between(source, destination, rename)

    def exchange(self, one: Parts, other: Parts) -> bool:
        """Let two files change their names at once, without room for a third; False if the system can't."""

        def exchange(parent: int, others: int) -> bool:
            return exchange_names(parent, one[-1], others, other[-1])

        return self._between(one, other, exchange)

    def link(self, source: Parts, destination: Parts) -> None:
        """Give an entry that is not a directory a second name."""

        def link(parent: int, other: int) -> None:
            names = source[-1], destination[-1]
            os.link(*names, src_dir_fd=parent, dst_dir_fd=other, follow_symlinks=False)

        self._between(source, destination, link)

    def unlink(self, path: Parts) -> None:
        """Remove an entry that is not a directory."""
        self._at(path, lambda parent, name: os.unlink(name, dir_fd=parent))

    def remove_tree(self, path: Parts) -> None:
        """Remove the entry at a path and everything below it; stop at the first mount point."""
        self._forget(path)
        self._at(path, lambda parent, name: remove_beneath(parent, name, self._mount))

    def sweep(self, path: Parts) -> OSError | None:
        """Remove as much as possible of the entry at a path and everything below it.

        Returns:
            The first problem, with the path of what can't be removed; None if nothing is left.
        """
        self._forget(path)
        problems: list[OSError] = []

        def note(exc: OSError, below: Parts) -> None:
            problems.append(OSError(exc.errno, exc.strerror, shown((*path, *below[1:]))))

        try:
            self._at(path, lambda parent, name: remove_beneath(parent, name, self._mount, note))
        except OSError as exc:
            problems.append(exc)
        gone = self.status(path) is None if problems else True
        return None if gone else problems[0]

    # Making changes durable.

    def sync_directory(self, path: Parts) -> None:
        """Make the entries of a directory durable."""
        if self.layered:
            self.sync_all()  # the directories above it may be new in the upper layer
            return
        with self._opened(path) as descriptor:
            try:
                os.fsync(descriptor)
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    raise
                self.sync_all()  # a file system that syncs no directories alone, as squashfs

    def sync_all(self) -> None:
        """Make all writes to this file system durable."""
        try:
            sync_file_system(self._fd)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, shown(())) from exc


def _disown(descriptor: int) -> None:
    """Let the installer's own directory give nothing to what is made in it."""
    for name in (DEFAULT_LIST, ACCESS_LIST):
        with suppress(OSError):  # there is none, or the file system has no such lists
            os.removexattr(descriptor, name)


def _attributes(descriptor: int) -> tuple[str, ...]:
    """Return the names of the extended attributes of an open file; none on a file system without them."""
    try:
        return tuple(sorted(os.listxattr(descriptor)))
    except OSError as exc:
        if exc.errno not in NO_ATTRIBUTES:
            raise
        return ()
