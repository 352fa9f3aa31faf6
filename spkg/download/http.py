"""HTTP and HTTPS: all requests use one session, for servers that bind a digest nonce to a connection.

Redirects are followed here, because they decide which server a password is sent to.
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
from spkg.download.worker import MAX_SERVER_TEXT, BrokenError, NotResumableError, Transfer, system_words
from spkg.errors import ACCESS, CONTACT, LOGIN, TransferError, UsageError

__all__ = ["WebTransport"]

REDIRECTS: Final = 5
"""The most redirects on the way to a file."""
SMALL: Final = 1 << 16
"""How many bytes of an answer other than the file are read at most."""
CONNECT: Final = 30
"""How long making a connection may take, in seconds."""
DIGITS: Final = 19
"""The longest size that is accepted, in digits."""
MOVED: Final = frozenset({301, 302, 303, 307, 308})
LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may be different the next time."""
WITHOUT_RANGE: Final = frozenset({401, 404, 407, 410, *LATER} - {500})
"""Statuses that a request for a part of the file has for the same reason as one for all of it."""


class WebTransport:
    """Requests a location by HTTP.

    Args:
        location: The location of the file.
        login: The credentials and how to use them.
        patience: After how many seconds without data a connection is given up.
    """

    def __init__(self, location: Location, login: Login, patience: float) -> None:
        self._location = location
        self._login = login
        self._patience = patience
        self._auth: AuthBase | None = None
        if login.username is not None:
            self._auth = _DigestLogin(login.username, login.password.decode("utf-8", "replace"))
        self._session = _Session()
        self._session.trust_env = False  # no proxies or passwords from the environment
        self._session.verify = True if login.ca_bundle is None else str(login.ca_bundle)
        self._session.headers = requests.structures.CaseInsensitiveDict(
            {"User-Agent": "spkg", "Accept": "*/*", "Accept-Encoding": "identity"}
        )

    def open(self, offset: int, validator: str | None) -> Transfer:
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
                return _answer(response, location, offset, validator if ranged else None)
            location = _moved(response, location)
        raise TransferError(f"{self._location}: more than {REDIRECTS} redirects", reason=ACCESS)

    def _ask(self, location: Location, headers: dict[str, str]) -> requests.Response:
        """Request a file from one server; again, if it asks for Basic authentication."""
        known = location.origin == self._location.origin
        response = self._get(location, headers, self._auth if known else None)
        if response.status_code == requests.codes.unauthorized and known and self._wants_basic(response):
            self._auth = self._basic(location)
            _drain(response)
            response = self._get(location, headers, self._auth)
        if response.status_code == requests.codes.unauthorized:
            response.close()
            problem = "the server requires a login" if self._auth is None else "login failed"
            hint = "use --username with --password-env or --password-file" if self._auth is None else None
            if self._auth is not None and not known:
                hint = "use this server's URL: after a redirect to another server, no credentials are sent"
            raise TransferError(f"{location}: {problem}", reason=LOGIN, hint=hint)
        return response

    def _wants_basic(self, response: requests.Response) -> bool:
        """Whether a server that refused a login accepts Basic authentication, and not Digest."""
        asked = response.headers.get("WWW-Authenticate", "").lower()
        return isinstance(self._auth, _DigestLogin) and "basic" in asked and "digest " not in asked

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
        """Return Basic authentication.

        Raises:
            TransferError: It would send the password in clear text.
        """
        if location.scheme != "https" and not self._login.unsafe_basic:
            problem = f"{location}: the server requires the password in clear text"
            hint = "use https, or --unsafe-basic to send it anyway"
            raise TransferError(problem, reason=LOGIN, hint=hint)
        return HTTPBasicAuth((self._login.username or "").encode(), self._login.password)


class _Session(requests.Session):
    """A session that ignores redirects: requests would read the whole body of one."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - always ignored
        """Return nothing."""
        return None


class _DigestLogin(HTTPDigestAuth):
    """Digest authentication that reads only a limited part of a refusal."""

    def build_digest_header(self, method: str, url: str) -> str | None:
        """Return the answer to a challenge, with the name in the same bytes that were hashed."""
        header: str | None = super().build_digest_header(method, url)  # type: ignore[no-untyped-call]
        return None if header is None else header.encode().decode("latin-1")

    def handle_401(self, r: requests.Response, **kwargs: Any) -> requests.Response:
        """Read the rest of a refusal, so that its connection can be used again."""
        if r.status_code == requests.codes.unauthorized:
            _drain(r)
        with suppress(KeyError):  # the challenge is incomplete: the login fails
            r = super().handle_401(r, **kwargs)  # type: ignore[no-untyped-call]
        return r


class _WebTransfer:
    """An answer with the file, or the rest of it."""

    def __init__(
        self, response: requests.Response, location: Location, offset: int, total: int | None
    ) -> None:
        self._response = response
        self._location = location
        self.offset = offset
        self.total = total
        response.raw.enforce_content_length = False  # the reader checks the length
        tag = response.headers.get("ETag", "")
        # Two files with the same weak tag may differ.
        self.validator = tag if tag.startswith('"') else None

    def read(self, size: int) -> bytes:
        """Return the available bytes, at most *size*; none at the end.

        Raises:
            BrokenError: The connection broke.
        """
        with _breaking(self._location):
            octets: bytes = self._response.raw.read1(size)
            return octets

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


class _Nothing:
    """An answer without any more bytes."""

    def __init__(self, total: int, validator: str | None) -> None:
        self.offset = self.total = total
        self.validator = validator

    def read(self, size: int) -> bytes:  # noqa: ARG002 - there is nothing to read
        """Return nothing."""
        return b""

    def close(self) -> None:
        """Do nothing: the connection is already closed."""


def _answer(response: requests.Response, location: Location, offset: int, validator: str | None) -> Transfer:
    """Return the transfer of an answer with the file.

    Args:
        response: The answer.
        location: The location that was requested.
        offset: The offset of the first byte that is wanted.
        validator: What identifies the version, if only a part of the file was requested.

    Raises:
        NotResumableError: The server did not send the part that was requested.
        BrokenError: The server may have the file later.
        TransferError: The server does not have the file, or sent something else.
    """
    status = response.status_code
    total = response.headers.get("Content-Range", "").partition("/")[2]
    if status == requests.codes.requested_range_not_satisfiable and validator and total == str(offset):
        response.close()
        return _Nothing(offset, validator)  # the connection broke at the end of the file
    problem = _problem(response, offset, validator)
    if problem is not None:
        response.close()
        if validator is not None and status not in WITHOUT_RANGE:
            raise NotResumableError(f"{location}: {problem}")
        kind = BrokenError if status in LATER else TransferError
        raise kind(f"{location}: {problem}", reason=ACCESS)
    if status == requests.codes.ok:
        return _WebTransfer(response, location, 0, _number(response.headers.get("Content-Length", "")))
    return _WebTransfer(response, location, offset, _number(total))


def _problem(response: requests.Response, offset: int, validator: str | None) -> str | None:
    """Return why an answer is not the one that was requested; None if it is."""
    if response.status_code not in {requests.codes.ok, requests.codes.partial}:
        return f"{response.status_code} {str(response.reason)[:MAX_SERVER_TEXT]}"
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        return f"the server compressed the file with {encoding}, which was not requested"
    if response.status_code == requests.codes.partial:
        begins = response.headers.get("Content-Range", "").lower().startswith(f"bytes {offset}-")
        if validator is None or not begins or response.headers.get("ETag", validator) != validator:
            return "the server sent a range that was not requested"
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else None


def _moved(response: requests.Response, location: Location) -> Location:
    """Return the location that a redirect leads to.

    Raises:
        TransferError: It must not be followed.
    """
    _drain(response)
    try:
        target, _ = urldefrag(urljoin(location.url, response.headers.get("Location", "")))
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


@contextmanager
def _breaking(location: Location) -> Iterator[None]:
    """Turn errors that may not happen again into :class:`BrokenError`, others into :class:`TransferError`."""
    try:
        yield
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
        bottom = _bottom(exc)
        if isinstance(bottom, ssl.SSLCertVerificationError):
            problem = f"{location}: the server's certificate is not trusted: {bottom.verify_message}"
            hint = "use --ca-bundle for a private certificate authority"
            raise TransferError(problem, reason=CONTACT, hint=hint) from exc
        contact = isinstance(exc, requests.exceptions.ConnectionError | requests.exceptions.Timeout)
        problem = f"{location}: {_said(bottom)}"
        raise BrokenError(problem, reason=CONTACT if contact else None) from exc
    except ValueError as exc:
        raise BrokenError(f"{location}: the server's answer is malformed") from exc


def _bottom(problem: BaseException) -> BaseException:
    """Return the innermost of nested errors."""
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
    """Return the text of an error, in plain words for the common ones."""
    match problem:
        case urllib3.exceptions.NameResolutionError():
            return "the host name can't be resolved"
        case urllib3.exceptions.ConnectTimeoutError():
            return "the connection timed out"
        case urllib3.exceptions.ReadTimeoutError():
            return "the server sent no data in time"
        case OSError():
            return system_words(problem)
        case _:
            return str(problem)[:MAX_SERVER_TEXT]
