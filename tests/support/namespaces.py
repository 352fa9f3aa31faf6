"""Places of their own for tests: mounts that nobody else sees, and directories in memory."""

import ctypes
import fcntl
import multiprocessing
import os
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

NEW_NAMESPACE: Final = 0x00020000
NEW_USERS: Final = 0x10000000
NEW_NETWORK: Final = 0x40000000
SET_ADDRESS: Final = 0x8916
SET_FLAGS: Final = 0x8914
UP: Final = 1
PRIVATE: Final = 1 << 18
RECURSIVE: Final = 1 << 14
BIND: Final = 1 << 12
READ_ONLY: Final = 1
REMOUNT: Final = 1 << 5

_libc = ctypes.CDLL(None, use_errno=True)


def isolated(work: Callable[..., None], *args: object) -> None:
    """Run a function of a module with a table of mounts of its own; what it asserts counts here.

    Where the system gives none this is said as loudly as a judge that is missing.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        problem = pool.submit(_run, work, args).result()
    if problem is not None:
        not_judged(f"no mounts of one's own: {problem}")


@contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """Give a directory in memory where there is one: what is durable is no matter there, and takes long."""
    memory = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own
    if not os.access(memory, os.W_OK):
        yield otherwise
        return
    with TemporaryDirectory(dir=memory) as made:
        yield Path(made)


def not_judged(why: str) -> None:
    """Say that a check could not be made here, where nothing that could be installed is missing."""
    pytest.skip(f"NOT JUDGED: {why}")


def mount_memory(point: Path, options: str = "") -> None:
    """Mount a new file system in memory."""
    _check(_libc.mount(b"none", os.fsencode(point), b"tmpfs", 0, options.encode()))


def mount_layers(below: Path, point: Path, *options: str) -> None:
    """Mount an overlayfs of the directories ``lower``, ``upper`` and ``work`` of another file system."""
    for name in ("lower", "upper", "work"):
        (below / name).mkdir(exist_ok=True)
    layers = (f"lowerdir={below}/lower", f"upperdir={below}/upper", f"workdir={below}/work", *options)
    _check(_libc.mount(b"none", os.fsencode(point), b"overlay", 0, ",".join(layers).encode()))


def make_read_only(point: Path) -> None:
    """Let nothing more be written below a mount."""
    _check(_libc.mount(None, os.fsencode(point), None, REMOUNT | READ_ONLY, None))


def unmount(point: Path) -> None:
    """Take a mount away."""
    _check(_libc.umount2(os.fsencode(point), 0))


def bind(source: Path, point: Path) -> None:
    """Show a file or a directory a second time."""
    _check(_libc.mount(os.fsencode(source), os.fsencode(point), None, BIND, None))


def own_network() -> None:
    """Leave this process a network of its own, with nothing but a loopback at 127.0.0.1."""
    _check(_libc.unshare(NEW_NETWORK))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_one:
        fcntl.ioctl(any_one, SET_FLAGS, struct.pack("16sH14x", b"lo", UP))


def move_loopback(address: str) -> None:
    """Give the loopback another address; all of 127.0.0.0/8 still leads there."""
    wanted = struct.pack("16sHH4s8x", b"lo", socket.AF_INET, 0, socket.inet_aton(address))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_one:
        fcntl.ioctl(any_one, SET_ADDRESS, wanted)


def _run(work: Callable[..., None], args: tuple[object, ...]) -> str | None:
    user, group = os.geteuid(), os.getegid()
    try:
        _check(_libc.unshare(NEW_NAMESPACE | (NEW_USERS if user else 0)))
        if user:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        _check(_libc.mount(None, b"/", None, PRIVATE | RECURSIVE, None))
    except OSError as exc:
        return str(exc)
    work(*args)
    return None


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
