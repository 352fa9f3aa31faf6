"""One pass over a payload: each octet is read once, and goes to everything that wants it."""

from collections import deque
from collections.abc import Callable, Iterable

from spkg.errors import UntrustedError
from spkg.format.ranges import Range
from spkg.verify.payload import CHUNK, ArrivingPayload, Payload, StartedOverError

__all__ = ["Consumer", "Progress", "distribute"]

Progress = Callable[[int], object]
"""Is told how many more octets are done; fewer than none where some have to be read again."""


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

    A package on its way may have to be read again in part: consumers that are not finished begin anew.

    Args:
        payload: From the beginning; one on its way is expected already.
        consumers: Who wants octets of it.
        progress: Is told the octets done.
        to_end: Whether to make sure that it ends where the header says.

    Raises:
        FormatError: The payload is shorter or longer than the header states.
        SpkgError: What a consumer raised at the end of its range.
    """
    _Pass(payload, consumers, progress).run()
    if to_end:
        payload.finish()


class _Pass:
    """One pass: who waits, who is being fed, and which octets of the payload are in the buffer."""

    def __init__(self, payload: Payload, consumers: Iterable[Consumer], progress: Progress | None) -> None:
        self._payload = payload
        self._progress = progress
        self._waiting = deque(sorted(consumers, key=_order))
        self._active: list[Consumer] = []
        self._buffer = memoryview(bytearray(CHUNK))
        self._start = 0
        """The first octet in the buffer."""
        self._end = 0
        """The octet behind the last one in the buffer, which is read next."""
        self._position = 0
        """The octet that is fed next."""

    def run(self) -> None:
        """Read as long as anyone wants octets.

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
        """Begin with the consumers whose range begins here; one that wants no octets is finished at once."""
        while self._waiting and self._waiting[0].range.start <= self._position:
            consumer = self._waiting.popleft()
            self._active.append(consumer)
            consumer.begin()
            if not consumer.range.length:
                self._finish(consumer)

    def _skip(self) -> None:
        """Leave out the octets up to where the next consumer begins."""
        self._position = self._following
        if self._position >= self._end and self._waiting:
            self._payload.skip_to(self._position)
            self._end = self._position

    def _read(self) -> bool:
        """Read more octets, all that are in the buffer being fed; return whether there are any now."""
        self._start = self._position
        try:
            self._end += self._payload.read_into(self._buffer[: self._payload.length - self._start])
        except StartedOverError:
            self._rewind()
            return False
        return True

    def _feed(self) -> None:
        """Feed the octets up to where a consumer begins or ends, and finish those that end there."""
        last = min(self._end, self._following, *[consumer.range.end for consumer in self._active])
        octets = self._buffer[self._position - self._start : last - self._start]
        for consumer in self._active:
            consumer.feed(octets)
        self._position = last
        self._tell(len(octets))
        for consumer in [consumer for consumer in self._active if consumer.range.end == last]:
            if consumer in self._active:  # or it has to begin anew with one that failed
                self._finish(consumer)

    def _finish(self, consumer: Consumer) -> None:
        """Finish a consumer, or have its octets read again where they may be others then.

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
        """Begin anew with all that are being fed; return whether one had octets from elsewhere before."""
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
