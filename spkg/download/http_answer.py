"""What a server answers by HTTP: the file or the rest of it, or the reason why it does not send that.

Nothing that a server says about a body is believed if its first bytes show something else.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead
from typing import Final

import requests
import urllib3

from spkg.common.printable import printable
from spkg.download.answer_words import BYTE_ORDER_MARK, asked_delay, is_page
from spkg.download.tls import tls_refusal
from spkg.download.url import Location
from spkg.download.worker import (
    MAX_SERVER_TEXT,
    BrokenError,
    NotResumableError,
    OpenTransfer,
    read_size,
    system_words,
)
from spkg.errors import ACCESS, CONTACT, TransferError
from spkg.format.package import PREAMBLE

__all__ = ["breaking", "check_stored", "read_answer"]

BUSY: Final = frozenset({429, 503})
"""Statuses of a server that wants to be asked later."""
LATER: Final = BUSY | {408, 500, 502, 504}
"""Statuses that may be different the next time."""
WITHOUT_RANGE: Final = frozenset({401, 404, 407, 410, *LATER} - {500})
"""Statuses that a request for a part of the file has for the same reason as one for all of it."""
COMPRESSIONS: Final = frozenset(
    {"br", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "pack200-gzip", "zstd"}
)
"""Content codings that change the bytes; what else servers write there, such as ``aws-chunked``, does not."""
FIRST: Final = 1 << 10
"""How many bytes of a body that is not a package are examined."""
TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3}) ?(.*)")
"""How the library reports that a proxy does not connect to the server."""
PROXY_STATUS: Final = 407
PROXY_LOGIN: Final = "write a line 'Proxy-Authorization: ...' into the file of --header-file"
PAGE_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})


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
        self._first = b""
        self._broken: BrokenError | None = None
        """The break that comes behind the first bytes, if it was found with them."""
        if not offset:
            self._first = self._begin()

    def read(self, size: int) -> bytes:
        """Return the available bytes, at most *size*; none at the end.

        Raises:
            BrokenError: The connection broke.
        """
        if self._first:
            first, self._first = self._first[:size], self._first[size:]
            return first
        if self._broken is not None:
            raise self._broken
        with breaking(self._location):
            octets: bytes = self._response.raw.read1(size)
            return octets

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    def _begin(self) -> bytes:
        """Return the first bytes.

        Raises:
            BrokenError: The connection broke.
            TransferError: They are those of a web page.
        """
        octets = self.read(FIRST)
        if PREAMBLE.startswith(octets[: len(PREAMBLE)]):
            return octets
        stated = self._response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if stated not in PAGE_TYPES:
            try:
                while len(octets) < FIRST and _may_be_page(octets) and (more := self.read(FIRST)):
                    octets += more
            except BrokenError as exc:
                self._broken = exc
            if not is_page(octets):
                return octets
        self.close()
        marked = f" ({'' if stated in PAGE_TYPES else 'marked '}{printable(stated)[:MAX_SERVER_TEXT]})"
        problem = f"{self._location}: the server sent a web page{marked if stated else ''}, not a package"
        hint = "the server, or a portal on the way to it, may require a login"
        raise TransferError(problem, reason=ACCESS, hint=hint)


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


def read_answer(
    response: requests.Response, location: Location, offset: int, validator: str | None
) -> OpenTransfer:
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
        problem = f"{location}: {problem}"
        if validator is not None and status not in WITHOUT_RANGE:
            raise NotResumableError(problem)
        if status in LATER:
            raise BrokenError(
                problem, reason=ACCESS, busy=status in BUSY, delay=asked_delay(response.headers)
            )
        raise TransferError(problem, reason=ACCESS, hint=PROXY_LOGIN if status == PROXY_STATUS else None)
    if status == requests.codes.partial:
        return _WebTransfer(response, location, offset, read_size(total))
    length = response.headers.get("Content-Length", "")
    chunked = "Transfer-Encoding" in response.headers  # it overrides a length (RFC 9112, 6.3)
    return _WebTransfer(response, location, 0, None if chunked else read_size(length))


def check_stored(response: requests.Response, location: Location) -> None:
    """Check that a server has stored the file that was sent to it.

    Raises:
        BrokenError: It may store it later.
        TransferError: It does not.
    """
    status = response.status_code
    response.close()
    if requests.codes.ok <= status < requests.codes.multiple_choices:
        return
    problem = f"{location}: {status} {str(response.reason)[:MAX_SERVER_TEXT]}"
    if status in LATER:
        raise BrokenError(problem, reason=ACCESS, busy=status in BUSY, delay=asked_delay(response.headers))
    raise TransferError(problem, reason=ACCESS, hint=PROXY_LOGIN if status == PROXY_STATUS else None)


def _problem(response: requests.Response, offset: int, validator: str | None) -> str | None:
    """Return why an answer is not the one that was requested; None if it is."""
    if response.status_code not in {requests.codes.ok, requests.codes.partial}:
        return f"{response.status_code} {str(response.reason)[:MAX_SERVER_TEXT]}"
    for coding in response.headers.get("Content-Encoding", "").lower().split(","):
        if coding.strip().removeprefix("x-") in COMPRESSIONS:
            return f"the server compressed the file with {coding.strip()}, which was not requested"
    transferred = response.headers.get("Transfer-Encoding", "chunked").strip().lower()
    if transferred not in {"", "chunked", "identity"}:  # the library decodes no other
        return f"the server encoded the file with {printable(transferred)}, which was not requested"
    if response.status_code == requests.codes.partial:
        begins = response.headers.get("Content-Range", "").lower().startswith(f"bytes {offset}-")
        if validator is None or not begins or response.headers.get("ETag", validator) != validator:
            return "the server sent a range that was not requested"
    return None


def _may_be_page(octets: bytes) -> bool:
    """Whether more bytes may show that a body is a web page."""
    text = octets.removeprefix(BYTE_ORDER_MARK).lstrip()
    return text.startswith(b"<") or not text or BYTE_ORDER_MARK.startswith(octets)


@contextmanager
def breaking(location: Location) -> Iterator[None]:
    """Turn errors that may not happen again into :class:`BrokenError`, others into :class:`TransferError`."""
    try:
        yield
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
        bottom = _innermost(exc)
        refusal = tls_refusal(location, bottom)
        if refusal is not None:
            raise refusal from exc
        if isinstance(exc, requests.exceptions.ProxyError):
            raise _proxy_error(location, bottom) from exc
        contact = isinstance(exc, requests.exceptions.ConnectionError | requests.exceptions.Timeout)
        problem = f"{location}: {_said(bottom)}"
        raise BrokenError(problem, reason=CONTACT if contact else None) from exc
    except ValueError as exc:
        raise BrokenError(f"{location}: the server's answer is malformed") from exc


def _proxy_error(location: Location, bottom: BaseException) -> BrokenError | TransferError:
    """Return the error for a proxy that can't be reached, or does not connect to the server."""
    answer = TUNNEL.match(str(bottom))
    if answer is None:
        return BrokenError(f"{location}: the proxy: {_said(bottom)}", reason=CONTACT)
    status = int(answer[1])
    problem = f"{location}: the proxy answered {status} {answer[2][:MAX_SERVER_TEXT]}".rstrip()
    if status in LATER:
        return BrokenError(problem, reason=CONTACT)
    return TransferError(problem, reason=CONTACT, hint=PROXY_LOGIN if status == PROXY_STATUS else None)


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
        case IncompleteRead():
            return "the connection broke"
        case HTTPException():
            return "the server's answer is malformed"
        case _:
            return printable(str(problem))[:MAX_SERVER_TEXT]


def _innermost(problem: BaseException) -> BaseException:
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
