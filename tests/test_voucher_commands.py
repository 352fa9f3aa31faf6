"""``spkg voucher`` ``verify``, ``inspect``, ``apply``, ``options``, ``setup``: what they print, their status.

The side of the device; what a server does with vouchers is tested elsewhere.
"""

import json
import re
import sqlite3
import subprocess
import sys
import unicodedata
from base64 import b64encode, encodebytes
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from cli import main
from spkg.digests import Digest
from tests.kit import AT, ROOT, Draft, root
from tests.voucher_kit import DEVICE, IPTV, QOS, VOUCHER, signed
from vouchers.calendar import Units
from vouchers.model import Mode, Option, Voucher
from vouchers.store import OptionStore
from vouchers.xml.document import MAX_VOUCHER

PROGRAM: Final = (sys.executable, str(ROOT / "cli.py"))
PATIENCE: Final = 60
TIME: Final = ("--at", "2026-06-01T12:00:00Z")
ANCHOR: Final = ("--trust", "ca.pem")
TRUST: Final = (*ANCHOR, *TIME)
STORE: Final = ("--store", "o.db")
HERE: Final = ("--device", "device.toml", *STORE)
APPLY: Final = (*TRUST, *HERE)
DEVICE_FILE: Final = """[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
provisioning-code = "ISP-1"
"""
SUPPORTED: Final = '[options]\nsupported = ["VPN", "IPTV", "QoS"]\n'
OFF: Final = replace(QOS, serial="4003", mode=Mode.DISABLE, transferable=False)
VPN: Final = replace(QOS, serial="4004", ident="VPN", transferable=False)
OTHERS: Final = replace(QOS, device=replace(DEVICE, serial_number="7"))
CALLED: Final = "CN=Voucher Signer"
LINES: Final = """option 0
  VSerialNum     4001
  device         00D09E Gateway 123456789 (2Wire)
  OptionIdent    IPTV
  OptionDesc     Television over DSL
  Mode           EnableWithExpiration
  StartDate      2026-05-01T00:00:00Z
  Duration       12
  DurationUnits  Months
option 1
  VSerialNum    4002
  device        00D09E Gateway 123456789 (2Wire)
  OptionIdent   QoS
  OptionDesc    Quality of service
  Mode          EnableWithoutExpiration
  Transferable  1
"""
"""The two Options of the voucher of the kit, for people."""
ACCEPTED: Final = f"{CALLED}, sha256: accepted\n  trusted through CN=Test Root\n"
ELSEWHERE: Final = (
    "DeviceId: the voucher is for 00D09E 'Gateway' '7', and this is 00D09E 'Gateway' '123456789'"
    " [TR-069 C.3, Table 62]"
)
REPLAYED: Final = (
    "VSerialNum: the voucher '4002' was applied before, and does not govern 'QoS' [TR-069 C.3, Table 62]"
)


@cache
def one(option: Option, which: str = "signer", subject: str = "Voucher Signer") -> bytes:
    """Return a voucher for one Option."""
    return signed(Voucher(options=(option,)), which, subject=subject)


@cache
def genuine() -> bytes:
    return signed()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_bytes(root().pem)
    Path("v.xml").write_bytes(genuine())
    Path("off.xml").write_bytes(one(OFF))
    Path("vpn.xml").write_bytes(one(VPN))
    Path("others.xml").write_bytes(one(OTHERS))
    Path("device.toml").write_text(DEVICE_FILE + SUPPORTED)
    Path("plain.toml").write_text(DEVICE_FILE)
    return tmp_path


def run(*args: str) -> Result:
    """Run a command for vouchers in this process."""
    return CliRunner().invoke(main, ["voucher", *args], prog_name="spkg")


def process(*args: str, given: bytes) -> subprocess.CompletedProcess[str]:
    """Run a command for vouchers as a process that has something on its standard input."""
    done = subprocess.run(
        [*PROGRAM, "voucher", *args], input=given, capture_output=True, timeout=PATIENCE, check=False
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )


def told(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


def failed(status: int, *lines: str, stdout: str = "") -> tuple[int, str, str]:
    """Return how a command ends that says one error, and perhaps a hint."""
    words = ("error", "hint")
    return (
        status,
        stdout,
        "".join(f"spkg: {word}: {line}\n" for word, line in zip(words, lines, strict=False)),
    )


def failure(status: str, number: int, message: str, **places: object) -> dict[str, object]:
    """Return what every document says of a failure."""
    nothing = {"source": None, "offset": None, "field": None, "section": None, "hint": None}
    return {"status": status, "exit": number, "message": message, **nothing, **places}


def error(status: str, number: int, message: str, **places: object) -> dict[str, object]:
    return {"schema": "spkg.error/1", **failure(status, number, message, **places)}


def specification(option: Option, **changes: object) -> dict[str, object]:
    """Return an Option as JSON tells it, written from Table 62 once more."""
    start = option.start
    return {
        "VSerialNum": option.serial,
        "DeviceId": {
            "Manufacturer": option.device.manufacturer,
            "OUI": option.device.oui,
            "ProductClass": option.device.product_class,
            "SerialNumber": option.device.serial_number,
        },
        "OptionIdent": option.ident,
        "OptionDesc": option.description,
        "StartDate": None if start is None else f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "Duration": option.duration,
        "DurationUnits": None if option.units is None else option.units.value,
        "Mode": option.mode.value,
        "Transferable": option.transferable,
        "extra": [],
        **changes,
    }


def struct(name: str, **facts: object) -> dict[str, object]:
    """Return an OptionStruct, that of an Option for which there was never a voucher (Table 48)."""
    nothing = {
        "OptionName": name,
        "VoucherSN": 0,
        "State": 0,
        "Mode": 0,
        "StartDate": None,
        "ExpirationDate": None,
        "IsTransferable": False,
        "VSerialNum": None,
        "ended": None,
    }
    assert facts.keys() <= nothing.keys()
    return {**nothing, **facts}


IPTV_ON: Final = struct(
    "IPTV",
    VoucherSN=4001,
    State=1,
    Mode=1,
    StartDate="2026-05-01T00:00:00Z",
    ExpirationDate="2027-05-01T00:00:00Z",
    VSerialNum="4001",
)
QOS_ON: Final = struct(
    "QoS",
    VoucherSN=4002,
    State=1,
    Mode=2,
    StartDate="2026-06-01T12:00:00Z",
    IsTransferable=True,
    VSerialNum="4002",
)


def structs(*args: str, at: str = "2026-06-01T12:00:00Z") -> list[dict[str, Any]]:
    """Return what the store says at a time."""
    result = run("options", *STORE, "--at", at, "--json", *args)
    assert told(result)[::2] == (0, "")
    found: list[dict[str, Any]] = json.loads(result.stdout)["options"]
    return found


def applied(*files: str) -> None:
    assert run("apply", *files, *APPLY).exit_code == 0


# verify


def test_a_genuine_voucher_is_accepted() -> None:
    result = run("verify", "v.xml", *TRUST)

    assert told(result) == (0, f"{ACCEPTED}{LINES}trusted\n", "")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(encodebytes(genuine()), id="with line breaks"),
        pytest.param(encodebytes(genuine()).replace(b"\n", b"\r\n"), id="with line breaks of Windows"),
        pytest.param(b64encode(genuine()), id="in one line"),
        pytest.param(b"\n\t " + b64encode(genuine()) + b"\n\n", id="among blanks"),
        pytest.param(b"\n" + genuine() + b"\n", id="XML among blanks"),
        pytest.param(b"\xef\xbb\xbf" + genuine(), id="XML with a mark of its octet order"),
    ],
)
def test_a_voucher_may_come_in_base64(octets: bytes) -> None:
    Path("v").write_bytes(octets)

    result = run("verify", "v", *TRUST)

    assert told(result) == (0, f"{ACCEPTED}{LINES}trusted\n", "")


@pytest.mark.parametrize("octets", [genuine(), encodebytes(genuine())], ids=["XML", "base64"])
def test_a_voucher_may_come_from_standard_input(octets: bytes) -> None:
    result = process("verify", "-", *TRUST, given=octets)

    assert (result.returncode, result.stdout, result.stderr) == (0, f"{ACCEPTED}{LINES}trusted\n", "")


def test_a_verdict_is_a_document() -> None:
    result = run("verify", "v.xml", *TRUST, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.voucher.verify/1",
        "verdict": "trusted",
        "dates_checked": True,
        "signer": CALLED,
        "digest": "sha256",
        "options": [specification(IPTV), specification(QOS)],
    }


def test_without_a_clock_a_voucher_is_accepted_and_that_is_said() -> None:
    result = run("verify", "v.xml", *ANCHOR, "--no-clock")

    said = "the dates of certificates and revocation lists were not checked: there is no clock\n"
    assert told(result) == (0, f"{ACCEPTED}{said}{LINES}trusted\n", "")


def test_without_a_clock_the_document_says_so() -> None:
    result = run("verify", "v.xml", *ANCHOR, "--no-clock", "--json")

    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["verdict"], found["dates_checked"]) == ("trusted", False)


def test_a_voucher_is_verified_now_where_no_time_is_given() -> None:
    result = run("verify", "v.xml", *ANCHOR)

    assert told(result) == (0, f"{ACCEPTED}{LINES}trusted\n", "")


def test_a_voucher_for_this_device_is_said_to_be_trusted() -> None:
    result = run("verify", "v.xml", *TRUST, "--device", "device.toml")

    assert told(result) == (0, f"{ACCEPTED}{LINES}trusted\n", "")


def test_a_voucher_for_another_device_says_which() -> None:
    lines = LINES.partition("option 1\n")[2].replace("4001", "4002").replace("123456789", "7")

    result = run("verify", "others.xml", *TRUST, "--device", "device.toml")

    assert told(result) == failed(5, ELSEWHERE, stdout=f"{ACCEPTED}option 0\n{lines}")


def test_a_voucher_for_another_device_says_so_in_its_document() -> None:
    result = run("verify", "others.xml", *TRUST, "--device", "device.toml", "--json")

    assert (result.exit_code, result.stderr) == (5, f"spkg: error: {ELSEWHERE}\n")
    assert json.loads(result.stdout) == {
        "schema": "spkg.voucher.verify/1",
        "verdict": "refused",
        "dates_checked": True,
        "signer": CALLED,
        "digest": "sha256",
        "options": [specification(OTHERS)],
        **failure("refused", 5, ELSEWHERE, field="DeviceId", section="C.3, Table 62"),
    }


def test_without_a_clock_no_voucher_is_for_this_device_now() -> None:
    result = run("verify", "vpn.xml", *ANCHOR, "--no-clock", "--device", "device.toml")

    assert (result.exit_code, result.stderr) == (
        5,
        "spkg: error: network time is not established [TR-069 C.2]\n",
    )
    assert "trusted\n" not in result.stdout.splitlines(keepends=True)


def test_a_voucher_whose_contents_were_changed_is_not_trusted() -> None:
    Path("v.xml").write_bytes(genuine().replace(b"<Duration>12<", b"<Duration>99<"))

    result = run("verify", "v.xml", *TRUST)

    assert told(result) == failed(4, "Signature.Object[0]: contents are not those that were signed")


def test_a_voucher_that_is_not_trusted_is_told_of_in_a_document_without_what_it_says() -> None:
    Path("v.xml").write_bytes(genuine().replace(b"<Duration>12<", b"<Duration>99<"))
    message = "Signature.Object[0]: contents are not those that were signed"

    result = run("verify", "v.xml", *TRUST, "--json")

    assert (result.exit_code, result.stderr) == (4, f"spkg: error: {message}\n")
    assert json.loads(result.stdout) == {
        "schema": "spkg.voucher.verify/1",
        "verdict": "untrusted",
        "dates_checked": None,
        "signer": None,
        "digest": None,
        "options": [],
        **failure("untrusted", 4, message, field="Signature.Object[0]"),
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((*TRUST, "--signer", "Somebody"), f"{CALLED} is none of the signers asked for"),
        ((*TRUST, "--required-signers", "2"), "a voucher has one signature, 2 are required"),
        ((*ANCHOR, "--at", "2050-01-01"), "CN=Test Root: certificate has expired"),
    ],
)
def test_a_voucher_that_the_policy_does_not_take_is_not_trusted(
    options: tuple[str, ...], problem: str
) -> None:
    result = run("verify", "v.xml", *options)

    assert told(result) == failed(4, problem)


def test_a_voucher_in_the_form_of_2004_wants_a_word() -> None:
    Path("v.xml").write_bytes(signed(VOUCHER, "dsa1024", Digest.SHA1))

    refused = run("verify", "v.xml", *TRUST)
    accepted = run("verify", "v.xml", *TRUST, "--digests", "sha1,sha256")

    assert told(refused) == failed(
        4, "a signature with sha1 is not accepted", "--digests sha1,sha256 accepts the form of 2004"
    )
    assert told(accepted) == (0, f"{ACCEPTED.replace('256', '1')}{LINES}trusted\n", "")


NO_TRUST: Final = (
    "nothing is trusted without --trust",
    "name the certificates you trust with --trust; 'spkg keygen' makes some to try things with",
)
USAGE: Final = {
    "verify": "Usage: spkg voucher verify [OPTIONS] FILE",
    "inspect": "Usage: spkg voucher inspect [OPTIONS] FILE",
    "apply": "Usage: spkg voucher apply [OPTIONS] FILE...",
    "options": "Usage: spkg voucher options [OPTIONS]",
    "setup": "Usage: spkg voucher setup [OPTIONS] NAME",
}


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("verify", "v.xml"), NO_TRUST),
        (("apply", "v.xml", *HERE), NO_TRUST),
        (("verify", "v.xml", *TRUST, "--no-clock"), ("--at and --no-clock exclude each other",)),
        (("apply", "v.xml", *APPLY, "--no-clock"), ("--at and --no-clock exclude each other",)),
        (
            ("verify", "v.xml", *TRUST, "--digests", "md5"),
            ("--digests takes sha1, sha256 or both, not 'md5'",),
        ),
        (("verify", "v.xml", *TRUST, "--eku", "x"), ("--eku takes an OID, not 'x'",)),
        (("verify",), ("missing argument 'FILE'", USAGE["verify"])),
        (
            ("verify", "v.xml", "vpn.xml", *TRUST),
            ("got unexpected extra argument (vpn.xml)", USAGE["verify"]),
        ),
        (
            ("verify", "v.xml", *ANCHOR, "--at", "never"),
            (
                "invalid value for '--at': 'never' is no time, as 2026-11-21T12:00:00Z is",
                USAGE["verify"],
            ),
        ),
        (("inspect",), ("missing argument 'FILE'", USAGE["inspect"])),
        (("apply", *APPLY), ("missing argument 'FILE...'", USAGE["apply"])),
        (("apply", "v.xml", *TRUST, *STORE), ("missing option '--device'", USAGE["apply"])),
        (
            ("apply", "v.xml", *TRUST, "--device", "device.toml"),
            ("missing option '--store'", USAGE["apply"]),
        ),
        (("options",), ("missing option '--store'", USAGE["options"])),
        (
            ("options", "--store", ""),
            ("invalid value for '--store': a path can't be empty", USAGE["options"]),
        ),
        (("setup", *STORE), ("missing argument 'NAME'", USAGE["setup"])),
        (("setup", "QoS"), ("missing option '--store'", USAGE["setup"])),
    ],
)
def test_wrong_usage_is_said_and_does_nothing(args: tuple[str, ...], problem: tuple[str, ...]) -> None:
    result = run(*args)

    assert told(result) == failed(2, *problem)
    assert not Path("o.db").exists()


def test_wrong_usage_has_a_document_too() -> None:
    verify, apply = run("verify", "v.xml", "--json"), run("apply", "v.xml", *HERE, "--json")

    problem = failure("error", 2, NO_TRUST[0], hint=NO_TRUST[1])
    assert (verify.exit_code, json.loads(verify.stdout)) == (
        2,
        {
            "schema": "spkg.voucher.verify/1",
            "verdict": "error",
            "dates_checked": None,
            "signer": None,
            "digest": None,
            "options": [],
            **problem,
        },
    )
    assert (apply.exit_code, json.loads(apply.stdout)) == (2, {"schema": "spkg.error/1", **problem})


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        (("verify", "no.xml", *TRUST), "no.xml"),
        (("verify", "v.xml", "--trust", "no.pem"), "no.pem"),
        (("verify", "v.xml", *TRUST, "--crl", "no.crl"), "no.crl"),
        (("verify", "v.xml", *TRUST, "--device", "no.toml"), "no.toml"),
        (("inspect", "no.xml"), "no.xml"),
        (("apply", "v.xml", "no.xml", *APPLY), "no.xml"),
        (("apply", "v.xml", *TRUST, *STORE, "--device", "no.toml"), "no.toml"),
    ],
)
def test_a_file_that_is_not_there_is_named(args: tuple[str, ...], missing: str) -> None:
    result = run(*args)

    assert told(result) == failed(9, f"{missing}: no such file or directory")
    assert not Path("o.db").exists()


def test_a_device_that_is_malformed_is_named() -> None:
    Path("device.toml").write_text("[device]\noui = 7\n")

    verify, apply = run("verify", "v.xml", *TRUST, "--device", "device.toml"), run("apply", "v.xml", *APPLY)

    wanted = failed(3, "device.toml: device.oui: a string belongs here, in quotes")
    assert (told(verify), told(apply)) == (wanted, wanted)


# What is no voucher, for all commands that read one.

NONE: Final[Mapping[str, tuple[bytes, str]]] = {
    "package": (
        Draft().encode(),
        "this is a package, and no voucher [TR-069 C.3]\nspkg: hint: 'spkg verify' verifies it",
    ),
    "nothing": (b"", "offset 0x0000: no XML: document is empty [TR-069 C.3]"),
    "words": (b"hello, world", "neither XML nor base64 [TR-069 C.3]"),
    "other XML": (b"<a/>", "a: a Signature of XML-Signature belongs here (line 1) [TR-069 C.3]"),
    "XML in base64": (
        b64encode(b"<a/>"),
        "a: a Signature of XML-Signature belongs here (line 1) [TR-069 C.3]",
    ),
    "base64 twice": (
        b64encode(b64encode(genuine())),
        "offset 0x0000: no XML: start tag expected, '<' not found [TR-069 C.3]",
    ),
    "an octet too many": (
        genuine().ljust(MAX_VOUCHER + 1),
        "a voucher of more than 262144 octets [TR-069 C.3]",
    ),
    "an octet too many in base64": (
        encodebytes(genuine().ljust(MAX_VOUCHER + 1)),
        "a voucher of more than 262144 octets [TR-069 C.3]",
    ),
    "far too large": (genuine().ljust(1 << 20), "a voucher of more than 262144 octets [TR-069 C.3]"),
    "far too much base64": (b"A" * (1 << 20), "a voucher of more than 262144 octets [TR-069 C.3]"),
}


@pytest.mark.parametrize("command", ["verify", "inspect", "apply"])
@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_voucher_is_said_of_its_file(command: str, kind: str) -> None:
    octets, problem = NONE[kind]
    Path("x").write_bytes(octets)
    options = {"verify": TRUST, "inspect": (), "apply": APPLY}[command]

    result = run(command, "x", *options)

    assert told(result) == failed(3, f"x: {problem}")
    assert not Path("o.db").exists()


def test_a_file_that_never_ends_is_too_large() -> None:
    result = run("inspect", "/dev/zero")

    assert told(result) == failed(3, "/dev/zero: a voucher of more than 262144 octets [TR-069 C.3]")


@pytest.mark.parametrize("command", ["options", "setup", "apply"])
def test_a_store_is_a_file_and_no_stream(command: str) -> None:
    args = {"options": (), "setup": ("QoS",), "apply": ("v.xml", *TRUST, "--device", "device.toml")}[command]

    result = run(command, *args, "--store", "-")

    assert told(result) == failed(2, "--store wants a file")


def test_standard_input_is_one_voucher() -> None:
    result = run("apply", "-", "v.xml", "-", *APPLY)

    assert told(result) == failed(2, "only one of the vouchers can come from standard input")


def test_the_largest_voucher_is_taken() -> None:
    Path("v.xml").write_bytes(genuine().ljust(MAX_VOUCHER))
    Path("v.b64").write_bytes(encodebytes(genuine().ljust(MAX_VOUCHER)))

    results = [run("verify", name, *TRUST) for name in ("v.xml", "v.b64")]

    assert [told(result) for result in results] == [(0, f"{ACCEPTED}{LINES}trusted\n", "")] * 2


def test_what_is_no_voucher_on_standard_input_is_said_of_it() -> None:
    result = process("verify", "-", *TRUST, given=b"")

    assert (result.returncode, result.stdout, result.stderr) == failed(
        3, "-: offset 0x0000: no XML: document is empty [TR-069 C.3]"
    )


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_voucher_is_no_package(command: str) -> None:
    options = TRUST if command == "verify" else ()

    result = CliRunner().invoke(main, [command, "v.xml", *options], prog_name="spkg")

    assert told(result)[:2] == (3, "")
    assert result.stderr == (
        "spkg: error: offset 0x0000: header.preamble: 3c 53 69 67 6e 61 74 75 is not the preamble of a signed"
        " package [TR-069 E.3]\n"
        "spkg: hint: it looks like XML: 'spkg voucher' has commands for vouchers\n"
    )


# inspect

SEEN: Final = """not verified
signature
  http://www.w3.org/2001/04/xmldsig-more#rsa-sha256
  CN=Voucher Signer
    by CN=Test Root, 2025-06-01T12:00:00Z to 2049-06-01T12:00:00Z
  CN=Test Root
    by CN=Test Root, 2025-06-01T12:00:00Z to 2049-06-01T12:00:00Z
"""
INSPECTED: Final = {
    "schema": "spkg.voucher.inspect/1",
    "verified": False,
    "signature": {
        "method": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        "digests": ["http://www.w3.org/2001/04/xmlenc#sha256"],
        "octets": 256,
        "key_value": True,
    },
    "certificates": [
        {
            "subject": name,
            "issuer": "CN=Test Root",
            "serial": serial,
            "not_before": "2025-06-01T12:00:00Z",
            "not_after": "2049-06-01T12:00:00Z",
        }
        for name, serial in ((CALLED, 4000), ("CN=Test Root", 1))
    ],
    "options": [specification(IPTV), specification(QOS)],
    "problems": [],
}


@pytest.mark.parametrize("octets", [genuine(), encodebytes(genuine())], ids=["XML", "base64"])
def test_all_that_a_voucher_says_is_shown_and_nothing_is_believed(octets: bytes) -> None:
    Path("v").write_bytes(octets)

    people, programs = run("inspect", "v"), run("inspect", "v", "--json")

    assert told(people) == (0, SEEN + LINES, "")
    assert (programs.exit_code, programs.stderr, json.loads(programs.stdout)) == (0, "", INSPECTED)


def test_a_voucher_on_standard_input_is_inspected() -> None:
    result = process("inspect", "-", given=genuine())

    assert (result.returncode, result.stdout, result.stderr) == (0, SEEN + LINES, "")


def test_what_somebody_changed_is_shown_as_it_is_now() -> None:
    Path("v.xml").write_bytes(genuine().replace(b"<Duration>12<", b"<Duration>99<"))

    result = run("inspect", "v.xml")

    assert told(result) == (0, SEEN + LINES.replace("Duration       12", "Duration       99"), "")


def test_an_option_that_is_malformed_is_marked_and_the_others_are_shown() -> None:
    octets = genuine().replace(b"<Mode>EnableWithExpiration<", b"<Mode>EnableForEver<")
    Path("v.xml").write_bytes(octets)
    line = octets[: octets.index(b"<Option>")].count(b"\n") + 1
    problem = (
        f"Signature.Object[0].Option: 'EnableForEver' is not a valid Mode (line {line})"
        " [TR-069 C.3, Tables 62 and 63]"
    )
    second = LINES[LINES.index("option 1\n") :]

    people, programs = run("inspect", "v.xml"), run("inspect", "v.xml", "--json")

    assert people.stdout == f"{SEEN}option 0\n  {problem}\n{second}"
    assert (people.exit_code, programs.exit_code) == (3, 3)
    assert json.loads(programs.stdout) == {
        **INSPECTED,
        "options": [None, specification(QOS)],
        "problems": [problem],
    }
    assert people.stderr == programs.stderr == f"spkg: error: v.xml: {problem}\n"


def test_a_method_of_signing_that_nobody_takes_is_marked() -> None:
    Path("v.xml").write_bytes(genuine().replace(b"#rsa-sha256", b"#rsa-md5"))
    method = "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"

    inspect, verify = run("inspect", "v.xml"), run("verify", "v.xml", *TRUST)

    assert told(inspect) == (
        0,
        SEEN.replace("#rsa-sha256", "#rsa-md5, which is none of those taken") + LINES,
        "",
    )
    assert told(verify) == failed(4, f"the SignatureMethod {method} is none of those taken")


def test_elements_within_elements_are_shown_by_their_path() -> None:
    extra = (("Note", "one"), ("More", (("Inner", "two"), ("Deep", (("er", "three"),)))))
    Path("v.xml").write_bytes(one(replace(QOS, extra=extra)))

    people, programs = run("inspect", "v.xml"), run("inspect", "v.xml", "--json")

    assert people.stdout.splitlines()[-4:] == [
        "  Transferable  1",
        "  Note          one",
        "  More.Inner    two",
        "  More.Deep.er  three",
    ]
    assert json.loads(programs.stdout)["options"] == [
        specification(QOS, extra=[["Note", "one"], ["More", [["Inner", "two"], ["Deep", [["er", "three"]]]]]])
    ]


# apply

DONE: Final = (
    "IPTV: enabled until 2027-05-01T00:00:00Z, by voucher 4001\n"
    "QoS: enabled, by voucher 4002\n"
    "  signed by CN=Voucher Signer\n"
)


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
            "IPTV: enabled until 2027-05-01T00:00:00Z, by this voucher already: nothing changes\n"
            "QoS: enabled, by this voucher already: nothing changes\n"
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
        ("device.toml", 3, "device.toml: neither XML nor base64 [TR-069 C.3]"),
        ("changed.xml", 4, "changed.xml: Signature.Object[0]: contents are not those that were signed"),
        ("others.xml", 5, f"others.xml: {ELSEWHERE}"),
        ("over.xml", 5, "over.xml: the Option 'VPN' has expired at 2026-05-31T00:00:00Z [TR-069 C.2]"),
        ("more.xml", 5, "more.xml: this device has no Option 'More' [TR-069 C.3, Table 62]"),
        ("twice.xml", 5, "twice.xml: two instructions for one Option, 'VPN' [TR-069 C.3]"),
        ("-", 3, "-: offset 0x0000: no XML: document is empty [TR-069 C.3]"),
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

    problem = "product-class and serial-number must be stated: a voucher is for one device"
    wanted = failed(3, f"device.toml: device: {problem} [TR-069 C.3, Table 63]")
    assert [told(result) for result in results] == [wanted, wanted]
    assert not Path("o.db").exists()


def test_vouchers_beyond_what_a_list_may_have_are_refused() -> None:
    result = run("apply", *["v.xml"] * 65, *APPLY)

    assert told(result) == failed(5, "65 vouchers at once, 64 are taken")


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


# options

TABLE: Final = (
    "IPTV  enabled until 2027-05-01T00:00:00Z                  voucher 4001\n"
    "QoS   enabled                               transferable  voucher 4002\n"
    "next change: 2027-05-01T00:00:00Z\n"
)


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

    assert told(people) == failed(2, "there is no Option 'Nope' here")
    assert (programs.exit_code, json.loads(programs.stdout)) == (
        2,
        error("error", 2, "there is no Option 'Nope' here"),
    )


@pytest.mark.parametrize("args", [("options", *STORE), ("options", *STORE, *TIME), ("setup", "QoS", *STORE)])
def test_a_store_that_is_not_there_is_not_made(args: tuple[str, ...]) -> None:
    result = run(*args)

    assert told(result) == failed(9, "o.db: unable to open database file")
    assert not Path("o.db").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("options", *STORE),
        ("options", *STORE, *TIME),
        ("setup", "QoS", *STORE),
        ("apply", "v.xml", *APPLY),
    ],
)
def test_a_file_that_is_no_store_is_named_and_left_alone(args: tuple[str, ...]) -> None:
    Path("o.db").write_bytes(genuine())

    result = run(*args)

    assert told(result) == failed(9, "o.db: file is not a database")
    assert Path("o.db").read_bytes() == genuine()


def test_a_store_that_is_not_there_has_a_document() -> None:
    result = run("options", *STORE, "--json")

    assert (result.exit_code, json.loads(result.stdout)) == (
        9,
        error("error", 9, "o.db: unable to open database file"),
    )


def test_a_store_that_is_another_database_is_named() -> None:
    with sqlite3.connect("o.db") as database:
        database.execute("CREATE TABLE mine (thing)")
    database.close()

    result = run("apply", "v.xml", *APPLY)

    assert told(result) == failed(9, "o.db is no store of Options that this program knows")


@pytest.mark.parametrize("device", ["device.toml", "other.toml"])
def test_asking_about_another_time_changes_nothing(device: str) -> None:
    Path("other.toml").write_text(DEVICE_FILE.replace("ISP-1", "ISP-2"))
    applied("v.xml", "vpn.xml")
    before = Path("o.db").read_bytes()

    results = [
        run("options", "--device", device, *STORE, "--at", at) for at in ("9999-12-31", "2026-06-01T12:00")
    ]

    assert [result.exit_code for result in results] == [0, 0]
    assert "IPTV  disabled, expired at 2027-05-01T00:00:00Z" in results[0].stdout
    assert "IPTV  enabled until 2027-05-01T00:00:00Z" in results[1].stdout
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


def test_asking_about_another_time_a_new_provider_has_not_come_yet() -> None:
    applied("vpn.xml")
    Path("device.toml").write_text((DEVICE_FILE + SUPPORTED).replace("ISP-1", "ISP-2"))

    result = run("options", *HERE, "--name", "VPN", *TIME)

    assert told(result) == (0, "VPN  enabled      voucher 4004\n", "")
    assert [one["ended"] for one in structs()] == [None]


def test_asking_about_now_remembers_a_new_provider() -> None:
    applied("vpn.xml")
    Path("device.toml").write_text((DEVICE_FILE + SUPPORTED).replace("ISP-1", "ISP-2"))

    result = run("options", *HERE, "--name", "VPN")

    assert told(result) == (0, "VPN  disabled, the provider has changed      voucher 4004\n", "")
    Path("device.toml").write_text(DEVICE_FILE + SUPPORTED)
    assert [one["ended"] for one in structs()] == ["provider"]


# setup


def test_an_option_is_set_up_and_not() -> None:
    applied("v.xml")

    done = run("setup", "QoS", *STORE)
    during = structs("--name", "QoS")
    shown = run("options", *STORE, *TIME, "--name", "QoS")
    undone = run("setup", "QoS", *STORE, "--undo")

    assert told(done) == (0, "QoS: set up\n", "")
    assert during == [{**QOS_ON, "State": 3}]
    assert shown.stdout.startswith("QoS  enabled  set up  transferable  voucher 4002\n")
    assert told(undone) == (0, "QoS: not set up\n", "")
    assert structs("--name", "QoS") == [QOS_ON]


def test_what_there_was_no_voucher_for_is_not_set_up() -> None:
    applied("v.xml")
    before = Path("o.db").read_bytes()

    result = run("setup", "VPN", *STORE)

    assert told(result) == failed(2, "there was no voucher for an Option 'VPN'")
    assert Path("o.db").read_bytes() == before


# What comes from an input can't control a terminal.

HOSTILE: Final = replace(
    QOS,
    serial="4\u202e",
    device=replace(DEVICE, manufacturer="\x9b31m\nspkg: error: none\r", product_class="\x7f\u2066"),
    ident="Q\x9b2J\u202eoS\nx",
    description="\u2028\u00a0\t\x85\u200b",
    extra=(("Note", "\x9b2J\nspkg: hint: none"), ("More", (("Inner", "b\u202e"),))),
)
HOSTILE_DEVICE: Final = (
    '[device]\noui = "00D09E"\nproduct-class = "\\u007F\\u2066"\nserial-number = "123456789"\n'
)


def hostile() -> None:
    Path("v.xml").write_bytes(one(HOSTILE, subject="Evil\x9b2J\u202e"))
    Path("device.toml").write_text(HOSTILE_DEVICE)


def assert_harmless(*texts: str) -> None:
    """Nothing but visible characters, spaces and the ends of our own lines."""
    for text in texts:
        found = {unicodedata.name(char, hex(ord(char))) for char in text if not harmless(char)}
        assert not found


def harmless(char: str) -> bool:
    return char in "\n " or unicodedata.category(char)[0] not in "CZ"


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["people", "programs"])
def test_a_hostile_voucher_controls_no_terminal(as_json: tuple[str, ...]) -> None:
    hostile()
    name = HOSTILE.ident

    results = [
        run("inspect", "v.xml", *as_json),
        run("verify", "v.xml", *TRUST, *as_json),
        run("verify", "v.xml", *TRUST, "--device", "plain.toml", *as_json),
        run("verify", "v.xml", *TRUST, "--signer", "Somebody", *as_json),
        run("apply", "v.xml", *APPLY, *as_json),
        run("apply", "v.xml", *APPLY, *as_json),
        run("options", *STORE, *TIME, *as_json),
        run("options", *STORE, *TIME, "--name", name, *as_json),
        run("options", *STORE, *TIME, "--name", f"{name}\x1b[2J", *as_json),
    ]

    assert [result.exit_code for result in results] == [0, 0, 5, 4, 0, 0, 0, 0, 2]
    stdout = "".join(result.stdout for result in results)
    assert_harmless(stdout, *(one.stderr for one in results))
    assert not {line for line in stdout.splitlines() if line.startswith("spkg: ")}


def test_a_hostile_voucher_is_shown_line_by_line() -> None:
    hostile()

    result = run("apply", "v.xml", *APPLY)

    assert told(result) == (
        0,
        "Q\\x9b2J\\u202eoS\\nx: enabled, by voucher 4\\u202e\n  signed by CN=Evil\\x9b2J\\u202e\n",
        "",
    )


def test_a_hostile_name_is_set_up_and_does_no_harm() -> None:
    hostile()
    applied("v.xml")

    known, unknown = (run("setup", name, *STORE) for name in (HOSTILE.ident, "\x1b[31m\n"))

    assert told(known) == (0, "Q\\x9b2J\\u202eoS\\nx: set up\n", "")
    assert unknown.exit_code == 2
    assert_harmless(known.stdout, unknown.stderr)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Television", b"\x1b[31m"),
        (b"<Mode>EnableWithExpiration", "<Mode>\u202e\x9b".encode()),
        (b"<Duration>12", "<Duration>\u202e\x9b".encode()),
        (b"<StartDate>2026", "<StartDate>\u202e\x9b".encode()),
        (b"#rsa-sha256", "#\u202e\x9b2J".encode()),
        (b"#sha256", "#\u202e\x9b2J".encode()),
        (b"OptionDesc>", "Option\u200dDesc>".encode()),
        (b"<SignatureValue>", "<SignatureValue>\u202e\x9b".encode()),
        (b'Id="option0"', 'Id="\u202e\x9b"'.encode()),
        (b"Television", b"\x1b]0;\xff\x07"),
    ],
)
def test_what_is_wrong_with_hostile_text_is_told_without_harm(old: bytes, new: bytes) -> None:
    Path("v.xml").write_bytes(genuine().replace(old, new))

    results = [
        run(*command, *as_json)
        for command in (("inspect", "v.xml"), ("verify", "v.xml", *TRUST), ("apply", "v.xml", *APPLY))
        for as_json in ((), ("--json",))
    ]

    assert {result.exit_code for result in results[2:]} <= {3, 4}
    assert_harmless(*(result.stdout + result.stderr for result in results))


def test_a_hostile_file_name_is_told_without_harm() -> None:
    result = run("verify", "\x1b[31m\u202e.xml", *TRUST)

    assert told(result) == failed(9, "\\x1b[31m\\u202e.xml: no such file or directory")


# Garbage.


def spoiled(octets: bytes, random: Random) -> bytes:
    """Return a voucher that is hardly one any more."""
    match random.randrange(6):
        case 0:
            return random.randbytes(random.randrange(2000))
        case 1:
            return octets[: random.randrange(len(octets))]
        case 2:
            spots = bytearray(octets)
            for _ in range(random.randrange(1, 20)):
                spots[random.randrange(len(spots))] = random.randrange(256)
            return bytes(spots)
        case 3:
            start, end = sorted(random.randrange(len(octets)) for _ in range(2))
            return octets[:start] + octets[end:]
        case 4:
            start, end, at = (random.randrange(len(octets)) for _ in range(3))
            return octets[:at] + octets[start : start + end] + octets[at:]
        case _:
            tags = re.findall(rb"</?[\w:]+[^>]*>", octets)
            old, new = random.choice(tags), random.choice([*tags, b"", b"<a/>", b"&x;", b"<!--x-->"])
            return octets.replace(old, new, random.choice((1, -1)))


@pytest.mark.parametrize("seed", range(10))
def test_garbage_is_malformed_or_not_trusted_and_never_a_defect(seed: int) -> None:
    random = Random(seed)
    found: dict[int, int] = {}
    for number in range(30):
        octets = spoiled(genuine(), random)
        Path("v").write_bytes(encodebytes(octets) if number % 5 == 0 else octets)

        inspect = run("inspect", "v")
        verify = run("verify", "v", *TRUST, "--json")
        apply = run("apply", "v", *ANCHOR, *TIME, "--device", "device.toml", "--store", f"{number}.db")

        assert inspect.exit_code in {0, 3}, inspect.stderr
        assert verify.exit_code in {0, 3, 4}, verify.stderr
        assert apply.exit_code == verify.exit_code
        assert Path(f"{number}.db").exists() is (apply.exit_code == 0)
        assert_harmless(inspect.stdout, inspect.stderr, verify.stderr, apply.stderr)
        said = json.loads(verify.stdout)["options"]
        assert said == ([specification(IPTV), specification(QOS)] if verify.exit_code == 0 else [])
        found[verify.exit_code] = found.get(verify.exit_code, 0) + 1
    assert found[3] > 10
