"""A finished transaction that is kept while its package is on trial: what is needed to go back.

It is renamed from ``.spkg/txn`` to ``.spkg/kept`` instead of being removed.  Beside the old entries it has a
second name of every file that was moved, and a reserve: room that going back takes for its own journal and
record, so that it works on a full file system.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from spkg.errors import NO_ROOM, FailedError
from spkg.install.history import record_size
from spkg.install.journal import MAX_JOURNAL, Before, JournalStep, Verb, decode_journal, encode_journal
from spkg.install.leftovers import OVER, vacant
from spkg.install.old_entries import NO_LINK
from spkg.install.own_files import read_own
from spkg.install.reserve import RESERVE_INODES, reserve_for
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.transaction_places import DONE, KEEP, KEPT_TXN, PRIVATE, TRIAL, TXN
from spkg.install.tree_path import Parts

__all__ = [
    "drop_kept",
    "kept_octets",
    "kept_problem",
    "kept_steps",
    "old_place",
    "prepare_kept",
    "refill_reserve",
    "release_reserve",
    "second_name",
]

SECOND: Final = b"src"
"""Where the second names of moved files are."""
RESERVE_NAME: Final = b"reserve"


def prepare_kept(root: Root, steps: Sequence[JournalStep]) -> None:
    """Prepare a transaction to be kept: in it, before its commit.

    Raises:
        FailedError: Old entries can't be kept, for lack of room.
        OSError: There is no room, or something can't be written.
    """
    if any(step.before is Before.LOST for step in steps):
        raise FailedError("there is no room to keep the old files for going back", reason=NO_ROOM)
    root.mkdir((*TXN, SECOND), PRIVATE)
    for step in steps:
        if step.source is not None and step.verb is Verb.MOVE:
            try:
                root.link(step.source, (*TXN, SECOND, b"%d" % step.number))
            except OSError as exc:
                if exc.errno not in NO_LINK:  # then only the moved file itself can come back
                    raise
    _fill_reserve(root, (*TXN, RESERVE_NAME), steps)
    root.create(KEEP).close()


def kept_problem(root: Root) -> str | None:
    """Return why there is nothing to go back to; None if there is.

    Raises:
        OSError: The root can't be read.
    """
    if not _has_kept(root):
        return None if root.status(DONE) is not None else "what was kept to go back is missing"
    try:
        kept_steps(root)
    except ValueError as exc:
        return f"what was kept to go back is damaged: {exc}"
    return None


def _has_kept(root: Root) -> bool:
    """Whether there is a transaction that is kept, sound or not."""
    return _has_directory(root) and root.status((*KEPT_TXN, DONE[-1])) is not None


def _has_directory(root: Root) -> bool:
    """Whether there is a directory for what is kept: somebody may have put something else there."""
    found = root.status(KEPT_TXN)
    return found is not None and stat.S_ISDIR(found.st_mode)


def kept_steps(root: Root) -> list[JournalStep]:
    """Return the steps of the kept transaction.

    Raises:
        ValueError: Its journal is damaged.
        OSError: It can't be read.
    """
    return decode_journal(read_own(root, (*KEPT_TXN, DONE[-1]), MAX_JOURNAL))


def old_place(step: JournalStep) -> Parts:
    """Return where the entry is that a step replaced or removed."""
    return (*KEPT_TXN, b"old", b"%d" % step.number)


def second_name(step: JournalStep) -> Parts:
    """Return the second name of the file that a step moved."""
    return (*KEPT_TXN, SECOND, b"%d" % step.number)


def kept_octets(root: Root) -> int:
    """Return how much room the old entries take, in bytes: it is free again once the package is confirmed.

    Raises:
        OSError: They can't be read.
    """
    top = KEPT_TXN if _has_kept(root) else TXN  # a crash may have come before it was renamed
    found = 0
    for path in _below(root, [(*top, b"old"), (*top, SECOND)]):
        status = root.status(path)
        if status is not None and stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            found += status.st_size
    return found


def release_reserve(root: Root) -> None:
    """Free the reserved room, for going back or for ending the trial.

    Raises:
        OSError: What was freed can't be relied on.
    """
    if _has_directory(root) and root.status((*KEPT_TXN, RESERVE_NAME)) is not None:
        root.sweep((*KEPT_TXN, RESERVE_NAME))
        root.sync_all()  # some file systems use freed room again only then


def refill_reserve(root: Root) -> None:
    """Reserve room again, after something that took it has failed or ended.

    Raises:
        OSError: There is not so much.
    """
    if not _has_kept(root) or root.status((*KEPT_TXN, RESERVE_NAME)) is not None:
        return
    with suppress(ValueError):  # with a damaged journal nothing goes back
        _fill_reserve(root, (*KEPT_TXN, RESERVE_NAME), kept_steps(root))


def drop_kept(root: Root) -> None:
    """Remove what is kept, if there is no trial any more.

    Raises:
        OSError: It can't be moved away.
    """
    if root.status(TRIAL) is not None or root.status(KEPT_TXN) is None:
        return
    over = vacant(root, OVER)
    root.rename(KEPT_TXN, over)
    root.sync_directory(OWN)
    root.sweep(over)


def _fill_reserve(root: Root, place: Parts, steps: Sequence[JournalStep]) -> None:
    """Write files that take as much as going back will, in bytes and in inodes."""
    space = root.space()
    size = reserve_for(len(encode_journal(steps)), record_size(root), space.f_blocks * space.f_frsize)
    root.mkdir(place, PRIVATE)
    for number in range(RESERVE_INODES):
        file = root.create((*place, b"%d" % number))
        try:
            if number == 0:
                file.write(memoryview(os.urandom(size)))  # a file system that compresses gains nothing
        finally:
            file.close()


def _below(root: Root, tops: Sequence[Parts]) -> Iterator[Parts]:
    waiting = [*tops]
    while waiting:
        path = waiting.pop()
        found = root.status(path)
        if found is None:
            continue
        yield path
        if stat.S_ISDIR(found.st_mode):
            waiting += [(*path, name) for name in root.names(path)]
