"""The root directory of a device: the only code that changes its contents.

Every operation works on one name in a directory that was opened beneath the root.  Paths are rejected, never
normalised.  No symbolic link is followed and no mount is entered, even if entries are swapped meanwhile.  An
existing file is never opened for writing, and anything but a regular file is never opened at all.
"""

import errno
import fcntl
import os
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Final, Self, TypeVar

from spkg.format.paths import OWN_DIRECTORY
from spkg.install.heritage import (
    ACCESS_LIST,
    DEFAULT_LIST,
    NO_HERITAGE,
    SET_GROUP,
    Heritage,
    endow,
    set_owner,
)
from spkg.install.new_file import NewFile
from spkg.install.system_calls import (
    OPEN_DIRECTORY,
    OVERLAYFS,
    exchange_names,
    file_system_type,
    has_openat2,
    is_fixed,
    mount_of,
    open_beneath,
    sync_file_system,
)
from spkg.install.tree_path import Parts, check_path, shown
from spkg.install.tree_removal import LISTABLE, check_mount, names_in, remove_beneath

__all__ = ["Resolver", "Root"]

_Result = TypeVar("_Result")

STAY: Final = 64
"""How many operations stay in the directories that they find, at most."""

SPARED: Final = 12
"""How many descriptors are left for the work in the directories that stay open."""
NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
NOT_EMPTY: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})
NO_ATTRIBUTES: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
UNKNOWN_ATTRIBUTE: Final = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP})
"""Errors for an extended attribute that can't be set here, or by this user."""


class Resolver(Enum):
    """How a directory is found beneath the root."""

    OPENAT2 = "openat2"
    """By the kernel in one step."""
    WALK = "walk"
    """Component by component, if the kernel can't (before Linux 5.6, or under a system call filter)."""


class Root:
    """A directory, and all operations beneath it.

    Every method that takes a path raises ``OSError`` with that path if it fails, and ``ValueError`` if the
    path is not one below the root.

    Args:
        path: The directory; if it is a symbolic link, it is followed, since the caller named it.
        resolver: How directories are found; None for the best way that the kernel has.
    """

    def __init__(self, path: Path, resolver: Resolver | None = None) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._mount = mount_of(self._fd)
        if resolver is None:
            resolver = Resolver.OPENAT2 if has_openat2(self._fd) else Resolver.WALK
        self.resolver = resolver
        self.kind = file_system_type(self._fd)
        """The type of the file system, as the kernel numbers them; 0 if it is unknown."""
        self.layered = self.kind == OVERLAYFS
        """Whether it is on an overlayfs: what is in a lower layer is copied before it changes."""
        self._open: dict[Parts, int] = {}
        self._staying = False
        self._uses = 0
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = sys.maxsize if most == resource.RLIM_INFINITY else most - SPARED
        self._crowded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory."""
        self._forget(())
        os.close(self._fd)

    def fileno(self) -> int:
        """Return the descriptor of the directory."""
        return self._fd

    @contextmanager
    def staying(self) -> Iterator[None]:
        """Keep the directories open that are worked in, for a few operations each, as if these were one.

        As during any operation, a directory that another program moves meanwhile takes them with it.
        """
        before, self._staying = self._staying, True
        try:
            yield
        finally:
            self._staying = before
            self._leave()

    # Reading.

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
            with _open(name, os.O_PATH | os.O_NOFOLLOW, parent) as found:
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
        """Whether this user may change the entries of a directory; True if it is missing."""
        try:
            with self._parent((*path, b".")) as found:
                allowed = os.access(".", os.W_OK | os.X_OK, dir_fd=found, effective_ids=True)
                return allowed or bool(os.fstatvfs(found).f_flag & os.ST_RDONLY)  # no permission would help
        except OSError:
            return True

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

    # Changing.

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
                    os.fchmod(descriptor, 0o600)
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
            with _open(name, OPEN_DIRECTORY, parent) as made:
                try:
                    os.chmod(f"/proc/self/fd/{made}", mode)  # noqa: PTH101 - the umask may forbid opening it
                except FileNotFoundError:  # there is no /proc
                    with _open(b".", LISTABLE, made) as listable:
                        os.fchmod(listable, mode)
                if path == (OWN_DIRECTORY,):
                    with _open(b".", LISTABLE, made) as listable:
                        _disown(listable)
                elif heritage != NO_HERITAGE:
                    with _open(b".", LISTABLE, made) as listable:
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
            os.chmod(name, 0o700, dir_fd=parent)  # the umask may forbid opening it
            with _open(name, LISTABLE, parent) as made:
                set_owner(made, (found.st_uid, found.st_gid))
                for attribute, octets in attributes.items():
                    try:
                        os.setxattr(made, attribute, octets)
                    except OSError as exc:
                        if exc.errno not in UNKNOWN_ATTRIBUTE:
                            raise
                os.fchmod(made, stat.S_IMODE(found.st_mode))

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
            if exc.errno != errno.EXDEV and exc.errno not in NOT_EMPTY:
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

    def _at(self, path: Parts, work: Callable[[int, bytes], _Result]) -> _Result:
        """Call *work* with the directory of a path, and the name in it."""
        check_path(path)
        self._look_again()
        try:
            with self._parent(path) as parent:
                return work(parent, path[-1])
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, shown(path)) from exc

    def _between(self, source: Parts, destination: Parts, work: Callable[[int, int], _Result]) -> _Result:
        """Call *work* with the directories of two paths; its errors name both, or the one in the tree."""
        check_path(source)
        check_path(destination)
        self._look_again()
        ends: tuple[Parts, ...] = (source,)
        try:
            with self._parent(source) as parent:
                ends = (destination,)
                with self._parent(destination, beside=source[:-1]) as other:
                    ends = (source, destination)
                    return work(parent, other)
        except OSError as exc:
            told = [path for path in ends if len(ends) == 1 or path[:1] != (OWN_DIRECTORY,)] or [source]
            raise OSError(exc.errno, exc.strerror, " -> ".join(map(shown, told))) from exc

    def _parent(self, path: Parts, beside: Parts = ()) -> "_Held":
        """Open the directory that contains the entry of a path.

        The installer's own directories stay open: no other program uses them, and every file goes through
        them.  Any other directory is resolved again each time, or every few times where this stays in it,
        since it may have been moved.

        Args:
            path: The path.
            beside: A directory that is in use by the same operation.
        """
        above = path[:-1]
        if not above:
            return _Held(self._fd, close=False)
        if above[0] != OWN_DIRECTORY:
            if not self._staying:
                return _Held(self._directory(above), close=True)
            self._uses += 1
        known = self._open.get(above)
        if known is None:
            try:
                opened = self._directory(above)
            except OSError as exc:
                if exc.errno not in NO_DESCRIPTORS:
                    raise
                self._leave(beside)
                opened = self._directory(above)
            self._crowded |= opened >= self._most  # the kernel gives the lowest number that is free
            known = self._open.setdefault(above, opened)
            if known != opened:  # another thread was faster
                os.close(opened)
        return _Held(known, close=False)

    def _look_again(self) -> None:
        """Begin an operation: after a few of them, all directories are resolved again."""
        if self._uses >= STAY or self._crowded:
            self._leave()

    def _leave(self, beside: Parts = ()) -> None:
        """Close the directories that are not the installer's own, but for one that is in use."""
        for known in [known for known in self._open if known[0] != OWN_DIRECTORY and known != beside]:
            os.close(self._open.pop(known))
        self._uses, self._crowded = 0, False

    def _forget(self, path: Parts) -> None:
        """Close directories that are open at a path and below it: they may be about to move."""
        for known in [known for known in self._open if known[: len(path)] == path]:
            os.close(self._open.pop(known))

    @contextmanager
    def _opened(self, path: Parts) -> Iterator[int]:
        """Open a directory so that it can be listed and synced."""
        descriptor = self._list(path)
        try:
            yield descriptor
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, shown(path)) from exc
        finally:
            os.close(descriptor)

    def _list(self, path: Parts) -> int:
        """Return a new descriptor of a directory, with which it can be listed and synced."""
        if path:
            check_path(path)
        try:
            found = self._directory(path)
            try:
                return os.open(".", LISTABLE, dir_fd=found)
            finally:
                os.close(found)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, shown(path)) from exc

    def _directory(self, path: Parts) -> int:
        """Return a new descriptor of a directory beneath the root."""
        if not path:
            return os.open(".", OPEN_DIRECTORY, dir_fd=self._fd)
        if self.resolver is Resolver.OPENAT2:
            return open_beneath(self._fd, path)
        return self._walk(path)

    def _walk(self, path: Parts) -> int:
        current = os.open(".", OPEN_DIRECTORY, dir_fd=self._fd)
        for part in path:
            try:
                following = os.open(part, OPEN_DIRECTORY, dir_fd=current)
            finally:
                os.close(current)
            current = following
            try:
                check_mount(current, self._mount)
            except OSError:
                os.close(current)
                raise
        return current

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


class _Held:
    """The descriptor of a directory for one operation; cheaper than a generator."""

    __slots__ = ("_close", "_descriptor")

    def __init__(self, descriptor: int, *, close: bool) -> None:
        self._descriptor = descriptor
        self._close = close

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_exc: object) -> None:
        if self._close:
            os.close(self._descriptor)


@contextmanager
def _open(name: bytes, flags: int, parent: int) -> Iterator[int]:
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
