"""Applying a package to a root: recover, plan, install, remember; all of it that is no matter of processes.

Which way is taken is decided here: all or nothing or in place, anew, further on, or not at all since it is
done already.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Self

from spkg.common.documents import Document
from spkg.device import Device
from spkg.errors import FailedError, RefusedError, UnsafeError, UsageError
from spkg.format.commands import ROLES, Description, Reboot, Role, Version
from spkg.format.states import InstallationState
from spkg.install.all_or_nothing import install, settle_root
from spkg.install.checkpoint import Checkpoint, load_checkpoint
from spkg.install.effects import DeleteEntry, Effect, MakeDirectory, MoveEntry, PutFile
from spkg.install.history import installed, is_last
from spkg.install.in_place import install_in_place
from spkg.install.own_directory import check_own, working_in
from spkg.install.plan import Plan, plan_installation
from spkg.install.root import Root, shown
from spkg.install.root_tree import OWN, EntryKind, RootTree
from spkg.install.status import RootState, root_state
from spkg.install.transaction import JOURNAL, RecoveryOutcome, is_pending, is_staging, staged
from spkg.verify.contents import check_payload
from spkg.verify.payload import ArrivingPayload, Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Progress

__all__ = [
    "Applied",
    "ApplyRequest",
    "aftermath",
    "apply",
    "installed_by",
    "is_half_done",
    "preview",
    "recover_in",
]


@dataclass(frozen=True, kw_only=True)
class ApplyRequest:
    """What is asked for beside the package."""

    device: Device | None
    """Whose root it is; None where nothing is known of it."""
    when: str = ""
    """What the record says of the time."""
    in_place: bool = False
    unsafe_streaming: bool = False
    """Also in place from a stream: commands take effect before the rest of the package is here."""
    refuse_unknown: bool = False
    again: bool = False
    """Also where the package is the last one that was installed."""
    unsafe_force: bool = False
    """Also where the root is unsafe, or another package was begun, and this one is no recovery."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What was done, or would be."""

    changes: tuple[Document, ...]
    """What has changed: an action and a path each."""
    notes: tuple[str, ...]
    skipped_unknown: tuple[Document, ...]
    reboot_required: bool
    recovered: RecoveryOutcome
    """What was left from before, and became of it."""
    already: bool = False
    """Whether the package was installed before, so that nothing was to be done."""
    confined: bool | None = None
    """Whether the process that did it could change nothing else; None where nothing was to be changed."""

    def to_document(self) -> Document:
        """Return it as it goes from process to process."""
        return {**asdict(self), "recovered": self.recovered.value}

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Return what :meth:`to_document` was made of."""
        lists = {name: tuple(document[name]) for name in ("changes", "notes", "skipped_unknown")}
        return cls(**{**document, **lists, "recovered": RecoveryOutcome(document["recovered"])})


def digest_of(trusted: TrustedPackage) -> str:
    """Return what tells packages apart: SHA-256 of the octets that were signed, in hex."""
    return sha256(trusted.package.signed).hexdigest()


def apply(
    trusted: TrustedPackage,
    payload: Payload,
    root: Root,
    request: ApplyRequest,
    *,
    committing: Callable[[], object] = lambda: None,
    progress: Progress | None = None,
) -> Applied:
    """Install a package in a root.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        root: Where.
        request: How.
        committing: Is called when the point comes from which there is no way back.
        progress: Is told the octets done.

    Raises:
        RefusedError: It is not for this device or root, or not now.
        UntrustedError: The contents of a file are not the signed ones.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: It could not be done; the root is as before, or in place: usable, and partly changed.
        UnsafeError: It could not be done, and the root needs recovery.
        OSError: The root can't be looked at.
    """
    _check_source(payload, request)
    arriving = isinstance(payload, ArrivingPayload)
    with working_in(root):
        digest = digest_of(trusted)
        recovered = settle_root(root, keep=digest if arriving and not request.in_place else None)
        if is_installed(trusted, root) and not request.again:
            if not arriving:
                check_payload(trusted, payload)  # the same octets were signed, but these files?
            return _already(trusted, recovered)
        start = _start(trusted, root, request)
        planned = _plan(trusted, root, request, start)
        entry = _entry(planned, request.when)
        if request.in_place:
            if not arriving:
                check_payload(trusted, payload)  # once commands take effect nothing may be damaged
            install_in_place(
                planned, request.device, payload, root, entry, start, committing=committing, progress=progress
            )
        else:
            install(planned, payload, root, entry, committing=committing, progress=progress)
    return _applied(planned, recovered)


def aftermath(
    trusted: TrustedPackage, root: Root, request: ApplyRequest, *, arriving: bool = False
) -> Applied:
    """Recover after the process that installed a package was killed, and return what it had done.

    Args:
        trusted: The package.
        root: Where.
        request: How.
        arriving: Whether it was on its way, so that it can go on with what is staged.

    Raises:
        FailedError: The package is not installed; the root is as before, or in place: usable.
        UnsafeError: It is not, and the root needs recovery.
        OSError: The root can't be looked at.
    """
    with working_in(root):
        recovered = settle_root(root, keep=digest_of(trusted) if arriving else None)
        done = installed_by(trusted, root, request, recovered)
        if done is not None:
            return done
        state, _ = root_state(root)
    if state is RootState.UNSAFE:
        raise UnsafeError("the process that changed the root was killed where it could not be")
    raise FailedError("the process that changed the root was killed")


def installed_by(
    trusted: TrustedPackage,
    root: Root,
    request: ApplyRequest,
    recovered: RecoveryOutcome = RecoveryOutcome.NOTHING,
) -> Applied | None:
    """Return what a request has changed, where the record says that it came to its end.

    Raises:
        FailedError: The record can't be read.
        OSError: The root can't be looked at.
    """
    if not is_installed(trusted, root) or (last := installed(root)[0])["time"] != request.when:
        return None
    done = _already(trusted, recovered)
    return replace(done, already=False, changes=tuple(last["changes"] or ()))


def recover_in(root: Root, *, discard: bool = False) -> RecoveryOutcome:
    """Finish or undo what a crash left; a root that never had an installation is left alone.

    Args:
        root: Where.
        discard: Whether the files of a download that was cut off go, too, with which it could go on.

    Raises:
        RefusedError: An installation is under way.
        FailedError: What was staged can't be read or removed.
        UnsafeError: The changes can neither be made nor taken back.
        OSError: The root can't be looked at.
    """
    if root.status(OWN) is None:
        return RecoveryOutcome.NOTHING
    with working_in(root):
        return settle_root(root, keep=None if discard else is_staging(root))


def preview(trusted: TrustedPackage, payload: Payload, root: Root, request: ApplyRequest) -> Applied:
    """Return what :func:`apply` would do, the payload compared; nothing is changed.

    Raises:
        RefusedError: It would be refused, or something that was left has to be recovered first.
        UntrustedError: The contents of a file are not the signed ones.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: What was installed before can't be read.
        OSError: The root can't be looked at.
    """
    _check_source(payload, request)
    check_own(root)
    if is_pending(root):
        raise RefusedError("an installation was cut off here", hint="'spkg recover' finishes or undoes it")
    if is_installed(trusted, root) and not request.again:
        done = _already(trusted, RecoveryOutcome.NOTHING)
    else:
        done = _applied(
            _plan(trusted, root, request, _start(trusted, root, request)), RecoveryOutcome.NOTHING
        )
    check_payload(trusted, payload)
    return done


def is_half_done(root: Root) -> bool:
    """Whether a tree may be a mixture: something has begun to change it, and has not ended.

    Raises:
        OSError: The root can't be looked at.
    """
    return root.status(JOURNAL) is not None or root_state(root)[0] is RootState.UNSAFE


def is_installed(trusted: TrustedPackage, root: Root) -> bool:
    """Whether a package is the last one that was installed, and nothing has been begun since."""
    return is_last({"package": digest_of(trusted)}, root) and load_checkpoint(root) is None


def _changes_of(effects: tuple[Effect, ...]) -> tuple[Document, ...]:
    """Return changes as documents have them."""
    return tuple(map(_change, effects))


def _check_source(payload: Payload, request: ApplyRequest) -> None:
    if (
        request.in_place
        and payload.descriptor is None
        and not (isinstance(payload, ArrivingPayload) and request.unsafe_streaming)
    ):
        hint = "--unsafe-streaming takes a stream, too: what is done may be left half-done"
        raise UsageError("--in-place wants the package in a file", hint=hint)


def _start(trusted: TrustedPackage, root: Root, request: ApplyRequest) -> Checkpoint:
    """Return where to begin, after an installation in place that did not come to its end.

    Raises:
        RefusedError: Not with this package, or not in this way.
    """
    digest = digest_of(trusted)
    found = load_checkpoint(root)
    fresh = Checkpoint(package=digest, command=0, state=InstallationState.INITIAL)
    if found is None:
        return fresh
    roles = {record.role for record in trusted.package.records if isinstance(record, Role)}
    recovery = roles == {ROLES["software-recovery"]}
    # From an unsafe root each command has to be believed to leave an unsafe one, until the last.
    anew = Checkpoint(package=digest, command=0, state=found.state)
    if found.package == digest and (recovery or request.unsafe_force or not (found.unsafe and found.failed)):
        if not request.in_place and not recovery and not request.unsafe_force:
            raise RefusedError(
                f"this package was begun in place, and stopped at command[{found.command}]",
                hint="--in-place continues there",
            )
        return found if request.in_place else anew
    if recovery or request.unsafe_force or (found.failed and not found.unsafe):
        return anew
    if found.unsafe:
        raise RefusedError(
            "the root is unsafe, and takes only a package whose role is software-recovery",
            section="E.4.11",
            hint="--unsafe-force takes any",
        )
    raise RefusedError(
        "another package was begun in place, and not ended",
        hint="apply that one with --in-place, or one whose role is software-recovery",
    )


def _plan(trusted: TrustedPackage, root: Root, request: ApplyRequest, start: Checkpoint) -> Plan:
    there = staged(root).values() if is_staging(root) else ()
    return plan_installation(
        trusted,
        request.device,
        RootTree(root, reusable=(sum(there), len(there))),
        refuse_unknown=request.refuse_unknown,
        in_place=request.in_place,
        start=start.command,
    )


def _entry(planned: Plan, when: str) -> Document:
    """Return what the record says of a package."""
    records = planned.trusted.package.records
    changes = _changes_of(planned.effects)
    return {
        "package": digest_of(planned.trusted),
        "version": next((record.text for record in records if isinstance(record, Version)), None),
        "description": next((record.text for record in records if isinstance(record, Description)), None),
        "signers": [signer.subject for signer in planned.trusted.signers],
        "time": when,
        "changed": len(changes),
        "changes": list(changes),
    }


def _already(trusted: TrustedPackage, recovered: RecoveryOutcome) -> Applied:
    return Applied(
        changes=(),
        notes=(),
        skipped_unknown=(),
        # Whoever asks again may not have heard the answer.
        reboot_required=any(isinstance(record, Reboot) for record in trusted.package.records),
        recovered=recovered,
        already=True,
    )


def _applied(planned: Plan, recovered: RecoveryOutcome) -> Applied:
    return Applied(
        changes=_changes_of(planned.effects),
        notes=planned.notes,
        skipped_unknown=tuple(
            {"index": command.index, "type": command.code} for command in planned.skipped_unknown
        ),
        reboot_required=planned.reboot_required,
        recovered=recovered,
    )


def _change(effect: Effect) -> Document:
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


def _kind(replaced: EntryKind | None) -> str | None:
    return None if replaced is None else replaced.value
