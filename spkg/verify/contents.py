"""The files of a payload, compared with the digests that were signed (TR-069 E.4.3).

In a regular file several ranges are fed to their hashers in parallel; a pipe is read in one pass, and each
byte goes to all consumers that need it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

from spkg.common.digests import Digest
from spkg.common.frozen import dataclass
from spkg.common.portable import READS_AT_ONCE
from spkg.errors import CORRUPTED, Reason, UntrustedError
from spkg.format.package import Command, Package, PayloadFile
from spkg.format.ranges import Range, deepest_overlap, uncovered
from spkg.verify.command_order import Sequencer
from spkg.verify.hasher import Hasher
from spkg.verify.payload import PARALLEL_FROM, ArrivingPayload, Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Consumer, Progress, distribute

__all__ = [
    "DamagedPayloadError",
    "FileReport",
    "PayloadReport",
    "check_file",
    "check_payload",
    "compare_payload",
    "judges",
]


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What the payload contains for one extract or add command."""

    file: PayloadFile
    sha1: bytes
    sha256: bytes | None
    """None if it was not computed."""
    problem: str
    """Why the contents do not match what was signed; empty if they do."""


@dataclass(frozen=True, kw_only=True)
class PayloadReport:
    """What the payload contains for all extract and add commands."""

    files: tuple[FileReport, ...]
    uncovered: tuple[Range, ...]
    """The bytes that no command covers: they are not signed."""


class DamagedPayloadError(UntrustedError):
    """Contents do not match what was signed; ``report`` has all that was found."""

    REASON: ClassVar[Reason] = CORRUPTED

    def __init__(self, problem: str, report: PayloadReport) -> None:
        super().__init__(problem, section="E.4.3")
        self.report = report


def check_payload(
    trusted: TrustedPackage,
    payload: Payload,
    *,
    also: Sequence[Consumer] = (),
    jobs: int = 1,
    sha256: bool = False,
    progress: Progress | None = None,
) -> PayloadReport:
    """Hash every file of the payload and compare it with the digest that was signed.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        also: More consumers of the payload; with any, everything is done in one pass.
        jobs: How many files of a regular file are hashed at the same time.
        sha256: Whether SHA-256 is computed even if the package has no strong digests.
        progress: Called with the number of bytes done.

    Raises:
        RefusedError: A file has a hash of a type that is unknown here.
        DamagedPayloadError: The contents of files do not match what was signed.
        UntrustedError: The same, for the first such file of an arriving package.
        FormatError: The payload is shorter or longer than the header states.
        TransferError: The deadline in force has passed, or the transfer failed.
    """
    return compare_payload(trusted.package, payload, also=also, jobs=jobs, sha256=sha256, progress=progress)


def compare_payload(
    package: Package,
    payload: Payload,
    *,
    make: Callable[[Range, Iterable[Digest]], Hasher] = Hasher,
    also: Sequence[Consumer] = (),
    installing: bool = False,
    jobs: int = 1,
    sha256: bool = False,
    progress: Progress | None = None,
) -> PayloadReport:
    """Hash every file of the payload and compare it with the digest in its command, signed or not.

    Args:
        package: The package that was read.
        payload: Its payload, from the beginning.
        make: Makes the hasher of a range, which may do more with the bytes, in a thread of its own.
        also: More consumers of the payload; they get the bytes before these are compared.
        installing: Whether the commands are carried out, which moves the deadlines of an arriving package.
        jobs: As for :func:`check_payload`; with *also* everything is done in one pass.
        sha256: As for :func:`check_payload`.
        progress: Called with the number of bytes done.

    Raises:
        RefusedError: A file has a hash of a type that is unknown here.
        DamagedPayloadError: The contents of files do not match.
        UntrustedError: The same, for the first such file of an arriving package.
        FormatError: The payload is shorter or longer than the header states.
        TransferError: The deadline in force has passed, or the transfer failed.
    """
    package.refuse_unchecked()
    files = package.files
    strong = sha256 or any(file.sha256 is not None for file in files)
    algorithms = Digest if strong else [Digest.SHA1]
    # A hasher may need less than its range, if it already has a part of it.
    hashers = {wanted: make(wanted, algorithms) for wanted in dict.fromkeys(file.range for file in files)}

    if isinstance(payload, ArrivingPayload):
        _hash_as_it_arrives(package, payload, hashers, also, progress, installing=installing)
    elif not also and _is_worth_threads(payload, hashers, jobs):
        from spkg.verify.parallel import feed_in_parallel  # noqa: PLC0415 - start-up: one job needs no threads

        feed_in_parallel(payload, [*hashers.values()], jobs, progress)
    else:
        distribute(payload, [*hashers.values(), *also], progress)

    digests = {wanted: hasher.digests for wanted, hasher in hashers.items()}
    report = PayloadReport(
        files=tuple(_judge(file, digests[file.range]) for file in files),
        uncovered=uncovered(hashers, payload.length),
    )
    damaged = [f"{one.file.record.path}: {one.problem}" for one in report.files if one.problem]
    if damaged:
        raise DamagedPayloadError("; ".join(damaged), report)
    return report


def _hash_as_it_arrives(
    package: Package,
    payload: ArrivingPayload,
    hashers: Mapping[Range, Hasher],
    also: Sequence[Consumer],
    progress: Progress | None,
    *,
    installing: bool,
) -> None:
    """Hash and compare each range as it arrives: reading stops at a file that does not match.

    Raises:
        UntrustedError: The contents of a file do not match what was signed.
        TransferError: The deadline in force has passed, or the transfer failed.
    """

    def process(command: Command) -> None:
        payload.process(command)
        if command is package.commands[-1]:  # with or without an End
            payload.conclude()

    payload.expect()
    sequence = Sequencer(package, process if installing else payload.heed)
    sequence.advance()
    distribute(payload, [*judges(package.files, hashers, sequence.arrived), *also], progress)


def _is_worth_threads(payload: Payload, hashers: Mapping[Range, Hasher], jobs: int) -> bool:
    """Whether hashers can be fed in parallel, and get enough bytes to benefit."""
    return (
        jobs > 1
        and (len(hashers) > 1 or any(hasher.KEEPS for hasher in hashers.values()))
        and payload.length >= PARALLEL_FROM
        and READS_AT_ONCE
        and payload.descriptor is not None
        and len(deepest_overlap(hashers)) == 1
    )


class _Judge(Consumer):
    """A consumer that has a range hashed, and compares it at its end with what was signed."""

    def __init__(self, hasher: Hasher, files: Collection[PayloadFile], arrived: Callable[[], object]) -> None:
        self._hasher = hasher
        self._files = files
        self._arrived = arrived
        self.range = hasher.range

    def begin(self) -> None:
        """Begin with what the hasher already has."""
        self._hasher.begin()

    def rewind(self) -> bool:
        """Start over, and forget even what the hasher had before."""
        suspect = self._hasher.rewind()
        self.range = self._hasher.range
        return suspect

    def feed(self, octets: memoryview) -> None:
        """Pass on the next bytes."""
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
    """Yield a consumer for each range, which compares it once it is complete and then calls *arrived*."""
    sharing: defaultdict[Range, list[PayloadFile]] = defaultdict(list)
    for file in files:
        sharing[file.range].append(file)
    for wanted, hasher in hashers.items():
        yield _Judge(hasher, sharing[wanted], partial(arrived, wanted))


def check_file(file: PayloadFile, digests: Mapping[Digest, bytes]) -> None:
    """Compare the digests of a file with the signed ones.

    Raises:
        UntrustedError: They do not match.
    """
    problem = _judge(file, digests).problem
    if problem:
        raise UntrustedError(f"{file.record.path}: {problem}", section="E.4.3", reason=CORRUPTED)


def _judge(file: PayloadFile, digests: Mapping[Digest, bytes]) -> FileReport:
    """Return a report of a file, which compares its digests with the signed ones."""
    problem = ""
    if digests[Digest.SHA1] != file.record.hash:
        problem = "contents do not match the signed SHA-1 digest"
    elif file.sha256 is not None and digests[Digest.SHA256] != file.sha256:
        problem = "contents do not match the signed SHA-256 digest"
    return FileReport(
        file=file, sha1=digests[Digest.SHA1], sha256=digests.get(Digest.SHA256), problem=problem
    )
