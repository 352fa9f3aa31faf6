"""The life of a ledger in any order: issued, renewed, revoked, void, and runs that died half-way."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from spkg.common.times import read_time
from spkg.errors import RefusedError
from tests.support.kit import AT
from tests.support.ledger_kit import device
from tests.support.sampling import PROOF, SLICE, amount
from tests.support.voucher_kit import signatory
from vouchers.acs.bulk import BulkOrder, issue_many
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_due import due_renewals
from vouchers.acs.ledger_entry import LedgerEntry, SerialState
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.renewals import RenewalOrder, renew_bulk
from vouchers.acs.revocations import prepare_revocation, revoke_serial
from vouchers.acs.templates import Template
from vouchers.model import Mode
from vouchers.months import Units, end_of
from vouchers.signature.sign import VoucherSigner

DEVICES: Final = 3
WITHIN: Final = timedelta(days=40)
TERMS: Final = st.sampled_from([(20, Units.DAYS), (1, Units.MONTHS), (3, Units.MONTHS), (400, Units.DAYS)])
IDENTS: Final = st.sampled_from(["IPTV", "Radio"])


class KilledHereError(Exception):
    """A run ends where it is; the ledger and the files stay as they are."""


def killed(_: object) -> None:
    """End a run once its first vouchers are written."""
    raise KilledHereError


class LedgerLife(RuleBasedStateMachine):
    """Two servers with clocks of their own share a ledger, and each may die between any two transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.place = Path(self.stack.enter_context(TemporaryDirectory()))
        self.now, self.ahead = AT, timedelta()
        clocks: list[Callable[[], datetime]] = [lambda: self.now, lambda: self.now + self.ahead]
        url = str(self.place / "ledger.db")
        self.ledgers = [self.stack.enter_context(Ledger(url, clock)) for clock in clocks]
        self.signer = VoucherSigner(signatory("small"))
        self.runs = 0
        self.seen: dict[int, tuple[str, str]] = {}
        self.unfinished: list[Callable[[], object]] = []
        """What completes the runs that died."""

    def teardown(self) -> None:
        for complete in self.unfinished:
            complete()
        assert SerialState.RESERVED not in {one.state for one in self.entries() if not self.given_up(one)}
        assert audit_ledger(self.ledgers[0]).problems == ()
        self.stack.close()

    def entries(self) -> list[LedgerEntry]:
        return [*self.ledgers[0].entries()]

    @staticmethod
    def given_up(entry: LedgerEntry) -> bool:
        """Whether nobody completes it: a revocation that died, until somebody asks for it again."""
        return entry.revokes is not None

    def directory(self) -> Path:
        self.runs += 1
        return self.place / f"run{self.runs}"

    # What happens.

    @rule(days=st.integers(0, 45), ahead=st.integers(-30, 30))
    def time_passes(self, days: int, ahead: int) -> None:
        self.now += timedelta(days=days, seconds=1)
        self.ahead = timedelta(minutes=ahead)

    @rule(
        which=st.integers(0, 1),
        ident=IDENTS,
        terms=TERMS,
        since=st.integers(0, 35),
        dies=st.integers(0, 1),
        numbers=st.sets(st.integers(1, DEVICES), min_size=1),
    )
    def issue(  # noqa: PLR0917 - what is drawn
        self, which: int, ident: str, terms: tuple[int, Units], since: int, dies: int, numbers: set[int]
    ) -> None:
        template = Template(
            ident=ident,
            mode=Mode.WITH_EXPIRATION,
            start=self.now - timedelta(days=since),
            duration=terms[0],
            units=terms[1],
        )
        order = BulkOrder(templates=(template,), batch=f"batch {self.runs}")
        listed = [ListedDevice(line=number, device=device(number)) for number in sorted(numbers)]
        ledger = self.ledgers[which]

        def run(progress: Callable[[int], object] | None = None) -> None:
            (place := self.directory()).mkdir()
            report = issue_many(order, listed, place, self.signer, ledger, progress=progress)
            ledger.confirm_batch(order.batch, report.run)

        self.carry_out(run, dies=bool(dies))

    @rule(which=st.integers(0, 1), dies=st.integers(0, 1), other=st.none() | TERMS)
    def renew(self, which: int, dies: int, other: tuple[int, Units] | None) -> None:
        templates: tuple[Template, ...] = ()
        if other is not None:
            kind = Template(ident="IPTV", mode=Mode.WITH_EXPIRATION, duration=other[0], units=other[1])
            templates = (kind,)
        order = RenewalOrder(batch=f"renewal {self.runs}", within=WITHIN, templates=templates)
        url, now = self.ledgers[which].database.name, self.now

        def run(progress: Callable[[int], object] | None = None) -> None:
            ledger = Ledger(url, lambda: self.now, create=False)
            renew_bulk(order, self.directory(), self.signer, ledger, now, progress=progress)

        self.carry_out(run, dies=bool(dies))

    def carry_out(self, run: Callable[..., None], *, dies: bool) -> None:
        if not dies:
            run()
            return
        try:
            run(killed)
        except KilledHereError:
            self.unfinished.append(run)

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        self.unfinished.pop(data.draw(st.integers(0, len(self.unfinished) - 1)))()

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), which=st.integers(0, 1), dies=st.integers(0, 1))
    def revoke(self, data: st.DataObject, which: int, dies: int) -> None:
        serial = data.draw(st.sampled_from(sorted(self.seen)))
        try:
            (prepare_revocation if dies else revoke_serial)(self.ledgers[which], self.signer, serial)
        except RefusedError:
            assert {one.serial: one for one in self.entries()}[serial].mode is Mode.DISABLE

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), which=st.integers(0, 1))
    def void(self, data: st.DataObject, which: int) -> None:
        serial = data.draw(st.sampled_from(sorted(self.seen)))
        before = {one.serial: one.state for one in self.entries()}[serial]
        try:
            self.ledgers[which].void(serial, reason="any")
        except RefusedError:
            assert before is SerialState.VOID
        else:
            assert before is not SerialState.VOID

    # What always holds.

    @invariant()
    def no_number_has_two_meanings(self) -> None:
        found = {one.serial: (one.serial_number, one.option) for one in self.entries()}
        assert found.items() >= self.seen.items()
        self.seen = found

    @invariant()
    def a_renewal_continues_where_the_old_voucher_ends(self) -> None:
        by_serial = {one.serial: one for one in self.entries()}
        for one in by_serial.values():
            if one.renews is None:
                continue
            old = by_serial[one.renews]
            assert (old.serial_number, old.option, old.start) == (one.serial_number, one.option, one.start)
            assert one.renewal_duration is not None
            assert one.renewal_units is not None
            assert end(one) == end_of(end(old), one.renewal_duration, one.renewal_units)
        renewed = [
            one.renews for one in by_serial.values() if one.renews and one.state is not SerialState.VOID
        ]
        assert len(renewed) == len({*renewed})

    @invariant()
    def due_is_what_governs_its_option_and_ends_soon(self) -> None:
        last: dict[tuple[str, str], LedgerEntry] = {}
        for one in self.entries():  # in the order in which they were reserved
            if one.state is not SerialState.VOID:
                last[one.serial_number, one.option] = one
        expected = {
            one.serial
            for one in last.values()
            if one.state is SerialState.ISSUED
            and one.mode is Mode.WITH_EXPIRATION
            and self.now < end(one) <= self.now + WITHIN
        }
        assert {one.serial for one in due_renewals(self.ledgers[0], WITHIN, self.now)} == expected


def end(entry: LedgerEntry) -> datetime:
    """Return when a voucher ends, by what it says."""
    assert entry.start is not None
    assert entry.duration is not None
    assert entry.duration_units is not None
    return end_of(read_time(entry.start), entry.duration, entry.duration_units)


@pytest.mark.part("fuzz")
def test_whatever_happens_the_books_are_right() -> None:
    run_state_machine_as_test(
        seed(SLICE.number)(LedgerLife),
        settings=settings(
            max_examples=amount(400, 3), stateful_step_count=30 if PROOF else 10, deadline=None
        ),
    )
