"""A consumer that computes the digests of its range, and may keep the bytes as well."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from spkg.common.digests import Digest
from spkg.format.ranges import Range
from spkg.verify.single_pass import Consumer

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Hasher"]


class Hasher(Consumer):
    """A consumer that computes the digests of its range.

    Hashers are independent of each other: each may be fed by another thread.
    """

    KEEPS: ClassVar[bool] = False
    """Whether :meth:`keep` takes time, so that it is worth hashing beside it."""

    def __init__(self, wanted: Range, algorithms: Iterable[Digest]) -> None:
        self.range = wanted
        self._algorithms = tuple(algorithms)
        self._running: dict[Digest, _Hash] = {}

    def begin(self) -> None:
        """Start over with no bytes."""
        self._running = {algorithm: algorithm.new() for algorithm in self._algorithms}

    def feed(self, octets: memoryview) -> None:
        """Hash and keep the next bytes."""
        self.hash(octets)
        self.keep(octets)

    def hash(self, octets: memoryview) -> None:
        """Hash the next bytes."""
        for running in self._running.values():
            running.update(octets)

    def keep(self, octets: memoryview) -> None:
        """Do with the next bytes whatever else is to be done."""

    @property
    def digests(self) -> dict[Digest, bytes]:
        """The digests of what was hashed."""
        return {algorithm: running.digest() for algorithm, running in self._running.items()}
