"""``spkg voucher ledger``: made on purpose, voided with a reason, its journal, audits and statistics."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.acs_files import LEDGER, MANY, ONE, SINGLE, failed, furnish, states, write_list
from tests.support.commands import failure, run
from tests.support.ledger_kit import make_old, new_database
from vouchers.cli.shared import login_name

TIME: Final = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of two, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("options.toml").write_text(ONE)
    write_list(range(2))
    return tmp_path


def books(command: str, *args: str) -> Any:
    return run("voucher", "ledger", command, *args, *LEDGER)


def document(command: str, *args: str) -> Any:
    result = books(command, *args, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


# Making one.


def test_a_ledger_is_made_on_purpose_once() -> None:
    made = run("voucher", "ledger", "init", "new.db")
    before = Path("new.db").read_bytes()
    again = run("voucher", "ledger", "init", "new.db")

    assert (made.exit_code, made.stdout, made.stderr) == (0, "new.db: created\n", "")
    assert failed(again, 2, "new.db: the ledger already exists")
    assert Path("new.db").read_bytes() == before


def test_a_ledger_that_is_made_is_a_document() -> None:
    result = run("voucher", "ledger", "init", "new.db", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "schema": "spkg.voucher.ledger.init/1",
        "ledger": "new.db",
        "created": True,
    }


@pytest.mark.parametrize("command", ["issue", "many", "prepare"])
def test_a_mistyped_ledger_never_counts_from_one(command: str) -> None:
    args = {
        "issue": [*SINGLE, "-o", "v.xml"],
        "many": [*MANY, "--out-dir", "out"],
        "prepare": [*_PREPARE, *LEDGER],
    }[command]
    mistyped = ["legder.db" if one == "ledger.db" else one for one in args]

    result = run(*mistyped)
    allowed = run(*mistyped, "--new-ledger")

    hint = "create it with 'spkg voucher ledger init legder.db'"
    assert failed(result, 9, "legder.db: the ledger does not exist", hint)
    assert allowed.exit_code == 0
    assert Path("legder.db").exists()


_PREPARE: Final = (
    *("voucher", "prepare", "--devices", "devices.csv", "--options", "options.toml"),
    *("--cert", "signer.pem", "--batch", "may", "-o", "request"),
)


@pytest.mark.parametrize("command", [[*SINGLE[:-2], "-o", "v.xml"], [*_PREPARE[:-4], "-o", "r"]])
def test_a_new_ledger_needs_a_name(command: list[str]) -> None:
    where = ["--device", "device.toml"] if "--devices" in command else []
    plain = [one for one in command if one not in {"--devices", "devices.csv"}]

    assert failed(run(*plain, *where, "--serial", "1", "--new-ledger"), 2, "--new-ledger needs --ledger")


def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = new_database("sqlite", tmp_path / "old").url
    make_old(new_database("sqlite", tmp_path / "old"))

    first = run("voucher", "ledger", "migrate", old)
    second = run("voucher", "ledger", "migrate", old, "--json")

    assert (first.exit_code, first.stdout) == (0, f"{old}: brought up to date\n")
    assert json.loads(second.stdout) == {
        "schema": "spkg.voucher.ledger.migrate/1",
        "ledger": old,
        "migrated": False,
    }
    assert run("voucher", "ledger", "migrate", old).stdout == f"{old}: already up to date\n"
    journal = run("voucher", "ledger", "journal", "--ledger", old).stdout.splitlines()
    assert journal[-1].endswith(f"  {login_name()}  migrate: to version 3 of the tables")
    assert run("voucher", "ledger", "audit", "--ledger", old).exit_code == 0


# Voiding.


@pytest.fixture
def filled() -> None:
    """A ledger of one device without a batch, and two in one."""
    run(*SINGLE, "-o", "v.xml")
    run(*MANY, "--out-dir", "out")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("args", "told", "void"),
    [
        (("1", "3"), "1, 3: void\n", [1, 3]),
        (("--batch", "may"), "2 serial numbers: void\n", [2, 3]),
        (("--device", "00D09E/Gateway/000001"), "1 serial number: void\n", [3]),
        (("--device", "00:d0:9e/Gate%77ay/123456789"), "1 serial number: void\n", [1]),
        (("--batch", "may", "--device", "00D09E/Gateway/000000"), "1 serial number: void\n", [2]),
    ],
)
def test_what_is_named_is_made_void(args: tuple[str, ...], told: str, void: list[int]) -> None:
    result = books("void", *args)

    assert (result.exit_code, result.stdout, result.stderr) == (0, told, "")
    assert [serial for serial, *_, state in states() if state == "void"] == void


@pytest.mark.usefixtures("filled")
def test_what_is_made_void_is_a_document() -> None:
    several, batch = document("void", "1", "2"), document("void", "--batch", "may")

    assert several == {
        "schema": "spkg.voucher.ledger.void/1",
        "serials": [1, 2],
        "state": "void",
        "voided": 2,
    }
    assert batch == {"schema": "spkg.voucher.ledger.void/1", "state": "void", "voided": 1}


NAMED: Final = "expected either SERIALs, or --batch or --device"


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        ((), 2, NAMED),
        (("1", "--batch", "may"), 2, NAMED),
        (("--device", "123456789"), 2, "expected a device as OUI/CLASS/SERIAL, got '123456789'"),
        (("--batch", "june"), 5, "nothing to void: expected serial numbers that are not void"),
        (("1", "77"), 5, "serial number 77 is not in this ledger"),
        (("1", "--reason", "x" * 1001), 2, "the reason must have at most 1000 printable characters"),
        (("1", "--actor", "a\nb"), 2, "the actor must have at most 128 printable characters"),
    ],
)
def test_what_can_not_be_made_void_is_told(args: tuple[str, ...], status: int, message: str) -> None:
    result = books("void", *args)

    assert failed(result, status, message)
    assert {state for *_, state in states()} == {"issued"}


# The journal.


@pytest.mark.usefixtures("filled")
def test_the_journal_says_who_did_what_when_and_why() -> None:
    books("void", "1", "--reason", "sold twice", "--actor", "Ada")
    books("void", "--batch", "may")

    told = books("journal")
    found = document("journal")

    who = login_name()
    assert TIME.sub("TIME", told.stdout) == (
        f"       1  TIME  {who}  reserve 1\n"
        f"       2  TIME  {who}  issue 1\n"
        f"       3  TIME  {who}  reserve 2-3, batch may\n"
        f"       4  TIME  {who}  issue 2-3\n"
        f"       5  TIME  Ada  void 1: sold twice\n"
        f"       6  TIME  {who}  void 2-3, batch may\n"
    )
    assert (found["schema"], found["verified"]) == ("spkg.voucher.ledger.journal/1", False)
    assert [(one["number"], one["actor"], one["action"], one["reason"]) for one in found["entries"]][4] == (
        *(5, "Ada", "void", "sold twice"),
    )


def test_an_empty_journal_is_a_document() -> None:
    assert document("journal")["entries"] == []
    assert books("journal").stdout == ""


# Audits.


def tamper(statement: str) -> None:
    with closing(sqlite3.connect("ledger.db")) as connection, connection:
        connection.execute(statement)


@pytest.mark.usefixtures("filled")
def test_books_that_are_right_pass_an_audit() -> None:
    told = books("audit")
    found = document("audit")

    head = document("journal")["entries"][-1]["digest"]
    assert (told.exit_code, told.stdout) == (
        0,
        f"3 serial numbers, 4 journal entries, 0 problems\nlast digest: {head}\n",
    )
    assert found == {
        "schema": "spkg.voucher.ledger.audit/1",
        "status": "right",
        "exit": 0,
        "entries": 4,
        "serials": 3,
        "head": head,
        "problems": [],
        "problem_count": 0,
    }


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "UPDATE spkg_voucher SET serial_number = 'x' WHERE serial = 1",
            "journal entry 1: the ledger has been changed for serial number 1",
        ),
        (
            "UPDATE spkg_journal SET actor = 'x' WHERE number = 2",
            "journal entry 2: the digest does not fit the entry and the one before",
        ),
    ],
)
def test_books_that_are_not_right_end_in_4(statement: str, problem: str) -> None:
    tamper(statement)

    told, found = books("audit"), books("audit", "--json")

    message = "ledger.db: the ledger is not what its journal says, or the journal is broken"
    assert told.exit_code == 4
    assert told.stdout.splitlines()[:2] == [problem, "3 serial numbers, 4 journal entries, 1 problem"]
    assert told.stderr == f"spkg: error: {message}\n"
    assert found.exit_code == 4
    assert json.loads(found.stdout) | {"head": ""} == {
        **failure("untrusted", 4, message),
        "schema": "spkg.voucher.ledger.audit/1",
        "entries": 4,
        "serials": 3,
        "head": "",
        "problems": [problem],
        "problem_count": 1,
    }


@pytest.mark.usefixtures("filled")
def test_of_many_problems_it_is_told_how_many_there_are() -> None:
    write_list(range(200))
    run(*MANY, "--out-dir", "more")
    tamper("UPDATE spkg_voucher SET state = 'void'")

    result = books("audit")

    assert result.exit_code == 4
    assert "and 101 more\n" in result.stdout


# Statistics.


@pytest.mark.usefixtures("filled")
def test_a_ledger_is_counted() -> None:
    books("void", "1")

    found, told, text = document("stats"), books("stats"), books("stats", "--prometheus")

    (month,) = found.pop("by_month")
    assert re.fullmatch(r"20\d\d-\d\d", month)
    assert found == {
        "schema": "spkg.voucher.ledger.stats/1",
        "serials": 3,
        "by_state": {"reserved": 0, "issued": 2, "void": 1},
        "by_option": {"QoS": 3},
        "by_batch": {"": 1, "may": 2},
    }
    assert told.stdout == (
        "3 serial numbers\nby state:\n  reserved  0\n  issued    2\n  void      1\nby Option:\n  QoS  3\n"
        f"by batch:\n  (none)  1\n  may     2\nissued by month:\n  {month}  3\n"
    )
    assert 'spkg_ledger_serials{state="issued"} 2\n' in text.stdout


def test_statistics_have_one_form() -> None:
    result = books("stats", "--prometheus", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout)["message"] == "--prometheus and --json exclude each other"


def test_a_state_that_is_none_ends_in_9() -> None:
    run(*SINGLE, "-o", "v.xml")
    tamper("UPDATE spkg_voucher SET state = 'lost'")

    for command in ("list", "stats"):
        assert books(command).exit_code == 9


def test_who_has_no_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)

    assert login_name() == "unknown"
