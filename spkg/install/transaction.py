"""All or nothing: a transaction in ``.spkg/txn``, on the file system of the root.

Everything that needs room is done before the journal exists: files are written to ``new``, new directories
are built in ``mk``, and entries to be replaced get a second name in ``old``.  Until then, recovery discards
it all.  From then on only renames are left, and each can be repeated: recovery completes them or, if that
fails, undoes them.

While its package is on trial, a transaction is kept: once done, it is renamed to ``.spkg/kept``.  Moves of a
transaction that goes back have their sources there, and place them directly.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.errors import NO_ROOM, FailedError, UnsafeError, os_problem
from spkg.install.effects import DIRECTORY_MODE, MakeDirectory
from spkg.install.found_journal import known_journal
from spkg.install.journal import MAX_JOURNAL, Before, JournalStep, Verb, encode_journal
from spkg.install.leftovers import OVER, clear_leftovers, vacant
from spkg.install.old_entries import Reserve, bring_up, keep_old
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.staging import collect, is_staging
from spkg.install.transaction_places import (
    BACK,
    DONE,
    JOURNAL,
    JOURNAL_DRAFT,
    KEEP,
    KEPT_TXN,
    PLACING,
    SLOTS,
    TXN,
    UNPLACED,
    is_directory,
    is_there,
    slot,
    spare_of,
)
from spkg.install.tree_path import Parts
from spkg.install.two_ways import SYNCED_ONE_BY_ONE, go_back, go_forward, rely_on_names

__all__ = [
    "RECOVER",
    "RecoveryOutcome",
    "Settled",
    "commit",
    "discard",
    "finish",
    "is_pending",
    "settle_transaction",
]

ATTEMPTS: Final = 2
"""How often completing the changes is tried: some failures do not happen twice."""
RECOVER: Final = "run 'spkg recover' to try again"
"""The hint for changes that are neither complete nor undone."""
NOT_KEPT: Final = "they can't be undone: the overlayfs had no room to keep old files"
RESERVED: Final = 1 << 15
"""What a transaction on an overlayfs takes in addition to the journal once all is staged, in bytes."""
RESERVED_INODES: Final = 4
"""The same in inodes, in addition to one for each step."""


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
        root.create(spare_of(marker)).close()
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
                rely_on_names(root)
            if is_there(root, BACK):
                break
            go_forward(root, steps)
        except OSError as exc:
            problems.append(exc)
        else:
            return Settled(RecoveryOutcome.DONE)
    if any(step.before is Before.LOST for step in steps):
        told = "; ".join(dict.fromkeys(map(os_problem, problems)))
        raise UnsafeError(f"the changes can't be completed: {told}; {NOT_KEPT}", hint=RECOVER)
    try:
        rely_on_names(root)
        go_back(root, steps)
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
    if is_there(root, TXN):
        if is_there(root, KEEP) and is_there(root, DONE) and not is_there(root, BACK):
            _keep(root)
        else:
            collect(root)
    return settled


def is_pending(root: Root) -> bool:
    """Whether there is a transaction that recovery has to finish, undo or discard.

    Raises:
        OSError: The root can't be read.
    """
    return is_there(root, TXN) and not is_there(root, DONE) and is_staging(root) is None


def discard(root: Root, reason: BaseException) -> None:
    """Remove a transaction whose changes have not begun, its journal first.

    Args:
        root: The root.
        reason: Why.

    Raises:
        UnsafeError: It is unknown whether the journal is removed: recovery may still make the changes.
    """
    try:
        if is_there(root, JOURNAL):
            root.unlink(JOURNAL)
            root.sync_directory(TXN)
    except OSError as exc:
        first = os_problem(reason) if isinstance(reason, OSError) else str(reason) or repr(reason)
        problem = f"it is unknown whether the changes will be made: {first}; then {os_problem(exc)}"
        raise UnsafeError(problem, hint=RECOVER) from exc
    with suppress(OSError):  # leftovers do no harm and are removed the next time
        collect(root)


def _settle(root: Root) -> Settled:
    """Do what :func:`settle_transaction` does, except for removing the transaction.

    Raises:
        UnsafeError: The changes can be neither completed nor undone, or it is unknown what they are.
    """
    try:
        if not is_there(root, TXN):
            return Settled(RecoveryOutcome.NOTHING)
        if not is_directory(root, TXN):
            return Settled(RecoveryOutcome.DISCARDED)
        rely_on_names(root)
        steps = known_journal(root)
        if steps is None:
            done = is_there(root, DONE)
            return Settled(RecoveryOutcome.NOTHING if done else RecoveryOutcome.DISCARDED)
    except OSError as exc:
        raise UnsafeError(f"it is unknown what is left to do: {os_problem(exc)}", hint=RECOVER) from exc
    return finish(root, steps)


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
