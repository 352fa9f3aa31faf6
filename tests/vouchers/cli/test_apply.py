"""``spkg voucher apply``: Options that vouchers enable and disable, all of them or none."""

import json
import sqlite3
from base64 import encodebytes
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import error
from tests.support.kit import AT
from tests.support.voucher_files import (
    ANCHOR,
    APPLY,
    CALLED,
    DEVICE_FILE,
    ELSEWHERE,
    HERE,
    IPTV_ON,
    QOS_ON,
    SUPPORTED,
    TRUST,
    VPN,
    applied,
    failed,
    furnish,
    genuine,
    one,
    process,
    run,
    struct,
    structs,
    told,
)
from tests.support.voucher_kit import signed
from vouchers.cpe.store import OptionStore
from vouchers.model import Mode, Voucher
from vouchers.months import Units

REPLAYED: Final = (
    "VSerialNum: voucher '4002' was applied before and no longer governs 'QoS' [TR-069 C.3, Table 62]"
)
DONE: Final = (
    "IPTV: enabled until 2027-05-01T00:00:00Z, by voucher 4001\n"
    "QoS: enabled, by voucher 4002\n"
    "  signed by CN=Voucher Signer\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_a_voucher_is_applied() -> None:
    result = run("apply", "v.xml", *APPLY)

    assert told(result) == (0, DONE, "")
    assert structs("--device", "device.toml") == [struct("VPN"), IPTV_ON, QOS_ON]


@pytest.mark.parametrize("octets", [genuine(), encodebytes(genuine())], ids=["XML", "base64"])
def test_a_voucher_on_standard_input_is_applied(octets: bytes) -> None:
    result = process("apply", "-", *APPLY, given=octets)

    assert (result.returncode, result.stdout, result.stderr) == (0, DONE, "")


def test_a_voucher_that_comes_again_changes_nothing() -> None:
    applied("v.xml")
    before = Path("o.db").read_bytes()

    result = run("apply", "v.xml", *APPLY)

    assert told(result) == (
        0,
        (
            "IPTV: enabled until 2027-05-01T00:00:00Z, unchanged: this voucher was already applied\n"
            "QoS: enabled, unchanged: this voucher was already applied\n"
            "  signed by CN=Voucher Signer\n"
        ),
        "",
    )
    assert Path("o.db").read_bytes() == before


def test_vouchers_that_were_applied_are_a_document() -> None:
    applied("v.xml")

    result = run("apply", "v.xml", "off.xml", *APPLY, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.voucher.apply/1",
        "status": "applied",
        "vouchers": [
            {
                "file": "v.xml",
                "signer": CALLED,
                "options": [
                    {"OptionIdent": "IPTV", "VSerialNum": "4001", "changed": False},
                    {"OptionIdent": "QoS", "VSerialNum": "4002", "changed": False},
                ],
            },
            {
                "file": "off.xml",
                "signer": CALLED,
                "options": [{"OptionIdent": "QoS", "VSerialNum": "4003", "changed": True}],
            },
        ],
    }


def test_an_option_is_disabled_and_one_begins_later() -> None:
    Path("later.xml").write_bytes(one(replace(VPN, start=AT + timedelta(days=1))))

    result = run("apply", "off.xml", "later.xml", *APPLY)

    assert told(result) == (
        0,
        (
            "QoS: disabled, by voucher 4003\n"
            "  signed by CN=Voucher Signer\n"
            "VPN: disabled until 2026-06-02T12:00:00Z, by voucher 4004\n"
            "  signed by CN=Voucher Signer\n"
        ),
        "",
    )


def test_a_voucher_that_was_superseded_is_refused() -> None:
    applied("v.xml")
    applied("off.xml")
    before = Path("o.db").read_bytes()

    people, programs = run("apply", "v.xml", *APPLY), run("apply", "v.xml", *APPLY, "--json")

    assert told(people) == failed(5, f"v.xml: {REPLAYED}")
    assert (programs.exit_code, programs.stderr) == (5, f"spkg: error: v.xml: {REPLAYED}\n")
    assert json.loads(programs.stdout) == error(
        "refused", 5, f"v.xml: {REPLAYED}", source="v.xml", field="VSerialNum", section="C.3, Table 62"
    )
    assert Path("o.db").read_bytes() == before


@pytest.mark.parametrize(
    ("bad", "status", "problem"),
    [
        ("no.xml", 9, "no.xml: no such file or directory"),
        ("device.toml", 3, "device.toml: not a voucher: neither XML nor base64 [TR-069 C.3]"),
        ("changed.xml", 4, "changed.xml: Signature.Object[0]: contents do not match the signed digest"),
        ("others.xml", 5, f"others.xml: {ELSEWHERE}"),
        ("over.xml", 5, "over.xml: the Option 'VPN' expired at 2026-05-31T00:00:00Z [TR-069 C.2]"),
        ("more.xml", 5, "more.xml: this device has no Option 'More' [TR-069 C.3, Table 62]"),
        ("twice.xml", 5, "twice.xml: the Option 'VPN' occurs twice in the voucher [TR-069 C.3]"),
        ("-", 3, "-: offset 0x0000: malformed XML: document is empty [TR-069 C.3]"),
    ],
)
def test_several_vouchers_are_applied_all_or_none_and_the_bad_one_is_named(
    bad: str, status: int, problem: str
) -> None:
    Path("changed.xml").write_bytes(genuine().replace(b"<Duration>12<", b"<Duration>99<"))
    start = datetime(2026, 5, 1, tzinfo=UTC)
    over = replace(VPN, mode=Mode.WITH_EXPIRATION, start=start, duration=30, units=Units.DAYS)
    Path("over.xml").write_bytes(one(over))
    Path("more.xml").write_bytes(one(replace(VPN, ident="More")))
    Path("twice.xml").write_bytes(signed(Voucher(options=(VPN, replace(VPN, serial="4005")))))

    if bad == "-":
        done = process("apply", "v.xml", bad, "vpn.xml", *APPLY, given=b"")
        found = (done.returncode, done.stdout, done.stderr)
    else:
        found = told(run("apply", "v.xml", bad, "vpn.xml", *APPLY))

    assert found == failed(status, problem)
    assert not Path("o.db").exists()


def test_a_bad_voucher_is_named_in_the_document() -> None:
    result = run("apply", "v.xml", "others.xml", *APPLY, "--json")

    message = f"others.xml: {ELSEWHERE}"
    assert (result.exit_code, result.stderr) == (5, f"spkg: error: {message}\n")
    assert json.loads(result.stdout) == error(
        "refused", 5, message, source="others.xml", field="DeviceId", section="C.3, Table 62"
    )


def test_a_replay_among_several_vouchers_leaves_all_as_it_was() -> None:
    applied("v.xml")
    applied("off.xml")
    before = Path("o.db").read_bytes()

    result = run("apply", "vpn.xml", "v.xml", *APPLY)

    assert told(result) == failed(5, f"v.xml: {REPLAYED}")
    assert Path("o.db").read_bytes() == before


def test_without_a_clock_nothing_is_applied() -> None:
    result = run("apply", "v.xml", *ANCHOR, "--no-clock", *HERE)

    assert told(result) == failed(5, "network time is not established [TR-069 C.2]")
    assert not Path("o.db").exists()


def test_a_device_that_does_not_say_who_it_is_gets_nothing() -> None:
    Path("device.toml").write_text('[device]\noui = "00D09E"\n')

    results = [run("apply", "v.xml", *APPLY), run("verify", "v.xml", *TRUST, "--device", "device.toml")]

    problem = "missing product-class and serial-number: vouchers need the device's identity"
    wanted = failed(3, f"device.toml: device: {problem} [TR-069 C.3, Table 63]")
    assert [told(result) for result in results] == [wanted, wanted]
    assert not Path("o.db").exists()


def test_vouchers_beyond_what_a_list_may_have_are_refused() -> None:
    result = run("apply", *["v.xml"] * 65, *APPLY)

    assert told(result) == failed(5, "expected at most 64 vouchers, got 65")


def test_a_time_that_is_supposed_does_not_move_the_clock_of_the_store() -> None:
    supposed = run("apply", "v.xml", *APPLY)
    with OptionStore(Path("o.db")) as store:
        before = store.last_time()
    started = datetime.now(UTC).replace(microsecond=0)
    real = run("apply", "vpn.xml", *ANCHOR, *HERE)
    with OptionStore(Path("o.db")) as store:
        after = store.last_time()

    assert (supposed.exit_code, real.exit_code, before) == (0, 0, None)
    assert after is not None
    assert started <= after <= datetime.now(UTC)


def test_a_new_provider_is_one_also_where_the_voucher_is_refused() -> None:
    applied("v.xml", "vpn.xml")
    Path("device.toml").write_text((DEVICE_FILE + SUPPORTED).replace("ISP-1", "ISP-2"))

    result = run("apply", "others.xml", *APPLY)

    assert result.exit_code == 5
    assert [(one["OptionName"], one["State"], one["ended"]) for one in structs()] == [
        ("IPTV", 0, "provider"),
        ("QoS", 1, None),
        ("VPN", 0, "provider"),
    ]


def test_what_a_voucher_of_a_new_provider_enables_stays_enabled() -> None:
    applied("vpn.xml")
    Path("device.toml").write_text((DEVICE_FILE + SUPPORTED).replace("ISP-1", "ISP-2"))
    Path("new.xml").write_bytes(one(replace(VPN, serial="1")))

    applied("new.xml")

    assert [(one["VSerialNum"], one["State"]) for one in structs()] == [("1", 1)]


def test_a_store_that_is_another_database_is_named() -> None:
    with sqlite3.connect("o.db") as database:
        database.execute("CREATE TABLE mine (thing)")
    database.close()

    result = run("apply", "v.xml", *APPLY)

    assert told(result) == failed(9, "o.db is not a store of Options that this version can read")
