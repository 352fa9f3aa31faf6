"""What is requested besides a package, and what was done, or would be done, for the result and the record."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from typing import Self

from spkg.common.boots import Boot
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.device import VENDOR_ROLE, Device
from spkg.format.commands import ROLES, Description, Reboot, Role, Version
from spkg.install.effects import DeleteEntry, Effect, HandleFile, MakeDirectory, MoveEntry, PutFile
from spkg.install.plan import Plan
from spkg.install.root import Root
from spkg.install.root_tree import EntryKind
from spkg.install.transaction import RecoveryOutcome, Settled
from spkg.install.tree_path import shown
from spkg.install.trial import BackUp, Trial, load_trial
from spkg.verify.signatures import TrustedPackage

__all__ = ["Applied", "ApplyRequest", "already_applied", "applied_by", "digest_of", "entry_of", "trial_of"]


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


def applied_by(planned: Plan, request: ApplyRequest, settled: Settled, left: tuple[Finding, ...]) -> Applied:
    """Return what a plan does.

    Args:
        planned: The plan.
        request: How it is installed.
        settled: What became of an earlier installation.
        left: What it has left over.
    """
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


def already_applied(
    trusted: TrustedPackage, root: Root, settled: Settled, left: tuple[Finding, ...]
) -> Applied:
    """Return what is told of a package that is installed already."""
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


def entry_of(planned: Plan, request: ApplyRequest) -> Document:
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


def trial_of(entry: Document, request: ApplyRequest) -> Trial | None:
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


def _lasting(planned: Plan, request: ApplyRequest) -> Iterator[Finding]:
    """Give a warning for each file of a package on trial that going back does not undo."""
    if request.back_up is not None:
        message = "a roll-back does not undo what its handler writes"
        for one in planned.handled:
            yield Finding(code="handler-not-undone", message=message, path=shown(one.path))


def _changes_of(effects: Iterable[Effect | HandleFile]) -> tuple[Document, ...]:
    """Return the changes in the form of the JSON documents."""
    return tuple(map(_change, effects))


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
