"""HTTP and HTTPS: one session, so that a server that binds a digest nonce to its connection is content.

Redirects are followed here, since they decide whom a password is shown to.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urldefrag, urljoin

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth

from spkg.download.url import Location, Login
from spkg.download.worker import MAX_SERVER_TEXT, BrokenError, Transfer
from spkg.errors import ACCESS, CONTACT, LOGIN, TransferError, UsageError

__all__ = ["WebTransport"]

REDIRECTS: Final = 5
"""The most redirects on the way to a file."""
SMALL: Final = 1 << 16
"""The most octets of an answer that is not the file."""
CONNECT: Final = 30
"""How long making a connection may take, in seconds."""
DIGITS: Final = 19
"""The longest size that is believed, in digits."""
MOVED: Final = frozenset({301, 302, 303, 307, 308})
LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Answers after which the next one may be another."""


class WebTransport:
    """Asks for a location by HTTP.

    Args:
        location: Where the file is.
        login: Who asks.
        patience: After how many seconds without an octet a connection is given up.
    """

    def __init__(self, location: Location, login: Login, patience: float) -> None:
        self._location = location
        self._login = login
        self._patience = patience
        self._auth: AuthBase | None = None
        if login.username is not None:
            self._auth = _Digest(login.username, login.password.decode("utf-8", "replace"))
        self._session = _Session()
        self._session.trust_env = False  # no proxies and no passwords that nobody named
        self._session.verify = True if login.ca_bundle is None else str(login.ca_bundle)
        self._session.headers = requests.structures.CaseInsensitiveDict(
            {"User-Agent": "spkg", "Accept": "*/*", "Accept-Encoding": "identity"}
        )

    def open(self, offset: int, validator: str | None) -> Transfer:
        """Ask for the file from an octet on.

        Raises:
            BrokenError: There is no answer now.
            TransferError: There will be none.
        """
        ranged = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
        location = self._location
        for _ in range(REDIRECTS + 1):
            response = self._ask(location, ranged)
            if response.status_code not in MOVED:
                return _answer(response, location, offset, validator if ranged else None)
            location = _moved(response, location)
        raise TransferError(f"{self._location}: more than {REDIRECTS} redirects", reason=ACCESS)

    def _ask(self, location: Location, headers: dict[str, str]) -> requests.Response:
        """Ask one server, twice where it wants to know who asks."""
        known = location.origin == self._location.origin
        response = self._get(location, headers, self._auth if known else None)
        if response.status_code == requests.codes.unauthorized and known and self._wants_basic(response):
            self._auth = self._basic(location)
            _drain(response)
            response = self._get(location, headers, self._auth)
        if response.status_code == requests.codes.unauthorized:
            response.close()
            problem = "nobody is let in without a name" if self._auth is None else "not let in"
            hint = "--username, with --password-env or --password-file" if self._auth is None else None
            if self._auth is not None and not known:
                hint = "the name is for the server that was asked, and was not shown to this one"
            raise TransferError(f"{location}: {problem}", reason=LOGIN, hint=hint)
        return response

    def _wants_basic(self, response: requests.Response) -> bool:
        """Whether a server that let nobody in would take a password, and nothing better."""
        asked = response.headers.get("WWW-Authenticate", "").lower()
        return isinstance(self._auth, _Digest) and "basic" in asked and "digest " not in asked

    def _get(self, location: Location, headers: dict[str, str], auth: AuthBase | None) -> requests.Response:
        with _breaking(location):
            return self._session.get(
                location.url,
                headers=headers,
                auth=auth,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT, self._patience),
            )

    def _basic(self, location: Location) -> AuthBase:
        """Return what shows the password.

        Raises:
            TransferError: It would show it to everybody.
        """
        if location.scheme != "https" and not self._login.unsafe_basic:
            problem = f"{location}: the server wants the password in clear"
            hint = "use https, or --unsafe-basic"
            raise TransferError(problem, reason=LOGIN, hint=hint)
        return HTTPBasicAuth((self._login.username or "").encode(), self._login.password)


class _Session(requests.Session):
    """A session that leaves redirects alone: it would read all that comes with one."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - whatever it says
        """Return nothing."""
        return None


class _Digest(HTTPDigestAuth):
    """Digest authentication that reads no more of a refusal than a refusal has."""

    def build_digest_header(self, method: str, url: str) -> str | None:
        """Return the answer to a challenge, the name in it as the octets that it was hashed as."""
        header: str | None = super().build_digest_header(method, url)  # type: ignore[no-untyped-call]
        return None if header is None else header.encode().decode("latin-1")

    def handle_401(self, r: requests.Response, **kwargs: Any) -> requests.Response:
        """Read what is left of a refusal, so that its connection can be used again."""
        if r.status_code == requests.codes.unauthorized:
            _drain(r)
        with suppress(KeyError):  # a challenge that lacks something: then nobody is let in
            r = super().handle_401(r, **kwargs)  # type: ignore[no-untyped-call]
        return r


class _WebTransfer:
    """An answer with the file, or with the rest of it."""

    def __init__(
        self, response: requests.Response, location: Location, offset: int, total: int | None
    ) -> None:
        self._response = response
        self._location = location
        self.offset = offset
        self.total = total
        response.raw.enforce_content_length = False  # whoever reads knows better how much is to come
        tag = response.headers.get("ETag", "")
        # A weak one may be that of two files that are alike.
        self.validator = tag if tag.startswith('"') else None

    def read(self, size: int) -> bytes:
        """Return the octets that are there, at most *size*; none at the end.

        Raises:
            BrokenError: The connection broke.
        """
        with _breaking(self._location):
            octets: bytes = self._response.raw.read1(size)
            return octets

    def close(self) -> None:
        """Let go of the connection."""
        self._response.close()


class _Nothing:
    """An answer that says that there is no more."""

    def __init__(self, total: int, validator: str | None) -> None:
        self.offset = self.total = total
        self.validator = validator

    def read(self, size: int) -> bytes:  # noqa: ARG002 - there is nothing
        """Return nothing."""
        return b""

    def close(self) -> None:
        """There is nothing to let go of."""


def _answer(response: requests.Response, location: Location, offset: int, validator: str | None) -> Transfer:
    """Return an answer that has the file.

    Raises:
        BrokenError: It says that it has it later.
        TransferError: It says that it has none, or not as it is.
    """
    total = response.headers.get("Content-Range", "").partition("/")[2]
    if response.status_code == requests.codes.requested_range_not_satisfiable and total == str(offset):
        response.close()
        return _Nothing(offset, validator)  # it broke where the file ends
    problem = _problem(response, offset, validator)
    if problem is not None:
        response.close()
        kind = BrokenError if response.status_code in LATER else TransferError
        raise kind(f"{location}: {problem}", reason=ACCESS)
    if response.status_code == requests.codes.ok:
        return _WebTransfer(response, location, 0, _number(response.headers.get("Content-Length", "")))
    return _WebTransfer(
        response, location, offset, _number(response.headers["Content-Range"].partition("/")[2])
    )


def _problem(response: requests.Response, offset: int, validator: str | None) -> str | None:
    """Return why an answer is not what was asked for."""
    if response.status_code not in {requests.codes.ok, requests.codes.partial}:
        return f"{response.status_code} {str(response.reason)[:MAX_SERVER_TEXT]}"
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        return f"compressed with {encoding}, which was not asked for"
    if response.status_code == requests.codes.partial:
        begins = response.headers.get("Content-Range", "").lower().startswith(f"bytes {offset}-")
        if validator is None or not begins or response.headers.get("ETag", validator) != validator:
            return "octets that were not asked for"
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else None


def _moved(response: requests.Response, location: Location) -> Location:
    """Return where a redirect leads to.

    Raises:
        TransferError: Nowhere where it may.
    """
    _drain(response)
    try:
        target, _ = urldefrag(urljoin(location.url, response.headers.get("Location", "")))
        moved = Location.parse(target)
    except (UsageError, ValueError) as exc:
        problem = exc.problem if isinstance(exc, UsageError) else "this is no URL"
        raise TransferError(f"{location}: a redirect: {problem}", reason=ACCESS) from exc
    if moved.scheme not in {"https", location.scheme}:
        problem = f"{location}: a redirect from {location.scheme} to {moved.scheme}"
        raise TransferError(problem, reason=ACCESS)
    return moved


def _drain(response: requests.Response) -> None:
    """Read what is left of an answer that is not wanted, if that is little; then its connection goes on."""
    try:
        if len(response.raw.read(SMALL + 1)) > SMALL:
            response.close()
    except (urllib3.exceptions.HTTPError, OSError):
        response.close()


@contextmanager
def _breaking(location: Location) -> Iterator[None]:
    """Tell what may be better the next time from what will not."""
    try:
        yield
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
        bottom = _bottom(exc)
        if isinstance(bottom, ssl.SSLCertVerificationError):
            problem = f"{location}: no safe connection: {bottom.verify_message}"
            hint = "--ca-bundle names a private authority"
            raise TransferError(problem, reason=CONTACT, hint=hint) from exc
        contact = isinstance(exc, requests.exceptions.ConnectionError | requests.exceptions.Timeout)
        problem = f"{location}: {_said(bottom)[:MAX_SERVER_TEXT]}"
        raise BrokenError(problem, reason=CONTACT if contact else None) from exc
    except ValueError as exc:
        raise BrokenError(f"{location}: an answer that makes no sense") from exc


def _bottom(problem: BaseException) -> BaseException:
    """Return what is at the bottom of an error that wraps others."""
    while True:
        inner = getattr(problem, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in problem.args if isinstance(one, BaseException)), None)
        if inner is None and isinstance(problem, urllib3.exceptions.NewConnectionError):
            inner = problem.__cause__
        if inner is None:
            return problem
        problem = inner


def _said(problem: BaseException) -> str:
    """Return what an error says, in our words where there are some."""
    match problem:
        case urllib3.exceptions.NameResolutionError():
            return "no such host is known"
        case urllib3.exceptions.ConnectTimeoutError():
            return "no connection in time"
        case urllib3.exceptions.ReadTimeoutError():
            return "no octets in time"
        case OSError(strerror=str(text)):
            return text[:1].lower() + text[1:]
        case _:
            return str(problem)
