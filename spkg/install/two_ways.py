"""The two ways of a transaction: its changes are completed, or undone.

There are only renames, and each can be repeated.
"""

import os
import stat
from collections.abc import Sequence
from typing import Final

from spkg.install.journal import Before, JournalStep, Verb
from spkg.install.old_entries import clear_away, put_back
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.transaction_places import (
    BACK,
    DONE,
    GONE,
    JOURNAL,
    PLACING,
    TXN,
    UNPLACED,
    is_there,
    slot,
    spare_of,
)
from spkg.install.tree_path import Parts

__all__ = ["SYNCED_ONE_BY_ONE", "go_back", "go_forward", "rely_on_names"]

PLACED: Final = {Verb.PUT: b"new", Verb.MOVE: b"mov"}
"""The steps that place a file at the end, and where the file waits."""
SYNCED_ONE_BY_ONE: Final = 8
"""Up to this many files or directories are synced one by one; more, by one sync of the file system."""


def go_forward(root: Root, steps: Sequence[JournalStep]) -> None:
    """Complete the changes.

    Raises:
        OSError: Something can't be renamed or made durable; this can be tried again, or undone.
    """
    placed = [step for step in steps if step.verb in PLACED]
    if not is_there(root, PLACING):
        # (1) Sources are moved away first, since their directories may be next.
        _shift(root, _moves(steps))
        # (2) Then entries that are in the way or to be removed: a whole tree by one rename.
        leaving = [step for step in steps if step.before is Before.AWAY]
        _shift(root, [(step.path, slot(b"old", step)) for step in leaving])
        waiting = [
            step for step in steps if step.verb is not Verb.DIRECTORY or is_there(root, slot(b"mk", step))
        ]
        if clear_away(root, waiting):
            root.sync_all()
        # (3) New directories, with those below them, are placed durably before anything moves in.
        made = [step for step in steps if step.verb is Verb.DIRECTORY]
        _place(root, [(slot(b"mk", step), step.path) for step in made])
        _mark(root, PLACING)
    # (4) New files are placed.
    _place(root, [(_waiting(step), step.path) for step in placed])
    _done(root)


def go_back(root: Root, steps: Sequence[JournalStep]) -> None:
    """Undo the changes, however many of them were made.

    Raises:
        OSError: Something can't be renamed or made durable; this can be tried again.
    """
    if not is_there(root, JOURNAL):
        root.rename(DONE, JOURNAL)  # the last step may not be durable
    _mark(root, BACK)
    if not is_there(root, UNPLACED):
        # (1) Placed files are moved away, except those that the old ones can replace directly.
        if is_there(root, PLACING):
            placed = [
                step
                for step in steps
                if step.verb in PLACED and not (step.verb is Verb.PUT and step.before is Before.KEPT)
            ]
            # What was placed in a tree that came back leaves before that tree.
            _shift(root, [(step.path, _waiting(step)) for step in reversed(placed)])
        # (2) New directories are moved away as well.
        made = [step for step in steps if step.verb is Verb.DIRECTORY]
        _shift(root, [(step.path, slot(b"mk", step)) for step in made])
        _mark(root, UNPLACED)
    # (3) Old entries come back, trees before the files that were moved out of them.
    kept = [step for step in steps if step.before in {Before.KEPT, Before.AWAY}]
    _place(root, [(slot(b"old", step), step.path) for step in kept])
    copied = [step for step in steps if step.before is Before.COPIED]
    for step in copied:
        put_back(root, slot(b"old", step), step.path)
    if copied:
        root.sync_all()
    _place(root, [(place, source) for source, place in _moves(steps)])
    _done(root)


def rely_on_names(root: Root) -> None:
    """Make the names of journal and markers durable: they may have been written just before a crash."""
    root.sync_directory(TXN)


def _moves(steps: Sequence[JournalStep]) -> list[tuple[Parts, Parts]]:
    """Return the sources in the tree that are moved away, each with the place where it waits."""
    return [
        (step.source, slot(b"mov", step))
        for step in steps
        if step.source is not None and step.source[:1] != OWN
    ]


def _waiting(step: JournalStep) -> Parts:
    """Return where what a step places waits; what is kept waits where it is."""
    if step.source is not None and step.source[:1] == OWN:
        return step.source
    return slot(PLACED[step.verb], step)


def _shift(root: Root, pairs: Sequence[tuple[Parts, Parts]]) -> None:
    """Move entries away, each to its own place, unless that is already done."""
    with root.staying():
        for path, place in pairs:
            there = root.status(place)
            if there is None:
                root.rename(path, place)
            elif _has_both_names(root, path, there):
                root.unlink(path)
    _sync(root, pairs)


def _has_both_names(root: Root, path: Parts, there: os.stat_result) -> bool:
    """Whether a file still has the name that it was moved away from: a power cut may leave both, on btrfs."""
    try:
        found = root.status(path)
    except OSError as exc:
        if exc.errno not in GONE:
            raise
        return False
    same = found is not None and (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino)
    return same and not stat.S_ISDIR(there.st_mode)


def _place(root: Root, pairs: Sequence[tuple[Parts, Parts]]) -> None:
    """Move entries from their places to their paths, unless that is already done."""
    with root.staying():
        for place, path in pairs:
            try:
                root.rename(place, path)
            except FileNotFoundError:
                if is_there(root, place):
                    raise
    _sync(root, pairs)


def _sync(root: Root, pairs: Sequence[tuple[Parts, Parts]]) -> None:
    """Make renames durable, including those made before this process alone crashed."""
    # Destinations go first: a name that is gone from one place must be in the other.
    directories = dict.fromkeys([end[:-1] for _, end in pairs] + [start[:-1] for start, _ in pairs])
    if len(directories) > SYNCED_ONE_BY_ONE:
        root.sync_all()
        return
    for directory in directories:
        try:
            root.sync_directory(directory)
        except OSError as exc:
            if exc.errno not in GONE:  # it was moved away later, after it was synced
                raise


def _mark(root: Root, marker: Parts) -> None:
    if not is_there(root, marker):
        root.rename(spare_of(marker), marker)
    root.sync_directory(TXN)


def _done(root: Root) -> None:
    if not is_there(root, DONE):
        root.rename(JOURNAL, DONE)
    root.sync_directory(TXN)
