"""What a ledger does for some devices costs the same in a large batch as in a small one.

SQLite counts the steps of its own machine, which are the same on every computer.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Final

import pytest
import sqlalchemy

from tests.support.kit import AT
from tests.support.ledger_kit import device, new_database, opened, wants
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_due import device_entries, due_by_device, due_renewals
from vouchers.acs.ledger_search import batches_page, entries_page, recent_journal
from vouchers.acs.ledger_wants import device_key

FEW: Final = 1000
MANY: Final = 16_000
STEPS_AT_ONCE: Final = 100


class Steps:
    """Counts the steps of SQLite."""

    def __init__(self) -> None:
        self.count = 0

    def connected(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(self._more, STEPS_AT_ONCE)

    def of(self, work: Callable[[], object]) -> int:
        before = self.count
        work()
        return self.count - before

    def _more(self) -> None:
        self.count += STEPS_AT_ONCE


@contextmanager
def counting() -> Iterator[Steps]:
    steps = Steps()
    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", steps.connected)
    try:
        yield steps
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", steps.connected)


def fill(ledger: Ledger, count: int) -> None:
    for start in range(0, count, 500):
        ledger.reserve(wants(*range(start, start + 500)), run="1", batch="may")
    ledger.confirm_batch("may", "1")


OF_SOME: Final[dict[str, Callable[[Ledger, int], object]]] = {
    "the next devices": lambda ledger, count: ledger.reserve(
        wants(*range(count, count + 200)), run="1", batch="may"
    ),
    "devices that have a number": lambda ledger, _: ledger.reserve(wants(*range(200)), run="2", batch="may"),
    "devices without a batch": lambda ledger, _: ledger.reserve(wants(*range(200)), run="3"),
    "confirming": lambda ledger, count: ledger.confirm(range(count - 200, count)),
    "voiding": lambda ledger, count: ledger.void(*range(count - 200, count)),
    "voiding a device": lambda ledger, _: ledger.void_where(device=device_key(device(7))),
    "a device": lambda ledger, _: device_entries(ledger, device_key(device(9))),
    "a serial number": lambda ledger, _: [*ledger.entries(serial=9)],
    "a page": lambda ledger, count: entries_page(ledger, {}, after=count // 2, limit=100),
    "a page of a batch": lambda ledger, count: entries_page(
        ledger, {"batch": "may"}, after=count // 2, limit=100
    ),
    "a page of a product": lambda ledger, count: entries_page(
        ledger, {"oui": "00D09E", "product_class": "Gateway"}, after=count // 2, limit=100
    ),
    "a page of a device": lambda ledger, _: entries_page(
        ledger, {"serial_number": "000009", "oui": "00D09E", "product_class": "Gateway"}, after=0, limit=100
    ),
    "the journal's end": lambda ledger, _: recent_journal(ledger, before=None, limit=2),
}
OF_ALL: Final[dict[str, Callable[[Ledger], object]]] = {
    "the list": lambda ledger: [*ledger.entries()],
    "a batch": lambda ledger: [*ledger.entries(batch="may")],
    "an OUI": lambda ledger: [*ledger.entries(oui="00D09E")],
    "a state": lambda ledger: [*ledger.entries(state="issued")],
    "the batches": lambda ledger: batches_page(ledger, after="", limit=10),
    "what ends": lambda ledger: [*due_renewals(ledger, timedelta(days=400), AT)],
    "what ends, by device": lambda ledger: [*due_by_device(ledger, "june", (), timedelta(days=400), AT)],
    "voiding a batch": lambda ledger: ledger.void_where(batch="may"),
}


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """The steps of each piece of work in a ledger of few devices, and in one of many."""
    found: dict[str, list[int]] = {}
    for count in (FEW, MANY):
        database = new_database("sqlite", tmp_path_factory.mktemp("ledger"))
        with counting() as steps, opened(database) as ledger:
            fill(ledger, count)
            for name, work in OF_SOME.items():
                found.setdefault(name, []).append(steps.of(partial(work, ledger, count)))
            for name, of_all in OF_ALL.items():
                found.setdefault(name, []).append(steps.of(partial(of_all, ledger)))
    return found


@pytest.mark.parametrize("name", OF_SOME)
def test_work_for_some_devices_costs_the_same_however_many_there_are(
    costs: dict[str, list[int]], name: str
) -> None:
    few, many = costs[name]

    assert many <= 1.2 * few + 5 * STEPS_AT_ONCE


@pytest.mark.parametrize("name", OF_ALL)
def test_work_for_all_costs_as_many_times_more_as_there_are_devices(
    costs: dict[str, list[int]], name: str
) -> None:
    few, many = costs[name]

    assert many <= 1.5 * few * MANY / FEW  # of the few, some were made void
