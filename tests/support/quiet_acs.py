"""An ACS that says little, for long runs: it keeps nothing of what comes.

It takes the Inform, calls what it was told to, one method a response, and ends the session.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tests.support.acs import inform_response, response

__all__ = ["QuietAcs", "quiet_acs"]

NOTHING: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
FAILED: Final = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
PATIENCE: Final = 20


def _with(body: bytes) -> bytes:
    head = b'HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset="utf-8"\r\nContent-Length: %d\r\n\r\n'
    return head % len(body) + body


INFORMED: Final = _with(inform_response())
TOLD: Final = _with(response("TransferComplete"))


class _Connection(asyncio.Protocol):
    """A session."""

    def __init__(self, server: "QuietAcs") -> None:
        self._server = server
        self._buffer = b""
        self._calls: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.open += 1

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.open -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            size = int(lines.get(b"content-length", b"0"))
            if len(rest) < size:
                return
            self._buffer = rest[size:]
            self._transport.write(self._answer(rest[:size]))

    def _answer(self, body: bytes) -> bytes:
        if b":Inform>" in body or b":Inform " in body:
            self._server.sessions += 1
            calls = self._server.calls(self._server.sessions)
            if calls is None:
                return FAILED
            self._calls = [*calls]
            return INFORMED
        if b":TransferComplete>" in body:
            return TOLD
        return _with(self._calls.pop(0)) if self._calls else NOTHING


class QuietAcs:
    """The server.

    Args:
        calls: What a session is asked, by its number counted from 1; None if it is to fail.
    """

    def __init__(self, calls: Callable[[int], Sequence[bytes] | None]) -> None:
        self.calls = calls
        self.sessions = 0
        self.open = 0
        """How many connections are open."""
        self.port = 0
        self._loop = asyncio.new_event_loop()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}/cwmp"

    async def _start(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def run(self, ready: Callable[[], object]) -> None:
        """Serve until the loop is stopped."""
        self._loop.run_until_complete(self._start())
        self._loop.call_soon(ready)
        try:
            self._loop.run_forever()
        finally:
            self._server.close()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    def stop(self) -> None:
        """Have it end; from another thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextmanager
def quiet_acs(calls: Callable[[int], Sequence[bytes] | None] = lambda _number: ()) -> Iterator[QuietAcs]:
    """Serve in a thread of this process."""
    server, ready = QuietAcs(calls), threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE)
