"""The payload: the stream behind the front matter, read once, hashed as it goes by (TR-069 E.4.3).

A payload is never held in memory.  From a file with several ranges it is hashed in parallel; from a pipe in
one pass, where each octet feeds everything that wants it.
"""

import os
import stat
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from spkg.common.digests import Digest
from spkg.errors import CORRUPTED, FormatError, Reason, UntrustedError
from spkg.format.package import Command, Package, PayloadFile, Survey, survey
from spkg.format.ranges import Range, deepest_overlap, uncovered
from spkg.format.states import State
from spkg.verify.command_order import Sequencer
from spkg.verify.signatures import TrustedPackage

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = [
    "CHUNK",
    "ByteSource",
    "Consumer",
    "DamagedPayloadError",
    "FileReport",
    "Hasher",
    "Payload",
    "PayloadReport",
    "Progress",
    "StartedOverError",
    "check_file",
    "check_payload",
    "compare_payload",
    "distribute",
    "judges",
    "open_package",
    "survey_package",
]

CHUNK: Final = 1 << 18
"""How many octets are read at once: enough to be fast, few enough to stay in a core's cache."""

PARALLEL_FROM: Final = 1 << 22
"""The smallest payload, in octets, that is hashed in parallel: less is done before threads are worth it."""

Progress = Callable[[int], object]
"""Is told how many more octets are done; fewer than none where some have to be read again."""


class StartedOverError(Exception):
    """A stream may go on with octets of another version: what is not whole yet has to be read again."""


class ByteSource(Protocol):
    """What a payload is read from: any binary file of Python's."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* octets."""
        ...

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read octets into *buffer*, and return how many; none at the end."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to an octet."""
        ...


class Payload:
    """The octets behind the front matter, in order and once.

    Args:
        stream: Stands at the first octet of the payload.
        offset: Where that is, in octets from the beginning of the package.
        length: How many octets the header states.
        descriptor: Of a regular file that *stream* reads from the beginning of; None for any other stream.
    """

    arriving: ClassVar[bool] = False
    """Whether it is on its way here, while it is read."""

    def __init__(
        self, stream: ByteSource, *, offset: int, length: int, descriptor: int | None = None
    ) -> None:
        self._stream = stream
        self._position = 0
        self.offset = offset
        self.length = length
        self.descriptor = descriptor
        self.measure()

    def read_into(self, view: memoryview) -> int:
        """Read at least one octet into *view*, and return how many.

        Raises:
            FormatError: The payload is shorter than the header states.
        """
        count = self._stream.readinto(view) or 0
        if not count:
            self.check_size(self._position)
        self._position += count
        return count

    def skip_to(self, position: int) -> None:
        """Leave out the octets up to *position*, which nobody wants."""
        if self.descriptor is not None:
            self._stream.seek(self.offset + position)
            self._position = position
            return
        scrap = memoryview(bytearray(CHUNK))
        while self._position < position:
            self.read_into(scrap[: position - self._position])

    def read_range(self, wanted: Range) -> Iterator[memoryview]:
        """Give the octets of a range in pieces, of a payload in a regular file; each is gone at the next.

        Raises:
            FormatError: The payload is shorter than the header states.
        """
        assert self.descriptor is not None  # whoever asks for a range has a file
        buffer = memoryview(bytearray(CHUNK))
        position = wanted.start
        while position < wanted.end:
            count = os.preadv(self.descriptor, [buffer[: wanted.end - position]], self.offset + position)
            if not count:
                self.check_size(position)
            yield buffer[:count]
            position += count

    def expect(self) -> None:
        """Take notice that the payload is wanted.

        Raises:
            TransferError: It is known to be longer or shorter than the header states.
        """

    def may_repeat(self, wanted: Range) -> bool:  # noqa: ARG002 - for what arrives in pieces
        """Whether a range that is not what was signed may well be so when it is read again."""
        return False

    def process(self, command: Command) -> None:
        """Take notice that a command was processed, all its data being there."""

    def heed(self, command: Command) -> None:
        """Take notice of a command that is not carried out, all its data being there."""

    def go_on(self, done: Iterable[Command], state: State) -> None:
        """Take notice that an installation goes on behind some commands, in a state."""

    def conclude(self) -> None:
        """Take notice that all commands are processed, and nothing more is wanted."""

    def finish(self) -> None:
        """Make sure that nothing follows.

        Raises:
            FormatError: Something does.
        """
        self.skip_to(self.length)
        if self._stream.read(1):
            self.check_size(self.length + 1)

    def measure(self) -> None:
        """Check the size of a regular file, as it is now.

        Raises:
            FormatError: The payload is shorter or longer than the header states.
        """
        if self.descriptor is not None:
            self.check_size(os.fstat(self.descriptor).st_size - self.offset)

    def check_size(self, size: int) -> None:
        """Raise unless *size* octets are what the header states (README, decision 1)."""
        if size == self.length:
            return
        if size < self.length:
            problem = f"{self.length - size} of {self.length} octets are missing"
        else:
            problem = f"octets follow behind the {self.length} that the header states"
        place = self.offset + min(size, self.length)
        raise FormatError(problem, offset=place, field="payload", section="E.3")


@contextmanager
def open_package(source: Path | BufferedIOBase) -> Iterator[tuple[Package, Payload]]:
    """Read the front matter of a package, and give its payload as a stream.

    Args:
        source: A file, or a stream that stands at the beginning of the package.

    Raises:
        FormatError: The package is malformed.
        OSError: It can't be read.
    """
    with _opened(source) as (file, descriptor):
        package = Package.read(file)
        payload = Payload(
            file,
            offset=package.payload_offset,
            length=package.header.payload_length,
            descriptor=descriptor,
        )
        yield package, payload


def survey_package(source: Path | BufferedIOBase) -> Survey:
    """Return all that frames in a package, and all that is wrong with it.

    The payload is not read, but where it can be told without, its size is checked.

    Raises:
        FormatError: Already the header is malformed.
        OSError: It can't be read.
    """
    with _opened(source) as (file, descriptor):
        surveyed = survey(file)
        if surveyed.block is not None:
            offset = len(surveyed.signed) + len(surveyed.block.octets)
            length = surveyed.header.payload_length
            try:
                Payload(file, offset=offset, length=length, descriptor=descriptor)
            except FormatError as exc:
                return replace(surveyed, problems=(*surveyed.problems, exc))
        return surveyed


@contextmanager
def _opened(source: Path | BufferedIOBase) -> Iterator[tuple[BufferedIOBase, int | None]]:
    """Open a source, and give its descriptor where it is a regular file."""
    if not isinstance(source, Path):
        yield source, None
        return
    with source.open("rb") as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        yield file, file.fileno() if regular else None


class Consumer:
    """Something that wants the octets of one range of the payload."""

    range: Range

    def begin(self) -> None:
        """Take notice that the first octet comes next; all that came before is to be forgotten."""

    def rewind(self) -> bool:
        """Want the range from its beginning, and return whether octets came from elsewhere before."""
        return False

    def feed(self, octets: memoryview) -> None:
        """Take the next octets; they are gone when this returns."""
        raise NotImplementedError

    def finish(self) -> None:
        """Take notice that all octets were there."""


def distribute(
    payload: Payload,
    consumers: Iterable[Consumer],
    progress: Progress | None = None,
    *,
    to_end: bool = True,
) -> None:
    """Read the payload once, and give each consumer its octets.

    What arrives in pieces may have to be read again: then the consumers that are not through yet begin anew.

    Args:
        payload: From the beginning.
        consumers: Who wants octets of it.
        progress: Is told the octets done.
        to_end: Whether to make sure that it ends where the header says.

    Raises:
        FormatError: The payload is shorter or longer than the header states.
        SpkgError: What a consumer raised at the end of its range.
    """
    payload.expect()
    waiting = deque(sorted(consumers, key=_order))
    active: list[Consumer] = []
    buffer = memoryview(bytearray(CHUNK))
    position = end = 0  # of the octets in the buffer: what is fed next, and what is read next
    tell = progress if progress is not None else _tell_nobody

    def rewind() -> bool:
        nonlocal waiting, position, end
        suspect = [consumer.rewind() for consumer in active]
        waiting = deque(sorted([*active, *waiting], key=_order))
        before, position = position, min(position, *[consumer.range.start for consumer in active])
        end = position
        active.clear()
        payload.skip_to(position)
        tell(position - before)
        return any(suspect)

    def finish(consumer: Consumer) -> None:
        wanted = consumer.range
        try:
            consumer.finish()
        except UntrustedError:
            if not (rewind() or payload.may_repeat(wanted)):
                raise
        else:
            active.remove(consumer)

    while waiting or active:
        while waiting and waiting[0].range.start <= position:
            consumer = waiting.popleft()
            active.append(consumer)
            consumer.begin()
            if not consumer.range.length:
                finish(consumer)
        following = waiting[0].range.start if waiting else payload.length
        if not active:
            position = following
            if position >= end and waiting:
                payload.skip_to(position)
                end = position
            continue
        if position == end:
            start = position
            try:
                end += payload.read_into(buffer[: payload.length - start])
            except StartedOverError:
                rewind()
                continue
        last = min(end, following, *[consumer.range.end for consumer in active])
        octets = buffer[position - start : last - start]
        for consumer in active:
            consumer.feed(octets)
        position = last
        tell(len(octets))
        for consumer in [consumer for consumer in active if consumer.range.end == position]:
            if consumer in active:  # or it has to begin anew with one that failed
                finish(consumer)
    if to_end:
        payload.finish()


def _order(consumer: Consumer) -> tuple[int, int]:
    return consumer.range


def _tell_nobody(_octets: int) -> None:
    """Nobody asked."""


class Hasher(Consumer):
    """A consumer that computes the digests of its range."""

    def __init__(self, wanted: Range, algorithms: Iterable[Digest]) -> None:
        self.range = wanted
        self._algorithms = tuple(algorithms)
        self._running: dict[Digest, _Hash] = {}

    def begin(self) -> None:
        """Begin with no octets."""
        self._running = {algorithm: algorithm.new() for algorithm in self._algorithms}

    def feed(self, octets: memoryview) -> None:
        """Hash the next octets."""
        for running in self._running.values():
            running.update(octets)

    @property
    def digests(self) -> dict[Digest, bytes]:
        """The digests of what was fed."""
        return {algorithm: running.digest() for algorithm, running in self._running.items()}


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What the payload holds for one extract or add command."""

    file: PayloadFile
    sha1: bytes
    sha256: bytes | None
    """None where nobody asked for it."""
    problem: str
    """Why the contents are not the signed ones; empty where they are."""


@dataclass(frozen=True, kw_only=True)
class PayloadReport:
    """What the payload holds for all of them."""

    files: tuple[FileReport, ...]
    uncovered: tuple[Range, ...]
    """The octets that no command covers: nobody signed them."""


class DamagedPayloadError(UntrustedError):
    """Contents that are not the signed ones; ``report`` has all that was found."""

    REASON: ClassVar[Reason] = CORRUPTED

    def __init__(self, problem: str, report: PayloadReport) -> None:
        super().__init__(problem, section="E.4.3")
        self.report = report


def check_payload(
    trusted: TrustedPackage,
    payload: Payload,
    *,
    jobs: int = 1,
    sha256: bool = False,
    progress: Progress | None = None,
) -> PayloadReport:
    """Hash every file of the payload and compare it with the digest that was signed.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        jobs: How many files of a regular file are hashed at the same time.
        sha256: Whether SHA-256 is computed also where the package has no strong digests.
        progress: Is told the octets done.

    Raises:
        DamagedPayloadError: The contents of a file are not the signed ones.
        FormatError: The payload is shorter or longer than the header states.
    """
    return compare_payload(trusted.package, payload, jobs=jobs, sha256=sha256, progress=progress)


def compare_payload(
    package: Package,
    payload: Payload,
    *,
    make: Callable[[Range, Iterable[Digest]], Hasher] = Hasher,
    also: Sequence[Consumer] = (),
    process: Callable[[Command], object] | None = None,
    jobs: int = 1,
    sha256: bool = False,
    progress: Progress | None = None,
) -> PayloadReport:
    """Hash every file of the payload and compare it with the digest in its command, signed or not.

    Args:
        package: What was read.
        payload: Its payload, from the beginning.
        make: Makes what hashes a range, and may do more with its octets.
        also: Others that want octets of it on the way; they have them before they are compared.
        process: Is told each command of a package on its way that is carried out, in their order.
        jobs: As for :func:`check_payload`; with any of the others all goes in one pass.
        sha256: As for :func:`check_payload`.
        progress: Is told the octets done.

    Raises:
        DamagedPayloadError: The contents of a file do not match.
        FormatError: The payload is shorter or longer than the header states.
    """
    files = package.files
    ranges = frozenset(file.range for file in files)
    strong = sha256 or any(file.sha256 is not None for file in files)
    hashers = [make(wanted, Digest if strong else [Digest.SHA1]) for wanted in ranges]
    wanted = dict(zip(ranges, hashers, strict=True))  # a range may shrink by what is there already

    worth_it = jobs > 1 and len(ranges) > 1 and payload.length >= PARALLEL_FROM
    if payload.arriving:
        # Commands are processed as it arrives, and nothing is read behind a file that is not what was signed.
        payload.expect()
        sequence = Sequencer(package, process or payload.heed)
        sequence.advance()
        distribute(payload, [*judges(files, wanted, sequence.arrived), *also], progress)
    elif (
        worth_it
        and not also
        and make is Hasher
        and payload.descriptor is not None
        and len(deepest_overlap(ranges)) == 1
    ):
        _hash_in_parallel(payload, hashers, jobs, progress)
    else:
        distribute(payload, [*hashers, *also], progress)
    digests = {range_: hasher.digests for range_, hasher in wanted.items()}

    report = PayloadReport(
        files=tuple(_judge(file, digests[file.range]) for file in files),
        uncovered=uncovered(ranges, payload.length),
    )
    damaged = [f"{one.file.record.path}: {one.problem}" for one in report.files if one.problem]
    if damaged:
        raise DamagedPayloadError("; ".join(damaged), report)
    return report


class _Judge(Consumer):
    """A consumer that has a range hashed, and says at its end whether it is what was signed."""

    def __init__(self, hasher: Hasher, files: Collection[PayloadFile], arrived: Callable[[], object]) -> None:
        self._hasher = hasher
        self._files = files
        self._arrived = arrived
        self.range = hasher.range

    def begin(self) -> None:
        """Begin with what is there already."""
        self._hasher.begin()

    def rewind(self) -> bool:
        """Forget what was there, too."""
        suspect = self._hasher.rewind()
        self.range = self._hasher.range
        return suspect

    def feed(self, octets: memoryview) -> None:
        """Hand the next octets on."""
        self._hasher.feed(octets)

    def finish(self) -> None:
        """Compare all files of this range."""
        for file in self._files:
            check_file(file, self._hasher.digests)
        self._hasher.finish()
        self._arrived()


def judges(
    files: Iterable[PayloadFile], hashers: Mapping[Range, Hasher], arrived: Callable[[Range], object]
) -> Iterator[_Judge]:
    """Give what compares each range as soon as it is there, and then tells of it."""
    sharing: defaultdict[Range, list[PayloadFile]] = defaultdict(list)
    for file in files:
        sharing[file.range].append(file)
    for wanted, hasher in hashers.items():
        yield _Judge(hasher, sharing[wanted], partial(arrived, wanted))


def check_file(file: PayloadFile, digests: Mapping[Digest, bytes]) -> None:
    """Raise unless the digests of a file are the signed ones.

    Raises:
        UntrustedError: They are not.
    """
    problem = _judge(file, digests).problem
    if problem:
        raise UntrustedError(f"{file.record.path}: {problem}", section="E.4.3", reason=CORRUPTED)


def _judge(file: PayloadFile, digests: Mapping[Digest, bytes]) -> FileReport:
    """Compare the digests of a file with the signed ones."""
    problem = ""
    if digests[Digest.SHA1] != file.record.hash:
        problem = "contents do not match the signed SHA-1 digest"
    elif file.sha256 is not None and digests[Digest.SHA256] != file.sha256:
        problem = "contents do not match the signed SHA-256 digest"
    return FileReport(
        file=file, sha1=digests[Digest.SHA1], sha256=digests.get(Digest.SHA256), problem=problem
    )


def _hash_in_parallel(
    payload: Payload, hashers: Collection[Hasher], jobs: int, progress: Progress | None
) -> None:
    """Hash ranges of a regular file that do not overlap, several at a time, the longest first."""
    from spkg.common.worker_threads import Crew  # noqa: PLC0415 - start-up: one job needs no threads

    def run(hasher: Hasher) -> None:
        hasher.begin()
        for octets in payload.read_range(hasher.range):
            if crew.leaving:
                break
            hasher.feed(octets)
            if progress is not None:
                progress(len(octets))

    with Crew(min(jobs, len(hashers))) as crew:
        for hasher in sorted(hashers, key=lambda hasher: hasher.range.length, reverse=True):
            crew.hand(partial(run, hasher))
        for _ in hashers:
            crew.wait()
    payload.measure()
