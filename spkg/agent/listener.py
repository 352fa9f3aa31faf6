"""Connection requests (TR-069 3.2.2): one GET on one secret path, and nothing else.

The listener lives in the loop.  It gives nothing away: what does not know the path sees 404, or a closed
connection.  It answers before the session begins, since an ACS may wait for the answer with its session.
"""

import asyncio
import contextlib
import errno
import math
import socket
from collections.abc import Callable, Sequence
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import h11

from spkg.agent.request_login import Credentials, RateLimit, RequestLogin, path_of
from spkg.agent.settings import ListenerSettings
from spkg.common.printable import printable
from spkg.download.http_login import HEADER_ENCODING
from spkg.errors import HostError, os_problem

__all__ = ["Listener"]

MOST_OF_REQUEST: Final = 2 << 10
"""The longest head of a request, and the longest body that is read and ignored, in bytes."""
HEAD_TIME: Final = 5
"""How long a request may take to arrive, in seconds; and what is answered, to leave."""
MOST_CONNECTIONS: Final = 16
"""How many connections are open at once; one more closes the oldest."""
MOST_REQUESTS: Final = 4
"""How many requests may come on one connection."""
MOST_CHALLENGES: Final = 60
"""How many challenges a source is given in a minute."""
MOST_FAILURES: Final = 10
"""How many logins of a source may fail in a minute."""
MOST_NOTES: Final = 20
"""How many refusals are noted in a minute."""
PORT_IN_USE: Final = "set listen in [connection-requests] to a port that nobody else listens on"
ALL_ADDRESSES: Final = "::"

ListenerNote = Callable[[str], None]
"""Takes a line for the log."""


class Listener:
    """Listens for connection requests.

    Args:
        settings: Where it listens, and whom it hears.
        path: The secret path, with its slash.
        credentials: Who is let in.
        accepted: Is called for each request that was let in, once it has been answered.
        note: Takes what is to be logged.
        clock: Gives seconds of a clock that does not jump.
        token: Gives a text that nobody can guess.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        path: str,
        credentials: Credentials,
        accepted: Callable[[], None],
        note: ListenerNote,
        clock: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._path = path.encode()
        self._accepted = accepted
        self._note = note
        self._login = RequestLogin(credentials, clock, token)
        self._let_in = RateLimit(settings.per_minute, clock)
        self._challenges = RateLimit(MOST_CHALLENGES, clock)
        self._failures = RateLimit(MOST_FAILURES, clock)
        self._notes = RateLimit(MOST_NOTES, clock)
        self._servers: list[asyncio.Server] = []
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        """The connections, the oldest first."""

    @property
    def port(self) -> int | None:
        """The port that it listens on; None where it does not listen."""
        return self._servers[0].sockets[0].getsockname()[1] if self._servers else None

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Begin to listen: on sockets that somebody else has made, or as configured.

        Raises:
            HostError: It can't.
        """
        address, port = self._settings.address, self._settings.port
        if not sockets and address is None:
            return
        try:
            own = sockets or [_listening(address or "", port)]
            for one in own:
                self._servers.append(
                    await asyncio.start_server(self._connected, sock=one, limit=MOST_OF_REQUEST + 1)
                )
        except OSError as exc:
            await self.close()
            shown = f"[{address}]" if address and ":" in address else address
            problem = os_problem(exc).partition(" (while ")[0]
            hint = PORT_IN_USE if exc.errno == errno.EADDRINUSE else None
            raise HostError(f"connection requests on {shown}:{port}: {problem}", hint=hint) from exc

    async def close(self) -> None:
        """Listen no more, and close all connections."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = _source(writer)
        networks = self._settings.sources
        if source is None or (networks and not any(source in one for one in networks)):
            self._say(f"closed a connection from {source}: not from a network in 'from'")
            writer.transport.abort()
            return
        while len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest).transport.abort()
            oldest.cancel()
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            await self._serve(reader, writer, source)
        except (OSError, TimeoutError, h11.ProtocolError, asyncio.CancelledError):
            pass  # it went, was too slow, does not speak HTTP any more, or was closed in favour of another
        finally:
            self._open.pop(task, None)
            with contextlib.suppress(OSError):
                writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: IPv4Address | IPv6Address
    ) -> None:
        """Answer the requests of one connection."""
        writer.transport.set_write_buffer_limits(0)  # so that what is drained has left
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_OF_REQUEST)
        for _ in range(MOST_REQUESTS):
            try:
                async with asyncio.timeout(HEAD_TIME):
                    request = await _next_request(http, reader)
            except h11.RemoteProtocolError as exc:
                await _answer(http, writer, exc.error_status_hint)
                return
            if request is None:
                return
            status, headers, let_in = self._judge(request, source)
            await _answer(http, writer, status, headers, close=status != 401)
            if let_in:
                self._accepted()
            if http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return
            http.start_next_cycle()

    def _judge(
        self, request: h11.Request, source: IPv4Address | IPv6Address
    ) -> tuple[int, dict[str, str], bool]:
        """Return status and headers of the answer to a request, and whether it is let in."""
        target = request.target.decode(HEADER_ENCODING)
        if not compare_digest(path_of(target).encode(HEADER_ENCODING), self._path):
            return 404, {}, False
        if request.method != b"GET":
            return 405, {"Allow": "GET"}, False
        whence = _group(source)
        said = [value for name, value in request.headers if name == b"authorization"]
        answer = b", ".join(said).decode(HEADER_ENCODING) if said else None
        verdict = self._login.judge(answer, "GET", target)
        if verdict.let_in:
            if self._let_in.take():
                return 200, {}, True
            wait = math.ceil(self._let_in.wait())
            self._say(f"refused a connection request from {source}: more than per-minute allows")
            return 503, {"Retry-After": str(wait)}, False
        if verdict.reason:
            self._say(f"refused a connection request from {source}: {printable(verdict.reason)[:200]}")
        failed = verdict.reason and not verdict.stale
        if (failed and not self._failures.take(whence)) or not self._challenges.take(whence):
            self._say(f"gives {source} no more challenges for a minute: too many logins failed")
            return 503, {"Retry-After": "60"}, False
        return 401, {"WWW-Authenticate": self._login.challenge(stale=verdict.stale)}, False

    def _say(self, text: str) -> None:
        if self._notes.take():
            self._note(text)


async def _next_request(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Return the next request of a connection, without what it may carry; None at its end.

    Raises:
        h11.RemoteProtocolError: What came is not a request, or one that is too long.
    """
    request: h11.Request | None = None
    left = MOST_OF_REQUEST
    while True:
        event = http.next_event()
        match event:
            case h11.NEED_DATA:
                if left <= 0 and request is not None:
                    return request  # what it carries is not read to its end
                if left <= 0:
                    raise h11.RemoteProtocolError("too long", 431)
                octets = await reader.read(left)
                left -= len(octets)
                http.receive_data(octets)
            case h11.Request():
                request, left = event, MOST_OF_REQUEST
            case h11.EndOfMessage():
                return request
            case h11.Data():
                pass  # "any data that might be contained should be ignored" (3.2.2)
            case _:
                return None


async def _answer(
    http: h11.Connection,
    writer: asyncio.StreamWriter,
    status: int,
    headers: dict[str, str] | None = None,
    *,
    close: bool = True,
) -> None:
    """Send a response without a body, and wait until it has left."""
    if http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
        return
    all_headers = {**(headers or {}), "Content-Length": "0"} | ({"Connection": "close"} if close else {})
    octets = http.send(h11.Response(status_code=status, headers=list(all_headers.items()), reason=b""))
    octets = (octets or b"") + (http.send(h11.EndOfMessage()) or b"")
    writer.write(octets)
    async with asyncio.timeout(HEAD_TIME):
        await writer.drain()


def _listening(address: str, port: int) -> socket.socket:
    """Return a socket that listens; one for all addresses of IPv6 hears IPv4, too.

    Raises:
        OSError: The system gives none.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if address == ALL_ADDRESSES and socket.has_dualstack_ipv6():
        return socket.create_server(
            (address, port), family=family, backlog=MOST_CONNECTIONS, dualstack_ipv6=True
        )
    return socket.create_server((address, port), family=family, backlog=MOST_CONNECTIONS)


def _source(writer: asyncio.StreamWriter) -> IPv4Address | IPv6Address | None:
    """Return where a connection comes from."""
    peer = writer.get_extra_info("peername")
    if not peer:
        return None  # it has gone already
    address = ip_address(str(peer[0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _group(source: IPv4Address | IPv6Address) -> str:
    """Return what a limit counts as one source: an address; of IPv6 a network, where one host has many."""
    if isinstance(source, IPv6Address):
        return str(ip_network((source, 64), strict=False))
    return str(source)
