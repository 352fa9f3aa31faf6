"""The serial numbers that a run has been given, in a database without a name: a run may have millions."""

import sqlite3
from types import TracebackType
from typing import Final, Self

from spkg.errors import HostError

__all__ = ["GivenSerials"]

PRAGMAS: Final = ("cache_size = -1024", "journal_mode = OFF")
"""No more than so many KiB are kept in memory."""


class GivenSerials:
    """A set of serial numbers; usable in a ``with`` statement."""

    def __init__(self) -> None:
        # An empty name is a file that SQLite removes; who closes a generator may be another thread.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)

    def __enter__(self) -> Self:
        for pragma in PRAGMAS:
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE given (serial INTEGER PRIMARY KEY)")
        self._database.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, serial: int) -> bool:
        """Add a serial number; return whether it was not there before.

        Raises:
            HostError: There is no room for it.
        """
        try:
            done = self._database.execute("INSERT OR IGNORE INTO given VALUES (?)", (serial,))
        except sqlite3.Error as exc:
            problem = f"the serial numbers of this run can't be kept in a temporary file: {exc}"
            raise HostError(problem, hint="TMPDIR names its directory") from exc
        return done.rowcount == 1
