"""A package that a separate process downloads: the reading side."""

import os
import select
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, NoReturn

from spkg.common.child_process import DefectError, fork
from spkg.common.landlock import confine
from spkg.common.libraries import require
from spkg.download.stream import BEGIN_AGAIN, Arrival
from spkg.download.timeouts import Timeouts
from spkg.download.tls import TlsContexts
from spkg.download.url import Location, Login
from spkg.download.worker import Downloader, Transport
from spkg.download.worker_protocol import HEAD, FrameKind, TransferOrder, pack, send_all, send_order, unpack
from spkg.errors import SIZE, HostError, SpkgError, TransferError, UsageError
from spkg.verify.payload import StartedOverError

__all__ = ["Download", "download"]

LIBRARY: Final = {"http": "requests", "https": "requests"}
"""The library for a protocol, if the standard library has none."""
REPORTED: Final = {one.__name__: one for one in (HostError, TransferError, UsageError)}
"""The errors that the download process may report, by their names."""
MAX_FRAME: Final = 1 << 20
"""The longest frame that is accepted, in bytes."""
MIN_SKIP: Final = 1 << 20
"""The fewest bytes that are skipped by a new request; fewer are read and dropped."""
SOCKET_BUFFER: Final = 1 << 20
"""How many bytes may be buffered between the two processes."""
RECONNECT_AFTER: Final = 60
"""After how many seconds without data a connection is opened again, if no timeout comes first."""


class Download(Arrival):
    """Bytes from a server; a broken connection is resumed where it stopped.

    Args:
        connection: The socket to the downloader.
        clock: As for :class:`Arrival`.
        timeouts: As for :class:`Arrival`.
        size: As for :class:`Arrival`.
    """

    def __init__(
        self,
        connection: socket.socket,
        clock: Callable[[], float],
        timeouts: Timeouts | None = None,
        *,
        size: int = 0,
    ) -> None:
        super().__init__(clock, timeouts, size=size)
        self._told = size
        self._connection = connection
        self._number = 1
        self._limit = 0
        self._left = 0
        """Bytes of the frame that are still to be read."""
        self._stale = False
        """Whether these belong to an order that is no longer valid."""
        self._seen = bytearray()
        """The front matter received so far."""
        self._trusted = False
        self._compared: int | None = None
        """How much of a front matter that is sent again was the same so far; None if none is compared."""
        self._begun = False
        self._resumable = False
        self._forgetful = False
        """Whether the server began again, although it was asked to resume."""
        self._stated: int | None = None
        """The size that the server states."""
        self._breaks: list[int] = []
        self._repeated: set[int] = set()

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self._connection.fileno()

    def readinto(self, view: memoryview, /) -> int:
        """Read at least one byte, and return how many; 0 at the end.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed.
            StartedOverError: The data that follows may be of another version.
        """
        if not self._trusted:
            # Not one byte more: nothing after the front matter is requested before that is trusted.
            self._grant(self.position + len(view))
        count = super().readinto(view)
        if not self._trusted:
            self._seen += view[:count]
        return count

    def expect(self, total: int) -> None:
        """Set that *total* bytes are wanted, so that everything after the front matter may come.

        Raises:
            TransferError: The package is known to be longer or shorter.
        """
        super().expect(total)
        self._trusted = True
        self._grant(total + (self._stated is None))

    def seek(self, offset: int, /) -> bool:
        """Go to another offset, if that is possible and worth a request."""
        if 0 <= offset - self.position < MIN_SKIP or (offset > self.position and not self._resumable):
            return False
        self._number += 1
        self.position = offset
        self._stale = True
        self._order(offset)
        return True

    def may_repeat(self, wanted: range) -> bool:
        """Whether a connection broke within these bytes; at most once for each start of a range."""
        if wanted.start in self._repeated or not any(place in wanted for place in self._breaks):
            return False
        self._repeated.add(wanted.start)
        self.note("the bytes around a broken connection do not match the signed digest: reading them again")
        return True

    def is_over(self) -> bool:
        """Whether no more bytes follow.

        Raises:
            TransferError: The transfer failed before that was known.
        """
        return self.position == self._stated or super().is_over()

    def _grant(self, limit: int) -> None:
        if limit > self._limit:
            self._limit = limit
            self._order(0)

    def _order(self, offset: int) -> None:
        order = TransferOrder(number=self._number, offset=offset, limit=self._limit, total=self._wanted)
        with suppress(OSError):  # the downloader is gone, and has reported why
            send_order(self._connection, order)

    def _receive(self, view: memoryview) -> int | None:
        if not self._left:
            return self._next_frame()
        if self._stale:
            self._left -= self._some(len(self._connection.recv(self._left)))
            return None
        if self._compared is not None:
            self._compare(self._compared)
            return None
        count = self._some(self._connection.recv_into(view[: self._left]))
        self._left -= count
        return count

    def _next_frame(self) -> int | None:
        """Read the head of a frame, and handle the frame unless it has bytes of the package."""
        kind, number, length = HEAD.unpack(self._whole(HEAD.size))
        if length > MAX_FRAME:
            problem = f"the download process sent a frame of {length} bytes, the limit is {MAX_FRAME}"
            raise TransferError(problem)
        if kind == FrameKind.OCTETS:
            self._left = length
            self._stale = number != self._number
            return None
        said = unpack(self._whole(length))
        match FrameKind(kind):
            case FrameKind.FAILED if "defect" in said:
                defect = DefectError(said["defect"])
                defect.add_note(said["traceback"])
                raise defect
            case FrameKind.FAILED:
                kind_of_error = REPORTED.get(said.pop("error", ""), TransferError)
                raise kind_of_error(said.pop("problem"), offset=self.position or None, **said)
            case FrameKind.NOTE:
                self.note(said["text"])
            case FrameKind.BEGIN if number == self._number:
                self._begin(said["offset"], said["total"], resumable=said["resumable"])
            case FrameKind.END if number == self._number:
                return 0
            case _:
                pass
        return None

    def _begin(self, offset: int, total: int | None, *, resumable: bool) -> None:
        """Handle the beginning of a server's answer.

        Raises:
            TransferError: The server has a different file.
            StartedOverError: The answer begins at the start.
        """
        if total is not None:
            if total != (self.total if self._trusted else self._told or total):
                problem = f"expected {self._told or self.total} bytes, the server has {total}"
                raise TransferError(problem, reason=SIZE)
            self.total = self._stated = total
        begun, self._begun = self._begun, True
        if self._compared is not None and offset in {0, self._compared}:
            self._compared = offset
            return
        if offset == self.position:
            self._resumable = resumable and not self._forgetful
            if begun:
                self._breaks.append(offset)
            return
        self.position = 0
        self._forgetful, self._resumable = True, False  # else it would be asked the same again and again
        if self._trusted:
            self._compared = 0
            return
        self._seen.clear()
        raise StartedOverError

    def _compare(self, done: int) -> None:
        """Compare received bytes with the trusted front matter; if all is the same, resume after it.

        Raises:
            StartedOverError: It is the same.
            TransferError: It is different.
        """
        octets = self._connection.recv(min(self._left, len(self._seen) - done))
        self._left -= self._some(len(octets))
        self.watch = self.watch.octets(self._clock())
        done += len(octets)
        if octets != self._seen[done - len(octets) : done]:
            raise TransferError("the server now has a different package", hint=BEGIN_AGAIN)
        self._compared = done
        if done == len(self._seen):
            self._compared = None
            self.position = done
            raise StartedOverError

    def _whole(self, size: int) -> bytes:
        octets = self._connection.recv(size, socket.MSG_WAITALL)
        self._some(len(octets) == size)
        return octets

    @staticmethod
    def _some(count: int) -> int:
        if not count:
            raise TransferError("the download process ended unexpectedly")
        return count


@contextmanager
def download(
    location: Location,
    login: Login,
    clock: Callable[[], float],
    timeouts: Timeouts,
    *,
    size: int = 0,
) -> Iterator[Download]:
    """Download a package in a separate process that can't change any file.

    Args:
        location: The location of the package.
        login: The credentials and how to use them.
        clock: Returns the time in seconds; it never jumps.
        timeouts: The timeouts until a command sets others.
        size: The size of the package in bytes; 0 if unknown.

    Raises:
        UsageError: The login is not for this kind of URL.
        HostError: Something that the download needs on this host is missing or invalid.
        OSError: No process can be started, or a file can't be read.
    """
    contexts = _check(location, login)
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        child = fork()
        if child == 0:
            ours.close()
            _serve(theirs, location, login, contexts)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield Download(ours, clock, timeouts, size=size)
    finally:
        ours.close()
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # it may be waiting
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _check(location: Location, login: Login) -> TlsContexts:
    """Check in this process what would make the download process fail, and return the settings for TLS.

    A file of these may be a pipe, so it is read here, once, and never again.
    """
    if location.scheme in LIBRARY:
        require(LIBRARY[location.scheme])
    login.check_use(location)
    files = (login.ca_bundle, login.client_cert, login.client_key)
    named = [file for file in files if file is not None]
    for file in named:
        file.stat()
        if not file.is_fifo():
            file.open("rb").close()  # an error of it names the file
    contexts = TlsContexts(login)
    if named or location.scheme in {"https", "ftps"}:
        _ = contexts.known
        if location.scheme in LIBRARY:
            _ = contexts.unknown  # a redirect may lead to another server
    return contexts


def _serve(  # pragma: no cover - a confined process can't record its coverage
    connection: socket.socket, location: Location, login: Login, contexts: TlsContexts
) -> NoReturn:
    """Run as the download process, with all signals blocked: only its parent ends it."""
    try:
        confine(None)
        threading.Thread(target=_end_with, args=[connection], daemon=True).start()
        Downloader(connection, partial(_transport, location, login, contexts)).run()
    except OSError:
        pass  # the reader is gone
    except SpkgError as exc:
        failure = {
            "error": type(exc).__name__,
            "problem": exc.problem,
            "reason": exc.reason,
            "hint": exc.hint,
        }
        with suppress(OSError):
            send_all(connection, pack(FrameKind.FAILED, 0, failure))
    except Exception as exc:  # noqa: BLE001 - after a defect, the child must not run the parent's code
        said = {"defect": f"{type(exc).__name__}: {exc}", "traceback": traceback.format_exc()}
        with suppress(OSError):
            send_all(connection, pack(FrameKind.FAILED, 0, said))
    finally:
        os._exit(0)


def _end_with(connection: socket.socket) -> None:  # pragma: no cover - as above
    """End the process when the reader is gone, even if it is waiting."""
    ready = select.poll()
    ready.register(connection, 0)  # to be woken only by the end
    ready.poll()
    os._exit(0)


def _transport(location: Location, login: Login, contexts: TlsContexts) -> Transport:
    """Return the transport for the protocol of a location."""
    match location.scheme:
        case "http" | "https":
            from spkg.download.http import WebTransport  # noqa: PLC0415 - start-up: one protocol is enough

            return WebTransport(location, login, RECONNECT_AFTER, contexts)
        case "ftp" | "ftps":
            from spkg.download.ftp import FtpTransport  # noqa: PLC0415

            return FtpTransport(location, login, RECONNECT_AFTER, contexts)
        case _:
            from spkg.download.tftp import TftpTransport  # noqa: PLC0415

            return TftpTransport(location, RECONNECT_AFTER)
