"""HTTP/1.1 on asyncio, as little as simulated devices need: one request, one response, in turn.

Everything that a server sends is bounded: the headers, the body, and the time for both.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.contact_words import shown_of_acs
from spkg.agent.fleet_arrival import FleetArrival
from spkg.download.tls import tls_refusal, tls_words
from spkg.download.url import Location

__all__ = ["FleetNetwork", "HttpWire", "ResponseHead"]

MAX_RESPONSE_HEAD: Final = 64 << 10
"""The most bytes of the headers of a response."""
MAX_HEADER_LINES: Final = 100
READ_AT_ONCE: Final = 64 << 10
STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?", re.DOTALL)
CHUNK_LINE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}\s*(?:;.*)?", re.DOTALL)
MAX_HOSTS: Final = 64
"""The most hosts whose addresses are kept."""
MAX_CHUNK_LINE: Final = 4096
BROKEN: Final = (OSError, EOFError, OverflowError)
"""What a connection that ends early, stalls or sends too much raises."""
CLOSING_ROUNDS: Final = 100
"""How many rounds of the loop closing may take; it takes one or two."""
NO_BODY: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The status and the headers of a response."""

    status: int
    headers: Sequence[tuple[str, str]]
    """Names in lower case, in their order."""
    persistent: bool
    """Whether the connection can be used again."""

    def get(self, name: str) -> str:
        """Return the value of a header; "" if it is missing."""
        return next((value for known, value in self.headers if known == name), "")

    def all(self, name: str) -> list[str]:
        """Return the values of all headers of that name."""
        return [value for known, value in self.headers if known == name]


class FleetNetwork:
    """The addresses of servers, and all connections.

    Each name is resolved once, and its addresses are used in turn.
    """

    def __init__(self) -> None:
        self.open: set[FleetArrival] = set()
        """The connections that are open, or are being closed."""
        self._known: dict[tuple[str, int], tuple[Any, ...]] = {}
        self._turn = 0

    async def address(self, location: Location) -> tuple[str, int, int]:
        """Return the next address of a server, its port and its family.

        Raises:
            ContactError: The name can't be resolved.
        """
        key = location.host, location.port
        found = self._known.get(key)
        if found is None:
            loop = asyncio.get_running_loop()
            try:
                listed = await loop.getaddrinfo(*key, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as exc:
                problem = f"{location}: the host name can't be resolved"
                raise ContactError(problem, kind=ContactKind.NAME) from exc
            if len(self._known) >= MAX_HOSTS:
                self._known.clear()
            found = self._known[key] = tuple((one[4][0], one[4][1], one[0]) for one in listed)
        self._turn += 1
        address: tuple[str, int, int] = found[self._turn % len(found)]
        return address

    async def close(self) -> None:
        """Close what is still open, whatever the other side does: TLS waits for it otherwise."""
        for arrival in [*self.open]:
            arrival.abort()
        for _ in range(CLOSING_ROUNDS):
            if not self.open:
                break
            await asyncio.sleep(0)


class HttpWire:
    """One TCP connection to a server.

    Args:
        where: The server.
        context: The settings for TLS; None for http.
        timeout: How long connecting may take, and how long each response, in seconds.
        clock: Gives seconds of a clock that does not jump.
    """

    def __init__(
        self, where: Location, context: ssl.SSLContext | None, timeout: float, clock: Callable[[], float]
    ) -> None:
        self.where = where
        self._context = context
        self._timeout = timeout
        self._clock = clock
        self._arrival: FleetArrival | None = None
        self.exchanges = 0
        """How many responses came."""
        self.heard = False
        """Whether anything of the last response came."""

    async def open(self, network: FleetNetwork) -> None:
        """Connect.

        Raises:
            ContactError: No connection could be made.
        """
        host, port, family = await network.address(self.where)
        name = self.where.host.partition("%")[0].rstrip(".")
        tls: dict[str, Any] = {} if self._context is None else {"ssl": self._context, "server_hostname": name}
        loop = asyncio.get_running_loop()
        arrival = FleetArrival(loop, self._clock, self._timeout, network.open)
        try:
            async with asyncio.timeout(self._timeout):
                await loop.create_connection(lambda: arrival, host, port, family=family, **tls)
        except (OSError, ValueError) as exc:
            raise self._broken(exc, connecting=True) from exc
        self._arrival = arrival

    def close(self) -> None:
        """Close the connection."""
        if self._arrival is not None:
            self._arrival.close()
            self._arrival = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that the server has not closed, as far as is known."""
        return self._arrival is not None and self._arrival.is_open

    async def exchange(self, octets: bytes, most: int) -> tuple[ResponseHead, bytes]:
        """Send a request and return the whole response, with a body of at most *most* bytes.

        Raises:
            ContactError: It does not come in time, is not valid, or is too long.
        """
        try:
            head = await self._send(octets)
            length = self._plain_length(head)
            if length is not None and length <= most:
                body = await self._stream.exactly(length) if length else b""
            else:
                body = b"".join([piece async for piece in self._pieces(head, most)])
        except BROKEN as exc:
            raise self._broken(exc) from exc
        self._done(head)
        return head, body

    async def begin(self, octets: bytes) -> ResponseHead:
        """Send a request and return the headers of the response; its body is to be read next.

        Raises:
            ContactError: It does not come in time, or is not valid.
        """
        try:
            return await self._send(octets)
        except BROKEN as exc:
            raise self._broken(exc) from exc

    async def body(self, head: ResponseHead, most: int) -> AsyncIterator[bytes]:
        """Give the body of the response that was begun, a piece at a time.

        Raises:
            ContactError: It breaks off, stalls, or is too long.
        """
        try:
            async for piece in self._pieces(head, most):
                self._stream.give_time()
                yield piece
        except BROKEN as exc:
            raise self._broken(exc) from exc
        self._done(head)

    @property
    def _stream(self) -> FleetArrival:
        if self._arrival is None:
            raise ConnectionResetError
        return self._arrival

    def _done(self, head: ResponseHead) -> None:
        self.exchanges += 1
        if not head.persistent:
            self.close()

    async def _send(self, octets: bytes) -> ResponseHead:
        """Send a request and read the headers of the final response."""
        stream = self._stream
        self.heard = False
        stream.send(octets)
        for _ in range(MAX_HEADER_LINES):
            try:
                block = await stream.until(b"\r\n\r\n", MAX_RESPONSE_HEAD)
            finally:
                self.heard = self.heard or stream.heard
            self.heard = True
            head = self._head(block)
            if head.status >= 200:
                return head
        raise self._invalid("too many responses of status 1xx")

    def _head(self, block: bytes) -> ResponseHead:
        first, *lines = block[:-4].split(b"\r\n")
        status = STATUS_LINE.fullmatch(first)
        if status is None:
            raise self._invalid(f"expected HTTP/1.1, got {shown_of_acs(first.decode('latin-1'))!r}")
        if len(lines) > MAX_HEADER_LINES:
            raise self._invalid(f"more than {MAX_HEADER_LINES} headers")
        headers: list[tuple[str, str]] = []
        options = ""
        for line in lines:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name or name[-1].isspace() or name[0].isspace():
                raise self._invalid(f"expected a header, got {shown_of_acs(line.decode('latin-1'))!r}")
            name = name.lower()
            headers.append((name, value.strip()))
            if name == "connection":
                options = value.lower()
        persistent = "keep-alive" in options if status[1] == b"0" else "close" not in options
        return ResponseHead(int(status[2]), headers, persistent)

    def _plain_length(self, head: ResponseHead) -> int | None:
        """Return how long a body is if that is stated; None if only its end will tell."""
        if head.status in NO_BODY:
            return 0
        stated = None
        for name, value in head.headers:
            if name == "transfer-encoding":
                return None
            if name == "content-length":
                if not (value.isascii() and value.isdigit() and len(value) < 16) or stated not in {
                    None,
                    value,
                }:
                    raise self._invalid(f"expected a number as Content-Length, got {shown_of_acs(value)!r}")
                stated = value
        return None if stated is None else int(stated)

    async def _pieces(self, head: ResponseHead, most: int) -> AsyncIterator[bytes]:
        """Give the body, however its end is marked."""
        length = self._plain_length(head)
        if length is not None:
            self._check_length(length, most)
            async for piece in self._exactly(length):
                yield piece
            return
        encoding = head.get("transfer-encoding").lower()
        if encoding and encoding != "chunked":
            raise self._invalid(f"expected the Transfer-Encoding chunked, got {shown_of_acs(encoding)!r}")
        total = 0
        if not encoding:
            while piece := await self._stream.some(READ_AT_ONCE):
                total += len(piece)
                self._check_length(total, most)
                yield piece
            self.close()
            return
        while size := await self._chunk_size():
            total += size
            self._check_length(total, most)
            async for piece in self._exactly(size):
                yield piece
            if await self._stream.exactly(2) != b"\r\n":
                raise self._invalid("a chunk without an end")
        for _ in range(MAX_HEADER_LINES):
            if await self._stream.until(b"\r\n", MAX_CHUNK_LINE) == b"\r\n":
                return
        raise self._invalid("too many trailers")

    async def _exactly(self, length: int) -> AsyncIterator[bytes]:
        while length:
            piece = await self._stream.some(min(length, READ_AT_ONCE))
            if not piece:
                raise EOFError
            length -= len(piece)
            yield piece

    async def _chunk_size(self) -> int:
        line = (await self._stream.until(b"\r\n", MAX_CHUNK_LINE))[:-2]
        if CHUNK_LINE.fullmatch(line) is None:
            raise self._invalid("a chunk without a length")
        return int(line.partition(b";")[0], 16)

    def _check_length(self, length: int, most: int) -> None:
        if length > most:
            self.close()
            problem = f"{self.where}: the response is longer than {most} bytes"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)

    def _invalid(self, problem: str) -> ContactError:
        self.close()
        return ContactError(f"{self.where}: not valid HTTP: {problem}", kind=ContactKind.PROTOCOL)

    def _broken(self, exc: BaseException, *, connecting: bool = False) -> ContactError:
        """Return the error for what went wrong with the connection, which is closed."""
        self.close()
        where = self.where
        if isinstance(exc, TimeoutError) and not connecting:
            return ContactError(f"{where}: no complete response in time", kind=ContactKind.TIMEOUT)
        if isinstance(exc, TimeoutError):
            return ContactError(f"{where}: the connection timed out", kind=ContactKind.CONNECT)
        if isinstance(exc, OverflowError):
            problem = f"{where}: the headers are longer than {MAX_RESPONSE_HEAD} bytes"
            return ContactError(problem, kind=ContactKind.PROTOCOL)
        if (refusal := tls_refusal(where, exc)) is not None:
            return ContactError(refusal.problem, kind=ContactKind.TLS)
        if isinstance(exc, ssl.SSLError) and connecting:
            return ContactError(f"{where}: {tls_words(exc)}", kind=ContactKind.TLS)
        if connecting and isinstance(exc, OSError):
            # asyncio puts the address into the words of the system.
            reason = "no connection" if exc.errno is None else os.strerror(exc.errno)
            problem = f"{reason[:1].lower()}{reason[1:]}"
            return ContactError(f"{where}: {problem}", kind=ContactKind.CONNECT)
        told = (
            "the response ended early"
            if self.heard
            else "the server closed the connection without a response"
        )
        return ContactError(f"{where}: {told}", kind=ContactKind.CONNECT)
