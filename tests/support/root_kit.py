"""What tests of a root are made of: every method of it, and what shows that none touched what it must not."""

import ctypes
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from spkg.install.root import Root
from spkg.install.tree_path import Parts

__all__ = [
    "CHANGES",
    "FRESH",
    "LOOKS",
    "METHODS",
    "SECRET",
    "Watch",
    "deep",
    "make_special",
    "opened",
    "snapshot",
]

SECRET: Final = b"of somebody else"
FRESH: Final = (b"fresh",)
"""A name that is free."""


def snapshot(place: Path) -> dict[str, object]:
    """Return all that stands below a place: kinds, modes, contents, and when it last changed."""
    found: dict[str, object] = {}
    for path in sorted([place, *place.rglob("*")]):
        status = path.lstat()
        said: object = None
        if stat.S_ISLNK(status.st_mode):
            said = path.readlink()
        elif stat.S_ISREG(status.st_mode):
            said = path.read_bytes()
        found[str(path)] = (status.st_mode, status.st_ino, status.st_ctime_ns, said)
    return found


def opened(root: Root, path: Parts) -> bool:
    with root.locked(path) as free:
        return free


# Every method, on one path; those with two paths once for each.
LOOKS: Final[dict[str, Callable[[Root, Parts], object]]] = {
    "status": Root.status,
    "names": Root.names,
    "target": Root.target,
    "read": lambda root, path: root.read(path, 100),
    "locked": opened,
    "sync_directory": Root.sync_directory,
}
CHANGES: Final[dict[str, Callable[[Root, Parts], object]]] = {
    "create": lambda root, path: root.create(path).close(),
    "mkdir": lambda root, path: root.mkdir(path, 0o755),
    "rename from": lambda root, path: root.rename(path, FRESH),
    "rename to": lambda root, path: root.rename((b"file",), path),
    "link from": lambda root, path: root.link(path, FRESH),
    "link to": lambda root, path: root.link((b"file",), path),
    "unlink": Root.unlink,
    "remove_tree": Root.remove_tree,
}
METHODS: Final = LOOKS | CHANGES


def make_special(kind: str, place: Path) -> None:
    if kind == "fifo":
        os.mkfifo(place)
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(place))


class Watch:
    """Tells whether a file was opened, by whomever."""

    OPENED: Final = 0x20

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._fd, os.fsencode(path), self.OPENED) >= 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)

    def saw_it(self) -> bool:
        try:
            octets = os.read(self._fd, 4096)
        except BlockingIOError:
            return False
        # Without a name each event is four integers, of which the second says what happened.
        return any(mask & self.OPENED for mask in memoryview(octets).cast("I")[1::4])


def deep(place: Path, levels: int) -> None:
    """Make directories within one another, each with a file."""
    place.mkdir()
    above = os.open(place, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=above)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=above))
        below = os.open("d", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
