"""The books of a ledger: its journal, what an audit finds, earlier versions, and damaged databases."""

import gc
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from spkg.common.times import write_time
from spkg.errors import HostError, RefusedError, UsageError
from tests.support.kit import AT
from tests.support.ledger_kit import (
    IPTV,
    KINDS,
    NOW,
    QOS,
    Database,
    given,
    make_old,
    new_database,
    opened,
    problem,
    reserved,
    set_counter,
    want,
    wants,
)
from tests.support.postgres import postgres
from tests.support.sampling import few
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import MOST_PROBLEMS, audit_ledger
from vouchers.acs.ledger_database import LedgerDatabase
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_journal import GENESIS, SERIALS_AT_ONCE
from vouchers.acs.ledger_statistics import ledger_statistics, prometheus_text
from vouchers.acs.ledger_steps import version_2
from vouchers.acs.ledger_tables import LEDGER_TABLES
from vouchers.acs.ledger_wants import Predecessor, Reservation, terms_of
from vouchers.months import Units


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return new_database(request.param, tmp_path)


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with Ledger(database.url, lambda: AT, actor="tester") as one:
        yield one


def found(ledger: Ledger) -> list[str]:
    """Return what an audit finds."""
    audit = audit_ledger(ledger)
    assert audit.problem_count == len(audit.problems)
    return [*audit.problems]


def fill(ledger: Ledger) -> None:
    """Have a batch of two devices with two Options each, issued, one number void, and one without a batch."""
    ledger.reserve([want(1, IPTV, QOS), want(2, IPTV, QOS)], run="1", batch="may")
    ledger.confirm_batch("may", "1")
    ledger.reserve(wants(3), run="2")
    ledger.void(2, reason="sold twice")


# The journal.


def test_every_change_is_in_the_journal(ledger: Ledger) -> None:
    fill(ledger)

    journal = [*ledger.journal()]

    assert [
        (one.number, one.actor, one.at, one.action, one.serials, one.batch, one.reason) for one in journal
    ] == [
        (1, "tester", NOW, "reserve", "1-4", "may", ""),
        (2, "tester", NOW, "issue", "1-4", "may", ""),
        (3, "tester", NOW, "reserve", "5", None, ""),
        (4, "tester", NOW, "void", "2", None, "sold twice"),
    ]
    before = [GENESIS, *(one.digest for one in journal)]
    assert [one.sealed(last) for one, last in zip(journal, before, strict=False)] == before[1:]


def test_what_changes_nothing_is_not_in_the_journal(ledger: Ledger) -> None:
    fill(ledger)
    before = [*ledger.journal()]

    ledger.reserve([want(1, IPTV, QOS)], run="3", batch="may")
    ledger.confirm_all([1, 2, 3])
    ledger.confirm_batch("may", "3")
    with pytest.raises(RefusedError):
        ledger.void(1, 77)

    assert [*ledger.journal()] == before
    assert found(ledger) == []


def test_no_numbers_wait_in_memory_for_garbage_to_be_collected(ledger: Ledger) -> None:
    held: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1, 5001):
            if number % 1000 == 1:
                held.append(sum(type(one) is list and len(one) == 1000 for one in gc.get_objects()))
            yield number

    gc.collect()
    gc.disable()  # as it hardly comes in a short command
    try:
        ledger.confirm_all(numbers())
        ledger.confirm_all(numbers())
    finally:
        gc.enable()

    assert max(held) <= min(held) + 2


@pytest.mark.part("vouchers", turns=True, few=2)
def test_many_numbers_are_several_entries(ledger: Ledger) -> None:
    count = SERIALS_AT_ONCE + 1
    for start in range(0, count, 2000):
        ledger.reserve(wants(*range(start, min(start + 2000, count))), run="1", batch="may")

    ledger.confirm_batch("may", "1")

    assert [(one.action, one.serials) for one in ledger.journal()] == [
        *(("reserve", f"{start + 1}-{start + 2000}") for start in range(0, SERIALS_AT_ONCE, 2000)),
        ("reserve", f"{count}"),
        ("issue", f"1-{SERIALS_AT_ONCE}"),
        ("issue", f"{count}"),
    ]
    assert found(ledger) == []


@pytest.mark.part("vouchers", turns=True, few=3)
def test_a_journal_is_read_whole_however_long(ledger: Ledger) -> None:
    for number in range(250):
        ledger.reserve(wants(number), run="1")

    assert [one.number for one in ledger.journal()] == [*range(1, 251)]
    assert audit_ledger(ledger).entries == 250


@pytest.mark.parametrize("text", ["a\nb", "x" * 129])
def test_who_changes_a_ledger_has_a_printable_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Ledger(str(tmp_path / "ledger.db"), lambda: AT, actor=text)

    assert str(caught.value) == "the actor must have at most 128 printable characters"


# Voiding.


@pytest.mark.parametrize(
    ("which", "serials"),
    [
        ({"batch": "may"}, [1, 3, 4]),
        ({"device": ("00D09E", "Gateway", "000002")}, [3, 4]),
        ({"batch": "may", "device": ("00D09E", "Gateway", "000001")}, [1]),
        ({"device": ("00D09E", "Gateway", "000003")}, [5]),
    ],
)
def test_what_a_batch_or_a_device_has_is_made_void(
    ledger: Ledger, which: dict[str, object], serials: list[int]
) -> None:
    fill(ledger)

    count = ledger.void_where(**which, reason="left us")  # type: ignore[arg-type]

    assert count == len(serials)
    assert [one.serial for one in ledger.entries(state="void")] == sorted([2, *serials])
    assert [*ledger.journal()][-1].reason == "left us"
    assert found(ledger) == []


@pytest.mark.parametrize(
    "which", [{"batch": "june"}, {"device": ("00D09E", "Gateway", "9")}, {"batch": "", "device": None}]
)
def test_where_there_is_nothing_to_make_void_it_is_refused(ledger: Ledger, which: dict[str, object]) -> None:
    fill(ledger)

    with pytest.raises(RefusedError) as caught:
        ledger.void_where(**which)  # type: ignore[arg-type]

    assert str(caught.value) == "nothing to void: expected serial numbers that are not void"


def test_of_several_numbers_all_are_made_void_or_none(ledger: Ledger) -> None:
    fill(ledger)

    for others, told in ((2, "2 is already void"), (9, "9 is not in this ledger")):
        with pytest.raises(RefusedError) as caught:
            ledger.void(1, others)
        assert str(caught.value) == f"serial number {told}"
    ledger.void(1, 3)

    assert [one.serial for one in ledger.entries(state="void")] == [1, 2, 3]


def test_nothing_is_made_void_where_nothing_is_named(ledger: Ledger) -> None:
    with pytest.raises(UsageError) as caught:
        ledger.void_where()

    assert str(caught.value) == "expected a batch or a device to void"


# Audits.


ADDED: Final = """
INSERT INTO spkg_voucher (serial, oui, product_class, serial_number, option, digest, signer, batch, run,
state, reserved_at, issued_at, voided_at, reserved_in, issued_in, voided_in)
SELECT 9, oui, product_class, serial_number, option, digest, signer, NULL, run,
'reserved', reserved_at, NULL, NULL, {}, NULL, NULL FROM spkg_voucher WHERE serial = 5
"""
TAMPERED: Final[dict[str, tuple[str, list[str]]]] = {
    "a device": (
        "UPDATE spkg_voucher SET serial_number = 'x' WHERE serial = 5",
        ["journal entry 3: the ledger has been changed for serial number 5"],
    ),
    "a batch": (
        "UPDATE spkg_voucher SET batch = 'june' WHERE serial = 1",
        [
            "journal entry 1: the batch is not that of the ledger",
            "journal entry 1: the ledger has been changed for serial number 1-4",
        ],
    ),
    "a state": (
        "UPDATE spkg_voucher SET state = 'issued' WHERE serial = 2",
        ["serial number 2: its state is not what the journal says"],
    ),
    "a state and its time": (
        "UPDATE spkg_voucher SET state = 'issued', voided_at = NULL WHERE serial = 2",
        [
            "journal entry 4: the ledger has been changed for serial number 2",
            "serial number 2: its state is not what the journal says",
        ],
    ),
    "a void taken back": (
        "UPDATE spkg_voucher SET state = 'issued', voided_at = NULL, voided_in = NULL WHERE serial = 2",
        [
            "journal entry 4: serial number 2 names another entry for this change",
            "journal entry 4: the ledger has been changed for serial number 2",
            "the journal has 1 serial numbers for void, the ledger 0",
        ],
    ),
    "a time": (
        "UPDATE spkg_voucher SET issued_at = '2020-01-01T00:00:00Z' WHERE serial = 4",
        ["journal entry 2: the ledger has been changed for serial number 1-4"],
    ),
    "a row taken away": (
        "DELETE FROM spkg_voucher WHERE serial = 5",
        [
            "journal entry 3: serial number 5 is missing in the ledger",
            "the journal has 5 serial numbers for reserve, the ledger 4",
        ],
    ),
    "a row added": (
        ADDED.format("NULL"),
        ["serial number 9: its state is not what the journal says"],
    ),
    "a row added to an entry": (
        ADDED.format("3"),
        ["the journal has 5 serial numbers for reserve, the ledger 6"],
    ),
    "a reason": (
        "UPDATE spkg_journal SET reason = 'mistyped' WHERE number = 4",
        ["journal entry 4: the digest does not fit the entry and the one before"],
    ),
    "an actor": (
        "UPDATE spkg_journal SET actor = 'nobody' WHERE number = 2",
        ["journal entry 2: the digest does not fit the entry and the one before"],
    ),
    "the last entry": (
        "DELETE FROM spkg_journal WHERE number = 4",
        [
            "the journal ends with entry 3; expected entry 4, with the digest kept",
            "the journal has 0 serial numbers for void, the ledger 1",
        ],
    ),
    "an entry": (
        "DELETE FROM spkg_journal WHERE number = 3",
        [
            "journal entry 4: expected number 3",
            "journal entry 4: the digest does not fit the entry and the one before",
            "the journal ends with entry 3; expected entry 4, with the digest kept",
            "the journal has 4 serial numbers for reserve, the ledger 5",
        ],
    ),
    "an action": (
        "UPDATE spkg_journal SET action = 'x' WHERE number = 4",
        [
            "journal entry 4: the digest does not fit the entry and the one before",
            "journal entry 4: not valid: unknown action 'x'",
            "the journal has 0 serial numbers for void, the ledger 1",
        ],
    ),
    "endless serial numbers": (
        "UPDATE spkg_journal SET serials = '1-4294967295' WHERE number = 4",
        [
            "journal entry 4: the digest does not fit the entry and the one before",
            "journal entry 4: names more serial numbers than the 5 of the ledger",
            "the journal has 0 serial numbers for void, the ledger 1",
        ],
    ),
    "serial numbers out of order": (
        "UPDATE spkg_journal SET serials = '2,1' WHERE number = 4",
        [
            "journal entry 4: the digest does not fit the entry and the one before",
            "journal entry 4: not valid: the serial numbers are not in order",
            "the journal has 0 serial numbers for void, the ledger 1",
        ],
    ),
    "what a voucher does": (
        "UPDATE spkg_voucher SET duration = 120, transferable = 1 WHERE serial = 5",
        [
            "journal entry 3: the ledger has been changed for serial number 5",
        ],
    ),
    "an end": (
        "UPDATE spkg_voucher SET \"end\" = '2030-01-01T00:00:00Z' WHERE serial = 1",
        ["journal entry 1: serial number 1: the end does not follow from its other columns"],
    ),
    "a renewal": (
        "UPDATE spkg_voucher SET renews = 1 WHERE serial = 5",
        ["journal entry 3: the ledger has been changed for serial number 5"],
    ),
    "a revocation": (
        "UPDATE spkg_voucher SET revokes = 1 WHERE serial = 5",
        ["journal entry 3: the ledger has been changed for serial number 5"],
    ),
    "the counter": ("UPDATE spkg_serial SET next = -5", ["the next serial number is not valid"]),
}


def test_books_that_are_right_pass(ledger: Ledger) -> None:
    fill(ledger)

    audit = audit_ledger(ledger)

    assert (audit.entries, audit.serials, audit.problems) == (4, 5, ())
    assert audit.head == [*ledger.journal()][-1].digest


def test_an_entry_does_not_pass_for_a_migration(database: Database, ledger: Ledger) -> None:
    fill(ledger)

    database.execute("UPDATE spkg_journal SET action = 'migrate' WHERE number = 4")

    assert [one for one in found(ledger) if one.startswith("journal entry 4")] == [
        "journal entry 4: the digest does not fit the entry and the one before",
        "journal entry 4: expected no serial numbers",
    ]


def test_an_empty_ledger_passes(ledger: Ledger) -> None:
    audit = audit_ledger(ledger)

    assert (audit.entries, audit.serials, audit.head, audit.problems) == (0, 0, GENESIS, ())


@pytest.mark.parametrize("what", few(TAMPERED, every=3, part="vouchers"))
def test_whatever_is_changed_behind_the_journal_is_found(
    database: Database, ledger: Ledger, what: str
) -> None:
    statement, problems = TAMPERED[what]
    fill(ledger)
    assert found(ledger) == []

    database.execute(statement)

    assert found(ledger) == problems


OF_BATCHES: Final = {
    "device": (
        "UPDATE spkg_batch_device SET serial_number = 'x' WHERE serial_number = '000001' AND batch = 'may'",
        [
            "spkg_batch_device: the device 00D09E Gateway x of batch may has no serial number",
            "spkg_batch_device: the device 00D09E Gateway 000001 of batch may is missing",
        ],
    ),
    "batch": (
        "UPDATE spkg_batch SET batch = 'june' WHERE batch = 'may'",
        ["spkg_batch: the batch june has no serial number"],
    ),
    "terms": (
        "UPDATE spkg_batch SET terms = replace(terms, '1', '0') WHERE batch = 'may'",
        ["spkg_batch: the terms of batch may are not those of its vouchers"],
    ),
    "form": (
        "UPDATE spkg_batch SET terms = 'x' WHERE batch = 'renewals'",
        ["spkg_batch: the terms of batch renewals are not those of its vouchers"],
    ),
    "key": ("UPDATE spkg_ledger SET one = 7", ["spkg_ledger: expected 1 as its key, got 7"]),
    "counter": (
        "UPDATE spkg_serial SET next = 4294967297",
        ["the next serial number is not valid"],
    ),
    "damaged": (
        "UPDATE spkg_voucher SET mode = 'x' WHERE batch = 'may'",
        [
            "journal entry 1: the ledger has been changed for serial number 1",
            "journal entry 2: the ledger has been changed for serial number 2-5",
        ],
    ),
}
"""What is changed of batches, and what an audit says of that."""


@pytest.mark.parametrize("what", OF_BATCHES)
def test_whatever_is_changed_of_batches_is_found(database: Database, ledger: Ledger, what: str) -> None:
    statement, problems = OF_BATCHES[what]
    ledger.reserve([want(0, QOS)], run="1", batch="may")  # before the batch begins with a list
    both = [want(1, IPTV, QOS), want(2, IPTV, QOS)]
    ledger.reserve(both, run="2", batch="may", terms=terms_of((QOS, IPTV)))
    ledger.confirm_batch("may", "2")
    renewal = Predecessor(renews=2, duration=1, units=Units.MONTHS)
    again = replace(want(1, IPTV), before=(renewal,))
    ledger.reserve([again], run="3", batch="renewals", terms="0" * 64)
    assert found(ledger) == []

    database.execute(statement)

    assert found(ledger) == problems


@pytest.mark.parametrize("table", sorted(LEDGER_TABLES.tables))
def test_a_table_that_is_missing_is_named(database: Database, table: str) -> None:
    with opened(database) as ledger:
        fill(ledger)
    database.execute(f"DROP TABLE {table}")

    with pytest.raises(HostError) as caught:
        opened(database)

    assert str(caught.value) == f"{database.name}: damaged: the table {table} is missing"


def test_of_many_problems_the_first_are_listed_and_all_are_counted(
    database: Database, ledger: Ledger
) -> None:
    ledger.reserve(wants(*range(MOST_PROBLEMS + 20)), run="1")
    database.execute("UPDATE spkg_voucher SET reserved_in = 7")

    audit = audit_ledger(ledger)

    assert len(audit.problems) == MOST_PROBLEMS
    assert audit.problem_count == MOST_PROBLEMS + 20


# Batches of one kind.


def test_a_batch_that_was_begun_keeps_its_terms(ledger: Ledger) -> None:
    terms, others = terms_of([IPTV, QOS]), terms_of([IPTV])
    assert terms == terms_of([QOS, IPTV])
    ledger.check_terms("may", others)
    ledger.reserve([want(1, IPTV, QOS)], run="1", batch="may", terms=terms)

    for refused in (
        lambda: ledger.check_terms("may", others),
        lambda: ledger.reserve(wants(2), run="2", batch="may", terms=others),
    ):
        with pytest.raises(RefusedError) as caught:
            refused()
        assert str(caught.value) == "the batch may was begun with other Options"
        assert caught.value.hint == "give changed Options another --batch"

    ledger.check_terms("may", terms)
    assert ledger.reserve([want(2, IPTV, QOS)], run="3", batch="may", terms=terms) == [
        Reservation(serials=(3, 4))
    ]
    assert ledger.reserve(wants(2), run="3", batch="june", terms=others) == given(5)


def test_the_database_itself_keeps_a_device_from_a_second_voucher(database: Database, ledger: Ledger) -> None:
    ledger.reserve(wants(1), run="1", batch="may")
    # An issuer that does not look first, as those of another program might not.
    database.execute("DELETE FROM spkg_voucher")

    told = problem(lambda: ledger.reserve([want(1, QOS)], run="2", batch="may"))

    assert "unique constraint" in told.lower()
    assert [*ledger.entries()] == []


def test_what_another_run_was_given_again_is_confirmed_all_the_same(ledger: Ledger) -> None:
    ledger.reserve(wants(1, 2), run="1", batch="may")
    ledger.reserve(wants(1, 2), run="2", batch="may")
    ledger.void(2)

    assert ledger.confirm_all([1, 2, 77]) == 1
    assert [one.state for one in ledger.entries()] == [SerialState.ISSUED, SerialState.VOID]


# Earlier versions.


@pytest.mark.parametrize("count", [3, 2500])
def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(database: Database, count: int) -> None:
    make_old(database, count)

    with Ledger(database.url, lambda: AT + timedelta(days=1), create=False, actor="tester") as one:
        migrated, created = one.migrated, one.created
        entries, journal, problems = [*one.entries()], [*one.journal()], found(one)
        again = one.reserve(wants(0), run="new", batch="may")
        following = one.reserve(wants(count), run="new", batch="may")
        one.confirm([1])
        assert found(one) == []
    with opened(database) as one:
        assert not one.migrated

    assert (migrated, created, problems) == (True, False, [])
    assert [(one.state.value, one.batch, one.reserved_at) for one in entries[:3]] == [
        ("reserved", "may", NOW),
        ("issued", "may", NOW),
        ("void", "may", NOW),
    ]
    assert len(entries) == count
    later = write_time(AT + timedelta(days=1))
    assert {(one.actor, one.reason, one.at) for one in journal[:-1]} == {
        ("tester", "from a ledger of version 0.1, which kept no journal", later)
    }
    assert [*dict.fromkeys(one.action for one in journal)] == ["reserve", "issue", "void", "migrate"]
    assert (journal[-1].actor, journal[-1].reason, journal[-1].at) == (
        *("tester", "to version 3 of the tables", later),
    )
    assert (entries[0].mode, entries[0].end, entries[0].renewed_by) == (None, None, None)
    assert (again, following) == (given(1), given(count + 1))


def test_two_vouchers_of_one_batch_from_an_earlier_version_are_no_obstacle(database: Database) -> None:
    make_old(database)
    entry = replace(reserved(9, 1, QOS), batch="may")
    database.execute(
        f"INSERT INTO spkg_voucher VALUES (9, '{entry.oui}', '{entry.product_class}', "  # noqa: S608 - ours
        f"'{entry.serial_number}', 'QoS', '{entry.digest}', '', 'may', 'old', "
        f"'reserved', '{NOW}', NULL, NULL)"
    )

    with opened(database) as one:
        assert found(one) == []
        assert one.reserve(wants(1), run="new", batch="may") == [
            Reservation(refusal="this batch already has other Options for this device")
        ]


def make_second(database: Database) -> None:
    """Make a ledger of the second version, which kept a journal, but not what a voucher does."""
    make_old(database)
    address = sqlalchemy.make_url(database.url if "://" in database.url else f"sqlite:///{database.url}")
    if database.own is not None:
        address = address.set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(address)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        version_2.upgrade(Operations(context), ledger=database.name, actor="before", at=NOW)
    engine.dispose()


def test_a_ledger_of_the_second_version_is_brought_up_to_date(database: Database) -> None:
    make_second(database)

    with opened(database) as one:
        assert (one.migrated, found(one)) == (True, [])
        before = [*one.journal()]
        one.confirm([1])
        one.reserve(wants(7), run="new")
        problems = found(one)

    assert [(one.actor, one.action) for one in before] == [
        *(("before", "reserve"), ("before", "issue"), ("before", "void"), ("", "migrate")),
    ]
    assert problems == []


def test_what_an_earlier_version_did_not_keep_is_not_added_later(database: Database) -> None:
    make_second(database)
    opened(database).close()

    database.execute("UPDATE spkg_voucher SET mode = 'Disable' WHERE serial = 2")

    with opened(database) as one:
        assert found(one) == ["journal entry 1: serial number 2: has what an earlier version did not keep"]


def test_the_steps_lead_to_the_tables_that_a_new_ledger_gets(database: Database, tmp_path: Path) -> None:
    make_old(database)
    opened(database).close()
    (tmp_path / "new").mkdir()
    new = new_database("sqlite" if database.own is None else "postgresql", tmp_path / "new")
    opened(new).close()

    def shape(one: Database) -> dict[str, object]:
        with closing(LedgerDatabase(one.url)) as there, there.transaction(writes=False) as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, LEDGER_TABLES) == []
            inspected = sqlalchemy.inspect(connection)
            return {
                table: (
                    [(column["name"], str(column["type"]), column["nullable"]) for column in columns],
                    sorted((index["name"], index["unique"]) for index in inspected.get_indexes(table)),
                )
                for table in inspected.get_table_names()
                for columns in [inspected.get_columns(table)]
            }

    assert shape(database) == shape(new)


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(database: Database) -> None:
    make_old(database)
    database.execute("UPDATE spkg_voucher SET serial = -1 WHERE serial = 1")
    before = database.execute("SELECT * FROM spkg_voucher ORDER BY serial")
    database.execute("CREATE TABLE spkg_journal (number INTEGER)")

    told = problem(lambda: opened(database))

    assert "spkg_journal" in told
    assert "already exists" in told
    assert database.execute("SELECT * FROM spkg_voucher ORDER BY serial") == before


@pytest.mark.parametrize("version", ["4", "two"])
def test_a_ledger_of_a_later_version_is_left_alone(database: Database, version: str) -> None:
    opened(database).close()
    database.execute(f"UPDATE spkg_ledger_version SET version_num = '{version}'")  # noqa: S608 - ours

    told = problem(lambda: opened(database))

    assert told == f"{database.name}: expected a ledger of version 3 or earlier, got version {version}"


# Damaged databases.

DAMAGED: Final[dict[str, tuple[str, Callable[[Ledger], object], str]]] = {
    "a state that is none": (
        "UPDATE spkg_voucher SET state = 'lost' WHERE serial = 2",
        lambda one: [*one.entries()],
        "damaged: serial number 2: state: expected one of reserved, issued, void, got 'lost'",
    ),
    "statistics of it": (
        "UPDATE spkg_voucher SET state = 'lost' WHERE serial = 2",
        ledger_statistics,
        "damaged: unknown state 'lost'",
    ),
    "a counter below nought": (
        "UPDATE spkg_serial SET next = -5",
        lambda one: one.reserve(wants(8), run="1"),
        "damaged: the next serial number is not valid",
    ),
    "no counter": (
        "DELETE FROM spkg_serial",
        lambda one: one.reserve(wants(8), run="1"),
        "damaged: expected one row in spkg_serial, the next serial number, got 0",
    ),
    "no chain": (
        "DELETE FROM spkg_ledger",
        lambda one: one.reserve(wants(8), run="1"),
        "damaged: expected one row in spkg_ledger, the end of the journal, got 0",
    ),
    "a chain below nought": (
        "UPDATE spkg_ledger SET length = -1",
        lambda one: one.void(1),
        "damaged: the length or the head of the journal is not valid",
    ),
}
IN_SQLITE: Final[dict[str, tuple[str, Callable[[Ledger], object], str]]] = {
    "a blob for text": (
        "UPDATE spkg_voucher SET serial_number = x'00ff' WHERE serial = 2",
        lambda one: [*one.entries()],
        "damaged: serial number 2: serial_number: expected str, got bytes",
    ),
    "a number for text": (
        "UPDATE spkg_voucher SET batch = x'41' WHERE serial = 1",
        lambda one: [*one.entries()],
        "damaged: serial number 1: batch: expected str, got bytes",
    ),
    "statistics of a blob": (
        "UPDATE spkg_voucher SET option = x'41' WHERE serial = 1",
        ledger_statistics,
        "damaged: expected text, got other values",
    ),
    "a word for a counter": (
        "UPDATE spkg_serial SET next = 'seven'",
        lambda one: one.reserve(wants(8), run="1"),
        "damaged: the next serial number is not valid",
    ),
    "a fraction for a counter": (
        "UPDATE spkg_serial SET next = 1.5",
        lambda one: one.reserve(wants(8), run="1"),
        "damaged: the next serial number is not valid",
    ),
    "a blob for the head": (
        "UPDATE spkg_ledger SET head = x'00'",
        lambda one: one.confirm([1]),
        "damaged: the length or the head of the journal is not valid",
    ),
}


@pytest.mark.parametrize(("statement", "work", "told"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_is_told(
    database: Database, ledger: Ledger, statement: str, work: Callable[[Ledger], object], told: str
) -> None:
    fill(ledger)
    database.execute(statement)

    assert problem(lambda: work(ledger)) == f"{database.name}: {told}"


@pytest.mark.parametrize(("statement", "work", "told"), IN_SQLITE.values(), ids=IN_SQLITE)
def test_what_only_sqlite_lets_pass_is_told(
    tmp_path: Path, statement: str, work: Callable[[Ledger], object], told: str
) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one:
        fill(one)
        database.execute(statement)

        assert problem(lambda: work(one)) == f"{database.name}: {told}"


@pytest.mark.parametrize("column", ["number", "at", "actor", "action", "serials", "rows", "digest"])
def test_an_audit_of_a_damaged_journal_is_no_defect(tmp_path: Path, column: str) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one:
        fill(one)
        database.execute(f"UPDATE spkg_journal SET {column} = x'00ff' WHERE number = 2")  # noqa: S608 - ours

        assert audit_ledger(one).problem_count > 0


def test_a_file_cut_off_is_told(tmp_path: Path) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one:
        fill(one)
    octets = Path(database.url).read_bytes()
    Path(database.url).write_bytes(octets[: len(octets) // 2])

    with pytest.raises(HostError) as caught, opened(database) as one:
        [*one.entries()]

    assert str(caught.value) == f"{database.url}: database disk image is malformed"


def test_a_backup_made_by_sqlite_is_a_ledger(tmp_path: Path) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one:
        fill(one)
        with (
            closing(sqlite3.connect(database.url)) as source,
            closing(sqlite3.connect(tmp_path / "b.db")) as copy,
        ):
            source.backup(copy)
        before = [*one.entries()]

    with Ledger(str(tmp_path / "b.db"), lambda: AT, create=False) as one:
        assert [*one.entries()] == before
        assert found(one) == []


def test_a_backup_made_by_pg_dump_is_restored_whole(tmp_path: Path) -> None:
    database, restored = new_database("postgresql", tmp_path), new_database("postgresql", tmp_path)
    file = str(tmp_path / "ledger.dump")
    with opened(database) as one:
        fill(one)
        before, journal = [*one.entries()], [*one.journal()]

    for command in (
        ["pg_dump", "--format=custom", "--table", "spkg_*", "--dbname", database.url, "--file", file],
        ["pg_restore", "--exit-on-error", "--no-owner", "--dbname", restored.url, file],
    ):
        subprocess.run([postgres().programs / command[0], *command[1:]], check=True, capture_output=True)

    with Ledger(restored.url, lambda: AT, create=False) as one:
        assert ([*one.entries()], [*one.journal()], found(one)) == (before, journal, [])
        assert one.reserve(wants(9), run="9") == given(6)


# Addresses that are none.


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host=db dbname=vouchers", "a connection string of libpq"),
        ("dbname = vouchers", "a connection string of libpq"),
        ("service=acs", "a connection string of libpq"),
        ("file:ledger.db?mode=rw", "'file:ledger.db?mode=rw'"),
        ("postgresql:vouchers", "'postgresql:vouchers'"),
        ("sqlite:ledger.db", "'sqlite:ledger.db'"),
    ],
)
def test_what_only_looks_like_a_file_becomes_no_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as caught:
        Ledger(text, lambda: AT)

    assert str(caught.value).endswith(f"as the ledger, got {told}")
    assert [*tmp_path.iterdir()] == []


def test_a_file_of_any_name_may_be_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    for name in ("./file:x", "./host=db", "c:x", "a=b"):
        Ledger(name, lambda: AT).close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a=b", "c:x", "file:x", "host=db"]


# Statistics.


def test_numbers_are_counted_by_state_option_batch_and_month(ledger: Ledger, database: Database) -> None:
    fill(ledger)
    with opened(database, AT + timedelta(days=40)) as later:
        later.confirm([5])

    counted = ledger_statistics(ledger)

    assert vars(counted) == {
        "serials": 5,
        "by_state": {"reserved": 0, "issued": 4, "void": 1},
        "by_option": {"IPTV": 3, "QoS": 2},
        "by_batch": {"": 1, "may": 4},
        "by_month": {"2026-06": 4, "2026-07": 1},
    }


def test_prometheus_reads_whatever_a_batch_is_called(ledger: Ledger) -> None:
    ledger.reserve(wants(1), run="1", batch='a "b" \\c')

    lines = [*prometheus_text(ledger_statistics(ledger))]

    assert 'spkg_ledger_batch_serials{batch="a \\"b\\" \\\\c"} 1' in lines
    assert [line for line in lines if line.startswith("# TYPE")] == [
        f"# TYPE spkg_ledger{part}_serials gauge" for part in ("", "_option", "_batch", "_month")
    ]


def test_a_counter_set_back_leaves_the_books_right(ledger: Ledger, database: Database) -> None:
    ledger.reserve(wants(1, 2, 3), run="1")
    set_counter(database, 3)

    ledger.reserve([want(4, IPTV, QOS), want(5)], run="1", batch="may")

    assert found(ledger) == []
    assert [one.serials for one in ledger.journal()] == ["1-3", "5", "6-7"]
