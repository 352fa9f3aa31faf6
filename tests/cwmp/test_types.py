"""The types of Tables 6 and 60: one canonical form for each value, and 9006 apart from 9007 (A.2.1)."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.cwmp.types import (
    MAX_UNSTATED,
    CwmpType,
    WrongTypeError,
    WrongValueError,
    read_cwmp_time,
    read_type,
    write_boot_time,
    write_cwmp_time,
)
from spkg.errors import FormatError

CANONICAL: Final = [
    ("string", "  any\n text ", "  any\n text "),
    ("string(4)", "\u20ac\u20ac\u20ac\u20ac", "\u20ac\u20ac\u20ac\u20ac"),
    ("string(1K)", "x" * 1024, "x" * 1024),
    ("string{Up|Down}", "Down", "Down"),
    ("int", " -0007\n", "-7"),
    ("int", "+5", "5"),
    ("int", "-0", "0"),
    ("int", "-2147483648", "-2147483648"),
    ("int[0:2]", "2", "2"),
    ("unsignedInt", "4294967295", "4294967295"),
    ("unsignedInt[1:]", "1", "1"),
    ("unsignedInt[:9]", "09", "9"),
    ("boolean", "true", "1"),
    ("boolean", " false ", "0"),
    ("boolean", "1", "1"),
    ("boolean", "0", "0"),
    ("dateTime", "1970-01-01T07:23:52.981Z", "1970-01-01T07:23:52Z"),
    ("dateTime", "2026-01-01T03:00:00+02:00", "2026-01-01T01:00:00Z"),
    ("dateTime", "2026-01-01T03:00:00", "2026-01-01T03:00:00Z"),
    ("dateTime", "0000-00-00T00:00:00", "0001-01-01T00:00:00Z"),
    ("dateTime", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ("base64", " QU\nI= ", "QUI="),
    ("base64(4)", "QUJD", "QUJD"),
    ("base64", "", ""),
]


@pytest.mark.parametrize(("form", "text", "canonical"), CANONICAL)
def test_x14_x15_x16_a_value_has_one_form(form: str, text: str, canonical: str) -> None:
    assert read_type(form).read(text) == canonical
    assert read_type(form).read(canonical) == canonical


@pytest.mark.parametrize(
    ("form", "text", "problem"),
    [
        ("int", "", "expected an integer, got ''"),
        ("int", "1.0", "expected an integer, got '1.0'"),
        ("int", "0x10", "expected an integer, got '0x10'"),
        ("int", "1_0", "expected an integer, got '1_0'"),
        ("int", "\u0661", "expected an integer, got '\u0661'"),
        ("unsignedInt", "on", "expected an integer, got 'on'"),
        ("unsignedInt", "9" * 100, f"expected an integer, got '{'9' * 40}'"),
        ("boolean", "", "expected a boolean, 0 or 1, got ''"),
        ("boolean", "True", "expected a boolean, 0 or 1, got 'True'"),
        ("boolean", "2", "expected a boolean, 0 or 1, got '2'"),
        ("dateTime", "", "expected a dateTime such as 2002-10-25T12:06:34Z, got '' [TR-069 A.2.1]"),
        (
            "dateTime",
            "2026-13-01T00:00:00Z",
            "'2026-13-01T00:00:00Z' is not a valid date and time [TR-069 A.2.1]",
        ),
        ("base64", "QUI", "must be base64"),
        ("base64", "\u00e9", "must be base64"),
        ("base64", "Q-I=", "must be base64"),
    ],
)
def test_r4_a_text_that_is_none_of_its_type_is_9006(form: str, text: str, problem: str) -> None:
    with pytest.raises(WrongTypeError) as caught:
        read_type(form).read(text)

    assert (str(caught.value), caught.value.CODE) == (problem, 9006)


@pytest.mark.parametrize(
    ("form", "text", "problem"),
    [
        ("string(4)", "\u20ac" * 5, "expected at most 4 characters, got 5"),
        (
            "string",
            "x" * (MAX_UNSTATED + 1),
            f"expected at most {MAX_UNSTATED} characters, got {MAX_UNSTATED + 1}",
        ),
        ("string{Up|Down}", "up", "expected Up or Down, got 'up'"),
        ("int", "2147483648", "expected -2147483648 to 2147483647, got '2147483648'"),
        ("unsignedInt", "-1", "expected 0 to 4294967295, got '-1'"),
        ("unsignedInt", "4294967296", "expected 0 to 4294967295, got '4294967296'"),
        ("unsignedInt[1:]", "0", "expected 1 to 4294967295, got '0'"),
        ("int[0:2]", "3", "expected 0 to 2, got '3'"),
        ("int[:5]", "6", "expected -2147483648 to 5, got '6'"),
        ("base64(4)", "QUJDRA==", "expected at most 4 characters of base64, got 8"),
    ],
)
def test_r4_a_value_that_its_type_does_not_allow_is_9007(form: str, text: str, problem: str) -> None:
    with pytest.raises(WrongValueError) as caught:
        read_type(form).read(text)

    assert (str(caught.value), caught.value.CODE) == (problem, 9007)


@pytest.mark.parametrize(
    ("form", "xsd"),
    [
        ("string(64)", "xsd:string"),
        ("string{A|B}", "xsd:string"),
        ("int[0:1]", "xsd:int"),
        ("unsignedInt", "xsd:unsignedInt"),
        ("boolean", "xsd:boolean"),
        ("dateTime", "xsd:dateTime"),
        ("base64", "soapenc:base64"),
    ],
)
def test_x4_a_type_has_a_name_in_xml(form: str, xsd: str) -> None:
    assert read_type(form).xsd == xsd


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("", "expected a type such as string(64), int[0:2] or boolean, got '' [TR-069 A.2.1, Table 6]"),
        (
            "String",
            "expected a type such as string(64), int[0:2] or boolean, got 'String' [TR-069 A.2.1, Table 6]",
        ),
        (
            "strin",
            "expected a type such as string(64), int[0:2] or boolean, got 'strin' [TR-069 A.2.1, Table 6]",
        ),
        ("int(4)", "int has no (4) [TR-069 A.2.1, Table 6]"),
        ("string[1:2]", "string has no [1:2] [TR-069 A.2.1, Table 6]"),
        ("boolean{0|1}", "boolean has no {0|1} [TR-069 A.2.1, Table 6]"),
        ("string{}", "string{}: each alternative must have characters, and occur once"),
        ("string{A|A}", "string{A|A}: each alternative must have characters, and occur once"),
        ("int[2:1]", "int[2:1]: expected a range within -2147483648 to 2147483647 [TR-069 A.2.1]"),
        ("unsignedInt[-1:]", "unsignedInt[-1:]: expected a range within 0 to 4294967295 [TR-069 A.2.1]"),
        (
            "int[:2147483648]",
            "int[:2147483648]: expected a range within -2147483648 to 2147483647 [TR-069 A.2.1]",
        ),
    ],
)
def test_what_is_no_type_is_refused(form: str, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_type(form)

    assert str(caught.value) == problem


TYPES: Final = st.one_of(
    st.builds(CwmpType, st.sampled_from(["string", "base64"]), most=st.none() | st.integers(0, 9999)),
    st.builds(CwmpType, st.just("int"), st.none() | st.integers(-99, 0), st.none() | st.integers(0, 99)),
    st.builds(
        CwmpType, st.just("unsignedInt"), st.none() | st.integers(0, 9), st.none() | st.integers(9, 99)
    ),
    st.builds(CwmpType, st.sampled_from(["boolean", "dateTime"])),
    st.builds(
        CwmpType,
        st.just("string"),
        choices=st.lists(st.text("abc -", min_size=1), min_size=1, unique=True).map(tuple),
    ),
)


@given(TYPES)
def test_a_type_is_read_as_it_is_written(kind: CwmpType) -> None:
    assert read_type(str(kind)) == kind


@given(TYPES, st.text() | st.integers().map(str) | st.binary().map(bytes.hex))
def test_a_canonical_form_is_its_own(kind: CwmpType, text: str) -> None:
    try:
        canonical = kind.read(text)
    except (WrongTypeError, WrongValueError):
        return

    assert kind.read(canonical) == canonical


# Times.


@pytest.mark.parametrize(
    "text",
    [
        "0000-00-00T00:00:00",
        "0000-00-00T00:00:00Z",
        "0000-00-02T03:04:05",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00",
        "0001-01-03T03:04:05",
        " 0001-01-01T00:00:00.000Z\n",
        "0001-01-01T00:00:00+00:00",
    ],
)
def test_x16_both_forms_of_no_time_are_read(text: str) -> None:
    assert read_cwmp_time(text) is None


@pytest.mark.parametrize("text", ["0002-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z"])
def test_x16_any_other_time_is_one(text: str) -> None:
    time = read_cwmp_time(text)

    assert time is not None
    assert write_cwmp_time(time) == text


def test_x16_a_time_is_written_in_utc() -> None:
    assert write_cwmp_time(None) == "0001-01-01T00:00:00Z"
    assert write_cwmp_time(datetime.fromisoformat("2026-11-29T12:00:00+01:00")) == "2026-11-29T11:00:00Z"
    with pytest.raises(ValueError, match="the time has no zone"):
        write_cwmp_time(datetime(2026, 1, 1))  # noqa: DTZ001 - that is wrong with it


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0001-01-01T00:00:00"),
        (183845.9, "0001-01-03T03:04:05"),
        (31 * 86400, "0001-02-01T00:00:00"),
        (400 * 86400, "0002-02-05T00:00:00"),
    ],
)
def test_x16_without_a_clock_there_is_the_time_since_boot(seconds: float, text: str) -> None:
    assert write_boot_time(seconds) == text


@given(st.datetimes(datetime(2, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - theirs
def test_a_time_is_read_as_it_is_written(time: datetime) -> None:
    assert read_cwmp_time(write_cwmp_time(time)) == time - timedelta(microseconds=time.microsecond)
