"""Installing from outside: a confined child changes the root, and this process outlives it.

Where the child is killed another one settles what it left; where the root is unsafe afterwards the device's
recovery command runs.  The command line and every other program get the same.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from spkg.common.child_process import ChildKilledError, Tell, run_child
from spkg.common.documents import Document
from spkg.common.landlock import confine
from spkg.common.stop_signals import STOP_SIGNALS, hold_stop_signals
from spkg.errors import FailedError, UnsafeError, os_problem
from spkg.format.states import InstallationState
from spkg.install import apply as applying
from spkg.install.apply import Applied, ApplyRequest
from spkg.install.root import Root
from spkg.install.status import RootState, root_state
from spkg.install.transaction import RecoveryOutcome
from spkg.verify.payload import ArrivingPayload, Payload, Standing, TimeLeft
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Progress

__all__ = [
    "Advance",
    "Note",
    "Recovered",
    "apply_package",
    "preview_package",
    "recover_root",
    "run_recovery_command",
]

REPORT_EVERY: Final = 0.1
"""How many seconds lie between two reports of a child about its progress."""


@dataclass(frozen=True, kw_only=True)
class Advance:
    """Octets are done; fewer than none where some have to be read again."""

    octets: int
    standing: Standing | None
    """How a package on its way stands."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something that people may want to know."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What became of what a crash had left, and how the root stands."""

    outcome: RecoveryOutcome
    state: RootState
    failed: bool
    """Whether an installation in place failed, other than by a crash."""


def apply_package(
    trusted: TrustedPackage,
    payload: Payload,
    root: Path,
    request: ApplyRequest,
    *,
    clock: Callable[[], float],
    hear: Callable[[Advance | Note], object] = lambda _event: None,
    settled: Callable[[], object] = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> Applied:
    """Install a package in a root: in a child process that can change nothing else.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        root: Where.
        request: How.
        clock: Gives the time in seconds; it never jumps.
        hear: Is told of progress, here.
        settled: Is called once nothing is left to be stopped: signals should no longer raise then.
        environment: The variables of the recovery command.

    Raises:
        RefusedError: It is not for this device or root, or not now.
        UntrustedError: The contents of a file are not the signed ones.
        FormatError: The payload is shorter or longer than the header states.
        TransferError: The transfer failed or took too long; the root is as with FailedError.
        FailedError: It could not be done; the root is as before, or in place: usable, and partly changed.
        UnsafeError: It could not be done, and the root needs recovery; the device's command has run.
        OSError: The root can't be looked at, or there can be no process.
    """
    command = () if request.device is None else request.device.recovery_command

    def heard(document: Document) -> None:
        hear(_event(document))

    def attempt(work: Callable[[Tell], Document]) -> Applied:
        try:
            done = run_child(work, heard)
        except UnsafeError:
            # Before anything is told: whoever listens may be gone, and take us along.
            settled()
            run_recovery_command(command, environment or {}, lambda text: hear(Note(text=text)))
            raise
        settled()
        return Applied.from_document(done)

    try:
        return attempt(_installing(trusted, payload, root, request, clock))
    except ChildKilledError as exc:
        hear(Note(text=f"{exc}: recovering"))
    try:
        return attempt(_settling(trusted, root, request, arriving=isinstance(payload, ArrivingPayload)))
    except ChildKilledError as exc:
        return _killed_twice(exc, trusted, root, request)


def preview_package(trusted: TrustedPackage, payload: Payload, root: Path, request: ApplyRequest) -> Applied:
    """Return what :func:`apply_package` would do, the payload compared; nothing is changed.

    Raises:
        RefusedError: It would be refused, or something that was left has to be recovered first.
        UntrustedError: The contents of a file are not the signed ones.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: What was installed before can't be read.
        OSError: The root can't be looked at.
    """
    with Root(root) as opened:
        return applying.preview(trusted, payload, opened, request)


def recover_root(root: Path, *, discard: bool = False) -> Recovered:
    """Finish or undo what a crash left of an installation, in a confined child.

    Args:
        root: Where.
        discard: Whether the files of a download that was cut off go, too, with which it could go on.

    Raises:
        RefusedError: An installation is under way.
        FailedError: What was staged can't be read or removed.
        UnsafeError: The changes can neither be made nor taken back.
        OSError: The root can't be looked at, or there can be no process.
    """

    def work(_tell: Tell) -> Document:
        with _confined(root) as (opened, _):
            outcome = applying.recover_in(opened, discard=discard)
            state, stopped = root_state(opened)
        failed = stopped is not None and stopped.failed
        return {"outcome": outcome.value, "state": state.value, "failed": failed}

    done = run_child(work, lambda _: None)
    return Recovered(
        outcome=RecoveryOutcome(done["outcome"]), state=RootState(done["state"]), failed=done["failed"]
    )


def run_recovery_command(
    command: tuple[str, ...], environment: Mapping[str, str], note: Callable[[str], object]
) -> None:
    """Run a device's procedure for a root that is not safe; its words go where ours go.

    Args:
        command: The program and its arguments; nothing is run where there is none.
        environment: Its variables.
        note: Is told what becomes of it.
    """
    if not command:
        return
    note(f"running {command[0]}")
    try:
        os.fstat(2)
        outputs: list[Any] = [(os.POSIX_SPAWN_DUP2, 2, 1)]
    except OSError:  # nobody listens
        outputs = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)]
    meanings = [signal.SIGPIPE, signal.SIGXFSZ, *STOP_SIGNALS]  # which are others for this program
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
    """Return what installs in a child process."""
    parent, committed = os.getpid(), False

    def committing() -> None:
        nonlocal committed
        committed = True
        hold_stop_signals()

    def work(told: Tell) -> Document:
        progress, finish = _reporting(payload, told, clock)
        if isinstance(payload, ArrivingPayload):
            # Without its parent it goes on only where there is no way back.
            payload.supervise(
                note=lambda text: told({"note": text}),
                wanted=lambda: committed or os.getppid() == parent,
            )
        with _confined(root) as (opened, confined):
            applied = applying.apply(
                trusted, payload, opened, request, committing=committing, progress=progress
            )
        finish()
        return replace(applied, confined=confined).to_document()

    return work


def _settling(
    trusted: TrustedPackage, root: Path, request: ApplyRequest, *, arriving: bool
) -> Callable[[Tell], Document]:
    """Return what recovers, in a child process, after the one that installed was killed."""

    def work(_told: Tell) -> Document:
        with _confined(root) as (opened, confined):
            applied = applying.aftermath(trusted, opened, request, arriving=arriving)
        return replace(applied, confined=confined).to_document()

    return work


def _killed_twice(
    exc: ChildKilledError, trusted: TrustedPackage, root: Path, request: ApplyRequest
) -> Applied:
    """Return what was done all the same; nobody could recover, which can be tried again.

    Raises:
        UnsafeError: The root may be a mixture.
        FailedError: It is as before.
    """
    hint = "'spkg recover' tries again"
    with Root(root) as opened:
        if applying.is_half_done(opened):
            raise UnsafeError(f"{exc}, twice", hint=hint) from exc
        found = applying.installed_by(trusted, opened, request)
    if found is None:
        raise FailedError(f"{exc}, twice", hint=hint) from exc
    return found


def _reporting(
    payload: Payload, told: Tell, clock: Callable[[], float]
) -> tuple[Progress, Callable[[], None]]:
    """Return what hears of octets and reports them a few times a second, and what reports the last ones."""
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
    """Return what a child told."""
    if "note" in document:
        return Note(text=document["note"])
    standing, known = document["standing"], None
    if standing is not None:
        deadline = None if standing["deadline"] is None else TimeLeft(**standing["deadline"])
        known = Standing(
            state=InstallationState(standing["state"]), command=standing["command"], deadline=deadline
        )
    return Advance(octets=document["octets"], standing=known)


@contextmanager
def _confined(root: Path) -> Iterator[tuple[Root, bool]]:
    """Open a root, and confine this process to it."""
    with Root(root) as opened:
        yield opened, confine(opened.fileno()) > 0
