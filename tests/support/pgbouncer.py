"""PgBouncer before a database, in transaction mode: each transaction may get another connection."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.postgres import USER, unprivileged
from tests.support.real_servers import free_port

__all__ = ["pgbouncer"]

PROGRAM: Final = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "pgbouncer"
PATIENCE: Final = 30
"""How many seconds it may take to answer, and to end."""


@contextmanager
def pgbouncer(server: str, database: str, *, connections: int = 2, more: str = "") -> Iterator[str]:
    """Run a PgBouncer, and yield the URL of a database through it.

    Args:
        server: Where the database is, as ``host=… port=…``.
        database: Its name.
        connections: How many connections to it there are.
        more: More of its settings, a line each.
    """
    with free_port() as port, TemporaryDirectory(prefix="spkg-pool-") as place:
        settings, users = Path(place, "settings"), Path(place, "users")
        users.write_text(f'"{USER}" ""\n')
        settings.write_text(
            f"[databases]\n{database} = {server} user={USER}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
            f"default_pool_size = {connections}\n{more}"
        )
        begun = subprocess.Popen(
            [PROGRAM, str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **unprivileged(Path(place)),
        )
        try:
            _wait_for(begun, port)
            yield f"postgresql://{USER}@127.0.0.1:{port}/{database}"
        finally:
            begun.kill()
            begun.wait(PATIENCE)


def _wait_for(begun: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert begun.poll() is None, "PgBouncer ended"
        assert time.monotonic() < deadline, "PgBouncer does not answer"
        time.sleep(0.02)
