"""Lists that have been through a spreadsheet, and tables that one may open."""

import csv
from pathlib import Path

import pytest

from tests.support.acs_files import LEDGER, MANY, ONE, entries, furnish
from tests.support.commands import run
from vouchers.acs.device_list import read_devices
from vouchers.acs.device_table import MAX_CELL
from vouchers.acs.list_warnings import list_warnings

HEADER = "oui,product_class,serial_number"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, one Option, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("options.toml").write_text(ONE)
    return tmp_path


def read(text: str) -> list[str]:
    """Return the serial number that each line names, or why it names none."""
    Path("devices.csv").write_text(text)
    found = read_devices(Path("devices.csv"))
    return [one.problem or (one.device.serial_number if one.device else "") for one in found]


@pytest.mark.parametrize("cell", ['="00123"', '"=""00123"""', "00123", "'00123"[1:]])
def test_a_number_that_is_kept_as_text_is_read(cell: str) -> None:
    assert read(f"{HEADER}\n00D09E,G,{cell}\n") == ["00123"]


@pytest.mark.parametrize("separator", [";", "|", ",", "\t"])
def test_a_table_may_say_what_separates_its_cells(separator: str) -> None:
    text = f"sep={separator}\n{HEADER}\n00D09E,G,1\n"

    assert read(text.replace(",", separator)) == ["1"]


@pytest.mark.parametrize("cell", ["#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "####"])
def test_the_error_of_a_formula_names_no_device(cell: str) -> None:
    assert read(f"{HEADER}\n00D09E,G,{cell}\n00D09E,{cell},2\n00D09E,G,3\n") == [
        f"serial_number: {cell!r} is the error of a formula",
        f"product_class: {cell!r} is the error of a formula",
        "3",
    ]


@pytest.mark.parametrize("cell", ["1.23457E+11", "1E+11", '"1,23457E+11"', "1.2e+15"])
def test_a_number_that_was_rounded_names_no_device(cell: str) -> None:
    (told,) = read(f"{HEADER}\n00D09E,G,{cell}\n")

    plain = cell.strip('"')
    assert told == (
        f"serial_number: {plain!r} is a number that a spreadsheet has rounded; format the column as text"
    )


@pytest.mark.parametrize("cell", ["1E11", "12E+34", "#12", "E+11"])
def test_what_only_looks_spoilt_is_a_serial_number(cell: str) -> None:
    assert read(f"{HEADER}\n00D09E,G,{cell}\n") == [cell]


def test_a_cell_that_is_too_wide_rejects_its_line_alone() -> None:
    wide = "x" * (MAX_CELL + 1)

    assert read(f"{HEADER},note\n00D09E,G,1,{wide}\n00D09E,G,2,\n00D09E,G,3,{wide[1:]}\n") == [
        f"a cell must have at most {MAX_CELL} characters, got {MAX_CELL + 1}",
        "2",
        "3",
    ]


def test_rejected_lines_are_mended_and_given_back() -> None:
    Path("devices.csv").write_text(
        "sep=;\nNote;OUI;Product class;Serial number\n=1+1;00D09E;G;#N/A\n;00D09E;G;2\nx;00D09E\n"
    )

    first = run(*MANY, "--out-dir", "out")
    rejected = Path("out/rejected.csv").read_text()
    mended = "\n".join(rejected.splitlines()[:2]).removesuffix("#N/A") + "1\n"
    Path("devices.csv").write_text(mended)
    second = run(*MANY, "--out-dir", "again")

    assert (first.exit_code, second.exit_code) == (3, 0)
    assert rejected == (
        "line,reason,Note,OUI,Product class,Serial number\n"
        "3,serial_number: '#N/A' is the error of a formula,'=1+1,00D09E,G,#N/A\n"
        '5,"expected 4 cells as in the first line, got 2",x,00D09E\n'
    )
    assert [one.serial_number for one in entries()] == ["2", "1"]


NUMBERS = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "'-1", "''=x", "plain", "a=b"]


def test_no_table_begins_a_cell_with_a_formula_and_all_are_read_back() -> None:
    kept = {number: f"'{number}" for number in NUMBERS if number.startswith("'")}
    rows = "".join(f'00D09E,G,"{kept.get(number, number)}"\n' for number in NUMBERS)
    Path("devices.csv").write_text(f"{HEADER}\n{rows}")

    assert run(*MANY, "--format", "xml", "--out-dir", "out").exit_code == 0
    exported = run("voucher", "ledger", "export", *LEDGER).stdout

    with Path("out/index.csv").open(newline="") as file:
        index = [*csv.DictReader(file)]
    for table in (index, [*csv.DictReader(exported.splitlines())]):
        cells = [cell for row in table for cell in row.values()]
        assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    assert [one.serial_number for one in entries()] == sorted(NUMBERS)
    assert {*read(Path("out/index.csv").read_text())} == {*NUMBERS}


def short(*numbers: str) -> list[str]:
    Path("devices.csv").write_text("\n".join([HEADER, *(f"00D09E,G,{number}" for number in numbers), ""]))
    return [one.message for one in list_warnings(read_devices(Path("devices.csv")))]


def test_a_number_that_may_have_lost_its_zeros_is_warned_of() -> None:
    found = short("100001", "1236", "200002", "X7", "7")

    assert found == []
    assert short("100001", "1236", "200002", "300003", "X7", "7") == [
        f"line {line}: the serial number {number!r} has {len(number)} digits, most have 6: "
        "a spreadsheet may have removed leading zeros"
        for line, number in ((3, "1236"), (7, "7"))
    ]


@pytest.mark.parametrize("numbers", [[], ["X1", "X22"], ["7", "100001"], ["100001", "100002", "1000003"]])
def test_numbers_that_may_be_whole_are_not_warned_of(numbers: list[str]) -> None:
    assert short(*numbers) == []


def test_of_many_short_numbers_the_first_are_named() -> None:
    found = short(*(f"{number}" for number in range(1000, 1025)), *(f"{n}" for n in range(100_000, 100_100)))

    assert (len(found), found[-1]) == (21, "and 5 more lines with fewer digits than most")


def test_a_list_in_json_has_been_in_no_spreadsheet() -> None:
    lines = [
        f'{{"oui": "00D09E", "product_class": "G", "serial_number": "{n}"}}'
        for n in ("100001", "100002", "7")
    ]
    Path("devices.json").write_text("\n".join(lines))

    assert [*list_warnings(read_devices(Path("devices.json")))] == []


def test_lost_zeros_are_warned_of_before_anything_is_issued() -> None:
    short("100001", "100002", "7")

    warned = run(*MANY, "--out-dir", "out")
    strict = run(*MANY, "--out-dir", "strict", "--strict")

    told = (
        "line 4: the serial number '7' has 1 digits, most have 6: "
        "a spreadsheet may have removed leading zeros"
    )
    assert (warned.exit_code, warned.stderr) == (0, f"spkg: warning: {told}\n")
    assert strict.exit_code == 5
    assert not Path("strict").exists()
