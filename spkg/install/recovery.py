"""Recovery: finish or undo what a crash interrupted.  It needs no package, nor what packages need."""

from contextlib import suppress
from dataclasses import replace
from typing import Final

from spkg.common.findings import Finding
from spkg.errors import UnsafeError, os_problem
from spkg.install import transaction
from spkg.install.checkpoint import WORST, remove_spare, save_checkpoint
from spkg.install.found_journal import journal_warnings, set_aside
from spkg.install.history import set_aside_record
from spkg.install.kept import drop_kept, refill_reserve
from spkg.install.leftovers import OVER, clear_leftovers, stuck_warnings, vacant
from spkg.install.own_directory import failing, working_in
from spkg.install.own_files import ASIDE_TREE
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.staging import is_staging
from spkg.install.transaction import RECOVER, RecoveryOutcome, Settled
from spkg.install.trial import end_hook_trial

__all__ = ["outcome_text", "recover_in", "settle_root"]

OUTCOMES: Final = {
    RecoveryOutcome.NOTHING: "nothing was left to recover",
    RecoveryOutcome.DISCARDED: "discarded an installation that had not changed anything yet",
    RecoveryOutcome.DONE: "finished an interrupted installation",
    RecoveryOutcome.UNDONE: "undid an interrupted installation that could not be finished",
}
"""What recovery did, for people."""


def recover_in(root: Root, *, discard: bool = False, discard_aside: bool = False) -> Settled:
    """Finish or undo an interrupted installation; a root that never had an installation is left alone.

    Args:
        root: The root.
        discard: Whether to also remove the staged files with which an interrupted download could be resumed.
        discard_aside: Whether to also remove what was set aside by going back.

    Raises:
        RefusedError: An installation is running.
        FailedError: Staged files can't be read or removed.
        UnsafeError: The changes can be neither completed nor undone.
        OSError: The root can't be read.
    """
    if root.status(OWN) is None:
        return Settled(RecoveryOutcome.NOTHING)
    with working_in(root):
        settled = settle_root(root, keep=None if discard else is_staging(root))
        end_hook_trial(root)
        if discard_aside and root.status(ASIDE_TREE) is not None:
            with failing():
                root.rename(ASIDE_TREE, vacant(root, OVER))
        return replace(settled, warnings=(*settled.warnings, *stuck_warnings(root)))


def settle_root(root: Root, *, keep: str | None = None, rescuing: bool = False) -> Settled:
    """Finish or undo an installation that a crash interrupted; what is found then is durable.

    Args:
        root: The root.
        keep: The package whose staged files are kept if its download was interrupted, so that it can be
            resumed: the SHA-256 of its signed bytes, in hex.
        rescuing: Whether a package follows that is trusted to repair the root, so that a transaction with a
            damaged journal may be set aside; the root counts as unsafe until that package is installed.

    Raises:
        FailedError: Staged files can't be moved away, or what is found can't be made durable; the tree is not
            left half-changed.
        UnsafeError: The changes can be neither completed nor undone, or it is unknown what they are.
    """
    try:
        kept = keep is not None and is_staging(root) == keep
        damaged = rescuing and journal_warnings(root)
    except OSError as exc:
        raise UnsafeError(f"it is unknown what is left to do: {os_problem(exc)}", hint=RECOVER) from exc
    warnings: list[Finding] = []
    with failing():
        if damaged:
            save_checkpoint(root, WORST)
            warnings.append(set_aside(root))
        settled = Settled(RecoveryOutcome.NOTHING) if kept else transaction.settle_transaction(root)
        # The record, the checkpoint or their directory may have been written just before a crash.
        root.sync_directory(OWN)
        root.sync_directory(())
        drop_kept(root)
        clear_leftovers(root)
        remove_spare(root)
        warnings += set_aside_record(root)
        with suppress(OSError):  # going back then needs room of its own
            refill_reserve(root)
    # Without its journal, nobody knows what a transaction had changed.
    return replace(
        settled,
        outcome=RecoveryOutcome.NOTHING if damaged else settled.outcome,
        warnings=tuple(warnings),
    )


def outcome_text(outcome: RecoveryOutcome, cause: str) -> str:
    """Return what recovery did, and what prevented more, for people."""
    return f"{OUTCOMES[outcome]} ({cause})" if cause else OUTCOMES[outcome]
