"""A service of vouchers: in this process, asked without a network, or as one of its own."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from spkg.common.times import write_time
from tests.support.acs_files import PATIENCE
from tests.support.kit import AT, KEYS
from tests.support.voucher_kit import pem, signatory
from vouchers.acs.ledger import Ledger
from vouchers.service.api import ServiceParts
from vouchers.service.app import ServiceApp
from vouchers.service.http_protocol import PEER_CERTIFICATE
from vouchers.service.issuing_desk import IssuingDesk
from vouchers.service.ledger_access import LedgerAccess
from vouchers.service.metrics import ServiceMetrics
from vouchers.service.operator_page import OperatorPage
from vouchers.service.server import VoucherService, serve_vouchers
from vouchers.service.service_log import ServiceLog
from vouchers.service.settings import load_service_settings
from vouchers.service.tokens import AccessFile
from vouchers.signature.sign import VoucherSigner

__all__ = [
    "ALL",
    "DEVICE",
    "OFFERED",
    "READER",
    "Answered",
    "Service",
    "bearer",
    "listening",
    "now",
    "request",
    "running",
    "served",
    "write_files",
]

ALL: Final = "token-of-the-shop"
READER: Final = "token-of-the-reader"
OFFERED: Final = """
[[option]]
ident = "IPTV"
mode = "EnableWithExpiration"
duration = 12
duration-units = "Months"
"""
DEVICE: Final = {"oui": "00D09E", "product_class": "Gateway", "serial_number": "000001"}


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def bearer(token: str = ALL) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def write_files(
    place: Path, ledger: str = "ledger.db", more: str = "", key: str = "signer", rate: int = 100_000
) -> Path:
    """Write what a service needs, and return its configuration."""
    (place / "tv.toml").write_text(OFFERED)
    (place / "tokens.toml").write_text(
        f'[[token]]\nname = "shop"\nsha256 = "{digest(ALL)}"\nscopes = ["issue", "read", "void"]\n'
        f'[[token]]\nname = "reader"\nsha256 = "{digest(READER)}"\nscopes = ["read"]\n'
    )
    (place / "signer.pem").write_bytes(pem(signatory(key).certificate))
    config = place / "service.toml"
    config.write_text(
        f'[service]\nlisten = "127.0.0.1:0"\nledger = "{ledger}"\nkey = "{KEYS / key}.key"\n'
        f'cert = "signer.pem"\ntokens-file = "tokens.toml"\nrate-limit = {rate}\n{more}\n'
        '[offers]\ntv = "tv.toml"\n'
    )
    return config


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def problem(self) -> tuple[int, int, str | None, str]:
        """Its status, exit status, field and detail; it has to be a whole problem."""
        found = self.json
        assert self.headers["content-type"] == "application/problem+json"
        assert found["status"] == self.status
        assert {"type", "title", "detail", "exit", "section"} <= found.keys()
        return found["status"], found["exit"], found["field"], found["detail"]


@dataclass(kw_only=True)
class Service:
    """A service in this process."""

    app: ServiceApp
    parts: ServiceParts
    place: Path
    log: ServiceLog
    time: list[float]
    """What the timer shows."""
    stopping: list[bool]
    defects: list[Exception] = field(default_factory=list)

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        certificate: bytes | None = None,
    ) -> Answered:
        """Make one request."""
        octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return asyncio.run(
            self._ask(method, target, octets, bearer() if headers is None else headers, certificate)
        )

    async def _ask(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], certificate: bytes | None
    ) -> Answered:
        path, _, query = target.partition("?")
        given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"test"), *given],
            "state": {PEER_CERTIFICATE: certificate},
            "server": ("127.0.0.1", 80),
        }
        left = [body[start : start + 1000] for start in range(0, len(body), 1000)] or [b""]
        sent: list[Any] = []

        async def receive() -> Any:
            if not left:
                await asyncio.sleep(PATIENCE)
            chunk = left.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        begin, *pieces = sent
        return Answered(
            status=begin["status"],
            headers={name.decode(): value.decode() for name, value in begin["headers"]},
            body=b"".join(piece.get("body", b"") for piece in pieces),
        )

    @property
    def ledger(self) -> Ledger:
        return self.parts.access.ledger()

    def noted(self) -> list[Any]:
        """Return what the log has; it is closed."""
        self.log.close()
        return [json.loads(line) for line in (self.place / "log").read_text().splitlines()]


@contextmanager
def served(
    place: Path, ledger: str = "ledger.db", more: str = "", key: str = "signer", rate: int = 100_000
) -> Iterator[Service]:
    """Make a service, with a new ledger unless there is one."""
    settings = load_service_settings(write_files(place, ledger, more, key, rate))
    Ledger(settings.ledger, lambda: AT).close()
    descriptor = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    log = ServiceLog(descriptor, lambda: write_time(AT))
    changes: list[object] = []
    moment, stopping, defects = [0.0], [False], list[Exception]()
    access = LedgerAccess(settings.ledger, lambda: AT, changes.append)
    signer = VoucherSigner(signatory(key))
    desk = IssuingDesk(access, signer, defects.append)
    parts = ServiceParts(
        settings=settings,
        access=access,
        desk=desk,
        signer=signer,
        metrics=ServiceMetrics(lambda: log.dropped),
        page=OperatorPage(),
        clock=lambda: AT,
        timer=lambda: moment[0],
        stopping=lambda: stopping[0],
        defect=defects.append,
    )
    app = ServiceApp(parts, AccessFile(settings.tokens_file), log)
    try:
        with desk.working():
            yield Service(
                app=app, parts=parts, place=place, log=log, time=moment, stopping=stopping, defects=defects
            )
        assert defects == []
    finally:
        parts.readers.shutdown()
        access.close()
        log.close()
        os.close(descriptor)


@contextmanager
def listening(config: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a service as a process; yield it and its port."""
    log = config.with_suffix(".log")
    with log.open("wb") as output, config.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "spkg", "voucher", "serve", "--config", str(config), *more],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            lines = log.read_text().splitlines()
            urls = [json.loads(line)["url"] for line in lines if '"listening"' in line]
            if urls:
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        port = int(urls[0].rpartition(":")[2])
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE):
                break
        yield process, port
    finally:
        process.kill()
        process.wait(PATIENCE)


def request(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answered:
    """Make one request by the network."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, dict(bearer() if headers is None else headers))
        found = connection.getresponse()
        names = {name.lower(): value for name, value in found.getheaders()}
        return Answered(status=found.status, headers=names, body=found.read())
    finally:
        connection.close()


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def running(place: Path, more: str = "", access: str = "") -> Iterator[tuple[int, Callable[[], object]]]:
    """Run a service in a thread; yield its port, and what stops it."""
    settings = load_service_settings(write_files(place, more=more))
    with (place / "tokens.toml").open("a") as tokens:
        tokens.write(access)
    Ledger(settings.ledger, now).close()
    ready = threading.Event()
    found: list[Any] = []

    def tell(url: str, stop: Callable[[], object]) -> None:
        found.extend((int(url.rpartition(":")[2]), stop))
        ready.set()

    def serve() -> None:
        try:
            serve_vouchers(service)
        except BaseException as exc:
            failures.append(exc)
            raise
        finally:
            ready.set()

    failures: list[BaseException] = []
    with (place / "log").open("wb") as log:
        service = VoucherService(
            settings=settings,
            signer=VoucherSigner(signatory()),
            clock=now,
            timer=time.monotonic,
            log=ServiceLog(log.fileno(), lambda: write_time(now())),
            ready=tell,
        )
        thread = threading.Thread(target=serve)
        thread.start()
        assert ready.wait(PATIENCE)
        assert found, failures
        try:
            yield found[0], found[1]
        finally:
            found[1]()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert failures == []
