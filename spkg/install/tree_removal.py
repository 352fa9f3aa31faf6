"""Removing a tree beneath an open directory: no link is followed, and no mount is entered."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final

from spkg.common.worker_threads import Crew, NoThreadError
from spkg.install.system_calls import mount_of
from spkg.install.tree_path import Parts

__all__ = ["LISTABLE", "check_mount", "names_in", "remove_beneath"]

LISTABLE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened to be listed or synced."""
DEEP: Final = 64
"""How many directories are open at the same time while a tree is removed."""
MANY_NAMES: Final = 64
"""The number of names from which on several are removed at a time."""
SIDE_BY_SIDE: Final = 8
"""How many names are removed at a time."""


def check_mount(descriptor: int, mount: int) -> None:
    """Check that a directory is on a mount.

    Raises:
        OSError: It is on another one.
    """
    if mount_of(descriptor) != mount:
        raise OSError(errno.EXDEV, "a mount point")


def names_in(descriptor: int) -> list[bytes]:
    """Return the names in an open directory, in any order."""
    with os.scandir(descriptor) as entries:
        return [os.fsencode(entry.name) for entry in entries]


def remove_beneath(
    parent: int, name: bytes, mount: int, problem: Callable[[OSError, Parts], object] | None = None
) -> None:
    """Remove a tree without recursion; directories too deep to be kept open are carried up in it.

    Args:
        parent: A descriptor of the directory that it is in.
        name: Its name.
        mount: The number of the mount that is never left.
        problem: Called with what can't be removed, to go on with the rest; without it, that is raised.

    Raises:
        OSError: Something can't be removed.
    """
    stack: list[tuple[int, bytes, list[bytes]]] = []
    numbers = count()
    waiting = [name]
    try:
        while waiting or stack:
            names = stack[-1][2] if stack else waiting
            emptied = not names
            if names:
                entry = names.pop()
            else:
                descriptor, entry, _ = stack.pop()
                os.close(descriptor)
            above = stack[-1][0] if stack else parent
            at = (*(own for _, own, _ in stack), entry)
            try:
                if emptied:
                    os.rmdir(entry, dir_fd=above)
                elif _unlinked(entry, above):
                    pass
                elif len(stack) < DEEP or not _carry(entry, above, stack[0], numbers):
                    stack.append(_entered(entry, above, mount))
            except OSError as exc:
                if problem is None:
                    raise
                problem(exc, at)
    finally:
        for descriptor, _, _ in stack:
            os.close(descriptor)


def _entered(name: bytes, above: int, mount: int) -> tuple[int, bytes, list[bytes]]:
    """Open a directory to remove it; return its descriptor, its name and what is in it."""
    descriptor = os.open(name, LISTABLE, dir_fd=above)
    try:
        check_mount(descriptor, mount)
        return descriptor, name, _thinned(names_in(descriptor), descriptor)
    except OSError:
        os.close(descriptor)
        raise


def _unlinked(name: bytes, parent: int) -> bool:
    """Remove an entry unless it is a directory; return whether it was removed."""
    try:
        os.unlink(name, dir_fd=parent)
    except (IsADirectoryError, PermissionError):  # the second also for a directory that is immutable
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
        return False
    return True


def _thinned(names: list[bytes], directory: int) -> list[bytes]:
    """Remove what can be removed at once of many entries, some at a time; return the names of the rest.

    A file system that tells the disk which blocks are free may wait for that at each file.
    """
    if len(names) < MANY_NAMES:
        return names
    left: list[bytes] = []

    def remove(some: list[bytes]) -> None:
        for name in some:
            try:
                if crew.leaving or not _unlinked(name, directory):
                    left.append(name)
            except OSError:  # the one that removes the rest tries again, and tells why
                left.append(name)

    with suppress(NoThreadError), Crew(SIDE_BY_SIDE, abandon=False) as crew:
        for number in range(SIDE_BY_SIDE):
            crew.hand(partial(remove, names[number::SIDE_BY_SIDE]))
        for _ in range(SIDE_BY_SIDE):
            crew.wait()
        return left
    return names


def _carry(entry: bytes, above: int, top: tuple[int, bytes, list[bytes]], numbers: Iterator[int]) -> bool:
    """Move a directory up to where it is removed later; False if it lies in a lower layer of an overlayfs."""
    directory, _, names = top
    carried = next(name for name in map(b"%d".__mod__, numbers) if not _exists(name, directory))
    try:
        os.rename(entry, carried, src_dir_fd=above, dst_dir_fd=directory)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        return False
    names.append(carried)
    return True


def _exists(name: bytes, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
