"""The application: who is let in, what each request leads to, and what is noted of it."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from spkg.errors import SpkgError
from vouchers.service.api import ENDPOINTS, Endpoint, ServiceCall, ServiceParts
from vouchers.service.http_protocol import MAX_HEAD, PEER_CERTIFICATE, head_too_long
from vouchers.service.problems import RETRY_AFTER, ServiceError, problem_of, problem_response
from vouchers.service.rate_limits import RateLimits
from vouchers.service.service_log import ServiceLog
from vouchers.service.tokens import AccessFile, ApiClient

__all__ = ["ServiceApp"]

NOBODY_YET: Final = ApiClient(name="", scopes=frozenset())
"""Who calls what anybody may call."""
EVERY_ANSWER: Final = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""Headers of every answer."""
SITES: Final = {"same-origin", "none"}
"""What a browser says of requests that come from our own page, or from its user."""


class ServiceApp:
    """An application for ASGI.

    Args:
        parts: What the endpoints work with.
        access_file: Who may use the service.
        log: Where each request is noted.
    """

    def __init__(self, parts: ServiceParts, access_file: AccessFile, log: ServiceLog) -> None:
        self._parts, self._access, self._log = parts, access_file, log
        self._limits = RateLimits(parts.settings.rate_limit, parts.timer)
        tls = parts.settings.tls
        by_certificate = tls is not None and tls.client_ca is not None
        self._or_certificate = ", or a certificate that the file of tokens names" if by_certificate else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        noted = _Noted(send)
        begun = self._parts.timer()
        endpoint: Endpoint | None = None
        client = NOBODY_YET
        self._parts.metrics.in_flight.inc()
        try:
            try:
                _check_head(request)
                endpoint, path = _found(request)
                client = self._let_in(request, endpoint)
                call = ServiceCall(parts=self._parts, request=request, client=client, path=path)
                response = await self._answer(endpoint, call)
            except ServiceError as exc:
                response = problem_response(exc)
                noted.problem = exc.detail
            except SpkgError as exc:
                response = problem_response(problem_of(exc))
                noted.problem = str(exc)
            except Exception as exc:  # noqa: BLE001 - no traceback reaches a client
                self._parts.defect(exc)
                response = problem_response(
                    ServiceError(HTTPStatus.INTERNAL_SERVER_ERROR, 1, "a defect in spkg")
                )
            await response(scope, receive, noted.send)
        finally:
            seconds = self._parts.timer() - begun
            route = endpoint.path if endpoint is not None else "other"
            self._count(request, route, noted.status, seconds)
            self._log.note(
                "request",
                method=request.method[:20],
                path=scope["raw_path"].decode("ascii", "replace")[:500],
                status=noted.status,
                seconds=round(seconds, 6),
                client=client.name,
                **({} if noted.problem is None else {"problem": noted.problem[:500]}),
            )

    def refresh(self) -> None:
        """Read the file of tokens again if it has changed."""
        problem = self._access.refresh()
        if problem is not None:
            self._log.note("tokens", level="error", problem=problem)

    async def _answer(self, endpoint: Endpoint, call: ServiceCall) -> Response:
        if endpoint.long:
            return await endpoint.answer(call)
        try:
            async with asyncio.timeout(self._parts.settings.request_timeout):
                return await endpoint.answer(call)
        except TimeoutError as exc:
            retry = {"Retry-After": str(RETRY_AFTER)}
            raise ServiceError(
                HTTPStatus.SERVICE_UNAVAILABLE, 9, "the ledger did not answer in time", headers=retry
            ) from exc

    def _let_in(self, request: Request, endpoint: Endpoint) -> ApiClient:
        """Return who asks.

        Raises:
            ServiceError: They may not.
        """
        if request.method == "POST" and _is_of_another_site(request):
            raise ServiceError(HTTPStatus.FORBIDDEN, 5, "a page of another site must not use this service")
        if endpoint.scopes is None:
            return NOBODY_YET
        clients = self._access.clients
        given = request.headers.getlist("authorization")
        client = clients.by_header(given[0]) if len(given) == 1 else None
        if client is None and not given:
            client = clients.by_certificate(request.scope.get("state", {}).get(PEER_CERTIFICATE))
        if client is None:
            raise ServiceError(
                HTTPStatus.UNAUTHORIZED,
                4,
                "expected a valid token: Authorization: Bearer TOKEN" + self._or_certificate,
                headers={"WWW-Authenticate": 'Bearer realm="spkg"'},
            )
        missing = sorted(scope.value for scope in endpoint.scopes - client.scopes)
        if missing:
            scopes = f'Bearer realm="spkg", error="insufficient_scope", scope="{" ".join(missing)}"'
            raise ServiceError(
                HTTPStatus.FORBIDDEN,
                5,
                f"the scope {' and '.join(missing)} is missing",
                headers={"WWW-Authenticate": scopes},
            )
        wait = self._limits.take(client.name)
        if wait:
            raise ServiceError(
                HTTPStatus.TOO_MANY_REQUESTS,
                5,
                f"expected at most {self._parts.settings.rate_limit} requests a second",
                headers={"Retry-After": str(max(1, round(wait)))},
            )
        return client

    def _count(self, request: Request, route: str, status: int, seconds: float) -> None:
        method = request.method if request.method in {"GET", "HEAD", "POST"} else "other"
        metrics = self._parts.metrics
        metrics.in_flight.dec()
        metrics.requests.labels(method, route, str(status)).inc()
        metrics.seconds.labels(route).observe(seconds)


class _Noted:
    """What is sent, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.problem: str | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *EVERY_ANSWER]}
        await self._send(message)


def _is_of_another_site(request: Request) -> bool:
    """Whether a browser sends a request for a page of another site; programs say nothing of that."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is not None:
        return origin.partition("://")[2] != request.headers.get("host")
    return site is not None and site not in SITES


def _check_head(request: Request) -> None:
    """Refuse a head that is too long, since h11 bounds only what has not arrived whole, or unclear.

    Raises:
        ServiceError: It is.
    """
    scope = request.scope
    # h11 goes by the chunks; another server before this one may go by the length (RFC 9112, 6.1).
    names = {name for name, _ in scope["headers"]}
    if b"transfer-encoding" in names and (b"content-length" in names or scope["http_version"] == "1.0"):
        raise _unclear("expected either Content-Length, or Transfer-Encoding in HTTP/1.1")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise _unclear(f"expected a body without Content-Encoding, got {encoding[:40]!r}")
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    if fields + len(scope["raw_path"]) + len(scope["query_string"]) > MAX_HEAD:
        raise head_too_long()


def _unclear(problem: str) -> ServiceError:
    return ServiceError(HTTPStatus.BAD_REQUEST, 3, problem, headers={"Connection": "close"})


def _split(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


TABLE: Final = [(_split(one.path), one) for one in ENDPOINTS]


def _found(request: Request) -> tuple[Endpoint, Mapping[str, str]]:
    """Return what a path and a method lead to.  A part of a path may have an encoded slash in it.

    Raises:
        ServiceError: Nothing.
    """
    given = _split(request.scope["raw_path"].decode("ascii"))
    allowed: dict[str, tuple[Endpoint, Mapping[str, str]]] = {}
    for parts, endpoint in TABLE:
        path = _matched(parts, given)
        if path is not None:
            allowed[endpoint.method] = endpoint, path
    if not allowed:
        raise ServiceError(HTTPStatus.NOT_FOUND, 5, "there is nothing at this path")
    method = "GET" if request.method == "HEAD" else request.method
    if method not in allowed:
        names = ", ".join([*allowed, *(["HEAD"] if "GET" in allowed else [])])
        raise ServiceError(
            HTTPStatus.METHOD_NOT_ALLOWED, 2, f"expected one of {names}", headers={"Allow": names}
        )
    return allowed[method]


def _matched(parts: list[str], given: list[str]) -> dict[str, Any] | None:
    if len(parts) != len(given):
        return None
    path = {}
    for part, text in zip(parts, given, strict=True):
        try:
            plain = unquote(text, errors="strict")
        except UnicodeDecodeError:
            return None
        if part.startswith("{"):
            path[part[1:-1]] = plain
        elif part != plain:
            return None
    return path
