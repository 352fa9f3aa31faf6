"""What the agent keeps over a power cut, in one SQLite file: the only user of its database.

All of it is in memory, too: reading costs nothing.  It is changed in whole transactions alone, and a block
that changes nothing writes nothing.  A file that can't be read is moved aside: it must never keep the agent
from starting.  To be used from one thread at a time, whichever.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from spkg.agent.records import (
    Attribute,
    Intent,
    ParameterTrial,
    Row,
    ScheduledInform,
    Transfer,
    read_row,
)
from spkg.common.atomic_output import sync_directory
from spkg.common.portable import CLOSE_ON_EXEC, NO_FOLLOW, restrict
from spkg.cwmp.events import Event
from spkg.errors import NO_ROOM, HostError, os_problem

__all__ = [
    "FACT_BOOT",
    "FACT_CLOCK",
    "FACT_FIRST_USE",
    "FACT_PARAMETER_KEY",
    "FACT_PATH",
    "FACT_PHASE",
    "FACT_REBOOT",
    "FACT_RESET",
    "FACT_URL_DHCP",
    "FACT_URL_TOLD",
    "FACT_VERSION",
    "FACT_VERSION_BOOT",
    "STATE_FILE",
    "AgentState",
    "StateChange",
]

STATE_FILE: Final = "state.db"
"""The name of the file in the state directory."""
FACT_PARAMETER_KEY: Final = "parameter-key"
"""The ParameterKey (Table 61)."""
FACT_URL_TOLD: Final = "url-told"
"""The URL of the ACS that knows of this device: with another one the next session is a BOOTSTRAP."""
FACT_URL_DHCP: Final = "url-dhcp"
"""The URL that DHCP stated last."""
FACT_BOOT: Final = "boot"
"""The id of the last boot that was seen."""
FACT_PATH: Final = "cr-path"
"""The path of the ConnectionRequestURL, drawn once."""
FACT_PHASE: Final = "phase"
"""The phase of the periodic Informs, drawn once."""
FACT_FIRST_USE: Final = "first-use"
"""When the first session was (FirstUseDate), as a dateTime."""
FACT_CLOCK: Final = "clock"
"""The latest time that is known to have been, as a dateTime."""
FACT_REBOOT: Final = "reboot-due"
"""The id of the boot in which a reboot is due."""
FACT_RESET: Final = "reset-due"
"""The id of the boot in which a factory reset is due."""
FACT_VERSION: Final = "software-version"
"""The SoftwareVersion that runs."""
FACT_VERSION_BOOT: Final = "software-version-boot"
"""The id of the boot in which that was read."""
FACT_TRANSFERS: Final = "transfer-number"
FACT_SCHEDULED: Final = "schedule-number"

STATE_LOCK_TIMEOUT: Final = 10
"""Seconds to wait for another process that reads the file."""
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
OF_PARAMETERS: Final = ("value", "attribute", "instance", "told", "trial")
"""The tables whose key is the name of a parameter or an object."""

_Contents = dict[str, dict[Row, Row]]


class AgentState:
    """The state of an agent.

    Args:
        path: The file; it is made if it is missing, with its directory.  None for a state in memory.

    Raises:
        HostError: It can't be opened or made.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.set_aside: Path | None = None
        """Where a file is that could not be read."""
        self.commits = 0
        """How many transactions were written."""
        self._changing = False
        with _telling(path):
            try:
                self._database, self._contents = _opened(path)
            except (sqlite3.DatabaseError, ValueError, OSError) as exc:
                if path is None or not _is_damage(exc, path):
                    raise
                self.set_aside = _moved_aside(path)
                self._database, self._contents = _opened(path)
            self._seen = self._version_on_disk()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def fact(self, name: str) -> str | None:
        """Return a fact; None if it is not known."""
        row = self._contents["fact"].get((name,))
        return None if row is None else row[1]

    def events(self) -> tuple[Event, ...]:
        """Return the events that wait for the clean end of a session, in the order in which they came."""
        rows = sorted(self._contents["event"].values(), key=lambda row: row[2])
        return tuple(Event(code, key) for code, key, _ in rows)

    def transfers(self) -> tuple[Transfer, ...]:
        """Return the transfers, in the order in which they were asked for."""
        return tuple(Transfer.of(row) for _, row in sorted(self._contents["transfer"].items()))

    def schedule(self) -> tuple[ScheduledInform, ...]:
        """Return the scheduled Informs, in the order in which they were asked for."""
        return tuple(ScheduledInform.of(row) for _, row in sorted(self._contents["schedule"].items()))

    def values(self) -> Mapping[str, str]:
        """Return the values of the agent's own parameters that were set."""
        return dict(self._contents["value"].values())

    def value(self, name: str) -> str | None:
        """Return the value of one of the agent's own parameters; None if it was never set."""
        row = self._contents["value"].get((name,))
        return None if row is None else row[1]

    def attributes(self) -> Mapping[str, Attribute]:
        """Return the attributes of the parameters whose attributes were changed."""
        return {row[0]: Attribute.of(row) for row in self._contents["attribute"].values()}

    def instances(self) -> Mapping[str, int]:
        """Return the next instance number of each table in which objects were added, by its path."""
        return dict(self._contents["instance"].values())

    def told(self) -> Mapping[str, str]:
        """Return the last values that the ACS knows of parameters whose changes it is told."""
        return dict(self._contents["told"].values())

    def intent(self) -> Intent | None:
        """Return what providers still have to carry out."""
        return Intent.of(tuple(row[1:] for _, row in sorted(self._contents["intent"].items())))

    def trial(self) -> ParameterTrial | None:
        """Return the parameters that are on trial."""
        return ParameterTrial.of(tuple(self._contents["trial"].values()))

    @contextmanager
    def change(self) -> Iterator["StateChange"]:
        """Make what the block changes durable when it ends, in one transaction; nothing if it raises.

        Raises:
            HostError: It can't be written; then nothing has changed.
        """
        if self._changing:
            raise RuntimeError("a change of the state within another one")
        self._changing = True
        try:
            contents = {name: dict(rows) for name, rows in self._contents.items()}
            yield StateChange(contents)
            self._commit(contents)
        finally:
            self._changing = False

    def _commit(self, contents: _Contents) -> None:
        """Write what differs."""
        work = [
            (statement, rows)
            for name in STATE_TABLES
            for statement, rows in _differences(name, self._contents[name], contents[name])
            if rows
        ]
        if not work:
            return
        with _telling(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._refuse_others()
                for statement, rows in work:
                    self._database.executemany(statement, rows)
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                raise
        self._contents = contents
        self.commits += 1

    def _refuse_others(self) -> None:
        """Refuse to write over what another process has written."""
        if self._version_on_disk() != self._seen:
            raise HostError(f"{self._path} was changed by another process: is a second agent running?")

    def _version_on_disk(self) -> int:
        """Return what differs once another connection has changed the file."""
        (version,) = self._database.execute("PRAGMA data_version").fetchone()
        return int(version)


class StateChange:
    """What a transaction changes; nothing of it is in the state before its end."""

    def __init__(self, contents: _Contents) -> None:
        self._contents = contents

    def fact(self, name: str, value: str | None) -> None:
        """Keep a fact, or forget it."""
        self._put("fact", name, None if value is None else (name, value))

    def add_event(self, event: Event) -> None:
        """Keep an event until the clean end of a session; the same code and key only once."""
        rows = self._contents["event"]
        last = max((row[2] for row in rows.values()), default=0)
        rows.setdefault((event.code, event.command_key), (event.code, event.command_key, last + 1))

    def drop_events(self, events: Iterable[Event]) -> None:
        """Forget events, because a session that told them has ended cleanly."""
        for event in events:
            self._contents["event"].pop((event.code, event.command_key), None)

    def put_transfer(self, transfer: Transfer) -> Transfer:
        """Keep a transfer, and return it as it is kept: a new one with its number."""
        kept = replace(transfer, id=transfer.id or self._next_number(FACT_TRANSFERS))
        self._put("transfer", kept.id, kept.row)
        return kept

    def drop_transfer(self, number: int) -> None:
        """Forget a transfer, because the ACS has answered its TransferComplete."""
        self._put("transfer", number, None)

    def schedule_inform(self, inform: ScheduledInform) -> ScheduledInform:
        """Keep a scheduled Inform, and return it as it is kept: a new one with its number."""
        kept = replace(inform, id=inform.id or self._next_number(FACT_SCHEDULED))
        self._put("schedule", kept.id, kept.row)
        return kept

    def drop_scheduled(self, number: int) -> None:
        """Forget a scheduled Inform, because it has become an event."""
        self._put("schedule", number, None)

    def set_value(self, name: str, value: str | None) -> None:
        """Keep the value of one of the agent's own parameters, or return it to what it was at first."""
        self._put("value", name, None if value is None else (name, value))

    def set_attribute(self, name: str, attribute: Attribute) -> None:
        """Keep the attributes of a parameter."""
        self._put("attribute", name, None if attribute == Attribute() else (name, *attribute.row))

    def set_next_instance(self, path: str, number: int) -> None:
        """Keep the next instance number of a table."""
        self._put("instance", path, (path, number))

    def tell(self, name: str, value: str | None) -> None:
        """Keep what the ACS knows of a parameter, or forget it because the ACS is not told any more."""
        self._put("told", name, None if value is None else (name, value))

    def set_intent(self, intent: Intent | None) -> None:
        """Keep what providers have to carry out, in place of what they had to."""
        rows = () if intent is None else intent.rows
        self._contents["intent"] = {(index,): (index, *row) for index, row in enumerate(rows)}

    def set_trial(self, trial: ParameterTrial | None) -> None:
        """Keep the parameters that are on trial, in place of those that were."""
        self._contents["trial"] = {} if trial is None else {row[:1]: row for row in trial.rows}

    def forget_below(self, path: str) -> None:
        """Forget all about the parameters and tables below an object that was deleted."""
        for name in OF_PARAMETERS:
            rows = self._contents[name]
            for key in [key for key in rows if key[0].startswith(path)]:
                del rows[key]

    def forget_everything(self, *but: str) -> None:
        """Forget all but these facts (A.4.1.6), and which numbers of transfers are used up."""
        stay = {*but, FACT_TRANSFERS, FACT_SCHEDULED}
        kept = {key: row for key, row in self._contents["fact"].items() if key[0] in stay}
        self._contents.update({name: {} for name in STATE_TABLES}, fact=kept)

    def _put(self, table: str, key: str | int, row: Row | None) -> None:
        if row is None:
            self._contents[table].pop((key,), None)
        else:
            self._contents[table][key,] = row

    def _next_number(self, fact: str) -> int:
        before = self._contents["fact"].get((fact,))
        number = 1 if before is None else int(before[1]) + 1
        self.fact(fact, str(number))
        return number


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


def _opened(path: Path | None) -> tuple[sqlite3.Connection, _Contents]:
    """Return the database and all that is in it; a missing one is made.

    Raises:
        sqlite3.Error: It is no database, or can't be opened.
        ValueError: It is not the state of an agent that this version can read.
        OSError: It can't be made.
    """
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        timeout=STATE_LOCK_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,  # the threads of the agent use it one after the other
    )
    try:
        # What has been answered must survive a power cut.
        database.execute("PRAGMA synchronous = EXTRA")
        database.execute("PRAGMA trusted_schema = OFF")
        contents = _contents(database)
        if path is not None:
            # A process that was killed just after its journal was removed has not made that durable.
            sync_directory(path.absolute().parent)
    except BaseException:
        database.close()
        raise
    return database, contents


def _contents(database: sqlite3.Connection) -> _Contents:
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


def _check(contents: _Contents) -> None:
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
        full = getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        raise HostError(f"{path}: {exc}", reason=NO_ROOM if full else None) from exc
    except OSError as exc:
        raise HostError(os_problem(exc)) from exc
