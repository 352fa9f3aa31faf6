"""One pass over a payload: each byte is read once, and goes to every consumer that needs it."""

from collections import deque
from collections.abc import Callable, Iterable

from spkg.errors import UntrustedError
from spkg.format.ranges import Range
from spkg.verify.payload import CHUNK, ArrivingPayload, Payload, StartedOverError

__all__ = ["Consumer", "Progress", "distribute"]

Progress = Callable[[int], object]
"""Called with how many more bytes are done; negative if some have to be read again."""


class Consumer:
    """Something that needs the bytes of one range of the payload."""

    range: Range

    def begin(self) -> None:
        """Prepare for the first byte; forget everything that came before."""

    def rewind(self) -> bool:
        """Request the range from its beginning, and return whether earlier bytes came from elsewhere."""
        return False

    def feed(self, octets: memoryview) -> None:
        """Take the next bytes; the buffer is only valid until this returns."""
        raise NotImplementedError

    def finish(self) -> None:
        """Complete the range: all its bytes have come."""


def distribute(
    payload: Payload,
    consumers: Iterable[Consumer],
    progress: Progress | None = None,
    *,
    to_end: bool = True,
) -> None:
    """Read the payload once, and give each consumer its bytes.

    Parts of an arriving package may have to be read again: consumers that are not finished start over.

    Args:
        payload: From the beginning; an arriving one was already requested with ``expect()``.
        consumers: The consumers of its ranges.
        progress: Called with the number of bytes done.
        to_end: Whether to check that it ends where the header says.

    Raises:
        FormatError: The payload is shorter or longer than the header states.
        SpkgError: What a consumer raised at the end of its range.
    """
    _Pass(payload, consumers, progress).run()
    if to_end:
        payload.finish()


class _Pass:
    """One pass: which consumers wait or are being fed, and which bytes of the payload are in the buffer."""

    def __init__(self, payload: Payload, consumers: Iterable[Consumer], progress: Progress | None) -> None:
        self._payload = payload
        self._progress = progress
        self._waiting = deque(sorted(consumers, key=_order))
        self._active: list[Consumer] = []
        self._buffer = memoryview(bytearray(CHUNK))
        self._start = 0
        """The position of the first byte in the buffer."""
        self._end = 0
        """The position after the last byte in the buffer, which is read next."""
        self._position = 0
        """The position of the byte that is fed next."""

    def run(self) -> None:
        """Read as long as any consumer needs bytes.

        Raises:
            SpkgError: The payload can't be read, or what a consumer raised at the end of its range.
        """
        while self._waiting or self._active:
            self._begin()
            if not self._active:
                self._skip()
            elif self._position < self._end or self._read():
                self._feed()

    @property
    def _following(self) -> int:
        """Where the next consumer begins, or the payload ends."""
        return self._waiting[0].range.start if self._waiting else self._payload.length

    def _begin(self) -> None:
        """Start the consumers whose range begins here; one with an empty range is finished at once."""
        while self._waiting and self._waiting[0].range.start <= self._position:
            consumer = self._waiting.popleft()
            self._active.append(consumer)
            consumer.begin()
            if not consumer.range.length:
                self._finish(consumer)

    def _skip(self) -> None:
        """Skip the bytes up to where the next consumer begins."""
        self._position = self._following
        if self._position >= self._end and self._waiting:
            self._payload.skip_to(self._position)
            self._end = self._position

    def _read(self) -> bool:
        """Read more bytes, once all in the buffer are fed; return whether there are any now."""
        self._start = self._position
        try:
            self._end += self._payload.read_into(self._buffer[: self._payload.length - self._start])
        except StartedOverError:
            self._rewind()
            return False
        return True

    def _feed(self) -> None:
        """Feed the bytes up to where a consumer begins or ends, and finish those that end there."""
        last = min(self._end, self._following, *[consumer.range.end for consumer in self._active])
        octets = self._buffer[self._position - self._start : last - self._start]
        for consumer in self._active:
            consumer.feed(octets)
        self._position = last
        self._tell(len(octets))
        for consumer in [consumer for consumer in self._active if consumer.range.end == last]:
            if consumer in self._active:  # otherwise it starts over together with one that failed
                self._finish(consumer)

    def _finish(self, consumer: Consumer) -> None:
        """Finish a consumer, or have its range read again if the bytes may then be different.

        Raises:
            SpkgError: What the consumer raised.
        """
        wanted = consumer.range
        try:
            consumer.finish()
        except UntrustedError:
            if not (self._rewind() or self._may_repeat(wanted)):
                raise
        else:
            self._active.remove(consumer)

    def _rewind(self) -> bool:
        """Start over with all that are being fed; return whether one had earlier bytes from elsewhere."""
        suspect = [consumer.rewind() for consumer in self._active]
        before = self._position
        self._position = min(before, *[consumer.range.start for consumer in self._active])
        self._end = self._position
        self._waiting = deque(sorted([*self._active, *self._waiting], key=_order))
        self._active.clear()
        self._payload.skip_to(self._position)
        self._tell(self._position - before)
        return any(suspect)

    def _may_repeat(self, wanted: Range) -> bool:
        return isinstance(self._payload, ArrivingPayload) and self._payload.may_repeat(wanted)

    def _tell(self, octets: int) -> None:
        if self._progress is not None:
            self._progress(octets)


def _order(consumer: Consumer) -> tuple[int, int]:
    return consumer.range
