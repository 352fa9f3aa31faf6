"""A ledger in SQLite or PostgreSQL, and what is wanted of it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.common.times import write_time
from spkg.errors import HostError, SpkgError
from tests.support import postgres as server
from tests.support.kit import AT
from tests.support.postgres import USER, postgres
from tests.support.voucher_kit import DEVICE
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import LedgerEntry, SerialState
from vouchers.acs.ledger_wants import Reservation, Want
from vouchers.acs.templates import Template
from vouchers.model import DeviceId, Mode
from vouchers.months import Units
from vouchers.signature.option_elements import content_of

NOW: Final = write_time(AT)
IPTV: Final = Template(ident="IPTV", mode=Mode.WITH_EXPIRATION, duration=12, units=Units.MONTHS)
QOS: Final = Template(ident="QoS", description="Quality of service", mode=Mode.WITHOUT_EXPIRATION)


def device(number: int) -> DeviceId:
    return replace(DEVICE, serial_number=f"{number:06}")


def want(number: int, *templates: Template) -> Want:
    return Want(device=device(number), templates=templates or (IPTV,))


def wants(*numbers: int) -> list[Want]:
    return [want(number) for number in numbers]


def given(*serials: int) -> list[Reservation]:
    """Return what a ledger says that gives one number to each of several devices."""
    return [Reservation(serials=(serial,)) for serial in serials]


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database for one ledger."""

    url: str
    name: str
    """What it is called in errors."""
    own: str | None = None
    """What PostgreSQL calls it; None with SQLite."""

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Carry out a statement of SQL behind the ledger's back."""
        if self.own is not None:
            return postgres().execute(statement, self.own)
        with closing(sqlite3.connect(self.url)) as connection, connection:
            return connection.execute(statement).fetchall()


KINDS: Final = ("sqlite", "postgresql")


def new_database(kind: str, directory: Path = Path()) -> Database:
    if kind == "sqlite":
        file = str(directory / "ledger.db")
        return Database(url=file, name=file)
    own = server.new_database()
    return Database(url=postgres().url(own), name=f"postgresql://{USER}@/{own}", own=own)


def opened(database: Database, at: datetime = AT) -> Ledger:
    return Ledger(database.url, lambda: at)


def reserved(serial: int, number: int, template: Template = IPTV, **changes: Any) -> LedgerEntry:
    """Return the entry of a number that was just taken for an Option of a device."""
    option = template.option(serial, device(number))
    entry = LedgerEntry(
        serial=serial,
        oui="00D09E",
        product_class="Gateway",
        serial_number=f"{number:06}",
        option=template.ident,
        digest=content_of(option).hex(),
        signer="",
        batch=None,
        state=SerialState.RESERVED,
        reserved_at=NOW,
        issued_at=None,
        voided_at=None,
        manufacturer=option.device.manufacturer,
        description=option.description,
        mode=option.mode,
        start=None if option.start is None else write_time(option.start),
        duration=option.duration,
        duration_units=option.units,
        transferable=option.transferable,
        extras=option.extra,
        end=None,
        end_estimated=False,
        renews=None,
        renewed_by=None,
        renewal_duration=None,
        renewal_units=None,
        revokes=None,
        revoked_by=None,
    )
    issued = changes.get("issued_at")
    if issued is not None and template is IPTV:  # for a year
        entry = replace(entry, end=f"{int(issued[:4]) + 1}{issued[4:]}", end_estimated=True)
    return replace(entry, **changes)


def set_counter(database: Database, following: int) -> None:
    """Have numbers count on from somewhere else."""
    database.execute(f"UPDATE spkg_serial SET next = {following}")  # noqa: S608 - a number of ours


def problem(work: Callable[[], object]) -> str:
    """Return what is told of a database that can't be used."""
    with pytest.raises(SpkgError) as caught:
        work()
    assert isinstance(caught.value, HostError)
    return str(caught.value)


MARK: Final = 0x53504B4C
OLD: Final = """
CREATE TABLE spkg_voucher (serial BIGINT NOT NULL, oui VARCHAR(6) NOT NULL,
product_class VARCHAR(64) NOT NULL, serial_number VARCHAR(64) NOT NULL, option VARCHAR(64) NOT NULL,
digest VARCHAR(64) NOT NULL, signer VARCHAR(64) NOT NULL, batch VARCHAR(128), run VARCHAR(16) NOT NULL,
state VARCHAR(8) NOT NULL, reserved_at VARCHAR(20) NOT NULL, issued_at VARCHAR(20),
voided_at VARCHAR(20), PRIMARY KEY (serial), UNIQUE (batch, oui, product_class, serial_number, option));
CREATE TABLE spkg_serial (next BIGINT NOT NULL, PRIMARY KEY (next))
"""
"""The tables of version 0.1."""


def make_old(database: Database, count: int = 3) -> None:
    """Make a ledger of version 0.1: reserved, issued, void after it was issued, and so on."""
    for statement in OLD.split(";"):
        database.execute(statement)
    if database.own is None:
        database.execute(f"PRAGMA application_id = {MARK}")
    database.execute("INSERT INTO spkg_serial VALUES (1)")
    set_counter(database, count + 1)
    times = {"reserved": "NULL, NULL", "issued": f"'{NOW}', NULL", "void": f"'{NOW}', '{NOW}'"}
    rows = []
    for number in range(count):
        entry = reserved(number + 1, number)
        state = [*times][number % 3]
        fields = (entry.oui, entry.product_class, entry.serial_number, entry.option, entry.digest, "", "may")
        text = ", ".join(f"'{field}'" for field in fields)
        rows.append(f"({entry.serial}, {text}, 'old', '{state}', '{NOW}', {times[state]})")
    database.execute(f"INSERT INTO spkg_voucher VALUES {', '.join(rows)}")  # noqa: S608 - rows of ours
