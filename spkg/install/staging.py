"""Staging: what a transaction needs is made in ``.spkg/txn``, and goes again once it is over.

What a download has staged stays when it is interrupted, and is gone on with.
"""

import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from spkg.install.leftovers import OVER, vacant
from spkg.install.own_files import read_own, write_whole
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.transaction_places import (
    DONE,
    JOURNAL,
    NEW,
    PACKAGE,
    PRIVATE,
    SLOTS,
    TXN,
    has_begun,
    is_directory,
    is_there,
    spare_of,
)
from spkg.install.tree_path import Parts

__all__ = ["begin", "collect", "is_staging", "keep_staged", "staged"]

MAX_PACKAGE: Final = 64
DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def begin(root: Root, package: str | None = None) -> None:
    """Make the directories for staging; the files that a download has left in ``new`` are kept.

    Args:
        root: The root.
        package: For a download: the SHA-256 of its signed bytes, in hex.

    Raises:
        OSError: They can't be made, or there is already a transaction.
    """
    going_on = package is not None and is_staging(root) == package
    if not going_on:
        root.mkdir(TXN, PRIVATE)
    try:
        # What was staged too late to be relied on goes, and everything if that does not.
        kept = {PACKAGE[-1], *([b"new"] if is_directory(root, NEW) else ())}
        late = [(*TXN, name) for name in root.names(TXN) if name not in kept]
        if [path for path in late if root.sweep(path) is not None]:
            collect(root)
            root.mkdir(TXN, PRIVATE)
            going_on = False
        for name in SLOTS:
            if not is_there(root, (*TXN, name)):
                root.mkdir((*TXN, name), PRIVATE)
        if package is not None and not going_on:
            write_whole(root, spare_of(PACKAGE), package.encode())
            root.rename(spare_of(PACKAGE), PACKAGE)
            root.sync_directory(TXN)
            root.sync_directory(OWN)
    except BaseException:
        with suppress(OSError):
            root.sweep(TXN)
        raise


def is_staging(root: Root) -> str | None:
    """Return the package whose download was interrupted before it changed anything; None if none was.

    Raises:
        OSError: The root can't be read.
    """
    if not is_there(root, PACKAGE) or is_there(root, JOURNAL) or is_there(root, DONE) or has_begun(root):
        return None
    try:
        package = read_own(root, PACKAGE, MAX_PACKAGE).decode("ascii", "replace")
    except ValueError:
        return None
    return package if DIGEST.fullmatch(package) else None


def staged(root: Root) -> dict[Parts, int]:
    """Return the staged files, and how many bytes there are of each.

    Raises:
        OSError: The root can't be read.
    """
    if not is_directory(root, NEW):
        return {}
    paths = [(*NEW, name) for name in root.names(NEW)]
    found = [(path, root.status(path)) for path in paths]
    return {path: one.st_size for path, one in found if one is not None}


def keep_staged(root: Root, wanted: Mapping[Parts, int]) -> dict[Parts, int]:
    """Return the staged files with which a download can be resumed, and remove all others.

    If one can't be removed, all are set aside, and none is kept.

    Args:
        root: The root.
        wanted: How many bytes each file will have.

    Raises:
        OSError: Staging can't begin anew.
    """
    kept: dict[Parts, int] = {}
    for name in root.names(NEW):
        path = (*NEW, name)
        found = root.status(path)
        if found is None:
            continue
        ours = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if ours and found.st_size <= wanted.get(path, -1):
            kept[path] = found.st_size
        elif root.sweep(path) is not None:
            package = is_staging(root)
            collect(root)
            begin(root, package)
            return {}
    return kept


def collect(root: Root) -> None:
    """Remove the files of a transaction, once its journal is done or before there is one.

    What can't be removed is left over, and stops nothing.

    Raises:
        OSError: They can't be moved away; this can be tried again at any time.
    """
    over = vacant(root, OVER)
    root.rename(TXN, over)  # from here on, nothing can be mistaken for a transaction
    # If this fails, all is left over: a power cut may bring the old name back, and a part would mislead.
    root.sync_directory(OWN)
    root.sweep(over)
