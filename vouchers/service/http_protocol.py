"""HTTP/1.1 on one connection, within limits: how long a client may take, and what is told to one that errs.

uvicorn and h11 do the work; this bounds the time for a request's head and for reading an answer, the number
of connections, and makes every refusal a problem document.
"""

import asyncio
import sys
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from spkg.common.documents import json_text
from vouchers.service.problems import PROBLEM, RETRY_AFTER, ServiceError, problem_document

__all__ = ["MAX_HEAD", "PEER_CERTIFICATE", "BoundedProtocol", "ConnectionLimits", "head_too_long"]

MAX_HEAD: Final = 16_384
"""The longest head of a request, in bytes."""
PEER_CERTIFICATE: Final = "spkg.peer_certificate"
"""Where an application finds the certificate of the client, in DER, that was verified."""


def head_too_long() -> ServiceError:
    """Return the problem of a request with too long a head."""
    return ServiceError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, 3, f"expected a head of at most {MAX_HEAD} bytes"
    )


class ConnectionLimits:
    """What holds for all connections of a service."""

    def __init__(self, connections: int, client_timeout: float) -> None:
        self.connections, self.client_timeout = connections, client_timeout

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "BoundedProtocol":
        """Return what serves a new connection."""
        made = BoundedProtocol(config, server_state, app_state, _loop)
        made.limits = self
        return made


class BoundedProtocol(H11Protocol):
    """One connection."""

    limits: ConnectionLimits
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _rest_timer: asyncio.TimerHandle | None = None
    _half_closed: bool = False
    """Whether the client has ended its side, and still waits for answers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        self.app_state = dict(self.app_state)
        self.app_state[PEER_CERTIFICATE] = None if secured is None else secured.getpeercert(binary_form=True)
        if len(self.connections) > self.limits.connections:
            retry = {"Retry-After": str(RETRY_AFTER)}
            self._end(ServiceError(HTTPStatus.SERVICE_UNAVAILABLE, 9, "too many connections", headers=retry))
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        super().connection_lost(exc)
        self._no_head_timer()
        self._no_write_timer()
        self._no_rest_timer()

    def data_received(self, data: bytes) -> None:
        """Go on, and have the rest of a head awaited no longer than its beginning."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.SEND_BODY:
            self._no_rest_timer()
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._no_head_timer()

    def send_400_response(self, msg: str) -> None:
        """Tell a client what is not HTTP, if it can still be told."""
        hint = getattr(sys.exception(), "error_status_hint", None)
        if hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE and self.conn.our_state is h11.IDLE:
            self._end(head_too_long())
            return
        detail = "expected an HTTP/1.1 request" if msg.startswith("Invalid") else msg.lower()
        self._end(ServiceError(HTTPStatus.BAD_REQUEST, 3, detail))

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but not for ever."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.client_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on once it has read."""
        super().resume_writing()
        self._no_write_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose client does not read is given up."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.limits.client_timeout, self.transport.abort)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has ended its side, if its request was whole by then.

        Returns:
            Whether the connection stays open, to be written to.
        """
        cycle: RequestResponseCycle | None = self.cycle
        waits = cycle is not None and not cycle.response_complete and not cycle.more_body
        # TLS has no half of a connection.
        self._half_closed = waits and self.transport.get_extra_info("ssl_object") is None
        return self._half_closed

    def on_response_complete(self) -> None:
        """Have a client that was answered before it had sent everything send the rest, but not for ever."""
        super().on_response_complete()
        # Further requests may have come before its end; the last of them may lack a part.
        if self._half_closed and (self.cycle.response_complete or self.cycle.more_body):
            self.transport.close()
        if self.conn.their_state is h11.SEND_BODY and self._rest_timer is None:
            self._rest_timer = self.loop.call_later(self.limits.client_timeout, self.transport.abort)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.client_timeout, self._too_slow)

    def _no_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _no_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _no_rest_timer(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self._end(ServiceError(HTTPStatus.REQUEST_TIMEOUT, 3, "the request was not sent in time"))

    def _end(self, problem: ServiceError) -> None:
        """Send a problem where nothing was sent yet, and close."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:  # nobody is there any more for its answer
            cycle.disconnected = True
            cycle.message_event.set()
        if not self.transport.is_closing() and self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = json_text(problem_document(problem)).encode() + b"\n"
            head = [
                f"HTTP/1.1 {int(problem.status)} {problem.status.phrase}",
                f"Content-Type: {PROBLEM}",
                f"Content-Length: {len(body)}",
                *(f"{name}: {value}" for name, value in problem.headers.items()),
                "Connection: close",
            ]
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()
        self.loop.call_later(self.limits.client_timeout, self.transport.abort)
