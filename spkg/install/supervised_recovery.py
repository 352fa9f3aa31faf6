"""Supervised recovery: a confined child process finishes or undoes what was interrupted, and counts boots."""

from dataclasses import asdict
from pathlib import Path

from spkg.common.boots import Boot
from spkg.common.child_process import Tell, run_child
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.install.checkpoint import checkpoint_warnings
from spkg.install.confined import confined_root
from spkg.install.recovery import recover_in
from spkg.install.rollback import RolledBack, boot_in
from spkg.install.status import RootState, root_state, set_aside_paths
from spkg.install.transaction import RecoveryOutcome
from spkg.install.trial import trial_warnings

__all__ = ["Recovered", "recover_root"]


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """The outcome of a recovery, and the state of the root."""

    outcome: RecoveryOutcome
    state: RootState
    failed: bool
    """Whether an installation in place failed, other than by a crash."""
    cause: str = ""
    """If an installation was undone: what prevented it from being finished."""
    warnings: tuple[Finding, ...] = ()
    discarded_aside: tuple[str, ...] = ()
    """What going back had set aside, and was deleted: paths as they lay below the root."""
    boots_left: int | None = None
    """How many more boots a package on trial may see unconfirmed; None for any number."""
    rolled_back: RolledBack | None = None
    """What was rolled back because all boots of a trial have passed."""


def recover_root(
    root: Path,
    *,
    discard: bool = False,
    discard_aside: bool = False,
    boot: Boot | None = None,
    when: str = "",
) -> Recovered:
    """Finish or undo an interrupted installation, in a confined child process.

    Args:
        root: The root.
        discard: Whether to also remove the staged files with which an interrupted download could be resumed.
        discard_aside: Whether to also remove what was set aside by going back.
        boot: This boot, to count it for a package on trial, which is rolled back when all of its boots have
            passed; None to count nothing.
        when: The time for the record of that, as an xs:dateTime.

    Raises:
        RefusedError: An installation is running.
        FailedError: Staged files can't be read or removed.
        UnsafeError: The changes can be neither completed nor undone.
        OSError: The root can't be read, or no process can be started.
    """

    def work(_tell: Tell) -> Document:
        with confined_root(root) as (opened, _):
            aside = set_aside_paths(opened) if discard_aside else ()
            settled = recover_in(opened, discard=discard, discard_aside=discard_aside)
            trial, gone = (None, None) if boot is None else boot_in(opened, boot, when=when)
            state, stopped = root_state(opened)
            warnings = (*settled.warnings, *checkpoint_warnings(opened), *trial_warnings(opened))
        return {
            "discarded_aside": aside,
            "outcome": settled.outcome.value,
            "state": state.value,
            "failed": stopped is not None and stopped.failed,
            "cause": settled.cause,
            "warnings": [asdict(one) for one in warnings],
            "boots_left": None if trial is None else trial.boots_left,
            "rolled_back": None if gone is None else asdict(gone),
        }

    done = run_child(work, lambda _: None)
    gone = done["rolled_back"]
    return Recovered(
        outcome=RecoveryOutcome(done["outcome"]),
        state=RootState(done["state"]),
        failed=done["failed"],
        cause=done["cause"],
        warnings=tuple(Finding(**one) for one in done["warnings"]),
        discarded_aside=tuple(done["discarded_aside"]),
        boots_left=done["boots_left"],
        rolled_back=None if gone is None else RolledBack.from_document(gone),
    )
