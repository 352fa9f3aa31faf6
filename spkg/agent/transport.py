"""Connections to an ACS that are bounded in time and in bytes, whatever the server does.

A timeout of a socket starts again with each byte.  Here each post has an end, whatever it takes: names,
connections, TLS, logins, redirects, responses; and each response a number of bytes.  What waits looks every
second whether the agent is to end.
"""

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from spkg.agent.contact import ContactKind
from spkg.agent.look_up import LookUp, numeric_addresses
from spkg.download.url import Location

__all__ = [
    "MOST_OCTETS",
    "AcsLine",
    "Allowance",
    "EarlyEndError",
    "ProxyRefusalError",
    "SilenceError",
    "TooLongError",
    "UnfinishedError",
]

MOST_OCTETS: Final = 4 << 20
"""The longest body of a response, in bytes."""
MOST_ON_THE_WIRE: Final = 2 * MOST_OCTETS
"""The most bytes that a response may take with its headers and what marks its chunks."""
MOST_OF_HEAD: Final = 64 << 10
"""The most bytes that may come before the headers are complete."""
WHOLE_POST: Final = 4
"""How many times the timeout a whole post may take."""
LOOK: Final = 1.0
"""How often what waits looks whether the agent is to end, in seconds."""
SLOWEST: Final = 4 << 10
"""How many bytes a second a server has to take from us at least."""
CONNECT_TIME: Final = 30
"""How long making one connection may take, in seconds."""
MOST_OF_STATUS: Final = 80
"""How many bytes of a proxy's answer are shown."""
MOST_ADDRESSES: Final = 8
"""How many addresses of a host are tried."""
SENT_AT_ONCE: Final = 64 << 10
"""How many bytes are handed to the system at once."""


class TooLongError(OSError):
    """A response took more bytes than it may."""


class ProxyRefusalError(OSError):
    """A proxy does not connect to a server; the message says what it did."""


class EarlyEndError(OSError):
    """A response ended before its headers did."""


class SilenceError(OSError):
    """A response was not complete in time."""


class UnfinishedError(OSError):
    """A response was not complete when the agent had to end."""


_Got = TypeVar("_Got")


class Allowance:
    """What a post may still take.

    Args:
        clock: Gives seconds of a clock that does not jump.
        timeout: After how many seconds without a byte a server is given up.
        ending: Whether the agent can wait no longer.
    """

    def __init__(
        self, clock: Callable[[], float], timeout: float, ending: Callable[[], bool] = lambda: False
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._ending = ending
        self.ended = False
        """Whether the other side has closed the connection."""
        self.begin_post()
        self.begin(0)

    def begin_post(self) -> None:
        """Begin a post: all that it takes has one end."""
        self._ends = self._clock() + self._timeout * WHOLE_POST

    def begin(self, octets: int) -> None:
        """Begin an exchange of the post, a request of so many bytes and its response."""
        self._ends += octets / SLOWEST
        self._left = MOST_OF_HEAD
        self._in_head, self.ended = True, False

    def again(self) -> None:
        """Count the bytes of a response from here on: what came was a proxy's."""
        self._left = MOST_OF_HEAD

    def read_body(self) -> None:
        """Allow the body: the headers are complete."""
        self._left = MOST_ON_THE_WIRE
        self._in_head = False

    @property
    def nothing(self) -> bool:
        """Whether nothing of a response has come."""
        return self._in_head and self._left == MOST_OF_HEAD

    def wait(self, attempt: Callable[[float], _Got], patience: float | None = None) -> _Got:
        """Try what may take time, as long as there is some, and return what it returns.

        Args:
            attempt: Is given for how many seconds to try, and raises TimeoutError where that is not enough.
            patience: How long to go on; by default as long as a server may be silent.

        Raises:
            SilenceError: The time is over.
            UnfinishedError: The agent ends.
        """
        until = min(self._ends, self._clock() + (self._timeout if patience is None else patience))
        while (left := until - self._clock()) > 0:
            if self._ending():
                raise UnfinishedError
            try:
                return attempt(min(left, LOOK))
            except TimeoutError:
                continue
        raise SilenceError

    def take(self, octets: int) -> None:
        """Count what came; nothing is the end.

        Raises:
            TooLongError: It is too much.
            EarlyEndError: It ends within the headers, which http.client would take for all of them.
        """
        self.ended = not octets
        if self.ended and self._in_head and not self.nothing:
            raise EarlyEndError
        self._left -= octets
        if self._left < 0:
            raise TooLongError


class _Bounded(socket.socket):
    """What both kinds of sockets do before each system call."""

    allowance: Allowance

    def recv_into(self, *arguments: Any) -> int:
        """Receive within what is allowed."""
        receive = super().recv_into

        def attempt(seconds: float) -> int:
            self.settimeout(seconds)
            return receive(*arguments)

        count = self.allowance.wait(attempt)
        self.allowance.take(count)
        return count

    def sendall(self, octets: Any, flags: int = 0, /) -> None:
        """Send within the time that is allowed, a piece at a time."""
        with memoryview(octets) as view, view.cast("B") as rest:
            sent = 0

            def attempt(seconds: float) -> int:
                self.settimeout(seconds)
                return self.send(rest[sent : sent + SENT_AT_ONCE], flags)

            while sent < len(rest):
                sent += self.allowance.wait(attempt)


class _PlainSocket(_Bounded):
    """A socket of TCP."""


class _TlsSocket(_Bounded, ssl.SSLSocket):
    """A socket of TLS."""


class AcsLine:
    """How connections to servers are made, and what they may take.

    Args:
        allowance: What an exchange may take.
        timeout: After how many seconds without a byte a server is given up.
        proxy: The HTTP proxy, if there is one.
    """

    def __init__(self, allowance: Allowance, timeout: float, proxy: Location | None = None) -> None:
        self.allowance = allowance
        self._proxy = proxy
        self._connect = min(timeout, CONNECT_TIME)
        self.local: tuple[str, int] | None = None
        """Where the last connection came from: address and port."""
        self.made = 0
        """How many connections were made."""
        self.tls: str | None = None
        """The version of TLS of the last connection."""
        self.stage = ContactKind.NAME
        """What the last connection has come to: its name, the connection itself, TLS, or HTTP."""

    def open(self, location: Location, context: ssl.SSLContext | None) -> socket.socket:
        """Connect to a server; with settings for TLS, speak that.

        Raises:
            socket.gaierror: The host name can't be resolved.
            OSError: No address answers, or TLS failed.
        """
        self.stage, self.tls = ContactKind.NAME, None
        first = self._proxy or location
        found = self._addresses(first)
        self.stage = ContactKind.CONNECT
        problem: OSError | None = None
        for family, kind, protocol, _, address in found:
            plain = _PlainSocket(family, kind, protocol)
            plain.allowance = self.allowance
            try:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connect_to(plain, address)
            except UnfinishedError:
                plain.close()
                raise
            except OSError as exc:
                plain.close()
                problem = problem or exc
                continue
            self.local = plain.getsockname()[:2]
            self.made += 1
            ready = plain if context is None else self._wrapped(plain, location, context)
            self.stage = ContactKind.HTTP
            return ready
        raise problem or OSError("the host has no address")

    def _addresses(self, location: Location) -> Sequence[Any]:
        """Return where a server is; a resolver that does not answer is not waited for beyond the post."""
        known = numeric_addresses(location.host, location.port, socket.SOCK_STREAM)
        if known is not None:
            return known
        looking = LookUp(location.host, location.port, socket.SOCK_STREAM)

        def attempt(seconds: float) -> None:
            if not looking.is_over(seconds):
                raise TimeoutError

        self.allowance.wait(attempt)
        return looking.addresses()[:MOST_ADDRESSES]

    def _connect_to(self, plain: socket.socket, address: Any) -> None:
        """Make a connection of TCP.

        Raises:
            OSError: It is refused, or not made in time.
        """
        plain.setblocking(False)  # noqa: FBT003 - it has no name
        problem = plain.connect_ex(address)
        if problem == errno.EINPROGRESS:
            ready = select.poll()
            ready.register(plain, select.POLLOUT)

            def attempt(seconds: float) -> None:
                if not ready.poll(seconds * 1000):
                    raise TimeoutError

            self.allowance.wait(attempt, self._connect)
            problem = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, os.strerror(problem))

    def _tunnel(self, plain: _PlainSocket, location: Location) -> None:
        """Have the proxy connect to a server (RFC 9110, 9.3.6).

        Raises:
            ProxyRefusalError: It does not.
            OSError: It does not answer.
        """
        host = f"[{location.host}]" if ":" in location.host else location.host
        where = f"{host}:{location.port}"
        plain.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        head, octet = bytearray(), bytearray(1)
        while not head.endswith(b"\r\n\r\n"):
            if not plain.recv_into(octet):  # one by one: what follows is the server's
                raise ProxyRefusalError("closed the connection")
            head += octet
        status = bytes(head[:MOST_OF_STATUS]).partition(b"\r\n")[0].decode("latin-1").partition(" ")[2]
        if not status.startswith("2"):
            raise ProxyRefusalError(f"answered {status}")

    def _wrapped(self, plain: _PlainSocket, location: Location, context: ssl.SSLContext) -> socket.socket:
        """Speak TLS on a connection."""
        self.stage = ContactKind.TLS
        context.sslsocket_class = _TlsSocket
        host = location.host.partition("%")[0].rstrip(".")
        try:
            if self._proxy is not None:
                self._tunnel(plain, location)
                self.allowance.again()
            wrapped = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        except (OSError, ValueError):
            plain.close()
            raise
        assert isinstance(wrapped, _TlsSocket)
        wrapped.allowance = self.allowance

        def attempt(seconds: float) -> None:
            wrapped.settimeout(seconds)
            wrapped.do_handshake()

        try:
            self.allowance.wait(attempt)
        except (OSError, ValueError):
            wrapped.close()
            raise
        self.tls = wrapped.version()
        return wrapped
