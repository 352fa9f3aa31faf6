"""The HTTP of a session with an ACS (TR-069 3.3, 3.4): posts in, octets of envelopes out.

A :class:`Connection` is one session's: one TCP connection, its cookies, its digest nonce, the URL that a
redirect led to.  All of it ends with the ``with``.
"""

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException, IncompleteRead
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urldefrag, urljoin

import requests
import urllib3

from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.settings import AcsSettings
from spkg.agent.transport import (
    MOST_OCTETS,
    AcsAdapter,
    AcsLine,
    Allowance,
    EarlyEndError,
    SilenceError,
    TooLongError,
)
from spkg.common.printable import printable
from spkg.download.answer_words import asked_delay, innermost, is_page
from spkg.download.http_login import (
    BasicProof,
    DigestProof,
    Proof,
    UnanswerableError,
    digest_proof,
    read_challenges,
)
from spkg.download.tls import TlsContexts, tls_refusal, tls_words
from spkg.download.url import Location, Login
from spkg.errors import HostError, UsageError, os_problem

__all__ = ["AcsClient", "AcsConnection", "acs_location"]

ACS_REDIRECTS: Final = 5
"""The most redirects on the way to an answer."""
MOVED_POST: Final = frozenset({301, 302, 307, 308})
ACS_LOGINS: Final = 2
"""How often a challenge is answered: again only where the server says that its nonce was too old."""
SMALL_REFUSAL: Final = 64 << 10
"""How many bytes of the body of a refusal are read, so that its connection can be used again."""
SHOWN_OF_ACS: Final = 80
"""How many characters of a server's text are shown."""
MOST_COOKIES: Final = 64
"""The most cookies of a session."""
MOST_URL: Final = 4096
"""The longest target of a redirect."""
SOAP_TYPE: Final = 'text/xml; charset="utf-8"'
NOT_QUOTED_POST: Final = "".join(set(map(chr, range(128))) - {" "})
NO_PLAIN_PASSWORD: Final = "use an https URL, or have the server ask for digest"
ACS_AUTHORITIES: Final = "set ca-bundle for a private certificate authority"
ACS_CERTIFICATE: Final = "set client-certificate and client-key to show a certificate to the server"


class _Session(requests.Session):
    """A session that follows no redirect, reads the body of none, and has cookies of RFC 2965, too."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request with the cookies by the policy that is set: requests takes its own."""
        prepared = super().prepare_request(request)
        prepared.headers.pop("Cookie", None)
        prepared.prepare_cookies(self.cookies)
        return prepared

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - always ignored
        """Return nothing."""
        return None


def acs_location(url: str) -> Location:
    """Read the URL of an ACS.

    Raises:
        ContactError: It is not a valid URL of http or https.
    """
    try:
        location = Location.parse(url)
    except UsageError as exc:
        raise ContactError(f"the URL of the ACS: {exc.problem}", kind=ContactKind.URL) from exc
    if location.scheme not in {"http", "https"}:
        problem = f"the URL of the ACS: expected http or https, got {location.scheme}"
        raise ContactError(problem, kind=ContactKind.URL)
    return location


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
        self._clock = clock
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
            self._load()  # what is wrong with the files is known before the network is used
        allowance = Allowance(self._clock, self._timeout)
        return AcsConnection(
            location,
            (username, password.encode()),
            contexts=self._contexts,
            line=AcsLine(allowance, self._timeout),
        )

    def _load(self) -> None:
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
        location = acs_location(url)
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(location.host, location.port, type=socket.SOCK_DGRAM)
            for family, kind, protocol, _, address in found:
                with suppress(OSError), socket.socket(family, kind, protocol) as probe:
                    probe.connect(address)  # of UDP: nothing is sent
                    own: str = probe.getsockname()[0]
                    return own.partition("%")[0]
        return None


class AcsConnection:
    """The HTTP of one session.

    Args:
        location: The URL of the ACS.
        login: The name, if there is one, and the password for it.
        contexts: The settings for TLS.
        line: How connections are made.
    """

    def __init__(
        self,
        location: Location,
        login: tuple[str | None, bytes],
        *,
        contexts: TlsContexts,
        line: AcsLine,
    ) -> None:
        self._home = location
        self._location = location
        self._username, self._password = login
        self._contexts = contexts
        self._line = line
        self._proof: Proof | None = None
        """What shows the ACS who asks, once it wanted to know."""
        self._http = _Session()
        self._http.trust_env = False  # no proxies or passwords of the environment
        # Not strict: requests calls every request one that nobody asked for, and of another host.
        policy = DefaultCookiePolicy(rfc2965=True, netscape=True, strict_rfc2965_unverifiable=False)
        self._http.cookies.set_policy(policy)
        self._http.headers = requests.structures.CaseInsensitiveDict(
            {
                "User-Agent": "spkg",
                "Accept": "text/xml, application/xml",
                "Accept-Encoding": "identity",
            }
        )
        self._mounted: tuple[str, str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and forget its cookies (3.4.2)."""
        self._http.close()
        self._http.cookies.clear()
        self._proof = None

    @property
    def url(self) -> str:
        """Where posts go: the URL, or what redirects of this session have made of it."""
        return self._location.url

    @property
    def local_address(self) -> str | None:
        """The address that the last TCP connection was made from."""
        return None if self._line.local is None else self._line.local[0]

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
                return self._read(response)
            self._location = self._moved(response)
        raise ContactError(f"{self._home}: more than {ACS_REDIRECTS} redirects", kind=ContactKind.REDIRECT)

    def _ask(self, octets: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Post once, and log in where the ACS wants that, on the same connection.

        Raises:
            ContactError: The ACS was not reached, or refuses the login.
        """
        response = self._send(octets, headers)
        for attempt in range(ACS_LOGINS):
            if response.status_code != requests.codes.unauthorized:
                break
            proof = self._answered(response)
            if attempt and not (isinstance(proof, DigestProof) and proof.stale):
                response.close()
                raise ContactError(f"{self._location}: login failed", kind=ContactKind.LOGIN, status=401)
            _drain(response)
            self._proof = proof
            response = self._send(octets, headers)
        if response.status_code == requests.codes.unauthorized:
            response.close()
            problem = f"{self._location}: login failed: the server calls each new nonce stale"
            raise ContactError(problem, kind=ContactKind.LOGIN, status=401)
        self._take_next_nonce(response)
        return response

    def _answered(self, response: requests.Response) -> Proof:
        """Return what the ACS wants to see.

        Raises:
            ContactError: It would show the password, is not for this server, or is not supported.
        """
        where = self._location

        def failed(problem: str, hint: str | None = None) -> ContactError:
            response.close()
            return ContactError(f"{where}: {problem}", kind=ContactKind.LOGIN, status=401, hint=hint)

        if where.origin != self._home.origin:
            hint = "use this server's URL: after a redirect to another server, no credentials are sent"
            raise failed("login failed", hint)
        if self._username is None:
            raise failed("the server requires a login", "set username and password-file")
        challenges = read_challenges(response.raw.headers.getlist("WWW-Authenticate"))
        digests = [one for one in challenges if one.scheme == "digest"]
        basic = any(one.scheme == "basic" for one in challenges)
        problem = "login failed: the server asks for neither digest nor basic"
        if digests:
            try:
                return digest_proof(digests, self._username, self._password)
            except UnanswerableError as exc:
                problem = f"login failed: {_shown(str(exc))}"
        if basic and where.scheme == "https":
            if self._proof is not None and isinstance(self._proof, BasicProof):
                raise failed("login failed")
            return BasicProof(username=self._username, password=self._password)
        if basic and not digests:
            raise failed("the server requires the password in clear text", NO_PLAIN_PASSWORD)
        raise failed(problem)

    def _take_next_nonce(self, response: requests.Response) -> None:
        """Use the nonce that the ACS wants to see with the next request (RFC 2617, 3.2.3)."""
        stated = read_challenges([f"Digest {response.headers.get('Authentication-Info', '')}"])
        nonce = stated[0].parameters.get("nextnonce") if stated else None
        if nonce and isinstance(self._proof, DigestProof):
            self._proof = self._proof.renewed(nonce)

    def _send(self, octets: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Send one request, and return its response as far as its headers.

        Raises:
            ContactError: The ACS was not reached.
        """
        where = self._location
        self._mount(where)
        sent: dict[str, str] = {"Host": where.authority, **headers}
        if self._proof is not None and where.origin == self._home.origin:
            target = requests.Request("POST", where.sent_url).prepare().path_url
            sent["Authorization"] = self._proof.header("POST", target)
        self._line.allowance.begin(len(octets))
        with self._told(where):
            response = self._http.post(
                where.sent_url, data=octets, headers=sent, stream=True, allow_redirects=False, timeout=None
            )
        if len(self._http.cookies) > MOST_COOKIES:
            response.close()
            problem = f"{where}: the server set more than {MOST_COOKIES} cookies"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)
        return response

    def _mount(self, where: Location) -> None:
        """Have requests go to a server; the connection to another one is closed."""
        if self._mounted == where.origin:
            return
        own = where.origin == self._home.origin
        secure = where.scheme == "https"
        context = (self._contexts.known if own else self._contexts.unknown) if secure else None
        for adapter in self._http.adapters.values():
            adapter.close()
        adapter = AcsAdapter(self._line, where, context)
        self._http.adapters.clear()
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, adapter)
        self._mounted = where.origin

    def _read(self, response: requests.Response) -> bytes:
        """Return the body of a response.

        Raises:
            ContactError: It is not one of an ACS, or did not arrive whole.
        """
        where, status = self._location, response.status_code
        if status == requests.codes.no_content:
            _drain(response)
            return b""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in {"", "identity"}:
            response.close()
            problem = f"{where}: expected a body without encoding, got {_shown(encoding)}"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        # SOAP 1.1 over HTTP sends its faults with 500 (section 6.2 of SOAP).
        if status == requests.codes.ok or (status == requests.codes.server_error and kind.endswith("xml")):
            octets = self._body(response)
            if is_page(octets[:1024]) or (status != requests.codes.ok and b"Envelope" not in octets):
                page = "a web page" if status == requests.codes.ok else f"status {status} without an envelope"
                raise ContactError(
                    f"{where}: expected SOAP, got {page}", kind=ContactKind.HTTP, status=status
                )
            return octets
        raise self._refusal(response)

    def _body(self, response: requests.Response) -> bytes:
        """Return all of a body that is not too long.

        Raises:
            ContactError: It is, or did not arrive whole.
        """
        where = self._location
        stated = response.headers.get("Content-Length")
        if stated is not None and "Transfer-Encoding" not in response.headers:
            if not (stated.isascii() and stated.isdigit()):
                response.close()
                problem = f"{where}: expected a number as Content-Length, got {_shown(stated)}"
                raise ContactError(problem, kind=ContactKind.PROTOCOL)
            if len(stated) > len(str(MOST_OCTETS)) or int(stated) > MOST_OCTETS:
                response.close()
                raise self._too_long()
        octets = bytearray()
        with self._told(where):
            while len(octets) <= MOST_OCTETS:
                piece: bytes = response.raw.read(SMALL_REFUSAL, decode_content=False)
                if not piece:
                    response.raw.release_conn()
                    return bytes(octets)
                octets += piece
        response.close()
        raise self._too_long()

    def _too_long(self) -> ContactError:
        problem = f"{self._location}: the response is longer than {MOST_OCTETS} bytes"
        return ContactError(problem, kind=ContactKind.PROTOCOL)

    def _refusal(self, response: requests.Response) -> ContactError:
        """Return the error for a status that is not success, with the first of what the server says to it."""
        text = ""
        with suppress(urllib3.exceptions.HTTPError, OSError, ValueError):
            text = (
                response.raw.read(SHOWN_OF_ACS * 4, decode_content=False).decode("utf-8", "replace").strip()
            )
        response.close()
        said = _shown(str(response.reason or ""))
        if text and not text.startswith("<"):
            said = _shown(text)
        problem = (
            f"{self._location}: expected HTTP status 200 or 204, got {response.status_code} {said}".rstrip()
        )
        delay = asked_delay(response.headers)
        return ContactError(problem, kind=ContactKind.HTTP, status=response.status_code, retry_after=delay)

    def _moved(self, response: requests.Response) -> Location:
        """Return the location that a redirect leads to.

        Raises:
            ContactError: It must not be followed.
        """
        where = self._location
        stated = response.headers.get("Location", "").strip()
        _drain(response)

        def refused(problem: str) -> ContactError:
            return ContactError(f"{where}: {problem}", kind=ContactKind.REDIRECT, status=response.status_code)

        if not stated or len(stated) > MOST_URL:
            raise refused(f"expected a redirect with a Location of at most {MOST_URL} characters")
        try:
            target, _ = urldefrag(urljoin(where.url, quote(stated, NOT_QUOTED_POST, "latin-1")))
            moved = acs_location(target)
        except (ContactError, ValueError) as exc:
            problem = exc.problem if isinstance(exc, ContactError) else "not a valid URL"
            raise refused(f"invalid redirect: {problem}") from exc
        if where.scheme == "https" and moved.scheme != "https":
            raise refused("a redirect from https to http is not allowed")
        return moved

    @contextmanager
    def _told(self, where: Location) -> Iterator[None]:
        """Turn what goes wrong on the way into words."""
        try:
            yield
        except (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            HTTPException,
            OSError,
        ) as exc:
            self._http.close()
            raise _in_words(where, innermost(exc), self._line) from exc
        except ValueError as exc:
            self._http.close()
            if self._line.stage is ContactKind.NAME:
                raise _in_words(where, exc, self._line) from exc
            problem = f"{where}: the response is not valid HTTP"
            raise ContactError(problem, kind=ContactKind.PROTOCOL) from exc


def _in_words(where: Location, problem: BaseException, line: AcsLine) -> ContactError:
    """Return the error for what went wrong on the way to a server, or with its response."""
    stage = line.stage
    if stage is ContactKind.NAME:
        return ContactError(f"{where}: the host name can't be resolved", kind=stage)
    refusal = tls_refusal(where, problem)
    if refusal is not None:
        hint = (
            ACS_AUTHORITIES
            if isinstance(problem, ssl.SSLCertVerificationError)
            else refusal.hint and ACS_CERTIFICATE
        )
        return ContactError(refusal.problem, kind=ContactKind.TLS, hint=hint)
    match problem:
        case TooLongError():
            return ContactError(
                f"{where}: the response is longer than {MOST_OCTETS} bytes", kind=ContactKind.PROTOCOL
            )
        case SilenceError() | TimeoutError() if stage is not ContactKind.HTTP:
            return ContactError(f"{where}: the connection timed out", kind=stage)
        case SilenceError() | TimeoutError() | urllib3.exceptions.TimeoutError():
            return ContactError(f"{where}: no complete response in time", kind=ContactKind.TIMEOUT)
        case ssl.SSLError() if stage is ContactKind.TLS or not isinstance(problem, ssl.SSLEOFError):
            return ContactError(f"{where}: {tls_words(problem)}", kind=ContactKind.TLS)
        case EarlyEndError() | ssl.SSLError():
            return ContactError(f"{where}: the response ended early", kind=ContactKind.CONNECT)
        case IncompleteRead() | urllib3.exceptions.IncompleteRead() if line.allowance.ended:
            return ContactError(f"{where}: the response ended early", kind=ContactKind.CONNECT)
        case ConnectionError() if problem.errno is None:  # http.client has its own
            return ContactError(
                f"{where}: the server closed the connection without a response", kind=ContactKind.CONNECT
            )
        case OSError():
            return ContactError(f"{where}: {os_problem(problem)[:SHOWN_OF_ACS]}", kind=ContactKind.CONNECT)
        case _:
            return ContactError(f"{where}: the response is not valid HTTP", kind=ContactKind.PROTOCOL)


def _shown(text: str) -> str:
    return printable(text)[:SHOWN_OF_ACS]


def _drain(response: requests.Response) -> None:
    """Read the rest of an unwanted body, if it is short, so that its connection can be used again."""
    try:
        rest = response.raw.read(SMALL_REFUSAL + 1, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        response.close()
        return
    if len(rest) > SMALL_REFUSAL:
        response.close()
    else:
        response.raw.release_conn()
