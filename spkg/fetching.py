"""A package written on as it goes by: all of its octets, and nothing else."""

from io import FileIO

from spkg.output import write_all
from spkg.payload import Consumer, Payload, PayloadReport, Progress, compare_payload
from spkg.ranges import Range
from spkg.verification import TrustedPackage

__all__ = ["Copier", "fetch"]


class Copier(Consumer):
    """A consumer that writes the whole payload into a file, behind what is there.

    Args:
        output: The file, of which nobody else writes.
        length: How many octets the payload has.
    """

    def __init__(self, output: FileIO, length: int) -> None:
        self.range = Range(0, length)
        self._output = output
        self._start = output.tell()

    def begin(self) -> None:
        """Go to where the payload begins."""
        self._output.seek(self._start)
        self._output.truncate()

    def feed(self, octets: memoryview) -> None:
        """Write the next octets."""
        write_all(self._output, octets)


def fetch(
    trusted: TrustedPackage, payload: Payload, output: FileIO, progress: Progress | None = None
) -> PayloadReport:
    """Write a trusted package to *output*, and compare every file with what was signed on the way.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        output: Where it goes.
        progress: Is told the octets done.

    Raises:
        UntrustedError: The contents of a file are not the signed ones; nothing is read behind it.
        FormatError: The payload of a file is shorter or longer than the header states.
        TransferError: The deadline has passed, or the transfer failed.
        OSError: It can't be written.
    """
    package = trusted.package
    write_all(output, package.signed + package.block.octets)
    copier = Copier(output, payload.length)
    return compare_payload(package, payload, arrived=lambda _wanted: None, also=[copier], progress=progress)
