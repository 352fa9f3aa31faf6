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


def points(log: Path, place: Path) -> list[Call]:
    """Return the calls of a process that change its state, or ask a provider for something."""
    counts = dict.fromkeys(CALLS, 0)
    found: list[Call] = []
    for line in log.read_text().splitlines():
        match = CALL.match(line)
        if match is None or match[1] not in counts:
            continue
        name, text = match.groups()
        counts[name] += 1
        if str(place) in text or name == "sendto":
            found.append(Call(name=name, number=counts[name], text=text.replace(str(place), "")))
    return found


def some(found: Sequence[Call], every: int) -> Sequence[Call]:
    return sample(found, every=1) if PROOF else found[::every]
