"""Steps for the installer's own files, and transactions that need no package."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from spkg.errors import FailedError, UnsafeError
from spkg.install import transaction
from spkg.install.checkpoint import remove_spare
from spkg.install.effects import MakeDirectory
from spkg.install.journal import Before, JournalStep, Verb
from spkg.install.kept import drop_kept
from spkg.install.own_directory import failing
from spkg.install.own_files import write_whole
from spkg.install.root import Root
from spkg.install.staging import begin
from spkg.install.transaction import RecoveryOutcome
from spkg.install.transaction_places import slot
from spkg.install.tree_path import Parts

__all__ = ["carry_out", "complete", "own_step"]


def own_step(root: Root, path: Parts, verb: Verb, number: int) -> JournalStep:
    """Return the step for one of the installer's own files.

    Raises:
        OSError: The root can't be read.
    """
    before = Before.AWAY if verb is Verb.DELETE else Before.KEPT
    return JournalStep(
        number=number,
        verb=verb,
        path=path,
        before=Before.NOTHING if root.status(path) is None else before,
    )


def carry_out(
    root: Root,
    steps: Sequence[JournalStep],
    directories: Iterable[MakeDirectory],
    texts: Mapping[Parts, bytes],
    *,
    committing: Callable[[], object],
) -> None:
    """Carry out steps all or nothing, inside :func:`working_in` and after the root is settled.

    Args:
        root: The root.
        steps: The steps; what they put are texts.
        directories: All new directories.
        texts: The contents of the files to put, by path.
        committing: Called at the point of no return.

    Raises:
        FailedError: It failed; nothing has changed.
        UnsafeError: The changes can be neither completed nor undone.
    """
    with failing():
        begin(root)
        try:
            for step in steps:
                if step.verb is Verb.PUT:
                    write_whole(root, slot(b"new", step), texts[step.path])
            committing()
            staged = transaction.commit(root, steps, directories)
        except BaseException as exc:
            committing()  # cleaning up can't be undone either
            transaction.discard(root, exc)
            raise
    complete(root, staged)


def complete(root: Root, staged: Sequence[JournalStep]) -> None:
    """Complete what was committed, and remove the transaction, or keep it if its package is on trial.

    Raises:
        FailedError: The changes could not be completed; nothing has changed.
        UnsafeError: They can be neither completed nor undone.
    """
    settled = transaction.finish(root, staged)
    with suppress(OSError, UnsafeError):  # all is done or undone; the rest is collected the next time
        transaction.settle_transaction(root)
        remove_spare(root)
        drop_kept(root)
    if settled.outcome is RecoveryOutcome.UNDONE:
        raise FailedError(f"the changes could not be completed and were undone: {settled.cause}")
