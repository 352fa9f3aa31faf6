"""What went wrong on the way to an ACS, in words: one place for all that a network can do."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead
from typing import Final

from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.transport import (
    MOST_OCTETS,
    AcsLine,
    EarlyEndError,
    ProxyRefusalError,
    SilenceError,
    TooLongError,
    UnfinishedError,
)
from spkg.common.printable import printable
from spkg.download.tls import AUTHORITIES, SHOW, WRONG_TIME, tls_refusal, tls_words
from spkg.download.url import Location
from spkg.errors import os_problem

__all__ = ["in_words", "shown_of_acs", "too_long"]

SHOWN_OF_ACS: Final = 80
"""How many characters of a server's text are shown."""
ACS_HINTS: Final[Mapping[str | None, str]] = {
    AUTHORITIES: "set ca-bundle for a private certificate authority",
    SHOW: "set client-certificate and client-key to show a certificate to the server",
    WRONG_TIME: "compare the clock of this device",
}
"""What to do in the agent's configuration, by the hints for commands."""


@contextmanager
def in_words(where: Location, line: AcsLine) -> Iterator[None]:
    """Turn what goes wrong with a request to a server into a :class:`ContactError`."""
    try:
        yield
    except (HTTPException, OSError, ValueError) as exc:
        raise _error(where, exc, line) from exc


def too_long(where: Location) -> ContactError:
    """Return the error for a response that is too long."""
    problem = f"{where}: the response is longer than {MOST_OCTETS} bytes"
    return ContactError(problem, kind=ContactKind.PROTOCOL)


def shown_of_acs(text: str) -> str:
    """Return the beginning of what a server said, for people."""
    return printable(text)[:SHOWN_OF_ACS]


def _error(where: Location, problem: BaseException, line: AcsLine) -> ContactError:
    """Return the error for what went wrong on the way to a server, or with its response."""
    stage = line.stage
    if isinstance(problem, ProxyRefusalError):
        return ContactError(f"{where}: the proxy {shown_of_acs(str(problem))}", kind=ContactKind.CONNECT)
    if stage is ContactKind.NAME and not isinstance(problem, SilenceError | UnfinishedError):
        return ContactError(f"{where}: the host name can't be resolved", kind=stage)
    refusal = tls_refusal(where, problem)
    if refusal is not None:
        hint = ACS_HINTS.get(refusal.hint, refusal.hint)
        return ContactError(refusal.problem, kind=ContactKind.TLS, hint=hint)
    match problem:
        case TooLongError():
            return too_long(where)
        case UnfinishedError():
            return ContactError(f"{where}: the agent ends: its post was broken off", kind=ContactKind.TIMEOUT)
        case SilenceError() | TimeoutError() if stage is not ContactKind.HTTP:
            return ContactError(f"{where}: the connection timed out", kind=stage)
        case SilenceError() | TimeoutError():
            return ContactError(f"{where}: no complete response in time", kind=ContactKind.TIMEOUT)
        case ssl.SSLEOFError() if stage is ContactKind.TLS:
            return ContactError(f"{where}: {tls_words(problem)}", kind=ContactKind.TLS, hint=ACS_HINTS[SHOW])
        case ssl.SSLEOFError() | ConnectionError() if stage is ContactKind.HTTP and line.allowance.nothing:
            hint = f"the server may want a client certificate: {ACS_HINTS[SHOW]}" if line.tls else None
            closed = f"{where}: the server closed the connection without a response"
            return ContactError(closed, kind=ContactKind.CONNECT, hint=hint)
        case ssl.SSLError() if not isinstance(problem, ssl.SSLEOFError):
            return ContactError(f"{where}: {tls_words(problem)}", kind=ContactKind.TLS)
        case EarlyEndError() | ssl.SSLError():
            return ContactError(f"{where}: the response ended early", kind=ContactKind.CONNECT)
        case IncompleteRead() if line.allowance.ended:
            return ContactError(f"{where}: the response ended early", kind=ContactKind.CONNECT)
        case OSError():
            return ContactError(f"{where}: {os_problem(problem)[:SHOWN_OF_ACS]}", kind=ContactKind.CONNECT)
        case _:
            return ContactError(f"{where}: the response is not valid HTTP", kind=ContactKind.PROTOCOL)
