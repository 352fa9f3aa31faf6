"""A child process that changes a root and, where the kernel has Landlock, can change nothing else.

Only what is asked of it and what it answers goes between the two, as JSON lines; the parent reads the
package's front matter, tells people, and outlives whatever happens to the child.
"""

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
    "Tell",
    "fork",
    "forking",
    "run_child",
]

Tell = Callable[[Document], None]

_FORKING: Final = threading.Lock()
SAID: Final = ("problem", "source", "offset", "field", "section", "hint", "reason")
"""What an error says."""


class ChildKilledError(FailedError):
    """The child ended without an answer: something killed it."""


class DefectError(Exception):
    """A defect in what the child did; the traceback is a note of it."""


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


def run_child(work: Callable[[Tell], Document], hear: Tell) -> Document:
    """Do *work* in a child process, and return its answer.

    A signal that ends the waiting here is passed on; an answer that comes all the same is returned.

    Args:
        work: What to do there; it may tell things meanwhile.
        hear: Is called with each of them, here.

    Raises:
        SpkgError: What the work raised, with all that it said.
        ChildKilledError: The child was killed.
        DefectError: The work raised what it should not.
        OSError: There can be no child.
    """
    reading, writing = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        child = fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if child == 0:
        os.close(reading)
        _work(work, writing, before)
    os.close(writing)
    answers: list[Document] = []
    with os.fdopen(reading, "rb") as lines:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            _listen(lines, hear, answers)
            status = os.waitpid(child, 0)[1]
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
            _listen(lines, lambda _: None, answers)  # whoever heard may be what hangs
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
            if not any(_counts(answer) for answer in answers):
                raise
            status = 0
    if not answers:
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {status >> 8}"
        raise ChildKilledError(f"the process that changes the root was ended by {how}")
    return _answered(answers[0])


def _work(work: Callable[[Tell], Document], writing: int, mask: Iterable[int]) -> NoReturn:
    """Do the work in the child, answer, and end without a word to whoever called."""

    def tell(document: Document) -> None:
        octets = memoryview(json.dumps(document).encode() + b"\n")
        with suppress(BrokenPipeError):  # the parent is gone: what is begun is carried on
            while octets:
                octets = octets[os.write(writing, octets) :]

    status = 1
    try:
        raise_stop_signals()  # or one would end this process in the middle of what it does
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        tell({"done": work(lambda document: tell({"told": document}))})
        status = 0
    except SpkgError as exc:
        kind = next(base.__name__ for base in type(exc).__mro__ if base.__module__ == spkg.errors.__name__)
        tell({"error": {"kind": kind, **{name: getattr(exc, name) for name in SAID}}})
    except OSError as exc:
        name = None if exc.filename is None else os.fsdecode(exc.filename)
        tell({"system": [exc.errno, exc.strerror, name]})
    except Exception as exc:  # noqa: BLE001 - a defect there must not go on with what is done here
        tell({"defect": f"{type(exc).__name__}: {exc}", "traceback": traceback.format_exc()})
    finally:
        os._exit(status)


def _listen(lines: Iterable[bytes], hear: Tell, answers: list[Document]) -> None:
    for line in lines:
        try:
            told: Document = json.loads(line)
        except ValueError:  # a signal there or here cut it off
            continue
        if "told" in told:
            hear(told["told"])
        else:
            answers.append(told)


def _counts(answer: Document) -> bool:
    """Whether an answer has to be told although a signal came: what was done, or that the root is unsafe."""
    return "done" in answer or answer.get("error", {}).get("kind") == UnsafeError.__name__


def _answered(answer: Document) -> Document:
    """Return what was done, or raise what kept it from that."""
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
