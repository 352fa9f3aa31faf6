"""The Options of a device, in one SQLite file that survives a power cut at any time (TR-069 C.2).

The only module that stores what vouchers have done.  Each call is one transaction: all of it, or nothing.
"""

import sqlite3
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from spkg.common.atomic_output import sync_directory
from spkg.errors import NO_ROOM, HostError, RefusedError, UsageError, os_problem
from vouchers.cpe.grant import Grant
from vouchers.cpe.option_life import Ending, Life, OptionState, next_change, unvouchered
from vouchers.cpe.store_tables import (
    ADDED_TABLE,
    ALL_COMING,
    ALL_OPTIONS,
    CLOCK_FACT,
    CODE_FACT,
    END_BY_PROVIDER,
    END_COMING,
    MARK_BEGUN,
    MARK_PASSED,
    PUT_COMING,
    PUT_OPTION,
    SEEN_CONTENTS,
    STORE_COUNTS,
    STORE_MARK,
    STORE_TABLES,
    STORE_VERSION,
    life_of,
    seconds_of,
    stored_row,
    time_of,
)
from vouchers.model import Mode

__all__ = ["OptionStore"]

STORE_LOCK_TIMEOUT: Final = 10
"""Seconds to wait for another process that has locked the store."""


class OptionStore:
    """The Options of one device.

    Args:
        path: The file; None for a store in memory.
        create: Whether to create a file that does not exist.

    Raises:
        HostError: It is not a store, or can't be opened.
    """

    def __init__(self, path: Path | None, *, create: bool = False) -> None:
        self._path = path
        if path is not None and path.exists() and not path.is_file():
            raise HostError(f"{path} is not a regular file")
        mode = "rwc" if create else "rw"
        with self._telling():
            self._database = sqlite3.connect(
                ":memory:" if path is None else f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=STORE_LOCK_TIMEOUT,
                isolation_level=None,
            )
        try:
            with self._telling():
                # What has been reported as done must survive a power cut.
                self._database.execute("PRAGMA synchronous = EXTRA")
                self._database.execute("PRAGMA trusted_schema = OFF")
            self._prepare(create=create)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def observe(self, provisioning_code: str | None, now: datetime | None) -> None:
        """Store the provider and the network time that are known now.

        A provisioning code that differs from the last one ends every Option that is not transferable.  A
        beginning and an end that have been seen are final, even if the clock is set back.

        Args:
            provisioning_code: That of the device; None if unknown.
            now: The network time; None if unknown or hypothetical.

        Raises:
            HostError: The store can't be written.
        """
        with self._change():
            self._see_provider(provisioning_code)
            if now is not None:
                self._take_over(now)
                self._database.execute(MARK_PASSED, (Ending.EXPIRED.value, seconds_of(now)))
                self._database.execute(MARK_BEGUN, (seconds_of(now),))
                before = self._fact(CLOCK_FACT)
                if before is None or now.replace(microsecond=0) > time_of(before):
                    self._keep(CLOCK_FACT, seconds_of(now))

    def apply(
        self,
        grants: Sequence[Grant],
        now: datetime,
        sources: Sequence[str] = (),
        provisioning_code: str | None = None,
        *,
        real: bool = True,
    ) -> list[tuple[Life, bool]]:
        """Apply vouchers, in their order: all of them, or none.

        Args:
            grants: What they do to the Options.
            now: The time of that.
            sources: The source of each, for errors.
            provisioning_code: That of the device, as for :meth:`observe`, in the same transaction.
            real: Whether *now* is the network time, not a hypothetical one.

        Returns:
            For each Option what governs it now, and whether that is new.

        Raises:
            RefusedError: One was seen before and no longer governs its Option, or the store is full.
            HostError: The store can't be written.
        """
        # If a list is repeated because its answer was lost, the last voucher for an Option counts.
        every = [life for one in grants for life in one.lives]
        last = {life.name: life for life in every}
        with self._change():
            self._see_provider(provisioning_code)
            fresh = {life.name for life in every if life.content not in self._seen(life)}
            governed = {name for name, life in last.items() if self._same(life, now) is not None} - fresh
            done = []
            for index, one in enumerate(grants):
                try:
                    done += self._apply(one, now, governed, real=real)
                except RefusedError as exc:
                    exc.source = sources[index] if index < len(sources) else None
                    raise
        if not any(new for _, new in done):
            self._settle()
        return done

    def options(
        self,
        at: datetime,
        supported: Sequence[str] | None = None,
        *,
        real: bool = False,
        provisioning_code: str | None = None,
    ) -> list[OptionState]:
        """Return the state of the Options at a time, without changing anything.

        Args:
            at: The time.
            supported: The Options that the device has; None for those that have had a voucher.
            real: Whether that is the network time, not a hypothetical one.
            provisioning_code: The current one of the device, which may differ from the one in the store.

        Raises:
            HostError: The store can't be read.
        """
        lives = {life.name: life for life in self.lives(provisioning_code)}
        names = sorted(lives) if supported is None else supported
        return [lives[name].at(at, real=real) if name in lives else unvouchered(name) for name in names]

    def lives(self, provisioning_code: str | None = None) -> list[Life]:
        """Return all Options that have had a voucher.

        Args:
            provisioning_code: As for :meth:`options`.

        Raises:
            HostError: The store can't be read.
        """
        with self._telling():
            lives = self._lives()
            before = self._fact(CODE_FACT)
        if None in {before, provisioning_code} or before == provisioning_code:
            return lives
        return [life.with_another_provider() for life in lives]

    def next_change(
        self,
        at: datetime,
        names: Container[str] | None = None,
        *,
        real: bool = False,
        provisioning_code: str | None = None,
    ) -> datetime | None:
        """Return when the next Option begins or ends after a time, without a voucher; None if none does.

        Args:
            at: The time.
            names: The Options that matter; None for all.
            real: Whether that is the network time, not a hypothetical one.
            provisioning_code: As for :meth:`options`.

        Raises:
            HostError: The store can't be read.
        """
        lives = (life for life in self.lives(provisioning_code) if names is None or life.name in names)
        return next_change(lives, at, real=real)

    def last_time(self) -> datetime | None:
        """Return the latest network time that the store has seen; None if it has seen none.

        Raises:
            HostError: The store can't be read.
        """
        with self._telling():
            seconds = self._fact(CLOCK_FACT)
            return None if seconds is None else time_of(seconds)

    def set_up(self, name: str, *, done: bool) -> None:
        """Store whether the user has set up an Option.

        Raises:
            UsageError: The Option has never had a voucher, or its name is not UTF-8.
            HostError: The store can't be written.
        """
        if any("\ud800" <= char <= "\udfff" for char in name):
            raise UsageError("the name of an Option must be UTF-8")
        with self._change():
            changed = self._database.execute("UPDATE option SET set_up = ? WHERE name = ?", (done, name))
            if not changed.rowcount:
                raise UsageError(f"the Option {name!r} has never had a voucher")

    def _see_provider(self, code: str | None) -> None:
        """If the provider has changed, end the Options that are not transferable."""
        before = self._fact(CODE_FACT)
        if code is None or before == code:
            return
        if before is not None:
            self._database.execute(END_BY_PROVIDER, (Ending.PROVIDER.value, Mode.DISABLE.value))
            self._database.execute(END_COMING)
        self._keep(CODE_FACT, code)

    def _seen(self, life: Life) -> set[bytes]:
        """Return the contents that have been seen from this signer with this serial number."""
        return {
            content for (content,) in self._database.execute(SEEN_CONTENTS, (life.signer_key, life.serial))
        }

    def _same(self, life: Life, now: datetime) -> Life | None:
        """Return the voucher with the same contents from the same signer that governs the Option, or will."""
        before = self._life(life.name)
        if before is None:
            return None
        before = before.governing(now)
        for one in (before, *before.coming):
            if (one.signer_key, one.content) == (life.signer_key, life.content) and not one.is_over(now):
                return one
        return None

    def _take_over(self, now: datetime) -> None:
        """Have vouchers whose StartDate has come take over for good."""
        names = "SELECT DISTINCT name FROM coming WHERE start <= ?"
        for (name,) in self._database.execute(names, (seconds_of(now),)).fetchall():
            life = self._life(name)
            if life is not None:
                self._put(life.governing(now))

    def _put(self, life: Life) -> None:
        """Store an Option and what comes after it."""
        ending = None if life.ending is None else life.ending.value
        self._database.execute(PUT_OPTION, (*stored_row(life), ending, life.set_up))
        self._database.execute("DELETE FROM coming WHERE name = ?", (life.name,))
        self._database.executemany(PUT_COMING, [stored_row(one)[:-1] for one in life.coming])

    def _lives(self, name: str | None = None) -> list[Life]:
        """Return the Options, or the one with this name, with what comes after each."""
        one, values = ("", ()) if name is None else (" WHERE name = ?", (name,))
        coming: dict[str, list[Life]] = {}
        for row in self._database.execute(f"{ALL_COMING}{one} ORDER BY name, start", values):
            coming.setdefault(row[0], []).append(life_of(row))
        lives = [life_of(row) for row in self._database.execute(f"{ALL_OPTIONS}{one}", values)]
        return [replace(life, coming=tuple(coming.get(life.name, ()))) for life in lives]

    def _apply(
        self, one: Grant, now: datetime, governed: Container[str], *, real: bool
    ) -> list[tuple[Life, bool]]:
        done, seen = [], []
        for life in one.lives:
            before = self._life(life.name)
            known = self._seen(life)
            same = self._same(life, now)
            if before is not None and (same is not None or (known and life.name in governed)):
                done.append((same or before, False))  # a server repeats a request if its answer was lost
                continue
            if known:
                problem = f"voucher {life.serial!r} was applied before and no longer governs {life.name!r}"
                if life.content not in known:
                    problem = (
                        f"a different voucher of this signer already had the serial number {life.serial!r}"
                    )
                raise RefusedError(problem, field="VSerialNum", section="C.3, Table 62")
            # What begins at a hypothetical time has not been seen to begin.
            begun = life.begun and (real or life.start == now.replace(microsecond=0))
            new = replace(life, begun=begun)
            self._put(new if before is None else before.followed_by(new, now))
            seen.append((life.signer_key, life.serial, life.content))
            done.append((life, True))
        # Not before: the Options of one voucher may share a serial number.
        self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", seen)
        for query, most, what in STORE_COUNTS:
            (count,) = self._database.execute(query).fetchone()
            if count > most:
                raise RefusedError(
                    f"the store is full: expected at most {most} {what}, got {count}", reason=NO_ROOM
                )
        return done

    def _life(self, name: str) -> Life | None:
        return next(iter(self._lives(name)), None)

    def _fact(self, name: str) -> Any:
        row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def _keep(self, name: str, value: str | int) -> None:
        self._database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def _settle(self) -> None:
        """Make durable what an earlier process has stored, before it is reported as done.

        If that was killed just after its journal was removed, a power cut may bring the journal back.
        """
        if self._path is None:
            return
        try:
            sync_directory(self._path.absolute().parent)
        except OSError as exc:
            raise HostError(f"{self._path}: {os_problem(exc)}") from exc

    def _prepare(self, *, create: bool) -> None:
        with self._change():
            (mark,) = self._database.execute("PRAGMA application_id").fetchone()
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if create and (mark, version, tables) == (0, 0, 0):
                for statement in STORE_TABLES.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA application_id = {STORE_MARK}")
                self._database.execute(f"PRAGMA user_version = {STORE_VERSION}")
            elif (mark, version) == (STORE_MARK, 1):
                self._bring_up_to_date()
            elif (mark, version) != (STORE_MARK, STORE_VERSION):
                raise HostError(f"{self._path} is not a store of Options that this version can read")

    def _bring_up_to_date(self) -> None:
        """Add what a store of version 1 lacks; only for now, if the file can't be written."""
        try:
            self._database.execute(ADDED_TABLE)
            self._database.execute(f"PRAGMA user_version = {STORE_VERSION}")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            self._database.execute(ADDED_TABLE.replace("TABLE", "TEMP TABLE"))

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Run the block as one transaction."""
        with self._telling():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            full = getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            raise HostError(f"{self._path}: {exc}", reason=NO_ROOM if full else None) from exc
