"""Bulk runs as processes of their own, killed at a moment of one's choice."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import chdir
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event

from tests.support.acs_files import PATIENCE
from tests.support.commands import PROGRAM, main
from tests.support.kit import ROOT

_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.support.issuing"])


def process(*args: str, **settings: Any) -> subprocess.Popen[str]:
    """Start the program in a session of its own."""
    return subprocess.Popen(
        [*PROGRAM, *args],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **settings,
    )


def wait(done: Callable[[], object]) -> None:
    """Wait until something is so, and fail where it never is."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def run_until(happening: str, name: str, directory: str, args: Sequence[str]) -> None:
    """Run the program, and be killed the first time that something is about to happen to a file."""
    os.chdir(directory)

    def watch(what: str, given: tuple[object, ...]) -> None:
        if what == happening and name in {os.fspath(one) for one in given if isinstance(one, str | Path)}:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    main.main([*args])


def run_killed(happening: str, name: str, *args: str) -> None:
    """Run the program until something is about to happen to a file."""
    target, given = run_until, (happening, name, str(Path.cwd()), args)
    _end(_PROCESSES.Process(target=target, args=given, daemon=True))


def run_until_commit(number: int, directory: str, args: Sequence[str]) -> None:
    """Run the program, and be killed just before it commits for the so many-th time."""
    os.chdir(directory)
    commits = count(1)

    def watch(_connection: object) -> None:
        if next(commits) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "commit", watch)
    main.main([*args])


def run_killed_at_commit(number: int, *args: str) -> None:
    """Run the program until it is about to commit to its ledger for the so many-th time."""
    given = (number, str(Path.cwd()), args)
    _end(_PROCESSES.Process(target=run_until_commit, args=given, daemon=True))


def _end(child: BaseProcess) -> None:
    with chdir(ROOT):  # where whoever forks it, for which the first one starts, finds what it loads
        child.start()
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL
