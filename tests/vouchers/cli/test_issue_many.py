"""``spkg voucher issue`` to many devices: every form, what is told of it, and the same batch again."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.acs_files import (
    LEDGER,
    MANY,
    NO_REJECTED,
    OF_THREE,
    ONE,
    SCHEMA,
    SINGLE,
    assert_issued,
    device,
    entries,
    failed,
    furnish,
    in_envelope,
    index,
    vouchers,
    write_list,
    xml,
)
from tests.support.commands import failure, run
from tests.support.planted_tree import listing
from vouchers.acs.bulk import DEVICES_AT_ONCE
from vouchers.acs.ledger_entry import SerialState
from vouchers.model import DeviceId


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_many_devices_get_a_voucher_each_line_by_line() -> None:
    result = run(*MANY, "--out-dir", "out")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "out: 3 vouchers, batch may\n"
    assert {*listing(Path("out"))} == {"vouchers.ndjson", "rejected.csv"}
    assert [json.loads(line) for line in Path("out/vouchers.ndjson").read_text().splitlines()] == [
        {
            "device": {
                "manufacturer": "",
                "oui": "00D09E",
                "product_class": "Gateway",
                "serial_number": f"{number:06}",
            },
            "serials": [2 * number + 1, 2 * number + 2],
            "voucher": b64encode(xml([2 * number + 1, 2 * number + 2], device(number))).decode(),
        }
        for number in range(3)
    ]
    assert Path("out/rejected.csv").read_bytes() == NO_REJECTED
    assert_issued(3)
    assert not Path("out.part").exists()


def test_many_devices_get_a_file_each_named_by_our_serial_number_alone() -> None:
    Path("devices.csv").write_text('oui,product_class,serial_number\n00D09E,a,../../x\n00D09E,"",CON\n')

    result = run(*MANY, "--format", "xml", "--out-dir", "out")

    assert result.exit_code == 0
    one, two = (
        DeviceId(manufacturer="", oui="00D09E", product_class=kind, serial_number=number)
        for kind, number in (("", "CON"), ("a", "../../x"))
    )
    assert listing(Path("out")) == {
        "1.xml": xml([1, 2], one),
        "3.xml": xml([3, 4], two),
        "rejected.csv": NO_REJECTED,
        "index.csv": index("3.xml,00D09E,a,../../x,3 4", "1.xml,00D09E,,CON,1 2"),
    }


def test_many_devices_get_a_line_of_base64_each() -> None:
    result = run(*MANY, "--format", "base64", "--out-dir", "out")

    lines = [b64encode(xml([number, number + 1], device(number // 2))) + b"\n" for number in (1, 3, 5)]
    assert result.exit_code == 0
    assert listing(Path("out")) == {
        "vouchers.base64": b"".join(lines),
        "rejected.csv": NO_REJECTED,
        "index.csv": index(
            *(
                f"vouchers.base64,00D09E,Gateway,{number:06},{2 * number + 1} {2 * number + 2}"
                for number in range(3)
            )
        ),
    }


def test_many_devices_get_an_envelope_each_of_its_own_name() -> None:
    result = run(*MANY, "--format", "soap", "--out-dir", "out")

    files = listing(Path("out"))
    assert result.exit_code == 0
    assert files.pop("rejected.csv") == NO_REJECTED
    assert files.pop("index.csv") == OF_THREE
    assert {name: in_envelope(octets or b"") for name, octets in files.items()} == {
        f"{number}.xml": (str(number), [xml([number, number + 1], device(number // 2))])
        for number in (1, 3, 5)
    }


def test_one_device_may_be_many() -> None:
    result = run(*SINGLE, "--batch", "may", "--out-dir", "out", "--format", "xml")

    assert (result.exit_code, result.stdout) == (0, "out: 1 voucher, batch may\n")
    assert listing(Path("out")) == {
        "1.xml": xml([1, 2]),
        "rejected.csv": NO_REJECTED,
        "index.csv": index("1.xml,00D09E,Gateway,123456789,1 2"),
    }


def test_a_list_of_nobody_gives_an_empty_output() -> None:
    write_list([])

    result = run(*MANY, "--out-dir", "out")

    assert (result.exit_code, result.stdout) == (0, "out: 0 vouchers, batch may\n")
    assert listing(Path("out")) == {"vouchers.ndjson": b"", "rejected.csv": NO_REJECTED}


BAD_LIST: Final = """oui,product_class,serial_number
00D09E,Gateway,000000
00D09,Gateway,000001
00D09E,Gateway
00D09E,Gateway,000000
00D09E,Gateway,000001

00D09E,Gateway,"000
002"
00D09E,Gateway,000002
"""
REJECTED: Final = (
    b"line,reason,oui,product_class,serial_number\r\n"
    b"3,\"OUI: expected six upper-case hexadecimal digits, got '00D09'\",00D09,Gateway,000001\r\n"
    b'4,"expected 3 cells as in the first line, got 2",00D09E,Gateway\r\n'
    b"5,the device occurs twice,00D09E,Gateway,000000\r\n"
    b'8,serial_number: must not have the invisible character U+000A,00D09E,Gateway,"000\n002"\r\n'
)
BAD_HINT: Final = "see out/rejected.csv for the reasons"


def test_lines_that_get_none_are_told_and_the_others_get_theirs() -> None:
    Path("devices.csv").write_text(BAD_LIST)

    result = run(*MANY, "--out-dir", "out")

    assert result.exit_code == 3
    assert result.stdout == "out: 3 vouchers, batch may\n"
    assert result.stderr == f"spkg: error: 4 lines of the list got no voucher\nspkg: hint: {BAD_HINT}\n"
    assert [*vouchers()] == ["000000", "000001", "000002"]
    assert Path("out/rejected.csv").read_bytes() == REJECTED
    assert {one.state for one in entries()} == {SerialState.ISSUED}


def test_lines_that_get_none_are_told_in_the_document() -> None:
    Path("devices.csv").write_text(BAD_LIST)

    result = run(*MANY, "--out-dir", "out", "--json")

    message = "4 lines of the list got no voucher"
    *progress, last = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 3
    assert result.stderr == f"spkg: error: {message}\nspkg: hint: {BAD_HINT}\n"
    assert progress == [progress_line(len(BAD_LIST), len(BAD_LIST))]
    assert last == {
        "schema": SCHEMA,
        "event": "result",
        "batch": "may",
        "output": "out",
        "issued": 3,
        "confirmed": 3,
        "rejected": 4,
        "warnings": [],
        **failure("malformed", 3, message, hint=BAD_HINT),
    }


def progress_line(octets: int, total: int) -> dict[str, Any]:
    return {"schema": SCHEMA, "event": "progress", "octets": octets, "total": total}


def test_progress_and_result_are_an_object_a_line() -> None:
    write_list(range(2 * DEVICES_AT_ONCE + 1))
    Path("options.toml").write_text(ONE)

    result = run(*MANY, "--out-dir", "out", "--json")

    header, row = len("oui,product_class,serial_number\n"), len("00D09E,Gateway,000000\n")
    total = header + row * (2 * DEVICES_AT_ONCE + 1)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        progress_line(header + row * DEVICES_AT_ONCE, total),
        progress_line(header + row * 2 * DEVICES_AT_ONCE, total),
        {
            "schema": SCHEMA,
            "event": "result",
            "batch": "may",
            "status": "issued",
            "exit": 0,
            "output": "out",
            "issued": 2 * DEVICES_AT_ONCE + 1,
            "confirmed": 2 * DEVICES_AT_ONCE + 1,
            "rejected": 0,
            "warnings": [],
        },
    ]


NO_LIST: Final = "not a list of devices: the first line must name oui, product_class and serial_number, or id"


def swap(file: Path) -> None:
    """Put a directory in the place of a file."""
    file.unlink()
    file.mkdir()


def failures() -> list[tuple[str, Callable[[], object], tuple[str, ...], dict[str, Any]]]:
    return [
        (
            "no list",
            lambda: Path("devices.csv").write_text("a,b\n"),
            (),
            failure("malformed", 3, f"devices.csv: {NO_LIST}", source="devices.csv"),
        ),
        (
            "no file",
            Path("devices.csv").unlink,
            (),
            failure("error", 9, "devices.csv: no such file or directory"),
        ),
        (
            "output there",
            lambda: Path("out").mkdir(),
            (),
            failure("error", 2, "out already exists", hint="give another path to write the same batch again"),
        ),
        (
            "part there",
            lambda: (Path("out.part") / "diary").mkdir(parents=True),
            (),
            failure("error", 2, "out.part exists, and is not an interrupted bulk output"),
        ),
        (
            "no ledger",
            lambda: swap(Path("ledger.db")),
            (),
            failure("error", 9, "ledger.db: unable to open database file"),
        ),
    ]


@pytest.mark.parametrize(
    ("prepare_it", "args", "fields"), [one[1:] for one in failures()], ids=[one[0] for one in failures()]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_failure_is_told_people_and_programs(
    prepare_it: Callable[[], object], args: tuple[str, ...], fields: dict[str, Any], *, as_json: bool
) -> None:
    prepare_it()

    result = run(*MANY, "--out-dir", "out", *args, *(["--json"] if as_json else []))

    assert result.exit_code == fields["exit"]
    hint = f"spkg: hint: {fields['hint']}\n" if fields["hint"] else ""
    assert result.stderr == f"spkg: error: {fields['message']}\n{hint}"
    if as_json:
        assert json.loads(result.stdout) == {
            "schema": SCHEMA,
            "event": "result",
            "batch": "may",
            "warnings": [],
            **fields,
        }
    else:
        assert result.stdout == ""


def test_without_a_name_a_batch_has_one_that_is_told_and_completes_it() -> None:
    args = [one for one in MANY if one not in {"--batch", "may"}]

    result = run(*args, "--out-dir", "out")

    told = re.fullmatch(
        r"spkg: hint: run again with --batch (20\d{6}T\d{6}Z-[0-9a-f]{8}) "
        r"to complete this if it is interrupted\n",
        result.stderr,
    )
    assert told is not None
    assert (result.exit_code, result.stdout) == (0, f"out: 3 vouchers, batch {told[1]}\n")
    assert_issued(3, batch=told[1])
    assert run(*args, "--batch", told[1], "--out-dir", "again").exit_code == 0
    assert listing(Path("again")) == listing(Path("out"))


# The same batch again.


def test_the_same_batch_writes_the_same_octets_and_takes_no_number() -> None:
    first = run(*MANY, "--out-dir", "out")
    again = run(*MANY, "--out-dir", "again")

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert listing(Path("out")) == listing(Path("again"))
    assert len(entries()) == 6


def test_the_same_batch_takes_numbers_for_those_who_have_none() -> None:
    run(*MANY, "--out-dir", "out")
    write_list([4, 0, 1, 3, 2])

    result = run(*MANY, "--out-dir", "again")

    assert (result.exit_code, result.stdout) == (0, "again: 5 vouchers, batch may\n")
    assert {name: serials for name, (serials, _) in vouchers("again").items()} == {
        "000004": (9, 10),
        "000000": (1, 2),
        "000001": (3, 4),
        "000003": (7, 8),
        "000002": (5, 6),
    }
    assert_issued(5, "again")


def test_what_is_void_or_has_changed_is_rejected_and_the_others_are_written() -> None:
    run(*MANY, "--out-dir", "out")
    run("voucher", "ledger", "void", "3", *LEDGER)
    rows = ["Other,00D09E,Gateway,000000", ",00D09E,Gateway,000001", ",00D09E,Gateway,000002"]
    Path("devices.csv").write_text("\n".join(["manufacturer,oui,product_class,serial_number", *rows]))

    result = run(*MANY, "--out-dir", "again")

    assert (result.exit_code, result.stdout) == (3, "again: 1 voucher, batch may\n")
    assert [*vouchers("again")] == ["000002"]
    assert Path("again/rejected.csv").read_text() == (
        "line,reason,manufacturer,oui,product_class,serial_number\n"
        "2,this batch already has a different voucher for this device,Other,00D09E,Gateway,000000\n"
        "3,voucher 3 of this batch is void,,00D09E,Gateway,000001\n"
    )


def test_a_device_that_is_far_apart_in_a_list_twice_is_rejected_once() -> None:
    write_list([*range(DEVICES_AT_ONCE + 1), 0])
    Path("options.toml").write_text(ONE)

    result = run(*MANY, "--format", "xml", "--out-dir", "out")

    assert result.exit_code == 3
    assert Path("out/rejected.csv").read_text() == (
        "line,reason,oui,product_class,serial_number\n"
        f"{DEVICES_AT_ONCE + 3},the device occurs twice,00D09E,Gateway,000000\n"
    )
    assert len([*Path("out").glob("*.xml")]) == DEVICES_AT_ONCE + 1
    assert len(entries()) == DEVICES_AT_ONCE + 1


# Outputs that are there.


def test_an_output_of_others_is_left_as_it_is() -> None:
    Path("out.part").mkdir()
    Path("out.part/diary").write_text("dear")

    result = run(*MANY, "--out-dir", "out")

    assert failed(result, 2, "out.part exists, and is not an interrupted bulk output")
    assert listing(Path("out.part")) == {"diary": b"dear"}
