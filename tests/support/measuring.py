"""What coverage looks at: the import of the modules, and the tests while they run.

What is looked at takes three times as long.  So what pytest does between the tests is not measured, and of
the cases of a sweep, which run the same lines again and again, only those with a parameter that is new.
"""

import os
import pkgutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

__all__ = ["Measuring", "current"]

PACKAGES: Final = ("spkg", "vouchers")
ROOT: Final = Path(__file__).parents[2]


def current() -> "Measuring | None":
    """Return what measures this process, if anything does."""
    coverage = sys.modules.get("coverage")
    found = None if coverage is None else coverage.Coverage.current()
    return None if found is None or sys.gettrace() is None else Measuring(found)


def _called() -> None:
    """Be the first that is called, and seen: only then coverage puts itself in the faster place."""


class Measuring:
    """Coverage of this process, which can be told to look away.

    It is on when this is made.
    """

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self._trace, self._thread_trace = sys.gettrace(), threading.gettrace()
        os.register_at_fork(after_in_child=self._in_child)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Measure what is done meanwhile."""
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

    @staticmethod
    def _set(trace: Any, thread_trace: Any) -> None:
        threading.settrace(thread_trace)
        sys.settrace(trace)

    def _in_child(self) -> None:
        """Write down in a forked process only what it runs itself, and only if that is measured.

        The tests fork thousands of times.  To write again what the parent has run takes up to a second, and
        to look for the modules that nobody ran, as the parent does, longer than most of these processes live.
        """
        write = self._coverage.save

        def save() -> None:
            sys.settrace(None)
            write()

        def nothing() -> None: ...

        for run in self._coverage._collector.data.values():
            run.clear()
        self._coverage._post_save_work = nothing
        self._coverage.save = nothing if sys.gettrace() is None else save
