"""The payload: the stream behind the front matter, read once, hashed as it goes by (TR-069 E.4.3).

A payload is never held in memory.  From a file with several ranges it is hashed in parallel; from a pipe in
one pass, where each octet feeds everything that wants it.
"""

import os
import stat
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Final, Protocol

from spkg.digests import Digest
from spkg.errors import FormatError, UntrustedError
from spkg.package import Package, PayloadFile, Survey, survey
from spkg.ranges import Range, deepest_overlap, uncovered
from spkg.verification import TrustedPackage

__all__ = [
    "CHUNK",
    "Consumer",
    "DamagedPayloadError",
    "FileReport",
    "Hasher",
    "Payload",
    "PayloadReport",
    "Progress",
    "check_file",
    "check_payload",
    "compare_payload",
    "distribute",
    "open_package",
    "survey_package",
]

CHUNK: Final = 1 << 18
"""How many octets are read at once: enough to be fast, few enough to stay in a core's cache."""

PARALLEL_FROM: Final = 1 << 22
"""The smallest payload, in octets, that is hashed in parallel: less is done before threads are worth it."""

Progress = Callable[[int], object]
"""Is told how many more octets are done."""


class Payload:
    """The octets behind the front matter, in order and once.

    Args:
        stream: Stands at the first octet of the payload.
        offset: Where that is, in octets from the beginning of the package.
        length: How many octets the header states.
        descriptor: Of a regular file that *stream* reads from the beginning of; None for any other stream.
    """

    def __init__(
        self, stream: BufferedIOBase, *, offset: int, length: int, descriptor: int | None = None
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
        count = self._stream.readinto(view)
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


class Consumer(Protocol):
    """Something that wants the octets of one range of the payload."""

    @property
    def range(self) -> Range:
        """Which octets."""
        ...

    def begin(self) -> None:
        """Take notice that the first octet comes next."""
        ...

    def feed(self, octets: memoryview) -> None:
        """Take the next octets; they are gone when this returns."""
        ...

    def finish(self) -> None:
        """Take notice that all octets were there."""
        ...


def distribute(payload: Payload, consumers: Iterable[Consumer], progress: Progress | None = None) -> None:
    """Read the payload to its end, once, and give each consumer its octets.

    Raises:
        FormatError: The payload is shorter or longer than the header states.
    """
    waiting = deque(sorted(consumers, key=lambda consumer: (consumer.range.start, consumer.range.length)))
    active: list[Consumer] = []
    buffer = memoryview(bytearray(CHUNK))
    position = end = 0  # of the octets in the buffer: what is fed next, and what is read next
    while waiting or active:
        while waiting and waiting[0].range.start <= position:
            consumer = waiting.popleft()
            consumer.begin()
            if consumer.range.length:
                active.append(consumer)
            else:
                consumer.finish()
        following = waiting[0].range.start if waiting else payload.length
        if not active:
            position = following
            if position >= end and waiting:
                payload.skip_to(position)
                end = position
            continue
        if position == end:
            start = position
            end += payload.read_into(buffer[: payload.length - start])
        last = min(end, following, *[consumer.range.end for consumer in active])
        octets = buffer[position - start : last - start]
        for consumer in active:
            consumer.feed(octets)
        position = last
        if progress is not None:
            progress(len(octets))
        for consumer in [consumer for consumer in active if consumer.range.end == position]:
            consumer.finish()
            active.remove(consumer)
    payload.finish()


class Hasher:
    """A consumer that computes the digests of its range."""

    def __init__(self, wanted: Range, algorithms: Iterable[Digest]) -> None:
        self.range = wanted
        self._running = {algorithm: algorithm.new() for algorithm in algorithms}

    def begin(self) -> None:
        """There is nothing to prepare."""

    def feed(self, octets: memoryview) -> None:
        """Hash the next octets."""
        for running in self._running.values():
            running.update(octets)

    def finish(self) -> None:
        """There is nothing to conclude."""

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
    also: Sequence[Consumer] = (),
    jobs: int = 1,
    sha256: bool = False,
    progress: Progress | None = None,
) -> PayloadReport:
    """Hash every file of the payload and compare it with the digest in its command, signed or not.

    Args:
        package: What was read.
        payload: Its payload, from the beginning.
        also: Others that want octets of it on the way; they have them before they are compared.
        jobs: As for :func:`check_payload`; with *also* all goes in one pass.
        sha256: As for :func:`check_payload`.
        progress: Is told the octets done.

    Raises:
        DamagedPayloadError: The contents of a file do not match.
        FormatError: The payload is shorter or longer than the header states.
    """
    files = package.files
    ranges = frozenset(file.range for file in files)
    strong = sha256 or any(file.sha256 is not None for file in files)
    hashers = [Hasher(wanted, Digest if strong else [Digest.SHA1]) for wanted in ranges]

    worth_it = jobs > 1 and len(ranges) > 1 and payload.length >= PARALLEL_FROM
    if worth_it and not also and payload.descriptor is not None and len(deepest_overlap(ranges)) == 1:
        _hash_in_parallel(payload, hashers, jobs, progress)
    else:
        distribute(payload, [*hashers, *also], progress)
    digests = {hasher.range: hasher.digests for hasher in hashers}

    report = PayloadReport(
        files=tuple(_judge(file, digests[file.range]) for file in files),
        uncovered=uncovered(ranges, payload.length),
    )
    damaged = [f"{one.file.record.path}: {one.problem}" for one in report.files if one.problem]
    if damaged:
        raise DamagedPayloadError("; ".join(damaged), report)
    return report


def check_file(file: PayloadFile, digests: Mapping[Digest, bytes]) -> None:
    """Raise unless the digests of a file are the signed ones.

    Raises:
        UntrustedError: They are not.
    """
    problem = _judge(file, digests).problem
    if problem:
        raise UntrustedError(f"{file.record.path}: {problem}", section="E.4.3")


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
    from spkg.threads import Crew  # noqa: PLC0415 - start-up: one job needs no threads

    def run(hasher: Hasher) -> None:
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
