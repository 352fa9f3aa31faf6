"""Why an ACS was not reached, or did not answer as one: the one error of a session's outside."""

from enum import StrEnum
from typing import Final

from spkg.errors import ACCESS, CONTACT, LOGIN, TIMEOUT, Reason, TransferError

__all__ = ["ContactError", "ContactKind"]


class ContactKind(StrEnum):
    """What part of reaching an ACS failed, in a word that never changes."""

    URL = "url"
    """The URL is not one of http or https."""
    NAME = "name"
    """The host name can't be resolved."""
    CONNECT = "connect"
    """No connection could be made, or it broke."""
    TLS = "tls"
    """The server is not trusted, does not trust us, or speaks no TLS."""
    LOGIN = "login"
    """The server refused the login, or requires one that can't be given."""
    REDIRECT = "redirect"
    """A redirect that must not be followed, or one too many."""
    HTTP = "http"
    """The server answered with a status other than 200 and 204, or with a web page."""
    PROTOCOL = "protocol"
    """What the server answered is not HTTP, is longer than allowed, or encoded."""
    TIMEOUT = "timeout"
    """The server did not answer in time."""


CONTACT_REASONS: Final[dict[ContactKind, Reason]] = {
    ContactKind.URL: ACCESS,
    ContactKind.NAME: CONTACT,
    ContactKind.CONNECT: CONTACT,
    ContactKind.TLS: CONTACT,
    ContactKind.LOGIN: LOGIN,
    ContactKind.REDIRECT: ACCESS,
    ContactKind.HTTP: ACCESS,
    ContactKind.PROTOCOL: ACCESS,
    ContactKind.TIMEOUT: TIMEOUT,
}


class ContactError(TransferError):
    """An ACS was not reached, or did not answer as one.

    Args:
        problem: What happened.
        kind: What part failed.
        retry_after: How many seconds the server asks to wait.
        status: The status of HTTP, if that was the problem.
        hint: What the reader can do next.
    """

    def __init__(
        self,
        problem: str,
        *,
        kind: ContactKind,
        retry_after: float | None = None,
        status: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem, reason=CONTACT_REASONS[kind], hint=hint)
        self.kind = kind
        self.retry_after = retry_after
        self.status = status
