"""Vouchers from a service with PostgreSQL that several clients ask, beside the library with the same.

Prints JSON: the seconds a voucher of either in each turn, and how long each request took.  `run.py` calls it.
The service and PostgreSQL are processes of their own, and share the cores with the clients, which are here.
"""

import json
import selectors
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

from tests.support.postgres import new_database, postgres
from tests.support.service_kit import ALL, DEVICE, listening, write_files
from tests.support.voucher_kit import signatory
from vouchers.acs.issuer import VoucherIssuer
from vouchers.acs.ledger import Ledger
from vouchers.acs.templates import load_options
from vouchers.model import DeviceId
from vouchers.signature.sign import VoucherSigner

CLIENTS: Final = 16
"""How many connections there are, each with one request at a time."""
KEY: Final = "signer"
"""An RSA key of 2048 bits."""


class Connection:
    """A client that waits for one answer at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self._received = b""
        self._begun = 0.0

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._received = b""
        self._begun = perf_counter()
        self.socket.sendall(request)

    def hear(self) -> float | None:
        """Take what has come; return how long the answer took once it is whole."""
        self._received += self.socket.recv(1 << 16)
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields[b"content-length"]):
            return None
        if not head.startswith(b"HTTP/1.1 201 "):
            raise ValueError(self._received.decode())
        return perf_counter() - self._begun


def requests(count: int, first: int) -> Iterator[bytes]:
    """Give requests for a voucher, each for another device and with a key of its own."""
    for number in range(first, first + count):
        body = json.dumps({"device": DEVICE | {"serial_number": f"{number:09}"}, "offer": "tv"}).encode()
        head = (
            f"POST /v1/vouchers HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {ALL}\r\n"
            f"Idempotency-Key: order-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def load(clients: Sequence[Connection], wanted: Iterator[bytes]) -> tuple[float, list[float]]:
    """Have all clients ask until nothing is wanted any more; return the time, and those of the requests."""
    took: list[float] = []
    begun = perf_counter()
    with selectors.DefaultSelector() as waiting:
        for client, request in zip(clients, wanted, strict=False):
            client.ask(request)
            waiting.register(client.socket, selectors.EVENT_READ, client)
        while waiting.get_map():
            for ready, _ in waiting.select():
                client = ready.data
                answered = client.hear()
                if answered is None:
                    continue
                took.append(answered)
                request = next(wanted, b"")
                if request:
                    client.ask(request)
                else:
                    waiting.unregister(client.socket)
    return perf_counter() - begun, took


def measured(turns: int, count: int, place: Path) -> dict[str, Any]:
    """Measure the service and the library in turn, once more than is counted."""
    url = postgres().url(new_database())
    Ledger(url, lambda: datetime.now(UTC)).close()
    config = write_files(place, url, key=KEY, rate=1_000_000)
    templates = load_options(place / "tv.toml")
    pairs: list[tuple[float, float]] = []
    tails: list[tuple[float, float]] = []
    with ExitStack() as stack:
        _, port = stack.enter_context(listening(config))
        clients = [Connection(port) for _ in range(CLIENTS)]
        for client in clients:
            stack.callback(client.socket.close)
        ledger = stack.enter_context(Ledger(url, lambda: datetime.now(UTC), create=False))
        issuer = VoucherIssuer(ledger, VoucherSigner(signatory(KEY)))

        def issue(first: int) -> None:
            for number in range(first, first + count):
                named = DeviceId(manufacturer="", **(DEVICE | {"serial_number": f"{number:09}"}))
                issuer.issue(named, templates)

        for turn in range(turns + 1):
            seconds, took = load(clients, requests(count, turn * count))
            pairs.append((seconds / count, timed(lambda turn=turn: issue(turn * count)) / count))  # type: ignore[misc]
            tails.append((quantiles(took, n=100)[-1], median(took)))
    return {"service and library": pairs[1:], "p99 and median": tails[1:]}


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = perf_counter()
    work()
    return perf_counter() - begun


def main() -> None:
    """Measure and print."""
    turns, count = map(int, sys.argv[1:])
    with TemporaryDirectory() as place:
        json.dump(measured(turns, count, Path(place)), sys.stdout)


if __name__ == "__main__":
    main()
