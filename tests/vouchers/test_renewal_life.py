"""Renewals from the ledger to the device: whatever the dates, an Option is on until its last end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from spkg.common.times import write_time
from spkg.device import Device
from tests.support.sampling import amount
from tests.support.voucher_kit import DEVICE, signed, verified
from vouchers.acs.ledger_entry import LedgerEntry
from vouchers.acs.ledger_wants import Predecessor
from vouchers.acs.renewals import renewed
from vouchers.acs.templates import Template
from vouchers.cpe.grant import grant
from vouchers.cpe.store import OptionStore
from vouchers.model import Mode, Voucher
from vouchers.months import Units, end_of

SECOND: Final = timedelta(seconds=1)
CPE: Final = Device(oui="00D09E", product_class="Gateway", serial_number="123456789")
starts = st.datetimes(datetime(2024, 1, 1), datetime(2032, 12, 31)).map(  # noqa: DTZ001 - it is given UTC
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
terms = st.tuples(st.integers(1, 40), st.sampled_from(Units))
BLANK: Final[dict[str, Any]] = dict.fromkeys(LedgerEntry.__dataclass_fields__)


def entry(serial: int, template: Template, before: Predecessor) -> LedgerEntry:
    """Return what the ledger keeps of a voucher, as far as a renewal needs it."""
    assert template.start is not None
    return LedgerEntry(
        **BLANK
        | {
            "serial": serial,
            "option": template.ident,
            "mode": template.mode,
            "start": write_time(template.start),
            "duration": template.duration,
            "duration_units": template.units,
            "renewal_duration": before.duration,
            "renewal_units": before.units,
        }
    )


def apply(store: OptionStore, serial: int, template: Template, now: datetime) -> None:
    trusted = verified(signed(Voucher(options=(template.option(serial, DEVICE),)), "small"))
    assert [new for _, new in store.apply([grant(trusted, CPE, now)], now)] == [True]


@settings(max_examples=amount(600, 5), deadline=None)
@given(starts, terms, st.lists(st.tuples(st.none() | terms, st.floats(0, 1)), min_size=1, max_size=4))
def test_no_renewal_interrupts_or_shortens(
    start: datetime,
    first: tuple[int, Units],
    added: list[tuple[tuple[int, Units] | None, float]],
) -> None:
    template = Template(
        ident="IPTV", mode=Mode.WITH_EXPIRATION, start=start, duration=first[0], units=first[1]
    )
    end, last, before, now = end_of(start, *first), first, Predecessor(), start
    with OptionStore(None, create=True) as store:
        apply(store, 1, template, now)
        for serial, (other, when) in enumerate(added, 1):
            last = other or last
            change = (
                None if other is None else replace(template, start=None, duration=other[0], units=other[1])
            )
            template, before = renewed(entry(serial, template, before), change)
            # Some time before the old end.
            now += ((end - SECOND - now) * when) // SECOND * SECOND
            apply(store, serial + 1, template, now)
            new_end = end_of(end, *last)
            moments = (now, end - SECOND, end, end + SECOND, new_end - SECOND)
            assert [store.options(at)[0].enabled for at in moments if at < new_end] == [
                True for at in moments if at < new_end
            ]
            assert not store.options(new_end)[0].enabled
            end = new_end
