"""Processes of this machine that sign, each with its own connection."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Self

from spkg.common.child_process import forking
from spkg.common.portable import FORKS
from spkg.errors import FailedError
from vouchers.acs.signing import SignedVouchers, SigningWork, TakenVouchers

__all__ = ["SigningPool"]


class SigningPool:
    """Processes that sign, or this process if there is only one job.

    Each has its own connection.  If a worker is killed in the middle of a message, nothing waits for the rest
    of it; an executor of the standard library does.
    """

    def __init__(self, sign: SigningWork, jobs: int) -> None:
        self._sign = sign
        self._jobs = jobs if FORKS else 1
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        if self._jobs > 1:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                for _ in range(self._jobs):
                    self._start(before)
            except BaseException:
                self.__exit__()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.terminate()
            process.join()

    def work(self, errands: Iterator[tuple[TakenVouchers, int]]) -> Iterator[tuple[SignedVouchers, int]]:
        """Yield what to write for each task, in order.

        Raises:
            FailedError: A signing process was killed.
            FormatError: A voucher would be too large.
        """
        if not self._connections:
            for taken, octets in errands:
                yield self._sign(taken), octets
            return
        waiting: deque[tuple[Connection, int]] = deque()
        free = deque(self._connections)
        for taken, octets in errands:
            # A worker has one task at a time, or both sides could block in sending to each other.
            done = None if free else _receive(waiting, free)
            connection = free.popleft()
            _send(connection, taken)
            waiting.append((connection, octets))
            if done is not None:
                yield done
        while waiting:
            yield _receive(waiting, free)

    def _start(self, mask: Iterable[int]) -> None:
        """Start a process, with all signals blocked until it has set its own handlers."""
        ours, theirs = multiprocessing.Pipe()
        self._connections.append(ours)
        process = multiprocessing.get_context("fork").Process(  # a key can't be sent, only inherited
            target=_serve, args=(theirs, [*self._connections], self._sign, mask), daemon=True
        )
        with forking():
            process.start()
        self._processes.append(process)
        theirs.close()


def _put(connection: Connection, message: object) -> None:
    """Send as Connection.send does, after whose errors Python 3.12 and 3.13 complain of an open buffer."""
    connection.send_bytes(bytes(ForkingPickler.dumps(message)))


def _send(connection: Connection, taken: TakenVouchers) -> None:
    try:
        _put(connection, taken)
    except OSError as exc:
        raise _killed() from exc


def _receive(waiting: deque[tuple[Connection, int]], free: deque[Connection]) -> tuple[SignedVouchers, int]:
    connection, octets = waiting.popleft()
    try:
        done: SignedVouchers | Exception = connection.recv()
    except (EOFError, OSError) as exc:
        raise _killed() from exc
    if isinstance(done, Exception):
        raise done
    free.append(connection)
    return done, octets


def _killed() -> FailedError:
    hint = "run the same batch again to complete it"
    return FailedError("a signing process was killed", hint=hint)


def _serve(  # pragma: no cover - the process is terminated, so nothing is measured
    connection: Connection, others: Sequence[Connection], sign: SigningWork, mask: Iterable[int]
) -> None:
    """Sign in a worker process, until its parent is gone."""
    # The terminal sends these to all processes; the parent handles them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for other in others:  # or no worker would notice that the parent is gone
        other.close()
    with suppress(EOFError, OSError):
        while True:
            taken = connection.recv()
            try:
                done: SignedVouchers | Exception = sign(taken)
            except Exception as exc:  # noqa: BLE001 - the parent raises it
                done = exc
            _put(connection, done)
