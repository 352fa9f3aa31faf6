"""``spkg voucher options``: how Options stand, at any time."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import error
from tests.support.kit import AT
from tests.support.voucher_files import (
    ANCHOR,
    DEVICE_FILE,
    HERE,
    IPTV_ON,
    QOS_ON,
    STORE,
    SUPPORTED,
    TIME,
    VPN,
    applied,
    failed,
    furnish,
    one,
    run,
    struct,
    structs,
    told,
)
from tests.support.voucher_kit import QOS
from vouchers.cpe.store import OptionStore
from vouchers.model import Mode
from vouchers.months import Units

TABLE: Final = (
    "IPTV  enabled until 2027-05-01T00:00:00Z                  voucher 4001\n"
    "QoS   enabled                               transferable  voucher 4002\n"
    "next change: 2027-05-01T00:00:00Z\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_without_a_device_the_options_of_the_store_are_listed() -> None:
    applied("v.xml")

    result = run("options", *STORE, *TIME)

    assert told(result) == (0, TABLE, "")


def test_with_a_device_all_that_it_supports_is_listed() -> None:
    applied("v.xml")

    result = run("options", *HERE, *TIME)

    assert told(result) == (0, f"VPN   disabled\n{TABLE}", "")


def test_a_device_that_lists_nothing_has_the_options_of_the_store() -> None:
    applied("v.xml")

    result = run("options", "--device", "plain.toml", *STORE, *TIME)

    assert told(result) == (0, TABLE, "")


def test_options_are_told_as_table_48_has_them() -> None:
    applied("v.xml")

    result = run("options", *HERE, *TIME, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.voucher.options/1",
        "at": "2026-06-01T12:00:00Z",
        "next_change": "2027-05-01T00:00:00Z",
        "options": [struct("VPN"), IPTV_ON, QOS_ON],
    }


@pytest.mark.parametrize(
    ("at", "line"),
    [
        ("2026-04-30T23:59:59Z", "IPTV  disabled until 2026-05-01T00:00:00Z      voucher 4001\n"),
        ("2026-05-01T00:00:00Z", "IPTV  enabled until 2027-05-01T00:00:00Z      voucher 4001\n"),
        ("2027-04-30T23:59:59Z", "IPTV  enabled until 2027-05-01T00:00:00Z      voucher 4001\n"),
        ("2027-05-01T01:59:59+02:00", "IPTV  enabled until 2027-05-01T00:00:00Z      voucher 4001\n"),
        ("2027-05-01", "IPTV  disabled, expired at 2027-05-01T00:00:00Z      voucher 4001\n"),
    ],
)
def test_an_option_is_told_as_it_stands_at_a_time(at: str, line: str) -> None:
    applied("v.xml")

    result = run("options", *STORE, "--name", "IPTV", "--at", at)

    due = re.sub(r"next change: \S+\n", "", result.stdout)
    assert (result.exit_code, due, result.stderr) == (0, line, "")


def test_a_store_in_which_nothing_is_says_so() -> None:
    OptionStore(Path("o.db"), create=True).close()

    people, programs = run("options", *STORE, *TIME), run("options", *STORE, *TIME, "--json")

    assert told(people) == (0, "no Options\n", "")
    assert json.loads(programs.stdout) == {
        "schema": "spkg.voucher.options/1",
        "at": "2026-06-01T12:00:00Z",
        "next_change": None,
        "options": [],
    }


def test_the_next_change_is_that_of_an_option_that_is_told() -> None:
    applied("v.xml")
    Path("few.toml").write_text(DEVICE_FILE + '[options]\nsupported = ["QoS"]\n')

    results = [
        run("options", *STORE, *TIME, "--json", *more)
        for more in (("--name", "QoS"), ("--device", "few.toml"))
    ]

    assert [json.loads(result.stdout)["next_change"] for result in results] == [None, None]


def test_what_has_ended_says_why() -> None:
    short = replace(VPN, serial="9", mode=Mode.WITH_EXPIRATION, duration=1, units=Units.DAYS)
    Path("short.xml").write_bytes(one(short))
    Path("mine.xml").write_bytes(one(replace(QOS, transferable=False)))
    applied("short.xml", "mine.xml")
    with OptionStore(Path("o.db")) as store:
        store.observe(None, AT + timedelta(days=1))
        store.observe("ISP-2", None)

    people, programs = run("options", *STORE, *TIME), structs()

    expired = "disabled, expired at 2026-06-02T12:00:00Z"
    moved = "disabled, the provider has changed".ljust(len(expired))
    assert told(people) == (0, f"QoS  {moved}      voucher 4002\nVPN  {expired}      voucher 9\n", "")
    assert [(one["ended"], one["Mode"], one["State"]) for one in programs] == [
        ("provider", 0, 0),
        ("expired", 0, 0),
    ]


def test_one_option_is_asked_for_by_name() -> None:
    applied("v.xml")

    assert structs("--name", "QoS") == [QOS_ON]
    assert structs("--name", "VPN", "--device", "device.toml") == [struct("VPN")]


@pytest.mark.parametrize("more", [(), ("--device", "device.toml")])
def test_a_name_that_is_no_options_is_wrong_usage(more: tuple[str, ...]) -> None:
    applied("v.xml")

    people = run("options", *STORE, *TIME, *more, "--name", "Nope")
    programs = run("options", *STORE, *TIME, *more, "--name", "Nope", "--json")

    assert told(people) == failed(2, "unknown Option 'Nope'")
    assert (programs.exit_code, json.loads(programs.stdout)) == (
        2,
        error("error", 2, "unknown Option 'Nope'"),
    )


def test_a_store_that_is_not_there_has_a_document() -> None:
    result = run("options", *STORE, "--json")

    assert (result.exit_code, json.loads(result.stdout)) == (
        9,
        error("error", 9, "o.db: unable to open database file"),
    )


@pytest.mark.parametrize("device", ["device.toml", "other.toml"])
def test_asking_about_another_time_changes_nothing(device: str) -> None:
    Path("other.toml").write_text(DEVICE_FILE.replace("ISP-1", "ISP-2"))
    applied("v.xml", "vpn.xml")
    before = Path("o.db").read_bytes()

    results = [
        run("options", "--device", device, *STORE, "--at", at) for at in ("9999-12-31", "2026-06-01T12:00")
    ]

    assert [result.exit_code for result in results] == [0, 0]
    changed = "IPTV  disabled, the provider has changed"
    ended, enabled = (
        (changed, changed)
        if device == "other.toml"
        else ("IPTV  disabled, expired at 2027-05-01T00:00:00Z", "IPTV  enabled until 2027-05-01T00:00:00Z")
    )
    assert ended in results[0].stdout
    assert enabled in results[1].stdout
    assert Path("o.db").read_bytes() == before
    assert sorted(path.name for path in Path().glob("o.db*")) == ["o.db"]


def test_asking_about_now_remembers_what_has_expired() -> None:
    start = datetime(2025, 7, 1, tzinfo=UTC)
    long_over = replace(VPN, mode=Mode.WITH_EXPIRATION, start=start, duration=1, units=Units.DAYS)
    Path("v.xml").write_bytes(one(long_over))
    assert run("apply", "v.xml", *ANCHOR, "--at", "2025-07-01", *HERE).exit_code == 0
    before = structs(at="2025-07-01")

    now = run("options", *STORE)

    assert told(now) == (0, "VPN  disabled, expired at 2025-07-02T00:00:00Z      voucher 4004\n", "")
    assert [one["State"] for one in before] == [1]
    assert [(one["State"], one["ended"]) for one in structs(at="2025-07-01")] == [(0, "expired")]


def test_an_option_that_was_enabled_at_once_is_enabled_whatever_the_clock_says_now() -> None:
    assert run("apply", "vpn.xml", *ANCHOR, "--at", "2040-01-01", *HERE).exit_code == 0

    now, supposed = run("options", *STORE), run("options", *STORE, "--at", "2039-12-31")

    assert told(now)[1].startswith("VPN  enabled      voucher 4004\n")
    assert told(supposed)[1].startswith("VPN  disabled until 2040-01-01T00:00:00Z      voucher 4004\n")


def test_asking_about_another_time_shows_what_a_new_provider_ends_and_stores_nothing() -> None:
    applied("vpn.xml")
    Path("device.toml").write_text((DEVICE_FILE + SUPPORTED).replace("ISP-1", "ISP-2"))

    result = run("options", *HERE, "--name", "VPN", *TIME)

    assert told(result) == (0, "VPN  disabled, the provider has changed      voucher 4004\n", "")
    assert [one["ended"] for one in structs()] == [None]


def test_what_a_new_provider_ends_changes_no_more() -> None:
    applied("v.xml")
    Path("device.toml").write_text(DEVICE_FILE.replace("ISP-1", "ISP-2"))

    with_device, without = (run("options", *where, *TIME, "--json") for where in (HERE, STORE))

    assert json.loads(with_device.stdout)["next_change"] is None
    assert json.loads(without.stdout)["next_change"] == "2027-05-01T00:00:00Z"


def test_asking_about_now_remembers_a_new_provider() -> None:
    applied("vpn.xml")
    Path("device.toml").write_text((DEVICE_FILE + SUPPORTED).replace("ISP-1", "ISP-2"))

    result = run("options", *HERE, "--name", "VPN")

    assert told(result) == (0, "VPN  disabled, the provider has changed      voucher 4004\n", "")
    Path("device.toml").write_text(DEVICE_FILE + SUPPORTED)
    assert [one["ended"] for one in structs()] == ["provider"]
