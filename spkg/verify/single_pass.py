"""One pass over a payload: each octet is read once, and goes to everything that wants it."""

from collections import deque
from collections.abc import Callable, Iterable

from spkg.errors import UntrustedError
from spkg.format.ranges import Range
from spkg.verify.payload import CHUNK, Payload, StartedOverError

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
