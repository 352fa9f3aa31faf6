"""What arrives on a connection, read as it is needed; it is bounded in memory and in time.

It does what asyncio's streams do, for half of their time: the load that one process can make depends on it.
"""

import asyncio
from collections.abc import Callable

__all__ = ["FleetArrival"]

MOST_WAITING = 256 << 10
"""How many bytes may wait to be read before the connection is stopped."""


class FleetArrival(asyncio.Protocol):
    """The receiving end of a connection.

    Args:
        loop: The loop that it is used in.
        clock: Gives seconds of a clock that does not jump.
        timeout: How long a response may take, in seconds.
        connected: Has it for as long as there is a connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        timeout: float,
        connected: "set[FleetArrival]",
    ) -> None:
        self._connected = connected
        self._loop = loop
        self._clock = clock
        self._timeout = timeout
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting = bytearray()
        self._ended = False
        self._problem: BaseException | None = None
        self._paused = False
        self._woken: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)  # TCP, with TLS or without
        self._transport = transport
        self._connected.add(self)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._waiting += data
        if len(self._waiting) > MOST_WAITING and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> None:
        """Take the end; the connection is closed then."""
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end, and why."""
        self._connected.discard(self)
        self._ended = True
        self._problem = self._problem or exc
        self._stop_timer()
        self._wake()

    @property
    def is_open(self) -> bool:
        """Whether the other side has not closed the connection, as far as is known."""
        return not self._ended and self._transport is not None and not self._transport.is_closing()

    @property
    def heard(self) -> bool:
        """Whether anything waits to be read."""
        return bool(self._waiting)

    def send(self, octets: bytes) -> None:
        """Send a request; its response has to be complete in time."""
        self.give_time()
        if self._transport is None:
            raise ConnectionResetError
        self._transport.write(octets)

    def give_time(self) -> None:
        """Begin the time for what comes next anew."""
        self._deadline = self._clock() + self._timeout
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._check_time)

    def close(self) -> None:
        """Close the connection."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection without waiting for what was not sent."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    async def until(self, mark: bytes, most: int) -> bytes:
        """Return what comes up to a mark, and the mark.

        Raises:
            OSError: The connection broke, or the time is over.
            EOFError: It ended before.
            OverflowError: It is longer than *most* bytes.
        """
        searched = 0
        while (found := self._waiting.find(mark, searched)) < 0:
            searched = max(0, len(self._waiting) - len(mark) + 1)
            if searched > most:
                raise OverflowError
            await self._more()
        return self._take(found + len(mark))

    async def exactly(self, length: int) -> bytes:
        """Return so many bytes; otherwise like :meth:`until`."""
        while len(self._waiting) < length:
            if self._paused:
                self._resume()
            await self._more()
        return self._take(length)

    async def some(self, most: int) -> bytes:
        """Return what has come, at most so many bytes; none at the end."""
        while not self._waiting:
            if self._ended and self._problem is None:
                return b""
            await self._more()
        return self._take(most)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._waiting[:length])
        del self._waiting[:length]
        if self._paused and len(self._waiting) < MOST_WAITING:
            self._resume()
        return taken

    def _resume(self) -> None:
        if self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    async def _more(self) -> None:
        """Wait until something has come."""
        if self._ended:
            raise self._problem or EOFError()
        self._woken = self._loop.create_future()
        try:
            await self._woken
        finally:
            self._woken = None

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _check_time(self) -> None:
        """End the connection if a response is not complete in time."""
        remaining = self._deadline - self._clock()
        if remaining > 0:
            self._timer = self._loop.call_later(remaining, self._check_time)
            return
        self._timer = None
        self._problem = TimeoutError()
        self._ended = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
