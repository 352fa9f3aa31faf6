"""Ending a trial: the package stays, or the tree becomes as it was before."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from spkg.common.boots import Boot
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.common.printable import amount
from spkg.common.stop_signals import hold_stop_signals
from spkg.errors import NOTHING_KEPT, FailedError, RefusedError, os_problem
from spkg.install.checkpoint import CHECKPOINT
from spkg.install.events import EventKind, RootEvent, Trigger
from spkg.install.found_journal import known_journal
from spkg.install.history import (
    RECORD,
    record_confirmed,
    record_forgiven,
    record_rolled_back,
    record_warnings,
    rolled_back_packages,
)
from spkg.install.journal import Before, JournalStep, Verb
from spkg.install.kept import kept_problem, kept_steps, old_place, refill_reserve, release_reserve
from spkg.install.own_changes import carry_out, own_step
from spkg.install.own_directory import check_mounted_for_writing, check_own, failing, working_in
from spkg.install.recovery import settle_root
from spkg.install.rollback_plan import RollbackPlan, plan_rollback
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.transaction import is_pending
from spkg.install.transaction_places import DONE, KEPT_TXN, TRIAL
from spkg.install.tree_path import Parts, shown
from spkg.install.trial import Trial, count_boot, load_trial

__all__ = ["Confirmed", "RolledBack", "boot_in", "confirm_in", "preview_in", "roll_back_in"]

Committing = Callable[[], object]
CONFIRM: Final = "run 'spkg confirm': the package stays"


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The package whose trial has ended, so that it stays; None if there was none."""

    package: str | None
    forgiven: tuple[str, ...] = ()
    """The packages that were rolled back before, and may be installed again."""
    warnings: tuple[Finding, ...] = ()

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Return it from the form that is sent between processes."""
        warnings = tuple(Finding(**one) for one in document["warnings"])
        return cls(package=document["package"], forgiven=tuple(document["forgiven"]), warnings=warnings)


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What going back has changed, or would change."""

    package: str
    """The package that was on trial."""
    changes: tuple[Document, ...]
    """An action and a path each."""
    set_aside: tuple[str, ...]
    """Where it stood what was in the way, and is now below ``.spkg/aside``."""
    warnings: tuple[Finding, ...] = ()

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Return it from the form that is sent between processes."""
        warnings = tuple(Finding(**one) for one in document["warnings"])
        lists = {name: tuple(document[name]) for name in ("changes", "set_aside")}
        return cls(**{**document, **lists, "warnings": warnings})


def confirm_in(root: Root, *, when: str, forgive: bool = False, committing: Committing) -> Confirmed:
    """End the trial in a root: the package stays, and the old files go.

    Args:
        root: The root.
        when: The time for the record.
        forgive: Whether packages that were rolled back may be installed again.
        committing: Called at the point of no return.

    Raises:
        RefusedError: An installation is running.
        FailedError: It failed; the trial goes on.
        UnsafeError: An installation that was interrupted can be neither completed nor undone.
        OSError: The root can't be read.
    """
    if root.status(OWN) is None:
        return Confirmed(package=None)
    with working_in(root):
        settled = settle_root(root)
        trial = load_trial(root)
        forgiven = tuple(one.package for one in rolled_back_packages(root)) if forgive else ()
        texts: dict[Parts, bytes] = {}
        if forgiven:
            texts[RECORD] = record_forgiven(root, when)
            _change(root, [], [], texts, committing)
        if trial is None:
            return Confirmed(package=None, forgiven=forgiven, warnings=settled.warnings)
        event = _event(trial, EventKind.CONFIRMED, when=when, by=Trigger.COMMAND)
        texts[RECORD] = record_confirmed(root, event)
        _change(root, [], [TRIAL], texts, committing)
        return Confirmed(package=trial.package, forgiven=forgiven, warnings=settled.warnings)


def preview_in(root: Root) -> RolledBack:
    """Return what :func:`roll_back_in` would do.

    Raises:
        RefusedError: Nothing is kept, or what is in the way can't be set aside, or an installation was
            interrupted.
        UnsafeError: The journal of that installation is damaged.
        FailedError: What was kept is damaged.
        OSError: The root can't be read.
    """
    check_own(root)
    if is_pending(root) or root.status(DONE) is not None:
        known_journal(root)
        hint = "run 'spkg recover' to finish or undo it"
        raise RefusedError("an installation in this root was interrupted", hint=hint)
    trial, steps = _kept(root)
    check_mounted_for_writing(root)
    return _result(trial, plan_rollback(root, steps), record_warnings(root))


def roll_back_in(
    root: Root,
    *,
    when: str,
    by: Trigger,
    reason: str | None,
    committing: Committing,
    planned: Callable[[RolledBack], object] = lambda _: None,
) -> RolledBack:
    """Go back to the tree before the package on trial, all or nothing.

    Args:
        root: The root.
        when: The time for the record.
        by: What makes it happen.
        reason: Why, for people.
        committing: Called at the point of no return.
        planned: Called with what will be done.

    Raises:
        RefusedError: Nothing is kept, or what is in the way can't be set aside, or an installation is
            running.
        FailedError: It failed; the tree is not changed.
        UnsafeError: The changes can be neither completed nor undone.
        OSError: The root can't be read.
    """
    if root.status(OWN) is None:
        raise _nothing_kept()
    with working_in(root):
        settled = settle_root(root)
        trial, steps = _kept(root)
        plan = plan_rollback(root, steps)
        event = _event(trial, EventKind.ROLLED_BACK, when=when, by=by, reason=reason)
        tree = [*plan.steps]
        for step in steps:
            if step.path == CHECKPOINT and step.before is not Before.NOTHING:
                # The package ended an installation in place that had stopped: that is unfinished again.
                there = Before.NOTHING if root.status(CHECKPOINT) is None else Before.KEPT
                back = JournalStep(
                    number=len(tree), verb=Verb.MOVE, path=CHECKPOINT, before=there, source=old_place(step)
                )
                tree.append(back)
        done = _result(trial, plan, settled.warnings)
        planned(done)
        _change(root, tree, [TRIAL], {RECORD: record_rolled_back(root, event)}, committing, plan)
        return done


def boot_in(root: Root, boot: Boot, *, when: str) -> tuple[Trial | None, RolledBack | None]:
    """Count a boot of the trial in a root, and go back if more than allowed have passed.

    Returns:
        The trial as it is then, and what going back has changed; None for what there is not.

    Raises:
        RefusedError: What is in the way of going back can't be set aside, or an installation is running.
        FailedError: The boot can't be counted, or going back failed; the tree is not changed.
        UnsafeError: The changes can be neither completed nor undone.
        OSError: The root can't be read.
    """
    if load_trial(root) is None:
        return None, None
    with working_in(root), failing():
        trial = load_trial(root)
        if trial is None:
            return None, None
        if trial.counting(boot) != trial:
            check_mounted_for_writing(root)
        trial = count_boot(root, trial, boot)
    if not trial.is_spent:
        return trial, None
    reason = f"not confirmed within {amount(trial.boots or 0, 'boot')}"
    return None, roll_back_in(root, when=when, by=Trigger.BOOTS, reason=reason, committing=hold_stop_signals)


def _kept(root: Root) -> tuple[Trial, list[JournalStep]]:
    """Return the trial in a root, and the steps of its package."""
    trial = load_trial(root)
    if trial is None:
        raise _nothing_kept()
    try:
        problem = kept_problem(root)
        if problem is None:
            return trial, kept_steps(root)
        is_missing = root.status(KEPT_TXN) is None
    except OSError as exc:
        raise FailedError(os_problem(exc)) from exc
    if is_missing:
        raise RefusedError(f"there is nothing to go back to: {problem}", hint=CONFIRM, reason=NOTHING_KEPT)
    raise FailedError(problem, hint=CONFIRM)


def _nothing_kept() -> RefusedError:
    return RefusedError(
        "there is nothing to go back to: no package is on trial",
        hint="'spkg apply --back-up DELAY' installs a package on trial",
        reason=NOTHING_KEPT,
    )


def _change(  # noqa: PLR0917 - what a transaction consists of
    root: Root,
    tree: list[JournalStep],
    gone: list[Parts],
    texts: dict[Parts, bytes],
    committing: Committing,
    plan: RollbackPlan | None = None,
) -> None:
    """Carry out a transaction with the room that is reserved for it."""
    check_mounted_for_writing(root)
    changed = [*((path, Verb.PUT) for path in texts), *((path, Verb.DELETE) for path in gone)]
    own = [own_step(root, *one, number) for number, one in enumerate(changed, start=len(tree))]
    directories = () if plan is None else plan.directories
    try:
        with failing():
            release_reserve(root)
        carry_out(root, [*tree, *own], directories, texts, committing=committing)
    finally:
        with suppress(OSError):
            refill_reserve(root)


def _event(trial: Trial, kind: EventKind, *, when: str, by: Trigger, reason: str | None = None) -> RootEvent:
    return RootEvent(
        when=when, event=kind, package=trial.package, version=trial.version, by=by, reason=reason
    )


def _result(trial: Trial, plan: RollbackPlan, warnings: tuple[Finding, ...]) -> RolledBack:
    return RolledBack(
        package=trial.package,
        changes=plan.changes,
        set_aside=tuple(map(shown, plan.set_aside)),
        warnings=(*warnings, *plan.warnings),
    )
