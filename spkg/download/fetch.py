"""A package saved as it arrives: all of its bytes, with each file checked against its signed digest."""

import os
from collections.abc import Iterable
from io import FileIO

from spkg.common.atomic_output import write_all
from spkg.common.digests import Digest
from spkg.format.ranges import Range, uncovered
from spkg.verify.contents import PayloadReport, compare_payload
from spkg.verify.hasher import Hasher
from spkg.verify.payload import Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Consumer, Progress

__all__ = ["fetch_package"]


def fetch_package(
    trusted: TrustedPackage, payload: Payload, output: FileIO, progress: Progress | None = None
) -> PayloadReport:
    """Write a trusted package to *output*.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        output: The file to write it to.
        progress: Called with the number of bytes done.

    Raises:
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload of a file is shorter or longer than the header states.
        TransferError: The deadline has passed, or the transfer failed.
        OSError: It can't be written.
    """
    package = trusted.package
    write_all(output, package.signed + package.block.octets)

    def make(wanted: Range, algorithms: Iterable[Digest]) -> Hasher:
        return _Hashing(wanted, algorithms, output, package.payload_offset)

    gaps = uncovered({file.range for file in package.files}, payload.length)
    others = [_Gap(gap, output, package.payload_offset) for gap in gaps]
    return compare_payload(package, payload, make=make, also=others, progress=progress)


class _Hashing(Hasher):
    """A hasher that writes its range to its place in the file, each time it is received."""

    def __init__(self, wanted: Range, algorithms: Iterable[Digest], output: FileIO, offset: int) -> None:
        super().__init__(wanted, algorithms)
        self._place = _Place(wanted, output, offset)

    def begin(self) -> None:
        """Begin at the start of the range."""
        super().begin()
        self._place.begin()

    def feed(self, octets: memoryview) -> None:
        """Hash and write the next bytes."""
        super().feed(octets)
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
        self._descriptor = output.fileno()

    def begin(self) -> None:
        self._position = self._start

    def write(self, octets: memoryview) -> None:
        while octets:
            written = os.pwrite(self._descriptor, octets, self._position)
            self._position += written
            octets = octets[written:]
