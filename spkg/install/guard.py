"""Waiting for the end of a trial: going back when its delay has passed unconfirmed."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from spkg.common.boots import Boot
from spkg.common.findings import Finding
from spkg.errors import RefusedError
from spkg.install.events import Trigger
from spkg.install.rollback import RolledBack
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.trial import Trial, load_trial, trial_warnings
from spkg.install.trial_end import rollback

__all__ = ["guard_trial"]

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at whether the trial has ended otherwise."""
ROLLBACK_ATTEMPTS: Final = 3
"""How often going back is tried where it is refused, other than by a process at work."""


def guard_trial(
    root: Path,
    *,
    boot: Callable[[], Boot],
    sleep: Callable[[float], object],
    timestamp: Callable[[], str],
    warn: Callable[[Finding], object] = lambda _: None,
) -> RolledBack | None:
    """Sleep until the trial in a root has lasted for its delay, and go back.

    Args:
        root: The root.
        boot: Returns the boot, and how much of it has passed.
        sleep: Sleeps for so many seconds.
        timestamp: Returns the time for the record, as an xs:dateTime.
        warn: Called at the beginning with what is damaged, so that the trial won't end as intended.

    Returns:
        What going back has changed; None if there is no trial, or if it has ended otherwise.

    Raises:
        RefusedError: What is in the way can't be set aside.
        FailedError: Going back failed; the tree is not changed.
        UnsafeError: The changes can be neither completed nor undone.
        OSError: The root can't be read, or no process can be started.
    """
    with Root(root) as opened:
        guarded = trial = load_trial(opened)
        findings = trial_warnings(opened)
    for finding in findings:
        warn(finding)
    refusals = 0
    while guarded is not None and trial is not None and _is_same(trial, guarded):
        left = trial.left(boot())
        if left is None:  # it is damaged, or lasts until hooks have ended
            sleep(LOOK_EVERY)
        elif left > 0:
            sleep(min(left, LOOK_EVERY))
        else:
            reason = f"not confirmed within {guarded.delay:g} s"
            try:
                return rollback(root, when=timestamp(), by=Trigger.DELAY, reason=reason)
            except RefusedError:
                refusals += not _is_busy(root)  # else another process may be ending the trial
                if refusals == ROLLBACK_ATTEMPTS:
                    raise
                sleep(LOOK_EVERY)
        trial = _trial(root)
    return None


def _trial(root: Path) -> Trial | None:
    with Root(root) as opened:
        return load_trial(opened)


def _is_same(trial: Trial, other: Trial) -> bool:
    """Whether two notes are of one trial: boots may have been counted meanwhile."""
    return (trial.package, trial.boot, trial.since) == (other.package, other.boot, other.since)


def _is_busy(root: Path) -> bool:
    """Whether another process works in the root."""
    with Root(root) as opened, opened.locked(OWN) as free:
        return not free
