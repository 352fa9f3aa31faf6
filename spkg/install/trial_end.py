"""Ending a trial, supervised: a confined child process changes the root, and this process outlives it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from spkg.common.child_process import ChildKilledError, Tell, run_child
from spkg.common.documents import Document
from spkg.common.stop_signals import hold_stop_signals
from spkg.errors import FailedError
from spkg.install.confined import confined_root
from spkg.install.events import Trigger
from spkg.install.history import rolled_back_packages
from spkg.install.own_directory import check_own
from spkg.install.recovery import recover_in
from spkg.install.rollback import Confirmed, RolledBack, confirm_in, preview_in, roll_back_in
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.trial import load_trial

__all__ = ["confirm", "preview_rollback", "rollback"]

AGAIN: Final = "run the same command again"


def confirm(root: Path, *, when: str, forgive: bool = False) -> Confirmed:
    """End the trial in a root: its package stays, and the old files go.

    Args:
        root: The root.
        when: The time for the record, as an xs:dateTime.
        forgive: Whether packages that were rolled back may be installed again.

    Returns:
        The package; None if none was on trial.

    Raises:
        RefusedError: An installation is running.
        FailedError: It failed; the trial goes on.
        UnsafeError: An installation that was interrupted can be neither completed nor undone.
        OSError: The root can't be read, or no process can be started.
    """

    def work(_tell: Tell) -> Document:  # pragma: no cover - a confined process can't record its coverage
        with confined_root(root) as (opened, _):
            done = confirm_in(opened, when=when, forgive=forgive, committing=hold_stop_signals)
        return asdict(done)

    def after() -> Document | None:
        with Root(root) as opened:
            left = load_trial(opened)
        return None if left is not None else {"package": known, "forgiven": (), "warnings": ()}

    with Root(root) as opened:
        if opened.status(OWN) is not None:
            check_own(opened)
        trial = load_trial(opened)
    known = None if trial is None else trial.package
    done = _outliving(root, work, after)
    return Confirmed.from_document(done)


def rollback(
    root: Path, *, when: str, by: Trigger = Trigger.COMMAND, reason: str | None = None
) -> RolledBack:
    """Go back to the tree before the package on trial, all or nothing.

    What the package touched is as before afterwards.  What others made meanwhile stays, or is set aside.

    Args:
        root: The root.
        when: The time for the record, as an xs:dateTime.
        by: What makes it happen.
        reason: Why, for people.

    Raises:
        RefusedError: Nothing is kept, or what is in the way can't be set aside, or an installation is
            running.
        FailedError: It failed; the tree is not changed.
        UnsafeError: The changes can be neither completed nor undone.
        OSError: The root can't be read, or no process can be started.
    """
    planned: list[Document] = []

    def work(tell: Tell) -> Document:
        with confined_root(root) as (opened, _):
            return asdict(
                roll_back_in(
                    opened,
                    when=when,
                    by=by,
                    reason=reason,
                    committing=hold_stop_signals,
                    planned=lambda done: tell(asdict(done)),
                )
            )

    def after() -> Document | None:
        with Root(root) as opened:
            last = next(iter(rolled_back_packages(opened)), None)
            done = load_trial(opened) is None and last is not None and last.when == when
            return planned[-1] if done and planned else None

    done = _outliving(root, work, after, planned.append)
    return RolledBack.from_document(done)


def preview_rollback(root: Path) -> RolledBack:
    """Return what :func:`rollback` would do; nothing is changed.

    Raises:
        RefusedError: Nothing is kept, or what is in the way can't be set aside, or an installation was
            interrupted.
        FailedError: What was kept is damaged.
        OSError: The root can't be read.
    """
    with Root(root) as opened:
        return preview_in(opened)


def _outliving(
    root: Path,
    work: Callable[[Tell], Document],
    after: Callable[[], Document | None],
    hear: Tell = lambda _: None,
) -> Document:
    """Do *work* in a child process; if that is killed, recover in another one, and see what was done.

    Args:
        root: The root.
        work: What to do.
        after: Returns what was done after all, from the root; None if nothing was.
        hear: Called here with what the work tells.
    """
    try:
        return run_child(work, hear)
    except ChildKilledError as exc:
        killed = exc

    def recover(_tell: Tell) -> Document:  # pragma: no cover - as above
        with confined_root(root) as (opened, _):
            recover_in(opened)
        return {}

    run_child(recover, lambda _: None)
    done = after()
    if done is None:
        raise FailedError(killed.problem, hint=AGAIN) from killed
    return done
