"""Ranges of a regular file, hashed and kept by several threads.

Each thread takes a range of its own.  One range that outweighs all others is hashed in one thread while
another keeps it.  Each byte is read once: what is kept is what was hashed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Final

from spkg.common.worker_threads import Crew, NoThreadError
from spkg.verify.hasher import Hasher
from spkg.verify.payload import PARALLEL_FROM, Payload
from spkg.verify.single_pass import Progress

__all__ = ["feed_in_parallel"]

SMALL_RANGE: Final = 1 << 20
"""Ranges below this size, in bytes, are done by one thread: only one at a time runs Python's own code."""
PIECES_AHEAD: Final = 4
"""How many pieces of a range may be kept before they are hashed."""


def feed_in_parallel(
    payload: Payload, hashers: Sequence[Hasher], jobs: int, progress: Progress | None
) -> None:
    """Feed hashers whose ranges do not overlap, several at a time, and finish them.

    If some of them fail, the error of the first one in their order is raised, whichever failed first in time.
    At the end, no thread is left that would feed one of them.

    Raises:
        FormatError: The payload is shorter or longer than the header states.
        OSError: It can't be read or kept.
    """
    run = _Run(payload, hashers, progress)
    numbers = sorted(range(len(hashers)), key=run.weight, reverse=True)
    if hashers[numbers[0]].KEEPS and 2 * run.weight(numbers[0]) >= sum(map(run.weight, numbers)):
        run.keep_and_hash(numbers.pop(0))
    if sum(map(run.weight, numbers)) >= PARALLEL_FROM:
        run.feed_each(numbers, jobs)
    else:
        run.feed_all(numbers)
    if run.problem is not None:
        raise run.problem
    payload.measure()


class _Run:
    """All hashers, known by their numbers, and what became of them."""

    def __init__(self, payload: Payload, hashers: Sequence[Hasher], progress: Progress | None) -> None:
        self._payload = payload
        self._hashers = hashers
        self._progress = progress
        self._lock = Lock()
        self._failed = len(hashers)
        """The first hasher that failed: those behind it are no longer needed, those before it are."""
        self._crew: Crew | None = None
        self.problem: Exception | None = None
        """Why that one failed."""

    def weight(self, number: int) -> int:
        """Return how many bytes a hasher gets."""
        return self._hashers[number].range.length

    def feed_each(self, numbers: Sequence[int], jobs: int) -> None:
        """Feed hashers in threads, as far as there can be any."""
        small = [number for number in numbers if self.weight(number) < SMALL_RANGE]
        shares = [[number] for number in numbers if self.weight(number) >= SMALL_RANGE] + [small] * bool(
            small
        )
        writing = any(hasher.KEEPS for hasher in self._hashers)
        try:
            with Crew(min(jobs, len(shares)), abandon=not writing) as crew:
                self._crew = crew
                for share in shares:
                    crew.hand(partial(self.feed_all, share))
                for _ in shares:
                    crew.wait()
        except NoThreadError:
            self.feed_all(numbers)

    def feed_all(self, numbers: Sequence[int]) -> None:
        """Feed hashers in this thread, one after the other."""
        for number in sorted(numbers):
            self._attempt(number, self._feed)

    def keep_and_hash(self, number: int) -> None:
        """Feed a hasher: keep the bytes in this thread, and hash them in another if there can be one."""
        try:
            with Crew(1, abandon=False) as crew:
                self._attempt(number, partial(self._feed_beside, crew))
        except NoThreadError:
            self.feed_all([number])

    def _attempt(self, number: int, feed: Callable[[int, Hasher], object]) -> None:
        """Feed a hasher, unless it is not needed; keep what that raises if it is the first one to fail."""
        if not self._needed(number):
            return
        try:
            self._hashers[number].begin()
            feed(number, self._hashers[number])
        except Exception as exc:  # noqa: BLE001 - raised again at the end, if it is the first
            with self._lock:
                if number < self._failed:
                    self._failed, self.problem = number, exc

    def _feed(self, number: int, hasher: Hasher) -> None:
        for octets in self._payload.read_range(hasher.range):
            if not self._needed(number):
                return
            hasher.feed(octets)
            self._count(len(octets))
        hasher.finish()

    def _feed_beside(self, crew: Crew, _number: int, hasher: Hasher) -> None:
        unhashed = 0
        for octets in self._payload.read_range(hasher.range, pieces=PIECES_AHEAD):
            crew.hand(partial(hasher.hash, octets))
            unhashed += 1
            hasher.keep(octets)
            self._count(len(octets))
            if unhashed == PIECES_AHEAD:  # the next piece takes the place of the first one
                crew.wait()
                unhashed -= 1
        for _ in range(unhashed):
            crew.wait()
        hasher.finish()

    def _needed(self, number: int) -> bool:
        return number < self._failed and not (self._crew is not None and self._crew.leaving)

    def _count(self, octets: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(octets)
