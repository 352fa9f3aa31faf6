"""Renewals and revocations: which Options are due, what a renewal states, and that nothing is done twice."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from spkg.common.times import read_time, write_time
from spkg.errors import FormatError, HostError, RefusedError
from tests.support.kit import AT
from tests.support.ledger_kit import KINDS, Database, device, new_database, want
from tests.support.voucher_kit import signatory
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_due import device_entries, due_renewals
from vouchers.acs.ledger_entry import LedgerEntry
from vouchers.acs.ledger_wants import Predecessor, Reservation, Want
from vouchers.acs.renewals import RenewalOrder, RenewalReport, renew_bulk, renewed
from vouchers.acs.revocations import prepare_revocation, revoke_device, revoke_serial, revoking
from vouchers.acs.templates import Template
from vouchers.model import Mode, Option
from vouchers.months import LAST, Units, end_of
from vouchers.signature.option_elements import read_option
from vouchers.signature.shape import read_voucher
from vouchers.signature.sign import VoucherSigner

SIGNER: Final = VoucherSigner(signatory("small"))
WITHIN: Final = timedelta(days=30)
START: Final = AT.replace(microsecond=0) - timedelta(days=10)
TV: Final = Template(
    ident="IPTV",
    description="Television",
    mode=Mode.WITH_EXPIRATION,
    start=START,
    duration=20,
    units=Units.DAYS,
    transferable=True,
    extra=(("Tier", "gold"), ("Box", (("Colour", "red"),))),
)
RADIO: Final = replace(TV, ident="Radio", extra=())
FOR_EVER: Final = Template(ident="QoS", mode=Mode.WITHOUT_EXPIRATION, start=START)
OFF: Final = Template(ident="IPTV", mode=Mode.DISABLE)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return new_database(request.param, tmp_path)


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    with Ledger(database.url, lambda: AT, actor="tester") as one:
        yield one


def issue(ledger: Ledger, *wants: Want, batch: str | None = None) -> list[int]:
    """Have vouchers issued, and return their serial numbers."""
    given = ledger.reserve(wants, run=ledger.new_run(), batch=batch, signer=SIGNER.key_id)
    serials = [serial for one in given for serial in one.serials]
    assert ledger.confirm_all(serials) == len(serials)
    return serials


def due(ledger: Ledger, within: timedelta = WITHIN, now: datetime = AT) -> list[int]:
    return [entry.serial for entry in due_renewals(ledger, within, now)]


def entry(ledger: Ledger, serial: int) -> LedgerEntry:
    (one,) = ledger.entries(serial=serial)
    return one


def order(batch: str = "next", **changes: Any) -> RenewalOrder:
    return replace(RenewalOrder(batch=batch, within=WITHIN), **changes)


def renew(ledger: Ledger, place: Path, now: datetime = AT, **changes: Any) -> RenewalReport:
    return renew_bulk(order(**changes), place, SIGNER, nullcontext(ledger), now)


def options(place: Path) -> dict[str, list[Option]]:
    """Return the Options of each device in an output."""
    found = {}
    for line in (place / "vouchers.ndjson").read_text().splitlines():
        document = json.loads(line)
        objects = read_voucher(b64decode(document["voucher"])).objects
        found[document["device"]["serial_number"]] = [read_option(one[0]) for one in objects]
    return found


# Who is due.


def test_what_ends_soon_is_due_by_its_end(ledger: Ledger) -> None:
    later = replace(TV, duration=30)
    beyond = replace(TV, duration=41)
    over = replace(TV, duration=10)
    issue(ledger, want(1, later), want(2, TV), want(3, beyond), want(4, over), want(5, FOR_EVER))

    assert due(ledger) == [2, 1]
    assert due(ledger, timedelta(days=10)) == [2]
    assert due(ledger, timedelta(days=10) - timedelta(seconds=1)) == []
    assert due(ledger, timedelta.max) == [2, 1, 3]


def test_what_begins_when_it_is_applied_is_due_by_its_earliest_end(ledger: Ledger) -> None:
    issue(
        ledger,
        want(1, replace(TV, start=None)),
        want(2, replace(TV, start=None, duration=1, units=Units.MONTHS)),
    )

    found = [*due_renewals(ledger, timedelta(days=40), AT)]

    assert [(one.serial, one.end, one.end_estimated) for one in found] == [
        (1, write_time(AT + timedelta(days=20)), True),
        (2, write_time(end_of(AT, 1, Units.MONTHS)), True),
    ]


def test_what_is_only_reserved_is_not_due(ledger: Ledger) -> None:
    ledger.reserve([want(1, TV)], run="1")

    assert due(ledger) == []


def test_whoever_has_a_later_voucher_is_not_due_by_the_old_one(ledger: Ledger) -> None:
    issue(ledger, *(want(number, TV) for number in range(6)))
    issue(ledger, want(0, OFF), want(1, replace(FOR_EVER, ident="IPTV")), want(2, replace(TV, duration=300)))
    ledger.reserve([want(3, OFF)], run="cut off")
    ledger.void(6)
    issue(ledger, want(4, replace(OFF, ident="Radio")))

    assert due(ledger) == [5]


def test_a_later_voucher_that_is_void_leaves_the_old_one(ledger: Ledger) -> None:
    issue(ledger, want(1, TV))
    ledger.void(*issue(ledger, want(1, OFF)))

    assert due(ledger) == [1]


def test_all_that_is_due_is_listed_however_much(ledger: Ledger) -> None:
    issue(ledger, *(want(number, TV) for number in range(1201)))

    assert due(ledger) == [*range(1, 1202)]


# What a renewal states.


def test_a_renewal_keeps_the_first_start_and_states_the_whole_duration(
    ledger: Ledger, tmp_path: Path
) -> None:
    issue(ledger, want(1, TV, RADIO), want(2, TV))

    report = renew(ledger, tmp_path / "out")

    assert (report.issued, report.confirmed, report.rejected, report.estimated) == (2, 2, 0, 0)
    assert options(tmp_path / "out") == {
        "000001": [
            replace(TV, duration=40).option(4, device(1)),
            replace(RADIO, duration=40).option(5, device(1)),
        ],
        "000002": [replace(TV, duration=40).option(6, device(2))],
    }
    assert [(one.renews, one.renewed_by) for one in ledger.entries()] == [
        *((None, 4), (None, 5), (None, 6), (1, None), (2, None), (3, None)),
    ]
    assert due(ledger, timedelta(days=10)) == []
    assert audit_ledger(ledger).problems == ()


def test_the_next_renewal_adds_what_the_last_one_added(ledger: Ledger, tmp_path: Path) -> None:
    issue(
        ledger, want(1, replace(TV, start=datetime(2026, 5, 31, tzinfo=UTC), duration=1, units=Units.MONTHS))
    )
    ends = []
    for month in range(3):
        (last,) = [one for one in ledger.entries() if one.renewed_by is None]
        assert last.end is not None
        end = read_time(last.end)
        renew(ledger, tmp_path / f"{month}", end - timedelta(days=1), batch=f"{month}")
        ends.append(end)

    (last,) = [one for one in ledger.entries() if one.renewed_by is None]
    assert last.end is not None
    for before, after in zip(ends, [*ends[1:], read_time(last.end)], strict=True):
        assert after == end_of(before, 1, Units.MONTHS)


def test_options_say_what_is_renewed_and_for_how_long(ledger: Ledger, tmp_path: Path) -> None:
    issue(ledger, want(1, TV, RADIO))
    year = Template(ident="Radio", mode=Mode.WITH_EXPIRATION, duration=12, units=Units.MONTHS)

    renew(ledger, tmp_path / "out", templates=(year,))

    ((option,),) = options(tmp_path / "out").values()
    assert (option.ident, option.description, option.start, option.transferable) == (
        "Radio",
        "",
        START,
        False,
    )
    assert option.expires(AT) == end_of(end_of(START, 20, Units.DAYS), 12, Units.MONTHS)
    assert due(ledger, timedelta(days=10)) == [1]
    assert (entry(ledger, 3).renewal_duration, entry(ledger, 3).renewal_units) == (12, Units.MONTHS)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (TV, "IPTV: a renewal begins where the Option ends: expected no StartDate"),
        (OFF, "IPTV: a renewal needs the mode EnableWithExpiration, got Disable"),
    ],
)
def test_not_every_option_can_be_a_renewal(
    ledger: Ledger, tmp_path: Path, template: Template, problem: str
) -> None:
    with pytest.raises(FormatError) as caught:
        renew(ledger, tmp_path / "out", templates=(template,))

    assert str(caught.value) == problem
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"start": None},
        {
            "duration": None,
            "duration_units": None,
            "mode": Mode.DISABLE,
            "start": None,
            "transferable": False,
        },
    ],
)
def test_only_what_ends_for_certain_is_renewed(ledger: Ledger, changes: dict[str, Any]) -> None:
    (serial,) = issue(ledger, want(1, TV))

    with pytest.raises(ValueError, match="serial number 1: expected a StartDate and a Duration"):
        renewed(replace(entry(ledger, serial), **changes))


def test_what_an_earlier_version_issued_is_not_renewed(ledger: Ledger) -> None:
    (serial,) = issue(ledger, want(1, TV))

    with pytest.raises(ValueError, match="serial number 1: what its voucher does is not known"):
        renewed(replace(entry(ledger, serial), mode=None))


@pytest.mark.parametrize("units", Units)
def test_nothing_is_added_to_the_end_of_time(ledger: Ledger, tmp_path: Path, units: Units) -> None:
    near = LAST - timedelta(days=5)
    issue(ledger, want(1, replace(TV, start=near, duration=3)), want(2, replace(TV, start=near, duration=9)))
    long = Template(ident="IPTV", mode=Mode.WITH_EXPIRATION, duration=(1 << 32) - 1, units=units)

    renew(ledger, tmp_path / "out", near, templates=(long,))

    ((option,),) = options(tmp_path / "out").values()
    assert option.device.serial_number == "000001"
    assert option.expires(near) == LAST
    assert due(ledger, timedelta.max, near) == []


STARTS: Final = st.datetimes(datetime(2020, 1, 1), datetime(2040, 12, 31)).map(  # noqa: DTZ001 - given below
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
TERMS: Final = st.tuples(st.integers(1, 400), st.sampled_from(Units))


@drawn(STARTS, TERMS, st.lists(st.none() | TERMS, min_size=1, max_size=6))
def test_no_day_is_lost_or_given_twice(
    start: datetime, first: tuple[int, Units], added: list[tuple[int, Units] | None]
) -> None:
    terms, last = replace(TV, start=start, duration=first[0], units=first[1]), first
    blank = dict.fromkeys(LedgerEntry.__dataclass_fields__)
    end = end_of(start, *first)
    before = Predecessor()
    for serial, one in enumerate(added, 1):
        given = {
            "serial": serial,
            "option": "IPTV",
            "mode": terms.mode,
            "start": write_time(start),
            "duration": terms.duration,
            "duration_units": terms.units,
            "renewal_duration": before.duration,
            "renewal_units": before.units,
        }
        template = None if one is None else replace(TV, start=None, duration=one[0], units=one[1])

        terms, before = renewed(LedgerEntry(**blank | given), template)  # type: ignore[arg-type]

        last = one or last
        end = end_of(end, *last)
        assert terms.option(1, device(1)).expires(AT) == end
        assert (terms.start, before.renews, before.duration, before.units) == (start, serial, *last)


# Batches.


def test_a_batch_of_renewals_is_written_again_and_completed(ledger: Ledger, tmp_path: Path) -> None:
    issue(ledger, want(1, TV), want(2, TV))
    renew(ledger, tmp_path / "first")
    issue(ledger, want(3, TV))

    report = renew(ledger, tmp_path / "second", AT + timedelta(days=1))

    first, second = options(tmp_path / "first"), options(tmp_path / "second")
    assert (report.issued, report.confirmed, report.rejected) == (3, 3, 0)
    assert {name: second[name] for name in first} == first
    assert len([*ledger.entries()]) == 6


def test_a_device_gets_one_voucher_of_a_batch(ledger: Ledger, tmp_path: Path) -> None:
    issue(ledger, want(1, TV))
    renew(ledger, tmp_path / "first")
    issue(ledger, want(1, RADIO))

    report = renew(ledger, tmp_path / "second")

    assert (report.issued, report.rejected) == (1, 1)
    assert (tmp_path / "second/rejected.csv").read_text() == (
        "line,reason,oui,product_class,serial_number\n"
        "0,this batch already renews other Options of this device; renew these in another batch,"
        "00D09E,Gateway,000001\n"
    )
    assert due(ledger, timedelta(days=10)) == [3]


def test_a_batch_of_renewals_keeps_its_options(ledger: Ledger, tmp_path: Path) -> None:
    issue(ledger, want(1, TV))
    renew(ledger, tmp_path / "first")
    month = Template(ident="IPTV", mode=Mode.WITH_EXPIRATION, duration=1, units=Units.MONTHS)

    with pytest.raises(RefusedError, match="the batch next was begun with other Options"):
        renew(ledger, tmp_path / "second", templates=(month,))
    with pytest.raises(RefusedError, match="the batch next was begun with other Options"):
        ledger.check_terms("next", "0" * 64)


def test_what_is_void_in_a_batch_is_left_out(ledger: Ledger, tmp_path: Path) -> None:
    issue(ledger, want(1, TV), want(2, TV))
    renew(ledger, tmp_path / "first")
    ledger.void(3)

    report = renew(ledger, tmp_path / "second")

    assert (report.issued, report.rejected) == (1, 0)
    assert [*options(tmp_path / "second")] == ["000002"]
    assert due(ledger, timedelta(days=10)) == [1]


def test_estimated_ends_are_counted_and_left_out(ledger: Ledger, tmp_path: Path) -> None:
    issue(ledger, want(1, TV), want(2, replace(TV, start=None)))

    report = renew(ledger, tmp_path / "out")

    assert (report.issued, report.estimated) == (1, 1)
    assert [*options(tmp_path / "out")] == ["000001"]


def test_where_nothing_is_due_the_output_is_empty(ledger: Ledger, tmp_path: Path) -> None:
    report = renew(ledger, tmp_path / "out")

    assert (report.issued, report.confirmed) == (0, 0)
    assert options(tmp_path / "out") == {}


def test_of_two_batches_one_renews(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    issue(ledger, *(want(number, TV) for number in range(3)))
    with Ledger(database.url, lambda: AT) as other:

        class Meanwhile(Ledger):
            """A ledger in which another run is faster, just before this one reserves."""

            def reserve(self, wants: Any, **about: Any) -> list[Reservation]:
                renew(other, tmp_path / "faster", batch="faster")
                return super().reserve(wants, **about)

        with Meanwhile(database.url, lambda: AT) as slower:
            report = renew(slower, tmp_path / "slower", batch="slower")

    assert (report.issued, report.rejected) == (0, 0)
    assert len(options(tmp_path / "faster")) == 3
    assert [one.batch for one in ledger.entries() if one.renews] == ["faster"] * 3


def test_the_database_itself_keeps_a_voucher_from_a_second_renewal(
    database: Database, ledger: Ledger
) -> None:
    issue(ledger, want(1, TV), want(2, TV))

    for column in ("renews", "revokes"):
        database.execute(f"UPDATE spkg_voucher SET {column} = 7 WHERE serial = 1")  # noqa: S608 - ours
        with pytest.raises(Exception, match=r"(?i)unique"):
            database.execute(f"UPDATE spkg_voucher SET {column} = 7 WHERE serial = 2")  # noqa: S608 - ours


def test_another_key_signs_no_batch_of_this_one(ledger: Ledger, tmp_path: Path) -> None:
    issue(ledger, want(1, TV))
    renew(ledger, tmp_path / "first")
    other = VoucherSigner(signatory("p256"))

    report = renew_bulk(order(), tmp_path / "second", other, nullcontext(ledger), AT)

    assert (report.issued, report.rejected) == (0, 1)
    assert "this batch was signed with a different key" in (tmp_path / "second/rejected.csv").read_text()


def test_what_was_changed_behind_the_journal_is_not_renewed(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    issue(ledger, want(1, TV))
    database.execute("UPDATE spkg_voucher SET duration = 2000")

    with pytest.raises(HostError) as caught:
        renew(ledger, tmp_path / "out")

    assert str(caught.value) == (
        f"{database.name}: damaged: serial number 1: its digest is of other contents"
    )


# Revoking.


def test_a_voucher_is_revoked_by_one_that_disables(ledger: Ledger) -> None:
    issue(ledger, want(1, TV, RADIO))

    issued = revoke_serial(ledger, SIGNER, 1)

    (found,) = [read_option(one[0]) for one in read_voucher(issued.octets).objects]
    assert found == replace(OFF, description="Television").option(3, device(1))
    assert (entry(ledger, 1).revoked_by, entry(ledger, 3).revokes) == (3, 1)
    assert entry(ledger, 3).state.value == "issued"
    assert due(ledger) == [2]
    assert audit_ledger(ledger).problems == ()


def test_a_revocation_asked_for_again_is_the_same(ledger: Ledger) -> None:
    issue(ledger, want(1, TV, RADIO))

    for what in (1, ("00D09E", "Gateway", "000001")):
        with pytest.raises(OSError, match="no room"), revoking(ledger, SIGNER, what) as cut_off:
            raise OSError("no room")
        assert entry(ledger, cut_off.serials[0]).revoked_by is None
        with revoking(ledger, SIGNER, what) as again:
            pass
        assert again == cut_off

    assert [one.state.value for one in ledger.entries()] == ["issued"] * 4


def test_all_that_a_device_has_is_revoked(ledger: Ledger) -> None:
    issue(ledger, want(1, TV, RADIO, FOR_EVER), want(2, TV))
    issue(ledger, want(1, replace(OFF, ident="Radio")))
    ledger.void(1)

    issued = revoke_device(ledger, SIGNER, ("00D09E", "Gateway", "000001"))

    found = [read_option(one[0]) for one in read_voucher(issued.octets).objects]
    assert [(one.ident, one.mode) for one in found] == [("IPTV", Mode.DISABLE), ("QoS", Mode.DISABLE)]
    assert [one.revokes for one in device_entries(ledger, ("00D09E", "Gateway", "000001"))][-2:] == [1, 3]


def test_a_device_that_was_enabled_again_is_revoked_again(ledger: Ledger) -> None:
    issue(ledger, want(1, TV))
    first = revoke_serial(ledger, SIGNER, 1)
    issue(ledger, want(1, replace(TV, duration=50)))

    second = revoke_device(ledger, SIGNER, ("00D09E", "Gateway", "000001"))

    assert (first.serials, second.serials) == ((2,), (4,))


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        (77, "serial number 77 is not in this ledger"),
        (1, "voucher 1 disables the Option 'IPTV': nothing to revoke"),
        (
            ("00D09E", "Gateway", "000001"),
            "the ledger has no voucher that enables an Option of 00D09E Gateway 000001",
        ),
        (
            ("00D09E", "Gateway", "77"),
            "the ledger has no voucher that enables an Option of 00D09E Gateway 77",
        ),
    ],
)
def test_what_enables_nothing_is_not_revoked(ledger: Ledger, what: Any, problem: str) -> None:
    issue(ledger, want(1, OFF))

    with pytest.raises(RefusedError) as caught:
        prepare_revocation(ledger, SIGNER, what)

    assert str(caught.value) == problem


def test_a_revocation_is_signed_with_one_key(ledger: Ledger) -> None:
    issue(ledger, want(1, TV))
    revoke_serial(ledger, SIGNER, 1)

    with pytest.raises(RefusedError, match="voucher 2 was signed with a different key"):
        revoke_serial(ledger, VoucherSigner(signatory("p256")), 1)


def test_of_two_that_revoke_one_is_faster(ledger: Ledger, database: Database) -> None:
    issue(ledger, want(1, TV))
    with Ledger(database.url, lambda: AT) as other:

        class Meanwhile(Ledger):
            """A ledger in which somebody else revokes just before this one does."""

            def reserve(self, wants: Any, **about: Any) -> list[Reservation]:
                revoke_serial(other, SIGNER, 1)
                return super().reserve(wants, **about)

        with Meanwhile(database.url, lambda: AT) as slower:
            issued = revoke_serial(slower, SIGNER, 1)

    assert issued.serials == (2,)
    assert [one.state.value for one in ledger.entries()] == ["issued", "issued"]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        (
            "mode",
            "'x'",
            "mode: expected one of Disable, EnableWithExpiration, EnableWithoutExpiration, got 'x'",
        ),
        ("transferable", "7", "transferable: expected one of 0, 1, got 7"),
        ("start", "'soon'", "start: expected a time, got 'soon'"),
        ("extras", "'{'", "extras: expected JSON of further elements, got '{'"),
        ("extras", "'5'", "extras: expected JSON of further elements, got '5'"),
        ("extras", "'[[1, 2]]'", "extras: expected JSON of further elements, got '[[1, 2]]'"),
    ],
)
def test_what_is_damaged_in_a_voucher_is_told(
    database: Database, ledger: Ledger, column: str, value: str, problem: str
) -> None:
    issue(ledger, want(1, TV))
    database.execute(f"UPDATE spkg_voucher SET {column} = {value}")  # noqa: S608 - ours

    with pytest.raises(HostError) as caught:
        [*ledger.entries()]

    assert str(caught.value) == f"{database.name}: damaged: serial number 1: {problem}"


def test_who_revokes_a_void_voucher_gets_one_that_disables(ledger: Ledger) -> None:
    issue(ledger, want(1, TV))
    ledger.void(1)

    assert revoke_serial(ledger, SIGNER, 1).serials == (2,)
