"""The ledger, in SQLite and PostgreSQL: every serial number once and for ever, whoever asks or dies."""

import json
import multiprocessing
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, closing, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier, Thread, Timer
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy.exc import InternalError, ProgrammingError

from spkg.errors import HostError, RefusedError, UsageError
from tests.support.kit import AT, ROOT
from tests.support.ledger_kit import (
    IPTV,
    KINDS,
    NOW,
    QOS,
    Database,
    device,
    given,
    new_database,
    opened,
    problem,
    reserved,
    set_counter,
    want,
    wants,
)
from tests.support.postgres import GUEST, PASSWORD, USER, postgres
from tests.support.restrictions import without_privileges
from tests.support.sampling import amount, chance
from vouchers.acs import ledger as module
from vouchers.acs import ledger_database, ledger_reserve
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_database import LedgerAwayError, LedgerDatabase
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_reserve import MAX_SERIAL
from vouchers.acs.ledger_wants import Reservation, Want
from vouchers.acs.templates import Template

TWICE: Final = "the device occurs twice"
LIFE: Final = 120
"""How many seconds a process of a test has."""


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return new_database(request.param, tmp_path)


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with opened(database) as one:
        yield one


# Numbers.


def test_numbers_count_on_from_one_over_options_and_devices(ledger: Ledger) -> None:
    first = ledger.reserve([want(1, IPTV, QOS), want(2, IPTV, QOS)], run="1")
    second = ledger.reserve(wants(3), run="1")

    assert first == [Reservation(serials=(1, 2)), Reservation(serials=(3, 4))]
    assert second == given(5)


def test_numbers_follow_the_order_of_the_devices_and_are_told_in_that_of_the_wishes(ledger: Ledger) -> None:
    assert ledger.reserve(wants(9, 1, 5), run="1") == given(3, 1, 2)


def test_every_number_is_kept_with_what_it_stands_for(ledger: Ledger) -> None:
    ledger.reserve([want(7, IPTV, QOS)], run="1", batch="may")

    assert [*ledger.entries()] == [reserved(1, 7, batch="may"), reserved(2, 7, QOS, batch="may")]


def test_a_wish_for_nobody_takes_nothing(ledger: Ledger) -> None:
    assert ledger.reserve([], run="1") == []
    assert ledger.reserve([], run="1", batch="may") == []

    assert [*ledger.entries()] == []


def test_without_a_batch_each_wish_is_new(ledger: Ledger) -> None:
    first = ledger.reserve(wants(1, 1), run="1")
    second = ledger.reserve(wants(1), run="1")

    assert first + second == given(1, 2, 3)


def test_a_ledger_goes_on_where_it_was_closed(database: Database) -> None:
    with opened(database) as one:
        one.reserve(wants(1), run="1")

    with opened(database) as one:
        assert one.reserve(wants(2), run="2") == given(2)


def test_two_ledgers_of_one_database_never_give_the_same_number(database: Database) -> None:
    with opened(database) as one, opened(database) as two:
        outcomes = [
            ledger.reserve(wants(number, number + 100), run=run)
            for number in range(10)
            for ledger, run in ((one, "1"), (two, "2"))
        ]

        assert [serial for some in outcomes for one in some for serial in one.serials] == [*range(1, 41)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have numbers that nobody can foresee drawn as in each run before: no test fails by chance."""
    assert vars(ledger_reserve)["randbelow"] is secrets.randbelow
    monkeypatch.setattr(ledger_reserve, "randbelow", chance("serials").randrange)


@pytest.mark.usefixtures("drawn")
def test_unpredictable_numbers_lie_anywhere(ledger: Ledger) -> None:
    count = 200

    outcomes = ledger.reserve(wants(*range(count)), run="1", unpredictable=True)

    serials = [serial for one in outcomes for serial in one.serials]
    assert len({*serials}) == count
    assert {1 <= serial <= MAX_SERIAL for serial in serials} == {True}
    # That all are in one half of the numbers is as likely as that coins fall alike.
    assert min(serials) < MAX_SERIAL // 4
    assert max(serials) > MAX_SERIAL // 4 * 3
    # And the next is not known from the one before.
    assert 1 not in {later - earlier for earlier, later in pairwise(serials)}
    assert ledger.reserve(wants(0), run="1") == given(1)


@pytest.mark.usefixtures("drawn")
def test_an_unpredictable_number_that_is_taken_is_drawn_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_reserve, "MAX_SERIAL", 64)  # so that they meet

    outcomes = [
        ledger.reserve([want(number, IPTV, QOS)], run="1", batch="may", unpredictable=True)[0]
        for number in range(24)
    ]

    serials = [serial for one in outcomes for serial in one.serials]
    assert len({*serials}) == 48
    assert sorted(serials) == [entry.serial for entry in ledger.entries()]


@pytest.mark.usefixtures("drawn")
def test_where_no_unpredictable_number_is_left_it_is_told(
    ledger: Ledger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_reserve, "MAX_SERIAL", 1)
    outcomes = ledger.reserve(wants(1), run="1", unpredictable=True)

    with pytest.raises(HostError) as caught:
        ledger.reserve(wants(2), run="1", unpredictable=True)

    assert outcomes == given(1)
    assert str(caught.value) == f"{database.name}: too few serial numbers are left"


def test_the_last_number_is_given_and_none_beyond_it(ledger: Ledger, database: Database) -> None:
    set_counter(database, MAX_SERIAL - 1)

    assert ledger.reserve(wants(1, 2), run="1", batch="may") == given(MAX_SERIAL - 1, MAX_SERIAL)
    for _ in range(2):
        with pytest.raises(HostError) as caught:
            ledger.reserve(wants(3), run="1", batch="may")
        assert str(caught.value) == f"{database.name}: no serial numbers are left"
    assert ledger.reserve(wants(2), run="2", batch="may") == given(MAX_SERIAL)
    assert [entry.serial for entry in ledger.entries()] == [MAX_SERIAL - 1, MAX_SERIAL]


def test_numbers_that_do_not_suffice_are_not_given_to_some(ledger: Ledger, database: Database) -> None:
    set_counter(database, MAX_SERIAL)

    with pytest.raises(HostError) as caught:
        ledger.reserve([want(1, IPTV, QOS)], run="1")

    assert str(caught.value) == f"{database.name}: no serial numbers are left"
    assert [*ledger.entries()] == []


def test_a_counter_that_was_set_back_leads_to_no_number_twice(ledger: Ledger, database: Database) -> None:
    ledger.reserve(wants(1, 2, 3), run="1")
    set_counter(database, 3)

    outcomes = ledger.reserve([want(4, IPTV, QOS), want(5)], run="1", batch="may")

    # 3 was taken, so 4 of the same voucher goes back, and is not lost for anybody's sake.
    assert outcomes == [Reservation(serials=(6, 7)), Reservation(serials=(5,))]
    assert [entry.serial for entry in ledger.entries()] == [1, 2, 3, 5, 6, 7]


def test_a_counter_that_was_set_far_back_is_told(ledger: Ledger, database: Database) -> None:
    ledger.reserve(wants(*range(module.ROUNDS)), run="1")
    set_counter(database, 1)

    with pytest.raises(HostError) as caught:
        ledger.reserve(wants(0), run="1")

    assert str(caught.value) == f"{database.name}: too few serial numbers are left"
    assert ledger.reserve(wants(0), run="1") == given(module.ROUNDS + 1)


# Batches.


def test_a_batch_gives_the_same_numbers_again(ledger: Ledger) -> None:
    first = ledger.reserve([want(2, IPTV, QOS), want(1, IPTV, QOS)], run="1", batch="may")
    before = [*ledger.entries()]

    again = ledger.reserve([want(1, IPTV, QOS), want(2, IPTV, QOS)], run="2", batch="may")

    assert first == [Reservation(serials=(3, 4)), Reservation(serials=(1, 2))]
    assert again == [Reservation(serials=(1, 2)), Reservation(serials=(3, 4))]
    assert [*ledger.entries()] == before


def test_a_batch_gives_the_same_numbers_again_once_its_vouchers_are_issued(ledger: Ledger) -> None:
    ledger.reserve(wants(1), run="1", batch="may")
    ledger.confirm_batch("may", "1")

    assert ledger.reserve(wants(1), run="2", batch="may") == given(1)
    assert [*ledger.entries()] == [reserved(1, 1, batch="may", state=SerialState.ISSUED, issued_at=NOW)]


def test_the_numbers_of_a_batch_go_with_the_names_of_its_options(ledger: Ledger) -> None:
    ledger.reserve([want(1, IPTV, QOS)], run="1", batch="may")

    assert ledger.reserve([want(1, QOS, IPTV)], run="2", batch="may") == [Reservation(serials=(2, 1))]


def test_a_batch_is_completed(ledger: Ledger) -> None:
    ledger.reserve(wants(1, 3), run="1", batch="may")

    assert ledger.reserve(wants(1, 2, 3, 4), run="2", batch="may") == given(1, 3, 2, 4)


def test_batches_have_nothing_to_do_with_each_other(ledger: Ledger) -> None:
    first = ledger.reserve(wants(1), run="1", batch="may")
    second = ledger.reserve(wants(1), run="1", batch="June")
    third = ledger.reserve(wants(1), run="1")

    assert first + second + third == given(1, 2, 3)


@pytest.mark.parametrize("change", [{"oui": "00D09F"}, {"product_class": ""}, {"serial_number": "1"}])
def test_devices_are_told_apart_by_oui_class_and_number(ledger: Ledger, change: dict[str, str]) -> None:
    other = Want(device=replace(device(1), **change), templates=(IPTV,))

    outcomes = ledger.reserve([want(1), other], run="1", batch="may")

    assert sorted(serial for one in outcomes for serial in one.serials) == [1, 2]


def test_a_device_that_is_in_one_call_twice_is_refused_once(ledger: Ledger) -> None:
    outcomes = ledger.reserve(wants(1, 2, 1, 1), run="1", batch="may")

    assert outcomes == [*given(1, 2), Reservation(refusal=TWICE), Reservation(refusal=TWICE)]
    assert [entry.serial for entry in ledger.entries()] == [1, 2]


def test_a_device_that_is_in_one_run_twice_is_refused_then(ledger: Ledger) -> None:
    ledger.reserve(wants(1), run="1", batch="may")

    assert ledger.reserve(wants(1, 2), run="1", batch="may") == [Reservation(refusal=TWICE), *given(2)]
    assert ledger.reserve(wants(1), run="2", batch="may") == given(1)
    assert ledger.reserve(wants(1), run="2", batch="may") == [Reservation(refusal=TWICE)]


@pytest.mark.parametrize(
    "changed",
    [
        Want(device=device(1), templates=(replace(IPTV, duration=13), QOS)),
        Want(device=device(1), templates=(IPTV, replace(QOS, description=""))),
        Want(device=replace(device(1), manufacturer="Other"), templates=(IPTV, QOS)),
    ],
)
def test_a_batch_says_nothing_else_to_a_device_than_before(ledger: Ledger, changed: Want) -> None:
    ledger.reserve([want(1, IPTV, QOS)], run="1", batch="may")

    outcomes = ledger.reserve([changed, want(2)], run="2", batch="may")

    assert outcomes == [
        Reservation(refusal="this batch already has a different voucher for this device"),
        *given(3),
    ]


@pytest.mark.parametrize(
    "options", [[IPTV], [IPTV, QOS, replace(QOS, ident="Fax")], [QOS, replace(QOS, ident="Fax")]]
)
def test_a_batch_has_the_same_options_for_a_device_as_before(ledger: Ledger, options: list[Template]) -> None:
    ledger.reserve([want(1, IPTV, QOS)], run="1", batch="may")

    outcomes = ledger.reserve([want(1, *options), want(2)], run="2", batch="may")

    assert outcomes == [
        Reservation(refusal="this batch already has other Options for this device"),
        *given(3),
    ]


def test_a_batch_is_signed_with_one_key(ledger: Ledger) -> None:
    ledger.reserve(wants(1), run="1", batch="may", signer="00")

    outcomes = ledger.reserve(wants(1, 2), run="2", batch="may", signer="01")

    assert outcomes == [Reservation(refusal="this batch was signed with a different key"), *given(2)]
    assert [entry.signer for entry in ledger.entries()] == ["00", "01"]
    assert ledger.reserve(wants(1), run="3", batch="may", signer="00") == given(1)


def test_a_batch_does_not_issue_what_is_void(ledger: Ledger) -> None:
    ledger.reserve([want(1, IPTV, QOS), want(2)], run="1", batch="may")
    ledger.void(2)

    outcomes = ledger.reserve([want(1, IPTV, QOS), want(2)], run="2", batch="may")

    assert outcomes == [Reservation(refusal="voucher 2 of this batch is void"), *given(3)]


def test_what_is_refused_takes_no_number(ledger: Ledger) -> None:
    ledger.reserve(wants(1), run="1", batch="may")

    for again in (want(1), want(1, QOS), want(1, replace(IPTV, duration=1))):
        ledger.reserve([again], run="1", batch="may")

    assert ledger.reserve(wants(2), run="1", batch="may") == given(2)


def test_runs_are_told_apart_by_their_names() -> None:
    assert len({Ledger.new_run() for _ in range(100)}) == 100
    assert {len(Ledger.new_run()) for _ in range(100)} == {16}


# States.


def test_a_voucher_that_is_confirmed_is_issued(database: Database) -> None:
    later = AT + timedelta(days=1)
    with opened(database) as one:
        one.reserve([want(1, IPTV, QOS), want(2)], run="1")

    with opened(database, later) as one:
        one.confirm([1, 2])

    with opened(database, later + timedelta(days=1)) as one:
        one.confirm([1, 2, 77])  # once more, and one that nobody has taken
        assert [*one.entries()] == [
            reserved(1, 1, state=SerialState.ISSUED, issued_at="2026-06-02T12:00:00Z"),
            reserved(2, 1, QOS, state=SerialState.ISSUED, issued_at="2026-06-02T12:00:00Z"),
            reserved(3, 2),
        ]


def test_of_a_batch_what_one_run_was_given_is_confirmed(ledger: Ledger) -> None:
    ledger.reserve([want(1, IPTV, QOS), want(2)], run="1", batch="may")
    ledger.reserve(wants(3), run="1", batch="june")
    ledger.reserve(wants(4), run="1")
    ledger.reserve(wants(5), run="2", batch="may")

    assert ledger.confirm_batch("may", "1") == 3
    assert ledger.confirm_batch("may", "1") == 0
    assert [entry.state.value for entry in ledger.entries()] == ["issued"] * 3 + ["reserved"] * 3


def test_what_another_run_was_given_again_is_confirmed_by_that(ledger: Ledger) -> None:
    ledger.reserve(wants(1, 2), run="1", batch="may")
    ledger.reserve(wants(1), run="2", batch="may")

    assert ledger.confirm_batch("may", "2") == 1
    assert [entry.state.value for entry in ledger.entries()] == ["issued", "reserved"]


@pytest.mark.parametrize("state", [SerialState.RESERVED, SerialState.ISSUED])
def test_a_number_is_made_void(database: Database, state: SerialState) -> None:
    with opened(database) as one:
        one.reserve(wants(1, 2), run="1", batch="may")
        if state is SerialState.ISSUED:
            one.confirm([1])
    issued_at = NOW if state is SerialState.ISSUED else None

    with opened(database, AT + timedelta(hours=1)) as one:
        one.void(1)
        with pytest.raises(RefusedError) as caught:
            one.confirm([1])
        one.confirm_batch("may", "1")

        entries = [*one.entries()]
    assert str(caught.value) == "serial number 1 has been voided in the meantime"
    assert entries[0] == reserved(
        1, 1, state=SerialState.VOID, batch="may", issued_at=issued_at, voided_at="2026-06-01T13:00:00Z"
    )
    assert entries[1].state is SerialState.ISSUED


def test_a_number_is_made_void_once(database: Database) -> None:
    with opened(database) as one:
        one.reserve(wants(1), run="1")
        one.void(1)

    with opened(database, AT + timedelta(hours=1)) as one:
        with pytest.raises(RefusedError) as caught:
            one.void(1)
        assert [*one.entries()] == [reserved(1, 1, state=SerialState.VOID, voided_at=NOW)]

    assert str(caught.value) == "serial number 1 is already void"


def test_a_number_that_nobody_has_taken_is_not_made_void(ledger: Ledger) -> None:
    with pytest.raises(RefusedError) as caught:
        ledger.void(7)

    assert str(caught.value) == "serial number 7 is not in this ledger"
    assert [*ledger.entries()] == []


def test_a_void_number_is_never_given_again(ledger: Ledger) -> None:
    ledger.reserve(wants(1), run="1")
    ledger.void(1)

    assert ledger.reserve(wants(1), run="1") == given(2)


# Entries.


@pytest.mark.parametrize(
    ("wanted", "serials"),
    [
        ({}, [1, 2, 3, 4]),
        ({"batch": None, "state": None, "serial_number": None}, [1, 2, 3, 4]),
        ({"batch": "may"}, [1, 2, 3]),
        ({"batch": "june"}, [4]),
        ({"batch": "july"}, []),
        ({"state": "issued"}, [3]),
        ({"state": "void"}, [4]),
        ({"state": "reserved"}, [1, 2]),
        ({"serial_number": "000001"}, [1, 2, 4]),
        ({"serial_number": "1"}, []),
        ({"option": "QoS"}, [2]),
        ({"serial": 3}, [3]),
        ({"state": SerialState.RESERVED}, [1, 2]),
        ({"oui": "00D09E", "product_class": "Gateway"}, [1, 2, 3, 4]),
        ({"batch": "may", "serial_number": "000001", "option": "IPTV"}, [1]),
    ],
)
def test_entries_are_those_that_have_the_values_asked_for(
    ledger: Ledger, wanted: dict[str, object], serials: list[int]
) -> None:
    ledger.reserve([want(1, IPTV, QOS), want(2)], run="1", batch="may")
    ledger.reserve(wants(1), run="1", batch="june")
    ledger.confirm([3])
    ledger.void(4)

    assert [entry.serial for entry in ledger.entries(**wanted)] == serials


@pytest.mark.parametrize("what", ["a\0b", "\udcff", "a\nb"])
def test_no_entry_has_what_nobody_can_print(ledger: Ledger, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        [*ledger.entries(batch=what)]

    assert str(caught.value) == "batch: must have only printable characters"


@pytest.mark.parametrize("count", [1000, 1001])
def test_entries_are_all_there_however_many(ledger: Ledger, count: int) -> None:
    ledger.reserve(wants(*range(count)), run="1")
    ledger.reserve(wants(*range(3)), run="1", batch="may")

    serials = [entry.serial for entry in ledger.entries()]
    of_batch = [entry.serial for entry in ledger.entries(batch="may")]

    assert serials == [*range(1, count + 4)]
    assert of_batch == [*range(count + 1, count + 4)]


def test_whoever_reads_entries_keeps_nobody_waiting(database: Database, ledger: Ledger) -> None:
    ledger.reserve(wants(*range(module.ROWS_AT_ONCE + 1)), run="1")

    seen = []
    with opened(database) as other:
        for entry in ledger.entries():
            if entry.serial == 1:
                other.void(module.ROWS_AT_ONCE)
                other.void(module.ROWS_AT_ONCE + 1)
            seen.append((entry.serial, entry.state))

    # The first page was read at once, the second when its turn came.
    assert [serial for serial, state in seen if state is SerialState.VOID] == [module.ROWS_AT_ONCE + 1]
    assert len(seen) == module.ROWS_AT_ONCE + 1


def test_issuers_may_meet_where_there_is_no_ledger_yet(database: Database) -> None:
    count = 4
    meeting = Barrier(count)

    def work(number: int) -> list[Reservation]:
        meeting.wait(LIFE)
        with opened(database) as one:
            return one.reserve(wants(number), run=str(number))

    with ThreadPoolExecutor(count) as pool:
        outcomes = [*pool.map(work, range(count))]

    assert sorted(outcomes, key=lambda some: some[0].serials) == [
        given(number) for number in range(1, count + 1)
    ]


# Several processes at the same time.

_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.vouchers.acs.test_ledger"])


def issue(url: str, batch: str, numbers: Sequence[int], journal: str, at_once: int = 4) -> None:
    """Do what an issuer does, a line in a journal for each voucher that it writes; run as a process."""
    with Ledger(url, lambda: AT) as one, Path(journal).open("a") as file:
        run = one.new_run()
        for start in range(0, len(numbers), at_once):
            some = [want(number, IPTV, QOS) for number in numbers[start : start + at_once]]
            for wish, outcome in zip(some, one.reserve(some, run=run, batch=batch), strict=True):
                if outcome.refusal is not None:
                    raise AssertionError(outcome.refusal)
                line = {"device": wish.device.serial_number, "serials": outcome.serials}
                file.write(f"{json.dumps(line)}\n")
            file.flush()
        one.confirm_batch(batch, run)


def started(*arguments: Any) -> BaseProcess:
    process = _PROCESSES.Process(target=issue, args=arguments, daemon=True)
    with chdir(ROOT):  # where whoever forks it, for which the first one starts, finds what it loads
        process.start()
    return process


def finish(*processes: BaseProcess) -> None:
    """Wait until issuers are done, and fail where one could not do its work."""
    for process in processes:
        process.join(LIFE)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def written(journal: Path) -> dict[str, tuple[int, ...]]:
    """Return the numbers that each device has in a journal, always the same."""
    found: dict[str, tuple[int, ...]] = {}
    for text in journal.read_text().splitlines() if journal.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:  # where somebody was killed as it wrote
            continue
        serials = tuple(line["serials"])
        assert found.setdefault(line["device"], serials) == serials
    return found


def assert_whole(database: Database, batches: dict[str, set[int]], journals: dict[str, Path]) -> None:
    """Make sure that each device of each batch has one voucher, issued, and no other has its numbers."""
    expected = set()
    for batch, numbers in batches.items():
        found = written(journals[batch])
        assert found.keys() == {f"{number:06}" for number in numbers}
        expected |= {
            (serial, batch, serial_number, option)
            for serial_number, serials in found.items()
            for serial, option in zip(serials, ("IPTV", "QoS"), strict=True)
        }
    with opened(database) as one:
        entries = [*one.entries()]
    kept = [(entry.serial, entry.batch, entry.serial_number, entry.option) for entry in entries]
    assert sorted(kept) == sorted(expected)
    assert Counter(entry.serial for entry in entries).most_common(1)[0][1] == 1
    assert {entry.state for entry in entries} == {SerialState.ISSUED}


DEVICES: Final = amount(800, 24)


@pytest.mark.part("vouchers")
def test_issuers_of_different_batches_never_share_a_number(database: Database, tmp_path: Path) -> None:
    batches = {batch: {*range(DEVICES)} for batch in ("one", "two", "three")}
    journals = {batch: tmp_path / batch for batch in batches}
    opened(database).close()

    finish(*(started(database.url, batch, range(DEVICES), str(journals[batch]), 4) for batch in batches))

    assert_whole(database, batches, journals)


@pytest.mark.part("vouchers")
@pytest.mark.parametrize("order", ["same", "other"])
def test_issuers_of_one_batch_give_each_device_the_same_voucher(
    database: Database, tmp_path: Path, order: str
) -> None:
    numbers = [*range(DEVICES)]
    orders = [numbers, numbers[::-1] if order == "other" else numbers]
    opened(database).close()

    finish(
        *(
            started(database.url, "may", one, str(tmp_path / f"{index}"), 7)
            for index, one in enumerate(orders)
        )
    )

    assert written(tmp_path / "0") == written(tmp_path / "1")
    assert_whole(database, {"may": {*numbers}}, {"may": tmp_path / "0"})


KILLS: Final = amount(100, 2)


@pytest.mark.part("vouchers")
def test_an_issuer_killed_again_and_again_loses_nothing_and_takes_nothing_from_another(
    database: Database, tmp_path: Path
) -> None:
    dice = chance("kills")
    batches = {"killed": {*range(DEVICES * 2)}, "other": {*range(DEVICES, DEVICES * 3)}}
    journals = {batch: tmp_path / batch for batch in batches}
    arguments = {
        batch: (database.url, batch, sorted(numbers), str(journals[batch]))
        for batch, numbers in batches.items()
    }
    opened(database).close()
    other = started(*arguments["other"])

    for _ in range(KILLS):
        begun, size = time.monotonic(), _size(journals["killed"])
        process = started(*arguments["killed"])
        # At any time after it was started, or after the first thing that it wrote.
        if dice.random() < 0.7:
            while _size(journals["killed"]) == size and time.monotonic() < begun + LIFE:
                time.sleep(0.001)
        time.sleep(dice.random() * 0.05)
        process.kill()
        process.join(LIFE)
        with journals["killed"].open("a") as file:
            file.write("\n")  # what it was about to say is no line of the next one
        if not other.is_alive():
            finish(other)
            other = started(*arguments["other"])  # as often as it takes
    finish(other, started(*arguments["killed"]))

    assert_whole(database, batches, journals)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# Surroundings.


def use(ledger: Ledger, work: str) -> Sequence[object]:
    """Do one of the things that a ledger does, of which device 1 may be in a batch already."""
    match work:
        case "reserve":
            return ledger.reserve(wants(2), run="1")
        case "batch":
            return ledger.reserve(wants(2), run="1", batch="may")
        case "confirm":
            ledger.confirm([1])
        case "confirm batch":
            ledger.confirm_batch("may", "1")
        case "void":
            ledger.void(1)
    return [*ledger.entries()]


WORKS: Final = ("reserve", "batch", "confirm", "confirm batch", "void", "entries")


def test_a_ledger_is_made_where_there_is_none(tmp_path: Path) -> None:
    with Ledger(str(tmp_path / "new.db"), lambda: AT) as one:
        assert [*one.entries()] == []

    assert [entry.name for entry in tmp_path.iterdir()] == ["new.db"]


def test_a_ledger_is_not_made_where_that_is_not_wanted(tmp_path: Path) -> None:
    name = str(tmp_path / "none.db")

    assert problem(lambda: Ledger(name, lambda: AT, create=False)) == f"{name}: the ledger does not exist"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}", "sqlite+pysqlite:///{}"])
def test_a_file_of_sqlite_is_a_path_or_a_url(tmp_path: Path, form: str) -> None:
    with Ledger(str(tmp_path / "ledger.db"), lambda: AT) as one:
        one.reserve(wants(1), run="1")

    with Ledger(form.format(tmp_path / "ledger.db"), lambda: AT, create=False) as one:
        assert [*one.entries()] == [reserved(1, 1)]


def test_a_place_that_can_not_be_a_file_is_told(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere" / "ledger.db"):
        told = problem(partial(Ledger, str(place), lambda: AT))
        assert told == f"{place}: unable to open database file"


def test_a_file_that_is_no_database_is_told_and_stays(tmp_path: Path) -> None:
    (file := tmp_path / "ledger.db").write_text("dear diary\n" * 100)

    assert problem(lambda: Ledger(str(file), lambda: AT)) == f"{file}: file is not a database"
    assert file.read_text() == "dear diary\n" * 100


@pytest.mark.parametrize("create", [True, False])
def test_tables_of_another_kind_are_told_without_a_statement(*, create: bool) -> None:
    database = new_database("postgresql")
    database.execute("CREATE TABLE spkg_voucher (serial BIGINT, state TEXT, batch TEXT, run TEXT)")

    told = problem(lambda: Ledger(database.url, lambda: AT, create=create))

    assert told == f"{database.name}: column spkg_voucher.oui does not exist"
    assert database.execute("SELECT 1 FROM pg_tables WHERE tablename LIKE 'spkg%'") == [(1,)]


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TABLE mine (a)", "expected a ledger, got a database with other tables"),
        ("CREATE TABLE spkg_voucher (a)", "expected a ledger, got another kind of SQLite file"),
        ("PRAGMA application_id = 7", "expected a ledger, got another kind of SQLite file"),
    ],
)
def test_a_database_of_something_else_is_told_and_stays(
    tmp_path: Path, statement: str, told: str, *, create: bool
) -> None:
    database = new_database("sqlite", tmp_path)
    database.execute(statement)
    before = Path(database.url).read_bytes()

    said = problem(lambda: Ledger(database.url, lambda: AT, create=create))

    assert said == f"{database.url}: {told}"
    assert Path(database.url).read_bytes() == before


def test_a_database_of_others_may_have_the_tables_of_a_ledger() -> None:
    database = new_database("postgresql")
    database.execute("CREATE TABLE mine (a INTEGER)")

    with opened(database) as one:
        assert one.reserve(wants(1), run="1") == given(1)


def test_a_ledger_says_whether_it_is_new(database: Database) -> None:
    with opened(database) as one:
        assert one.created
    with opened(database) as one:
        assert not one.created


@pytest.mark.parametrize("work", WORKS[:-1])
def test_a_file_that_is_taken_away_is_told(tmp_path: Path, work: str) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one:
        one.reserve(wants(1), run="1", batch="may")
        Path(database.url).unlink()

        told = problem(lambda: use(one, work))

    # SQLite's word for it: nothing may be written into what nobody could find again.
    assert told == f"{database.url}: attempt to write a readonly database"


@pytest.mark.parametrize("work", WORKS[:-1])
def test_a_file_that_may_not_be_written_is_told(tmp_path: Path, work: str) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one:
        one.reserve(wants(1), run="1", batch="may")
        one.close()
        with read_only(Path(database.url)):
            told = problem(lambda: use(one, work))

    assert told == f"{database.url}: attempt to write a readonly database"


def test_a_file_that_may_only_be_read_can_be_looked_into(tmp_path: Path) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one:
        one.reserve(wants(1), run="1")

    with read_only(Path(database.url)), opened(database) as one:
        assert [*one.entries()] == [reserved(1, 1)]


@contextmanager
def read_only(file: Path) -> Iterator[None]:
    """Have nobody write a file, as whom modes mean something to."""
    for place in (file.parent, *file.parent.parents[:3]):
        if place.stat().st_uid == os.geteuid():
            place.chmod(place.stat().st_mode | 0o755)
    file.chmod(0o444)
    with without_privileges():
        yield


def test_a_file_that_is_locked_for_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_database, "LEDGER_LOCK_TIMEOUT", 0.05)
    database = new_database("sqlite", tmp_path)
    with opened(database) as one, closing(sqlite3.connect(database.url)) as other:
        other.execute("BEGIN IMMEDIATE")

        told = {problem(partial(use, one, work)) for work in WORKS[:-1]}
        seen = [*one.entries()]
        again = problem(lambda: opened(database))

    assert told | {again} == {f"{database.url}: database is locked"}
    assert seen == []


def test_a_file_that_is_locked_for_a_while_is_waited_for(tmp_path: Path) -> None:
    database = new_database("sqlite", tmp_path)
    with opened(database) as one, closing(sqlite3.connect(database.url, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = Timer(0.2, other.rollback)
        timer.start()

        assert one.reserve(wants(1), run="1") == given(1)
        timer.join()


@contextmanager
def locked(database: Database, seconds: float) -> Iterator[None]:
    """Have somebody lock the table of the next number for a while."""
    lock = f"BEGIN; LOCK TABLE spkg_serial; SELECT pg_sleep({seconds}); COMMIT"
    thread = Thread(target=database.execute, args=(lock,))
    thread.start()
    held = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
    while thread.is_alive() and not database.execute(held):
        time.sleep(0.01)
    yield
    thread.join()


def test_a_table_that_is_locked_for_a_while_is_waited_for() -> None:
    with opened(database := new_database("postgresql")) as one, locked(database, 0.3):
        assert one.reserve(wants(1), run="1") == given(1)


def test_a_table_that_is_locked_for_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_database, "LEDGER_LOCK_TIMEOUT", 1)
    with opened(database := new_database("postgresql")) as one, locked(database, 2):
        told = problem(lambda: use(one, "reserve"))

    assert told == f"{database.name}: canceling statement due to lock timeout"


def test_a_connection_that_is_lost_in_between_is_made_again() -> None:
    database = new_database("postgresql")
    others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
    with opened(database) as one:
        one.reserve(wants(1), run="1")
        database.execute(f"{others} AND datname = '{database.own}'")

        assert one.reserve(wants(2), run="1") == given(2)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "SET LOCAL idle_in_transaction_session_timeout = 1",
            "terminating connection due to idle-in-transaction timeout|server closed the connection",
        ),
        ("no statement", "current transaction is aborted, commands ignored until end of transaction block"),
    ],
)
def test_a_transaction_that_the_server_has_ended_may_work_later(spoil: str, said: str) -> None:
    here = new_database("postgresql")
    with closing(LedgerDatabase(postgres().url(str(here.own)))) as database:

        def use() -> None:
            with database.transaction() as connection:
                with suppress(ProgrammingError):
                    connection.exec_driver_sql(spoil)
                time.sleep(0.05)
                connection.exec_driver_sql("SELECT 1")

        with pytest.raises(LedgerAwayError, match=said):
            use()


def test_a_server_that_ends_while_it_answers_may_be_there_later(tmp_path: Path) -> None:
    both = psycopg.InternalError("received 2 results from command 'COMMIT'")  # the answer, and why it ends

    with closing(LedgerDatabase(str(tmp_path / "ledger.db"))) as database:
        with pytest.raises(LedgerAwayError, match="received 2 results"), database.transaction():
            raise InternalError("COMMIT", {}, both)


@pytest.fixture
def password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which libpq looks for the password of the guest."""
    (file := tmp_path / "pgpass").touch(mode=0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    file.write_text(f"127.0.0.1:{postgres().port}:*:{GUEST}:{PASSWORD}\n")
    return file


@pytest.mark.usefixtures("password")
@pytest.mark.parametrize("work", WORKS)
def test_tables_that_one_may_not_use_are_told(work: str) -> None:
    database = new_database("postgresql")
    opened(database).close()
    database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {GUEST}")
    url = postgres().guest_url(str(database.own))

    with Ledger(url, lambda: AT) as one:
        if work == "entries":
            assert use(one, work) == []
        else:
            told = problem(lambda: use(one, work))
            assert told == f"{url}: permission denied for table spkg_ledger"


@pytest.mark.usefixtures("password")
def test_a_place_where_one_may_make_no_tables_is_told() -> None:
    url = postgres().guest_url(str(new_database("postgresql").own))

    assert problem(lambda: Ledger(url, lambda: AT)) == f"{url}: permission denied for schema public"


def test_a_ledger_is_not_made_in_a_database_where_that_is_not_wanted() -> None:
    database = new_database("postgresql")

    told = problem(lambda: Ledger(database.url, lambda: AT, create=False))

    assert told == f"{database.name}: the database has no ledger in it"
    assert database.execute("SELECT 1 FROM pg_tables WHERE tablename LIKE 'spkg%'") == []


def test_a_server_that_does_not_answer_is_told() -> None:
    postgres()  # where there is none, this is left out
    with TemporaryDirectory() as place:  # the path of a socket has to be short
        url = f"postgresql://{GUEST}@/postgres?host={place}&port=5432"

        told = problem(lambda: Ledger(url, lambda: AT))

    socket = Path(place, ".s.PGSQL.5432")
    said = f'connection is bad: connection to server on socket "{socket}" failed: No such file or directory'
    assert told == f"postgresql://{GUEST}@/postgres: {said}"


def test_a_database_that_is_not_there_is_told() -> None:
    here = postgres()

    told = problem(lambda: Ledger(here.url("nowhere"), lambda: AT))

    socket = here.directory / f".s.PGSQL.{here.port}"
    fatal = 'FATAL:  database "nowhere" does not exist'
    said = f'connection failed: connection to server on socket "{socket}" failed: {fatal}'
    assert told == f"postgresql://{USER}@/nowhere: {said}"


def test_a_password_comes_from_a_file_and_is_never_told(password: Path) -> None:
    database = new_database("postgresql")
    database.execute(f"GRANT ALL ON SCHEMA public TO {GUEST}")
    url = postgres().guest_url(str(database.own))

    with Ledger(url, lambda: AT) as one:
        outcomes = one.reserve(wants(1), run="1")
    password.write_text(password.read_text().replace(PASSWORD, f"{PASSWORD}x"))
    wrong = problem(lambda: Ledger(url, lambda: AT))
    password.write_text("")
    none = problem(lambda: Ledger(url, lambda: AT))

    assert outcomes == given(1)
    where = f'connection failed: connection to server at "127.0.0.1", port {postgres().port} failed: '
    assert wrong == f'{url}: {where}FATAL:  password authentication failed for user "{GUEST}"'
    assert none == f"{url}: {where}fe_sendauth: no password supplied"


# Addresses.


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://acs:{PASSWORD}@db/ledger",
        "postgresql://acs:@db/ledger",
        "postgres://acs:secret@db/ledger",
        "postgresql://acs@db/ledger?password=secret",
        "postgresql+psycopg://acs@db/ledger?sslmode=require&password=secret",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Ledger(url, lambda: AT)

    assert str(caught.value) == "the URL of the ledger must not have a password, which other users could see"
    assert caught.value.hint == "put the password into ~/.pgpass, or into the file that PGPASSFILE names"


@pytest.mark.parametrize(
    "url",
    [
        *("", "://", "://db", " ://db", "a b://c"),
        *("postgresql://h:port/db", "postgresql://[::1/db", "postgresql://h/d\udcff"),
        *("a\0b", "a\nb", "sqlite:///a\0b"),
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Ledger(url, lambda: AT)

    assert str(caught.value) == "the URL of the ledger is not valid"


@pytest.mark.parametrize(
    "url",
    [
        *(":memory:", "sqlite://", "sqlite:///:memory:"),
        *("sqlite://host/x.db", "sqlite:///x.db?mode=memory", "sqlite:///x.db?timeout=abc"),
    ],
)
def test_what_is_no_file_keeps_no_ledger(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Ledger(url, lambda: AT)

    assert str(caught.value) == "an SQLite ledger must be given as the path of a file"


@pytest.mark.parametrize("what", ["options", "passfile", "application_name"])
def test_what_a_url_says_besides_is_refused(what: str) -> None:
    with pytest.raises(UsageError) as caught:
        Ledger(f"postgresql://db/ledger?{what}=x", lambda: AT)

    known = "connect_timeout, host, port, service, sslcert, sslkey, sslmode, sslrootcert"
    assert (
        str(caught.value) == f"unknown parameter {what!r} in the URL of the ledger; expected one of {known}"
    )


@pytest.mark.parametrize("kind", ["mysql", "oracle", "http", "file"])
def test_what_keeps_no_ledger_is_refused(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        Ledger(f"{kind}://acs:secret@db/ledger", lambda: AT)

    assert str(caught.value) == f"expected a ledger in SQLite or PostgreSQL, got {kind!r}"


def test_postgresql_may_be_called_postgres() -> None:
    database = new_database("postgresql")

    with Ledger(database.url.replace("postgresql://", "postgres://"), lambda: AT) as one:
        one.reserve(wants(1), run="1")
    with opened(database) as one:
        assert [*one.entries()] == [reserved(1, 1)]


BARE: Final = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "psycopg":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
import cli
cli.main()
"""


def test_without_psycopg_it_is_said_how_to_get_it() -> None:
    arguments = ["voucher", "ledger", "list", "--ledger", "postgresql://db/ledger"]

    done = subprocess.run(
        [sys.executable, "-c", BARE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 9
    assert done.stdout == ""
    assert done.stderr == (
        "spkg: error: PostgreSQL needs psycopg, which is not installed\n"
        "spkg: hint: pip install 'psycopg[binary]>=3.2'\n"
    )
