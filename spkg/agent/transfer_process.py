"""The process that transfers a file: in a session of its own, with files for what it prints.

It shares neither pipes nor a process group with the agent, so it goes on to its end whatever happens to that.
A lock that it inherits shows a later agent that it still runs.
"""

import fcntl
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from spkg.common.atomic_output import sync_directory
from spkg.common.child_process import fork
from spkg.common.documents import Document
from spkg.common.stop_signals import STOP_SIGNALS

__all__ = [
    "LOCK_DESCRIPTOR",
    "MAX_OUTPUT",
    "NAME_DESCRIPTOR",
    "SECRET_DESCRIPTOR",
    "URL_DESCRIPTOR",
    "ProcessEnd",
    "TransferProcess",
]

SECRET_DESCRIPTOR: Final = 3
"""Where the process reads a password."""
LOCK_DESCRIPTOR: Final = 4
"""What the process holds for as long as it, or a process that it made, runs."""
URL_DESCRIPTOR: Final = 5
"""Where the process reads a URL, whose query may be a secret."""
NAME_DESCRIPTOR: Final = 6
"""Where the process reads the name that it logs in with, which may say who the subscriber is."""
MAX_OUTPUT: Final = 1 << 18
"""How long a file with output may become, in bytes; then it begins again."""
MAX_REPORT: Final = 1 << 26
"""The longest report, in bytes: it lists each change."""
KEPT_ERRORS: Final = 4096
"""How much of the errors is returned, in bytes: the end."""
PASSED_FROM: Final = 10
"""The first number of descriptors that are passed on: none that the process has them as."""
DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ, *STOP_SIGNALS)
"""Signals that this program may handle differently: others find them as usual."""
FILE_OF_OURS: Final = 0o600
DESCRIPTORS_BELOW: Final = 4096
"""The number below which all descriptors are."""


@dataclass(frozen=True, kw_only=True)
class ProcessEnd:
    """How a process ended."""

    token: str
    """What it was started as."""
    status: int | None
    """Its exit status, or the negative number of a signal; None if an earlier agent started it."""
    report: Document | None
    """What it reported; None if it did not come to that."""
    said: str
    """The end of what it printed to standard error."""


class TransferProcess:
    """The one process that transfers a file, if there is one; it may be that of an earlier agent.

    Args:
        directory: Where its files are; it exists, and nobody else can write there.
    """

    def __init__(self, directory: Path) -> None:
        self._state = directory / "transfer"
        self.report = directory / "report.json"
        """The file for its report, which it makes whole or not at all."""
        self.fetched = directory / "fetched"
        """The file for what it fetches for the agent itself."""
        self._output = directory / "output"
        self._errors = directory / "errors"
        self._pid: int | None = None
        """The process, if we started it and its status was not taken yet."""
        self._status: int | None = None

    @property
    def token(self) -> str | None:
        """What the last process was started as; None if there was none."""
        token = self._noted().get("token")
        return token if isinstance(token, str) else None

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        if self._pid is not None:
            with suppress(ChildProcessError):
                found, status = os.waitpid(self._pid, os.WNOHANG)
                if found == 0:
                    return True
                self._status = os.waitstatus_to_exitcode(status)
            self._pid = None
        return self._is_held()  # if it was killed, what it made may still complete its work

    def start(
        self, token: str, command: Sequence[str], environment: Mapping[str, str], lines: Mapping[int, bytes]
    ) -> None:
        """Start a program; it finds each of the *lines* at its descriptor, where no other user sees it.

        Raises:
            OSError: It can't be started.
            ValueError: An argument can't be passed on.
        """
        lock, output, errors = self._begin(token)
        descriptors = [lock, output, errors]
        try:
            actions: list[Any] = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, errors, 2),
                (os.POSIX_SPAWN_DUP2, lock, LOCK_DESCRIPTOR),
            ]
            for number, line in lines.items():
                reading = _pipe_with(line)
                descriptors.append(reading)
                actions.append((os.POSIX_SPAWN_DUP2, reading, number))
            self._pid = os.posix_spawnp(
                command[0],
                [*command],
                environment,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=DEFAULT_SIGNALS,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._note(token, self._pid)

    def start_work(self, token: str, work: Callable[[Path], None]) -> None:
        """Start a process of this program that does *work*, which gets the path of its report.

        Raises:
            OSError: It can't be started.
        """
        lock, output, errors = self._begin(token)
        try:
            pid = fork()
            if pid == 0:
                _work(lambda: work(self.report), lock, output, errors)
            self._pid = pid
        finally:
            for descriptor in (lock, output, errors):
                os.close(descriptor)
        self._note(token, self._pid)

    def stop(self) -> None:
        """Ask the process, and all that it made, to end; what must not be interrupted goes on to its end."""
        group = self._noted().get("group")
        if self.is_running and isinstance(group, int) and group > 1:
            with suppress(OSError):
                os.killpg(group, signal.SIGTERM)

    def end(self) -> ProcessEnd | None:
        """Return how the last process ended; None if it runs, or there was none."""
        token = self.token
        if token is None or self.is_running:
            return None
        said = _tail(self._errors)
        return ProcessEnd(token=token, status=self._status, report=self._report(), said=said)

    def watched(self) -> int | None:
        """Return a new descriptor that is readable once the process has ended, if the kernel has that."""
        group = self._noted().get("group")
        if isinstance(group, int) and group > 1:
            with suppress(OSError, AttributeError):
                return os.pidfd_open(group)
        return None

    def shorten(self) -> None:
        """Empty each file of output that has become too long."""
        for path in (self._output, self._errors):
            with suppress(OSError):
                if path.stat().st_size > MAX_OUTPUT:
                    os.truncate(path, 0)  # the process appends: it goes on at the beginning

    def _begin(self, token: str) -> tuple[int, int, int]:
        """Note that a process is to run; return the lock, and the files for what it prints."""
        assert not self.is_running  # the caller has looked
        self._pid = self._status = None
        left = [path for path in (self.report, self.fetched) if os.path.lexists(path)]
        for path in left:
            path.unlink()
        if left:  # or what an earlier one left would be this one's after a power cut
            sync_directory(self._state.parent)
        self._note(token, None)
        opened: list[int] = []
        try:
            opened.append(_open(self._state, os.O_RDWR))
            fcntl.flock(opened[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            flags = os.O_WRONLY | os.O_APPEND | os.O_TRUNC
            opened.extend(_open(path, flags) for path in (self._output, self._errors))
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        lock, output, errors = opened
        return lock, output, errors

    def _is_held(self) -> bool:
        """Whether some process holds the lock."""
        descriptor = _open(self._state, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _note(self, token: str, group: int | None) -> None:
        descriptor = _open(self._state, os.O_WRONLY)
        try:
            octets = json.dumps({"token": token, "group": group}).encode().ljust(256) + b"\n"
            os.pwrite(descriptor, octets, 0)  # of one length, so that nothing of an older one is left,
            os.ftruncate(descriptor, len(octets))  # however long that was
        finally:
            os.close(descriptor)

    def _noted(self) -> Document:
        try:
            found = json.loads(self._state.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _report(self) -> Document | None:
        """Return the report; if it could not be written, the last line of the output."""
        for path in (self.report, self._output):
            with suppress(OSError, ValueError, RecursionError):
                with path.open("rb") as file:
                    octets = file.read(MAX_REPORT)
                found = json.loads(octets if path is self.report else octets.rstrip().rpartition(b"\n")[2])
                if isinstance(found, dict) and isinstance(found.get("exit"), int):
                    return found
        return None


def _open(path: Path, flags: int) -> int:
    """Open one of the files, made if it does not exist, under a number that is free in the child."""
    opened = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_OF_OURS)
    return _above(opened)


def _above(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, PASSED_FROM)
    finally:
        os.close(descriptor)


def _pipe_with(line: bytes) -> int:
    """Return a descriptor at which a line can be read once."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        os.write(writing, line + b"\n")  # the kernel keeps it: it is shorter than a pipe
    finally:
        os.close(writing)
    return _above(reading)


def _work(  # pragma: no cover - what it does confines it, and then it can't record its coverage
    work: Callable[[], None], lock: int, output: int, errors: int
) -> NoReturn:
    """Do the work in the child, and exit without returning to the caller."""
    status = 1
    try:
        os.setsid()
        empty = os.open(os.devnull, os.O_RDONLY)
        for descriptor, number in ((empty, 0), (output, 1), (errors, 2)):
            os.dup2(descriptor, number)
        os.closerange(3, lock)  # or the agent's other processes would not notice that it is gone
        os.closerange(lock + 1, DESCRIPTORS_BELOW)
        for number in DEFAULT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        work()
        status = 0
    finally:
        os._exit(status)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - KEPT_ERRORS))
            return file.read(KEPT_ERRORS).decode(errors="replace")
    except OSError:
        return ""
