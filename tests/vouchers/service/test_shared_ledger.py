"""Two services on one PostgreSQL behind PgBouncer: the database is restarted, and processes are killed."""

import json
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.acs_files import PATIENCE
from tests.support.kit import AT
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import PLACES, USER, unprivileged
from tests.support.real_servers import free_port
from tests.support.sampling import amount
from tests.support.service_kit import DEVICE, bearer, listening, request, write_files
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_entry import SerialState


class Restartable:
    """A PostgreSQL of this test's own; ``pooled`` is its URL through a PgBouncer."""

    def __init__(self, place: Path, port: int) -> None:
        self._place, self.port, self.pooled = place, port, ""
        self._who = unprivileged(place)
        self._programs = max(PLACES.glob("*/bin/initdb")).parent
        self._run("initdb", "-D", str(place / "data"), "-U", USER, "--no-sync", "-A", "trust")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._programs / program, *words],
            cwd=self._place,
            check=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._who,
        )

    def control(self, *words: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", str(self._place / "data"), "-w", "-m", "fast", "-o", options, *words)


@pytest.fixture
def database() -> Iterator[Restartable]:
    place = Path(tempfile.mkdtemp(prefix="spkg-pg-"))
    with free_port() as port:
        found = Restartable(place, port)
        found.control("start")
        server = f"host=127.0.0.1 port={port}"
        try:
            with pgbouncer(
                server, "postgres", connections=6, more="server_login_retry = 1\n"
            ) as found.pooled:
                yield found
        finally:
            with suppress(subprocess.CalledProcessError):
                found.control("stop")
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def again_and_again(stack: ExitStack, config: Path) -> Iterator[dict[int, tuple[Any, int]]]:
    """Run two services, each with a log of its own; a place has the process and its port."""
    running: dict[int, tuple[Any, int]] = {}

    def start(number: int) -> None:
        own = config.with_name(f"service-{number}-{random.randrange(1 << 30)}.toml")
        own.write_text(config.read_text())
        running[number] = stack.enter_context(listening(own))

    for number in (0, 1):
        start(number)
    running_start[id(running)] = start
    try:
        yield running
    finally:
        del running_start[id(running)]


running_start: Final[dict[int, Any]] = {}


@pytest.mark.proof
@pytest.mark.part("vouchers")
@pytest.mark.judge("pgbouncer")
def test_nothing_is_lost_and_nothing_doubled_whatever_fails(tmp_path: Path, database: Restartable) -> None:
    url = database.pooled
    Ledger(url, lambda: AT).close()
    config = write_files(tmp_path, url)
    orders = amount(600, 120)
    every = min(60, orders // 4)
    answered: list[int] = []
    over = threading.Event()

    def order(number: int) -> tuple[bytes, bytes]:
        """Ask until there is an answer, then once more; return both."""
        device = DEVICE | {"serial_number": f"{number:06}"}
        body = json.dumps({"device": device, "offer": "tv"}).encode()
        headers = bearer() | {"Idempotency-Key": f"order-{number}"}
        found: list[bytes] = []
        deadline = time.monotonic() + 2 * PATIENCE
        while len(found) < 2:
            assert time.monotonic() < deadline, number
            _, port = running[random.randrange(2)]
            try:
                answer = request(port, "POST", "/v1/vouchers", body, headers)
            except (OSError, HTTPException):
                time.sleep(0.05)
                continue
            assert answer.status in {201, 503}, answer
            if answer.status == 503:
                assert answer.headers["retry-after"]
                time.sleep(0.1)
            else:
                found.append(answer.body)
        answered.append(number)
        return found[0], found[1]

    def trouble() -> int:
        """Kill services and restart the database, in turn, each time that some orders are done."""
        count = 0
        while (wanted := (count + 1) * every) < orders:
            while len(answered) < wanted:
                if over.wait(0.01):
                    return count
            if count % 2:
                database.control("restart")
            else:
                number = random.randrange(2)
                running[number][0].kill()
                running_start[id(running)](number)
            count += 1
        return count

    with ExitStack() as stack, again_and_again(stack, config) as running:
        with ThreadPoolExecutor(9) as pool:
            troubles = pool.submit(trouble)
            try:
                pairs = [*pool.map(order, range(orders))]
            finally:
                over.set()
            assert troubles.result(PATIENCE) >= 3

    assert all(first == second for first, second in pairs)
    serials = [json.loads(first)["serials"][0] for first, _ in pairs]
    with Ledger(url, lambda: AT) as ledger:
        entries = {entry.serial: entry for entry in ledger.entries()}
        audit = audit_ledger(ledger)
    assert len({*serials}) == orders
    assert {entries[serial].state for serial in serials} == {SerialState.ISSUED}
    assert {entries[serial].serial_number for serial in serials} == {f"{n:06}" for n in range(orders)}
    assert len(entries) == orders
    assert audit.problems == ()
