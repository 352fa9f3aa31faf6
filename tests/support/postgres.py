"""A PostgreSQL server of the tests' own, started where it is first wanted, once a process.

It ends with the process that started it, however that ends, and leaves no file.
"""

import atexit
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final, NoReturn

__all__ = ["GUEST", "PASSWORD", "PLACES", "USER", "Postgres", "new_database", "postgres", "unprivileged"]

PLACES: Final = Path("/usr/lib/postgresql")
"""Where Debian has a directory for each version; others have the programs on the path."""
PATIENCE: Final = 30
"""How many seconds the server may take to be made, to answer, and to end."""
USER: Final = "tester"
GUEST: Final = "guest"
"""Who is let in with a password alone, and by TCP."""
PASSWORD: Final = "open sesame"
ACCESS: Final = f"local all {USER} trust\nhost all {GUEST} 127.0.0.1/32 scram-sha-256\n"
SETTINGS: Final = {
    "fsync": "off",  # the machine does not fail, only processes do
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "deadlock_timeout": "200ms",
}
PR_SET_PDEATHSIG: Final = 1
_NUMBERS: Final = count(1)


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A server that runs."""

    directory: Path
    port: int
    programs: Path
    """Where its programs are."""

    def url(self, database: str) -> str:
        """Return the URL of a database, by the socket, where nobody wants a password."""
        return f"postgresql://{USER}@/{database}?host={self.directory}&port={self.port}"

    def guest_url(self, database: str) -> str:
        """Return the URL of a database, by TCP, for one of whom a password is wanted."""
        return f"postgresql://{GUEST}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Carry out a statement of SQL by itself, and return its rows."""
        import psycopg  # noqa: PLC0415 - only where there is a server

        where = f"user={USER} host={self.directory} port={self.port} dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def new_database() -> str:
    """Return the name of a new and empty database; without PostgreSQL the test is left out."""
    name = f"ledger{next(_NUMBERS)}"
    postgres().execute(f"CREATE DATABASE {name}")
    return name


def postgres() -> Postgres:
    """Return the server; without PostgreSQL the test is left out."""
    programs = _programs()
    if programs is None:
        _leave_out("PostgreSQL is not installed")
    if importlib.util.find_spec("psycopg") is None:
        _leave_out("psycopg is not installed")
    return _start(programs)


def _leave_out(problem: str) -> NoReturn:
    import pytest  # noqa: PLC0415 - the keeper below starts without it

    if os.environ.get("SPKG_REQUIRE_JUDGES") == "1":
        pytest.fail(f"{problem}, and SPKG_REQUIRE_JUDGES=1 wants it")
    pytest.skip(f"NOT JUDGED: {problem}")


def _programs() -> Path | None:
    """Return the directory of the newest server there is."""
    found = [path.parent for path in PLACES.glob("*/bin/initdb") if path.with_name("postgres").exists()]
    on_path = shutil.which("initdb")
    if on_path is not None and shutil.which("postgres") is not None:
        found.append(Path(on_path).parent)
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()], default=None)


@cache
def _start(programs: Path) -> Postgres:
    directory = Path(tempfile.mkdtemp(prefix="spkg-pg-"))
    keeper = subprocess.Popen(
        [sys.executable, __file__, str(programs), str(directory), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    atexit.register(_stop, keeper, os.getpid())
    assert keeper.stdout is not None
    said = keeper.stdout.readline()
    assert said.startswith("port "), f"PostgreSQL does not start: {said}{keeper.stdout.read()}"
    return Postgres(directory=directory, port=int(said.split()[1]), programs=programs)


def _stop(keeper: subprocess.Popen[str], parent: int) -> None:
    if os.getpid() == parent:  # and no child that it forked
        keeper.terminate()
        keeper.wait(PATIENCE)
        assert keeper.stdout is not None
        keeper.stdout.close()


# The keeper: a process that makes a server, waits until whoever wanted it is gone, and clears up.


def _keep(programs: Path, directory: Path, parent: int) -> None:
    """Run a server until this process is told to end, which the kernel does when its parent is gone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    server = None
    try:
        if os.getppid() != parent:
            return
        who = unprivileged(directory)
        data = directory / "data"
        with (directory / "log").open("wb") as log:
            subprocess.run(
                [programs / "initdb", "-D", data, "-U", USER, "--no-sync", "--locale=C", "-E", "UTF8"],
                check=True,
                timeout=PATIENCE,
                stdout=log,
                stderr=log,
                cwd=directory,
                **who,
            )
            (data / "pg_hba.conf").write_text(ACCESS)
            with socket.socket() as held:
                # This one never listens, so that the server, which sets the same option, can.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind(("127.0.0.1", 0))
                port = held.getsockname()[1]
                settings = SETTINGS | {
                    "port": str(port),
                    "listen_addresses": "127.0.0.1",
                    "unix_socket_directories": str(directory),
                }
                options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
                server = subprocess.Popen(
                    [programs / "postgres", "-D", data, *options],
                    stdout=log,
                    stderr=log,
                    cwd=directory,
                    **who,
                )
                _wait_for(server, programs, directory, port)
        _make_guest(programs, directory, port)
        print("port", port, flush=True)
        server.wait()
    except (AssertionError, subprocess.SubprocessError) as exc:
        print(exc, (directory / "log").read_text(errors="replace"), flush=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if server is not None:
            server.send_signal(signal.SIGQUIT)  # at once
            with suppress(subprocess.TimeoutExpired):
                server.wait(PATIENCE)
            server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def unprivileged(directory: Path) -> Mapping[str, Any]:
    """Return who the server runs as: root may not."""
    if os.geteuid() != 0:
        return {}
    names = {one.pw_name for one in pwd.getpwall()}
    who = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(directory, who.pw_uid, who.pw_gid)
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


def _wait_for(server: subprocess.Popen[bytes], programs: Path, directory: Path, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while _ask(programs, directory, port, "SELECT 1") != 0:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.02)


def _make_guest(programs: Path, directory: Path, port: int) -> None:
    made = _ask(programs, directory, port, f"CREATE ROLE {GUEST} LOGIN PASSWORD '{PASSWORD}'")
    assert made == 0, "the server does not do what it is told"


def _ask(programs: Path, directory: Path, port: int, statement: str) -> int:
    command: list[str | Path] = [
        *(programs / "psql", "-X", "-q", "-h", directory, "-p", str(port)),
        *("-U", USER, "-c", statement, "postgres"),
    ]
    return subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE).returncode


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
