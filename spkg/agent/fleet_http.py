"""The HTTP of one session of a simulated device: posts in, octets of envelopes out (TR-069 3.3, 3.4).

It does as the agent's own client does: one TCP connection a session, cookies and the digest nonce of the
session alone, redirects followed, never from https to http.
"""

import ssl
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urldefrag, urljoin

from spkg.agent.acs_login import AcsLogin
from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.contact_words import shown_of_acs
from spkg.agent.fleet_wire import FleetNetwork, HttpWire, ResponseHead
from spkg.cwmp.envelopes import MAX_ENVELOPE
from spkg.download.answer_words import asked_delay, is_page
from spkg.download.url import Location
from spkg.errors import UsageError

__all__ = ["FleetConnection", "redirect_target"]

FLEET_REDIRECTS: Final = 5
"""The most redirects on the way to an answer."""
FLEET_LOGINS: Final = 2
"""How often a challenge is answered: again only where the nonce was too old."""
REDIRECTED: Final = frozenset({301, 302, 307, 308})
FLEET_COOKIES: Final = 64
FLEET_COOKIE: Final = 4096
"""The most cookies of a session, and the longest, in characters."""
SUCCESS: Final = 200
NO_ENVELOPE: Final = 204
UNAUTHORIZED: Final = 401
SERVER_ERROR: Final = 500


class FleetConnection:
    """The HTTP of one session.

    Args:
        home: The ACS.
        login: What shows it who posts.
        network: The addresses of servers, and all connections.
        context: The settings for TLS.
        timeout: How long connecting and each response may take, in seconds.
        clock: Gives seconds of a clock that does not jump.
    """

    def __init__(
        self,
        home: Location,
        login: AcsLogin,
        *,
        network: FleetNetwork,
        context: ssl.SSLContext | None,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._home = self._where = home
        self._login = login
        self._network = network
        self._context = context
        self._timeout = timeout
        self._clock = clock
        self.connections = 0
        """How many TCP connections were made."""
        self.connecting = 0.0
        """How long that took, TLS included, in seconds."""
        self._cookies: dict[str, str] = {}
        self._wire: HttpWire | None = None
        self._begin()

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()

    async def post(self, envelopes: Sequence[bytes]) -> bytes:
        """Post envelopes, or nothing, and return what is answered.

        Raises:
            ContactError: The ACS was not reached, or did not answer as one.
        """
        octets = b"".join(envelopes)
        for _ in range(FLEET_REDIRECTS + 1):
            head, body = await self._ask(octets)
            if head.status not in REDIRECTED:
                return self._accepted(head, body)
            self._move(head)
        raise ContactError(f"{self._home}: more than {FLEET_REDIRECTS} redirects", kind=ContactKind.REDIRECT)

    async def _ask(self, octets: bytes) -> tuple[ResponseHead, bytes]:
        """Post once, and log in where the ACS wants that."""
        head, body = await self._send(octets)
        for attempt in range(FLEET_LOGINS):
            if head.status != UNAUTHORIZED:
                break
            self._login.answer(self._where, head.all("www-authenticate"), again=attempt > 0)
            head, body = await self._send(octets)
        if head.status == UNAUTHORIZED:
            problem = f"{self._where}: login failed: the server calls each new nonce stale"
            raise ContactError(problem, kind=ContactKind.LOGIN, status=UNAUTHORIZED)
        if told := head.get("authentication-info"):
            self._login.take_next_nonce(told)
        return head, body

    async def _send(self, octets: bytes) -> tuple[ResponseHead, bytes]:
        """Send a request; once more on a new connection if the server had closed the old one."""
        wire = self._wire
        if wire is not None and wire.is_open:
            try:
                head, body = await wire.exchange(self._request(octets), MAX_ENVELOPE)
            except ContactError as exc:
                if exc.kind is not ContactKind.CONNECT or wire.heard:
                    raise
            else:
                self._take_cookies(head)
                return head, body
        wire = self._wire = HttpWire(self._where, self._context_for(self._where), self._timeout, self._clock)
        began = self._clock()
        await wire.open(self._network)
        self.connecting += self._clock() - began
        self.connections += 1
        head, body = await wire.exchange(self._request(octets), MAX_ENVELOPE)
        self._take_cookies(head)
        return head, body

    def _context_for(self, where: Location) -> ssl.SSLContext | None:
        return self._context if where.scheme == "https" else None

    def _begin(self) -> None:
        """Prepare what all requests to the server begin with."""
        where = self._where
        self._lines = (
            f"POST {where.target} HTTP/1.1\r\nHost: {where.authority}\r\nUser-Agent: spkg-fleet\r\n"
            "Accept: text/xml\r\nAccept-Encoding: identity\r\n"
        )

    def _request(self, octets: bytes) -> bytes:
        lines = self._lines
        if octets:
            lines += 'Content-Type: text/xml; charset="utf-8"\r\nSOAPAction: ""\r\n'
        if self._cookies:
            lines += f"Cookie: {'; '.join(f'{name}={value}' for name, value in self._cookies.items())}\r\n"
        for name, value in self._login.header(self._where, self._where.target).items():
            lines += f"{name}: {value}\r\n"
        return f"{lines}Content-Length: {len(octets)}\r\n\r\n".encode("latin-1") + octets

    def _take_cookies(self, head: ResponseHead) -> None:
        """Keep cookies for this session, whatever their path: all posts of a session go to one URL."""
        for name, value in head.headers:
            if name not in {"set-cookie", "set-cookie2"}:
                continue
            key, equals, rest = value.partition(";")[0].partition("=")
            key = key.strip()
            if not equals or not key or len(value) > FLEET_COOKIE:
                continue
            self._cookies.pop(key, None)
            if rest.strip() and "max-age=0" not in value.lower().replace(" ", ""):
                self._cookies[key] = rest.strip()
            if len(self._cookies) > FLEET_COOKIES:
                problem = f"{self._where}: the server set more than {FLEET_COOKIES} cookies"
                raise ContactError(problem, kind=ContactKind.PROTOCOL)

    def _move(self, head: ResponseHead) -> None:
        """Go where a redirect leads, for the rest of the session."""
        before = self._where
        self._where = redirect_target(before, head)
        if self._where.origin != before.origin:
            self.close()
            self._cookies.clear()
        self._begin()

    def _accepted(self, head: ResponseHead, body: bytes) -> bytes:
        """Return the envelopes of a response."""
        if head.status == NO_ENVELOPE:
            return b""
        fault = head.status == SERVER_ERROR and b"Envelope" in body
        if head.status != SUCCESS and not fault:
            said = "" if is_page(body[:1024]) else shown_of_acs(body[:200].decode("utf-8", "replace").strip())
            problem = f"{self._where}: expected HTTP status 200 or 204, got {head.status} {said}".rstrip()
            delay = asked_delay({"Retry-After": head.get("retry-after"), "Date": head.get("date")})
            raise ContactError(problem, kind=ContactKind.HTTP, status=head.status, retry_after=delay)
        encoding = head.get("content-encoding").lower()
        if encoding not in {"", "identity"}:
            problem = f"{self._where}: expected a body without encoding, got {shown_of_acs(encoding)}"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)
        if is_page(body[:1024]):
            raise ContactError(f"{self._where}: expected SOAP, got a web page", kind=ContactKind.HTTP)
        return body


def redirect_target(where: Location, head: ResponseHead) -> Location:
    """Return where a redirect leads.

    Raises:
        ContactError: It must not be followed.
    """

    def refused(problem: str) -> ContactError:
        return ContactError(f"{where}: {problem}", kind=ContactKind.REDIRECT, status=head.status)

    stated = head.get("location")
    try:
        moved = Location.parse(urldefrag(urljoin(where.url, stated))[0])
    except (UsageError, ValueError) as exc:
        raise refused("invalid redirect") from exc
    if not stated or moved.scheme not in {"http", "https"}:
        raise refused("invalid redirect")
    if where.scheme == "https" and moved.scheme != "https":
        raise refused("a redirect from https to http is not allowed")
    return moved
