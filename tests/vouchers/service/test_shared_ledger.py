"""Two services on one PostgreSQL behind PgBouncer: the database is restarted, and processes are killed."""

import json
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.acs_files import PATIENCE
from tests.support.kit import AT
from tests.support.postgres import PLACES
from tests.support.sampling import amount
from tests.support.service_kit import DEVICE, bearer, listening, request, write_files
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_entry import SerialState

BOUNCER: Final = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "pgbouncer"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not answers(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Restartable:
    """A PostgreSQL of this test's own, behind a PgBouncer."""

    def __init__(self, place: Path) -> None:
        self._place, self.port, self.pooled = place, free_port(), free_port()
        self._who: Mapping[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(place, owner.pw_uid, owner.pw_gid)
            self._who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self._programs = max(PLACES.glob("*/bin/initdb")).parent
        self._run("initdb", "-D", str(place / "data"), "-U", "tester", "--no-sync", "-A", "trust")

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

    def start_pooler(self) -> "subprocess.Popen[bytes]":
        settings, users = self._place / "settings", self._place / "users"
        users.write_text('"tester" ""\n')
        settings.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={self.port} user=tester\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.pooled}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = 6\n"
            "server_login_retry = 1\n"
        )
        for path in (settings, users):
            path.chmod(0o644)
        return subprocess.Popen(
            [BOUNCER, str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._who,
        )


@pytest.fixture
def database() -> Iterator[Restartable]:
    place = Path(tempfile.mkdtemp(prefix="spkg-pg-"))
    found = Restartable(place)
    found.control("start")
    pooler = found.start_pooler()
    try:
        wait_for(found.pooled)
        yield found
    finally:
        pooler.kill()
        pooler.wait(PATIENCE)
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
    url = f"postgresql://tester@127.0.0.1:{database.pooled}/postgres"
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
