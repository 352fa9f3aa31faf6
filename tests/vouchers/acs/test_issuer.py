"""What a voucher is made of: Options in TOML, lists of devices in CSV and JSON, and issuing to one device."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from spkg.common.digests import Digest
from spkg.common.printable import is_hidden
from spkg.common.toml_document import parse_table
from spkg.errors import FormatError, HostError, RefusedError
from tests.support.kit import AT
from tests.support.messages import without_lines
from tests.support.voucher_kit import DEVICE, signatory, verified
from vouchers.acs.device_list import read_devices
from vouchers.acs.issuer import Issued, VoucherIssuer, sign_voucher
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_wants import Want
from vouchers.acs.listed_device import MAX_LIST_LINE, ListedDevice
from vouchers.acs.templates import Template, load_options, read_options
from vouchers.model import MAX_VOUCHER_OPTIONS, DeviceId, Mode, Option, Voucher
from vouchers.months import Units
from vouchers.signature.shape import MAX_VOUCHER
from vouchers.signature.sign import VoucherSigner

# Options.

HEAD: Final = '[[option]]\nident = "IPTV"\nmode = "EnableWithoutExpiration"\n'
EXPIRING: Final = HEAD.replace("Without", "With") + 'duration = 12\nduration-units = "Months"\n'
PLAIN: Final = Template(ident="IPTV", mode=Mode.WITHOUT_EXPIRATION)


def read(text: str) -> tuple[Template, ...]:
    return read_options(parse_table(text.encode(), "options.toml"))


def refusal(text: str) -> str:
    """Return why a file of Options is none."""
    with pytest.raises(FormatError) as caught:
        read(text)
    return without_lines(str(caught.value))


def test_options_need_a_name_and_a_mode_alone(tmp_path: Path) -> None:
    (file := tmp_path / "options.toml").write_text(HEAD)

    assert load_options(file) == (PLAIN,)
    assert (
        Template(
            ident="IPTV",
            description="",
            mode=Mode.WITHOUT_EXPIRATION,
            start=None,
            duration=None,
            units=None,
            transferable=False,
            extra=(),
        )
        == PLAIN
    )


def test_options_have_all_that_table_62_has() -> None:
    text = """
        [[option]]
        ident = "IPTV"
        description = "Television over DSL"
        mode = "EnableWithExpiration"
        start-date = 2026-05-01T00:00:00Z
        duration = 12
        duration-units = "Months"
        transferable = true

        [option.extra]
        Rate = 8
        Name = "x"
        Fast = true
        Slow = false
        Within = { One = "1", Two = { Three = -3 } }

        [[option]]
        ident = "Fax"
        mode = "Disable"
    """

    assert read(text) == (
        Template(
            ident="IPTV",
            description="Television over DSL",
            mode=Mode.WITH_EXPIRATION,
            start=datetime(2026, 5, 1, tzinfo=UTC),
            duration=12,
            units=Units.MONTHS,
            transferable=True,
            extra=(
                ("Rate", "8"),
                ("Name", "x"),
                ("Fast", "1"),
                ("Slow", "0"),
                ("Within", (("One", "1"), ("Two", (("Three", "-3"),)))),
            ),
        ),
        Template(ident="Fax", mode=Mode.DISABLE),
    )


def test_an_option_is_made_for_a_device_under_a_number() -> None:
    (template,) = read(EXPIRING + 'description = "d"\ntransferable = true\nextra = { A = "b" }\n')

    assert template.option(7, DEVICE) == Option(
        serial="7",
        device=DEVICE,
        ident="IPTV",
        description="d",
        mode=Mode.WITH_EXPIRATION,
        start=None,
        duration=12,
        units=Units.MONTHS,
        transferable=True,
        extra=(("A", "b"),),
    )


MAY: Final = datetime(2026, 5, 1, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2026-05-01T10:00:00Z",
        "2026-05-01T10:00:00.999Z",
        "2026-05-01T12:00:00+02:00",
        "2026-05-01T04:30:00-05:30",
        "2026-05-01T10:00:00",
        "2026-05-01 10:00:00",
        '"2026-05-01T10:00:00Z"',
        '"2026-05-01T12:00:00+02:00"',
        '"20260501T10:00:00"',
    ],
)
def test_a_start_is_a_time_of_toml_or_of_a_voucher(written: str) -> None:
    (template,) = read(f"{EXPIRING}start-date = {written}\n")

    assert template.start == MAY
    assert template.start.tzinfo is UTC


A_TIME: Final = "must be a time such as 2026-12-01T00:00:00Z"
EXTRA: Final = "must be a string, a 64-bit number, true, false or a table, at most 4 deep"
MODES: Final = "Disable, EnableWithExpiration, EnableWithoutExpiration"
FIELD: Final = "options.toml: option[0]"
TABLE: Final = "[TR-069 C.3, Table 62]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "options.toml: option: expected 1 to 64 [[option]] tables, got 0"),
        ("option = []", "options.toml: option: expected 1 to 64 [[option]] tables, got 0"),
        ("option = 1", "options.toml: option: must be an array"),
        ("[option]\n", "options.toml: option: must be an array, written as [[option]]"),
        ("option = [1]", "options.toml: option: must be an array of tables, written as [[option]]"),
        ("[[options]]\n", "options.toml: options: unknown key; did you mean 'option'?"),
        (f"{HEAD}[more]\n", "options.toml: more: unknown key"),
        ("[[option]]\n", f"{FIELD}: ident and mode are required"),
        ('[[option]]\nident = "a"\n', f"{FIELD}.mode: ident and mode are required"),
        ('[[option]]\nmode = "Disable"\n', f"{FIELD}.mode: ident and mode are required"),
        (f"{HEAD}{HEAD}", "options.toml: option[1].ident: 'IPTV' occurs twice"),
        (f"{HEAD}Mode = 1\n", f"{FIELD}.Mode: unknown key; did you mean 'mode'?"),
        (f"{HEAD}start = 1\n", f"{FIELD}.start: unknown key; did you mean 'start-date'?"),
        (f"{HEAD}description = 1\n", f"{FIELD}.description: must be a string in quotes"),
        (f"{HEAD}transferable = 1\n", f"{FIELD}.transferable: must be true or false"),
        (f'{HEAD}duration = "1"\n', f"{FIELD}.duration: must be a number from 0 to 4294967295"),
        (f"{HEAD}duration = true\n", f"{FIELD}.duration: must be a number from 0 to 4294967295"),
        (f"{HEAD}duration = -1\n", f"{FIELD}.duration: must be from 0 to 4294967295, got -1"),
        (f"{HEAD}duration = 4294967296\n", f"{FIELD}.duration: must be from 0 to 4294967295, got 4294967296"),
        (f'{HEAD}duration-units = "days"\n', f"{FIELD}.duration-units: expected Days or Months, got 'days'"),
        (f'{HEAD}duration-units = ""\n', f"{FIELD}.duration-units: expected Days or Months, got ''"),
        (
            '[[option]]\nident = "a"\nmode = "Enable"\n',
            f"{FIELD}.mode: expected one of {MODES}, got 'Enable'",
        ),
        (f"{HEAD}start-date = 2026-05-01\n", f"{FIELD}.start-date: {A_TIME}"),
        (f"{HEAD}start-date = 10:00:00\n", f"{FIELD}.start-date: {A_TIME}"),
        (f"{HEAD}start-date = 1\n", f"{FIELD}.start-date: {A_TIME}"),
        (f"{HEAD}start-date = false\n", f"{FIELD}.start-date: {A_TIME}"),
        (
            f'{HEAD}start-date = "soon"\n',
            f"{FIELD}.start-date: expected a dateTime such as 2002-10-25T12:06:34Z, got 'soon'",
        ),
        (
            f'{HEAD}start-date = "2026-02-30T00:00:00Z"\n',
            f"{FIELD}.start-date: '2026-02-30T00:00:00Z' is not a valid date and time",
        ),
        *(
            (f"{HEAD}start-date = {time}\n", f"{FIELD}.start-date: must be in the years 1 to 9999, in UTC")
            for time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
        ),
        (f'{HEAD}extra = "a"\n', f"{FIELD}.extra: must be a table: write [option.extra]"),
        (f"{HEAD}extra = [1]\n", f"{FIELD}.extra: must be a table: write [option.extra]"),
        *(
            (
                f"{HEAD}[option.extra]\n{name} = {value}\n",
                f"{FIELD}.extra.{told}: {EXTRA}",
            )
            for name, value, told in (
                ("A", "1.5", "A"),
                ("A", "[]", "A"),
                ("A", "2026-05-01", "A"),
                ("A", "{ B = 1.5 }", "B"),
                ("A", "9223372036854775808", "A"),
                ("A", f"0x{'F' * 5000}", "A"),
                (".".join("A" * 3000), "1", "A"),
            )
        ),
        (
            f"{HEAD}[option.extra]\nMode = 1\n",
            f"{FIELD}: 'Mode' is a name of Table 62 and not allowed for a further element {TABLE}",
        ),
        (
            f'{HEAD}[option.extra]\n"a b" = 1\n',
            f"{FIELD}: 'a b' is not a valid name for a further element {TABLE}",
        ),
        (
            f"{HEAD}[option.extra]\nA.B.C.D.E = 1\n",
            f"{FIELD}.extra.D: {EXTRA}",
        ),
        (
            f"{HEAD}extra = {{ {', '.join(f'A{number} = 1' for number in range(33))} }}\n",
            f"{FIELD}: expected at most 32 further elements, got 33 {TABLE}",
        ),
        (
            f'{HEAD}[option.extra]\nA = "{"x" * 1025}"\n',
            f"{FIELD}: A: expected 0 to 1024 characters, got 1025 {TABLE}",
        ),
        (
            '[[option]]\nident = ""\nmode = "Disable"\n',
            f"{FIELD}: OptionIdent: expected 1 to 64 characters, got 0 {TABLE}",
        ),
        (
            f'[[option]]\nident = "{"x" * 65}"\nmode = "Disable"\n',
            f"{FIELD}: OptionIdent: expected 1 to 64 characters, got 65 {TABLE}",
        ),
        (
            f'{HEAD}description = "{"x" * 257}"\n',
            f"{FIELD}: OptionDesc: expected 0 to 256 characters, got 257 {TABLE}",
        ),
        (
            f'{HEAD}description = "\\u0000"\n',
            f"{FIELD}: OptionDesc: XML 1.0 does not allow the character U+0000 {TABLE}",
        ),
        (
            '[[option]]\nident = "a"\nmode = "EnableWithExpiration"\n',
            f"{FIELD}: Duration: required with EnableWithExpiration {TABLE}",
        ),
        (
            '[[option]]\nident = "a"\nmode = "EnableWithExpiration"\nduration = 1\n',
            f"{FIELD}: DurationUnits: required with EnableWithExpiration {TABLE}",
        ),
        (
            EXPIRING.replace("12", "0"),
            f"{FIELD}: Duration: must be at least 1, got 0 {TABLE}",
        ),
        (
            f"{HEAD}duration = 1\n",
            f"{FIELD}: Duration: has no meaning with EnableWithoutExpiration {TABLE}",
        ),
        (
            f'{HEAD}duration-units = "Days"\n',
            f"{FIELD}: DurationUnits: has no meaning with EnableWithoutExpiration {TABLE}",
        ),
        (
            '[[option]]\nident = "a"\nmode = "Disable"\nstart-date = 2026-05-01T00:00:00Z\n',
            f"{FIELD}: StartDate: has no meaning with Disable {TABLE}",
        ),
        (
            '[[option]]\nident = "a"\nmode = "Disable"\nduration = 1\n',
            f"{FIELD}: Duration: has no meaning with Disable {TABLE}",
        ),
        (
            '[[option]]\nident = "a"\nmode = "Disable"\ntransferable = true\n',
            f"{FIELD}: Transferable: has no meaning with Disable {TABLE}",
        ),
    ],
)
def test_what_is_wrong_with_options_is_told_with_its_place(text: str, message: str) -> None:
    assert refusal(text) == message


def test_as_many_options_as_a_voucher_may_have_are_taken() -> None:
    tables = [HEAD.replace("IPTV", f"O{number}") for number in range(MAX_VOUCHER_OPTIONS + 1)]

    assert [one.ident for one in read("".join(tables[:-1]))] == [
        f"O{number}" for number in range(MAX_VOUCHER_OPTIONS)
    ]
    assert refusal("".join(tables)) == "options.toml: option: expected 1 to 64 [[option]] tables, got 65"


def test_a_template_is_checked_however_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"^Transferable: has no meaning with Disable$"):
        Template(ident="a", mode=Mode.DISABLE, transferable=True)
    with pytest.raises(ValueError, match=r"^StartDate: must have a time zone$"):
        Template(ident="a", mode=Mode.WITHOUT_EXPIRATION, start=datetime(2026, 5, 1))  # noqa: DTZ001


# Lists of devices.

HEADER: Final = "oui,product_class,serial_number\n"


def listed(tmp_path: Path, contents: str | bytes) -> list[ListedDevice]:
    octets = contents if isinstance(contents, bytes) else contents.encode()
    (tmp_path / "list").write_bytes(octets)
    found = [*read_devices(tmp_path / "list")]
    progress = [one.octets for one in found]
    assert progress == sorted(progress)
    assert not progress or progress[-1] <= len(octets)
    return [replace(one, octets=0) for one in found]


def named(
    line: int, number: str = "1", product_class: str = "G", oui: str = "00D09E", by: str = ""
) -> ListedDevice:
    """Return what is told of a line that names a device."""
    device = DeviceId(manufacturer=by, oui=oui, product_class=product_class, serial_number=number)
    return ListedDevice(line=line, device=device)


def rejected(line: int, problem: str) -> ListedDevice:
    return ListedDevice(line=line, device=None, problem=problem)


def no_list(tmp_path: Path, contents: str | bytes) -> str:
    """Return why something is no list, nor the part before what is wrong."""
    with pytest.raises(FormatError) as caught:
        listed(tmp_path, contents)
    return str(caught.value)


@pytest.mark.parametrize(
    "contents",
    [
        "oui,product_class,serial_number\n00D09E,G,1\n",
        "oui,product_class,serial_number\n00D09E,G,1",
        "oui,product_class,serial_number\r\n00D09E,G,1\r\n",
        "\ufeffoui,product_class,serial_number\n00D09E,G,1\n",
        "serial_number,oui,product_class\n1,00D09E,G\n",
        '"oui","product_class","serial_number"\n"00D09E","G","1"\n',
        "OUI,Product_Class,Serial_Number\n00D09E,G,1\n",
        "oui,what else,product_class,,serial_number,serial\n00D09E,a,G,b,1,c\n",
        "DeviceID.OUI,DeviceID.ProductClass,DeviceID.SerialNumber\n00D09E,G,1\n",
        '"Serial number","Product class","OUI","Last inform"\n"1","G","00D09E","never"\n',
        "ID,Tags\n00D09E-G-1,x\n",
        '"_id"\n"00D09E-G-1"\n',
        "DeviceID.ID\n00D09E-G-1\n",
        "id,oui,product_class,serial_number\nFFFFFF-X-9,00D09E,G,1\n",
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, contents: str) -> None:
    assert listed(tmp_path, contents) == [named(2)]


def test_a_manufacturer_is_for_display_and_may_be_there(tmp_path: Path) -> None:
    contents = "Manufacturer,OUI,ProductClass,SerialNumber\n2Wire,00D09E,G,1\n,00D09E,G,2\n"

    assert listed(tmp_path, contents) == [named(2, by="2Wire"), named(3, "2")]


def test_a_product_class_may_be_empty_and_must_be_there(tmp_path: Path) -> None:
    assert listed(tmp_path, f"{HEADER}00D09E,,1\n") == [named(2, product_class="")]
    assert no_list(tmp_path, "oui,serial_number\n00D09E,1\n") == NO_LIST
    assert listed(tmp_path, '{"oui": "00D09E", "serial_number": "1"}') == [
        rejected(1, "missing product_class")
    ]


@pytest.mark.parametrize("written", ["00d09e", "00:D0:9E", "00-d0-9e", "00D09e"])
def test_an_oui_is_taken_as_people_write_it(tmp_path: Path, written: str) -> None:
    assert listed(tmp_path, f"{HEADER}{written},G,1\n") == [named(2)]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_cells_may_be_separated_by_something_else(tmp_path: Path, separator: str) -> None:
    header = HEADER.replace(",", separator)

    assert listed(tmp_path, f'{header}00D09E{separator}"a;b,c"{separator}1\n') == [
        named(2, product_class="a;b,c")
    ]


def test_a_column_that_is_there_twice_is_told(tmp_path: Path) -> None:
    assert (
        no_list(tmp_path, "oui,OUI,product_class,serial_number\n") == "list: the column oui must occur once"
    )
    assert no_list(tmp_path, "id,_id\n") == "list: the column id must occur once"


def test_json_that_is_spread_over_lines_is_told(tmp_path: Path) -> None:
    for contents in ('{\n"oui": "00D09E"\n}\n', '[\n  {\n    "oui": "00D09E"\n  }\n]\n', "[{\n"):
        with pytest.raises(FormatError) as caught:
            listed(tmp_path, contents)
        line = 1 + contents.startswith("[\n")
        assert str(caught.value) == f"list: line {line}: an object must be on one line"
        assert caught.value.hint == "jq -c '.[]' writes a list with one object per line"


def test_utf_16_is_told(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-be"):
        contents = f"\ufeff{HEADER}" if encoding == "utf-16-be" else HEADER
        assert (
            no_list(tmp_path, contents.encode(encoding)) == "list: offset 0x0000: expected UTF-8, got UTF-16"
        )


@pytest.mark.parametrize(
    ("written", "product_class", "number"),
    [
        ("00D09E-G-1", "G", "1"),
        ("00D09E-1", "", "1"),
        ("00D09E-G%2D1-1%2D2", "G-1", "1-2"),
        ("00D09E-%C3%A4%20b-%25", "ä b", "%"),
        ("00D09E--1", "", "1"),
    ],
)
def test_an_identifier_of_genieacs_is_taken_apart(
    tmp_path: Path, written: str, product_class: str, number: str
) -> None:
    expected = named(1, number, product_class)

    assert listed(tmp_path, f"_id\n{written}\n") == [replace(expected, line=2)]
    assert listed(tmp_path, json.dumps({"_id": written})) == [expected]


MISSING: Final = "missing oui and product_class and serial_number"


def test_an_identifier_is_never_repaired(tmp_path: Path) -> None:
    (told,) = listed(tmp_path, "_id\n00D09E-G-%FF\n")

    assert told == rejected(2, told.problem or "")
    assert told.problem == "id: expected UTF-8 behind %, got '00D09E-G-%FF'"


@pytest.mark.parametrize("written", ["", "x", "00D09E", "00D09E-a-b-c"])
def test_an_identifier_that_is_none_is_rejected(tmp_path: Path, written: str) -> None:
    problem = f"id: expected OUI-CLASS-SERIAL or OUI-SERIAL, got {written!r}"
    assert listed(tmp_path, f"id,tag\n{written},t\n") == [rejected(2, problem)]


def test_cells_may_have_anything_that_a_device_is_called(tmp_path: Path) -> None:
    contents = f'{HEADER}00D09E,"a,""b"" c",1\n\n,,\n00D09E,a"b,2\n'

    assert listed(tmp_path, contents) == [named(2, "1", 'a,"b" c'), named(5, "2", 'a"b')]


CELLS: Final = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=64,
).filter(lambda text: text == text.strip() and not any(map(is_hidden, text)))


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_what_a_device_is_called_comes_through_every_form(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str]]
) -> None:
    directory = tmp_path_factory.mktemp("list")
    rows = [("00D09E", *pair) for pair in names]
    table = StringIO(newline="")
    header = ("oui", "product_class", "serial_number")
    csv.writer(table).writerows([header, *rows])
    identifiers = ["-".join(quote(one, safe="").replace("-", "%2D") for one in row) for row in rows]

    forms = [
        table.getvalue(),
        "\n".join(
            json.dumps(dict(zip(("oui", "product_class", "serial_number"), row, strict=True))) for row in rows
        ),
        "\n".join(["_id", *identifiers]),
    ]

    for contents in forms:
        devices = [one.device for one in listed(directory, contents)]
        assert devices == [named(1, number, product_class).device for product_class, number in names]


BAD_LINES: Final = (
    ("00D0:9E,G,1", "OUI: expected six upper-case hexadecimal digits, got '00D0:9E'"),
    ("00:D0-9E,G,1", "OUI: expected six upper-case hexadecimal digits, got '00:D0-9E'"),
    ("00D09,G,1", "OUI: expected six upper-case hexadecimal digits, got '00D09'"),
    (" 00D09E,G,1", "oui: must not begin or end with white space"),
    ("00D09E,G ,1", "product_class: must not begin or end with white space"),
    ("00D09E,G,\u00a01", "serial_number: must not begin or end with white space"),
    ("00D09E,G,", "SerialNumber: expected 1 to 64 characters, got 0"),
    (f"00D09E,G,{'x' * 65}", "SerialNumber: expected 1 to 64 characters, got 65"),
    (f"00D09E,{'x' * 65},1", "ProductClass: expected 0 to 64 characters, got 65"),
    ("00D09E,G", "expected 3 cells as in the first line, got 2"),
    ("00D09E,G,1,", "expected 3 cells as in the first line, got 4"),
    ("00D09E,G,\x001", "serial_number: must not have the invisible character U+0000"),
    ("00D09E,\x1bG,1", "product_class: must not have the invisible character U+001B"),
)


@pytest.mark.parametrize(("line", "problem"), BAD_LINES)
def test_a_line_that_names_no_device_is_told_and_the_others_count(
    tmp_path: Path, line: str, problem: str
) -> None:
    contents = f"{HEADER}00D09E,G,1\n{line}\n00D09E,G,2\n"

    assert listed(tmp_path, contents) == [named(2), rejected(3, problem), named(4, "2")]


def test_a_line_that_is_not_utf_8_is_told_and_the_others_count(tmp_path: Path) -> None:
    contents = HEADER.encode() + b"00D09E,G,\xff\n00D09E,\xc3\xa4,2\n"
    objects = b'{"id": "00D09E-\xff"}\n{"id": "00D09E-2"}\n'

    problem = "serial_number: expected UTF-8, got the byte 0xff"
    assert listed(tmp_path, contents) == [rejected(2, problem), named(3, "2", "ä")]
    problem = "not a JSON object on one line: expected UTF-8"
    assert listed(tmp_path, objects) == [rejected(1, problem), named(2, "2", "")]


NO_LIST: Final = (
    "list: not a list of devices: the first line must name oui, product_class and serial_number, or id"
)


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"\n\n",
        b"00D09E,G,1\n",
        b"oui,product_class\n",
        b"serial_number\n",
        b"oui|product_class|serial_number\n",
        b"oui,serial_number\n",
    ],
)
def test_what_has_no_header_is_no_list(tmp_path: Path, contents: bytes) -> None:
    assert no_list(tmp_path, contents) == NO_LIST


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('00D09E,"G"1,1\n', "list: line 3: a cell in quotes must end with its quote"),
        ('00D09E,"G,1\n00D09E,G,2\n', "list: line 3: a cell in quotes does not end"),
        ("00D09E,G\r,1\n", "list: line 3: expected lines that end in LF or CR LF, got CR alone"),
    ],
    ids=["text behind a quote", "open quote", "carriage return"],
)
def test_what_is_no_csv_ends_a_list_once_those_before_it_were_given(
    tmp_path: Path, lines: str, problem: str
) -> None:
    (tmp_path / "list").write_text(f"{HEADER}00D09E,G,1\n{lines}", newline="")
    devices = read_devices(tmp_path / "list")

    assert next(devices).device == named(2).device
    with pytest.raises(FormatError) as caught:
        next(devices)
    assert str(caught.value).partition(" - ")[0] == problem


def test_a_header_that_is_no_csv_is_no_list(tmp_path: Path) -> None:
    assert (
        no_list(tmp_path, '"oui,product_class,serial_number') == "list: line 1: a cell in quotes does not end"
    )


def test_a_line_beyond_all_measure_ends_the_list(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{HEADER}00D09E,G,1\n{'x' * MAX_LIST_LINE}\n")
    devices = read_devices(tmp_path / "list")

    assert next(devices).device == named(2).device
    with pytest.raises(FormatError) as caught:
        next(devices)
    assert (
        str(caught.value) == f"list: offset 0x002b: line 3 must have at most {MAX_LIST_LINE} bytes, got more"
    )


def test_a_list_that_is_not_there_is_told_when_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(read_devices(tmp_path / "list"))
    with pytest.raises(IsADirectoryError):
        next(read_devices(tmp_path))


OBJECT: Final = '{"oui": "00D09E", "product_class": "G", "serial_number": "1"}'


@pytest.mark.parametrize(
    "contents",
    [
        OBJECT,
        f"{OBJECT}\n",
        f"  {OBJECT}  \r\n",
        f"\ufeff{OBJECT}\n",
        f"[{OBJECT}]\n",
        '{"manufacturer": "", "oui": "00D09E", "productClass": "G", "serialNumber": "1", "x": [{"a": 2}]}',
        '{"_id": "00D09E-G-1"}',
        '{"_id": "FFFFFF-X-9", "_deviceId": {"_OUI": "00D09E", "_ProductClass": "G", "_SerialNumber": "1"}}',
        '{"DeviceID.OUI": "00D09E", "DeviceID.ProductClass": "G", "DeviceID.SerialNumber": "1"}',
        '{"oui": "x", "_deviceId": {"_OUI": "00D09E", "_ProductClass": "G", "_SerialNumber": "1"}}',
        '{"_deviceId": null, "_id": "00D09E-G-1"}',
        '{"_deviceId": "x", "_id": "00D09E-G-1"}',
        '{"id": 5, "manufacturer": null, "oui": "00D09E", "product_class": "G", "serial_number": "1"}',
    ],
)
def test_keys_are_found_by_their_names(tmp_path: Path, contents: str) -> None:
    assert listed(tmp_path, contents) == [named(1)]


def test_what_genieacs_answers_is_read_line_by_line(tmp_path: Path) -> None:
    # As its NBI writes an array: an object a line, a comma behind it.
    def device(number: str) -> str:
        facts = {"_Manufacturer": "2Wire", "_OUI": "00D09E", "_ProductClass": "G", "_SerialNumber": number}
        return json.dumps({"_id": f"00D09E-G-{number}", "_deviceId": facts, "_lastInform": "2026"})

    contents = f"[\n{device('1')},\n{device('2')}\n,\n\n{device('3')}\n]\n"

    assert listed(tmp_path, contents) == [
        named(line, number, by="2Wire") for line, number in ((2, "1"), (3, "2"), (6, "3"))
    ]


def test_empty_lines_in_front_are_skipped(tmp_path: Path) -> None:
    assert listed(tmp_path, f"\n \n{OBJECT}\n") == [named(3)]
    assert listed(tmp_path, f"\n\n{HEADER}00D09E,G,1\n") == [named(4)]


def test_an_array_on_one_line_is_read(tmp_path: Path) -> None:
    second = OBJECT.replace('"1"', '"2"')

    assert listed(tmp_path, f"[{OBJECT}, {second}]") == [named(1), named(1, "2")]
    assert listed(tmp_path, "[]") == []
    assert listed(tmp_path, "[\n]\n") == []


JSON_PROBLEM: Final = "not a JSON object on one line: "
NO_OBJECT: Final = "expected a JSON object"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"', f"{JSON_PROBLEM}unterminated string, column 2"),
        ("x", f"{JSON_PROBLEM}expecting value, column 1"),
        (f"{OBJECT} x", f"{JSON_PROBLEM}expecting ',' delimiter, column 63"),
        ("1", NO_OBJECT),
        ("null", NO_OBJECT),
        ('"oui"', NO_OBJECT),
        ("{}", MISSING),
        ('{"oui": "00D09E"}', "missing product_class and serial_number"),
        ('{"serial_number": "1"}', "missing oui and product_class"),
        ('{"oui": "00D09E", "serial_number": 1}', "serial_number: must be a string"),
        ('{"oui": ["00D09E"], "serial_number": "1"}', "oui: must be a string"),
        (
            '{"_deviceId": {"_OUI": "00D09E", "_ProductClass": "G", "_SerialNumber": null}}',
            "serial_number: must be a string",
        ),
        ('{"id": "00D09E-\\ud800"}', "id: must not have the invisible character U+D800"),
        ('{"id": "00D09E-\\u0000"}', "id: must not have the invisible character U+0000"),
    ],
)
def test_a_line_that_is_no_object_of_a_device_is_told_and_the_others_count(
    tmp_path: Path, line: str, problem: str
) -> None:
    contents = f"{OBJECT}\n{line}\n{OBJECT}\n"

    assert listed(tmp_path, contents) == [named(1), rejected(2, problem), named(3)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[" * 100_000, "the JSON is nested too deeply"),
        ('{"a":' * 100_000, "the JSON is nested too deeply"),
        (f'{{"a": {"9" * 5000}}}', "a number in it has too many digits"),
    ],
    ids=["arrays", "objects", "digits"],
)
def test_what_is_beyond_all_measure_is_no_more_than_a_line_that_is_rejected(
    tmp_path: Path, line: str, problem: str
) -> None:
    first, second = listed(tmp_path, f"{line}\n{OBJECT}\n")

    assert first == rejected(1, first.problem or "")
    assert first.problem is not None
    assert first.problem.startswith(f"{JSON_PROBLEM}{problem}")
    assert second == named(2)


def test_a_line_of_json_may_be_long_and_no_longer(tmp_path: Path) -> None:
    long = f'{{"a": "{"x" * (MAX_LIST_LINE - len(OBJECT) - 10)}", {OBJECT[1:]}'

    assert len(long) == MAX_LIST_LINE - 1
    assert listed(tmp_path, f"{long}\n") == [named(1)]
    message = (
        f"list: offset 0x{len(OBJECT) + 1:04x}: line 2 must have at most {MAX_LIST_LINE} bytes, got more"
    )
    assert no_list(tmp_path, f"{OBJECT}\n {long}\n") == message


def test_a_list_is_read_as_it_is_wanted(tmp_path: Path) -> None:
    rows = [f"00D09E,G,{number:06}\n" for number in range(10_000)]
    (tmp_path / "list").write_text(HEADER + "".join(rows))

    some = [*islice(read_devices(tmp_path / "list"), 3)]

    assert [one.octets for one in some] == [len(HEADER) + len(rows[0]) * count for count in (1, 2, 3)]


# Issuing to one device.

QOS: Final = Template(ident="QoS", mode=Mode.WITHOUT_EXPIRATION, transferable=True)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path / "ledger.db"), lambda: AT) as one:
        yield one


def issuer(ledger: Ledger, digest: Digest = Digest.SHA256) -> VoucherIssuer:
    return VoucherIssuer(ledger, VoucherSigner(signatory(), digest))


def states(ledger: Ledger) -> list[tuple[int, SerialState]]:
    return [(entry.serial, entry.state) for entry in ledger.entries()]


def test_a_voucher_is_issued_to_a_device(ledger: Ledger) -> None:
    issued = issuer(ledger).issue(DEVICE, [PLAIN, QOS])

    assert issued == Issued(device=DEVICE, serials=(1, 2), octets=issued.octets)
    options = (PLAIN.option(1, DEVICE), QOS.option(2, DEVICE))
    assert verified(issued.octets).voucher == Voucher(options=options)
    assert states(ledger) == [(1, SerialState.ISSUED), (2, SerialState.ISSUED)]


def test_a_voucher_counts_as_issued_once_it_is_confirmed(ledger: Ledger) -> None:
    one = issuer(ledger)

    issued = one.prepare(DEVICE, [PLAIN])
    before = states(ledger)
    one.confirm(issued)

    assert before == [(1, SerialState.RESERVED)]
    assert states(ledger) == [(1, SerialState.ISSUED)]


def test_another_issuer_of_a_batch_gives_the_same_voucher(ledger: Ledger) -> None:
    prepared = issuer(ledger).prepare(DEVICE, [PLAIN, QOS], batch="may")

    again = issuer(ledger).issue(DEVICE, [PLAIN, QOS], batch="may")

    assert again == prepared
    assert states(ledger) == [(1, SerialState.ISSUED), (2, SerialState.ISSUED)]


def test_an_issuer_gives_the_same_voucher_of_a_batch_again(ledger: Ledger) -> None:
    one = issuer(ledger)

    assert one.issue(DEVICE, [PLAIN], batch="may") == one.issue(DEVICE, [PLAIN], batch="may")
    assert states(ledger) == [(1, SerialState.ISSUED)]


def test_without_a_batch_a_voucher_is_new_each_time(ledger: Ledger) -> None:
    one = issuer(ledger)

    assert [one.issue(DEVICE, [PLAIN]).serials for _ in range(3)] == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([replace(PLAIN, description="x")], "this batch already has a different voucher for this device"),
        ([QOS], "this batch already has other Options for this device"),
        ([PLAIN, QOS], "this batch already has other Options for this device"),
    ],
)
def test_what_a_batch_does_not_say_is_refused(ledger: Ledger, options: list[Template], message: str) -> None:
    issuer(ledger).issue(DEVICE, [PLAIN], batch="may")

    with pytest.raises(RefusedError) as caught:
        issuer(ledger).issue(DEVICE, options, batch="may")

    assert str(caught.value) == message
    assert states(ledger) == [(1, SerialState.ISSUED)]


def test_a_batch_is_signed_with_one_key(ledger: Ledger) -> None:
    issuer(ledger).issue(DEVICE, [PLAIN], batch="may")
    other = VoucherIssuer(ledger, VoucherSigner(signatory("p256")))

    with pytest.raises(RefusedError) as caught:
        other.issue(DEVICE, [PLAIN], batch="may")

    assert str(caught.value) == "this batch was signed with a different key"
    public = signatory().certificate.public_key()
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert {entry.signer for entry in ledger.entries()} == {sha256(octets).hexdigest()}


def test_an_option_is_over_once_no_device_would_take_it() -> None:
    (template,) = read(f"{EXPIRING}start-date = 2025-05-01T00:00:00Z\n")
    end = datetime(2026, 5, 1, tzinfo=UTC)

    assert not template.is_over(end - timedelta(seconds=1))
    assert template.is_over(end)
    assert not PLAIN.is_over(end)
    assert not read(EXPIRING)[0].is_over(end)


def test_what_is_void_is_refused(ledger: Ledger) -> None:
    issuer(ledger).issue(DEVICE, [PLAIN], batch="may")
    ledger.void(1)

    with pytest.raises(RefusedError) as caught:
        issuer(ledger).issue(DEVICE, [PLAIN], batch="may")

    assert str(caught.value) == "voucher 1 of this batch is void"


def test_with_sha1_numbers_are_unpredictable(ledger: Ledger) -> None:
    numbers = [issuer(ledger, Digest.SHA1).issue(DEVICE, [PLAIN]).serials[0] for _ in range(8)]

    assert len({*numbers}) == 8
    assert min(numbers) > 1000  # a million to one
    assert issuer(ledger).issue(DEVICE, [PLAIN]).serials == (1,)


LARGE: Final = Template(
    ident="large",
    mode=Mode.WITHOUT_EXPIRATION,
    extra=tuple((f"A{number}", "&" * 1000) for number in range(32)),
)


def test_a_voucher_that_would_be_too_large_takes_no_number(ledger: Ledger) -> None:
    options = [replace(LARGE, ident=f"large {number}") for number in range(2)]

    with pytest.raises(FormatError) as caught:
        issuer(ledger).issue(DEVICE, options)

    limit = f"expected a voucher of at most {MAX_VOUCHER} bytes, got "
    octets, _, rest = str(caught.value).removeprefix(limit).partition("; ")
    assert int(octets) > MAX_VOUCHER
    assert rest == "use fewer Options [TR-069 C.3]"
    assert states(ledger) == []


def templates(count: int) -> tuple[Template, ...]:
    return tuple(replace(PLAIN, ident=f"Option {number}") for number in range(count))


@pytest.mark.parametrize("count", [0, MAX_VOUCHER_OPTIONS + 1])
@pytest.mark.parametrize("batch", [None, "may"])
def test_what_is_no_voucher_takes_no_number(ledger: Ledger, count: int, batch: str | None) -> None:
    with pytest.raises(FormatError) as caught:
        issuer(ledger).issue(DEVICE, templates(count), batch=batch)

    assert str(caught.value) == f"expected 1 to 64 Options, got {count} [TR-069 C.3]"
    assert issuer(ledger).issue(DEVICE, [PLAIN]).serials == (1,)


@pytest.mark.parametrize("batch", [None, "may"])
def test_one_option_is_in_a_voucher_once(ledger: Ledger, batch: str | None) -> None:
    with pytest.raises(FormatError) as caught:
        issuer(ledger).issue(DEVICE, [PLAIN, QOS, PLAIN], batch=batch)

    assert str(caught.value) == "the Options of a voucher must have different names [TR-069 C.3]"
    assert states(ledger) == []


@pytest.mark.parametrize("count", [0, MAX_VOUCHER_OPTIONS + 1])
def test_what_is_no_voucher_is_not_signed(count: int) -> None:
    want = Want(device=DEVICE, templates=templates(count))

    with pytest.raises(FormatError) as caught:
        sign_voucher(want, range(1, count + 1), VoucherSigner(signatory()))

    assert str(caught.value) == f"expected 1 to 64 Options, got {count} [TR-069 C.3]"


def test_numbers_go_with_options_one_by_one() -> None:
    want = Want(device=DEVICE, templates=(PLAIN, QOS))

    issued = sign_voucher(want, (9, 4), VoucherSigner(signatory()))

    assert [(one.serial, one.ident) for one in verified(issued.octets).voucher.options] == [
        ("9", "IPTV"),
        ("4", "QoS"),
    ]


def test_a_ledger_that_can_not_be_used_gives_no_voucher(tmp_path: Path, ledger: Ledger) -> None:
    one = issuer(ledger)
    issued = one.prepare(DEVICE, [PLAIN])
    (tmp_path / "ledger.db").unlink()

    for work in (lambda: one.issue(DEVICE, [PLAIN]), lambda: one.confirm(issued)):
        with pytest.raises(HostError):
            work()
