"""All or nothing: a transaction in ``.spkg/txn``, on the file system of the root.

Whatever needs room is done before the journal is there: files are written to ``new``, new directories
built in ``mk``, what will be replaced has a second name in ``old``.  Until then recovery discards it all.
From then on only renames are left, and each can be repeated: recovery goes on to the end, or back, where
that fails.

=========  ==========================================================================
``new/N``  the file of put N, until it is placed
``mov/N``  the source of move N, from when it left until it is placed
``old/N``  what stood at the path of step N
``mk/N``   directory N with those below it, until it is placed
=========  ==========================================================================

The phases are marked by files whose names become durable before the next one begins: ``placing`` when all
that leaves has left, ``back`` when the way is back, ``unplaced`` when all that was placed left again.
"""

import errno
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from typing import Final

from spkg.errors import NO_ROOM, FailedError, UnsafeError, os_problem
from spkg.install.effects import DIRECTORY_MODE
from spkg.install.journal import MAX_JOURNAL, Before, JournalStep, Verb, decode_journal, encode_journal
from spkg.install.root import Parts, Root, shown
from spkg.install.root_tree import OWN

__all__ = [
    "JOURNAL",
    "OVER",
    "PRIVATE",
    "SYNCED_ONE_BY_ONE",
    "TXN",
    "RecoveryOutcome",
    "begin",
    "collect",
    "commit",
    "discard",
    "finish",
    "is_pending",
    "is_staging",
    "keep_staged",
    "settle_transaction",
    "slot",
    "staged",
    "write_whole",
]

TXN: Final[Parts] = (*OWN, b"txn")
OVER: Final[Parts] = (*OWN, b"over")
"""What is left of a transaction that is over."""
JOURNAL: Final[Parts] = (*TXN, b"journal")
DONE: Final[Parts] = (*TXN, b"done")
JOURNAL_DRAFT: Final[Parts] = (*TXN, b"draft")
PLACING: Final[Parts] = (*TXN, b"placing")
BACK: Final[Parts] = (*TXN, b"back")
UNPLACED: Final[Parts] = (*TXN, b"unplaced")
PACKAGE: Final[Parts] = (*TXN, b"package")
"""Of a download: SHA-256 of its signed octets, in hex, by which its staged files are known again."""
SLOTS: Final = (b"new", b"mov", b"old", b"mk")
PLACED: Final = {Verb.PUT: b"new", Verb.MOVE: b"mov"}
"""What takes its place at the end, and where it waits."""
MAX_PACKAGE: Final = 64
PRIVATE: Final = 0o700
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""How a system says that a directory is not there, or something else in its place."""
ATTEMPTS: Final = 2
"""How often the way forward is tried: some failures do not come twice."""
NO_LINK: Final = frozenset({errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})
"""How a system says that a file can't have a second name, here or for this user."""
RECOVER: Final = "'spkg recover' tries again"
SYNCED_ONE_BY_ONE: Final = 8
"""Up to so many files or directories are synced one by one, more by one sync of the file system."""


class RecoveryOutcome(Enum):
    """What became of a transaction."""

    NOTHING = "nothing"
    """There was none."""
    DISCARDED = "discarded"
    """It had not begun to change the tree."""
    DONE = "done"
    """Its changes are made."""
    UNDONE = "undone"
    """Its changes could not all be made, and were taken back."""


def slot(kind: bytes, step: JournalStep) -> Parts:
    """Return the place of a step in the transaction."""
    return (*TXN, kind, b"%d" % step.number)


def begin(root: Root, package: str | None = None) -> None:
    """Make the places for what will be staged; the files that a download has left in ``new`` stay.

    Args:
        root: Where.
        package: Of a download: SHA-256 of its signed octets, in hex.

    Raises:
        OSError: That can't be done, or there is a transaction.
    """
    going_on = package is not None and is_staging(root) == package
    if not going_on:
        root.mkdir(TXN, PRIVATE)
    try:
        for name in root.names(TXN):
            if name not in {b"new", PACKAGE[-1]}:
                root.remove_tree((*TXN, name))  # staged too late to be relied on
        for name in SLOTS:
            if not _has(root, (*TXN, name)):
                root.mkdir((*TXN, name), PRIVATE)
        if package is not None and not going_on:
            write_whole(root, _spare(PACKAGE), package.encode())
            root.rename(_spare(PACKAGE), PACKAGE)
            root.sync_directory(TXN)
            root.sync_directory(OWN)
    except BaseException:
        with suppress(OSError):
            root.remove_tree(TXN)
        raise


def is_staging(root: Root) -> str | None:
    """Return the package whose download was cut off before it changed anything; None where none was.

    Raises:
        OSError: The root can't be looked at.
    """
    if not _has(root, PACKAGE) or _has(root, JOURNAL) or _has(root, DONE):
        return None
    package = root.read(PACKAGE, MAX_PACKAGE).decode("ascii", "replace")
    return package if len(package) == MAX_PACKAGE else None


def staged(root: Root) -> dict[Parts, int]:
    """Return the files that are staged, and how many octets there are of each.

    Raises:
        OSError: The root can't be looked at.
    """
    paths = [(*TXN, b"new", name) for name in root.names((*TXN, b"new"))]
    found = [(path, root.status(path)) for path in paths]
    return {path: one.st_size for path, one in found if one is not None}


def keep_staged(root: Root, wanted: Mapping[Parts, int]) -> dict[Parts, int]:
    """Return the files with which a download can go on, and remove all others that are staged.

    Args:
        root: Where.
        wanted: How many octets each file will have.

    Raises:
        OSError: Something can't be removed.
    """
    kept: dict[Parts, int] = {}
    for name in root.names((*TXN, b"new")):
        path = (*TXN, b"new", name)
        found = root.status(path)
        if found is None:
            continue
        ours = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if ours and found.st_size <= wanted.get(path, -1):
            kept[path] = found.st_size
        else:
            root.remove_tree(path)
    return kept


def commit(root: Root, steps: Sequence[JournalStep], directories: Iterable[Parts]) -> list[JournalStep]:
    """Stage what is no file, make everything durable, and write the journal; return the steps as it has them.

    When this returns the changes will be made, whatever happens.

    Args:
        root: Where the files of all puts are staged, and synced where they are few.
        steps: What is to change.
        directories: All that appear, also those within others.

    Raises:
        FailedError: There is more to do than a journal takes; nothing has changed yet.
        OSError: Something can't be staged; nothing has changed yet.
    """
    staged = [_keep(root, step) for step in steps]
    tops = {step.path: step for step in staged if step.verb is Verb.DIRECTORY}
    made: list[Parts] = []
    for path in sorted(directories):  # those above come first
        depth = next(depth for depth in range(len(path), 0, -1) if path[:depth] in tops)
        made.append((*slot(b"mk", tops[path[:depth]]), *path[depth:]))
        root.mkdir(made[-1], DIRECTORY_MODE)
    for marker in (PLACING, BACK, UNPLACED):
        root.create(_spare(marker)).close()
    puts = sum(step.verb is Verb.PUT for step in staged)
    if puts + len(made) > SYNCED_ONE_BY_ONE:
        root.sync_all()
    else:
        for directory in [*made, *((*TXN, name) for name in SLOTS), TXN, OWN, ()]:
            root.sync_directory(directory)
    octets = encode_journal(staged)
    if len(octets) > MAX_JOURNAL:
        raise FailedError(f"a journal of {len(octets)} octets, {MAX_JOURNAL} are taken", reason=NO_ROOM)
    write_whole(root, JOURNAL_DRAFT, octets)
    root.rename(JOURNAL_DRAFT, JOURNAL)
    root.sync_directory(TXN)
    return staged


def finish(root: Root, steps: Sequence[JournalStep]) -> RecoveryOutcome:
    """Make the changes of a journal, or take them back where they can't all be made.

    Raises:
        UnsafeError: Neither can be done.
    """
    problems: list[OSError] = []
    while len(problems) < ATTEMPTS:
        try:
            if problems:
                _rely_on_names(root)
            if _has(root, BACK):
                break
            _forward(root, steps)
        except OSError as exc:
            problems.append(exc)
        else:
            return RecoveryOutcome.DONE
    try:
        _rely_on_names(root)
        _back(root, steps)
    except OSError as exc:
        told = "; ".join(dict.fromkeys(map(os_problem, [*problems, exc])))
        raise UnsafeError(f"the changes can neither be made nor taken back: {told}", hint=RECOVER) from exc
    return RecoveryOutcome.UNDONE


def settle_transaction(root: Root) -> RecoveryOutcome:
    """Finish, undo or discard what a crash left, and remove it; without a transaction nothing is done.

    Raises:
        UnsafeError: The changes can neither be made nor taken back, or nobody can tell what they are.
        OSError: What was staged can't be removed.
    """
    outcome = _settle(root)
    if _has(root, TXN):
        collect(root)
    return outcome


def is_pending(root: Root) -> bool:
    """Whether something is left that recovery has to finish, undo or discard.

    Raises:
        OSError: The root can't be looked at.
    """
    return _has(root, TXN) and not _has(root, DONE) and is_staging(root) is None


def collect(root: Root) -> None:
    """Remove what a transaction leaves behind, once its journal is done, or before there is one.

    Raises:
        OSError: That can't be done; it can be tried again at any time.
    """
    if _has(root, OVER):
        root.remove_tree(OVER)
    root.rename(TXN, OVER)  # from here on nothing is left that could be taken for a transaction
    root.sync_directory(OWN)
    root.remove_tree(OVER)


def discard(root: Root) -> None:
    """Remove a transaction whose changes have not begun, its journal first.

    Raises:
        UnsafeError: The journal can't be removed for certain: recovery may make the changes yet.
    """
    try:
        if _has(root, JOURNAL):
            root.unlink(JOURNAL)
            root.sync_directory(TXN)
    except OSError as exc:
        problem = f"nobody can tell whether the changes will be made: {os_problem(exc)}"
        raise UnsafeError(problem, hint=RECOVER) from exc
    with suppress(OSError):  # what is left does no harm, and goes the next time
        collect(root)


def write_whole(root: Root, path: Parts, octets: bytes) -> None:
    """Write a file that is not there yet, and make its contents durable.

    Raises:
        OSError: That can't be done.
    """
    file = root.create(path)
    try:
        file.write(octets)
        file.sync()
    finally:
        file.close()


def _settle(root: Root) -> RecoveryOutcome:
    """Do what :func:`settle_transaction` does, but for the removing.

    Raises:
        UnsafeError: The changes can neither be made nor taken back, or nobody can tell what they are.
    """
    try:
        if not _has(root, TXN):
            return RecoveryOutcome.NOTHING
        _rely_on_names(root)
        if not _has(root, JOURNAL):
            return RecoveryOutcome.NOTHING if _has(root, DONE) else RecoveryOutcome.DISCARDED
        steps = decode_journal(root.read(JOURNAL, MAX_JOURNAL))
    except OSError as exc:
        raise UnsafeError(f"nobody can tell what is left to do: {os_problem(exc)}", hint=RECOVER) from exc
    except ValueError as exc:
        raise UnsafeError(f"{shown(JOURNAL)}: {exc}") from exc
    return finish(root, steps)


def _keep(root: Root, step: JournalStep) -> JournalStep:
    """Give a second name to what a step will replace; where that is not allowed it has to leave before."""
    if step.before is not Before.KEPT:
        return step
    try:
        root.link(step.path, slot(b"old", step))
    except OSError as exc:
        if exc.errno not in NO_LINK:
            raise
        return replace(step, before=Before.AWAY)
    return step


def _forward(root: Root, steps: Sequence[JournalStep]) -> None:
    placed = [step for step in steps if step.verb in PLACED]
    if not _has(root, PLACING):
        # (1) Sources leave first, since what they lie in may leave next.
        moves = [(step.source, slot(b"mov", step)) for step in steps if step.source is not None]
        _shift(root, moves)
        # (2) What is in the way, or is to be gone: a whole tree by one rename.
        leaving = [step for step in steps if step.before is Before.AWAY]
        _shift(root, [(step.path, slot(b"old", step)) for step in leaving])
        # (3) New directories, with those below them; they have to last before anything moves in.
        made = [step for step in steps if step.verb is Verb.DIRECTORY]
        _place(root, [(slot(b"mk", step), step.path) for step in made])
        _mark(root, PLACING)
    # (4) What is new takes its place.
    _place(root, [(slot(PLACED[step.verb], step), step.path) for step in placed])
    _done(root)


def _back(root: Root, steps: Sequence[JournalStep]) -> None:
    if not _has(root, JOURNAL):
        root.rename(DONE, JOURNAL)  # the last thing that was done can't be relied on
    _mark(root, BACK)
    if not _has(root, UNPLACED):
        # (1) What was placed leaves, but for files over which the old ones can be put.
        if _has(root, PLACING):
            placed = [
                step
                for step in steps
                if step.verb in PLACED and not (step.verb is Verb.PUT and step.before is Before.KEPT)
            ]
            _shift(root, [(step.path, slot(PLACED[step.verb], step)) for step in placed])
        # (2) So do the directories that were made for it.
        made = [step for step in steps if step.verb is Verb.DIRECTORY]
        _shift(root, [(step.path, slot(b"mk", step)) for step in made])
        _mark(root, UNPLACED)
    # (3) What stood there comes back, trees before the files that were moved out of them.
    kept = [step for step in steps if step.before is not Before.NOTHING]
    _place(root, [(slot(b"old", step), step.path) for step in kept])
    _place(root, [(slot(b"mov", step), step.source) for step in steps if step.source is not None])
    _done(root)


def _shift(root: Root, pairs: Sequence[tuple[Parts, Parts]]) -> None:
    """Take things away, each to a place of its own, unless it is there already."""
    for path, place in pairs:
        if not _has(root, place):
            root.rename(path, place)
    _sync(root, pairs)


def _place(root: Root, pairs: Sequence[tuple[Parts, Parts]]) -> None:
    """Bring things from their places, unless it is done."""
    for place, path in pairs:
        try:
            root.rename(place, path)
        except FileNotFoundError:
            if _has(root, place):
                raise
    _sync(root, pairs)


def _rely_on_names(root: Root) -> None:
    """Make the names of journal and markers durable: those that are there may be no older than a crash."""
    root.sync_directory(TXN)


def _sync(root: Root, pairs: Sequence[tuple[Parts, Parts]]) -> None:
    """Make renames durable, those too that were made before a crash of this process alone."""
    # Where things came to goes first: a name that is gone from one place has to be in the other.
    directories = dict.fromkeys([end[:-1] for _, end in pairs] + [start[:-1] for start, _ in pairs])
    if len(directories) > SYNCED_ONE_BY_ONE:
        root.sync_all()
        return
    for directory in directories:
        try:
            root.sync_directory(directory)
        except OSError as exc:
            if exc.errno not in GONE:  # it left later, after it was synced
                raise


def _mark(root: Root, marker: Parts) -> None:
    if not _has(root, marker):
        root.rename(_spare(marker), marker)
    root.sync_directory(TXN)


def _done(root: Root) -> None:
    if not _has(root, DONE):
        root.rename(JOURNAL, DONE)
    root.sync_directory(TXN)


def _spare(marker: Parts) -> Parts:
    """Where a marker waits: making one takes no room then."""
    return (*marker[:-1], b"spare." + marker[-1])


def _has(root: Root, path: Parts) -> bool:
    return root.status(path) is not None
