"""A package saved as it arrives: all of its bytes, with each file checked against its signed digest.

What an earlier run left in the output is hashed in place of the bytes of the server, and compared with what
was signed like them; if it does not match, it is requested again.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from io import FileIO

from spkg.common.atomic_output import write_all
from spkg.common.digests import Digest
from spkg.errors import SIZE, TransferError
from spkg.format.package import Package
from spkg.format.ranges import Range, uncovered
from spkg.verify.contents import PayloadReport, compare_payload
from spkg.verify.hasher import Hasher
from spkg.verify.payload import CHUNK, Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Consumer, Progress

__all__ = ["can_resume_fetch", "fetch_package"]


def fetch_package(
    trusted: TrustedPackage, payload: Payload, output: FileIO, progress: Progress | None = None
) -> PayloadReport:
    """Write a trusted package to *output*.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        output: The file to write it to.  If it begins with the front matter of this package, the files that
            follow are not requested as far as they are there; else it is emptied.
        progress: Called with the number of bytes done.

    Raises:
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload of a file is shorter or longer than the header states.
        TransferError: The deadline has passed, or the transfer failed.
        OSError: It can't be written.
    """
    package = trusted.package
    gaps = uncovered({file.range for file in package.files}, payload.length)
    there = _begin(output, package)
    if progress is not None:
        progress(there - sum(max(0, min(gap.end, there) - gap.start) for gap in gaps))

    def make(wanted: Range, algorithms: Iterable[Digest]) -> Hasher:
        return _Hashing(wanted, algorithms, output, package.payload_offset, there)

    # Nothing says whether the bytes between the files are right, so that none of an earlier run are kept.
    others = [_Gap(gap, output, package.payload_offset) for gap in gaps]
    return compare_payload(package, payload, make=make, also=others, progress=progress)


def can_resume_fetch(reason: BaseException) -> bool:
    """Whether what was saved before an exception ended it is worth keeping for the next run."""
    if isinstance(reason, TransferError):
        return reason.reason != SIZE
    return not isinstance(reason, Exception)


def _begin(output: FileIO, package: Package) -> int:
    """Write the front matter, unless it is there; return how many bytes of the payload follow it."""
    front = package.signed + package.block.octets
    output.seek(0)
    if not output.readable() or output.read(len(front)) != front:
        output.seek(0)
        output.truncate()
        write_all(output, front)
        return 0
    end = len(front) + package.header.payload_length
    size = os.fstat(output.fileno()).st_size
    if size > end:
        output.truncate(end)
    return min(size, end) - len(front)


class _Hashing(Hasher):
    """A hasher that writes its range to its place in the file, each time it is received."""

    def __init__(
        self, wanted: Range, algorithms: Iterable[Digest], output: FileIO, offset: int, there: int
    ) -> None:
        self._kept = max(0, min(wanted.end, there) - wanted.start)
        super().__init__(wanted.behind(self._kept), algorithms)
        self._whole = wanted
        self._place = _Place(wanted, output, offset)

    def begin(self) -> None:
        """Begin with what an earlier run left of the range."""
        super().begin()
        self._place.begin()
        for octets in self._place.read(self._kept):
            self.hash(octets)

    def rewind(self) -> bool:
        """Also forget what an earlier run left."""
        super().rewind()
        kept, self._kept = self._kept, 0
        self.range = self._whole
        return kept > 0

    def keep(self, octets: memoryview) -> None:
        """Write the next bytes."""
        self._place.write(octets)


class _Gap(Consumer):
    """A consumer of bytes that are not part of a signed file."""

    def __init__(self, wanted: Range, output: FileIO, offset: int) -> None:
        self.range = wanted
        self._place = _Place(wanted, output, offset)

    def begin(self) -> None:
        """Go to their place in the file."""
        self._place.begin()

    def feed(self, octets: memoryview) -> None:
        """Write the next bytes."""
        self._place.write(octets)


class _Place:
    """The place of a range in a file."""

    def __init__(self, wanted: Range, output: FileIO, offset: int) -> None:
        self._start = offset + wanted.start
        self._position = self._start
        self._output = output
        self._descriptor = output.fileno()

    def begin(self) -> None:
        self._position = self._start

    def read(self, count: int) -> Iterator[memoryview]:
        """Yield the first *count* bytes, and continue behind them."""
        end = self._start + count
        while self._position < end:
            octets = os.pread(self._descriptor, min(CHUNK, end - self._position), self._position)
            if not octets:
                raise OSError(errno.EIO, "truncated by another program", self._output.name)
            self._position += len(octets)
            yield memoryview(octets)

    def write(self, octets: memoryview) -> None:
        while octets:
            written = os.pwrite(self._descriptor, octets, self._position)
            self._position += written
            octets = octets[written:]
