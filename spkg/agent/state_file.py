"""The SQLite file of the agent's state: the only user of its database.

A transaction is one write to the log beside the file (WAL), and one sync; it is on the disk when
:meth:`StateFile.write` returns.  The file is locked for as long as it is open, so that neither a second agent
nor memory shared with other processes is needed, which JFFS2 has not.  A file that can't be read is moved
aside: it must never keep the agent from starting.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from spkg.agent.records import Attribute, Intent, ParameterTrial, Row, ScheduledInform, Transfer, read_row
from spkg.common.atomic_output import make_own_directory, sync_directory
from spkg.common.portable import CLOSE_ON_EXEC, NO_FOLLOW, restrict
from spkg.errors import NO_ROOM, HostError, os_problem

__all__ = ["FACT_SCHEDULED", "FACT_TRANSFERS", "STATE_TABLES", "StateContents", "StateFile"]

FACT_TRANSFERS: Final = "transfer-number"
FACT_SCHEDULED: Final = "schedule-number"
COMMITS_AT_ONCE: Final = 32
"""After how many transactions the log is copied into the file."""
STATE_MARK: Final = 0x53504B41
"""Marks an SQLite file as the state of an agent: its application_id."""
STATE_VERSION: Final = 1
STATE_TABLES: Final = {
    "fact": ("name", "value"),
    "event": ("code", "key", "position"),
    "transfer": (
        "id",
        "direction",
        "arguments",
        "due_wall",
        "due_boot",
        "boot_id",
        "state",
        "boot_when_done",
        "result",
    ),
    "schedule": ("id", "command_key", "due_wall", "due_boot", "boot_id"),
    "value": ("name", "value"),
    "attribute": ("name", "notification", "access"),
    "instance": ("path", "next"),
    "told": ("name", "value"),
    "intent": ("position", "kind", "name", "value", "before"),
    "trial": ("name", "before", "delay", "since_boot", "boot_id"),
}
"""The columns of each table."""
KEY_LENGTHS: Final = {"event": 2}
"""How many of the first columns are the key of a table, where they are not one."""
StateContents = dict[str, dict[Row, Row]]


class StateFile:
    """The file, open.

    Args:
        path: The file; it is made if it is missing, with its directory.  None for one in memory.
        patience: How many seconds to wait for another process that has it open.
        repair: Whether one that can't be read is moved aside.

    Raises:
        HostError: It can't be opened or made, or it can't be read and stays where it is.
    """

    def __init__(self, path: Path | None, patience: float, *, repair: bool = True) -> None:
        self._path = path
        self.set_aside: Path | None = None
        """Where a file is that could not be read."""
        self._untidy = 0
        """How many transactions are in the log alone."""
        with _telling(path):
            try:
                self._database, self.contents = _opened(path, patience)
            except (sqlite3.DatabaseError, ValueError, OSError) as exc:
                if isinstance(exc, ValueError) and not repair:
                    raise HostError(f"{path}: {exc}") from exc
                if path is None or not repair or not _is_damage(exc, path):
                    raise
                self.set_aside = _moved_aside(path)
                self._database, self.contents = _opened(path, patience)

    def close(self) -> None:
        """Close the file; the log is copied into it."""
        self._database.close()

    def write(self, before: StateContents, after: StateContents) -> bool:
        """Write what differs, in one transaction; return whether anything does.

        Raises:
            HostError: It can't be written; then nothing has changed.
        """
        work = [
            (statement, rows)
            for name in STATE_TABLES
            for statement, rows in _differences(name, before[name], after[name])
            if rows
        ]
        if not work:
            return False
        with _telling(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for statement, rows in work:
                    self._database.executemany(statement, rows)
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                raise
        self._untidy += 1
        return True

    def tidy(self) -> None:
        """Copy the log into the file, if it has become long.

        Raises:
            HostError: It can't be written; what is in the log stays there.
        """
        if self._untidy >= COMMITS_AT_ONCE:
            self._untidy = 0  # or a disk that fails would be asked again and again
            with _telling(self._path):
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _differences(
    name: str, before: Mapping[Row, Row], after: Mapping[Row, Row]
) -> Iterator[tuple[str, list[Row]]]:
    """Give the statements that make one table from the other, each with its rows."""
    columns = STATE_TABLES[name]
    keys = " AND ".join(f"{column} = ?" for column in columns[: KEY_LENGTHS.get(name, 1)])
    yield f"DELETE FROM {name} WHERE {keys}", [key for key in before if key not in after]  # noqa: S608 - our own names
    places = ", ".join("?" * len(columns))
    yield (
        f"INSERT OR REPLACE INTO {name} VALUES ({places})",  # noqa: S608 - our own names
        [row for key, row in after.items() if before.get(key) != row],
    )


def _opened(path: Path | None, patience: float) -> tuple[sqlite3.Connection, StateContents]:
    """Return the database and all that is in it; a missing one is made.

    Raises:
        sqlite3.Error: It is no database, or can't be opened.
        ValueError: It is not the state of an agent that this version can read.
        OSError: It can't be made.
    """
    if path is not None:
        make_own_directory(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW | CLOSE_ON_EXEC, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("not a regular file")
            restrict(descriptor, 0o600)
        finally:
            os.close(descriptor)
    database = sqlite3.connect(
        ":memory:" if path is None else f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,  # the threads of the agent use it one after the other
    )
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # first, or memory is shared to read the log
        # What has been answered must survive a power cut.
        database.execute("PRAGMA synchronous = EXTRA")
        database.execute("PRAGMA trusted_schema = OFF")
        contents = _contents(database)
        if path is not None:
            database.execute("PRAGMA journal_mode = WAL").fetchall()
            # A process that was killed just after it made or removed a file has not made that durable.
            sync_directory(path.absolute().parent)
    except BaseException:
        database.close()
        raise
    return database, contents


def _contents(database: sqlite3.Connection) -> StateContents:
    """Return all that is in a database; an empty one gets its tables."""
    database.execute("BEGIN IMMEDIATE")
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (mark, version, tables) == (0, 0, 0):
        for name, columns in STATE_TABLES.items():
            key = ", ".join(columns[: KEY_LENGTHS.get(name, 1)])
            database.execute(f"CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID")
        database.execute(f"PRAGMA application_id = {STATE_MARK}")
        database.execute(f"PRAGMA user_version = {STATE_VERSION}")
    elif (mark, version) != (STATE_MARK, STATE_VERSION):
        raise ValueError("not the state of an agent that this version can read")
    database.execute("COMMIT")
    (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise ValueError(f"damaged: {sound}")
    contents = {
        name: {row[: KEY_LENGTHS.get(name, 1)]: row for row in database.execute(f"SELECT * FROM {name}")}  # noqa: S608 - our own names
        for name in STATE_TABLES
    }
    _check(contents)
    return contents


def _check(contents: StateContents) -> None:
    """Check that each row can be read.

    Raises:
        ValueError: One can't.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "fact": (str, str),
        "event": (str, str, int),
        "value": (str, str),
        "instance": (str, int),
        "told": (str, str),
    }
    readers: dict[str, Callable[[Row], object]] = {
        "transfer": Transfer.of,
        "schedule": ScheduledInform.of,
        "attribute": Attribute.of,
    }
    for name, types in kinds.items():
        for row in contents[name].values():
            read_row(row, *types)
    for name, reader in readers.items():
        for row in contents[name].values():
            reader(row)
    for (position,) in contents["intent"]:
        read_row((position,), int)
    Intent.of(tuple(row[1:] for row in contents["intent"].values()))
    ParameterTrial.of(tuple(contents["trial"].values()))
    for fact in (FACT_TRANSFERS, FACT_SCHEDULED):
        int(contents["fact"].get((fact,), ("", "0"))[1])


def _is_damage(error: Exception, path: Path) -> bool:
    """Whether a file itself is what keeps it from being read."""
    if isinstance(error, ValueError):
        return True
    if isinstance(error, OSError):
        return os.path.lexists(path) and (path.is_symlink() or not path.is_file())
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def _moved_aside(path: Path) -> Path:
    """Move a file that can't be read out of the way, in place of an earlier one, and return where it is."""
    # First what would be taken for the journal of the new one.
    for ending in ("-journal", "-wal", "-shm"):
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.damaged")
    for number in range(1, 100):
        try:
            path.replace(aside)
            break
        except OSError:  # a directory that is not empty is there
            aside = path.with_name(f"{path.name}.damaged-{number}")
    sync_directory(path.absolute().parent)
    return aside


@contextmanager
def _telling(path: Path | None) -> Iterator[None]:
    """Have errors name the file."""
    try:
        yield
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            problem = f"{path} is in use by another process: is an agent running?"
            raise HostError(problem) from exc
        full = code == sqlite3.SQLITE_FULL
        raise HostError(f"{path}: {exc}", reason=NO_ROOM if full else None) from exc
    except OSError as exc:
        raise HostError(os_problem(exc)) from exc
