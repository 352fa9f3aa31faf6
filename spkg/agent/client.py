"""The HTTP of a session with an ACS (TR-069 3.3, 3.4): posts in, octets of envelopes out.

A :class:`Connection` is one session's: one TCP connection, its cookies, its digest nonce, the URL that a
redirect led to.  All of it ends with the ``with``.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPResponse
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Final, Self
from urllib.request import Request

from spkg.agent.acs_http import AcsHttp, stated_by
from spkg.agent.acs_login import AcsLogin
from spkg.agent.acs_response import acs_location, drain, proxy_location, read_body, redirected
from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.contact_words import in_words
from spkg.agent.own_address import OwnAddress
from spkg.agent.settings import AcsSettings
from spkg.agent.transport import AcsLine, Allowance
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
        self._own_address = OwnAddress(clock)
        self._contexts = TlsContexts(
            Login(
                ca_bundle=settings.ca_bundle,
                no_clock=ignore_dates,
                client_cert=settings.client_certificate,
                client_key=settings.client_key,
            )
        )

    def open(
        self,
        url: str,
        username: str | None = None,
        password: str = "",
        *,
        ending: Callable[[], bool] = lambda: False,
    ) -> "AcsConnection":
        """Return the connection of a session; it is made with the first post.

        Args:
            url: The URL of the ACS.
            username: Who logs in; None for nobody.
            password: With which password.
            ending: Whether the agent can wait no longer: a post is broken off then.

        Raises:
            ContactError: The URL is not one of an ACS.
            HostError: A file of the settings is not valid.
            OSError: It can't be read.
        """
        location = acs_location(url)
        if location.scheme == "https":
            self.load()  # what is wrong with the files is known before the network is used
        allowance = Allowance(self._clock, self._timeout, ending)
        proxy = None if self._proxy is None else proxy_location(self._proxy)
        return AcsConnection(
            location,
            AcsLogin(location, username, password.encode()),
            contexts=self._contexts,
            line=AcsLine(allowance, self._timeout, proxy),
            behind_proxy=proxy is not None,
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
        return self._own_address.towards(acs_location(url))


class AcsConnection:
    """The HTTP of one session.

    Args:
        location: The URL of the ACS.
        login: What shows it who posts.
        contexts: The settings for TLS.
        line: How connections are made.
        behind_proxy: Whether the line goes through a proxy.
    """

    def __init__(
        self,
        location: Location,
        login: AcsLogin,
        *,
        contexts: TlsContexts,
        line: AcsLine,
        behind_proxy: bool = False,
    ) -> None:
        self._home = location
        self._location = location
        self._login = login
        self._contexts = contexts
        self._line = line
        self._behind_proxy = behind_proxy
        self._cookies = CookieJar(DefaultCookiePolicy(rfc2965=True, netscape=True))
        self._http: AcsHttp | None = None
        self._mounted: tuple[str, str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and forget its cookies (3.4.2)."""
        if self._http is not None:
            self._http.close()
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
        self._line.allowance.begin_post()
        octets = b"".join(envelopes)
        headers = (
            {"Content-Type": SOAP_TYPE, "SOAPAction": '""' if len(envelopes) == 1 else ""} if octets else {}
        )
        for _ in range(ACS_REDIRECTS + 1):
            response = self._ask(octets, headers)
            if response.status not in MOVED_POST:
                return read_body(response, self._location, self._line)
            self._drain(response)
            self._location = redirected(response, self._location)
        raise ContactError(f"{self._home}: more than {ACS_REDIRECTS} redirects", kind=ContactKind.REDIRECT)

    def _ask(self, octets: bytes, headers: Mapping[str, str]) -> HTTPResponse:
        """Post once, and log in where the ACS wants that, on the same connection.

        Raises:
            ContactError: The ACS was not reached, or refuses the login.
        """
        where = self._location
        response = self._send(octets, headers)
        for attempt in range(ACS_LOGINS):
            if response.status != HTTPStatus.UNAUTHORIZED:
                break
            self._drain(response)
            challenges = response.headers.get_all("WWW-Authenticate", ())
            self._login.answer(where, challenges, again=attempt > 0)
            response = self._send(octets, headers)
        if response.status == HTTPStatus.UNAUTHORIZED:
            problem = f"{where}: login failed: the server calls each new nonce stale"
            raise ContactError(problem, kind=ContactKind.LOGIN, status=401)
        if info := stated_by(response, "Authentication-Info"):
            self._login.take_next_nonce(info)
        return response

    def _send(self, octets: bytes, headers: Mapping[str, str]) -> HTTPResponse:
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

    def _send_once(self, octets: bytes, headers: Mapping[str, str]) -> HTTPResponse:
        """Send one request on the connection that there is, or else on a new one."""
        where = self._location
        http = self._connected(where)
        target = where.target
        sent = {"Host": where.authority, **POST_HEADERS, **headers, "Content-Length": str(len(octets))}
        if cookies := self._stored_cookies(where):
            sent["Cookie"] = cookies
        sent |= self._login.header(where, target)
        whole = self._behind_proxy and where.scheme == "http"  # for https the line has a tunnel
        self._line.allowance.begin(len(octets))
        with in_words(where, self._line):
            response = http.exchange(where.sent_url if whole else target, sent, octets)
        self._keep_cookies(response, where)
        return response

    def _stored_cookies(self, where: Location) -> str | None:
        """Return the cookies for a request; None if there are none."""
        if not len(self._cookies):
            return None
        request = Request(where.sent_url)  # noqa: S310 - it is read, and never opened
        self._cookies.add_cookie_header(request)
        return request.get_header("Cookie")

    def _keep_cookies(self, response: HTTPResponse, where: Location) -> None:
        """Keep the cookies that a server sets, until the session is over.

        Raises:
            ContactError: They are too many.
        """
        if not ("Set-Cookie" in response.headers or "Set-Cookie2" in response.headers):
            return
        self._cookies.extract_cookies(response, Request(where.sent_url))  # noqa: S310 - it is never opened
        size = sum(len(cookie.name) + len(cookie.value or "") for cookie in self._cookies)
        if len(self._cookies) > MOST_COOKIES or size > MOST_OF_COOKIES:
            many = (
                f"{MOST_COOKIES} cookies"
                if size <= MOST_OF_COOKIES
                else f"{MOST_OF_COOKIES} bytes of cookies"
            )
            problem = f"{where}: the server set more than {many}"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)

    def _drain(self, response: HTTPResponse) -> None:
        """Read the rest of an unwanted body, or close its connection."""
        if not drain(response) and self._http is not None:
            self._http.close()

    def _connected(self, where: Location) -> AcsHttp:
        """Return what posts to a server; the connection to another one is closed."""
        if self._http is not None and self._mounted == where.origin:
            return self._http
        own = where.origin == self._home.origin
        secure = where.scheme == "https"
        context = (self._contexts.known if own else self._contexts.unknown) if secure else None
        if self._http is not None:
            self._http.close()
        self._http, self._mounted = AcsHttp(self._line, where, context), where.origin
        return self._http
