"""A package that a process of its own downloads: the side that reads."""

import os
import select
import signal
import socket
import ssl
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
from spkg.download.url import Location, Login
from spkg.download.worker import Downloader, Transport
from spkg.download.worker_protocol import HEAD, FrameKind, TransferOrder, pack, send_all, send_order, unpack
from spkg.errors import SIZE, HostError, TransferError
from spkg.verify.payload import StartedOverError

__all__ = ["Download", "download"]

LIBRARY: Final = {"http": "requests", "https": "requests", "tftp": "tftpy"}
"""What speaks a protocol, where the standard library does not."""
MAX_FRAME: Final = 1 << 20
"""The longest frame that is taken, in octets."""
MIN_SKIP: Final = 1 << 20
"""The fewest octets that are skipped by a new request; fewer are read and dropped."""
SOCKET_BUFFER: Final = 1 << 20
"""How many octets may be under way between the two processes."""
RECONNECT_AFTER: Final = 60
"""After how many seconds without an octet a connection is opened anew, if no timeout comes first."""


class Download(Arrival):
    """Octets that come from a server; where a connection breaks they go on.

    Args:
        connection: To the downloader.
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
        """Octets of the frame that are still to be read."""
        self._stale = False
        """Whether these are of an order that does not hold any more."""
        self._seen = bytearray()
        """The front matter, as far as it is there."""
        self._trusted = False
        self._wanted = 0
        self._compared: int | None = None
        """How much of the front matter was the same the next time, while that is looked at."""
        self._begun = False
        self._resumable = False
        self._forgetful = False
        """Whether it has begun anew, although it was asked to go on."""
        self._stated: int | None = None
        """What the server says of the size."""
        self._breaks: list[int] = []
        self._repeated: set[int] = set()

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self._connection.fileno()

    def readinto(self, view: memoryview, /) -> int:
        """Read at least one octet, and return how many; none at the end.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed.
            StartedOverError: What comes now may be of another version.
        """
        if not self._trusted:
            # Not one octet more: what follows the front matter is not wanted before that is trusted.
            self._grant(self.position + len(view))
        count = super().readinto(view)
        if not self._trusted:
            self._seen += view[:count]
        return count

    def expect(self, total: int) -> None:
        """Take notice that *total* octets are wanted, and that what follows may come.

        Raises:
            TransferError: There are known to be more or fewer.
        """
        super().expect(total)
        self._trusted = True
        self._wanted = total
        self._grant(total + (self._stated is None))

    def seek(self, offset: int, /) -> bool:
        """Go to another octet, where that is possible and worth a request."""
        if 0 <= offset - self.position < MIN_SKIP or (offset > self.position and not self._resumable):
            return False
        self._number += 1
        self.position = offset
        self._stale = True
        self._order(offset)
        return True

    def may_repeat(self, wanted: range) -> bool:
        """Whether a connection broke within these octets; once for each place where such begin."""
        if wanted.start in self._repeated or not any(place in wanted for place in self._breaks):
            return False
        self._repeated.add(wanted.start)
        self.note("the octets on both sides of a break do not fit together: reading them again")
        return True

    def is_over(self) -> bool:
        """Whether no octets follow.

        Raises:
            TransferError: That could not be found out.
        """
        return self.position == self._stated or super().is_over()

    def _grant(self, limit: int) -> None:
        if limit > self._limit:
            self._limit = limit
            self._order(0)

    def _order(self, offset: int) -> None:
        order = TransferOrder(number=self._number, offset=offset, limit=self._limit, total=self._wanted)
        with suppress(OSError):  # the downloader is gone, and has said why
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
        """Read the head of a frame, and do what it says where it has no octets of the package."""
        kind, number, length = HEAD.unpack(self._whole(HEAD.size))
        if length > MAX_FRAME:
            raise TransferError("the process that downloads says too much at once")
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
                raise TransferError(said.pop("problem"), offset=self.position or None, **said)
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
        """Take notice that the server answers.

        Raises:
            TransferError: It has something else.
            StartedOverError: It begins anew.
        """
        if total is not None:
            if total != (self.total if self._trusted else self._told or total):
                problem = f"the server has {total} octets, {self._told or self.total} are expected"
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
        self._forgetful, self._resumable = True, False  # or it would be asked the same again and again
        if self._trusted:
            self._compared = 0
            return
        self._seen.clear()
        raise StartedOverError

    def _compare(self, done: int) -> None:
        """Compare what came with the front matter that is trusted: reading goes on behind it.

        Raises:
            StartedOverError: It is the same.
            TransferError: It is not.
        """
        octets = self._connection.recv(min(self._left, len(self._seen) - done))
        self._left -= self._some(len(octets))
        self.watch = self.watch.octets(self._clock())
        done += len(octets)
        if octets != self._seen[done - len(octets) : done]:
            raise TransferError("the server has another package now", hint=BEGIN_AGAIN)
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
            raise TransferError("the process that downloads was ended")
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
    """Download a package in a process of its own, which can change no file.

    Args:
        location: Where it is.
        login: Who asks.
        clock: Gives the time in seconds; it never jumps.
        timeouts: What holds until a command says otherwise.
        size: How many octets it has; 0 where nobody knows.

    Raises:
        HostError: What the download needs here is missing, or is not what it should be.
        OSError: There can be no process, or a file can't be read.
    """
    _check(location, login)
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        child = fork()
        if child == 0:
            ours.close()
            _serve(theirs, location, login)
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
            os.kill(child, signal.SIGKILL)  # whatever it waits for
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _check(location: Location, login: Login) -> None:
    """Find out here what the process that downloads could only fail by."""
    if location.scheme in LIBRARY:
        require(LIBRARY[location.scheme])
    if login.ca_bundle is not None and not login.ca_bundle.is_fifo():  # which can be read but once
        login.ca_bundle.open("rb").close()
        try:
            ssl.create_default_context(cafile=str(login.ca_bundle))
        except ssl.SSLError as exc:
            raise HostError(f"{login.ca_bundle} has no certificates of authorities") from exc


def _serve(  # pragma: no cover - a confined process can't write down what it ran
    connection: socket.socket, location: Location, login: Login
) -> NoReturn:
    """Be the process that downloads, with all signals blocked: whoever began it ends it."""
    try:
        confine(None)
        threading.Thread(target=_end_with, args=[connection], daemon=True).start()
        Downloader(connection, partial(_transport, location, login)).run()
    except OSError:
        pass  # nobody reads any more
    except Exception as exc:  # noqa: BLE001 - a defect there must not go on with what is done here
        said = {"defect": f"{type(exc).__name__}: {exc}", "traceback": traceback.format_exc()}
        with suppress(OSError):
            send_all(connection, pack(FrameKind.FAILED, 0, said))
    finally:
        os._exit(0)


def _end_with(connection: socket.socket) -> None:  # pragma: no cover - as above
    """End the process once nobody reads any more, whatever it waits for."""
    ready = select.poll()
    ready.register(connection, 0)  # to hear of the end alone
    ready.poll()
    os._exit(0)


def _transport(location: Location, login: Login) -> Transport:
    """Return what speaks the protocol of a location."""
    match location.scheme:
        case "http" | "https":
            from spkg.download.http import WebTransport  # noqa: PLC0415 - start-up: one protocol is enough

            return WebTransport(location, login, RECONNECT_AFTER)
        case "ftp" | "ftps":
            from spkg.download.ftp import FtpTransport  # noqa: PLC0415

            return FtpTransport(location, login, RECONNECT_AFTER)
        case _:
            from spkg.download.tftp import TftpTransport  # noqa: PLC0415

            return TftpTransport(location, RECONNECT_AFTER)
