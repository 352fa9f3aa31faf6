"""A ledger that somebody or something has damaged ends in 9, or for an audit in 4, in our own words."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from spkg.errors import HostError
from tests.support.acs_files import KEY, LEDGER, MANY, furnish, write_list
from tests.support.commands import run
from tests.support.kit import AT
from vouchers.acs.ledger import Ledger

RENEW = ("voucher", "renew", *LEDGER, "--within", "999d", "--batch", "r", *KEY, "--out-dir", "renewals")
REVOKE = ("voucher", "revoke", *LEDGER, "--serial", "1", *KEY, "-o", "r.xml")
BAD_OUI = "OUI: expected six upper-case hexadecimal digits, got 'zz'"
VOID = ("voucher", "ledger", "void", "3", *LEDGER)
JOURNAL = ("voucher", "ledger", "journal", *LEDGER)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a ledger in which three devices have two Options each."""
    place = tmp_path_factory.mktemp("issued")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        furnish()
        assert run(*MANY, "--out-dir", "out").exit_code == 0
    return place


@pytest.fixture(autouse=True)
def here(issued: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(issued, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def damage(statement: str) -> None:
    with closing(sqlite3.connect("ledger.db")) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "command", "problem"),
    [
        (
            "DELETE FROM spkg_ledger",
            VOID,
            "ledger.db: damaged: expected one row in spkg_ledger, the end of the journal, got 0",
        ),
        (
            "INSERT INTO spkg_ledger SELECT 2, length, head FROM spkg_ledger",
            VOID,
            "ledger.db: damaged: expected one row in spkg_ledger, the end of the journal, got 2",
        ),
        (
            "DELETE FROM spkg_serial",
            REVOKE,
            "ledger.db: damaged: expected one row in spkg_serial, the next serial number, got 0",
        ),
        (
            "UPDATE spkg_journal SET reason = x'00ff' WHERE number = 2",
            (*JOURNAL, "--json"),
            "ledger.db: damaged: journal entry 2: reason: expected str, got bytes",
        ),
        (
            "UPDATE spkg_journal SET serials = x'01' WHERE number = 1",
            JOURNAL,
            "ledger.db: damaged: journal entry 1: serials: expected str, got bytes",
        ),
        (
            "UPDATE spkg_voucher SET duration = 0 WHERE serial = 1",
            RENEW,
            "the ledger is damaged: serial number 1: Duration: must be at least 1, got 0",
        ),
        (
            "UPDATE spkg_voucher SET renewal_duration = -50, renewal_units = 'Months' WHERE serial = 1",
            RENEW,
            "the ledger is damaged: serial number 1: Duration: must be from 0 to 4294967295, got -38",
        ),
        (
            "UPDATE spkg_voucher SET oui = 'zz' WHERE serial = 1",
            REVOKE,
            f"the ledger is damaged: serial number 1: {BAD_OUI}",
        ),
    ],
)
def test_a_damaged_ledger_is_told_where_it_is_damaged(
    statement: str, command: tuple[str, ...], problem: str
) -> None:
    damage(statement)

    result = run(*command)

    assert result.exit_code == 9
    if "--json" not in command:
        assert result.stderr == f"spkg: error: {problem}\n"
    else:
        assert problem in result.stdout + result.stderr


def test_an_estimate_of_damaged_terms_is_told() -> None:
    damage(
        "UPDATE spkg_voucher SET state = 'reserved', issued_at = NULL, start = NULL, "
        "duration_units = 'Weeks' WHERE serial = 1"
    )

    with Ledger("ledger.db", lambda: AT) as ledger, pytest.raises(HostError) as caught:
        ledger.confirm([1])

    assert str(caught.value) == ("ledger.db: damaged: expected a Duration in Days or Months, got 12 'Weeks'")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "DELETE FROM spkg_ledger",
            "expected one row in spkg_ledger, the end of the journal, got 0",
        ),
        (
            "UPDATE spkg_journal SET serials = x'01' WHERE number = 1",
            "journal entry 1: not valid: expected serial numbers as 1-400,402, got \"b'\\\\x01'\"",
        ),
        (
            "UPDATE spkg_journal SET serials = printf('%.*c', 5000, '9') WHERE number = 1",
            f"journal entry 1: not valid: expected serial numbers as 1-400,402, got '{'9' * 40}'",
        ),
        (
            "UPDATE spkg_journal SET action = x'01' WHERE number = 1",
            "journal entry 1: not valid: unknown action b'\\x01'",
        ),
    ],
)
def test_an_audit_tells_in_our_words_what_is_not_right(statement: str, problem: str) -> None:
    damage(statement)

    result = run("voucher", "ledger", "audit", *LEDGER)

    assert result.exit_code == 4
    assert problem in result.stdout.splitlines()


def test_a_device_of_a_batch_that_has_no_number_is_told_by_a_list(tmp_path: Path) -> None:
    damage("INSERT INTO spkg_batch_device VALUES ('may', '00D09E', 'Gateway', '000007')")
    write_list([7])

    result = run(*MANY, "--out-dir", str(tmp_path / "new"))

    assert result.exit_code == 9
    assert result.stderr.startswith("spkg: error: ledger.db: UNIQUE constraint failed: spkg_batch_device.")


def test_a_foreign_database_is_not_said_to_lack_a_ledger() -> None:
    with closing(sqlite3.connect("other.db")) as connection, connection:
        connection.execute("CREATE TABLE other (one)")

    result = run("voucher", "ledger", "list", "--ledger", "other.db")

    assert (result.exit_code, result.stderr) == (
        9,
        "spkg: error: other.db: expected a ledger, got a database with other tables\n",
    )


@pytest.mark.parametrize("devices", ["none.csv", "options.toml", "."])
def test_what_is_no_list_leaves_nothing_behind(devices: str) -> None:
    result = run(*MANY, "--devices", devices, "--out-dir", "new")

    assert result.exit_code in {3, 9}
    assert not Path("new.part").exists()
