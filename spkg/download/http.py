"""HTTP and HTTPS: all requests use one session, for servers that bind a digest nonce to a connection.

Files are received by GET, and sent by PUT.

Redirects are followed here, because they decide which server a password is sent to.
"""

import ssl
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urldefrag, urljoin

import requests
import urllib3

from spkg.common.printable import printable
from spkg.download.http_answer import breaking, check_stored, read_answer
from spkg.download.http_connection import CONNECTION_POOLS
from spkg.download.http_login import (
    BasicProof,
    DigestProof,
    Proof,
    UnanswerableError,
    digest_proof,
    read_challenges,
)
from spkg.download.tls import TlsContexts
from spkg.download.url import Location, Login
from spkg.download.worker import OpenTransfer
from spkg.errors import ACCESS, LOGIN, TransferError, UsageError

__all__ = ["WebTransport"]

REDIRECTS: Final = 5
"""The most redirects on the way to a file."""
SMALL: Final = 1 << 16
"""How many bytes of an answer other than the file are read at most."""
CONNECT: Final = 30
"""How long making a connection may take, in seconds."""
LOGINS: Final = 2
"""How often a challenge is answered: again only if the server says that its nonce was too old."""
PROXY_HEADER: Final = "proxy-authorization"
MOVED: Final = frozenset({301, 302, 303, 307, 308})
NOT_QUOTED: Final = "".join(set(map(chr, range(128))) - {" "})
"""What stays as it is in the target of a redirect; spaces and all beyond ASCII are quoted."""


class WebTransport:
    """Requests a location by HTTP.

    Args:
        location: The location of the file.
        login: The credentials and how to use them.
        patience: After how many seconds without data a connection is given up.
        contexts: The settings for TLS, if they are made already.
    """

    def __init__(
        self, location: Location, login: Login, patience: float, contexts: TlsContexts | None = None
    ) -> None:
        self._location = location
        self._login = login
        self._patience = patience
        self._method = "GET"
        self._body: bytes | None = None
        self._proof: Proof | None = None
        """What shows the server who asks, once it wanted to know."""
        self._headers = {name: value for name, value in login.headers if name.lower() != PROXY_HEADER}
        self._contexts = contexts or TlsContexts(login)
        self._known = _Session(login, self._contexts.known)

    @cached_property
    def _unknown(self) -> "_Session":
        """The session for servers that redirects lead to."""
        return _Session(self._login, self._contexts.unknown)

    def open(self, offset: int, validator: str | None) -> OpenTransfer:
        """Request the file from an offset on.

        Raises:
            NotResumableError: The server does not send the rest of the file.
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        ranged = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
        location = self._location
        for _ in range(REDIRECTS + 1):
            response = self._ask(location, ranged)
            if response.status_code not in MOVED:
                return read_answer(response, location, offset, validator if ranged else None)
            location = _moved(response, location)
        raise TransferError(f"{self._location}: more than {REDIRECTS} redirects", reason=ACCESS)

    def send(self, octets: bytes) -> None:
        """Store a file at the location.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        self._method, self._body = "PUT", octets
        location = self._location
        for _ in range(REDIRECTS + 1):
            response = self._ask(location, {"Content-Type": "application/octet-stream"})
            if response.status_code not in MOVED - {requests.codes.see_other}:
                check_stored(response, location)
                return
            location = _moved(response, location)
        raise TransferError(f"{self._location}: more than {REDIRECTS} redirects", reason=ACCESS)

    def _ask(self, location: Location, headers: dict[str, str]) -> requests.Response:
        """Send a request to one server, and log in where it wants that.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        if location.origin != self._location.origin:
            return self._let_in(self._request(self._unknown, location, headers), location)
        response = self._ask_known(location, headers)
        for attempt in range(LOGINS):
            if response.status_code != requests.codes.unauthorized or self._login.username is None:
                break
            proof = self._answer(response, location)
            stale = isinstance(proof, DigestProof) and proof.stale
            if proof is None or proof == self._proof or (attempt and not stale):
                break
            self._proof = proof
            _drain(response)
            response = self._ask_known(location, headers)
        return self._let_in(response, location)

    def _ask_known(self, location: Location, headers: dict[str, str]) -> requests.Response:
        """Send a request to the server that the credentials are for."""
        headers = {**self._headers, **headers}
        if self._proof is not None:
            target = requests.Request(self._method, location.sent_url).prepare().path_url
            headers["Authorization"] = self._proof.header(self._method, target)
        return self._request(self._known, location, headers)

    def _request(self, session: "_Session", location: Location, headers: dict[str, str]) -> requests.Response:
        return session.ask(location, headers, self._patience, self._method, self._body)

    def _let_in(self, response: requests.Response, location: Location) -> requests.Response:
        """Return an answer, unless it is that the login is missing or wrong.

        Raises:
            TransferError: It is.
        """
        if response.status_code != requests.codes.unauthorized:
            return response
        response.close()
        nobody = self._login.username is None and "authorization" not in map(str.lower, self._headers)
        problem = "the server requires a login" if nobody else "login failed"
        hint = "use --username with --password-env or --password-file" if nobody else None
        if not nobody and location.origin != self._location.origin:
            hint = "use this server's URL: after a redirect to another server, no credentials are sent"
        raise TransferError(f"{location}: {problem}", reason=LOGIN, hint=hint)

    def _answer(self, response: requests.Response, location: Location) -> Proof | None:
        """Return what the server wants to see; None if it wants what is not known.

        Raises:
            TransferError: It would show the password, or is not supported.
        """
        name = self._login.username or ""
        challenges = read_challenges(response.raw.headers.getlist("WWW-Authenticate"))
        digests = [one for one in challenges if one.scheme == "digest"]
        problem = None
        if digests:
            try:
                return digest_proof(digests, name, self._login.password)
            except UnanswerableError as exc:
                problem = f"{location}: login failed: {printable(str(exc))}"
        if any(one.scheme == "basic" for one in challenges):
            if location.scheme == "https" or self._login.unsafe_basic:
                return BasicProof(username=name, password=self._login.password)
            if problem is None:
                response.close()
                problem = f"{location}: the server requires the password in clear text"
                hint = "use https, or --unsafe-basic to send it anyway"
                raise TransferError(problem, reason=LOGIN, hint=hint)
        if problem is not None:
            response.close()
            raise TransferError(problem, reason=LOGIN)
        return None


class _Session(requests.Session):
    """A session that takes nothing from the environment, and that ignores redirects.

    Args:
        login: How to reach a server.
        context: The settings for TLS.
    """

    def __init__(self, login: Login, context: ssl.SSLContext) -> None:
        super().__init__()
        self.trust_env = False  # no proxies or passwords from the environment
        self._for_proxy = {name: value for name, value in login.headers if name.lower() == PROXY_HEADER}
        self._adapter = _Adapter(context, self._for_proxy)
        for scheme in ("http://", "https://"):
            self.mount(scheme, self._adapter)
        if login.proxy is not None:
            self.proxies = {"http": login.proxy, "https": login.proxy}
        self.headers = requests.structures.CaseInsensitiveDict(
            {"User-Agent": "spkg", "Accept": "*/*", "Accept-Encoding": "identity"}
        )

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - always ignored
        """Return nothing: requests would read the whole body of a redirect."""
        return None

    def ask(
        self, location: Location, headers: dict[str, str], patience: float, method: str, body: bytes | None
    ) -> requests.Response:
        """Send a request.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        self._adapter.location = location
        if location.scheme == "http" and self.proxies:
            headers = {**headers, **self._for_proxy}  # for https they are part of CONNECT
        with breaking(location):
            return self.request(
                method,
                location.sent_url,
                data=body,
                headers={"Host": location.authority, **headers},
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT, patience),
            )


class _Adapter(requests.adapters.HTTPAdapter):
    """Connections whose TLS is set here alone: requests would choose other certificates."""

    location: Location
    """The location that is requested next."""

    def __init__(self, context: ssl.SSLContext, for_proxy: dict[str, str]) -> None:
        self._context = context
        self._for_proxy = for_proxy
        super().__init__()

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """Set how TLS is used without a proxy."""
        super().init_poolmanager(*args, ssl_context=self._context, **settings)
        self.poolmanager.pool_classes_by_scheme = CONNECTION_POOLS

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Set how it is used through a proxy."""
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **settings)
        manager.pool_classes_by_scheme = CONNECTION_POOLS
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:  # noqa: ARG002 - there is only one
        """Return the headers of CONNECT."""
        return self._for_proxy

    def build_connection_pool_key_attributes(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Return where to connect to, with the zone of an IPv6 address, which requests does not know."""
        where = self.location
        host = f"[{where.host}]" if ":" in where.host else where.host
        return {"scheme": where.scheme, "host": host, "port": where.port}, {}

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Do nothing: all is set."""


def _moved(response: requests.Response, location: Location) -> Location:
    """Return the location that a redirect leads to.

    Raises:
        TransferError: It must not be followed.
    """
    _drain(response)
    stated = response.headers.get("Location", "").strip()
    if not stated:
        raise TransferError(f"{location}: a redirect without a Location", reason=ACCESS)
    try:
        # Quoted byte for byte, whatever their encoding: the server knows what it meant.
        stated = quote(stated, NOT_QUOTED, "latin-1")
        target, _ = urldefrag(urljoin(location.url, stated))
        moved = Location.parse(target)
    except (UsageError, ValueError) as exc:
        problem = exc.problem if isinstance(exc, UsageError) else "not a valid URL"
        raise TransferError(f"{location}: invalid redirect: {problem}", reason=ACCESS) from exc
    if moved.scheme not in {"https", location.scheme}:
        problem = f"{location}: a redirect from {location.scheme} to {moved.scheme} is not allowed"
        raise TransferError(problem, reason=ACCESS)
    return moved


def _drain(response: requests.Response) -> None:
    """Read the rest of an unwanted answer, if it is short, so that its connection can be used again."""
    try:
        if len(response.raw.read(SMALL + 1)) > SMALL:
            response.close()
    except (urllib3.exceptions.HTTPError, OSError):
        response.close()
