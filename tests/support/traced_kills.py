"""Processes that are killed at a system call: which calls there are, and which of them a run tries."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.support.interruptions import Call
from tests.support.sampling import PROOF, sample

__all__ = ["CALLS", "in_child", "points", "some"]

CALLS: Final = ("openat", "write", "pwrite64", "ftruncate", "unlink", "fsync", "fdatasync", "sendto")
CALL: Final = re.compile(r"(?:\d+ +)?(\w+)\((.*)")


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        status = 70
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def points(
    log: Path, place: Path, calls: Sequence[str] = CALLS, anywhere: Sequence[str] = ("sendto",)
) -> list[Call]:
    """Return the calls of a process that change its state, or speak to another one.

    Args:
        log: What strace has written.
        place: Where the state is.
        calls: What strace was told to look at.
        anywhere: Those of them that count wherever they go.
    """
    counts = dict.fromkeys(calls, 0)
    found: list[Call] = []
    for line in log.read_text().splitlines():
        match = CALL.match(line)
        if match is None or match[1] not in counts:
            continue
        name, text = match.groups()
        counts[name] += 1
        if str(place) in text or name in anywhere:
            found.append(Call(name=name, number=counts[name], text=text.replace(str(place), "")))
    return found


def some(found: Sequence[Call], every: int) -> Sequence[Call]:
    return sample(found, every=1) if PROOF else found[::every]
