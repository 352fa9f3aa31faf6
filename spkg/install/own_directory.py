"""The installer's own directory, ``.spkg``: made if it is missing, locked while it is in use."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep
from typing import Final

from spkg.errors import (
    NO_ROOM,
    FailedError,
    RefusedError,
    os_problem,
)
from spkg.install import transaction
from spkg.install.checkpoint import CHECKPOINT
from spkg.install.fixed_entries import fixed_refusal, permission_refusal
from spkg.install.history import RECORD
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.transaction_places import JOURNAL, NEW, PRIVATE, SLOTS, TXN
from spkg.install.tree_path import Parts, shown

__all__ = ["FULL", "check_mounted_for_writing", "check_own", "failing", "working_in"]

OTHERS_WRITE: Final = 0o022
LOCK_AGAIN: Final = 0.05
"""Seconds before a lock is tried again."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors for no room."""


@contextmanager
def working_in(root: Root) -> Iterator[None]:
    """Make the installer's own directory if it is missing, and lock out other installers.

    It is not durable before it is settled: a killed process may have made it, too.

    Raises:
        RefusedError: Another installer is running, the path is not a directory, or others can write to it.
        FailedError: It can't be made.
        OSError: It can't be read or locked.
    """
    if root.status(OWN) is None:
        check_own(root)
        with failing(), suppress(FileExistsError):  # another installer was faster
            root.mkdir(OWN, PRIVATE)
    check_own(root)
    with _locked(root) as free:
        if not free:
            hint = "try again when it has finished"
            raise RefusedError("another installation is running in this root", hint=hint)
        # Release 0.2 made these with the default access control list of the root.
        for path in (OWN, TXN, NEW):
            root.disown(path)
        yield


@contextmanager
def _locked(root: Root) -> Iterator[bool]:
    """Lock the directory, on the second try if need be: ``status`` may hold the lock for a moment."""
    with root.locked(OWN) as free:
        if free:
            yield True
            return
    sleep(LOCK_AGAIN)
    with root.locked(OWN) as free:
        yield free


def check_own(root: Root) -> None:
    """Check that the installer can change its own directory, or make it, and that no other user can.

    Raises:
        RefusedError: Another user can, the path is not a directory, something is immutable or append-only, or
            this user may not write there.
        OSError: It can't be read.
    """
    found = root.status(OWN)
    if found is None:
        above = root.fixed(())
        if above is not None and above[1] == "immutable":
            raise fixed_refusal(*above)
        if not root.writable(()):
            raise permission_refusal(())
        return
    if not stat.S_ISDIR(found.st_mode):
        raise RefusedError(f"{shown(OWN)} must be a directory: the installer keeps its own files there")
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & OTHERS_WRITE:
        # Its staged files are not checked again, and its journal is carried out.
        hint = (
            "change its owner to root or the installing user, and its mode to 0700; a file system without "
            "modes has to be mounted for one user, as with the option umask=022"
        )
        raise RefusedError(f"{shown(OWN)} can be changed by other users", hint=hint)
    if root.fixed(OWN) is None and not root.writable(OWN):
        raise permission_refusal(OWN)
    for fixed in map(root.fixed, _renamed(root)):
        if fixed is not None:
            raise fixed_refusal(*fixed)


def check_mounted_for_writing(root: Root) -> None:
    """Refuse a root in which nothing can be written.

    Raises:
        RefusedError: Its file system is mounted read-only, or it is in a read-only subvolume.
        OSError: It can't be read.
    """
    if root.space().f_flag & os.ST_RDONLY:
        hint = "remount it with 'mount -o remount,rw', or use the layer that can be written"
        raise RefusedError("the root is on a file system that is mounted read-only", hint=hint)
    if root.is_read_only():
        hint = "make it writable, on btrfs with 'btrfs property set'"
        raise RefusedError("the root is in a read-only subvolume", hint=hint)


def _renamed(root: Root) -> Iterator[Parts]:
    """Give the installer's own entries that it has to rename or replace: what is left over stops nothing."""
    yield from (OWN, RECORD, CHECKPOINT, TXN)
    if transaction.is_pending(root):
        yield JOURNAL
        yield from ((*TXN, name) for name in SLOTS)


@contextmanager
def failing() -> Iterator[None]:
    """Turn errors of the file system into :class:`FailedError`."""
    try:
        yield
    except OSError as exc:
        raise FailedError(os_problem(exc), reason=NO_ROOM if exc.errno in FULL else None) from exc
