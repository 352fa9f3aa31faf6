"""All or nothing: a transaction in ``.spkg/txn``, on the file system of the root.

Everything that needs room is done before the journal exists: files are written to ``new``, new directories
are built in ``mk``, and entries to be replaced get a second name in ``old``.  Until then, recovery discards
it all.  From then on only renames are left, and each can be repeated: recovery completes them or, if that
fails, undoes them.

=========  ==========================================================================
``new/N``  the file of put N, until it is placed
``mov/N``  the source of move N, from when it is moved away until it is placed
``old/N``  the entry that was at the path of step N
``src/N``  a second name of the source of move N, if the transaction is kept to go back
``mk/N``   directory N with those below it, until it is placed
=========  ==========================================================================

While its package is on trial, a transaction is kept: once done, it is renamed to ``.spkg/kept``.  Moves of a
transaction that goes back have their sources there, and place them directly.

The phases are marked by files whose names become durable before the next phase begins: ``placing`` when
everything in the way is moved away, ``back`` when the changes are being undone, ``unplaced`` when everything
that was placed is moved away again.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.errors import NO_ROOM, FailedError, UnsafeError, os_problem
from spkg.install.effects import DIRECTORY_MODE, MakeDirectory
from spkg.install.journal import MAX_JOURNAL, Before, JournalStep, Verb, decode_journal, encode_journal
from spkg.install.leftovers import OVER, clear_leftovers, unused, vacant
from spkg.install.old_entries import Reserve, bring_up, clear_away, keep_old, put_back
from spkg.install.own_files import read_own
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts, shown

__all__ = [
    "DONE",
    "JOURNAL",
    "KEEP",
    "KEPT_TXN",
    "NEW",
    "PRIVATE",
    "RECOVER",
    "SLOTS",
    "SYNCED_ONE_BY_ONE",
    "TRIAL",
    "TXN",
    "RecoveryOutcome",
    "Settled",
    "aside_warnings",
    "begin",
    "collect",
    "commit",
    "discard",
    "finish",
    "is_pending",
    "is_staging",
    "journal_warnings",
    "keep_staged",
    "set_aside",
    "settle_transaction",
    "slot",
    "staged",
    "write_whole",
]

TXN: Final[Parts] = (*OWN, b"txn")
JOURNAL: Final[Parts] = (*TXN, b"journal")
NEW: Final[Parts] = (*TXN, b"new")
DONE: Final[Parts] = (*TXN, b"done")
KEEP: Final[Parts] = (*TXN, b"keep")
"""Marks a transaction that is kept once it is done."""
KEPT_TXN: Final[Parts] = (*OWN, b"kept")
"""The transaction of the package on trial, by which it can be rolled back."""
TRIAL: Final[Parts] = (*OWN, b"trial")
"""Exists exactly as long as a package is on trial."""
ASIDE: Final[Parts] = (*OWN, b"txn.damaged")
"""A transaction whose journal was damaged; with a number if there was one before."""
JOURNAL_DRAFT: Final[Parts] = (*TXN, b"draft")
PLACING: Final[Parts] = (*TXN, b"placing")
BACK: Final[Parts] = (*TXN, b"back")
UNPLACED: Final[Parts] = (*TXN, b"unplaced")
PACKAGE: Final[Parts] = (*TXN, b"package")
"""For a download: the SHA-256 of its signed bytes, in hex, by which its staged files are identified."""
SET_ASIDE: Final = re.compile(rb"txn\.damaged(\.[1-9][0-9]*)?")
KEPT_ASIDE: Final = (
    "and may hold the only copy of files that were being moved or replaced: move back what is missing, "
    "then delete it (docs/installing.md)"
)
SLOTS: Final = (b"new", b"mov", b"old", b"mk")
PLACED: Final = {Verb.PUT: b"new", Verb.MOVE: b"mov"}
"""The steps that place a file at the end, and where the file waits."""
MAX_PACKAGE: Final = 64
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
PRIVATE: Final = 0o700
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors for a directory that does not exist, or is not a directory."""
ATTEMPTS: Final = 2
"""How often completing the changes is tried: some failures do not happen twice."""
RESCUE: Final = (
    "apply a package with the role software-recovery and --unsafe-force, which sets the transaction aside "
    "(docs/installing.md)"
)
RECOVER: Final = "run 'spkg recover' to try again"
"""The hint for changes that are neither complete nor undone."""
NOT_KEPT: Final = "they can't be undone: the overlayfs had no room to keep old files"
RESERVED: Final = 1 << 15
"""What a transaction on an overlayfs takes in addition to the journal once all is staged, in bytes."""
RESERVED_INODES: Final = 4
"""The same in inodes, in addition to one for each step."""
SYNCED_ONE_BY_ONE: Final = 8
"""Up to this many files or directories are synced one by one; more, by one sync of the file system."""


class RecoveryOutcome(Enum):
    """The outcome of a transaction."""

    NOTHING = "nothing"
    """There was no transaction."""
    DISCARDED = "discarded"
    """It had not begun to change the tree."""
    DONE = "done"
    """Its changes are complete."""
    UNDONE = "undone"
    """Its changes could not be completed and were undone."""


@dataclass(frozen=True)
class Settled:
    """The outcome of a transaction, and what prevented its changes from being completed."""

    outcome: RecoveryOutcome
    problems: tuple[OSError, ...] = ()
    warnings: tuple[Finding, ...] = ()
    """About damaged files that were set aside."""

    @property
    def cause(self) -> str:
        """What happened, each with its path; empty if nothing did or another process saw it."""
        return "; ".join(dict.fromkeys(map(os_problem, self.problems)))


def slot(kind: bytes, step: JournalStep) -> Parts:
    """Return the place of a step in the transaction."""
    return (*TXN, kind, b"%d" % step.number)


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
        kept = {PACKAGE[-1], *([b"new"] if _is_directory(root, NEW) else ())}
        late = [(*TXN, name) for name in root.names(TXN) if name not in kept]
        if [path for path in late if root.sweep(path) is not None]:
            collect(root)
            root.mkdir(TXN, PRIVATE)
            going_on = False
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
            root.sweep(TXN)
        raise


def is_staging(root: Root) -> str | None:
    """Return the package whose download was interrupted before it changed anything; None if none was.

    Raises:
        OSError: The root can't be read.
    """
    if not _has(root, PACKAGE) or _has(root, JOURNAL) or _has(root, DONE) or _has_begun(root):
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
    if not _is_directory(root, NEW):
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


def commit(
    root: Root,
    steps: Sequence[JournalStep],
    directories: Iterable[MakeDirectory],
    *,
    keeping: Callable[[Root, Sequence[JournalStep]], object] | None = None,
    ready: Callable[[], object] = lambda: None,
) -> list[JournalStep]:
    """Stage everything but files, make it all durable, and write the journal; return the steps in it.

    Once this has returned, the changes will be made, whatever happens.

    Args:
        root: The root; the files of all puts are staged there, and synced if they are few.
        steps: The changes to make.
        directories: All new directories, including those within others.
        keeping: Called before the commit if the transaction is to be kept once it is done.
        ready: Called when all that is left is to rename the journal.

    Raises:
        FailedError: There are more steps than fit into a journal; nothing has changed yet.
        OSError: Something can't be staged; nothing has changed yet.
    """
    tops = {step.path: step for step in steps if step.verb is Verb.DIRECTORY}
    made: list[Parts] = []
    for new in sorted(directories, key=lambda one: one.path):  # those above come first
        path = new.path
        depth = next(depth for depth in range(len(path), 0, -1) if path[:depth] in tops)
        made.append((*slot(b"mk", tops[path[:depth]]), *path[depth:]))
        root.mkdir(made[-1], DIRECTORY_MODE, new.heritage)
    for marker in (PLACING, BACK, UNPLACED):
        root.create(_spare(marker)).close()
    if root.layered:
        bring_up(root, steps)
    octets = RESERVED + (2 * len(encode_journal(steps)) if root.layered else 0)
    reserve = Reserve.of(root, steps, octets, RESERVED_INODES + len(steps))
    with root.staying():
        staged = [keep_old(root, step, slot(b"old", step), TXN, reserve) for step in steps]
    if keeping is not None:
        keeping(root, staged)
    journal = encode_journal(staged)
    if len(journal) > MAX_JOURNAL:
        problem = f"the journal would have {len(journal)} bytes, the limit is {MAX_JOURNAL}"
        raise FailedError(problem, reason=NO_ROOM)
    puts = sum(step.verb is Verb.PUT for step in staged)
    draft = root.create(JOURNAL_DRAFT)
    try:
        draft.write(journal)
        if root.layered or keeping is not None or puts + len(made) > SYNCED_ONE_BY_ONE:
            root.sync_all()
        else:
            for directory in [*made, *((*TXN, name) for name in SLOTS), TXN, OWN, ()]:
                root.sync_directory(directory)
        draft.sync()  # it is written before, so that there is nothing left to do where all was synced
    finally:
        draft.close()
    ready()
    root.rename(JOURNAL_DRAFT, JOURNAL)
    root.sync_directory(TXN)
    return staged


def finish(root: Root, steps: Sequence[JournalStep]) -> Settled:
    """Complete the changes of a journal, or undo them if that fails.

    Raises:
        UnsafeError: Both failed.
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
            return Settled(RecoveryOutcome.DONE)
    if any(step.before is Before.LOST for step in steps):
        told = "; ".join(dict.fromkeys(map(os_problem, problems)))
        raise UnsafeError(f"the changes can't be completed: {told}; {NOT_KEPT}", hint=RECOVER)
    try:
        _rely_on_names(root)
        _back(root, steps)
    except OSError as exc:
        told = Settled(RecoveryOutcome.UNDONE, (*problems, exc)).cause
        raise UnsafeError(f"the changes can be neither completed nor undone: {told}", hint=RECOVER) from exc
    return Settled(RecoveryOutcome.UNDONE, tuple(problems))


def settle_transaction(root: Root) -> Settled:
    """Finish, undo or discard an interrupted transaction, and remove or keep it; without one, do nothing.

    Raises:
        UnsafeError: The changes can be neither completed nor undone, or it is unknown what they are.
        OSError: Staged files can't be moved away.
    """
    settled = _settle(root)
    if _has(root, TXN):
        if _has(root, KEEP) and _has(root, DONE) and not _has(root, BACK):
            _keep(root)
        else:
            collect(root)
    return settled


def is_pending(root: Root) -> bool:
    """Whether there is a transaction that recovery has to finish, undo or discard.

    Raises:
        OSError: The root can't be read.
    """
    return _has(root, TXN) and not _has(root, DONE) and is_staging(root) is None


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


def _keep(root: Root) -> None:
    """Keep a transaction that is done, in place of an older one.

    Raises:
        OSError: It can't be renamed; this can be tried again at any time.
    """
    older = root.status(KEPT_TXN) is not None
    if older:
        root.rename(KEPT_TXN, vacant(root, OVER))
    root.rename(TXN, KEPT_TXN)
    root.sync_directory(OWN)
    if older:
        clear_leftovers(root)


def discard(root: Root, reason: BaseException) -> None:
    """Remove a transaction whose changes have not begun, its journal first.

    Args:
        root: The root.
        reason: Why.

    Raises:
        UnsafeError: It is unknown whether the journal is removed: recovery may still make the changes.
    """
    try:
        if _has(root, JOURNAL):
            root.unlink(JOURNAL)
            root.sync_directory(TXN)
    except OSError as exc:
        first = os_problem(reason) if isinstance(reason, OSError) else str(reason) or repr(reason)
        problem = f"it is unknown whether the changes will be made: {first}; then {os_problem(exc)}"
        raise UnsafeError(problem, hint=RECOVER) from exc
    with suppress(OSError):  # leftovers do no harm and are removed the next time
        collect(root)


def write_whole(root: Root, path: Parts, octets: bytes, *, sync: bool = True) -> None:
    """Write a new file, and make its contents durable.

    Args:
        root: The root.
        path: The file, which does not exist yet.
        octets: Its contents.
        sync: Whether to make them durable now; otherwise, the caller syncs everything later.

    Raises:
        OSError: It can't be written.
    """
    file = root.create(path)
    try:
        file.write(octets)
        if sync:
            file.sync()
    finally:
        file.close()


def _settle(root: Root) -> Settled:
    """Do what :func:`settle_transaction` does, except for removing the transaction.

    Raises:
        UnsafeError: The changes can be neither completed nor undone, or it is unknown what they are.
    """
    try:
        if not _has(root, TXN):
            return Settled(RecoveryOutcome.NOTHING)
        if not _is_directory(root, TXN):
            return Settled(RecoveryOutcome.DISCARDED)
        _rely_on_names(root)
        steps = _load_journal(root)
        if steps is None:
            done = _has(root, DONE)
            return Settled(RecoveryOutcome.NOTHING if done else RecoveryOutcome.DISCARDED)
    except OSError as exc:
        raise UnsafeError(f"it is unknown what is left to do: {os_problem(exc)}", hint=RECOVER) from exc
    except ValueError as exc:
        raise UnsafeError(f"{shown(JOURNAL)}: {exc}", hint=RESCUE) from exc
    return finish(root, steps)


def journal_warnings(root: Root) -> tuple[Finding, ...]:
    """Return the warning about a damaged journal: it is unknown what an installation has changed.

    Raises:
        OSError: It can't be read.
    """
    try:
        _load_journal(root)
    except ValueError as exc:
        problem = f"{exc}; it is unknown what is left to do: {RESCUE}"
        return (Finding(code="damaged-journal", message=problem, path=shown(JOURNAL)),)
    return ()


def _load_journal(root: Root) -> list[JournalStep] | None:
    """Return the steps of the journal; None if the changes have not begun, or are done.

    Raises:
        ValueError: It is damaged, or is missing though the changes have begun.
        OSError: It can't be read.
    """
    if _has(root, JOURNAL):
        return decode_journal(read_own(root, JOURNAL, MAX_JOURNAL))
    if not _has(root, DONE) and _has_begun(root):
        raise ValueError("the journal is missing, and the changes have begun")
    return None


def _has_begun(root: Root) -> bool:
    """Whether there is what exists only once the journal does: a marker that is set, or a moved source."""
    moved = (*TXN, b"mov")
    return _has(root, PLACING) or _has(root, BACK) or (_is_directory(root, moved) and bool(root.names(moved)))


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


def _forward(root: Root, steps: Sequence[JournalStep]) -> None:
    placed = [step for step in steps if step.verb in PLACED]
    if not _has(root, PLACING):
        # (1) Sources are moved away first, since their directories may be next.
        _shift(root, _moves(steps))
        # (2) Then entries that are in the way or to be removed: a whole tree by one rename.
        leaving = [step for step in steps if step.before is Before.AWAY]
        _shift(root, [(step.path, slot(b"old", step)) for step in leaving])
        waiting = [step for step in steps if step.verb is not Verb.DIRECTORY or _has(root, slot(b"mk", step))]
        if clear_away(root, waiting):
            root.sync_all()
        # (3) New directories, with those below them, are placed durably before anything moves in.
        made = [step for step in steps if step.verb is Verb.DIRECTORY]
        _place(root, [(slot(b"mk", step), step.path) for step in made])
        _mark(root, PLACING)
    # (4) New files are placed.
    _place(root, [(_waiting(step), step.path) for step in placed])
    _done(root)


def _back(root: Root, steps: Sequence[JournalStep]) -> None:
    if not _has(root, JOURNAL):
        root.rename(DONE, JOURNAL)  # the last step may not be durable
    _mark(root, BACK)
    if not _has(root, UNPLACED):
        # (1) Placed files are moved away, except those that the old ones can replace directly.
        if _has(root, PLACING):
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
                if _has(root, place):
                    raise
    _sync(root, pairs)


def _rely_on_names(root: Root) -> None:
    """Make the names of journal and markers durable: they may have been written just before a crash."""
    root.sync_directory(TXN)


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
    if not _has(root, marker):
        root.rename(_spare(marker), marker)
    root.sync_directory(TXN)


def _done(root: Root) -> None:
    if not _has(root, DONE):
        root.rename(JOURNAL, DONE)
    root.sync_directory(TXN)


def _spare(marker: Parts) -> Parts:
    """Return where a marker waits, so that setting it needs no room."""
    return (*marker[:-1], b"spare." + marker[-1])


def _is_directory(root: Root, path: Parts) -> bool:
    try:
        found = root.status(path)
    except OSError as exc:
        if exc.errno not in GONE:
            raise
        return False
    return found is not None and stat.S_ISDIR(found.st_mode)


def _has(root: Root, path: Parts) -> bool:
    try:
        return root.status(path) is not None
    except OSError as exc:
        if exc.errno not in GONE:  # what should be the transaction is no directory
            raise
        return False
