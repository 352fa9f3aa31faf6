"""Errors as problem details (RFC 9457), with the exit status and the section that the command line prints."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from spkg.common.documents import Document, json_text
from spkg.errors import FormatError, HostError, RefusedError, SpkgError, UsageError
from vouchers.acs.ledger_database import LedgerAwayError

__all__ = ["PROBLEM", "RETRY_AFTER", "ServiceError", "problem_document", "problem_of", "problem_response"]

PROBLEM: Final = "application/problem+json"
RETRY_AFTER: Final = 2
"""Seconds after which a client should try again."""
MENDED_AFTER: Final = 60
"""The same where the ledger has to be mended by somebody."""
STATUSES: Final[dict[type[SpkgError], tuple[HTTPStatus, int]]] = {
    UsageError: (HTTPStatus.UNPROCESSABLE_ENTITY, 2),
    FormatError: (HTTPStatus.UNPROCESSABLE_ENTITY, 3),
    RefusedError: (HTTPStatus.CONFLICT, 5),
    HostError: (HTTPStatus.SERVICE_UNAVAILABLE, 9),
}
"""The status of an answer and the exit status for each class of errors that a request can lead to."""


class ServiceError(Exception):
    """A request that can't be answered as asked.

    Args:
        status: The status of the answer.
        exit_status: What the command line would end in.
        detail: What is wrong, lower case, without a full stop.
        section: The clause that is violated.
        field: Where in the request.
        hint: What to do next.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        exit_status: int,
        detail: str,
        *,
        section: str | None = None,
        field: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.exit_status, self.detail = status, exit_status, detail
        self.section, self.field, self.hint = section, field, hint
        self.headers = dict(headers or {})


def problem_of(error: SpkgError) -> ServiceError:
    """Return the problem for an error of the library."""
    kind = next((one for one in type(error).__mro__ if one in STATUSES), None)
    status, exit_status = (HTTPStatus.INTERNAL_SERVER_ERROR, 1) if kind is None else STATUSES[kind]
    headers = {}
    detail = error.problem
    if isinstance(error, LedgerAwayError):
        # Where the database is, and what it says of itself, is for the log.
        detail, headers = "the ledger is not available at the moment", {"Retry-After": str(RETRY_AFTER)}
    elif isinstance(error, HostError):
        detail, headers = "the ledger can't be used", {"Retry-After": str(MENDED_AFTER)}
    return ServiceError(
        status,
        exit_status,
        detail,
        section=error.section,
        field=error.field,
        hint=None if isinstance(error, HostError) else error.hint,
        headers=headers,
    )


def problem_document(problem: ServiceError) -> Document:
    """Return a problem as JSON."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        "exit": problem.exit_status,
        "section": problem.section,
        "field": problem.field,
        "hint": problem.hint,
    }
    return document


def problem_response(problem: ServiceError) -> Response:
    """Return the answer that says what is wrong."""
    return Response(
        json_text(problem_document(problem)) + "\n",
        int(problem.status),
        headers=problem.headers,
        media_type=PROBLEM,
    )
