"""The service as a process: what it is made of, where it listens, and how it stops.

SIGTERM and SIGINT end it once requests in flight are answered; SIGHUP has it read the file of tokens again,
which it also does by itself when that changes.
"""

import asyncio
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import uvicorn

from spkg.common.times import write_time
from spkg.errors import FormatError, HostError, SpkgError, os_problem
from vouchers.acs.ledger_answers import forget_answers
from vouchers.acs.ledger_database import LedgerAwayError
from vouchers.service.api import ServiceParts
from vouchers.service.app import ServiceApp
from vouchers.service.http_protocol import MAX_HEAD, ConnectionLimits
from vouchers.service.issuing_desk import IssuingDesk
from vouchers.service.ledger_access import LedgerAccess
from vouchers.service.metrics import ServiceMetrics
from vouchers.service.operator_page import OperatorPage
from vouchers.service.service_log import LibraryLogs, ServiceLog
from vouchers.service.settings import ServiceSettings, TlsSettings
from vouchers.service.tokens import AccessFile
from vouchers.signature.sign import VoucherSigner

__all__ = ["VoucherService", "serve_vouchers"]

KEEP_ALIVE: Final = 30
"""Seconds that a connection may be idle."""
BACKLOG: Final = 512
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
TOKENS_SECONDS: Final = 1
"""How often the file of tokens is looked at."""
FORGET_SECONDS: Final = 600
"""How often old answers are removed."""


@dataclass(frozen=True, kw_only=True)
class VoucherService:
    """All that a service is made of.

    Args:
        settings: Its configuration.
        signer: Signs vouchers.
        clock: Returns the current time.
        timer: Returns the time in seconds; it never jumps.
        log: Where it says what happens.
        defect: Called with an exception that nobody expected.
    """

    settings: ServiceSettings
    signer: VoucherSigner
    clock: Callable[[], datetime]
    timer: Callable[[], float]
    log: ServiceLog
    defect: Callable[[Exception], object] = lambda _: None
    ready: Callable[[str, Callable[[], object]], object] = lambda _url, _stop: None
    """Called with its URL, once it listens, and with what stops it, from any thread."""


class _Stopping:
    """Whether the service is to end."""

    def __init__(self) -> None:
        self.begun = False

    def __call__(self) -> bool:
        return self.begun


class _Server(uvicorn.Server):
    """Ends with 0 when it is told to stop: that is no failure."""

    def __init__(self, config: uvicorn.Config, stopping: _Stopping, log: ServiceLog) -> None:
        super().__init__(config)
        self._stopping, self._log = stopping, log

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the event loop has them, where a lock can't be held when they come."""
        yield

    def signalled(self, number: int) -> None:
        """Stop; a second signal does not wait for anything."""
        if self._stopping.begun:
            self.force_exit = True
        self._log.note("stopping", signal=signal.Signals(number).name)
        self.stop()

    def stop(self) -> None:
        """Stop once requests in flight are answered."""
        self._stopping.begun = True
        self.should_exit = True


def serve_vouchers(service: VoucherService) -> None:
    """Serve until a signal ends it.

    Raises:
        HostError: The address, the ledger or the file of tokens can't be used.
        FormatError: The file of tokens is malformed.
        OSError: A file can't be read.
    """
    settings, log = service.settings, service.log
    stopping = _Stopping()

    def ledger_changed(problem: SpkgError | None) -> None:
        metrics.ledger_up.set(problem is None)
        if problem is None:
            log.note("ledger", up=True)
        else:
            log.note("ledger", level="error", up=False, problem=str(problem))

    def defect(error: Exception) -> None:
        log.note("defect", level="error", error=type(error).__name__)
        service.defect(error)

    with ExitStack() as ends:
        ends.callback(log.close)
        access_file = AccessFile(settings.tokens_file)
        metrics = ServiceMetrics(lambda: log.dropped)
        access = LedgerAccess(settings.ledger, service.clock, ledger_changed)
        ends.callback(access.close)
        desk = IssuingDesk(access, service.signer, defect)
        parts = ServiceParts(
            settings=settings,
            access=access,
            desk=desk,
            signer=service.signer,
            metrics=metrics,
            page=OperatorPage(),
            clock=service.clock,
            timer=service.timer,
            stopping=stopping,
            defect=defect,
        )
        app = ServiceApp(parts, access_file, log)
        ends.callback(parts.readers.shutdown, cancel_futures=True)
        try:
            access.ledger()
        except LedgerAwayError as exc:  # it may come later: until then requests are answered with 503
            access.note(exc)
        else:
            access.note(None)
        listener = _listener(settings)
        with listener, _library_logs(log), desk.working():
            host, port = listener.getsockname()[:2]
            scheme = "http" if settings.tls is None else "https"
            shown = f"[{host}]" if ":" in host else host
            url = f"{scheme}://{shown}:{port}"
            log.note("listening", url=url)
            server = _Server(_config(settings, app, log), stopping, log)
            service.ready(url, server.stop)
            asyncio.run(_run(server, listener, app, parts))
        log.note("stopped")


async def _run(server: _Server, listener: socket.socket, app: ServiceApp, parts: ServiceParts) -> None:
    errands = [asyncio.create_task(_look_at_tokens(app)), asyncio.create_task(_forget(parts))]
    with _signals(server, app):
        try:
            await server.serve(sockets=[listener])
        finally:
            for errand in errands:
                errand.cancel()
            await asyncio.gather(*errands, return_exceptions=True)


@contextmanager
def _signals(server: _Server, app: ServiceApp) -> Iterator[None]:
    """Have the event loop handle signals, if this thread gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (*ENDING_SIGNALS, signal.SIGHUP)}
    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, server.signalled, number)
    loop.add_signal_handler(signal.SIGHUP, app.refresh)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _look_at_tokens(app: ServiceApp) -> None:
    while True:
        await asyncio.sleep(TOKENS_SECONDS)
        app.refresh()


async def _forget(parts: ServiceParts) -> None:
    """Remove answers that were kept for long enough, now and then."""
    while True:
        await asyncio.sleep(FORGET_SECONDS)
        before = write_time(parts.clock() - timedelta(seconds=parts.settings.keep_answers))
        try:
            await parts.read(lambda ledger, before=before: forget_answers(ledger, before))  # type: ignore[misc]
        except SpkgError:
            continue  # the log has it, and there is another time


def _config(settings: ServiceSettings, app: ServiceApp, log: ServiceLog) -> uvicorn.Config:
    limits = ConnectionLimits(settings.connections, settings.client_timeout)
    config = uvicorn.Config(
        app,
        http=limits.protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.stop_timeout) or 1,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    config.load()
    if settings.tls is not None:
        config.ssl = _tls_context(settings.tls)
        config.ssl.sslobject_class = _told_handshake(log)
    return config


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """Return how the service shows who it is, and whose certificates it takes.

    Raises:
        FormatError: A file has no certificate or key in it, or they do not go together.
        OSError: A file can't be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    place = tls.cert
    try:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
        if tls.client_ca is not None:
            place = tls.client_ca
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except ssl.SSLError as exc:
        reason = str(exc.reason or exc).lower().replace("_", " ")
        raise FormatError(f"expected a certificate and its key in PEM: {reason}", source=str(place)) from exc
    return context


def _told_handshake(log: ServiceLog) -> type[ssl.SSLObject]:
    """Return TLS for a connection: it notes why a handshake fails, and tells a client of its certificate.

    asyncio sends what TLS has for the client before it waits, but not before it gives up.  A client that does
    not speak TLS would wait, too.
    """

    class Handshake(ssl.SSLObject):
        failure: ssl.SSLError | None = None

        def do_handshake(self) -> None:
            if self.failure is not None:
                raise self.failure
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as exc:
                why = getattr(exc, "verify_message", "") or str(exc.reason or exc).lower().replace("_", " ")
                log.note("tls", level="warning", problem=why)
                if not isinstance(exc, ssl.SSLCertVerificationError):
                    raise
                self.failure = exc
                raise ssl.SSLWantReadError from exc

    return Handshake


def _listener(settings: ServiceSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as exc:
        # Python adds the address once more.
        problem = os_problem(exc).partition(" (while")[0] if exc.filename is None else str(exc)
        raise HostError(f"listen: {settings.host}:{settings.port}: {problem}") from exc


@contextmanager
def _library_logs(log: ServiceLog) -> Iterator[None]:
    handler = LibraryLogs(log)
    names = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    before = [(one.propagate, one.level) for one in names]
    for one in names:
        one.addHandler(handler)
        one.propagate = False
        one.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for one, (propagate, level) in zip(names, before, strict=True):
            one.removeHandler(handler)
            one.propagate = propagate
            one.setLevel(level)
