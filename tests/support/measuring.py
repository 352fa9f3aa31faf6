"""What coverage looks at: the import of the modules, and the tests while they run.

What is looked at takes three times as long.  So what pytest does between the tests is not measured, of the
cases of a sweep, which run the same lines again and again, only those with a parameter that is new, and of
what is done many times only as many as run something that nothing ran before.
"""

import mmap
import os
import pkgutil
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

__all__ = ["Measuring", "current"]

ENOUGH: Final = 0.5
"""So many seconds something may take in which it runs nothing new; then it is not measured any more."""
PACKAGES: Final = ("spkg", "vouchers")
ROOT: Final = Path(__file__).parents[2]


def current() -> "Measuring | None":
    """Return what measures this process, if anything does."""
    coverage = sys.modules.get("coverage")
    found = None if coverage is None else coverage.Coverage.current()
    return None if found is None or sys.gettrace() is None else Measuring(found)


class _Seen:
    """Which steps from line to line the processes have written down that were forked here.

    A step is a bit among a billion in memory that all of them share.  It is as good as certain that two
    steps have not the same one; where they have, one is missing in the report.
    """

    BITS: Final = 1 << 30

    def __init__(self) -> None:
        self._bits = mmap.mmap(-1, self.BITS // 8 + 8)

    def adds(self, data: Mapping[str, Collection[object]]) -> bool:
        """Say whether there is a step among these that no process has written down; from now on all have."""
        found = False
        for name, steps in data.items():
            for step in steps:
                octet, bit = divmod(hash((name, step)) % self.BITS, 8)
                if not self._bits[octet] >> bit & 1:
                    self._bits[octet] |= 1 << bit
                    found = True
        if found:
            self._bits[-8:] = (self.times + 1).to_bytes(8)
        return found

    @property
    def times(self) -> int:
        """How often something was added."""
        return int.from_bytes(self._bits[-8:])


def _spent() -> float:
    """Return how many seconds this process and those that it has waited for have worked."""
    return sum(os.times()[:4])


def _called() -> None:
    """Be the first that is called, and seen: only then coverage puts itself in the faster place."""


class Measuring:
    """Coverage of this process, which can be told to look away.

    It is on when this is made.
    """

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self._trace, self._thread_trace = sys.gettrace(), threading.gettrace()
        self._seen = _Seen()
        self._idle: dict[str, float] = {}
        """How long each has run, measured, since it ran something new."""
        os.register_at_fork(after_in_child=self._in_child)

    @contextmanager
    def on(self, what: str = "") -> Iterator[None]:
        """Measure what is done meanwhile, unless it was done for long without anything new.

        Args:
            what: What is done, again and again.
        """
        if self._idle.get(what, 0) > ENOUGH:
            yield
            return
        found, begun = self._found(), _spent()
        with self._measured():
            yield
        idle = self._idle.get(what, 0) + _spent() - begun
        self._idle[what] = idle if self._found() == found else 0

    @contextmanager
    def _measured(self) -> Iterator[None]:
        before = sys.gettrace(), threading.gettrace()
        self._set(self._trace, self._thread_trace)
        _called()
        try:
            yield
        finally:
            self._set(*before)

    def look_away(self) -> None:
        """Measure no more, but for what is done while it is on."""
        self._set(None, None)

    def import_all(self) -> None:
        """Import every module while that is measured: a test that is not may be the first to want one."""
        import_module("cli")
        for name in PACKAGES:
            for found in pkgutil.walk_packages([str(ROOT / name)], f"{name}."):
                import_module(found.name)

    def _found(self) -> tuple[int, int]:
        """Return how much was run, here and in processes that were forked; it grows with what is new."""
        return sum(map(len, self._coverage._collector.data.values())), self._seen.times

    @staticmethod
    def _set(trace: Any, thread_trace: Any) -> None:
        threading.settrace(thread_trace)
        sys.settrace(trace)

    def _in_child(self) -> None:
        """Write down in a forked process what it runs itself, if that is measured, and any of it is new.

        The tests fork thousands of times.  To write again what the parent has run takes up to a second, and
        to look for the modules that nobody ran, as the parent does, longer than most of these processes live.
        """
        write, data = self._coverage.save, self._coverage._collector.data

        def save() -> None:
            sys.settrace(None)
            if self._seen.adds(data):
                write()

        def nothing() -> None: ...

        for run in data.values():
            run.clear()
        self._coverage._post_save_work = nothing
        self._coverage.save = nothing if sys.gettrace() is None else save
