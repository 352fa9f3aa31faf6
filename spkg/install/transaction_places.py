"""The places of a transaction in ``.spkg/txn``, on the file system of the root.

=========  ==========================================================================
``new/N``  the file of put N, until it is placed
``mov/N``  the source of move N, from when it is moved away until it is placed
``old/N``  the entry that was at the path of step N
``src/N``  a second name of the source of move N, if the transaction is kept to go back
``mk/N``   directory N with those below it, until it is placed
=========  ==========================================================================

The phases are marked by files whose names become durable before the next phase begins: ``placing`` when
everything in the way is moved away, ``back`` when the changes are being undone, ``unplaced`` when everything
that was placed is moved away again.
"""

import errno
import stat
from typing import Final

from spkg.install.journal import JournalStep
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts

__all__ = [
    "BACK",
    "DONE",
    "GONE",
    "JOURNAL",
    "JOURNAL_DRAFT",
    "KEEP",
    "KEPT_TXN",
    "NEW",
    "PACKAGE",
    "PLACING",
    "PRIVATE",
    "SLOTS",
    "TRIAL",
    "TXN",
    "UNPLACED",
    "has_begun",
    "is_directory",
    "is_there",
    "slot",
    "spare_of",
]

TXN: Final[Parts] = (*OWN, b"txn")
JOURNAL: Final[Parts] = (*TXN, b"journal")
JOURNAL_DRAFT: Final[Parts] = (*TXN, b"draft")
NEW: Final[Parts] = (*TXN, b"new")
DONE: Final[Parts] = (*TXN, b"done")
PLACING: Final[Parts] = (*TXN, b"placing")
BACK: Final[Parts] = (*TXN, b"back")
UNPLACED: Final[Parts] = (*TXN, b"unplaced")
PACKAGE: Final[Parts] = (*TXN, b"package")
"""For a download: the SHA-256 of its signed bytes, in hex, by which its staged files are identified."""
KEEP: Final[Parts] = (*TXN, b"keep")
"""Marks a transaction that is kept once it is done."""
KEPT_TXN: Final[Parts] = (*OWN, b"kept")
"""The transaction of the package on trial, by which it can be rolled back."""
TRIAL: Final[Parts] = (*OWN, b"trial")
"""Exists exactly as long as a package is on trial."""
SLOTS: Final = (b"new", b"mov", b"old", b"mk")
PRIVATE: Final = 0o700
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors for a directory that does not exist, or is not a directory."""


def slot(kind: bytes, step: JournalStep) -> Parts:
    """Return the place of a step in the transaction."""
    return (*TXN, kind, b"%d" % step.number)


def spare_of(marker: Parts) -> Parts:
    """Return where a marker waits, so that setting it needs no room."""
    return (*marker[:-1], b"spare." + marker[-1])


def is_there(root: Root, path: Parts) -> bool:
    """Whether there is an entry.

    Raises:
        OSError: It can't be looked at.
    """
    try:
        return root.status(path) is not None
    except OSError as exc:
        if exc.errno not in GONE:  # what should be the transaction is no directory
            raise
        return False


def is_directory(root: Root, path: Parts) -> bool:
    """Whether there is a directory.

    Raises:
        OSError: It can't be looked at.
    """
    try:
        found = root.status(path)
    except OSError as exc:
        if exc.errno not in GONE:
            raise
        return False
    return found is not None and stat.S_ISDIR(found.st_mode)


def has_begun(root: Root) -> bool:
    """Whether there is what exists only once the journal does: a marker that is set, or a moved source."""
    moved = (*TXN, b"mov")
    return (
        is_there(root, PLACING)
        or is_there(root, BACK)
        or (is_directory(root, moved) and bool(root.names(moved)))
    )
