"""All-or-nothing installation: carry out a plan in a root, and record what was done.

The payload is read once and each file is hashed as it is staged.  Nothing in the tree changes until every
file matches its signed digest.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from spkg.common.digests import Digest
from spkg.common.frozen import dataclass
from spkg.errors import (
    SIZE,
    TIMEOUT,
    TransferError,
)
from spkg.format.ranges import Range
from spkg.install import transaction
from spkg.install.checkpoint import CHECKPOINT
from spkg.install.effects import HandleFile, MakeDirectory, PutFile
from spkg.install.history import RECORD, record_with
from spkg.install.journal import JournalStep, Verb, steps_of
from spkg.install.kept import prepare_kept
from spkg.install.new_file import NewFile
from spkg.install.own_changes import complete, own_step
from spkg.install.own_directory import failing
from spkg.install.own_files import write_whole
from spkg.install.plan import Plan
from spkg.install.root import Root
from spkg.install.staged_file import Landing
from spkg.install.staging import begin, is_staging, keep_staged, staged
from spkg.install.transaction_places import NEW, TRIAL, slot
from spkg.install.tree_path import Parts
from spkg.install.trial import Trial
from spkg.install.two_ways import SYNCED_ONE_BY_ONE
from spkg.verify.contents import PayloadReport, compare_payload
from spkg.verify.hasher import Hasher
from spkg.verify.payload import ArrivingPayload, Payload
from spkg.verify.single_pass import Progress

__all__ = [
    "StagedImage",
    "install",
]


@dataclass(frozen=True, kw_only=True)
class StagedImage:
    """A file for a handler: staged, and what was signed."""

    path: Parts
    """Its path in the package."""
    place: Parts
    """Where it is staged."""
    size: int
    sha1: bytes
    sha256: bytes


def install(
    plan: Plan,
    payload: Payload,
    root: Root,
    entry: Mapping[str, Any],
    *,
    trial: Trial | None = None,
    committing: Callable[[], object] = lambda: None,
    handle: Callable[[StagedImage], object] = lambda _: None,
    progress: Progress | None = None,
    jobs: int = 1,
) -> PayloadReport:
    """Carry out a plan, inside :func:`working_in` and after ``settle_root``.

    Args:
        plan: What to change.
        payload: The payload of the package, from the beginning.
        root: The root.
        entry: The entry of this package in the record.
        trial: The trial that begins with this installation; without one, a trial under way ends.
        committing: Called at the point of no return; after that, nothing may be raised from outside, for
            example by a signal.
        handle: Called with each file for a handler, once everything is verified and staged, and all that
            is left is to rename the journal.  If it raises, nothing has changed in the tree.
        progress: Called with the number of bytes done.
        jobs: How many threads hash and write the files of a package in a regular file.

    Raises:
        DamagedPayloadError: The contents of a file do not match the signed digest; nothing has changed.
        FormatError: The payload is shorter or longer than the header states; nothing has changed.
        FailedError: An operation failed; nothing has changed.
        UnsafeError: The changes can be neither completed nor undone.
    """
    steps = steps_of(plan.effects)
    octets = record_with(entry, root)
    arriving = isinstance(payload, ArrivingPayload)
    with failing():
        texts = {RECORD: octets}
        if trial is not None:
            texts[TRIAL] = trial.encode()
        gone = [] if trial is not None or root.status(TRIAL) is None else [TRIAL]
        # This installation ends one in place that was not finished.
        if root.status(CHECKPOINT) is not None:
            root.sync_all()  # the plan counts on what that one has done, and a crash may have left unsynced
            gone.append(CHECKPOINT)
        changed = [*((path, Verb.PUT) for path in texts), *((path, Verb.DELETE) for path in gone)]
        own = [own_step(root, *one, number) for number, one in enumerate(changed, start=len(plan.effects))]
        begin(root, package=entry["package"] if arriving else None)
        try:
            # What is not synced here is synced by the commit, with all else.
            few = trial is None and len(plan.puts) + len(texts) <= SYNCED_ONE_BY_ONE
            report = _stage(plan, payload, root, steps, progress, jobs, sync=few)
            for step in own[: len(texts)]:
                write_whole(root, slot(b"new", step), texts[step.path], sync=few)
            directories = [effect for effect in plan.effects if isinstance(effect, MakeDirectory)]
            committing()
            keeping = None if trial is None else prepare_kept
            staged = transaction.commit(
                root,
                [*steps, *own],
                directories,
                keeping=keeping,
                ready=lambda: _hand_over(plan, report, root, handle),
            )
        except BaseException as exc:
            committing()  # cleaning up can't be undone either
            if not (arriving and _may_go_on(exc) and _has_staged(root)):
                transaction.discard(root, exc)
            raise
    complete(root, staged)
    return report


def _has_staged(root: Root) -> bool:
    """Whether a download has staged files, and the changes have not begun."""
    return is_staging(root) is not None and any(staged(root).values())


def _may_go_on(reason: BaseException) -> bool:
    """Whether staged files are kept for the same package: not if a timeout or wrong contents ended it."""
    if isinstance(reason, TransferError):
        return reason.reason not in {SIZE, TIMEOUT}
    return not isinstance(reason, Exception)


def _stage(  # noqa: PLR0917 - what an installation needs
    plan: Plan,
    payload: Payload,
    root: Root,
    steps: Sequence[JournalStep],
    progress: Progress | None,
    jobs: int,
    *,
    sync: bool,
) -> PayloadReport:
    """Write the files of all puts, and check the whole payload against the signed digests."""
    puts: defaultdict[Range, list[tuple[Parts, PutFile | None]]] = defaultdict(list)
    package = plan.trusted.package
    for step in steps:
        effect = plan.effects[step.number]
        if isinstance(effect, PutFile):
            puts[package.files[effect.file].range].append((slot(b"new", step), effect))
    for one in plan.handled:
        puts[package.files[one.file].range].append((_place_of(one), None))
    there: Mapping[Parts, int] = {}
    if isinstance(payload, ArrivingPayload):
        firsts = {taking[0][0]: wanted.length for wanted, taking in puts.items()}
        there = keep_staged(root, firsts)
    stagers: list[_Stager] = []

    def make(wanted: Range, algorithms: Iterable[Digest]) -> Hasher:
        if wanted not in puts:
            return Hasher(wanted, algorithms)
        stagers.append(_Stager(root, wanted, algorithms, puts[wanted], there, sync=sync))
        return stagers[-1]

    try:
        return compare_payload(
            package,
            payload,
            make=make,
            installing=True,
            jobs=jobs,
            sha256=bool(plan.handled),
            progress=progress,
        )
    finally:
        for stager in stagers:
            stager.close()


def _hand_over(
    plan: Plan, report: PayloadReport, root: Root, handle: Callable[[StagedImage], object]
) -> None:
    """Give their files to the handlers; what they have taken is needed no more."""
    for one in plan.handled:
        found = report.files[one.file]
        assert found.sha256 is not None  # it was asked for
        place = _place_of(one)
        size = found.file.range.length
        handle(StagedImage(path=one.path, place=place, size=size, sha1=found.sha1, sha256=found.sha256))
    for one in plan.handled:
        root.unlink(_place_of(one))


def _place_of(handled: HandleFile) -> Parts:
    """Return where a file for a handler is staged."""
    return (*NEW, b"handled.%d" % handled.file)


class _Stager(Landing):
    """A landing for staged files, with a file for each put of the same range, and each for a handler.

    What an interrupted download left of the first file is assumed to be right until the whole is checked.
    """

    def __init__(
        self,
        root: Root,
        wanted: Range,
        algorithms: Iterable[Digest],
        puts: Sequence[tuple[Parts, PutFile | None]],
        there: Mapping[Parts, int],
        *,
        sync: bool,
    ) -> None:
        first = puts[0][0]
        super().__init__(root, first, wanted.behind(there.get(first, 0)), algorithms)
        self._whole = wanted
        self._puts = puts
        self._sync = sync
        self._kept = first in there

    def begin(self) -> None:
        """Make the first file, or resume the part of it that exists."""
        if not self._kept:
            super().begin()
            return
        Hasher.begin(self)
        self._file = self._root.reopen(self._path)
        for octets in self._file.read():
            self.hash(octets)

    def rewind(self) -> bool:
        """Also forget what an earlier download left."""
        super().rewind()
        kept, self._kept = self._kept, False
        self.range = self._whole
        return kept

    def finish(self) -> None:
        """Write the other files, and close them all."""
        first = self._file
        assert first is not None  # begin comes before
        for place, put in self._puts[1:]:
            other = self._root.create(place)
            try:
                for octets in first.read():
                    other.write(octets)
                self._end(other, put)
            finally:
                other.close()
        self._end(first, self._puts[0][1])
        super().finish()

    def _end(self, file: NewFile, put: PutFile | None) -> None:
        if put is None:  # no power cut leaves it to anybody
            return
        file.set_mode(put.mode, put.owner, put.heritage)
        if self._sync:
            file.sync()
