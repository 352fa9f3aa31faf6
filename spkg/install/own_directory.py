"""The installer's own directory, ``.spkg``: made where it is missing, locked while it is used."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from spkg.errors import (
    NO_ROOM,
    FailedError,
    RefusedError,
    os_problem,
)
from spkg.install import transaction
from spkg.install.root import Root, shown
from spkg.install.root_tree import OWN

__all__ = ["check_own", "failing", "working_in"]

OTHERS_WRITE: Final = 0o022
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def working_in(root: Root) -> Iterator[None]:
    """Make the installer's own directory where it is missing, and keep other installers out.

    Raises:
        RefusedError: Another one is at work, or something else stands there, or somebody else's.
        FailedError: It can't be made.
        OSError: It can't be looked at or locked.
    """
    if root.status(OWN) is None:
        with failing():
            with suppress(FileExistsError):  # another one is faster
                root.mkdir(OWN, transaction.PRIVATE)
            root.sync_directory(())  # what is written there has to be found after a power cut
    check_own(root)
    with root.locked(OWN) as free:
        if not free:
            raise RefusedError("another installation is under way in this root", hint="wait for its end")
        yield


def check_own(root: Root) -> None:
    """Make sure that the installer's own directory, where it is there, is nobody else's.

    Raises:
        RefusedError: It is, or something else stands there.
        OSError: It can't be looked at.
    """
    found = root.status(OWN)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise RefusedError(f"{shown(OWN)} is no directory: the installer keeps its own files there")
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & OTHERS_WRITE:
        # What is staged there has been compared already, and a journal is carried out.
        raise RefusedError(f"{shown(OWN)} can be written by others", hint="chown it, and chmod 0700")


@contextmanager
def failing() -> Iterator[None]:
    """Turn what the file system can't do into our own error."""
    try:
        yield
    except OSError as exc:
        raise FailedError(os_problem(exc), reason=NO_ROOM if exc.errno in FULL else None) from exc
