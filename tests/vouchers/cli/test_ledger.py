"""``spkg voucher ledger``: what was issued to whom, listed, exported and made void."""

import csv
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.acs_files import (
    LEDGER,
    MANY,
    ONE,
    QUICK,
    SINGLE,
    entries,
    failed,
    furnish,
    states,
    write_list,
)
from tests.support.commands import error, run
from tests.support.voucher_kit import signatory

TIME: Final = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def list_ledger(*args: str) -> Result:
    return run("voucher", "ledger", "list", *LEDGER, *args)


def with_times(text: str) -> str:
    """Return a text in which all times are one."""
    return TIME.sub("TIME", text)


@pytest.fixture
def filled() -> None:
    """A ledger of one device without a batch, two in one of which one is void, and one that was cut off."""
    Path("options.toml").write_text(ONE)
    run(*SINGLE, "-o", "v.xml")
    write_list(range(2))
    run(*MANY, "--out-dir", "out")
    run("voucher", "ledger", "void", "3", *LEDGER)
    run(*SINGLE, "--batch", "june", "-o", "/proc/v.xml")


@pytest.mark.usefixtures("filled")
def test_a_ledger_is_listed_for_people() -> None:
    result = list_ledger()

    assert (result.exit_code, result.stderr) == (0, "")
    assert with_times(result.stdout) == (
        "         1  issued    TIME  00D09E Gateway 123456789: QoS\n"
        "         2  issued    TIME  00D09E Gateway 000000: QoS, batch may\n"
        "         3  void      TIME  00D09E Gateway 000001: QoS, batch may\n"
        "         4  reserved  TIME  00D09E Gateway 123456789: QoS, batch june\n"
    )


def entry(serial: int, number: str, state: str, batch: str | None) -> dict[str, Any]:
    """Return the document of an entry, all times being one."""
    (digest,) = (one.digest for one in entries() if one.serial == serial)
    public = signatory(QUICK).certificate.public_key()
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "serial": serial,
        "oui": "00D09E",
        "product_class": "Gateway",
        "serial_number": number,
        "option": "QoS",
        "digest": digest,
        "signer": sha256(octets).hexdigest(),
        "batch": batch,
        "state": state,
        "reserved_at": "TIME",
        "issued_at": None if state == "reserved" else "TIME",
        "voided_at": "TIME" if state == "void" else None,
        "manufacturer": "2Wire" if number == "123456789" else "",
        "description": "",
        "mode": "EnableWithoutExpiration",
        "start": None,
        "duration": None,
        "duration_units": None,
        "transferable": False,
        "extras": [],
        "end": None,
        "end_estimated": False,
        **dict.fromkeys(("renews", "renewed_by", "renewal_duration", "renewal_units"), None),
        **dict.fromkeys(("revokes", "revoked_by"), None),
    }


def all_entries() -> list[dict[str, Any]]:
    return [
        entry(1, "123456789", "issued", None),
        entry(2, "000000", "issued", "may"),
        entry(3, "000001", "void", "may"),
        entry(4, "123456789", "reserved", "june"),
    ]


@pytest.mark.usefixtures("filled")
def test_a_ledger_is_listed_as_one_document() -> None:
    result = list_ledger("--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(with_times(result.stdout)) == {
        "schema": "spkg.voucher.ledger.list/1",
        "entries": all_entries(),
    }


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("args", "serials"),
    [
        (["--batch", "may"], [2, 3]),
        (["--batch", "july"], []),
        (["--state", "reserved"], [4]),
        (["--state", "issued"], [1, 2]),
        (["--state", "void"], [3]),
        (["--serial-number", "123456789"], [1, 4]),
        (["--serial-number", "123456789", "--state", "issued"], [1]),
        (["--serial-number", "12345678%"], []),
    ],
)
def test_of_a_ledger_what_is_asked_for_is_listed(args: list[str], serials: list[int]) -> None:
    told = list_ledger(*args)
    document = list_ledger(*args, "--json")

    assert [int(line.split()[0]) for line in told.stdout.splitlines()] == serials
    assert [one["serial"] for one in json.loads(document.stdout)["entries"]] == serials


def test_an_empty_ledger_is_listed_and_exported() -> None:
    assert list_ledger().stdout == ""
    assert json.loads(list_ledger("--json").stdout) == {"schema": "spkg.voucher.ledger.list/1", "entries": []}
    assert run("voucher", "ledger", "export", *LEDGER).stdout == f"{','.join(COLUMNS)}\n"
    assert run("voucher", "ledger", "export", *LEDGER, "--json").stdout == ""


COLUMNS: Final = (
    *("serial", "oui", "product_class", "serial_number", "option", "digest", "signer", "batch", "state"),
    *("reserved_at", "issued_at", "voided_at", "manufacturer", "description", "mode", "start", "duration"),
    *("duration_units", "transferable", "extras", "end", "end_estimated", "renews", "renewed_by"),
    *("renewal_duration", "renewal_units", "revokes", "revoked_by"),
)


def in_a_cell(value: object) -> str:
    return json.dumps(value) if isinstance(value, list | bool) else str(value)


@pytest.mark.usefixtures("filled")
def test_a_ledger_is_exported_whole() -> None:
    result = run("voucher", "ledger", "export", *LEDGER)
    lines = run("voucher", "ledger", "export", *LEDGER, "--json")

    rows = [*csv.DictReader(with_times(result.stdout).splitlines())]
    assert (result.exit_code, result.stderr, lines.exit_code, lines.stderr) == (0, "", 0, "")
    assert rows == [
        {name: "" if value is None else in_a_cell(value) for name, value in one.items()}
        for one in all_entries()
    ]
    assert [json.loads(line) for line in with_times(lines.stdout).splitlines()] == all_entries()


def test_whatever_a_device_is_called_an_entry_is_a_line() -> None:
    number = 'a,"b"\nc'
    # No list can name it so, but a request to the service, or the file of a device.
    Path("device.toml").write_text(
        '[device]\noui = "00D09E"\nmanufacturer = ""\nproduct-class = ""\n'
        f"serial-number = {json.dumps(number)}\n"
    )
    Path("options.toml").write_text(ONE)
    assert run(*SINGLE, "--batch", "may", "-o", "v.xml").exit_code == 0

    exported = run("voucher", "ledger", "export", *LEDGER).stdout
    lines = run("voucher", "ledger", "export", *LEDGER, "--json").stdout
    listed = list_ledger()

    # CSV is for people too, who see nothing of an input but what is escaped; JSON says all of it.
    (row,) = csv.DictReader(exported.splitlines())
    assert row["serial_number"] == 'a,"b"\\nc'
    assert json.loads(lines)["serial_number"] == number
    assert with_times(listed.stdout) == ('         1  issued    TIME  00D09E  a,"b"\\nc: QoS, batch may\n')


@pytest.mark.usefixtures("filled")
def test_a_serial_number_is_made_void() -> None:
    told = run("voucher", "ledger", "void", "1", *LEDGER)
    document = run("voucher", "ledger", "void", "2", *LEDGER, "--json")

    assert (told.exit_code, told.stdout, told.stderr) == (0, "1: void\n", "")
    assert (document.exit_code, document.stderr) == (0, "")
    assert json.loads(document.stdout) == {
        "schema": "spkg.voucher.ledger.void/1",
        "serial": 2,
        "state": "void",
        "voided": 1,
    }
    assert [state for *_, state in states()] == ["void", "void", "void", "reserved"]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("serial", "message"),
    [
        ("3", "serial number 3 is already void"),
        ("77", "serial number 77 is not in this ledger"),
    ],
)
def test_a_serial_number_that_is_void_or_nobody_s_is_refused(serial: str, message: str) -> None:
    before = entries()

    told = run("voucher", "ledger", "void", serial, *LEDGER)
    document = run("voucher", "ledger", "void", serial, *LEDGER, "--json")

    assert failed(told, 5, message)
    assert document.exit_code == 5
    assert json.loads(document.stdout) == error("refused", 5, message)
    assert entries() == before


@pytest.mark.parametrize("args", [["list"], ["list", "--json"], ["export"], ["void", "1"]])
def test_a_ledger_that_is_not_there_is_told_and_not_made(args: list[str]) -> None:
    Path("ledger.db").unlink()

    result = run("voucher", "ledger", *args, *LEDGER)

    assert result.exit_code == 9
    assert result.stderr == (
        "spkg: error: ledger.db: the ledger does not exist\n"
        "spkg: hint: create it with 'spkg voucher ledger init ledger.db'\n"
    )
    assert not Path("ledger.db").exists()


def test_a_password_in_the_url_is_not_told() -> None:
    for command in (["ledger", "list"], ["ledger", "export"], ["ledger", "void", "1"]):
        result = run("voucher", *command, "--ledger", "postgresql://acs:secret@db/ledger")

        hint = "put the password into ~/.pgpass, or into the file that PGPASSFILE names"
        assert failed(
            result, 2, "the URL of the ledger must not have a password, which other users could see", hint
        )
