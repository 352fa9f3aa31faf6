"""Options, devices and times of vouchers: what Tables 62 and 63 allow, and the calendar."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.common.times import read_time, write_time
from vouchers.model import MAX_VOUCHER_OPTIONS, DeviceId, Mode, Option, Voucher
from vouchers.months import LAST, Units, end_of

DEVICE = DeviceId(manufacturer="2Wire", oui="00D09E", product_class="Gateway", serial_number="123456789")
OPTION = Option(
    serial="987654321",
    device=DEVICE,
    ident="Option Name",
    description="Option Description",
    mode=Mode.WITH_EXPIRATION,
    start=datetime(2002, 10, 25, 12, 6, 34, tzinfo=UTC),
    duration=280,
    units=Units.DAYS,
)
"""The one of Figure 5."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2002-10-25T12:06:34Z", "2002-10-25T12:06:34"),
        ("2002-10-25T12:06:34", "2002-10-25T12:06:34"),
        ("20021025T12:06:34", "2002-10-25T12:06:34"),
        ("20021025T12:06:34Z", "2002-10-25T12:06:34"),
        ("2002-10-25T12:06:34.999Z", "2002-10-25T12:06:34"),
        ("2002-10-25T00:30:00+01:00", "2002-10-24T23:30:00"),
        ("2002-12-31T23:30:00-00:45", "2003-01-01T00:15:00"),
        ("2002-12-31T24:00:00Z", "2003-01-01T00:00:00"),
        ("2004-02-29T00:00:00Z", "2004-02-29T00:00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
    ],
)
def test_a_date_time_is_read_in_utc(text: str, time: str) -> None:
    assert read_time(text) == at(time)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2002-10-25",
        "2002-10-25 12:06:34",
        "2002-1025T12:06:34",
        "200210-25T12:06:34",
        "2002-10-25T12:06",
        "2002-10-25T12:06:34z",
        " 2002-10-25T12:06:34Z",
        "2002-10-25T12:06:34Z\n",
        "2002-13-25T12:06:34Z",
        "2003-02-29T12:06:34Z",
        "2002-10-25T24:00:01Z",
        "2002-10-25T12:06:60Z",
        "2002-10-25T12:06:34.Z",
        "2002-10-25T12:06:34+15:00",
        "2002-10-25T12:06:34+01:60",
        "0000-10-25T12:06:34Z",
        "-2002-10-25T12:06:34Z",
        "12002-10-25T12:06:34Z",
        "9999-12-31T24:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "٢٠٠٢-10-25T12:06:34Z",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"expected a dateTime|is not a valid date and time|has an invalid time zone"
    ):
        read_time(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_again(time: datetime) -> None:
    assert read_time(write_time(time)) == time.replace(microsecond=0)


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(ValueError, match="the time has no zone"):
        write_time(datetime(2002, 10, 25))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("start", "duration", "units", "end"),
    [
        ("2002-10-25T12:06:34", 280, Units.DAYS, "2003-08-01T12:06:34"),
        ("2024-02-28T00:00:00", 2, Units.DAYS, "2024-03-01T00:00:00"),
        ("2024-01-31T10:00:00", 1, Units.MONTHS, "2024-02-29T10:00:00"),
        ("2023-01-31T10:00:00", 1, Units.MONTHS, "2023-02-28T10:00:00"),
        ("2023-01-31T10:00:00", 2, Units.MONTHS, "2023-03-31T10:00:00"),
        ("2023-12-15T10:00:00", 1, Units.MONTHS, "2024-01-15T10:00:00"),
        ("2024-02-29T10:00:00", 12, Units.MONTHS, "2025-02-28T10:00:00"),
        ("2024-02-29T10:00:00", 48, Units.MONTHS, "2028-02-29T10:00:00"),
        ("2024-02-29T10:00:00", 0, Units.MONTHS, "2024-02-29T10:00:00"),
        ("9999-11-30T10:00:00", 1, Units.MONTHS, "9999-12-30T10:00:00"),
        ("9999-12-01T10:00:00", 1, Units.MONTHS, "9999-12-31T23:59:59"),
        ("2024-02-29T10:00:00", 4294967295, Units.MONTHS, "9999-12-31T23:59:59"),
        ("2024-02-29T10:00:00", 4294967295, Units.DAYS, "9999-12-31T23:59:59"),
        ("9999-12-31T10:00:00", 1, Units.DAYS, "9999-12-31T23:59:59"),
    ],
)
def test_a_duration_ends_by_the_calendar(start: str, duration: int, units: Units, end: str) -> None:
    assert end_of(at(start), duration, units) == at(end)


@given(
    st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 1), max_value=datetime(9000, 1, 1)),  # noqa: DTZ001
    st.integers(0, 5000),
)
def test_no_month_is_longer_than_31_days_or_shorter_than_28(start: datetime, months: int) -> None:
    before, after = end_of(start, months, Units.MONTHS), end_of(start, months + 1, Units.MONTHS)

    assert after.day in {start.day, 28, 29, 30}
    assert timedelta(days=28) <= after - before <= timedelta(days=31)


def test_no_duration_ends_later_than_there_are_years() -> None:
    assert end_of(LAST, 1, Units.DAYS) == end_of(LAST, 1, Units.MONTHS) == LAST


def test_the_option_of_the_figure_is_one() -> None:
    assert OPTION.expires(at("2026-01-01T00:00:00")) == at("2003-08-01T12:06:34")
    OPTION.check_for_issuing()


def test_without_a_start_it_counts_from_when_it_is_applied() -> None:
    option = replace(OPTION, start=None, duration=1, units=Units.MONTHS)

    assert option.expires(at("2026-01-31T00:00:00")) == at("2026-02-28T00:00:00")


@pytest.mark.parametrize("mode", [Mode.DISABLE, Mode.WITHOUT_EXPIRATION])
def test_without_expiration_it_ends_never(mode: Mode) -> None:
    assert replace(OPTION, mode=mode).expires(at("2026-01-31T00:00:00")) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"serial": ""}, "VSerialNum: expected 1 to 64 characters, got 0"),
        ({"serial": "x" * 65}, "VSerialNum: expected 1 to 64 characters, got 65"),
        ({"ident": "x" * 65}, "OptionIdent: expected 1 to 64 characters, got 65"),
        ({"ident": ""}, "OptionIdent: expected 1 to 64 characters, got 0"),
        ({"description": "x" * 257}, "OptionDesc: expected 0 to 256 characters, got 257"),
        ({"description": "a\0b"}, "OptionDesc: XML 1.0 does not allow the character U+0000"),
        ({"description": "\ud800"}, "OptionDesc: XML 1.0 does not allow the character U+D800"),
        ({"description": "\ufffe"}, "OptionDesc: XML 1.0 does not allow the character U+FFFE"),
        ({"start": datetime(2002, 1, 1)}, "StartDate: must have a time zone"),  # noqa: DTZ001
        ({"duration": -1}, "Duration: must be from 0 to 4294967295, got -1"),
        ({"duration": 1 << 32}, "Duration: must be from 0 to 4294967295, got 4294967296"),
        ({"duration": None}, "Duration: required with EnableWithExpiration"),
        ({"units": None}, "DurationUnits: required with EnableWithExpiration"),
        ({"extra": (("Mode", "x"),)}, "'Mode' is a name of Table 62 and not allowed for a further element"),
        ({"extra": (("a b", "x"),)}, "'a b' is not a valid name for a further element"),
        ({"extra": (("{urn}x", "x"),)}, "'{urn}x' is not a valid name for a further element"),
        ({"extra": (("x", "\x01"),)}, "x: XML 1.0 does not allow the character U+0001"),
        ({"extra": (("x", "y"),) * 33}, "expected at most 32 further elements, got 33"),
    ],
)
def test_what_the_table_forbids_is_no_option(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        replace(OPTION, **changes)

    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"manufacturer": "x" * 65}, "Manufacturer: expected 0 to 64 characters, got 65"),
        ({"oui": "00d09e"}, "OUI: expected six upper-case hexadecimal digits, got '00d09e'"),
        ({"oui": "0D09E"}, "OUI: expected six upper-case hexadecimal digits, got '0D09E'"),
        ({"oui": "00D09E\n"}, "OUI: expected six upper-case hexadecimal digits, got '00D09E\\n'"),
        ({"oui": "\u06600D09E"}, "OUI: expected six upper-case hexadecimal digits, got '\u06600D09E'"),
        ({"product_class": "x" * 65}, "ProductClass: expected 0 to 64 characters, got 65"),
        ({"serial_number": ""}, "SerialNumber: expected 1 to 64 characters, got 0"),
        ({"serial_number": "x" * 65}, "SerialNumber: expected 1 to 64 characters, got 65"),
    ],
)
def test_what_the_table_forbids_is_no_device(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        replace(DEVICE, **changes)

    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mode": Mode.DISABLE}, "StartDate: has no meaning with Disable"),
        ({"mode": Mode.DISABLE, "start": None}, "Duration: has no meaning with Disable"),
        (
            {"mode": Mode.WITHOUT_EXPIRATION, "duration": None},
            "DurationUnits: has no meaning with EnableWithoutExpiration",
        ),
        ({"duration": 0}, "Duration: must be at least 1, got 0"),
        (
            {"mode": Mode.DISABLE, "start": None, "duration": None, "units": None, "transferable": True},
            "Transferable: has no meaning with Disable",
        ),
    ],
)
def test_what_means_nothing_is_read_and_not_issued(changes: dict[str, Any], problem: str) -> None:
    option = replace(OPTION, **changes)

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        option.check_for_issuing()

    assert str(caught.value) == problem


def test_a_voucher_is_for_one_device_whoever_made_it() -> None:
    again = replace(OPTION, device=replace(DEVICE, manufacturer="Two Wire"), serial="2")

    assert Voucher(options=(OPTION, again)).device == DEVICE
    for changes in ({"oui": "00D09F"}, {"product_class": "Modem"}, {"serial_number": "1"}):
        with pytest.raises(ValueError, match="all Options must be for the same device"):
            Voucher(options=(OPTION, replace(OPTION, device=replace(DEVICE, **changes))))


@pytest.mark.parametrize("count", [0, MAX_VOUCHER_OPTIONS + 1])
def test_a_voucher_has_from_1_to_64_options(count: int) -> None:
    with pytest.raises(ValueError, match=f"expected 1 to 64 Options, got {count}"):
        Voucher(options=(OPTION,) * count)
