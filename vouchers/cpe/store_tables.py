"""The tables of a store, its statements, and what a row means."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vouchers.cpe.option_life import Ending, Life
from vouchers.model import Mode

__all__ = [
    "ADDED_TABLE",
    "ALL_COMING",
    "ALL_OPTIONS",
    "CLOCK_FACT",
    "CODE_FACT",
    "END_BY_PROVIDER",
    "END_COMING",
    "EPOCH",
    "MARK_BEGUN",
    "MARK_PASSED",
    "MAX_SEEN",
    "MAX_STORED_OPTIONS",
    "PUT_COMING",
    "PUT_OPTION",
    "SEEN_CONTENTS",
    "STORE_COUNTS",
    "STORE_MARK",
    "STORE_TABLES",
    "STORE_VERSION",
    "life_of",
    "seconds_of",
    "stored_row",
    "time_of",
]

MAX_STORED_OPTIONS: Final = 256
"""The most Options in a store."""
MAX_SEEN: Final = 1 << 14
"""The most serial numbers in a store: about 2 MiB, and one voucher a day for 40 years."""
STORE_MARK: Final = 0x53504B47
"""Marks an SQLite file as a store: its application_id."""
STORE_VERSION: Final = 2
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
STORE_TABLES: Final = """
    CREATE TABLE option (
        name TEXT PRIMARY KEY, serial TEXT NOT NULL, signer BLOB NOT NULL, content BLOB NOT NULL,
        mode TEXT NOT NULL, start INTEGER NOT NULL, expires INTEGER, transferable INTEGER NOT NULL,
        begun INTEGER NOT NULL, ending TEXT, set_up INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE coming (
        name TEXT, serial TEXT NOT NULL, signer BLOB NOT NULL, content BLOB NOT NULL,
        mode TEXT NOT NULL, start INTEGER, expires INTEGER, transferable INTEGER NOT NULL,
        PRIMARY KEY (name, start)
    ) WITHOUT ROWID;
    CREATE TABLE seen (
        signer BLOB, serial TEXT, content BLOB, PRIMARY KEY (signer, serial, content)
    ) WITHOUT ROWID;
    CREATE TABLE fact (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
ADDED_TABLE: Final = STORE_TABLES[
    STORE_TABLES.index("CREATE TABLE coming") : STORE_TABLES.index(";\n    CREATE TABLE seen")
]
"""The table that stores of version 1 lack."""
ALL_OPTIONS: Final = """
    SELECT name, serial, signer, content, mode, start, expires, transferable, begun, ending, set_up
    FROM option
"""
ALL_COMING: Final = """
    SELECT name, serial, signer, content, mode, start, expires, transferable, 0, NULL, 0 FROM coming
"""
PUT_COMING: Final = "INSERT INTO coming VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
PUT_OPTION: Final = "INSERT OR REPLACE INTO option VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SEEN_CONTENTS: Final = "SELECT content FROM seen WHERE signer = ? AND serial = ?"
END_BY_PROVIDER: Final = (
    "UPDATE option SET ending = ? WHERE ending IS NULL AND NOT transferable AND mode <> ?"
)
END_COMING: Final = "DELETE FROM coming WHERE NOT transferable"
MARK_BEGUN: Final = "UPDATE option SET begun = 1 WHERE NOT begun AND start <= ?"
MARK_PASSED: Final = "UPDATE option SET ending = ? WHERE ending IS NULL AND expires <= ?"
STORE_COUNTS: Final = (
    ("SELECT count(*) FROM option", MAX_STORED_OPTIONS, "Options"),
    ("SELECT count(*) FROM coming", MAX_STORED_OPTIONS, "vouchers to come"),
    ("SELECT count(*) FROM seen", MAX_SEEN, "vouchers"),
)
CODE_FACT: Final = "provisioning-code"
CLOCK_FACT: Final = "clock"


def stored_row(life: Life) -> tuple[object, ...]:
    """Return the columns of a voucher, without what has happened since."""
    return (
        life.name,
        life.serial,
        life.signer_key,
        life.content,
        life.mode.value,
        seconds_of(life.start),
        None if life.expires is None else seconds_of(life.expires),
        life.transferable,
        life.begun,
    )


def life_of(row: tuple[Any, ...]) -> Life:
    """Return the voucher in a row.

    Raises:
        sqlite3.DataError: It has values that no store writes.
    """
    name, serial, signer, content, mode, start, expires, transferable, begun, ending, set_up = row
    kinds = [*map(type, (name, serial, signer, content))]
    if kinds != [str, str, bytes, bytes]:
        raise sqlite3.DataError("invalid value: a text or a BLOB has the wrong type")
    try:
        return Life(
            name=name,
            serial=serial,
            signer_key=signer,
            content=content,
            mode=Mode(mode),
            start=time_of(start),
            expires=None if expires is None else time_of(expires),
            transferable=bool(transferable),
            begun=bool(begun),
            ending=None if ending is None else Ending(ending),
            set_up=bool(set_up),
        )
    except ValueError as exc:
        raise sqlite3.DataError(f"invalid value: {exc}") from exc


def seconds_of(time: datetime) -> int:
    """Return a time as it is stored."""
    return (time - EPOCH) // timedelta(seconds=1)


def time_of(seconds: Any) -> datetime:
    """Return a time that is stored.

    Raises:
        sqlite3.DataError: It is not one.
    """
    try:
        return EPOCH + timedelta(seconds=seconds)
    except (TypeError, OverflowError) as exc:
        raise sqlite3.DataError(f"invalid value: {exc}") from exc
