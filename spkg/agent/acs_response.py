"""What an ACS answers: envelopes, nothing, a redirect, or something that is not an answer of one."""

from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import Final
from urllib.parse import quote, urldefrag, urljoin

from spkg.agent.acs_http import read_piece, stated_by
from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.contact_words import in_words, shown_of_acs, too_long
from spkg.agent.transport import MOST_OCTETS, AcsLine
from spkg.download.answer_words import asked_delay, is_page
from spkg.download.url import Location, check_proxy
from spkg.errors import UsageError

__all__ = ["acs_location", "drain", "proxy_location", "read_body", "redirected"]

PIECE_OF_BODY: Final = 64 << 10
"""How many bytes of a body are read at once; of one that nobody wants, at all."""
BEGINNING_OF_BODY: Final = 1 << 10
"""How many bytes show whether a body is a web page, or are read of what a server says to a refusal."""
MOST_URL: Final = 4096
"""The longest target of a redirect."""
NOT_QUOTED_POST: Final = "".join(set(map(chr, range(128))) - {" "})
"""What stays as it is in the target of a redirect; spaces and all beyond ASCII are quoted."""


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


def proxy_location(url: str) -> Location:
    """Read the URL of a proxy.

    Raises:
        ContactError: It is not valid.
    """
    try:
        check_proxy(url)
    except UsageError as exc:
        problem = "expected a URL of http without credentials, such as http://proxy.example:3128"
        raise ContactError(f"proxy: {problem}", kind=ContactKind.URL) from exc
    return Location.parse(url)


def read_body(response: HTTPResponse, where: Location, line: AcsLine) -> bytes:
    """Return the envelopes of a response, or nothing.

    Raises:
        ContactError: It is not one of an ACS, or did not arrive whole.
    """
    status = response.status
    if status == HTTPStatus.NO_CONTENT:
        response.close()  # what may come nevertheless is not waited for
        return b""
    encoding = stated_by(response, "Content-Encoding").strip().lower()
    if encoding not in {"", "identity"}:
        problem = f"{where}: expected a body without encoding, got {shown_of_acs(encoding)}"
        raise ContactError(problem, kind=ContactKind.PROTOCOL)
    kind = stated_by(response, "Content-Type").partition(";")[0].strip().lower()
    # SOAP 1.1 over HTTP sends its faults with 500 (section 6.2 of SOAP).
    fault = status == HTTPStatus.INTERNAL_SERVER_ERROR and kind.endswith("xml")
    if status != HTTPStatus.OK and not fault:
        raise _refusal(response, where)
    octets = _whole(response, where, line)
    problem = ""
    if fault and b"Envelope" not in octets:
        problem = f"status {status} without an envelope"
    elif is_page(octets[:BEGINNING_OF_BODY]):
        problem = "a web page"
    if problem:
        raise ContactError(f"{where}: expected SOAP, got {problem}", kind=ContactKind.HTTP, status=status)
    return octets


def _whole(response: HTTPResponse, where: Location, line: AcsLine) -> bytes:
    """Return all of a body that is not too long.

    Raises:
        ContactError: It is, or did not arrive whole.
    """
    stated, coding = stated_by(response, "Content-Length"), stated_by(response, "Transfer-Encoding")
    if coding and coding.strip().lower() != "chunked":
        problem = f"{where}: expected Transfer-Encoding chunked, got {shown_of_acs(coding)}"
        raise ContactError(problem, kind=ContactKind.PROTOCOL)
    if stated and not coding:
        if not (stated.isascii() and stated.isdigit()):
            problem = f"{where}: expected a number as Content-Length, got {shown_of_acs(stated)}"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)
        if len(stated) > len(str(MOST_OCTETS)) or int(stated) > MOST_OCTETS:
            raise too_long(where)
    octets = bytearray()
    with in_words(where, line):
        while len(octets) <= MOST_OCTETS:
            piece = read_piece(response, PIECE_OF_BODY)
            if not piece:
                return bytes(octets)
            octets += piece
    raise too_long(where)


def _refusal(response: HTTPResponse, where: Location) -> ContactError:
    """Return the error for a status that is not success, with the first of what the server says to it."""
    said = str(response.reason or "")
    with suppress(HTTPException, OSError, ValueError):
        text = read_piece(response, BEGINNING_OF_BODY).decode("utf-8", "replace").strip()
        if text and not text.startswith("<"):
            said = text
    status = response.status
    problem = f"{where}: expected HTTP status 200 or 204, got {status} {shown_of_acs(said)}".rstrip()
    delay = asked_delay(response.headers)
    return ContactError(problem, kind=ContactKind.HTTP, status=status, retry_after=delay)


def redirected(response: HTTPResponse, where: Location) -> Location:
    """Return the location that a redirect leads to.

    Raises:
        ContactError: It must not be followed.
    """
    stated = (response.headers["Location"] or "").strip()

    def refused(problem: str) -> ContactError:
        return ContactError(f"{where}: {problem}", kind=ContactKind.REDIRECT, status=response.status)

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


def drain(response: HTTPResponse) -> bool:
    """Read the rest of an unwanted body, if it is short; return whether its connection can be used again."""
    try:
        rest = read_piece(response, PIECE_OF_BODY + 1)
        return len(rest) <= PIECE_OF_BODY and not (rest and read_piece(response, 1))
    except (HTTPException, OSError, ValueError):
        return False
