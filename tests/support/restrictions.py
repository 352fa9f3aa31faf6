"""What takes from this process, for a while, something that it may do."""

import fcntl
import os
import resource
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.namespaces import not_judged

__all__ = ["APPEND_ONLY", "IMMUTABLE", "at_most", "fixed", "short_of_threads", "umask", "without_privileges"]

GET_ATTRIBUTES: Final = 0x80086601
SET_ATTRIBUTES: Final = 0x40086602
IMMUTABLE: Final = 0x10
APPEND_ONLY: Final = 0x20


@contextmanager
def at_most(octets: int) -> Iterator[None]:
    """Let no file grow beyond so many octets, as a full disk does; Python ignores SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Take these permissions from every new file."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be somebody to whom modes mean something."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def fixed(path: Path, attribute: int = IMMUTABLE) -> Iterator[None]:
    """Make a file or a directory immutable or append-only, as chattr does, wherever it is moved meanwhile."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        before = struct.unpack("L", fcntl.ioctl(descriptor, GET_ATTRIBUTES, bytes(8)))[0]
        fcntl.ioctl(descriptor, SET_ATTRIBUTES, struct.pack("L", before | attribute))
    except OSError as exc:
        os.close(descriptor)
        not_judged(f"no file can be made immutable here: {exc.strerror}")
    try:
        yield
    finally:
        fcntl.ioctl(descriptor, SET_ATTRIBUTES, struct.pack("L", before))
        os.close(descriptor)


def short_of_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let only so many threads be started, as a limit of the system does."""
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def scarce(thread: threading.Thread) -> None:
        if len(started) == most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
