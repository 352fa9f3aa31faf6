"""Lists as people have them: what is read, what is rejected or warned of, and in whose words."""

import io
from pathlib import Path

import pytest

from spkg.errors import FormatError
from tests.support.acs_files import MANY, ONE, entries, furnish
from tests.support.commands import run
from vouchers.acs.device_list import read_device_stream
from vouchers.acs.list_warnings import list_warnings
from vouchers.acs.listed_device import MAX_LIST_LINE

HEADER = "oui,product_class,serial_number\n"
OBJECT = '{"oui": "00D09E", "product_class": "G", "serial_number": "1"}'


def read(contents: str | bytes) -> list[tuple[int, str]]:
    """Return the line of each device with its serial number, or why the line names none."""
    octets = contents.encode() if isinstance(contents, str) else contents
    return [
        (one.line, one.problem or (one.device.serial_number if one.device else ""))
        for one in read_device_stream(io.BytesIO(octets), "list")
    ]


def refused(contents: str | bytes) -> tuple[str, str | None]:
    """Return why a list is malformed, and what to do."""
    with pytest.raises(FormatError) as caught:
        read(contents)
    return str(caught.value), caught.value.hint


@pytest.mark.parametrize(
    "header",
    [
        '"Note, free";oui;product_class;serial_number',
        '"Note\nfree";oui;product_class;serial_number',
        "sep=;\nnote;oui;product_class;serial_number",
        "SEP=;\nnote;oui;product_class;serial_number",
        '"sep=;"\n\nnote;oui;product_class;serial_number',
        'note;="oui";="Product class";="serial number"',
        "\ufeffnote;OUI;Product class;Serial number\r",
    ],
)
def test_a_header_is_read_as_programs_write_it(header: str) -> None:
    ((_, number),) = read(f'{header}\nx;00D09E;G;="001"\n')

    assert number == "001"


def test_a_line_is_named_by_where_it_begins() -> None:
    assert read(f'note,{HEADER}"a\nb\nc",00D09E,G,1\nx,00D09E,G\n"d\ne",00D09E,G,\n') == [
        (2, "1"),
        (5, "expected 4 cells as in the first line, got 3"),
        (6, "SerialNumber: expected 1 to 64 characters, got 0"),
    ]


QUOTE_HINT = 'a cell that has a quote in it is written "like ""this"""'


@pytest.mark.parametrize(
    ("lines", "problem", "hint"),
    [
        ('00D09E,"G,2\n00D09E,G,3\n', "line 3: a cell in quotes does not end", QUOTE_HINT),
        ('00D09E,"G"x,2\n', "line 3: a cell in quotes must end with its quote", QUOTE_HINT),
        (
            "00D09E,G,2\r00D09E,G,3\r",
            "line 3: expected lines that end in LF or CR LF, got CR alone",
            "convert it: tr '\\r' '\\n'",
        ),
    ],
)
def test_what_is_no_table_is_told_in_our_words(lines: str, problem: str, hint: str) -> None:
    assert refused(f"{HEADER}00D09E,G,1\n{lines}") == (f"list: {problem}", hint)


def test_a_quote_that_is_missing_does_not_take_the_list_into_memory() -> None:
    cell = f'{"x" * 4000}","\n'

    problem, hint = refused(f'{HEADER}00D09E,G,1\n00D09E,"{"x" * 40}\n{cell * (MAX_LIST_LINE // 4000)}')

    assert problem.startswith("list: offset 0x002b: a record that ends in line ")
    assert problem.endswith(f" must have at most {MAX_LIST_LINE} bytes, got more")
    assert hint == "a quote may be missing"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_told_with_what_to_do(encoding: str) -> None:
    assert refused(HEADER.encode(encoding)) == (
        "list: offset 0x0000: expected UTF-8, got UTF-16",
        "save it as CSV in UTF-8, or convert it: iconv -f UTF-16 -t UTF-8",
    )


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("1\u200b2", "must not have the invisible character U+200B"),
        ("1\u00a02", "must not have the invisible character U+00A0"),
        ('"1\n2"', "must not have the invisible character U+000A"),
        ("1\t2", "must not have the invisible character U+0009"),
        ("#NV", "'#NV' is the error of a formula"),
        ("#BEZUG!", "'#BEZUG!' is the error of a formula"),
        ("#N/D", "'#N/D' is the error of a formula"),
        ("#ÜBERLAUF!", "'#ÜBERLAUF!' is the error of a formula"),
        ("#NOM?", "'#NOM?' is the error of a formula"),
        ("Err:502", "'Err:502' is the error of a formula"),
    ],
)
def test_what_no_device_is_called_is_rejected(cell: str, problem: str) -> None:
    assert read(f"{HEADER}00D09E,G,{cell}\n00D09E,G,9\n")[0] == (2, f"serial_number: {problem}")


def test_what_is_not_utf_8_is_told_by_its_byte() -> None:
    assert read(HEADER.encode() + b"00D09E,caf\xe9,1\n") == [
        (2, "product_class: expected UTF-8, got the byte 0xe9")
    ]


def test_the_error_of_a_formula_is_no_manufacturer() -> None:
    assert read(f"manufacturer,{HEADER}#N/A,00D09E,G,1\n") == [
        (2, "manufacturer: '#N/A' is the error of a formula")
    ]


PROBLEM = "not a JSON object on one line: "


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{bad", f"{PROBLEM}expecting property name enclosed in double quotes, column 2"),
        (f'{{"a": {"[" * 100_000}', f"{PROBLEM}the JSON is nested too deeply"),
        (f'{{"a": {"9" * 5000}}}', f"{PROBLEM}a number in it has too many digits"),
        ('{"oui": "00D09E", "oui": "00D09F"}', f"{PROBLEM}the key 'oui' occurs twice"),
        ('{"oui": NaN}', f"{PROBLEM}NaN is not a number of JSON"),
        ('"text"', "expected a JSON object"),
        ('{"_id": "00D09E-G-%FF"}', "id: expected UTF-8 behind %, got '00D09E-G-%FF'"),
        ('{"_id": "00D09E"}', "id: expected OUI-CLASS-SERIAL or OUI-SERIAL, got '00D09E'"),
    ],
)
def test_a_line_of_json_is_rejected_in_our_words(line: str, problem: str) -> None:
    assert read(f"{OBJECT}\n{line}\n{OBJECT}\n") == [(1, "1"), (2, problem), (3, "1")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, one Option, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("options.toml").write_text(ONE)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_what_is_rejected_means_the_same_when_it_is_given_back() -> None:
    Path("devices.csv").write_text(
        "oui,product_class,serial_number\nx,G,=\"00123\"\nx,G,'=1+1\nx,G,=1+1\nx,G,''=a\n"
    )
    for turn in range(2):
        assert run(*MANY, "--batch", f"{turn}", "--out-dir", f"{turn}").exit_code == 3
        rejected = Path(f"{turn}/rejected.csv").read_text()
        assert not any(line.startswith(tuple("=+-@")) for line in rejected.splitlines())
        Path("devices.csv").write_text(rejected)
    mended = "".join(line.replace(",x,G,", ",00D09E,G,") + "\n" for line in rejected.splitlines())
    Path("devices.csv").write_text(mended)

    result = run(*MANY, "--batch", "mended", "--out-dir", "mended")

    # The second and the third line have named the same device all along.
    assert result.exit_code == 3
    assert [one.serial_number for one in entries()] == ["'=a", "00123", "=1+1"]


@pytest.mark.usefixtures("here")
def test_a_line_of_json_that_is_rejected_is_mended_in_a_table() -> None:
    good = '{"oui": "00D09E", "product_class": "G", "serial_number": "2", "manufacturer": "A"}'
    Path("devices.csv").write_text(f"{good.replace('00D09E', 'x')}\n{{bad\n{good.replace('2', '3')}\n")

    first = run(*MANY, "--out-dir", "out")
    rejected = Path("out/rejected.csv").read_text()
    Path("devices.csv").write_text(rejected.replace(",x,", ",00D09E,"))
    second = run(*MANY, "--out-dir", "again")

    assert (first.exit_code, second.exit_code) == (3, 3)
    assert rejected == (
        "line,reason,oui,product_class,serial_number,manufacturer\n"
        "1,\"OUI: expected six upper-case hexadecimal digits, got 'x'\",x,G,2,A\n"
        '2,"not a JSON object on one line: expecting property name enclosed in double quotes, '
        'column 2",,,,\n'
    )
    assert [(one.serial_number, one.manufacturer) for one in entries()] == [("3", "A"), ("2", "A")]


def warned(*numbers: str) -> list[str]:
    table = "".join(f"00D09E,G,{number}\n" for number in numbers)
    found = list_warnings(read_device_stream(io.BytesIO(f"{HEADER}{table}".encode()), "list"))
    return [f"{one.code}: {one.message}" for one in found]


def test_what_a_program_may_have_made_of_a_number_is_warned_of() -> None:
    found = warned("1234567890123450000", "1234567.0", "'00123", "123456789012345", "X")

    told = "doubtful-number: line {}: the serial number {!r} {}".format
    assert found == [
        told(
            *(2, "1234567890123450000"),
            "has only zeros behind its first 15 digits: a spreadsheet may have rounded it",
        ),
        told(3, "1234567.0", "may have been '1234567' before a program took it for a number"),
        told(4, "'00123", "begins with an apostrophe, which in a spreadsheet is not part of a text"),
    ]


def test_of_many_doubtful_numbers_the_first_are_named() -> None:
    found = warned(*(f"{number}.0" for number in range(25)))

    assert (len(found), found[-1]) == (
        21,
        "doubtful-number: and 5 more lines with doubtful serial numbers",
    )


def test_warnings_are_for_tables_and_not_for_json() -> None:
    lines = OBJECT.replace('"1"', '"1.0"').encode()

    assert [*list_warnings(read_device_stream(io.BytesIO(lines), "list"))] == []
