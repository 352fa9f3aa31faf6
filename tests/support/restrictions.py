"""What takes from this process, for a while, something that it may do."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["at_most", "umask", "without_privileges"]


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
