"""Issuing to one device and to many: all forms, restarts at any moment, and what is told of all that."""

import csv
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import cli
from cli import main
from spkg.digests import Digest
from spkg.errors import UsageError
from spkg.output import bulk_directory
from tests.kit import AT, KEYS, ROOT, root
from tests.postgres import new_database, postgres
from tests.support.sampling import amount, chance
from tests.test_output import listing
from tests.voucher_kit import DEVICE, pem, signatory, verified
from vouchers.bulk import AT_ONCE
from vouchers.ledger import MAX_SERIAL, Entry, Ledger, State
from vouchers.model import DeviceId, Voucher
from vouchers.soap import read_envelope
from vouchers.templates import load_options
from vouchers.xml.signing import VoucherSigner

PROGRAM: Final = (sys.executable, str(ROOT / "cli.py"))
PATIENCE: Final = 120
"""How many seconds a process has before a test gives it up."""
OPTIONS: Final = """
[[option]]
ident = "IPTV"
description = "Television over DSL"
mode = "EnableWithExpiration"
start-date = 2026-05-01T00:00:00Z
duration = 12
duration-units = "Months"

[[option]]
ident = "QoS"
mode = "EnableWithoutExpiration"
transferable = true
"""
ONE: Final = '[[option]]\nident = "QoS"\nmode = "EnableWithoutExpiration"\n'
DEVICE_FILE: Final = """
[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
"""
KEY: Final = ("--key", "signer.key", "--cert", "signer.pem")
ISSUE: Final = ("voucher", "issue", *KEY, "--options", "options.toml")
LEDGER: Final = ("--ledger", "ledger.db")
SINGLE: Final = (*ISSUE, "--device", "device.toml", *LEDGER)
MANY: Final = (*ISSUE, "--devices", "devices.csv", *LEDGER, "--batch", "may", "--jobs", "1")
SCHEMA: Final = "spkg.voucher.issue/1"
TIME: Final = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    prepare()
    write_list(range(3))
    new_ledger("ledger.db")
    return tmp_path


def new_ledger(url: str) -> None:
    Ledger(url, cli._now).close()


QUICK: Final = "small"
"""The RSA key that signs fastest, always the same octets."""


def prepare(which: str = QUICK) -> None:
    shutil.copy(KEYS / f"{which}.key", "signer.key")
    Path("signer.pem").write_bytes(pem(signatory(which).certificate, root().certificate))
    Path("ca.pem").write_bytes(root().pem)
    Path("options.toml").write_text(OPTIONS)
    Path("device.toml").write_text(DEVICE_FILE)


def device(number: int) -> DeviceId:
    return replace(DEVICE, manufacturer="", serial_number=f"{number:06}")


def write_list(numbers: Sequence[int], name: str = "devices.csv") -> None:
    rows = (f"00D09E,Gateway,{number:06}\n" for number in numbers)
    Path(name).write_text(f"oui,product_class,serial_number\n{''.join(rows)}")


def run(*args: str | Path) -> Result:
    """Run the program in this process."""
    return CliRunner().invoke(main, [str(one) for one in args], prog_name="spkg")


def voucher(serials: Sequence[int], one: DeviceId = DEVICE) -> Voucher:
    """Return the voucher for a device under these numbers."""
    pairs = zip(load_options(Path("options.toml")), serials, strict=True)
    return Voucher(options=tuple(template.option(serial, one) for template, serial in pairs))


def xml(serials: Sequence[int], one: DeviceId = DEVICE) -> bytes:
    """Return what the RSA key makes of it, always the same octets."""
    return VoucherSigner(signatory(QUICK)).sign(voucher(serials, one))


def entries(url: str = "ledger.db") -> list[Entry]:
    with Ledger(url, cli._now, create=False) as ledger:
        return [*ledger.entries()]


def states(url: str = "ledger.db") -> list[tuple[int, str, str, str]]:
    """Return serial number, device, Option and state of all entries."""
    return [(one.serial, one.serial_number, one.option, one.state.value) for one in entries(url)]


def failed(result: Result, status: int, message: str, hint: str | None = None) -> bool:
    """Whether a command failed, and told people just this."""
    told = f"spkg: error: {message}\n" + ("" if hint is None else f"spkg: hint: {hint}\n")
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", told)
    return True


# One device.


def test_a_voucher_for_one_device_is_written_and_counted_as_issued() -> None:
    result = run(*SINGLE, "-o", "v.xml")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "v.xml: 2 Options for 00D09E 123456789, serials 1, 2\n"
    assert Path("v.xml").read_bytes() == xml([1, 2])
    assert verified(Path("v.xml").read_bytes()).voucher == voucher([1, 2])
    assert states() == [(1, "123456789", "IPTV", "issued"), (2, "123456789", "QoS", "issued")]
    assert {entry.batch for entry in entries()} == {None}


def test_a_voucher_for_one_device_is_told_as_a_document() -> None:
    Path("options.toml").write_text(ONE)

    result = run(*SINGLE, "-o", "v.xml", "--json")

    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    assert json.loads(result.stdout) == {
        "schema": SCHEMA,
        "event": "result",
        "status": "issued",
        "exit": 0,
        "output": "v.xml",
        "device": {
            "Manufacturer": "2Wire",
            "OUI": "00D09E",
            "ProductClass": "Gateway",
            "SerialNumber": "123456789",
        },
        "serials": [1],
    }


@pytest.mark.parametrize("form", ["xml", "base64", "soap", "ndjson"])
def test_standard_output_is_what_a_file_would_be(form: str) -> None:
    file = run(*SINGLE, "--batch", "may", "--format", form, "-o", "v")

    result = run(*SINGLE, "--batch", "may", "--format", form, "-o", "-")

    assert (file.exit_code, result.exit_code, result.stderr) == (0, 0, "")
    assert result.stdout_bytes == Path("v").read_bytes()
    assert [one.state for one in entries()] == [State.ISSUED] * 2


def test_a_voucher_is_written_in_every_form() -> None:
    outputs = {}
    for form in ("xml", "base64", "soap", "ndjson"):
        assert run(*SINGLE, "--batch", "may", "--format", form, "-o", form).exit_code == 0
        outputs[form] = Path(form).read_bytes()

    octets = xml([1, 2])
    assert outputs["xml"] == octets
    assert outputs["base64"] == b64encode(octets) + b"\n"
    assert outputs["ndjson"].endswith(b"\n")
    assert json.loads(outputs["ndjson"]) == {
        "device": {
            "manufacturer": "2Wire",
            "oui": "00D09E",
            "product_class": "Gateway",
            "serial_number": "123456789",
        },
        "serials": [1, 2],
        "voucher": b64encode(octets).decode(),
    }
    assert in_envelope(outputs["soap"]) == ("1", [octets])


def in_envelope(octets: bytes) -> tuple[str | None, list[bytes]]:
    """Return the name of a request SetVouchers, and the vouchers in it."""
    request = read_envelope(octets)
    assert request.method is not None
    assert request.method.tag == "{urn:dslforum-org:cwmp-1-0}SetVouchers"
    (vouchers,) = request.method
    assert vouchers.tag == "VoucherList"
    return request.id, [b64decode(one.text or "") for one in vouchers]


def test_without_a_batch_every_voucher_is_new() -> None:
    for name in ("a.xml", "b.xml"):
        assert run(*SINGLE, "-o", name).exit_code == 0

    assert Path("b.xml").read_bytes() == xml([3, 4])


def test_the_same_batch_writes_the_same_voucher_again() -> None:
    first = run(*SINGLE, "--batch", "may", "-o", "a.xml")
    again = run(*SINGLE, "--batch", "may", "-o", "b.xml")
    forced = run(*SINGLE, "--batch", "may", "-o", "a.xml", "--force")

    assert [one.exit_code for one in (first, again, forced)] == [0, 0, 0]
    assert Path("a.xml").read_bytes() == Path("b.xml").read_bytes() == xml([1, 2])
    assert [entry.serial for entry in entries()] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("duration = 12", "duration = 13", "the batch has something else to say to this device"),
        ('ident = "QoS"', 'ident = "QOS"', "the batch has other Options for this device"),
    ],
)
def test_the_same_batch_says_nothing_else(old: str, new: str, message: str) -> None:
    run(*SINGLE, "--batch", "may", "-o", "a.xml")
    Path("options.toml").write_text(OPTIONS.replace(old, new))

    result = run(*SINGLE, "--batch", "may", "-o", "b.xml")

    assert failed(result, 5, message)
    assert not Path("b.xml").exists()
    assert [entry.serial for entry in entries()] == [1, 2]


def test_a_voucher_that_is_void_is_not_written_again() -> None:
    run(*SINGLE, "--batch", "may", "-o", "a.xml")
    run("voucher", "ledger", "void", "2", *LEDGER)

    result = run(*SINGLE, "--batch", "may", "-o", "b.xml")

    assert failed(result, 5, "the voucher 2 of this batch is void")
    assert not Path("b.xml").exists()


def test_an_output_that_can_not_be_written_leaves_its_numbers_reserved_until_it_can() -> None:
    result = run(*SINGLE, "--batch", "may", "-o", "nowhere/v.xml")
    assert failed(result, 9, "nowhere/v.xml: no such file or directory")
    before = [entry.state for entry in entries()]

    Path("nowhere").mkdir()
    again = run(*SINGLE, "--batch", "may", "-o", "nowhere/v.xml")

    assert before == [State.RESERVED] * 2
    assert again.exit_code == 0
    assert Path("nowhere/v.xml").read_bytes() == xml([1, 2])
    assert [entry.state for entry in entries()] == [State.ISSUED] * 2


def test_an_output_that_exists_is_refused_before_a_number_is_taken() -> None:
    Path("v.xml").write_text("mine")

    result = run(*SINGLE, "-o", "v.xml")

    assert failed(result, 2, "v.xml exists", "--force overwrites it")
    assert Path("v.xml").read_text() == "mine"
    assert entries() == []


@pytest.mark.parametrize(
    ("output", "which"),
    [
        ("device.toml", "--device"),
        ("options.toml", "--options"),
        ("signer.key", "--key"),
        ("signer.pem", "--cert"),
    ],
)
def test_an_output_is_none_of_the_inputs(output: str, which: str) -> None:
    before = listing(Path())

    result = run(*SINGLE, "-o", output, "--force")

    assert failed(result, 2, f"{output} is {which}, and can't be the output")
    assert listing(Path()) == before


def test_numbers_may_be_given_without_a_ledger() -> None:
    before = {*listing(Path())}

    result = run(*ISSUE, "--device", "device.toml", "--serial", "4001", "-o", "v.xml")

    assert result.stdout == "v.xml: 2 Options for 00D09E 123456789, serials 4001, 4002\n"
    assert Path("v.xml").read_bytes() == xml([4001, 4002])
    assert {*listing(Path())} == {*before, "v.xml"}


def test_numbers_that_are_given_end_with_the_last_one() -> None:
    last = run(*ISSUE, "--device", "device.toml", "--serial", str(MAX_SERIAL - 1), "-o", "v.xml")
    beyond = run(*ISSUE, "--device", "device.toml", "--serial", str(MAX_SERIAL), "-o", "w.xml")

    assert last.exit_code == 0
    assert Path("v.xml").read_bytes() == xml([MAX_SERIAL - 1, MAX_SERIAL])
    assert failed(beyond, 2, "--serial 4294967295: 2 Options count beyond 4294967295")
    assert not Path("w.xml").exists()


def test_a_ledger_that_is_new_is_told_once() -> None:
    Path("ledger.db").unlink()

    new = run(*SINGLE, "-o", "a.xml")
    old = run(*SINGLE, "-o", "b.xml")

    hint = "spkg: hint: the ledger is new, and begins to count: one key wants one ledger\n"
    assert (new.exit_code, old.exit_code) == (0, 0)
    assert (new.stderr, old.stderr) == (hint, "")


def test_a_batch_is_signed_with_one_key() -> None:
    run(*SINGLE, "--batch", "may", "-o", "a.xml")
    prepare("p256")

    result = run(*SINGLE, "--batch", "may", "-o", "b.xml")

    assert failed(result, 5, "the batch was signed with another key")


def test_an_option_that_is_over_is_told() -> None:
    Path("options.toml").write_text(OPTIONS.replace("2026", "2020"))

    result = run(*SINGLE, "-o", "v.xml")

    assert (result.exit_code, result.stderr) == (
        0,
        "spkg: hint: the Option 'IPTV' is over already: no device takes this voucher\n",
    )


def test_a_ledger_in_a_directory_that_is_not_there_is_told() -> None:
    result = run(*ISSUE, "--device", "device.toml", "--ledger", "nowhere/ledger.db", "-o", "v.xml")

    assert failed(result, 9, "nowhere/ledger.db: unable to open database file")
    assert not Path("v.xml").exists()


def test_a_device_that_does_not_say_who_it_is_gets_no_voucher() -> None:
    Path("device.toml").write_text('[device]\noui = "00D09E"\n')

    result = run(*SINGLE, "-o", "v.xml")

    message = (
        "device.toml: device: product-class and serial-number must be stated: a voucher is for one device "
        "[TR-069 C.3, Table 63]"
    )
    assert failed(result, 3, message)
    assert entries() == []


DEVICE_ARGS: Final = ("--device", "device.toml")
LIST_ARGS: Final = ("--devices", "devices.csv")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([*LEDGER, "-o", "v"], "either --device, or --devices"),
        ([*DEVICE_ARGS, *LIST_ARGS, *LEDGER, "-o", "v"], "either --device, or --devices"),
        ([*DEVICE_ARGS, *LEDGER], "either -o, or --out-dir"),
        ([*DEVICE_ARGS, *LEDGER, "-o", "v", "--out-dir", "d"], "either -o, or --out-dir"),
        ([*LIST_ARGS, *LEDGER, "-o", "v"], "the vouchers of many devices want --out-dir"),
        *(
            ([*args, "-o", "v"], "either --ledger, or --serial for one voucher without --batch")
            for args in (
                [*DEVICE_ARGS],
                [*DEVICE_ARGS, *LEDGER, "--serial", "1"],
                [*DEVICE_ARGS, "--serial", "1", "--batch", "may"],
            )
        ),
        (
            [*DEVICE_ARGS, "--serial", "1", "--out-dir", "d"],
            "either --ledger, or --serial for one voucher without --batch",
        ),
        *(
            (
                [*DEVICE_ARGS, *LEDGER, "-o", "v", "--batch", name],
                "--batch takes from 1 to 128 printable characters",
            )
            for name in ("", "x" * 129, "a\nb", "a\x1bb")
        ),
    ],
)
def test_what_is_asked_for_must_make_sense(args: list[str], message: str) -> None:
    before = listing(Path())

    result = run(*ISSUE, *args)

    assert failed(result, 2, message)
    assert listing(Path()) == before


def test_a_voucher_and_a_document_do_not_share_standard_output() -> None:
    result = run(*SINGLE, "-o", "-", "--json")

    message = "-o - and --json exclude each other"
    assert (result.exit_code, result.stderr) == (2, f"spkg: error: {message}\n")
    assert json.loads(result.stdout) == {"schema": "spkg.error/1", **problem("error", 2, message)}
    assert entries() == []


@pytest.mark.parametrize("serial", ["0", "4294967296", "-1", "x"])
def test_a_number_that_is_none_is_refused(serial: str) -> None:
    result = run(*ISSUE, *DEVICE_ARGS, "--serial", serial, "-o", "v.xml")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("spkg: error: invalid value for '--serial'")
    assert not Path("v.xml").exists()


def test_the_longest_name_of_a_batch_is_taken() -> None:
    assert run(*SINGLE, "--batch", "ä" * 128, "-o", "v.xml").exit_code == 0

    assert entries()[0].batch == "ä" * 128


# SHA-1, and other keys.


def test_with_sha1_nobody_can_guess_the_numbers() -> None:
    result = run(*SINGLE, "--digest", "sha1", "-o", "v.xml")

    serials = [entry.serial for entry in entries()]
    assert result.exit_code == 0
    assert min(serials) > 1000  # a million to one
    trusted = verified(Path("v.xml").read_bytes(), Digest.SHA1)
    assert sorted(int(option.serial) for option in trusted.voucher.options) == serials
    assert trusted.digest is Digest.SHA1


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize("many", [True, False])
def test_in_bulk_numbers_are_unpredictable_with_sha1_alone(digest: str, *, many: bool) -> None:
    args = MANY if many else (*SINGLE, "--batch", "may")

    result = run(*args, "--digest", digest, "--out-dir", "out")

    serials = [entry.serial for entry in entries()]
    assert result.exit_code == 0
    assert len(serials) == (6 if many else 2)
    assert (serials == [*range(1, len(serials) + 1)]) is (digest == "sha256")


@pytest.mark.parametrize(
    ("which", "digest"), [("dsa1024", "sha1"), ("dsa2048", "sha256"), ("p256", "sha256")]
)
def test_every_kind_of_key_issues_what_verifies(which: str, digest: str) -> None:
    prepare(which)

    result = run(*MANY, "--digest", digest, "--format", "xml", "--out-dir", "out")

    assert result.exit_code == 0
    for path in Path("out").glob("*[0-9].xml"):
        assert verified(path.read_bytes(), Digest(digest)).voucher.options[0].serial == path.stem


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("p256", "an ECDSA key on secp256r1 with sha1: P-256 with sha256 is taken"),
        ("p384", "an ECDSA key on secp384r1 with sha1: P-256 with sha256 is taken"),
        ("dsa2048", "a DSA key of 2048 and 256 bits: with sha1 q has 160"),
    ],
)
def test_a_key_that_does_not_sign_with_sha1_is_refused_before_a_number_is_taken(
    which: str, message: str
) -> None:
    prepare(which)

    for args in ([*SINGLE, "-o", "v.xml"], [*MANY, "--out-dir", "out"]):
        told = f"no verifier takes vouchers by this key: {message}"
        assert failed(run(*args, "--digest", "sha1"), 9, told)

    assert entries() == []
    assert not Path("v.xml").exists()
    assert not Path("out.part").exists()


# Many devices.


def vouchers(directory: Path | str = "out") -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Return the numbers and the XML of each device in an output of NDJSON."""
    found = {}
    for text in (Path(directory) / "vouchers.ndjson").read_text().splitlines():
        line = json.loads(text)
        assert line["device"]["serial_number"] not in found
        found[line["device"]["serial_number"]] = (tuple(line["serials"]), b64decode(line["voucher"]))
    return found


def assert_issued(
    count: int, directory: Path | str = "out", batch: str = "may", url: str = "ledger.db"
) -> None:
    """Make sure that a list got a voucher for each device, and that the ledger knows each, and no more."""
    found = vouchers(directory)
    assert sorted(found) == [f"{number:06}" for number in range(count)]
    for serial_number, (serials, octets) in found.items():
        assert octets == xml(serials, device(int(serial_number)))
    kept = [(one.serial, one.serial_number, one.option) for one in entries(url) if one.batch == batch]
    assert kept == sorted(
        (serial, serial_number, option)
        for serial_number, (serials, _) in found.items()
        for serial, option in zip(serials, ("IPTV", "QoS"), strict=True)
    )
    assert {one.state for one in entries(url) if one.batch == batch} == {State.ISSUED}


NO_REJECTED: Final = b"line,reason\r\n"


def index(*rows: str) -> bytes:
    """Return the file that tells whose voucher is where."""
    header = "file,oui,product_class,serial_number,serials"
    return "".join(f"{row}\r\n" for row in (header, *rows)).encode()


OF_THREE: Final = index(
    "1.xml,00D09E,Gateway,000000,1 2",
    "3.xml,00D09E,Gateway,000001,3 4",
    "5.xml,00D09E,Gateway,000002,5 6",
)


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
    b"line,reason\r\n"
    b"3,OUI: six upper-case hexadecimal digits belong here\r\n"
    b"4,2 cells where the first line has 3\r\n"
    b"5,the device is there twice\r\n"
)
BAD_HINT: Final = "out/rejected.csv says why"


def test_lines_that_get_none_are_told_and_the_others_get_theirs() -> None:
    Path("devices.csv").write_text(BAD_LIST)

    result = run(*MANY, "--out-dir", "out")

    assert result.exit_code == 3
    assert result.stdout == "out: 4 vouchers, batch may\n"
    assert result.stderr == f"spkg: error: 3 lines of the list got no voucher\nspkg: hint: {BAD_HINT}\n"
    assert [*vouchers()] == ["000000", "000001", "000\n002", "000002"]
    assert Path("out/rejected.csv").read_bytes() == REJECTED
    assert {one.state for one in entries()} == {State.ISSUED}


def test_lines_that_get_none_are_told_in_the_document() -> None:
    Path("devices.csv").write_text(BAD_LIST)

    result = run(*MANY, "--out-dir", "out", "--json")

    message = "3 lines of the list got no voucher"
    *progress, last = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 3
    assert result.stderr == f"spkg: error: {message}\nspkg: hint: {BAD_HINT}\n"
    assert progress == [progress_line(len(BAD_LIST), len(BAD_LIST))]
    assert last == {
        "schema": SCHEMA,
        "event": "result",
        "batch": "may",
        "output": "out",
        "issued": 4,
        "rejected": 3,
        **problem("malformed", 3, message, hint=BAD_HINT),
    }


def progress_line(octets: int, total: int) -> dict[str, Any]:
    return {"schema": SCHEMA, "event": "progress", "octets": octets, "total": total}


def problem(status: str, number: int, message: str, **more: Any) -> dict[str, Any]:
    places = {"source": None, "offset": None, "field": None, "section": None, "hint": None}
    return {"status": status, "exit": number, "message": message, **places, **more}


def test_progress_and_result_are_an_object_a_line() -> None:
    write_list(range(2 * AT_ONCE + 1))
    Path("options.toml").write_text(ONE)

    result = run(*MANY, "--out-dir", "out", "--json")

    header, row = len("oui,product_class,serial_number\n"), len("00D09E,Gateway,000000\n")
    total = header + row * (2 * AT_ONCE + 1)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        progress_line(header + row * AT_ONCE, total),
        progress_line(header + row * 2 * AT_ONCE, total),
        {
            "schema": SCHEMA,
            "event": "result",
            "batch": "may",
            "status": "issued",
            "exit": 0,
            "output": "out",
            "issued": 2 * AT_ONCE + 1,
            "rejected": 0,
        },
    ]


NO_LIST: Final = "no list of devices: the first line names oui, product_class and serial_number, or an id"


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
            problem("malformed", 3, f"devices.csv: {NO_LIST}", source="devices.csv"),
        ),
        (
            "no file",
            Path("devices.csv").unlink,
            (),
            problem("error", 9, "devices.csv: no such file or directory"),
        ),
        (
            "output there",
            lambda: Path("out").mkdir(),
            (),
            problem("error", 2, "out exists", hint="in another place the same batch is written once more"),
        ),
        (
            "part there",
            lambda: (Path("out.part") / "diary").mkdir(parents=True),
            (),
            problem("error", 2, "out.part exists, and is no bulk output that was cut off"),
        ),
        (
            "no ledger",
            lambda: swap(Path("ledger.db")),
            (),
            problem("error", 9, "ledger.db: unable to open database file"),
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
        assert json.loads(result.stdout) == {"schema": SCHEMA, "event": "result", "batch": "may", **fields}
    else:
        assert result.stdout == ""


def test_without_a_name_a_batch_has_one_that_is_told_and_completes_it() -> None:
    args = [one for one in MANY if one not in {"--batch", "may"}]

    result = run(*args, "--out-dir", "out")

    told = re.fullmatch(
        r"spkg: hint: --batch (20\d{6}T\d{6}Z-[0-9a-f]{8}) completes this if it is cut off\n", result.stderr
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
        "line,reason\n"
        "2,the batch has something else to say to this device\n"
        "3,the voucher 3 of this batch is void\n"
    )


def test_a_device_that_is_far_apart_in_a_list_twice_is_rejected_once() -> None:
    write_list([*range(AT_ONCE + 1), 0])
    Path("options.toml").write_text(ONE)

    result = run(*MANY, "--format", "xml", "--out-dir", "out")

    assert result.exit_code == 3
    assert Path("out/rejected.csv").read_text() == f"line,reason\n{AT_ONCE + 3},the device is there twice\n"
    assert len([*Path("out").glob("*.xml")]) == AT_ONCE + 1
    assert len(entries()) == AT_ONCE + 1


# Outputs that are there.


def test_an_output_of_others_is_left_as_it_is() -> None:
    Path("out.part").mkdir()
    Path("out.part/diary").write_text("dear")

    result = run(*MANY, "--out-dir", "out")

    assert failed(result, 2, "out.part exists, and is no bulk output that was cut off")
    assert listing(Path("out.part")) == {"diary": b"dear"}


@pytest.mark.parametrize("kind", ["file", "link to a cut-off one", "no marker"])
def test_what_only_looks_like_a_cut_off_output_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    (other := tmp_path / "other").mkdir()
    (other / ".unfinished").touch()
    (other / "diary").write_text("dear")
    part = tmp_path / "out.part"
    match kind:
        case "file":
            part.write_text("dear")
        case "no marker":
            part.mkdir()
            (part / "rejected.csv").touch()
        case _:
            part.symlink_to(other)

    with pytest.raises(UsageError) as caught, bulk_directory(tmp_path / "out"):
        pytest.fail("work was done for an output that is refused")

    assert str(caught.value) == f"{part} exists, and is no bulk output that was cut off"
    assert os.path.lexists(part)
    assert listing(other) == {".unfinished": b"", "diary": b"dear"}


@pytest.mark.parametrize("kind", ["directory", "file", "link to nothing"])
def test_an_output_that_is_there_is_refused(tmp_path: Path, kind: str) -> None:
    match kind:
        case "directory":
            (tmp_path / "out").mkdir()
        case "file":
            (tmp_path / "out").write_text("dear")
        case _:
            (tmp_path / "out").symlink_to("nowhere")
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/.unfinished").touch()

    with pytest.raises(UsageError) as caught, bulk_directory(tmp_path / "out"):
        pytest.fail("work was done for an output that is refused")

    assert str(caught.value) == f"{tmp_path}/out exists"
    assert listing(tmp_path / "out.part") == {".unfinished": b""}


def test_a_bulk_output_appears_when_it_is_whole(tmp_path: Path) -> None:
    with bulk_directory(tmp_path / "out") as part:
        (part / "a").write_bytes(b"ours")
        assert part == tmp_path / "out.part"
        assert not (tmp_path / "out").exists()

    assert listing(tmp_path / "out") == {"a": b"ours"}
    assert not part.exists()


def test_a_bulk_output_that_was_cut_off_is_begun_anew(tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    with pytest.raises(KeyboardInterrupt):
        cut_off(tmp_path / "out")
    left = listing(part)

    with bulk_directory(tmp_path / "out") as again:
        assert again == part
        assert listing(part) == {".unfinished": b""}

    assert left == {".unfinished": b"", "a": b"ours"}
    assert listing(tmp_path / "out") == {}


def fill(path: Path, meanwhile: Callable[[], object]) -> None:
    """Make a bulk output of one file, and something else while it is made."""
    with bulk_directory(path) as part:
        (part / "a").write_bytes(b"ours")
        meanwhile()


def cut_off(path: Path) -> None:
    """Make a bulk output and be interrupted."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    fill(path, interrupt)


def test_a_bulk_output_that_was_not_begun_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), bulk_directory(tmp_path / "out"):
        raise KeyboardInterrupt

    assert listing(tmp_path).keys().isdisjoint({"out", "out.part"})


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    part = tmp_path / "out.part"

    with pytest.raises(UsageError) as caught:
        fill(tmp_path / "out", (tmp_path / "out").mkdir)

    assert str(caught.value) == f"{tmp_path}/out exists by now; what was written is in {part}"
    assert listing(tmp_path / "out") == {}
    assert listing(part) == {".unfinished": b"", "a": b"ours"}


def test_a_bulk_output_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    with bulk_directory(tmp_path / "out"):
        (part / "a").write_bytes(b"ours")

        with pytest.raises(UsageError) as caught, bulk_directory(tmp_path / "out"):
            pytest.fail("two write one output")

    assert str(caught.value) == f"{part} is being written by another run"
    assert listing(tmp_path / "out") == {"a": b"ours"}


# Several processes.


def process(*args: str, **settings: Any) -> subprocess.Popen[str]:
    """Start the program in a session of its own."""
    return subprocess.Popen(
        [*PROGRAM, *args],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **settings,
    )


def of_session(leader: int) -> list[int]:
    """Return the processes of a session that run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] not in {"Z", "X"}:
            found.append(int(entry.name))
    return found


def wait(done: Callable[[], object]) -> None:
    """Wait until something is so, and fail where it never is."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for_work(begun: subprocess.Popen[str]) -> None:
    """Wait until both processes are there that sign."""
    wait(lambda: len(of_session(begun.pid)) == 3 or begun.poll() is not None)


PARALLEL: Final = (*MANY[:-1], "2", "--out-dir", "out")


def written() -> int:
    """Return how many octets there are of an output on its way."""
    file = Path("out.part/vouchers.ndjson")
    return file.stat().st_size if file.exists() else 0


def test_two_processes_write_what_one_writes() -> None:
    write_list([*range(2 * AT_ONCE + 50), 0])
    new_ledger("other.db")

    alone = run(*MANY, "--ledger", "other.db", "--out-dir", "alone")
    together = process(*PARALLEL)
    said = together.communicate(timeout=PATIENCE)

    assert (together.returncode, said[0]) == (alone.exit_code, alone.stdout.replace("alone", "out"))
    assert said[1] == alone.stderr.replace("alone", "out")
    assert listing(Path("out")) == listing(Path("alone"))
    assert states() == states("other.db")
    assert_issued(2 * AT_ONCE + 50)


LONG: Final = 1200
"""So many devices that there is time to do something meanwhile."""


def test_a_process_that_signs_and_is_killed_is_told_and_its_batch_goes_on() -> None:
    write_list(range(LONG))
    begun = process(*PARALLEL)
    wait_for_work(begun)

    (children := of_session(begun.pid)).remove(begun.pid)
    os.kill(children[0], signal.SIGKILL)
    said = begun.communicate(timeout=PATIENCE)

    assert len(children) == 2
    assert (begun.returncode, said[0]) == (6, "")
    assert said[1] == (
        "spkg: error: a process that signs was killed\nspkg: hint: the same batch, run again, completes it\n"
    )
    assert of_session(begun.pid) == []
    assert {*listing(Path("out.part"))} == {".unfinished", "rejected.csv", "vouchers.ndjson"}
    assert not Path("out").exists()
    assert {one.state for one in entries()} == {State.RESERVED}
    before = {one.serial: one.serial_number for one in entries()}
    assert run(*MANY, "--out-dir", "out").exit_code == 0
    assert_issued(LONG)
    assert {one.serial: one.serial_number for one in entries()}.items() >= before.items()


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("whole", [False, True])
def test_an_interrupt_leaves_nobody_behind(
    number: signal.Signals, status: int, word: str, *, whole: bool
) -> None:
    write_list(range(LONG))
    begun = process(*PARALLEL)
    wait_for_work(begun)

    if whole:  # as a terminal does it
        os.killpg(begun.pid, number)
    else:
        begun.send_signal(number)
    said = begun.communicate(timeout=PATIENCE)

    assert (begun.returncode, said) == (status, ("", f"spkg: error: {word}\n"))
    assert of_session(begun.pid) == []
    assert {*listing(Path("out.part"))} == {".unfinished", "rejected.csv", "vouchers.ndjson"}
    assert not Path("out").exists()


def test_a_run_that_is_killed_leaves_no_process_that_signs() -> None:
    write_list(range(LONG))
    begun = process(*PARALLEL)
    wait_for_work(begun)

    begun.kill()

    begun.communicate(timeout=PATIENCE)
    wait(lambda: not of_session(begun.pid))


KILLS: Final = amount(25, 1)
KILLED: Final = amount(4000, 400)


@pytest.mark.part("vouchers")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_killed_at_random_is_completed_by_the_same_batch(kind: str) -> None:
    dice = chance(kind)
    url = "ledger.db" if kind == "sqlite" else postgres().url(new_database())
    args = [url if one == "ledger.db" else one for one in PARALLEL]
    write_list(range(KILLED))
    known: dict[int, tuple[str, str]] = {}
    new_ledger(url)

    for _ in range(KILLS):
        shutil.rmtree("out", ignore_errors=True)  # where it came to its end in time
        begun = process(*args)
        if dice.random() < 0.8:
            wait(lambda begun=begun: written() or begun.poll() is not None)  # type: ignore[misc]
        time.sleep(dice.random() * 0.5)
        if begun.poll() is None:  # or its number is anybody's
            os.killpg(begun.pid, signal.SIGKILL)
        begun.communicate(timeout=PATIENCE)
        wait(lambda begun=begun: not of_session(begun.pid))  # type: ignore[misc]
        now = {one.serial: (one.serial_number, one.option) for one in entries(url)}
        assert now.items() >= known.items()
        known = now
    shutil.rmtree("out", ignore_errors=True)
    last = process(*args)
    last.communicate(timeout=PATIENCE)

    assert last.returncode == 0
    assert_issued(KILLED, url=url)
    assert {one.serial: (one.serial_number, one.option) for one in entries(url)}.items() >= known.items()


# Killed just before something happens to a file.

_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.test_bulk"])


def run_until(event: str, name: str, directory: str, args: Sequence[str]) -> None:
    """Run the program, and be killed the first time that something is about to happen to a file."""
    os.chdir(directory)

    def watch(what: str, given: tuple[object, ...]) -> None:
        if what == event and name in {os.fspath(one) for one in given if isinstance(one, str | Path)}:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    main.main([*args])


def run_killed(event: str, name: str, *args: str) -> None:
    child = _PROCESSES.Process(target=run_until, args=(event, name, str(Path.cwd()), args), daemon=True)
    with chdir(ROOT):  # where whoever forks it, for which the first one starts, finds what it loads
        child.start()
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL


MOMENTS: Final = (
    ("os.mkdir", "out.part"),
    ("open", "out.part/.unfinished"),
    ("open", "out.part/rejected.csv"),
    ("open", "out.part/1.xml"),
    ("open", "out.part/3.xml"),
    ("open", "out.part/5.xml"),
    ("os.rename", "out.part"),
)
"""What is about to happen to a file when a run is killed."""


@pytest.mark.parametrize(("event", "name"), MOMENTS)
def test_a_run_killed_at_any_moment_is_completed_by_the_same_batch(event: str, name: str) -> None:
    args = (*MANY, "--format", "xml", "--out-dir", "out")
    run_killed(event, name, *args)
    before = states()
    assert not Path("out").exists()

    result = run(*args)

    assert result.exit_code == 0
    assert listing(Path("out")) == {
        **{f"{number}.xml": xml([number, number + 1], device(number // 2)) for number in (1, 3, 5)},
        "rejected.csv": NO_REJECTED,
        "index.csv": OF_THREE,
    }
    after = states()
    assert {state for *_, state in after} == {"issued"}
    assert [one[:3] for one in after][: len(before)] == [one[:3] for one in before]
    assert len(after) == 6


def test_a_single_voucher_killed_before_it_is_there_is_completed_by_the_same_batch() -> None:
    for _ in range(2):
        run_killed("os.link", "v.xml", *SINGLE, "--batch", "may", "-o", "v.xml")
        assert not Path("v.xml").exists()
        assert {state for *_, state in states()} == {"reserved"}

    result = run(*SINGLE, "--batch", "may", "-o", "v.xml")

    assert result.exit_code == 0
    assert Path("v.xml").read_bytes() == xml([1, 2])
    assert states() == [(1, "123456789", "IPTV", "issued"), (2, "123456789", "QoS", "issued")]


# What it costs.


def test_a_disk_that_is_full_leaves_what_can_go_on() -> None:
    write_list(range(2 * AT_ONCE))
    begun = process(*MANY, "--out-dir", "out", preexec_fn=_little_room)

    said = begun.communicate(timeout=PATIENCE)

    assert (begun.returncode, said[0]) == (9, "")
    assert said[1] == "spkg: error: out.part/vouchers.ndjson: file too large\n"
    assert not Path("out").exists()
    assert run(*MANY, "--out-dir", "out").exit_code == 0
    assert_issued(2 * AT_ONCE)


def _little_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def peak(count: int, name: str) -> int:
    """Return the most memory that a run needs for so many devices, in octets."""
    write_list(range(count), f"{name}.csv")
    new_ledger(f"{name}.db")
    args = ["--devices", f"{name}.csv", "--ledger", f"{name}.db", "--batch", "may", "--jobs", "1"]
    begun = process(*ISSUE, *args, "--out-dir", name)
    said, told = begun.stdout, begun.stderr
    assert said is not None
    assert told is not None
    with said, told:
        assert (said.read(), told.read()) == (f"{name}: {count} vouchers, batch may\n", "")
    _, status, usage = os.wait4(begun.pid, 0)
    begun.returncode = status
    assert status == 0
    return usage.ru_maxrss * 1024


@pytest.mark.part("vouchers", turns=True)
@pytest.mark.proof
def test_memory_is_flat_however_many_devices() -> None:
    prepare("p256")
    Path("options.toml").write_text(ONE)
    few, many = 3000, 30_000

    assert peak(many, "many") - peak(few, "few") < 8 << 20


# What others say of it.


@pytest.mark.part("judges")
@pytest.mark.judge("xmlsec1")
def test_vouchers_of_many_are_genuine_to_xmlsec1() -> None:
    count = 300
    write_list(range(count))
    prepare("signer")
    assert run(*MANY, "--format", "xml", "--out-dir", "out").exit_code == 0

    judged = {number: judge(Path(f"out/{2 * number + 1}.xml")) for number in sample(count)}
    (forged := Path("out/forged.xml")).write_bytes(
        Path("out/1.xml").read_bytes().replace(b"000000", b"000001")
    )

    assert {number: one.returncode for number, one in judged.items()} == dict.fromkeys(judged, 0)
    assert judge(forged).returncode != 0


def sample(count: int) -> list[int]:
    """Return some numbers below *count*, the first and the last among them."""
    return [0, count - 1, *chance("xmlsec1").sample(range(count), amount(60, 6))]


def judge(file: Path) -> subprocess.CompletedProcess[str]:
    """Ask xmlsec1 whether a voucher holds, with a chain to the root."""
    # Without the first of these it believes any key that KeyValue has.
    trust = ("--enabled-key-data", "x509", "--trusted-pem", "ca.pem")
    when = ("--verification-gmt-time", f"{AT:%Y-%m-%d %H:%M:%S}")
    name = ("--id-attr:Id", "http://www.w3.org/2000/09/xmldsig#:Object")
    command = ["xmlsec1", "--verify", *trust, *when, *name, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


# The ledger's own commands.


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
    run(*SINGLE, "--batch", "june", "-o", "nowhere/v.xml")


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
    *("reserved_at", "issued_at", "voided_at"),
)


@pytest.mark.usefixtures("filled")
def test_a_ledger_is_exported_whole() -> None:
    result = run("voucher", "ledger", "export", *LEDGER)
    lines = run("voucher", "ledger", "export", *LEDGER, "--json")

    rows = [*csv.DictReader(with_times(result.stdout).splitlines())]
    assert (result.exit_code, result.stderr, lines.exit_code, lines.stderr) == (0, "", 0, "")
    assert rows == [
        {name: "" if value is None else str(value) for name, value in one.items()} for one in all_entries()
    ]
    assert [json.loads(line) for line in with_times(lines.stdout).splitlines()] == all_entries()


def test_whatever_a_device_is_called_an_entry_is_a_line() -> None:
    number = 'a,"b"\nc'
    Path("devices.json").write_text(
        json.dumps({"oui": "00D09E", "product_class": "", "serial_number": number})
    )
    Path("options.toml").write_text(ONE)
    args = ["devices.json" if one == "devices.csv" else one for one in MANY]
    assert run(*args, "--out-dir", "out").exit_code == 0

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
    }
    assert [state for *_, state in states()] == ["void", "void", "void", "reserved"]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("serial", "message"),
    [
        ("3", "the serial number 3 is void already"),
        ("77", "the serial number 77 is none of this ledger"),
    ],
)
def test_a_serial_number_that_is_void_or_nobody_s_is_refused(serial: str, message: str) -> None:
    before = entries()

    told = run("voucher", "ledger", "void", serial, *LEDGER)
    document = run("voucher", "ledger", "void", serial, *LEDGER, "--json")

    assert failed(told, 5, message)
    assert document.exit_code == 5
    assert json.loads(document.stdout) == {"schema": "spkg.error/1", **problem("refused", 5, message)}
    assert entries() == before


@pytest.mark.parametrize("args", [["list"], ["list", "--json"], ["export"], ["void", "1"]])
def test_a_ledger_that_is_not_there_is_told_and_not_made(args: list[str]) -> None:
    Path("ledger.db").unlink()

    result = run("voucher", "ledger", *args, *LEDGER)

    assert result.exit_code == 9
    assert result.stderr == "spkg: error: ledger.db: there is no such ledger\n"
    assert not Path("ledger.db").exists()


def test_a_password_in_the_url_is_not_told() -> None:
    for command in (["ledger", "list"], ["ledger", "export"], ["ledger", "void", "1"]):
        result = run("voucher", *command, "--ledger", "postgresql://acs:secret@db/ledger")

        hint = "libpq takes it from PGPASSFILE or ~/.pgpass"
        assert failed(result, 2, "a password in the URL of the ledger can be seen by others", hint)
