"""How a provider of parameters is reached: JSON lines over a socket that stays, or over one for each request.

Whatever the other end does costs the request its few seconds, and never more: lines, answers and notices have
limits, and who breaks one is cut off, and called again for the next request.
"""

import json
import queue
import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from spkg.common.documents import Document
from spkg.common.json_input import read_json
from spkg.common.printable import printable
from spkg.common.socket_names import socket_name
from spkg.errors import FormatError, HostError, os_problem

__all__ = [
    "LONGEST_PROVIDER_LINE",
    "MAX_NOTICES",
    "REST",
    "LineChannel",
    "ProviderChannel",
    "ProviderError",
    "ScriptChannel",
    "socket_connector",
]

LONGEST_PROVIDER_LINE: Final = 8 << 20
"""The longest line, in bytes: the values of a large gateway."""
RECEIVED_AT_ONCE: Final = 1 << 16
MAX_NOTICES: Final = 100
"""The most notices within REST seconds."""
MAX_UNASKED: Final = 16
"""The most answers that wait; one does, where a provider keeps to the protocol."""
REST: Final = 30.0
"""How long a provider that did not answer is left alone, in seconds: its requests fail at once."""

Connect = Callable[[], socket.socket]


class ProviderError(HostError):
    """A provider can't be reached, or does not keep to the protocol."""


class ProviderChannel(Protocol):
    """Something that can be asked."""

    generation: int
    """Changes when the other end may be another one than before."""

    def ask(self, request: Mapping[str, Any], seconds: float) -> Document:
        """Return the answer to a request.

        Raises:
            ProviderError: None came within these seconds, or it is not a JSON object.
        """

    def close(self) -> None:
        """End it."""


def socket_connector(path: Path) -> Connect:
    """Return what connects to the socket of a provider."""

    def connect() -> socket.socket:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            found.settimeout(0)  # where its queue is full it is not waited for
            with socket_name(path) as name:
                found.connect(name)
            found.settimeout(None)
        except BaseException as exc:
            found.close()
            if isinstance(exc, OSError) and exc.filename is None:
                exc.filename = str(path)
            raise
        return found

    return connect


class LineChannel:
    """A socket that stays open, with a thread that reads what comes.

    Args:
        connect: Returns a new socket.
        notice: Called with what the provider says unasked, in that thread.
        clock: Returns the time in seconds; it never jumps.
    """

    def __init__(
        self, connect: Connect, notice: Callable[[Document], None], clock: Callable[[], float]
    ) -> None:
        self._connect = connect
        self._notice = notice
        self._clock = clock
        self._line: _Line | None = None
        self._rests_until = 0.0
        self.generation = 0

    def ask(self, request: Mapping[str, Any], seconds: float) -> Document:
        """Return the answer to a request; see :class:`ProviderChannel`."""
        if self._clock() < self._rests_until:
            raise ProviderError("did not answer a moment ago, and is left alone for a while")
        until = self._clock() + seconds
        octets = json.dumps(dict(request)).encode() + b"\n"
        was_open = self._line is not None and not self._line.problem
        try:
            return self._exchange(request["id"], octets, until)
        except _EndedError as exc:
            if not was_open or exc.breach:
                raise ProviderError(str(exc)) from exc
        # It has ended since the last request, as it does for an upgrade; the next one may be there already.
        try:
            return self._exchange(request["id"], octets, until)
        except _EndedError as exc:
            raise ProviderError(str(exc)) from exc

    def close(self) -> None:
        """Close the socket."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _exchange(self, number: int, octets: bytes, until: float) -> Document:
        if self._line is None or self._line.problem:
            self.close()
            try:
                self._line = _Line(self._connect(), self._notice, self._clock)
            except (OSError, HostError) as exc:
                problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
                raise ProviderError(f"can't be reached: {problem}") from exc
            self.generation += 1
        try:
            self._line.send(octets, until)
            answer = self._line.answer(until)
        except TimeoutError:
            self._rests_until = self._clock() + REST
            self.close()
            raise ProviderError("did not answer in time") from None
        except _EndedError:
            self.close()
            raise
        if answer.get("id") != number:
            self.close()
            raise ProviderError(f"expected the answer to request {number}, got {answer.get('id')!r:.40}")
        return answer


class ScriptChannel:
    """A new process for each request: it reads a line, and writes one.

    Args:
        start: Starts it, and returns the socket that is its standard input and output.
        clock: Returns the time in seconds; it never jumps.
    """

    def __init__(self, start: Connect, clock: Callable[[], float]) -> None:
        self._start = start
        self._clock = clock
        self._rests_until = 0.0
        self.generation = 1

    def ask(self, request: Mapping[str, Any], seconds: float) -> Document:
        """Return the answer to a request; see :class:`ProviderChannel`."""
        if self._clock() < self._rests_until:
            raise ProviderError("did not answer a moment ago, and is left alone for a while")
        until = self._clock() + seconds
        try:
            with self._start() as started:
                with suppress(BrokenPipeError, ConnectionResetError):  # it does not care, or has ended
                    _send(started, json.dumps(dict(request)).encode() + b"\n", until, self._clock)
                    started.shutdown(socket.SHUT_WR)
                answer = _document(self._line(started, until))
        except TimeoutError:
            self._rests_until = self._clock() + REST
            raise ProviderError("did not answer in time") from None
        except (OSError, HostError, _EndedError, FormatError) as exc:
            problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
            raise ProviderError(problem) from exc
        if answer.get("id") != request["id"]:
            problem = f"expected the answer to request {request['id']}, got {answer.get('id')!r:.40}"
            raise ProviderError(problem)
        return answer

    def close(self) -> None:
        """Nothing is open."""

    def _line(self, started: socket.socket, until: float) -> bytes:
        found = bytearray()
        while b"\n" not in found:
            _wait(started, select.POLLIN, until, self._clock)
            octets = b""
            with suppress(ConnectionResetError):  # it has ended without having read
                octets = started.recv(RECEIVED_AT_ONCE)
            found += octets
            if len(found) > LONGEST_PROVIDER_LINE:
                raise _EndedError(f"wrote a line of more than {LONGEST_PROVIDER_LINE} bytes")
            if not octets:
                if found:
                    break
                raise _EndedError("ended without an answer")
        return bytes(found).partition(b"\n")[0]


class _EndedError(Exception):
    """The connection has ended, or had to be ended.

    Args:
        problem: Why.
        breach: Whether the other end did not keep to the protocol; it would not do so the next time.
    """

    def __init__(self, problem: str, *, breach: bool = True) -> None:
        super().__init__(problem)
        self.breach = breach


class _Line:
    """One connection: what is written goes out in time, what comes is sorted by a thread."""

    def __init__(
        self, connected: socket.socket, notice: Callable[[Document], None], clock: Callable[[], float]
    ) -> None:
        self.problem = ""
        """Why it is over; empty as long as it is not."""
        self._breach = False
        self._socket = connected
        self._notice = notice
        self._clock = clock
        self._answers: queue.Queue[Document | None] = queue.Queue(MAX_UNASKED)
        self._first_notice = clock()
        self._notices = 0
        self._thread = threading.Thread(target=self._read, name="provider", daemon=True)
        self._thread.start()

    def send(self, octets: bytes, until: float) -> None:
        """Write all of it in time.

        Raises:
            TimeoutError: It is not taken.
            _EndedError: Nobody is there.
        """
        try:
            _send(self._socket, octets, until, self._clock)
        except TimeoutError:
            raise
        except OSError as exc:
            raise _EndedError(self.problem or os_problem(exc), breach=self._breach) from exc

    def answer(self, until: float) -> Document:
        """Return the next answer in time.

        Raises:
            TimeoutError: None came.
            _EndedError: There will be none.
        """
        try:
            found = self._answers.get(timeout=max(0.0, until - self._clock()))
        except queue.Empty:
            raise TimeoutError from None
        if found is None:
            raise _EndedError(self.problem, breach=self._breach)
        return found

    def close(self) -> None:
        """Close it, and wait for the thread."""
        with suppress(OSError):  # the other end has closed it
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        try:
            problem = self._sort()
        except OSError as exc:
            problem = os_problem(exc)
        except (FormatError, _EndedError) as exc:
            problem = str(exc)
            self._breach = True
        self.problem = problem
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        while True:  # the end is heard, however many answers nobody has asked for
            try:
                self._answers.put_nowait(None)
            except queue.Full:
                with suppress(queue.Empty):
                    self._answers.get_nowait()
            else:
                return

    def _sort(self) -> str:
        """Take lines until there are no more; return why."""
        pending = bytearray()
        while octets := self._socket.recv(RECEIVED_AT_ONCE):
            begin = len(pending)
            pending += octets
            while (end := pending.find(b"\n", begin)) >= 0:
                line = bytes(pending[:end])
                del pending[: end + 1]
                begin = 0
                self._take(_document(line))
            if len(pending) > LONGEST_PROVIDER_LINE:
                raise _EndedError(f"wrote a line of more than {LONGEST_PROVIDER_LINE} bytes")
        return "closed the connection"

    def _take(self, document: Document) -> None:
        if "id" in document:
            try:
                self._answers.put_nowait(document)
            except queue.Full:
                raise _EndedError("gave answers to nothing") from None
            return
        if not {"changed", "event"} & document.keys():
            raise _EndedError("wrote neither an answer nor a notice")
        now = self._clock()
        if now - self._first_notice > REST:
            self._first_notice, self._notices = now, 0
        self._notices += 1
        if self._notices > MAX_NOTICES:
            raise _EndedError(f"gave more than {MAX_NOTICES} notices in {REST:g} s")
        self._notice(document)


def _document(line: bytes) -> Document:
    """Return the JSON object in a line.

    Raises:
        FormatError: There is something else.
    """
    found = read_json(line)
    if not isinstance(found, dict):
        raise FormatError(f"expected a JSON object, got {printable(line[:40].decode(errors='replace'))}")
    return found


def _send(connected: socket.socket, octets: bytes, until: float, clock: Callable[[], float]) -> None:
    rest = memoryview(octets)
    while rest:
        _wait(connected, select.POLLOUT, until, clock)
        with suppress(BlockingIOError):
            rest = rest[connected.send(rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]


def _wait(connected: socket.socket, event: int, until: float, clock: Callable[[], float]) -> None:
    waiting = select.poll()
    waiting.register(connected, event)
    if not waiting.poll(max(0.0, until - clock()) * 1000):
        raise TimeoutError
