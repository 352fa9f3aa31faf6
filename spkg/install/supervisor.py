"""Supervised installation: a confined child process changes the root, and this process outlives it.

If the child is killed, a second one recovers the root.  If the root is unsafe afterwards, the device's
recovery command runs.  The command line and every other program get the same.
"""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from spkg.common.child_process import ChildKilledError, Tell, run_child
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.stop_signals import STOP_SIGNALS, hold_stop_signals
from spkg.errors import FailedError, UnsafeError, os_problem
from spkg.format.states import InstallationState
from spkg.install import apply as applying
from spkg.install.apply import Applied, ApplyRequest
from spkg.install.checkpoint import checkpoint_warnings
from spkg.install.confined import confined_root
from spkg.install.own_directory import working_in
from spkg.install.rollback import RolledBack, boot_in
from spkg.install.root import Root
from spkg.install.status import RootState, root_state
from spkg.install.transaction import RECOVER, RecoveryOutcome
from spkg.install.trial import Boot
from spkg.install.unreported import note_unreported
from spkg.verify.payload import ArrivingPayload, Payload, Standing, TimeLeft
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Progress

__all__ = [
    "Advance",
    "Note",
    "Recovered",
    "apply_package",
    "mark_unreported",
    "preview_package",
    "recover_root",
    "run_recovery_command",
]

REPORT_EVERY: Final = 0.1
"""The time between two progress reports of a child, in seconds."""


BARE_ENVIRONMENT: Final = MappingProxyType({"PATH": os.defpath})
"""What a recovery command finds if its caller says nothing else."""


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
    boots_left: int | None = None
    """How many more boots a package on trial may see unconfirmed; None for any number."""
    rolled_back: RolledBack | None = None
    """What was rolled back because all boots of a trial have passed."""


def apply_package(
    trusted: TrustedPackage,
    payload: Payload,
    root: Path,
    request: ApplyRequest,
    *,
    clock: Callable[[], float],
    hear: Callable[[Advance | Note], object] = lambda _event: None,
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
        hear: Called in this process with progress and notes.
        settled: Called when nothing is left to be stopped, before a recovery command runs: from then on,
            signals should not raise. It can close what the payload was read from.
        environment: The environment variables of the recovery command; a path for programs by default.

    Raises:
        RefusedError: The package is not for this device or root, or can't be installed now.
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload is shorter or longer than the header states.
        TransferError: The transfer failed or took too long; the root is as with FailedError.
        FailedError: It failed; the root is as before or, in place, usable and partly changed.
        UnsafeError: It failed, and the root needs recovery; the device's recovery command has run.
        OSError: The root can't be read, or no process can be started.
    """
    command = () if request.device is None else request.device.recovery_command

    def heard(document: Document) -> None:
        hear(_event(document))

    def attempt(work: Callable[[], Applied]) -> Applied:
        try:
            done = work()
        except UnsafeError as exc:
            later = _Later()
            later.call(settled)
            run_recovery_command(command, environment, lambda text: later.call(hear, Note(text=text)))
            for problem in later.problems:
                exc.add_note(f"meanwhile: {problem!r}")
            raise
        settled()
        return done

    def in_child(work: Callable[[Tell], Document]) -> Applied:
        return Applied.from_document(run_child(work, heard))

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
        return attempt(lambda: in_child(_installing(trusted, payload, root, request, clock)))
    except ChildKilledError as exc:
        killed = exc
    later = _Later()
    later.call(hear, Note(text=f"{killed}: recovering"))
    done = attempt(lambda: recover(killed))
    for problem in later.problems:
        raise problem
    return done


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
        return applying.preview(trusted, payload, opened, request)


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
            settled = applying.recover_in(opened, discard=discard, discard_aside=discard_aside)
            trial, gone = (None, None) if boot is None else boot_in(opened, boot, when=when)
            state, stopped = root_state(opened)
            warnings = (*settled.warnings, *checkpoint_warnings(opened))
        return {
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
        boots_left=done["boots_left"],
        rolled_back=None if gone is None else RolledBack.from_document(gone),
    )


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


def run_recovery_command(
    command: tuple[str, ...], environment: Mapping[str, str], note: Callable[[str], object]
) -> None:
    """Run the device's recovery command for an unsafe root; its output goes to standard error.

    Args:
        command: The program and its arguments; if empty, nothing is run.
        environment: Its environment variables.
        note: Called with notes on its start and end.
    """
    if not command:
        return
    note(f"running {command[0]}")
    try:
        os.fstat(2)
        outputs: list[Any] = [(os.POSIX_SPAWN_DUP2, 2, 1)]
    except OSError:  # standard error is closed
        outputs = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)]
    meanings = [signal.SIGPIPE, signal.SIGXFSZ, *STOP_SIGNALS]  # this program handles them differently
    try:
        child = os.posix_spawnp(command[0], command, environment, file_actions=outputs, setsigdef=meanings)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except (OSError, ValueError) as exc:
        problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
        note(f"the recovery command can't be run: {problem}")
        return
    note(f"{command[0]} ended with status {status}")


def _installing(
    trusted: TrustedPackage, payload: Payload, root: Path, request: ApplyRequest, clock: Callable[[], float]
) -> Callable[[Tell], Document]:
    """Return the function that installs in a child process."""
    parent, committed = os.getpid(), False

    def committing() -> None:
        nonlocal committed
        committed = True
        hold_stop_signals()

    def work(told: Tell) -> Document:
        progress, finish = _reporting(payload, told, clock)
        if isinstance(payload, ArrivingPayload):
            # Without its parent, it continues only after the point of no return.
            payload.supervise(
                note=lambda text: told({"note": text}),
                wanted=lambda: committed or os.getppid() == parent,
            )
        with confined_root(root) as (opened, confined):
            applied = applying.apply(
                trusted, payload, opened, request, committing=committing, progress=progress
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
            applied = applying.aftermath(trusted, opened, request, arriving=arriving, killed=killed)
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
        if applying.is_half_done(opened):
            raise UnsafeError(f"{exc}, twice", hint=RECOVER) from exc
        applying.ensure_durable(opened)  # a journal just done or discarded must not come back
        found = applying.installed_by(trusted, opened, request)
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
