"""``spkg voucher renew`` and ``revoke``: lists, batches that are cut off, and what is refused."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.common.times import write_time
from tests.support.acs_files import KEY, LEDGER, MANY, SINGLE, entries, failed, furnish, states, write_list
from tests.support.commands import run
from tests.support.issuing import run_killed, run_killed_at_commit
from vouchers.model import Mode, Option
from vouchers.signature.option_elements import read_option
from vouchers.signature.shape import read_voucher

START: Final = datetime.now(UTC).replace(microsecond=0) - timedelta(days=10)
TV: Final = f"""
[[option]]
ident = "IPTV"
description = "Television"
mode = "EnableWithExpiration"
start-date = {write_time(START)}
duration = 20
duration-units = "Days"
[option.extra]
Tier = "gold"
"""
WHENEVER: Final = """
[[option]]
ident = "Radio"
mode = "EnableWithExpiration"
duration = 5
duration-units = "Days"
"""
RENEW: Final = ("voucher", "renew", *LEDGER, "--within", "30d")
BATCH: Final = (*RENEW, *KEY, "--batch", "next", "--jobs", "1")
REVOKE: Final = ("voucher", "revoke", *LEDGER, *KEY)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, and a ledger of two devices with an Option that ends soon."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("options.toml").write_text(TV)
    write_list(range(2))
    assert run(*MANY, "--out-dir", "out").exit_code == 0
    return tmp_path


def document(*args: str) -> Any:
    result = run(*args, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout.splitlines()[-1] if "--batch" in args else result.stdout)


def option(path: str) -> Option:
    ((only,),) = [read_voucher(Path(path).read_bytes()).objects[0]]
    return read_option(only)


def test_what_ends_soon_is_listed() -> None:
    end = write_time(START + timedelta(days=20))

    result = run(*RENEW)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"         1  00D09E Gateway 000000: IPTV ends {end}\n"
        f"         2  00D09E Gateway 000001: IPTV ends {end}\n"
    )
    assert run("voucher", "renew", *LEDGER, "--within", "9d").stdout == ""
    assert run("voucher", "renew", *LEDGER, "--within", "9999999999d").stdout != ""


def test_what_ends_soon_is_listed_as_a_document() -> None:
    Path("options.toml").write_text(WHENEVER)
    run(*SINGLE, "-o", "v.xml")

    found = document(*RENEW)

    known = run("voucher", "ledger", "list", *LEDGER, "--json").stdout
    assert found["schema"] == "spkg.voucher.renew/1"
    by_serial = {one["serial"]: one for one in json.loads(known)["entries"]}
    assert found["entries"] == [by_serial[3], by_serial[1], by_serial[2]]
    assert [one["end_estimated"] for one in found["entries"]] == [True, False, False]
    assert " or later\n" in run(*RENEW).stdout
    assert document("voucher", "renew", *LEDGER, "--within", "1h") == {
        "schema": "spkg.voucher.renew/1",
        "entries": [],
    }


def test_renewals_are_issued_in_a_batch() -> None:
    Path("options.toml").write_text(WHENEVER)
    run(*SINGLE, "-o", "v.xml")

    result = run(*BATCH, "--format", "xml", "--out-dir", "renewed", "--json")

    progress, last = map(json.loads, result.stdout.splitlines())
    assert progress == {"schema": "spkg.voucher.renew/1", "event": "progress", "options": 2, "total": 2}
    assert (result.exit_code, last) == (
        0,
        {
            "schema": "spkg.voucher.renew/1",
            "event": "result",
            "batch": "next",
            "status": "issued",
            "exit": 0,
            "output": "renewed",
            "issued": 2,
            "confirmed": 2,
            "rejected": 0,
            "estimated": 1,
            "warnings": [],
        },
    )
    assert result.stderr == (
        "spkg: hint: 1 Option without a StartDate may end soon: see 'spkg voucher renew' without --batch\n"
    )
    found = option("renewed/4.xml")
    assert (found.start, found.duration, found.description, found.extra) == (
        *(START, 40, "Television", (("Tier", "gold"),)),
    )
    assert run("voucher", "ledger", "audit", *LEDGER).exit_code == 0


def test_renewals_are_told_to_people() -> None:
    result = run(*BATCH, "--out-dir", "renewed")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "renewed: 2 vouchers, batch next\n", "")


def test_a_device_without_a_renewal_is_told() -> None:
    run(*BATCH, "--out-dir", "renewed")
    Path("options.toml").write_text(TV.replace("IPTV", "Radio"))
    run(*MANY[:-3], "june", "--jobs", "1", "--out-dir", "june")

    result = run(*BATCH, "--out-dir", "again")

    assert (result.exit_code, result.stdout) == (3, "again: 2 vouchers, batch next\n")
    assert result.stderr == (
        "spkg: error: 2 devices got no renewal\nspkg: hint: see again/rejected.csv for the reasons\n"
    )


@pytest.mark.parametrize(
    ("happening", "name"),
    [
        ("open", "renewed.part/vouchers.ndjson"),
        ("os.rename", "renewed.part"),
        ("os.remove", "renewed/.unfinished"),
    ],
)
def test_a_batch_of_renewals_that_was_killed_is_completed(happening: str, name: str) -> None:
    run_killed(happening, str(Path(name).absolute()), *BATCH, "--out-dir", str(Path("renewed").absolute()))

    result = run(*BATCH, "--out-dir", "renewed")

    assert (result.exit_code, result.stdout) == (0, "renewed: 2 vouchers, batch next\n")
    assert states() == [
        *((serial, number, "IPTV", "issued") for serial, number in ((1, "000000"), (2, "000001"))),
        *((serial, number, "IPTV", "issued") for serial, number in ((3, "000000"), (4, "000001"))),
    ]


@pytest.mark.parametrize("number", [2, 3])
def test_whatever_commit_a_run_is_killed_at_the_same_command_completes(number: int) -> None:
    run_killed_at_commit(number, *BATCH, "--out-dir", "renewed")
    run_killed_at_commit(number, *REVOKE, "--serial", "1", "-o", "off.xml", "--force")

    renewed = run(*BATCH, "--out-dir", "renewed")
    revoked = run(*REVOKE, "--serial", "1", "-o", "off.xml", "--force")

    assert (renewed.exit_code, revoked.exit_code) == (0, 0)
    assert {one.state.value for one in entries()} == {"issued"}
    assert len({one.renews for one in entries() if one.renews}) == len(
        [one for one in entries() if one.renews]
    )
    assert run("voucher", "ledger", "audit", *LEDGER).exit_code == 0


@pytest.mark.parametrize("kind", [(), ("--json",)])
def test_a_revocation_that_was_killed_is_completed(kind: tuple[str, ...]) -> None:
    place = str(Path("off.xml").absolute())
    run_killed("os.link", place, *REVOKE, "--serial", "1", "-o", place)
    Path(place).unlink(missing_ok=True)

    result = run(*REVOKE, "--serial", "1", "-o", "off.xml", *kind)

    assert result.exit_code == 0
    assert [(one.serial, one.revokes, one.state.value) for one in entries()][2:] == [(3, 1, "issued")]
    assert option("off.xml").mode is Mode.DISABLE


def test_a_voucher_is_revoked() -> None:
    result = run(*REVOKE, "--serial", "2", "-o", "off.xml", "--actor", "desk 4")
    again = document(*REVOKE, "--device", "00D09E/Gateway/000001", "-o", "again.xml")

    assert (result.exit_code, result.stdout) == (0, "off.xml: 1 Option for 00D09E 000001, serials 3\n")
    assert (again["schema"], again["status"], again["serials"]) == ("spkg.voucher.revoke/1", "revoked", [3])
    assert Path("again.xml").read_bytes() == Path("off.xml").read_bytes()
    assert [one.revoked_by for one in entries()] == [None, 3, None]
    assert re.findall("desk 4  (reserve|issue) 3", run("voucher", "ledger", "journal", *LEDGER).stdout) == [
        *("reserve", "issue"),
    ]
    assert [one["serial"] for one in document(*RENEW)["entries"]] == [1]


def test_a_revocation_goes_to_standard_output() -> None:
    result = run(*REVOKE, "--serial", "1", "--format", "base64", "-o", "-")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout_bytes.startswith(b"PD94") or result.stdout_bytes.startswith(b"PFNp")


@pytest.mark.parametrize(
    ("args", "status", "message", "hint"),
    [
        ((*REVOKE, "--serial", "77", "-o", "x"), 5, "serial number 77 is not in this ledger", None),
        (
            (*REVOKE, "--device", "00D09E/Gateway/7", "-o", "x"),
            *(5, "the ledger has no voucher that enables an Option of 00D09E Gateway 7", None),
        ),
        ((*REVOKE, "-o", "x"), 2, "expected either --serial or --device", None),
        (
            (*REVOKE, "--serial", "1", "--device", "00D09E/Gateway/7", "-o", "x"),
            *(2, "expected either --serial or --device", None),
        ),
        ((*REVOKE, "--serial", "1", "-o", "-", "--json"), 2, "-o - and --json exclude each other", None),
        (
            ("voucher", "renew", *LEDGER, "--within", "soon"),
            *(2, "--within: expected a time such as 30d or 12h, got 'soon'", None),
        ),
        (
            ("voucher", "renew", *LEDGER, "--within", "30"),
            *(2, "--within: expected a time such as 30d or 12h, got '30'", None),
        ),
        ((*RENEW, "--out-dir", "x"), 2, "--out-dir, --options, --key and --cluster need --batch", None),
        (
            (*RENEW, "--cluster", "tls://x:1"),
            *(2, "--out-dir, --options, --key and --cluster need --batch", None),
        ),
        (
            (*BATCH, "--cluster", "tls://x:1", "--out-dir", "x"),
            *(2, "--cluster excludes --jobs", None),
        ),
        (BATCH, 2, "--batch needs --out-dir", None),
        (
            (*RENEW, *KEY, "--batch", "a\nb", "--out-dir", "x"),
            *(2, "--batch must have 1 to 128 printable characters", None),
        ),
        (
            (*BATCH, "--options", "options.toml", "--out-dir", "x"),
            *(
                3,
                "IPTV: a renewal begins where the Option ends: expected no StartDate",
                "leave start-date out",
            ),
        ),
        (
            (*BATCH, "--out-dir", "out"),
            2,
            "out already exists",
            "give another path to write the same batch again",
        ),
    ],
)
def test_what_can_not_be_done_is_refused(
    args: tuple[str, ...], status: int, message: str, hint: str | None
) -> None:
    result = run(*args)

    if "--json" in args:
        assert (result.exit_code, message in result.stdout) == (status, True)
    else:
        assert failed(result, status, message, hint)
    assert not Path("x").exists()
    assert len(entries()) == 2


def test_a_batch_that_fails_before_it_starts_has_a_result() -> None:
    result = run(*RENEW, "--batch", "next", "--out-dir", "x", "--json")

    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert (result.exit_code, found["schema"], found["event"], found["exit"]) == (
        *(2, "spkg.voucher.renew/1", "result", 2),
    )


def test_a_ledger_that_is_missing_is_not_created() -> None:
    result = run("voucher", "renew", "--ledger", "none.db", "--within", "30d")

    assert result.exit_code == 9
    assert not Path("none.db").exists()


def test_strict_refuses_what_would_be_warned_of() -> None:
    for args in ((*BATCH, "--out-dir", "x"), (*REVOKE, "--serial", "1", "-o", "x")):
        assert run(*args, "--strict", "--trust", "ca.pem", "--at", "2001-01-01").exit_code in {4, 5}
    assert len(entries()) == 2
