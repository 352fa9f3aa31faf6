"""Supervised installation: a confined child process changes the root, and this process outlives it.

If the child is killed, a second one recovers the root.  This process runs the programs of the device: hooks,
handlers and, if the root is unsafe afterwards, the recovery command.  The command line and every other
program get the same.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from spkg.common.child_process import ChildKilledError, Parent, Tell, run_child
from spkg.common.documents import Document
from spkg.common.frozen import dataclass
from spkg.common.stop_signals import hold_stop_signals
from spkg.errors import FailedError, RefusedError, SpkgError, TransferError, UnsafeError, os_problem
from spkg.format.installation_state import InstallationState
from spkg.install import aftermath as after
from spkg.install import apply as applying
from spkg.install.all_or_nothing import StagedImage
from spkg.install.applied import Applied, ApplyRequest, digest_of
from spkg.install.approval import NOT_UNDONE, approve, keeping
from spkg.install.confined import confined_root
from spkg.install.hooks import BARE_ENVIRONMENT, HookRun, Hooks, image_document
from spkg.install.own_directory import working_in
from spkg.install.root import Root
from spkg.install.transaction import RECOVER
from spkg.install.unreported import note_unreported
from spkg.verify.payload import ArrivingPayload, Payload, Standing, TimeLeft
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Progress

__all__ = [
    "Advance",
    "Note",
    "apply_package",
    "mark_unreported",
    "preview_package",
]

REPORT_EVERY: Final = 0.1
"""The time between two progress reports of a child, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Advance:
    """Bytes are done; a negative number if some have to be read again."""

    octets: int
    standing: Standing | None
    """The state of a package that is still arriving."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A note for people."""

    text: str


def apply_package(
    trusted: TrustedPackage,
    payload: Payload,
    root: Path,
    request: ApplyRequest,
    *,
    clock: Callable[[], float],
    hear: Callable[[Advance | Note | HookRun], object] = lambda _event: None,
    settled: Callable[[], object] = lambda: None,
    environment: Mapping[str, str] = BARE_ENVIRONMENT,
) -> Applied:
    """Install a package in a root, in a child process that can change nothing else.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        root: The root.
        request: How to install it.
        clock: Returns the time in seconds; it never jumps.
        hear: Called in this process with progress, notes, and the programs of the device that have run.
        settled: Called when nothing is left to be stopped, before a recovery command or the hook ``failed``
            runs: from then on, signals should not raise. It can close what the payload was read from.
        environment: Where the programs of the device get PATH from, and nothing else.

    Raises:
        RefusedError: The package is not for this device or root, or can't be installed now.
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload is shorter or longer than the header states.
        TransferError: The transfer failed or took too long; the root is as with FailedError.
        FailedError: It failed; the root is as before or, in place, usable and partly changed.
        UnsafeError: It failed, and the root needs recovery; the device's recovery command has run.
        OSError: The root can't be read, or no process can be started.
    """
    request = keeping(request)
    hooks = Hooks(trusted, root, request, environment, clock, hear)
    later = _Later()

    def note(text: str) -> None:
        later.call(hear, Note(text=text))

    try:
        done = _supervised(trusted, payload, root, request, clock=clock, hear=hear, hooks=hooks)
        if hooks.device.after and not done.already:
            package = digest_of(trusted)
            on_trial = approve(hooks, root, request, package, settled=lambda: later.call(settled), note=note)
            done = replace(done, on_trial=on_trial)
    except (FailedError, TransferError, UnsafeError) as exc:
        hooks.hear = lambda run: later.call(hear, run)
        if isinstance(exc, UnsafeError) or hooks.device.failed:
            later.call(settled)
        _clean_up(hooks, exc, note)
        for problem in later.problems:
            exc.add_note(f"meanwhile: {problem!r}")
        raise
    later.raise_first()
    settled()
    return done


def _supervised(
    trusted: TrustedPackage,
    payload: Payload,
    root: Path,
    request: ApplyRequest,
    *,
    clock: Callable[[], float],
    hear: Callable[[Advance | Note | HookRun], object],
    hooks: Hooks,
) -> Applied:
    """Install in a child process, and recover in a second one if the first was killed."""

    def heard(document: Document) -> None:
        hear(_event(document))

    def in_child(work: Callable[[Parent], Document]) -> Applied:
        return Applied.from_document(run_child(work, heard, hooks.reply))

    def recover(killed: ChildKilledError) -> Applied:
        arriving = isinstance(payload, ArrivingPayload)
        try:
            try:
                return in_child(_settling(trusted, root, request, arriving=arriving, killed=str(killed)))
            except ChildKilledError as exc:
                return _killed_twice(exc, trusted, root, request)
        except OSError as exc:  # the one that was killed may have left the tree half-changed
            raise UnsafeError(f"it is unknown what is left to do: {os_problem(exc)}", hint=RECOVER) from exc

    try:
        return in_child(_installing(trusted, payload, root, request, clock, hooks))
    except ChildKilledError as exc:
        killed = exc
    later = _Later()
    later.call(hear, Note(text=f"{killed}: recovering"))
    done = recover(killed)
    later.raise_first()
    return done


def _clean_up(hooks: Hooks, exc: SpkgError, note: Callable[[str], object]) -> None:
    """Run what the device has for a failed installation."""
    if isinstance(exc, UnsafeError) and hooks.device.recovery_command:
        program = hooks.device.recovery_command[0]
        note(f"running {program}")
        ended = hooks.recover(exc.STATUS)
        assert ended is not None  # there is a command
        note(f"the recovery command {ended.end}" if ended.problem else f"{program} {ended.end}")
    if problem := hooks.failed(exc.STATUS):
        note(problem)


class _Later:
    """Calls between an installation and its recovery: no exception of the caller's prevents that."""

    def __init__(self) -> None:
        self.problems: list[BaseException] = []
        """What they raised."""

    def call(self, function: Callable[..., object], *args: object) -> None:
        try:
            function(*args)
        except BaseException as exc:  # noqa: BLE001 - also an interrupt: it is raised or noted afterwards
            self.problems.append(exc)

    def raise_first(self) -> None:
        """Raise the first of these exceptions, if there is one."""
        for problem in self.problems:
            raise problem


def preview_package(trusted: TrustedPackage, payload: Payload, root: Path, request: ApplyRequest) -> Applied:
    """Return what :func:`apply_package` would do, after checking the payload; nothing is changed.

    Raises:
        RefusedError: It would be refused, or an interrupted installation has to be recovered first.
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: The record of installed packages can't be read.
        OSError: The root can't be read.
    """
    with Root(root) as opened:
        return applying.preview(trusted, payload, opened, keeping(request))


def mark_unreported(root: Path, problem: str) -> None:
    """Note in a root that its last installation could not be reported, in a confined child process.

    Args:
        root: The root.
        problem: Why, for people.

    Raises:
        RefusedError: Another installation is running.
        FailedError: The process was killed.
        OSError: It can't be noted, or no process can be started.
    """

    def work(_tell: Tell) -> Document:
        with confined_root(root) as (opened, _), working_in(opened):
            note_unreported(opened, problem)
        return {}

    run_child(work, lambda _: None)


def _installing(  # noqa: PLR0917 - what an installation needs
    trusted: TrustedPackage,
    payload: Payload,
    root: Path,
    request: ApplyRequest,
    clock: Callable[[], float],
    hooks: Hooks,
) -> Callable[[Parent], Document]:
    """Return the function that installs in a child process."""
    parent, committed = os.getpid(), False
    asks = hooks.wanted

    def committing() -> None:
        nonlocal committed
        committed = True
        hold_stop_signals()

    def work(told: Parent) -> Document:
        def permit(planned: Applied) -> None:
            if problem := told.ask({"planned": planned.to_document()}).get("problem"):
                raise RefusedError(problem)

        def handle(image: StagedImage) -> None:
            if problem := told.ask({"image": image_document(image)}).get("problem"):
                raise FailedError(problem, hint=NOT_UNDONE)

        progress, finish = _reporting(payload, told, clock)
        if isinstance(payload, ArrivingPayload):
            # Without its parent, it continues only after the point of no return.
            payload.supervise(
                note=lambda text: told({"note": text}),
                wanted=lambda: committed or os.getppid() == parent,
            )
        with confined_root(root) as (opened, confined):
            applied = applying.apply(
                trusted,
                payload,
                opened,
                request,
                permit=permit if asks else None,
                handle=handle,
                committing=committing,
                progress=progress,
            )
        finish()
        return replace(applied, confined=confined).to_document()

    return work


def _settling(
    trusted: TrustedPackage, root: Path, request: ApplyRequest, *, arriving: bool, killed: str
) -> Callable[[Tell], Document]:
    """Return the function that recovers in a child process, after the one that installed was killed."""

    def work(_told: Tell) -> Document:
        with confined_root(root) as (opened, confined):
            applied = after.aftermath(trusted, opened, request, arriving=arriving, killed=killed)
        return replace(applied, confined=confined).to_document()

    return work


def _killed_twice(
    exc: ChildKilledError, trusted: TrustedPackage, root: Path, request: ApplyRequest
) -> Applied:
    """Return what was done nevertheless; the recovery failed and can be tried again.

    Raises:
        UnsafeError: The root may be half-changed, or it is unknown whether the changes are durable.
        FailedError: The root is as before.
    """
    with Root(root) as opened:
        if after.is_half_done(opened):
            raise UnsafeError(f"{exc}, twice", hint=RECOVER) from exc
        after.ensure_durable(opened)  # a journal just done or discarded must not come back
        found = after.installed_by(trusted, opened, request)
    if found is None:
        raise FailedError(f"{exc}, twice", hint=RECOVER) from exc
    return found


def _reporting(
    payload: Payload, told: Tell, clock: Callable[[], float]
) -> tuple[Progress, Callable[[], None]]:
    """Return a function that counts bytes and reports them a few times a second, and one for the rest."""
    waiting, last = 0, clock()

    def report() -> None:
        nonlocal waiting, last
        now = clock()
        standing = asdict(payload.standing(now)) if isinstance(payload, ArrivingPayload) else None
        if standing is not None:
            standing["state"] = standing["state"].value
        told({"octets": waiting, "standing": standing})
        waiting, last = 0, now

    def progress(octets: int) -> None:
        nonlocal waiting
        waiting += octets
        if clock() - last >= REPORT_EVERY:
            report()

    return progress, report


def _event(document: Document) -> Advance | Note:
    """Return the event that a child reported."""
    if "note" in document:
        return Note(text=document["note"])
    standing, known = document["standing"], None
    if standing is not None:
        deadline = None if standing["deadline"] is None else TimeLeft(**standing["deadline"])
        known = Standing(
            state=InstallationState(standing["state"]), command=standing["command"], deadline=deadline
        )
    return Advance(octets=document["octets"], standing=known)
