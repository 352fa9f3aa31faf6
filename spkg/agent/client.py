"""The HTTP of a session with an ACS (TR-069 3.3, 3.4): posts in, octets of envelopes out.

A :class:`Connection` is one session's: one TCP connection, its cookies, its digest nonce, the URL that a
redirect led to.  All of it ends with the ``with``.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any, Final, Self

import requests

from spkg.agent.acs_login import AcsLogin
from spkg.agent.acs_response import acs_location, drain, proxy_location, read_body, redirected
from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.contact_words import in_words
from spkg.agent.settings import AcsSettings
from spkg.agent.transport import AcsAdapter, AcsLine, Allowance
from spkg.download.tls import TlsContexts
from spkg.download.url import Location, Login
from spkg.errors import HostError

__all__ = ["AcsClient", "AcsConnection"]

ACS_REDIRECTS: Final = 5
"""The most redirects on the way to an answer."""
MOVED_POST: Final = frozenset({301, 302, 307, 308})
ACS_LOGINS: Final = 2
"""How often a challenge is answered: again only where the server says that its nonce was too old."""
MOST_COOKIES: Final = 64
"""The most cookies of a session."""
MOST_OF_COOKIES: Final = 16 << 10
"""How many characters they may have together: each post repeats them."""
POST_HEADERS: Final = {
    "User-Agent": "spkg",
    "Accept": "text/xml, application/xml",
    "Accept-Encoding": "identity",
}
NAME_LASTS: Final = 60.0
"""For how long the address of an ACS is not looked up again to know our own, in seconds."""
NO_NAME_LASTS: Final = 5.0
"""The same where the name could not be looked up."""
SOAP_TYPE: Final = 'text/xml; charset="utf-8"'


class AcsClient:
    """Opens connections to an ACS, one session each.

    Args:
        settings: How it is reached, whatever its URL.
        clock: Gives seconds of a clock that does not jump.
        ignore_dates: Whether there is no clock: chain and host of certificates are checked, dates are not.
    """

    def __init__(
        self, settings: AcsSettings, clock: Callable[[], float], *, ignore_dates: bool = False
    ) -> None:
        self._timeout = settings.timeout
        self._proxy = settings.proxy
        self._clock = clock
        self._known: tuple[Any, float, list[Any]] = (None, 0.0, [])
        """The last name that was looked up, until when that holds, and what was found."""
        self._contexts = TlsContexts(
            Login(
                ca_bundle=settings.ca_bundle,
                no_clock=ignore_dates,
                client_cert=settings.client_certificate,
                client_key=settings.client_key,
            )
        )

    def open(self, url: str, username: str | None = None, password: str = "") -> "AcsConnection":
        """Return the connection of a session; it is made with the first post.

        Raises:
            ContactError: The URL is not one of an ACS.
            HostError: A file of the settings is not valid.
            OSError: It can't be read.
        """
        location = acs_location(url)
        if location.scheme == "https":
            self.load()  # what is wrong with the files is known before the network is used
        allowance = Allowance(self._clock, self._timeout)
        proxy = None if self._proxy is None else proxy_location(self._proxy)
        return AcsConnection(
            location,
            AcsLogin(location, username, password.encode()),
            contexts=self._contexts,
            line=AcsLine(allowance, self._timeout, proxy),
            proxy=self._proxy,
        )

    def load(self) -> None:
        """Read the files of the settings, once.

        Raises:
            HostError: One is not valid.
            OSError: One can't be read.
        """
        try:
            _ = self._contexts.known
        except HostError as exc:
            encrypted = exc.hint is not None  # the one hint that there is names an option of others
            hint = "use a key that is not encrypted" if encrypted else None
            raise HostError(exc.problem, hint=hint) from exc

    def local_address(self, url: str) -> str | None:
        """Return the address that packets to an ACS leave from; None where there is no way to it now.

        Raises:
            ContactError: The URL is not one of an ACS.
        """
        for family, kind, protocol, _, address in self._addresses(acs_location(url)):
            with suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.connect(address)  # of UDP: nothing is sent
                own: str = probe.getsockname()[0]
                return own.partition("%")[0]
        return None

    def _addresses(self, location: Location) -> list[Any]:
        """Return where packets to an ACS go; its name is not looked up each time, which may take long."""
        place = (location.host, location.port)
        known, until, found = self._known
        if known != place or self._clock() >= until:
            found = []
            with suppress(OSError, UnicodeError):
                found = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)
            self._known = (place, self._clock() + (NAME_LASTS if found else NO_NAME_LASTS), found)
        return found


class AcsConnection:
    """The HTTP of one session.

    Args:
        location: The URL of the ACS.
        login: What shows it who posts.
        contexts: The settings for TLS.
        line: How connections are made.
        proxy: The URL of the proxy that the line goes through, if there is one.
    """

    def __init__(
        self,
        location: Location,
        login: AcsLogin,
        *,
        contexts: TlsContexts,
        line: AcsLine,
        proxy: str | None = None,
    ) -> None:
        self._home = location
        self._location = location
        self._login = login
        self._contexts = contexts
        self._line = line
        self._proxies = None if proxy is None else {"http": proxy}
        """Has an adapter ask for the whole URL; for https the line has a tunnel."""
        # Not strict: requests calls every request one that nobody asked for, and of another host.
        policy = DefaultCookiePolicy(rfc2965=True, netscape=True, strict_rfc2965_unverifiable=False)
        self._cookies = requests.cookies.RequestsCookieJar(policy)
        self._adapter: AcsAdapter | None = None
        self._mounted: tuple[str, str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and forget its cookies (3.4.2)."""
        if self._adapter is not None:
            self._adapter.close()
        self._cookies.clear()
        self._login.forget()

    @property
    def url(self) -> str:
        """Where posts go: the URL, or what redirects of this session have made of it."""
        return self._location.url

    @property
    def local_address(self) -> str | None:
        """The address that the last TCP connection was made from."""
        return None if self._line.local is None else self._line.local[0]

    @property
    def tls(self) -> str | None:
        """The version of TLS of the last TCP connection."""
        return self._line.tls

    @property
    def asked(self) -> str | None:
        """The scheme of the login that the ACS asked for: digest or basic."""
        return self._login.asked

    @property
    def connections(self) -> int:
        """How many TCP connections were made."""
        return self._line.made

    def post(self, envelopes: Sequence[bytes]) -> bytes:
        """Post envelopes, or nothing, and return what is answered: envelopes, or nothing.

        Raises:
            ContactError: The ACS was not reached, or did not answer as one.
            HostError: A file of the settings is not valid.
        """
        octets = b"".join(envelopes)
        headers = (
            {"Content-Type": SOAP_TYPE, "SOAPAction": '""' if len(envelopes) == 1 else ""} if octets else {}
        )
        for _ in range(ACS_REDIRECTS + 1):
            response = self._ask(octets, headers)
            if response.status_code not in MOVED_POST:
                return read_body(response, self._location, self._line)
            self._location = redirected(response, self._location)
        raise ContactError(f"{self._home}: more than {ACS_REDIRECTS} redirects", kind=ContactKind.REDIRECT)

    def _ask(self, octets: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Post once, and log in where the ACS wants that, on the same connection.

        Raises:
            ContactError: The ACS was not reached, or refuses the login.
        """
        where = self._location
        response = self._send(octets, headers)
        for attempt in range(ACS_LOGINS):
            if response.status_code != requests.codes.unauthorized:
                break
            drain(response)
            self._login.answer(where, response.raw.headers.getlist("WWW-Authenticate"), again=attempt > 0)
            response = self._send(octets, headers)
        if response.status_code == requests.codes.unauthorized:
            response.close()
            problem = f"{where}: login failed: the server calls each new nonce stale"
            raise ContactError(problem, kind=ContactKind.LOGIN, status=401)
        self._login.take_next_nonce(response.headers.get("Authentication-Info", ""))
        return response

    def _send(self, octets: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Send one request, and return its response as far as its headers.

        Where the server closed a connection after its last response, the request is sent again on a new one:
        what it finds closed has not reached anybody, as far as can be known (RFC 9112, 9.3.1).

        Raises:
            ContactError: The ACS was not reached.
        """
        before = self._line.made
        try:
            return self._send_once(octets, headers)
        except ContactError as exc:
            used_before = before and self._line.made == before
            unheard = exc.kind is ContactKind.CONNECT and self._line.allowance.nothing
            if not (used_before and unheard):
                raise
        return self._send_once(octets, headers)

    def _send_once(self, octets: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Send one request on the connection that there is, or else on a new one."""
        where = self._location
        adapter = self._mount(where)
        # Not by a Session of requests, which would merge settings of the environment, and read redirects.
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = "POST", where.sent_url, octets
        prepared.headers = requests.structures.CaseInsensitiveDict(
            {"Host": where.authority, **POST_HEADERS, **headers, "Content-Length": str(len(octets))}
        )
        if len(self._cookies):
            prepared.prepare_cookies(self._cookies)
        prepared.headers.update(self._login.header(where, prepared.path_url))
        self._line.allowance.begin(len(octets))
        with in_words(where, self._line):
            response = adapter.send(prepared, stream=True, proxies=self._proxies)
        extract: Callable[..., None] = requests.cookies.extract_cookies_to_jar
        extract(self._cookies, prepared, response.raw)
        size = sum(len(cookie.name) + len(cookie.value or "") for cookie in self._cookies)
        if len(self._cookies) > MOST_COOKIES or size > MOST_OF_COOKIES:
            response.close()
            many = (
                f"{MOST_COOKIES} cookies"
                if size <= MOST_OF_COOKIES
                else f"{MOST_OF_COOKIES} bytes of cookies"
            )
            problem = f"{where}: the server set more than {many}"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)
        return response

    def _mount(self, where: Location) -> AcsAdapter:
        """Return what posts to a server; the connection to another one is closed."""
        if self._adapter is not None and self._mounted == where.origin:
            return self._adapter
        own = where.origin == self._home.origin
        secure = where.scheme == "https"
        context = (self._contexts.known if own else self._contexts.unknown) if secure else None
        if self._adapter is not None:
            self._adapter.close()
        self._adapter, self._mounted = AcsAdapter(self._line, where, context), where.origin
        return self._adapter
