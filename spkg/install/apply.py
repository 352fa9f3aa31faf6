"""Applying a package to a root: recover, plan, install, record; everything that does not concern processes.

This module decides how: all or nothing or in place; from the beginning, resumed, or not at all if the package
is already installed.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Self

from spkg.common.boots import Boot
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.device import VENDOR_ROLE, Device
from spkg.errors import (
    ON_TRIAL,
    ROLLED_BACK,
    FailedError,
    RefusedError,
    UnsafeError,
    UsageError,
    os_problem,
)
from spkg.format.commands import ROLES, Description, Reboot, Role, Version
from spkg.format.installation_state import InstallationState
from spkg.install.all_or_nothing import StagedImage, install
from spkg.install.checkpoint import CHECKPOINT, WORST, Checkpoint, checkpoint_warnings, load_checkpoint
from spkg.install.effects import DeleteEntry, Effect, HandleFile, MakeDirectory, MoveEntry, PutFile
from spkg.install.history import installed, is_last, record_warnings, rolled_back_packages
from spkg.install.leftovers import leftover_warnings, stuck_warnings
from spkg.install.own_directory import check_mounted_for_writing, check_own, failing, working_in
from spkg.install.plan import Plan, plan_installation
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.root_tree import OWN, EntryKind, RootTree
from spkg.install.status import RootState, root_state
from spkg.install.transaction import (
    JOURNAL,
    RECOVER,
    RecoveryOutcome,
    Settled,
    is_pending,
    is_staging,
    journal_warnings,
    staged,
)
from spkg.install.tree_path import shown
from spkg.install.trial import BackUp, Trial, end_hook_trial, end_trial, load_trial
from spkg.install.unreported import forget_unreported
from spkg.verify.contents import check_payload
from spkg.verify.payload import ArrivingPayload, Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Progress

__all__ = [
    "Applied",
    "ApplyRequest",
    "aftermath",
    "apply",
    "ensure_durable",
    "installed_by",
    "is_half_done",
    "preview",
]


@dataclass(frozen=True, kw_only=True)
class ApplyRequest:
    """What is requested, in addition to the package."""

    device: Device | None
    """The device that the root belongs to; None if it is unknown."""
    when: str = ""
    """The time for the record."""
    boot: Boot | None = None
    """The boot in which it is installed, for the record and for a trial."""
    command_key: str | None = None
    """The CommandKey of the Download, for the record."""
    back_up: BackUp | None = None
    """The trial on which it is installed; None if it stays at once.  It needs the boot."""
    until_hook: bool = False
    """Whether it can be rolled back until the hooks that run afterwards have ended, also without a trial."""
    in_place: bool = False
    unsafe_streaming: bool = False
    """Also install in place from a stream: commands take effect before the whole package has arrived."""
    refuse_unknown: bool = False
    again: bool = False
    """Also install a package that is already the last one installed."""
    unsafe_force: bool = False
    """Also if the root is unsafe or another package was started, and this one is not a recovery package."""
    jobs: int = 1
    """How many threads hash and write files; a package that is still arriving needs but one."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What was done, or would be done."""

    changes: tuple[Document, ...]
    """The changes: an action and a path each."""
    warnings: tuple[Finding, ...]
    skipped_unknown: tuple[Document, ...]
    reboot_required: bool
    recovered: RecoveryOutcome
    """What happened to an earlier installation that was interrupted."""
    cause: str = ""
    """If that was undone: what prevented it from being finished."""
    already: bool = False
    """Whether the package was already installed, so that nothing had to be done."""
    on_trial: bool = False
    """Whether it is on trial."""
    roles: tuple[str, ...] = ()
    """The roles of the package; that of any vendor is ``vendor``."""
    confined: bool | None = None
    """Whether the process that did it could change nothing else; None if nothing had to be changed."""

    def to_document(self) -> Document:
        """Return it in the form that is sent between processes."""
        warnings = [asdict(one) for one in self.warnings]
        return {**vars(self), "warnings": warnings, "recovered": self.recovered.value}

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Return the value that :meth:`to_document` was called on."""
        lists = {name: tuple(document[name]) for name in ("changes", "skipped_unknown", "roles")}
        warnings = tuple(Finding(**one) for one in document["warnings"])
        recovered = RecoveryOutcome(document["recovered"])
        return cls(**{**document, **lists, "warnings": warnings, "recovered": recovered})


def digest_of(trusted: TrustedPackage) -> str:
    """Return the digest that identifies a package: the SHA-256 of its signed bytes, in hex."""
    return sha256(trusted.package.signed).hexdigest()


def apply(
    trusted: TrustedPackage,
    payload: Payload,
    root: Root,
    request: ApplyRequest,
    *,
    permit: Callable[[Applied], object] | None = None,
    handle: Callable[[StagedImage], object] = lambda _: None,
    committing: Callable[[], object] = lambda: None,
    progress: Progress | None = None,
) -> Applied:
    """Install a package in a root.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        root: The root.
        request: How to install it.
        permit: Called with what would be done, before anything changes; it raises what prevents it.  If the
            device has a hook for that, the contents of a package in a file are checked before; the deadlines
            of one that is still arriving stand still.
        handle: Called with each file for a handler, right before the point of no return.
        committing: Called at the point of no return.
        progress: Called with the number of bytes done.

    Raises:
        RefusedError: The package is not for this device or root, or can't be installed now.
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: It failed; the root is as before or, in place, usable and partly changed.
        UnsafeError: It failed, and the root needs recovery.
        OSError: The root can't be read.
    """
    _check_source(payload, request)
    _check_boot(request)
    _check_writable(trusted, root, request)
    arriving = isinstance(payload, ArrivingPayload)
    # A dry run does not make the installer's own directory, and has to see the same room.
    space = root.space() if root.status(OWN) is None else None
    with working_in(root):
        digest = digest_of(trusted)
        rescuing = request.unsafe_force and _is_recovery(trusted)
        if rescuing and journal_warnings(root):
            # What refuses the package does so before the damaged journal is set aside.
            _plan(trusted, root, request, replace(WORST, package=digest))
        keep = digest if arriving and not request.in_place else None
        settled = settle_root(root, keep=keep, rescuing=rescuing)
        end_hook_trial(root)
        if is_installed(trusted, root) and not request.again:
            if not arriving:
                # The signed bytes are the same, but the files may differ.
                check_payload(trusted, payload, jobs=request.jobs)
            forget_unreported(root)
            return _already(trusted, root, settled, stuck_warnings(root))
        start = _start(trusted, root, request)
        planned = _plan(trusted, root, request, start, space)
        entry = _entry(planned, request)
        prepares = request.device is not None and request.device.before
        if payload.descriptor is not None and (request.in_place or prepares):
            # Damage must be found before commands take effect, or a hook prepares for them.
            check_payload(trusted, payload, jobs=request.jobs)
            payload.skip_to(0)
        if permit is not None:
            with payload.waiting() if isinstance(payload, ArrivingPayload) else nullcontext():
                permit(_applied(planned, request, settled, stuck_warnings(root)))
        if request.in_place:
            from spkg.install.in_place import install_in_place  # noqa: PLC0415 - start-up: it is the exception

            with failing():
                end_trial(root)  # each command makes what is kept less of the tree as before
            install_in_place(
                planned, request.device, payload, root, entry, start, committing=committing, progress=progress
            )
        else:
            install(
                planned,
                payload,
                root,
                entry,
                trial=_trial(entry, request),
                committing=committing,
                handle=handle,
                progress=progress,
                jobs=request.jobs,
            )
        forget_unreported(root)
        done = _applied(planned, request, settled, stuck_warnings(root))
        return replace(done, on_trial=request.back_up is not None)


def aftermath(
    trusted: TrustedPackage,
    root: Root,
    request: ApplyRequest,
    *,
    arriving: bool = False,
    killed: str = "the process that changes the root was killed",
) -> Applied:
    """Recover after the process that installed a package was killed, and return what it had done.

    Args:
        trusted: The package.
        root: The root.
        request: How it was installed.
        arriving: Whether it was still being received, so that it can be resumed with the staged files.
        killed: How that process ended, for the error.

    Raises:
        FailedError: The package is not installed; the root is as before or, in place, usable.
        UnsafeError: The package is not installed, and the root needs recovery; or it is unknown whether it
            will still be installed after a power cut.
        OSError: The root can't be read.
    """
    with working_in(root):
        try:
            settled = settle_root(root, keep=digest_of(trusted) if arriving else None)
        except FailedError as exc:
            if is_half_done(root) or installed_by(trusted, root, request) is not None:
                raise UnsafeError(f"the recovery stopped: {exc.problem}", hint=RECOVER) from exc
            raise
        done = installed_by(trusted, root, request, settled)
        if done is not None:
            return done
        state, stopped = root_state(root)
    if settled.cause:
        killed = f"{killed}, and its changes could not be completed and were undone: {settled.cause}"
    field = None if stopped is None else f"command[{stopped.command}]"
    if state is RootState.UNSAFE:
        raise UnsafeError(f"{killed} in the unrecoverable state", field=field)
    raise FailedError(killed, field=field)


def installed_by(
    trusted: TrustedPackage,
    root: Root,
    request: ApplyRequest,
    settled: Settled | None = None,
) -> Applied | None:
    """Return what a request has changed, if the record says that it was completed.

    Raises:
        UnsafeError: The record can't be read, so that it is unknown.
    """
    try:
        if not is_installed(trusted, root) or (last := installed(root)[0])["time"] != request.when:
            return None
    except (FailedError, OSError) as exc:
        problem = exc.problem if isinstance(exc, FailedError) else os_problem(exc)
        raise UnsafeError(f"it is unknown what was done: {problem}", hint=RECOVER) from exc
    # Only after a recovery is the root locked by this process, and has it tried to remove what is left over.
    left = leftover_warnings(root) if settled is None else stuck_warnings(root)
    done = _already(trusted, root, settled or Settled(RecoveryOutcome.NOTHING), left)
    return replace(done, already=False, changes=tuple(last["changes"] or ()))


def ensure_durable(root: Root) -> None:
    """Make durable what was written to a root before the process that did it was killed.

    Raises:
        UnsafeError: A power cut may still undo it.
    """
    try:
        root.sync_all()
    except OSError as exc:
        raise UnsafeError(f"a power cut may undo what was done: {os_problem(exc)}", hint=RECOVER) from exc


def preview(trusted: TrustedPackage, payload: Payload, root: Root, request: ApplyRequest) -> Applied:
    """Return what :func:`apply` would do, after checking the payload; nothing is changed.

    Raises:
        RefusedError: It would be refused, or an interrupted installation has to be recovered first.
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: The record of installed packages can't be read.
        OSError: The root can't be read.
    """
    _check_source(payload, request)
    _check_boot(request)
    check_own(root)
    _check_writable(trusted, root, request)
    damaged = journal_warnings(root)
    if is_pending(root) and not (request.unsafe_force and _is_recovery(trusted) and damaged):
        hint = "run 'spkg recover' to finish or undo it"
        raise RefusedError("an installation in this root was interrupted", hint=hint)
    settled = Settled(RecoveryOutcome.NOTHING, warnings=(*damaged, *record_warnings(root)))
    if is_installed(trusted, root) and not request.again:
        done = _already(trusted, root, settled, leftover_warnings(root))
    else:
        planned = _plan(trusted, root, request, _start(trusted, root, request))
        done = _applied(planned, request, settled, leftover_warnings(root))
    check_payload(trusted, payload, jobs=request.jobs)
    return done


def is_half_done(root: Root) -> bool:
    """Whether the tree may be half-changed: an installation has begun to change it and is not finished.

    Raises:
        OSError: The root can't be read.
    """
    return root.status(JOURNAL) is not None or root_state(root)[0] is RootState.UNSAFE


def is_installed(trusted: TrustedPackage, root: Root) -> bool:
    """Whether a package is the last one installed, and no installation has begun since."""
    return is_last({"package": digest_of(trusted)}, root) and load_checkpoint(root) is None


def _changes_of(effects: Iterable[Effect | HandleFile]) -> tuple[Document, ...]:
    """Return the changes in the form of the JSON documents."""
    return tuple(map(_change, effects))


def _check_source(payload: Payload, request: ApplyRequest) -> None:
    if (
        request.in_place
        and payload.descriptor is None
        and not (isinstance(payload, ArrivingPayload) and request.unsafe_streaming)
    ):
        hint = "save it to a file, or add --unsafe-streaming: a broken stream may leave the root half-changed"
        raise UsageError("--in-place needs the package in a file", hint=hint)


def _check_boot(request: ApplyRequest) -> None:
    if request.back_up is not None and request.boot is None:
        raise UsageError("a trial needs the boot in which it begins")


def _check_writable(trusted: TrustedPackage, root: Root, request: ApplyRequest) -> None:
    """Refuse a root in which nothing can be written, if something has to be."""
    try:
        check_mounted_for_writing(root)
    except RefusedError:
        # Only then: a record that can't be read says more once the directory around it has been checked.
        if request.again or not is_installed(trusted, root):
            raise


def _start(trusted: TrustedPackage, root: Root, request: ApplyRequest) -> Checkpoint:
    """Return where to begin, possibly after an installation in place that was not finished.

    Raises:
        RefusedError: This package can't be installed now, or not in this way.
    """
    digest = digest_of(trusted)
    _check_trial(trusted, root, request)
    found = load_checkpoint(root)
    fresh = Checkpoint(package=digest, command=0, state=InstallationState.INITIAL)
    if found is None:
        return fresh
    recovery = _is_recovery(trusted)
    # In an unsafe root, each command is assumed to leave it unsafe, until the last one is done.
    anew = Checkpoint(package=digest, command=0, state=found.state)
    if found.package == digest and (recovery or request.unsafe_force or not (found.unsafe and found.failed)):
        if not request.in_place and not recovery and not request.unsafe_force:
            raise RefusedError(
                f"this package was started in place and stopped at command[{found.command}]",
                hint="use --in-place to resume it there",
            )
        return found if request.in_place else anew
    if recovery or request.unsafe_force or (found.failed and not found.unsafe):
        return anew
    if found.unsafe:
        damaged = f" ({shown(CHECKPOINT)} is damaged)" if checkpoint_warnings(root) else ""
        raise RefusedError(
            f"the root is unsafe{damaged} and accepts only a package with the role software-recovery",
            section="E.4.11",
            hint="apply a recovery package, or use --unsafe-force to apply any package",
        )
    raise RefusedError(
        "another package was started in place and is not finished",
        hint="apply that package with --in-place, or one with the role software-recovery",
    )


def _check_trial(trusted: TrustedPackage, root: Root, request: ApplyRequest) -> None:
    """Refuse what a trial under way, or one that has failed, forbids.

    Raises:
        RefusedError: This package can't be installed now, or not in this way.
    """
    if request.back_up is not None and request.in_place:
        raise RefusedError(
            "an installation in place keeps nothing to go back to",
            hint="leave out --in-place or --back-up",
        )
    trial = load_trial(root)
    if trial is not None and not trial.until_hook and not _is_recovery(trusted):
        raise RefusedError(
            f"package {trial.package[:16]} is on trial",
            hint="end the trial first: 'spkg confirm' keeps that package, 'spkg rollback' goes back",
            reason=ON_TRIAL,
        )
    gone = next((one for one in rolled_back_packages(root) if one.package == digest_of(trusted)), None)
    if gone is not None and not request.again:
        why = "" if gone.reason is None else f" ({gone.reason})"
        raise RefusedError(
            f"this package was rolled back at {gone.when}{why}",
            hint="to apply it all the same, use --again or 'spkg confirm --forgive'",
            reason=ROLLED_BACK,
        )


def _trial(entry: Document, request: ApplyRequest) -> Trial | None:
    """Return the trial that begins with an installation."""
    if request.back_up is None and not request.until_hook:
        return None
    back_up, boot = request.back_up, request.boot
    return Trial(
        package=entry["package"],
        version=entry["version"],
        command_key=request.command_key,
        delay=None if back_up is None else back_up.delay,
        boots=None if back_up is None else back_up.boots,
        boot=None if boot is None else boot.identity,
        since=0 if boot is None else boot.seconds,
        until_hook=back_up is None,
    )


def _roles(trusted: TrustedPackage) -> tuple[str, ...]:
    known = {number: name for name, number in ROLES.items()}
    found = (record.role for record in trusted.package.records if isinstance(record, Role))
    return tuple(dict.fromkeys(known.get(role, VENDOR_ROLE) for role in found))


def _is_recovery(trusted: TrustedPackage) -> bool:
    """Whether a package has the role that repairs an unsafe root, and no other."""
    roles = {record.role for record in trusted.package.records if isinstance(record, Role)}
    return roles == {ROLES["software-recovery"]}


def _plan(
    trusted: TrustedPackage,
    root: Root,
    request: ApplyRequest,
    start: Checkpoint,
    space: os.statvfs_result | None = None,
) -> Plan:
    there = staged(root).values() if is_staging(root) else ()
    with root.staying():
        return plan_installation(
            trusted,
            request.device,
            RootTree(root, reusable=(sum(there), len(there)), space=space),
            refuse_unknown=request.refuse_unknown,
            in_place=request.in_place,
            keeping=request.back_up is not None or request.until_hook,
            start=start.command,
        )


def _entry(planned: Plan, request: ApplyRequest) -> Document:
    """Return the entry of a package for the record."""
    records = planned.trusted.package.records
    changes = _changes_of([*planned.effects, *planned.handled])
    return {
        "package": digest_of(planned.trusted),
        "version": next((record.text for record in records if isinstance(record, Version)), None),
        "description": next((record.text for record in records if isinstance(record, Description)), None),
        "signers": [signer.subject for signer in planned.trusted.signers],
        "time": request.when,
        "changed": len(changes),
        "changes": list(changes),
        "command_key": request.command_key,
        "boot_id": None if request.boot is None else request.boot.identity,
    }


def _already(trusted: TrustedPackage, root: Root, settled: Settled, left: tuple[Finding, ...]) -> Applied:
    trial = load_trial(root)
    return Applied(
        changes=(),
        warnings=(*settled.warnings, *left),
        skipped_unknown=(),
        # The answer to the first request may have been lost.
        reboot_required=any(isinstance(record, Reboot) for record in trusted.package.records),
        recovered=settled.outcome,
        cause=settled.cause,
        already=True,
        on_trial=trial is not None and not trial.until_hook,
        roles=_roles(trusted),
    )


def _applied(planned: Plan, request: ApplyRequest, settled: Settled, left: tuple[Finding, ...]) -> Applied:
    return Applied(
        changes=_changes_of([*planned.effects, *planned.handled]),
        warnings=(*settled.warnings, *planned.warnings, *_lasting(planned, request), *left),
        skipped_unknown=tuple(
            {"index": command.index, "type": command.code} for command in planned.skipped_unknown
        ),
        reboot_required=planned.reboot_required,
        recovered=settled.outcome,
        cause=settled.cause,
        roles=_roles(planned.trusted),
    )


def _lasting(planned: Plan, request: ApplyRequest) -> Iterator[Finding]:
    """Give a warning for each file of a package on trial that going back does not undo."""
    if request.back_up is not None:
        message = "a roll-back does not undo what its handler writes"
        for one in planned.handled:
            yield Finding(code="handler-not-undone", message=message, path=shown(one.path))


def _change(effect: Effect | HandleFile) -> Document:
    match effect:
        case PutFile(path=path, replaces=replaces, mode=mode):
            return {"action": "put", "path": shown(path), "replaces": _kind(replaces), "mode": f"{mode:04o}"}
        case DeleteEntry(path=path, kind=kind):
            return {"action": "delete", "path": shown(path), "kind": kind.value}
        case MoveEntry(path=path, source=source, replaces=replaces):
            return {
                "action": "move",
                "path": shown(path),
                "replaces": _kind(replaces),
                "source": shown(source),
            }
        case MakeDirectory(path=path, replaces=replaces):
            return {"action": "make-directory", "path": shown(path), "replaces": _kind(replaces)}
        case HandleFile(path=path):
            return {"action": "handle", "path": shown(path)}


def _kind(replaced: EntryKind | None) -> str | None:
    return None if replaced is None else replaced.value
