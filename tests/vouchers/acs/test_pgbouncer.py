"""A ledger behind PgBouncer in transaction mode, which gives each transaction another connection."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.kit import AT
from tests.support.ledger_kit import wants
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import new_database, postgres
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_entry import SerialState


@pytest.fixture
def pooled() -> Iterator[str]:
    """The URL of a database through PgBouncer, which has two connections to it."""
    server = postgres()
    with pgbouncer(f"host={server.directory} port={server.port}", new_database()) as url:
        yield url


@pytest.mark.judge("pgbouncer")
def test_many_issuers_share_a_ledger_through_a_pool(pooled: str) -> None:
    Ledger(pooled, lambda: AT).close()

    def work(number: int) -> list[int]:
        taken = []
        with Ledger(pooled, lambda: AT, create=False) as one:
            for start in range(0, 50, 5):
                some = one.reserve(
                    wants(*range(start, start + 5)), run=f"{number}-{start}", batch=f"{number % 2}"
                )
                taken += [serial for outcome in some for serial in outcome.serials]
                one.confirm_all(taken[-5:])
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [*pool.map(work, range(6))]

    with Ledger(pooled, lambda: AT, create=False) as one:
        entries, audit = [*one.entries()], audit_ledger(one)
    assert taken[0] == taken[2] == taken[4]
    assert taken[1] == taken[3] == taken[5]
    assert sorted(taken[0] + taken[1]) == [entry.serial for entry in entries] == [*range(1, 101)]
    assert {entry.state for entry in entries} == {SerialState.ISSUED}
    assert audit.problems == ()
