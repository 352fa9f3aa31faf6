"""A cluster on this machine: a scheduler and workers in processes of their own, as operators start them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from tests.support.kit import ROOT

__all__ = ["DaskCluster", "tls_settings"]

START: Final = 60
"""How many seconds a part of a cluster has until it listens or is there."""


def tls_settings(directory: Path) -> dict[str, str]:
    """Make keys, and return the environment variables by which all parts of a cluster use them."""
    from distributed import Security  # noqa: PLC0415 - slow, and only for a few tests

    made: Any = Security.temporary()  # type: ignore[no-untyped-call]
    roles = ("CLIENT", "SCHEDULER", "WORKER")
    texts = {"CA_FILE": made.tls_ca_file}
    texts |= {f"{role}__CERT": made.tls_client_cert for role in roles}
    texts |= {f"{role}__KEY": made.tls_client_key for role in roles}
    for name, text in texts.items():
        (directory / f"{name}.pem").write_text(text)
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(directory / f"{name}.pem") for name in texts}


class DaskCluster:
    """A scheduler and workers with one thread each.

    Args:
        workers: How many workers.
        directory: Where the workers run, so that relative names of keys lead there.
        tls: What :func:`tls_settings` returned; without it there is no TLS.
    """

    def __init__(self, workers: int, directory: Path, tls: Mapping[str, str] | None = None) -> None:
        self.protocol = "tcp" if tls is None else "tls"
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **(tls or {})}
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
        self.directory, self.log = directory, directory / "dask.log"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._count = workers

    @property
    def address(self) -> str:
        """The address of the scheduler."""
        return f"{self.protocol}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start_scheduler()
            for _ in range(self._count):
                self.start_worker()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            if process is not None:
                kill(process)

    def start_scheduler(self) -> None:
        """Start a scheduler, and wait until it listens."""
        self.scheduler = self._start(
            "scheduler", "--host", f"{self.protocol}://127.0.0.1", "--port", str(self.port)
        )
        deadline = time.monotonic() + START
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.scheduler.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def start_worker(self) -> None:
        """Start a worker; it is there when the scheduler has heard of it."""
        more = ["--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", "--death-timeout", str(START)]
        more += ["--local-directory", str(self.directory / "scratch")]
        self.workers.append(self._start("worker", self.address, *more))

    def kill_worker(self, index: int) -> None:
        """Kill a worker, and start another one."""
        kill(self.workers.pop(index))
        self.start_worker()

    def stop(self) -> None:
        """Kill the scheduler and its workers."""
        assert self.scheduler is not None
        kill(self.scheduler)
        while self.workers:
            kill(self.workers.pop())

    def start_again(self) -> None:
        """Start a scheduler at the same address, and workers."""
        self.start_scheduler()
        for _ in range(self._count):
            self.start_worker()

    def _start(self, *args: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *args, "--no-dashboard"],
                cwd=self.directory,
                env=self.environment,
                start_new_session=True,
                **settings,
            )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
