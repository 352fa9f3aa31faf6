"""The journal of a transaction as it is found, and what becomes of one that is damaged."""

import re
from typing import Final

from spkg.common.findings import Finding
from spkg.errors import UnsafeError
from spkg.install.journal import MAX_JOURNAL, JournalStep, decode_journal
from spkg.install.leftovers import unused
from spkg.install.own_files import read_own
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.transaction_places import DONE, JOURNAL, TXN, has_begun, is_there
from spkg.install.tree_path import Parts, shown

__all__ = ["aside_warnings", "journal_warnings", "known_journal", "load_journal", "set_aside"]

ASIDE: Final[Parts] = (*OWN, b"txn.damaged")
"""A transaction whose journal was damaged; with a number if there was one before."""
SET_ASIDE: Final = re.compile(rb"txn\.damaged(\.[1-9][0-9]*)?")
KEPT_ASIDE: Final = (
    "and may hold the only copy of files that were being moved or replaced: move back what is missing, "
    "then delete it (docs/installing.md)"
)
RESCUE: Final = (
    "apply a package with the role software-recovery and --unsafe-force, which sets the transaction aside "
    "(docs/installing.md)"
)


def load_journal(root: Root) -> list[JournalStep] | None:
    """Return the steps of the journal; None if the changes have not begun, or are done.

    Raises:
        ValueError: It is damaged, or is missing though the changes have begun.
        OSError: It can't be read.
    """
    if is_there(root, JOURNAL):
        return decode_journal(read_own(root, JOURNAL, MAX_JOURNAL))
    if not is_there(root, DONE) and has_begun(root):
        raise ValueError("the journal is missing, and the changes have begun")
    return None


def known_journal(root: Root) -> list[JournalStep] | None:
    """Return the steps of the journal as :func:`load_journal` does, with the way out if it is damaged.

    Raises:
        UnsafeError: It is damaged, or is missing though the changes have begun.
        OSError: It can't be read.
    """
    try:
        return load_journal(root)
    except ValueError as exc:
        raise UnsafeError(f"{shown(JOURNAL)}: {exc}", hint=RESCUE) from exc


def journal_warnings(root: Root) -> tuple[Finding, ...]:
    """Return the warning about a damaged journal: it is unknown what an installation has changed.

    Raises:
        OSError: It can't be read.
    """
    try:
        load_journal(root)
    except ValueError as exc:
        problem = f"{exc}; it is unknown what is left to do: {RESCUE}"
        return (Finding(code="damaged-journal", message=problem, path=shown(JOURNAL)),)
    return ()


def set_aside(root: Root) -> Finding:
    """Rename a transaction whose journal is damaged, and return the warning about that.

    Nothing in it is removed, now or later: it may hold the only copy of a file that was on its way.
    The caller has noted before that it is unknown what has changed.

    Raises:
        OSError: It can't be renamed.
    """
    place = unused(root, ASIDE)
    root.rename(TXN, place)
    root.sync_directory(OWN)
    told = f"the journal was damaged: the transaction is set aside as {shown(place)}, {KEPT_ASIDE}"
    return Finding(code="damaged-journal", message=told, path=shown(JOURNAL))


def aside_warnings(root: Root) -> tuple[Finding, ...]:
    """Return a warning for each transaction that was set aside: its files wait for somebody to look.

    Raises:
        OSError: The root can't be read.
    """
    names = [] if root.status(OWN) is None else root.names(OWN)
    told = f"a transaction whose journal was damaged, {KEPT_ASIDE}"
    return tuple(
        Finding(code="set-aside", message=told, path=shown((*OWN, name)))
        for name in names
        if SET_ASIDE.fullmatch(name)
    )
