"""A child process that changes a root and, if the kernel has Landlock, can change nothing else.

The two exchange only the work, its answers, and what the child has to ask, as JSON lines.  The parent reads
the package's front matter, reports to the user, runs programs, and survives whatever happens to the child.
"""

import gc
import json
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

import spkg.errors
from spkg.common.documents import Document
from spkg.common.stop_signals import raise_stop_signals
from spkg.errors import FailedError, SpkgError, UnsafeError

__all__ = [
    "ChildKilledError",
    "DefectError",
    "Parent",
    "Reply",
    "Tell",
    "fork",
    "forking",
    "run_child",
    "unanswered",
]

Tell = Callable[[Document], None]
Reply = Callable[[Document], Document]

_FORKING: Final = threading.Lock()
_STARTING: Final = threading.Lock()
"""Held while the ends of the pipes of a child are open that are for the child alone."""
SAID: Final = ("problem", "source", "offset", "field", "section", "hint", "reason")
"""The attributes of an error that the child passes on."""
REPLY: Final = 1 << 16
"""How many bytes of a reply are read at once."""


class ChildKilledError(FailedError):
    """The child ended without an answer: it was killed."""


class DefectError(Exception):
    """A defect in the child's work; its traceback is attached as a note."""


class Parent:
    """The parent as a child has it: it can be told documents, and asked for one.

    Args:
        tell: Sends a document.
        ask: Sends a document and returns the one that is the reply.
    """

    def __init__(self, tell: Tell, ask: Reply) -> None:
        self._tell = tell
        self._ask = ask

    def __call__(self, document: Document) -> None:
        """Send a document; if the parent is gone, nobody hears it."""
        self._tell(document)

    def ask(self, document: Document) -> Document:
        """Send a document, and wait for the reply.

        Raises:
            FailedError: The parent is gone.
        """
        return self._ask(document)


def unanswered(_question: Document) -> Document:
    """Reply nothing, if the work asks nothing."""
    return {}


def fork() -> int:
    """Make a child process, as :func:`os.fork`.

    Python 3.12 and newer warn if other threads are running: their locks may never be released in the child.
    What runs in our children takes none of those.

    Raises:
        OSError: There can be no child.
    """
    with forking():
        return os.fork()


@contextmanager
def forking() -> Iterator[None]:
    """Keep that warning back while something forks."""
    with _FORKING, warnings.catch_warnings():  # which are those of all threads
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def run_child(work: Callable[[Parent], Document], hear: Tell, reply: Reply = unanswered) -> Document:
    """Do *work* in a child process, and return its answer.

    A signal that interrupts the wait here is passed on to the child; an answer that still comes is returned.

    Args:
        work: What to do in the child; it may send documents in the meantime, and ask.
        hear: Called here with each of these documents.
        reply: Called here with what the child asks; if it raises, the child finds that nobody is there.

    Raises:
        SpkgError: What the work raised, with all its attributes.
        ChildKilledError: The child was killed.
        DefectError: The work raised an unexpected exception.
        OSError: The child can't be started.
    """
    with _STARTING:  # or a child of another thread would keep our ends open, and its death would hide ours
        reading, writing = os.pipe()
        asking, replying = os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            child = fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for descriptor in (reading, writing, asking, replying):
                os.close(descriptor)
            raise
        if child != 0:
            os.close(writing)
            os.close(asking)
    if child == 0:
        os.close(reading)
        os.close(replying)  # or it would not notice that the parent is gone
        _work(work, writing, asking, before)
    answers: list[Document] = []
    with os.fdopen(reading, "rb") as lines, os.fdopen(replying, "wb", buffering=0) as replies:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            _listen(lines, hear, answers, lambda question: _write(replies.fileno(), reply(question)))
            status = os.waitpid(child, 0)[1]
        except BaseException:
            replies.close()
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
            _listen(lines, lambda _: None, answers)  # hear() may be what hangs
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
            if not any(_counts(answer) for answer in answers):
                raise
            status = 0
    if not answers:
        raise ChildKilledError(f"the process that changes the root was ended by {_end(status)}")
    return _answered(answers[0])


def _end(status: int) -> str:
    """Return how a process ended: by a signal with its name, or with a status."""
    if not os.WIFSIGNALED(status):
        return f"status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _write(descriptor: int, document: Document) -> None:
    octets = memoryview(json.dumps(document).encode() + b"\n")
    with suppress(BrokenPipeError):  # the other process is gone: this one completes its work anyway
        while octets:
            octets = octets[os.write(descriptor, octets) :]


def _work(work: Callable[[Parent], Document], writing: int, asking: int, mask: Iterable[int]) -> NoReturn:
    """Do the work in the child, answer, and exit without returning to the caller."""

    def tell(document: Document) -> None:
        _write(writing, document)

    def ask(question: Document) -> Document:
        tell({"asked": question})
        line = bytearray()
        while not line.endswith(b"\n"):
            octets = os.read(asking, REPLY)
            if not octets:
                raise FailedError("the process that asked for this is gone")
            line += octets
        reply: Document = json.loads(line)
        return reply

    # What was there before is of no use to look at, and each page that is touched would be copied.
    gc.freeze()
    status = 1
    try:
        raise_stop_signals()  # or one would end this process in the middle of what it does
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        tell({"done": work(Parent(lambda document: tell({"told": document}), ask))})
        status = 0
    except SpkgError as exc:
        kind = next(base.__name__ for base in type(exc).__mro__ if base.__module__ == spkg.errors.__name__)
        tell({"error": {"kind": kind, **{name: getattr(exc, name) for name in SAID}}})
    except OSError as exc:
        name = None if exc.filename is None else os.fsdecode(exc.filename)
        tell({"system": [exc.errno, exc.strerror, name]})
    except Exception as exc:  # noqa: BLE001 - a defect in the child must not run the caller's code
        tell({"defect": f"{type(exc).__name__}: {exc}", "traceback": traceback.format_exc()})
    finally:
        os._exit(status)


def _listen(
    lines: Iterable[bytes],
    hear: Tell,
    answers: list[Document],
    asked: Tell = lambda _: None,
) -> None:
    for line in lines:
        try:
            told: Document = json.loads(line)
        except ValueError:  # a signal in either process cut the line off
            continue
        if "told" in told:
            hear(told["told"])
        elif "asked" in told:
            asked(told["asked"])
        else:
            answers.append(told)


def _counts(answer: Document) -> bool:
    """Whether an answer must be reported despite a signal: what was done, or that the root is unsafe."""
    return "done" in answer or answer.get("error", {}).get("kind") == UnsafeError.__name__


def _answered(answer: Document) -> Document:
    """Return what was done, or raise what prevented it."""
    match answer:
        case {"error": dict() as said}:
            raise getattr(spkg.errors, said.pop("kind"))(said.pop("problem"), **said)
        case {"system": [number, problem, name]}:
            raise OSError(number, problem, name)
        case {"defect": str(problem), "traceback": str(trace)}:
            defect = DefectError(problem)
            defect.add_note(trace)
            raise defect
    done: Document = answer["done"]
    return done
