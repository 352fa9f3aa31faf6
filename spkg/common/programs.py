"""Running a program of the device or its owner: no shell, a time limit, and bounds for its output.

The program finds its arguments and environment exactly as they are given, and none of our descriptors.  What
it prints goes to our standard error as it comes, and its end is kept for the report.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from spkg.common.frozen import dataclass
from spkg.common.stop_signals import STOP_SIGNALS
from spkg.errors import os_problem

__all__ = ["KEPT", "SHOWN", "ProgramRun", "inherited_descriptors", "run_program"]

SHOWN: Final = 1 << 16
"""How much of its output is shown, in bytes."""
KEPT: Final = 1 << 13
"""How much of its output is kept, in bytes: the end, since that is where programs say why they fail."""
NOT_SHOWN: Final = b"\n[the rest of the output is not shown]\n"
GRACE: Final = 1.0
"""How long a program has after SIGTERM before SIGKILL, in seconds, and how long its death is awaited."""
LAST_OUTPUT: Final = 0.25
"""How long output is awaited once the program has ended, in seconds: others may hold its descriptors."""
TICK: Final = 0.05
"""How often to see whether a program has ended, in seconds, where the kernel does not say it."""
AT_ONCE: Final = 1 << 16
"""How many bytes are read at once."""
NEVER_BLOCKS: Final = 4096
"""How many bytes a pipe takes without waiting once it is ready (PIPE_BUF)."""
FIRST_FREE: Final = 3
"""The first descriptor that is no standard stream."""
DESCRIPTORS: Final = Path("/proc/self/fd")
MANY: Final = 1024
"""How many descriptors are looked at where the system does not list them."""
HANDLED: Final = (signal.SIGPIPE, signal.SIGXFSZ, *STOP_SIGNALS)
"""Signals that this program handles differently: others find them as usual."""


@dataclass(frozen=True, kw_only=True)
class ProgramRun:
    """How a program ended."""

    status: int | None
    """Its exit status, or the negative number of the signal that ended it; None if it has none of its own."""
    timed_out: bool = False
    """Whether it took too long, and was ended."""
    output: str = ""
    """The end of what it printed to both of its outputs."""
    problem: str = ""
    """Why it could not be run; empty if it could."""
    limit: float | None = None
    """How long it might take, in seconds."""
    answered_too_much: bool = False
    """Whether its answer was longer than allowed, and it was ended."""
    answer: bytes = b""
    """What it wrote to standard output, if that was asked for: at most one byte more than was allowed."""

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself, with status 0."""
        return self.status == 0

    @property
    def end(self) -> str:
        """How it ended, for people."""
        if self.problem:
            return f"can't be run: {self.problem}"
        if self.timed_out:
            return f"took longer than {self.limit:g} s and was ended"
        if self.answered_too_much:
            return f"answered more than {len(self.answer) - 1} bytes"
        assert self.status is not None  # otherwise one of the two above holds
        if self.status >= 0:
            return f"ended with status {self.status}"
        try:
            return f"was ended by signal {-self.status} ({signal.Signals(-self.status).name})"
        except ValueError:  # a real-time signal
            return f"was ended by signal {-self.status}"


def run_program(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    clock: Callable[[], float],
    limit: float | None = None,
    given: bytes | int = b"",
    longest_answer: int | None = None,
) -> ProgramRun:
    """Run a program in a process group of its own, and wait until it has ended.

    What it started and left running stays; past the limit, the whole group is ended.  If a signal raises here
    meanwhile, that is ended too.

    Args:
        command: The program, found by PATH if it has no slash, and its arguments.
        environment: All of its environment variables.
        clock: Returns the time in seconds; it never jumps.
        limit: How long it may take, in seconds; None if it may take for ever.
        given: What it reads from standard input: bytes, or an open file by its descriptor.
        longest_answer: If its standard output is an answer: how long that may be, in bytes.  A program that
            writes more is ended.  Its standard error is then kept, but not shown.
    """
    program = _Program(clock, limit, longest_answer)
    try:
        program.start(command, environment, given)
        return program.wait()
    except (OSError, ValueError) as exc:
        problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
        return ProgramRun(status=None, problem=problem, limit=limit)
    finally:
        program.close()


class _Program:
    """A program, and its streams."""

    def __init__(self, clock: Callable[[], float], limit: float | None, longest_answer: int | None) -> None:
        self._clock = clock
        self._limit = limit
        self._longest = longest_answer
        self._open: set[int] = set()
        """Our descriptors."""
        self._group: int | None = None
        """The process, and the group that it leads; None before it runs and once it is known how it ended."""
        self._exited: int | None = None
        """What is readable once it has ended, if the kernel has that."""
        self._output = -1
        self._input = -1
        self._given = memoryview(b"")
        """What it has not read yet."""
        self._answering = -1
        self._answer = bytearray()
        self._listens = longest_answer is not None
        """Whether an answer that is too long ends it."""
        self._kept = bytearray()
        self._unshown = bytearray()
        self._may_show = SHOWN
        self._shows = _is_open(2) and longest_answer is None
        """Whether any more of the output is shown."""

    def start(self, command: Sequence[str], environment: Mapping[str, str], given: bytes | int) -> None:
        """Start it.

        Raises:
            OSError: It can't be run.
            ValueError: An argument or a variable can't be passed on.
        """
        self._output, written = self._pipe()
        answered = written
        if self._longest is not None:
            self._answering, answered = self._pipe()
        if isinstance(given, bytes):
            read, self._input = self._pipe()
            os.set_blocking(self._input, False)
            self._given = memoryview(given)
        else:
            read = self._above(os.dup(given))
        streams: list[Any] = [
            (os.POSIX_SPAWN_DUP2, read, 0),
            (os.POSIX_SPAWN_DUP2, answered, 1),
            (os.POSIX_SPAWN_DUP2, written, 2),
            *((os.POSIX_SPAWN_CLOSE, number) for number in inherited_descriptors()),
        ]
        # A signal that raises must not come before it is known what has to be ended.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            self._group = os.posix_spawnp(
                command[0],
                [*command],
                environment,
                file_actions=streams,
                setpgroup=0,
                setsigmask=(),
                setsigdef=HANDLED,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for descriptor in {written, answered, read}:
            self._close(descriptor)
        with suppress(OSError, AttributeError):  # an old kernel, or another system
            self._exited = os.pidfd_open(self._group)
            self._open.add(self._exited)

    def wait(self) -> ProgramRun:
        """Wait until it has ended, by itself or because it took too long."""
        until = None if self._limit is None else self._clock() + self._limit
        late = not self._ends_until(until)
        too_much = self._says_too_much()
        self._listens = False
        if late or too_much:
            self._end()
        self._ends_until(self._clock() + LAST_OUTPUT, output=True)
        too_much = too_much or self._has_too_much()  # of one that ended by itself, the rest came just now
        status = self._status()
        problem = "" if status is not None or late or too_much else "its status went to another process"
        return ProgramRun(
            status=None if late or too_much else status,
            timed_out=late,
            answered_too_much=too_much,
            output=_text(self._kept),
            problem=problem,
            limit=self._limit,
            answer=bytes(self._answer),
        )

    def close(self) -> None:
        """Close all descriptors; if it still runs, it is ended."""
        try:
            if self._group is not None:
                self._end()
                self._status()
        finally:
            for descriptor in [*self._open]:
                self._close(descriptor)

    def _end(self) -> None:
        """End the whole group, first with a request."""
        try:
            self._send(signal.SIGTERM)
            self._ends_until(self._clock() + GRACE)
        finally:
            self._send(signal.SIGKILL)
        self._ends_until(self._clock() + GRACE)

    def _send(self, number: signal.Signals) -> None:
        # Until its status is taken, nothing else can get the number of the group.
        with suppress(OSError):
            if self._group is not None:
                os.killpg(self._group, number)

    def _status(self) -> int | None:
        """Take its status; None if it has none, or can't be ended."""
        group, self._group = self._group, None
        with suppress(ChildProcessError):
            if group is not None and (found := os.waitpid(group, os.WNOHANG)) != (0, 0):
                return os.waitstatus_to_exitcode(found[1])
        return None

    def _has_ended(self) -> bool:
        assert self._group is not None  # it was started
        try:
            return os.waitid(os.P_PID, self._group, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:  # whoever ignores SIGCHLD has no children to wait for
            return True

    def _ends_until(self, until: float | None, *, output: bool = False) -> bool:
        """Pass on what comes and goes until it has ended; return whether it has in time.

        Args:
            until: The time; None for ever.
            output: Whether to wait for the end of its output instead.
        """
        while True:
            if self._is_silent() if output else self._has_ended() or self._says_too_much():
                return True
            left = None if until is None else until - self._clock()
            if left is not None and left <= 0:
                return False
            self._pass_on(left, ended=output)

    def _is_silent(self) -> bool:
        """Whether all that it printed was taken and shown, and no more can come."""
        return self._output < 0 and self._answering < 0 and not self._unshown

    def _says_too_much(self) -> bool:
        return self._listens and self._has_too_much()

    def _has_too_much(self) -> bool:
        return self._longest is not None and len(self._answer) > self._longest

    def _pass_on(self, left: float | None, *, ended: bool) -> None:
        """Wait until something can be passed on, and do that."""
        waiting = select.poll()
        if self._output >= 0:
            waiting.register(self._output, select.POLLIN)
        if self._answering >= 0:
            waiting.register(self._answering, select.POLLIN)
        if self._input >= 0:
            waiting.register(self._input, select.POLLOUT)
        if self._unshown:
            waiting.register(2, select.POLLOUT)
        if self._exited is not None and not ended:
            waiting.register(self._exited, select.POLLIN)
        elif not ended:
            left = TICK if left is None else min(left, TICK)
        for descriptor, _ in waiting.poll(None if left is None else left * 1000 + 1):
            if descriptor == self._output:
                self._take()
            elif descriptor == self._answering:
                self._listen()
            elif descriptor == self._input:
                self._give()
            elif descriptor == 2:
                self._show()

    def _take(self) -> None:
        """Take what it printed."""
        octets = os.read(self._output, AT_ONCE)
        if not octets:
            self._close(self._output)
            self._output = -1
            return
        self._kept += octets
        del self._kept[:-KEPT]
        if not self._shows:
            return
        shown = octets[: self._may_show]
        self._unshown += shown
        self._may_show -= len(shown)
        if len(shown) < len(octets):
            self._unshown += NOT_SHOWN
            self._shows = False

    def _listen(self) -> None:
        """Take what it answers."""
        assert self._longest is not None  # otherwise nobody listens
        octets = os.read(self._answering, AT_ONCE)
        self._answer += octets
        del self._answer[self._longest + 1 :]
        if not octets:
            self._close(self._answering)
            self._answering = -1

    def _give(self) -> None:
        """Give it the next bytes, or the end."""
        try:
            self._given = self._given[os.write(self._input, self._given) :]
        except BlockingIOError:
            return
        except OSError:  # it does not want them
            self._given = memoryview(b"")
        if not self._given:
            self._close(self._input)
            self._input = -1

    def _show(self) -> None:
        """Show the next bytes of its output, if that is possible."""
        try:
            del self._unshown[: os.write(2, self._unshown[:NEVER_BLOCKS])]
        except BlockingIOError:
            pass
        except OSError:  # nobody looks
            self._unshown.clear()
            self._shows = False

    def _pipe(self) -> tuple[int, int]:
        reading, writing = os.pipe()
        self._open |= {reading, writing}
        return self._above(reading), self._above(writing)

    def _above(self, descriptor: int) -> int:
        """Return a descriptor that is no standard stream, even if those are closed here."""
        import fcntl  # noqa: PLC0415 - not on every system

        self._open.add(descriptor)
        if descriptor >= FIRST_FREE:
            return descriptor
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
        self._close(descriptor)
        self._open.add(moved)
        return moved

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def inherited_descriptors() -> Iterator[int]:
    """Give the descriptors that a program would inherit: those that we did."""
    try:
        numbers = [int(one.name) for one in DESCRIPTORS.iterdir()]
    except OSError:  # there is no /proc
        numbers = [*range(MANY)]
    for number in numbers:
        with suppress(OSError):  # the one of the directory itself is closed again
            if number >= FIRST_FREE and os.get_inheritable(number):
                yield number


def _text(octets: bytes | bytearray) -> str:
    """Return the end of an output as text that takes no more room than it may."""
    text = octets.decode(errors="backslashreplace")
    while len(text.encode()) > KEPT:
        text = text[max(1, (len(text.encode()) - KEPT) // 4) :]
    return text
