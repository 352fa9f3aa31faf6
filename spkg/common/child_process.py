"""A child process that changes a root and, where the kernel has Landlock, can change nothing else.

Only what is asked of it and what it answers goes between the two, as JSON lines; the parent reads the
package's front matter, tells people, and outlives whatever happens to the child.
"""

import ctypes
import json
import os
import signal
import stat
import struct
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NoReturn

from spkg import errors
from spkg.errors import FailedError, SpkgError

__all__ = ["ChildKilledError", "DefectError", "Document", "Tell", "confine", "run_child"]

Document = dict[str, Any]
Tell = Callable[[Document], None]

CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
VERSION_FLAG: Final = 1
PATH_BENEATH: Final = 1
NO_NEW_PRIVILEGES: Final = 38
EXECUTE: Final = 1 << 0
READ_FILE: Final = 1 << 2
READ: Final = READ_FILE | 1 << 3
"""Of files and of directories."""
SAID: Final = ("problem", "source", "offset", "field", "section", "hint", "fault", "reason")
"""What an error says."""
RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights over files each version of Landlock knows."""
NETWORK_FROM: Final = 4
SCOPES_FROM: Final = 6
READABLE: Final = ("/proc", "/dev/null", "/usr/share/zoneinfo")
"""What a program reads besides itself."""

_libc = ctypes.CDLL(None, use_errno=True)


class ChildKilledError(FailedError):
    """The child ended without an answer: something killed it."""


class DefectError(Exception):
    """A defect in what the child did; the traceback is a note of it."""


def confine(descriptor: int | None) -> int:  # pragma: no cover - it can't write down what it ran
    """Let this process change nothing but what is below a directory, and return the version of Landlock.

    Reading is left for that, for the program itself and for what the kernel tells; what is open stays open.
    There is no network, and no way back.

    Args:
        descriptor: The directory.  Without one no file can be changed, and all the rest is left.

    Returns:
        0 where the kernel has no Landlock: then nothing is confined.
    """
    version = _call(CREATE_RULESET, None, 0, VERSION_FLAG)
    if version < 1:
        return 0
    rights = (1 << RIGHTS[max(known for known in RIGHTS if known <= version)]) - 1
    if descriptor is None:
        fields = [rights & ~READ & ~EXECUTE]
    else:
        fields = [rights, *[0b11] * ((version >= NETWORK_FROM) + (version >= SCOPES_FROM))]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _call(CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return 0
    try:
        if descriptor is not None:
            _allow(rules, descriptor, rights & ~EXECUTE)
            _allow_reading(rules)
        if _libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0 or _call(RESTRICT_SELF, rules, 0) != 0:
            return 0
    finally:
        os.close(rules)
    return version


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
        child = os.fork()
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
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        tell({"done": work(lambda document: tell({"told": document}))})
        status = 0
    except SpkgError as exc:
        kind = next(base.__name__ for base in type(exc).__mro__ if base.__module__ == errors.__name__)
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
    return "done" in answer or answer.get("error", {}).get("kind") == errors.UnsafeError.__name__


def _answered(answer: Document) -> Document:
    """Return what was done, or raise what kept it from that."""
    match answer:
        case {"error": dict() as said}:
            raise getattr(errors, said.pop("kind"))(said.pop("problem"), **said)
        case {"system": [number, problem, name]}:
            raise OSError(number, problem, name)
        case {"defect": str(problem), "traceback": str(trace)}:
            defect = DefectError(problem)
            defect.add_note(trace)
            raise defect
    done: Document = answer["done"]
    return done


def _allow_reading(rules: int) -> None:  # pragma: no cover - as above
    """Allow to read what a program reads besides its work."""
    for path in {*READABLE, *sys.path, sys.prefix, sys.base_prefix}:
        with suppress(OSError):
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                _allow(rules, opened, READ if stat.S_ISDIR(os.fstat(opened).st_mode) else READ_FILE)
            finally:
                os.close(opened)


def _allow(rules: int, descriptor: int, rights: int) -> None:
    rule = struct.pack("=Qi", rights, descriptor)
    if _call(ADD_RULE, rules, PATH_BENEATH, rule, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _call(number: int, *arguments: Any) -> int:
    return int(_libc.syscall(number, *arguments))
