"""HTTP and HTTPS: all requests use one session, for servers that bind a digest nonce to a connection.

Redirects are followed here, because they decide which server a password is sent to.
"""

from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote, urldefrag, urljoin

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth

from spkg.download.http_answer import breaking, read_answer
from spkg.download.url import Location, Login
from spkg.download.worker import Transfer
from spkg.errors import ACCESS, LOGIN, TransferError, UsageError

__all__ = ["WebTransport"]

REDIRECTS: Final = 5
"""The most redirects on the way to a file."""
SMALL: Final = 1 << 16
"""How many bytes of an answer other than the file are read at most."""
CONNECT: Final = 30
"""How long making a connection may take, in seconds."""
MOVED: Final = frozenset({301, 302, 303, 307, 308})
NOT_QUOTED: Final = "".join(set(map(chr, range(128))) - {" "})
"""What stays as it is in the target of a redirect; spaces and all beyond ASCII are quoted."""


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
                return read_answer(response, location, offset, validator if ranged else None)
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
        with breaking(location):
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
