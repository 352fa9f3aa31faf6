"""Installing: a plan carried out in a root, all or nothing, with a record of what was done.

The payload is read once; each file is hashed as it is staged, and nothing in the tree changes before all of
them are the signed ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from spkg.common.digests import Digest
from spkg.errors import (
    SIZE,
    TIMEOUT,
    FailedError,
    TransferError,
    UnsafeError,
)
from spkg.format.ranges import Range
from spkg.install import transaction
from spkg.install.checkpoint import CHECKPOINT, LEFTOVERS
from spkg.install.effects import MakeDirectory, PutFile
from spkg.install.history import RECORD, record_with
from spkg.install.journal import Before, JournalStep, Verb, steps_of
from spkg.install.own_directory import failing
from spkg.install.plan import Plan
from spkg.install.root import NewFile, Parts, Root
from spkg.install.staged_file import Landing
from spkg.install.transaction import OVER, SYNCED_ONE_BY_ONE, RecoveryOutcome, slot
from spkg.verify.contents import Hasher, PayloadReport, compare_payload
from spkg.verify.payload import ArrivingPayload, Payload
from spkg.verify.single_pass import Progress

__all__ = [
    "install",
    "settle_root",
]


def settle_root(root: Root, *, keep: str | None = None) -> RecoveryOutcome:
    """Finish or undo what a crash left.

    Args:
        root: Where.
        keep: The package whose staged files stay where its download was cut off, so that it can go on:
            SHA-256 of its signed octets, in hex.

    Raises:
        FailedError: What was staged can't be removed; nothing of the tree is changed by halves.
        UnsafeError: The changes can neither be made nor taken back, or nobody can tell what they are.
    """
    with failing():
        kept = keep is not None and transaction.is_staging(root) == keep
        outcome = RecoveryOutcome.NOTHING if kept else transaction.settle_transaction(root)
        for leftover in (*LEFTOVERS, OVER):
            if root.status(leftover) is not None:
                root.remove_tree(leftover)
    return outcome


def install(
    plan: Plan,
    payload: Payload,
    root: Root,
    entry: Mapping[str, Any],
    *,
    committing: Callable[[], object] = lambda: None,
    progress: Progress | None = None,
) -> PayloadReport:
    """Carry out a plan, inside :func:`working_in` and after :func:`settle_root`.

    Args:
        plan: What to change.
        payload: The package's, from the beginning.
        root: Where.
        entry: What the record says of this package.
        committing: Is called when the point comes from which there is no way back; nothing may be raised
            from outside afterwards, as by a signal.
        progress: Is told the octets done.

    Raises:
        DamagedPayloadError: The contents of a file are not the signed ones; nothing has changed.
        FormatError: The payload is shorter or longer than the header states; nothing has changed.
        FailedError: Something could not be done; nothing has changed.
        UnsafeError: The changes can neither be made nor taken back.
    """
    steps = steps_of(plan.effects)
    octets = record_with(entry, root)
    arriving = isinstance(payload, ArrivingPayload)
    with failing():
        record = _own_step(root, RECORD, Verb.PUT, len(plan.effects))
        # What an installation in place left behind is over with this one.
        own = [record]
        if root.status(CHECKPOINT) is not None:
            own.append(_own_step(root, CHECKPOINT, Verb.DELETE, len(plan.effects) + 1))
        transaction.begin(root, package=entry["package"] if arriving else None)
        try:
            report = _stage(plan, payload, root, steps, progress)
            transaction.write_whole(root, slot(b"new", record), octets)
            directories = [effect.path for effect in plan.effects if isinstance(effect, MakeDirectory)]
            committing()
            staged = transaction.commit(root, [*steps, *own], directories)
        except BaseException as exc:
            committing()  # nor is there a way back from cleaning up
            if not (arriving and _may_go_on(exc) and _has_staged(root)):
                transaction.discard(root)
            raise
    outcome = transaction.finish(root, staged)
    with suppress(OSError, UnsafeError):  # all is made or taken back; what is left is collected the next time
        transaction.settle_transaction(root)
    if outcome is RecoveryOutcome.UNDONE:
        raise FailedError("the changes could not be made, and were taken back")
    return report


def _has_staged(root: Root) -> bool:
    """Whether a download has staged something, and no more than that."""
    return transaction.is_staging(root) is not None and any(transaction.staged(root).values())


def _may_go_on(reason: BaseException) -> bool:
    """Whether what was staged is kept for the same package: not where a timeout or the contents ended it."""
    if isinstance(reason, TransferError):
        return reason.reason not in {SIZE, TIMEOUT}
    return not isinstance(reason, Exception)


def _own_step(root: Root, path: Parts, verb: Verb, number: int) -> JournalStep:
    """Return what happens to a file of our own in the same transaction."""
    before = Before.AWAY if verb is Verb.DELETE else Before.KEPT
    return JournalStep(
        number=number,
        verb=verb,
        path=path,
        before=Before.NOTHING if root.status(path) is None else before,
    )


def _stage(
    plan: Plan, payload: Payload, root: Root, steps: Sequence[JournalStep], progress: Progress | None
) -> PayloadReport:
    """Write the files of all puts, and compare all of the payload with what was signed."""
    puts: defaultdict[Range, list[tuple[JournalStep, PutFile]]] = defaultdict(list)
    package = plan.trusted.package
    for step in steps:
        effect = plan.effects[step.number]
        if isinstance(effect, PutFile):
            puts[package.files[effect.file].range].append((step, effect))
    there: Mapping[Parts, int] = {}
    if isinstance(payload, ArrivingPayload):
        firsts = {slot(b"new", taking[0][0]): wanted.length for wanted, taking in puts.items()}
        there = transaction.keep_staged(root, firsts)
    few = len(plan.puts) + 1 <= SYNCED_ONE_BY_ONE
    stagers: list[_Stager] = []

    def make(wanted: Range, algorithms: Iterable[Digest]) -> Hasher:
        if wanted not in puts:
            return Hasher(wanted, algorithms)
        stagers.append(_Stager(root, wanted, algorithms, puts[wanted], there, sync=few))
        return stagers[-1]

    try:
        return compare_payload(package, payload, make=make, installing=True, progress=progress)
    finally:
        for stager in stagers:
            stager.close()


class _Stager(Landing):
    """A landing of what is staged, with a file for each put of the same range.

    What a download that was cut off has left of the first file is taken for granted until all is compared.
    """

    def __init__(
        self,
        root: Root,
        wanted: Range,
        algorithms: Iterable[Digest],
        puts: Sequence[tuple[JournalStep, PutFile]],
        there: Mapping[Parts, int],
        *,
        sync: bool,
    ) -> None:
        first = slot(b"new", puts[0][0])
        super().__init__(root, first, wanted.behind(there.get(first, 0)), algorithms)
        self._whole = wanted
        self._puts = puts
        self._sync = sync
        self._kept = first in there

    def begin(self) -> None:
        """Make the first file, or go on with what there is of it."""
        if not self._kept:
            super().begin()
            return
        Hasher.begin(self)
        self._file = self._root.reopen(self._path)
        for octets in self._file.read():
            Hasher.feed(self, octets)

    def rewind(self) -> bool:
        """Forget what was there, too."""
        super().rewind()
        kept, self._kept = self._kept, False
        self.range = self._whole
        return kept

    def finish(self) -> None:
        """Write the other files, and let go of all."""
        first = self._file
        assert first is not None  # begin comes before
        for step, put in self._puts[1:]:
            other = self._root.create(slot(b"new", step))
            try:
                for octets in first.read():
                    other.write(octets)
                self._end(other, put)
            finally:
                other.close()
        self._end(first, self._puts[0][1])
        super().finish()

    def _end(self, file: NewFile, put: PutFile) -> None:
        file.set_mode(put.mode, put.owner)
        if self._sync:
            file.sync()
