"""A ledger behind PgBouncer in transaction mode, which gives each transaction another connection."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.support.kit import AT
from tests.support.ledger_kit import wants
from tests.support.postgres import USER, new_database, postgres
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_entry import SerialState

PLACES: Final = f"{os.environ.get('PATH', '')}:/usr/sbin"
PROGRAM: Final = shutil.which("pgbouncer", path=PLACES) or "pgbouncer"
PATIENCE: Final = 30
"""How many seconds PgBouncer may take to answer, and to end."""


@pytest.fixture
def pooled() -> Iterator[str]:
    """The URL of a database through PgBouncer, which has two connections to it."""
    server, name = postgres(), new_database()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as place:
        settings, users = Path(place, "settings"), Path(place, "users")
        users.write_text(f'"{USER}" ""\n')
        settings.write_text(
            f"[databases]\n{name} = host={server.directory} port={server.port} user={USER}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = 2\n"
        )
        owner = pwd.getpwuid(server.directory.stat().st_uid)
        for path in (Path(place), settings, users):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        as_owner = ["-u", owner.pw_name] if os.geteuid() == 0 else []
        begun = subprocess.Popen(
            [PROGRAM, *as_owner, str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port)
            yield f"postgresql://{USER}@127.0.0.1:{port}/{name}"
        finally:
            begun.kill()
            begun.wait(PATIENCE)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    pytest.fail("PgBouncer does not answer")


@pytest.mark.judge("pgbouncer")
def test_many_issuers_share_a_ledger_through_a_pool(pooled: str) -> None:
    Ledger(pooled, lambda: AT).close()

    def work(number: int) -> list[int]:
        taken = []
        with Ledger(pooled, lambda: AT, create=False) as one:
            for start in range(0, 50, 5):
                some = one.reserve(
                    wants(*range(start, start + 5)), run=f"{number}-{start}", batch=f"{number % 2}"
                )
                taken += [serial for outcome in some for serial in outcome.serials]
                one.confirm_all(taken[-5:])
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [*pool.map(work, range(6))]

    with Ledger(pooled, lambda: AT, create=False) as one:
        entries, audit = [*one.entries()], audit_ledger(one)
    assert taken[0] == taken[2] == taken[4]
    assert taken[1] == taken[3] == taken[5]
    assert sorted(taken[0] + taken[1]) == [entry.serial for entry in entries] == [*range(1, 101)]
    assert {entry.state for entry in entries} == {SerialState.ISSUED}
    assert audit.problems == ()
