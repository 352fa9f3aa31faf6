"""Finding what is beneath a directory: each name in a directory that was opened there.

Paths are rejected, never normalised.  No symbolic link is followed and no mount is entered, even if entries
are swapped meanwhile.
"""

import errno
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final, Self, TypeVar

from spkg.format.paths import OWN_DIRECTORY
from spkg.install.system_calls import (
    OPEN_DIRECTORY,
    OVERLAYFS,
    file_system_type,
    has_openat2,
    mount_of,
    open_beneath,
)
from spkg.install.tree_path import Parts, check_path, shown
from spkg.install.tree_removal import LISTABLE, check_mount

__all__ = ["Beneath", "Resolver"]

_Result = TypeVar("_Result")

STAY: Final = 64
"""How many operations stay in the directories that they find, at most."""

SPARED: Final = 12
"""How many descriptors are left for the work in the directories that stay open."""
NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


class Resolver(Enum):
    """How a directory is found beneath the root."""

    OPENAT2 = "openat2"
    """By the kernel in one step."""
    WALK = "walk"
    """Component by component, if the kernel can't (before Linux 5.6, or under a system call filter)."""


class Beneath:
    """A directory, and how the entries beneath it are found.

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
