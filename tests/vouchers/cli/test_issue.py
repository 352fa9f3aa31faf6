"""``spkg voucher issue`` to one device: every form, numbers and batches, and the keys that sign."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Final

import pytest

from spkg.common.digests import Digest
from tests.support.acs_files import (
    ISSUE,
    LEDGER,
    MANY,
    ONE,
    OPTIONS,
    SCHEMA,
    SINGLE,
    entries,
    failed,
    furnish,
    in_envelope,
    prepare,
    states,
    voucher,
    xml,
)
from tests.support.commands import error, run
from tests.support.planted_tree import listing
from tests.support.restrictions import fixed
from tests.support.voucher_kit import verified
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_reserve import MAX_SERIAL


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


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
        "warnings": [],
    }


@pytest.mark.parametrize("form", ["xml", "base64", "soap", "ndjson"])
def test_standard_output_is_what_a_file_would_be(form: str) -> None:
    file = run(*SINGLE, "--batch", "may", "--format", form, "-o", "v")

    result = run(*SINGLE, "--batch", "may", "--format", form, "-o", "-")

    assert (file.exit_code, result.exit_code, result.stderr) == (0, 0, "")
    assert result.stdout_bytes == Path("v").read_bytes()
    assert [one.state for one in entries()] == [SerialState.ISSUED] * 2


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
        ("duration = 12", "duration = 13", "this batch already has a different voucher for this device"),
        ('ident = "QoS"', 'ident = "QOS"', "this batch already has other Options for this device"),
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

    assert failed(result, 5, "voucher 2 of this batch is void")
    assert not Path("b.xml").exists()


def test_an_output_that_can_not_be_written_leaves_its_numbers_reserved_until_it_can() -> None:
    Path("place").mkdir()
    with fixed(Path("place")):
        result = run(*SINGLE, "--batch", "may", "-o", "place/v.xml")
    before = [entry.state for entry in entries()]

    again = run(*SINGLE, "--batch", "may", "-o", "place/v.xml")

    assert failed(result, 9, "place/v.xml: operation not permitted")
    assert before == [SerialState.RESERVED] * 2
    assert again.exit_code == 0
    assert Path("place/v.xml").read_bytes() == xml([1, 2])
    assert [entry.state for entry in entries()] == [SerialState.ISSUED] * 2


def test_an_output_in_a_missing_directory_is_refused_before_a_number_is_taken() -> None:
    result = run(*SINGLE, "-o", "nowhere/v.xml")

    assert failed(result, 9, "nowhere/v.xml: no such file or directory")
    assert entries() == []


def test_an_output_that_exists_is_refused_before_a_number_is_taken() -> None:
    Path("v.xml").write_text("mine")

    result = run(*SINGLE, "-o", "v.xml")

    assert failed(result, 2, "v.xml already exists", "overwrite it with --force")
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

    assert failed(result, 2, f"{output}: the output would overwrite an input ({which})")
    assert listing(Path()) == before


def not_remembered(serial: int) -> str:
    problem = "a second voucher with it would be refused"
    return f"spkg: warning: nothing remembers the serial number {serial}: {problem}\n"


def test_each_number_that_is_given_is_warned_of() -> None:
    for _ in range(2):
        result = run(*ISSUE, "--device", "device.toml", "--serial", "5", "-o", "v.xml", "--force")
        assert (result.exit_code, result.stderr) == (0, not_remembered(5))
    Path("v.xml").unlink()

    strict = run(*ISSUE, "--device", "device.toml", "--serial", "5", "-o", "v.xml", "--strict")

    assert strict.exit_code == 5
    assert strict.stderr.startswith(f"{not_remembered(5)}spkg: error: nothing remembers the serial number 5")
    assert not Path("v.xml").exists()


def test_numbers_may_be_given_without_a_ledger() -> None:
    before = {*listing(Path())}

    result = run(*ISSUE, "--device", "device.toml", "--serial", "4001", "-o", "v.xml")

    assert result.stdout == "v.xml: 2 Options for 00D09E 123456789, serials 4001, 4002\n"
    assert result.stderr == not_remembered(4001)
    assert Path("v.xml").read_bytes() == xml([4001, 4002])
    assert {*listing(Path())} == {*before, "v.xml"}


def test_numbers_that_are_given_end_with_the_last_one() -> None:
    last = run(*ISSUE, "--device", "device.toml", "--serial", str(MAX_SERIAL - 1), "-o", "v.xml")
    beyond = run(*ISSUE, "--device", "device.toml", "--serial", str(MAX_SERIAL), "-o", "w.xml")

    assert last.exit_code == 0
    assert Path("v.xml").read_bytes() == xml([MAX_SERIAL - 1, MAX_SERIAL])
    assert (beyond.exit_code, beyond.stdout) == (2, "")
    assert beyond.stderr == (
        f"{not_remembered(MAX_SERIAL)}"
        "spkg: error: --serial 4294967295: the numbers of 2 Options would exceed 4294967295\n"
    )
    assert not Path("w.xml").exists()


def test_a_ledger_that_is_new_is_told_once() -> None:
    Path("ledger.db").unlink()

    new = run(*SINGLE, "--new-ledger", "-o", "a.xml")
    old = run(*SINGLE, "--new-ledger", "-o", "b.xml")

    hint = "spkg: warning: the ledger is new: use one ledger per signing key, and back it up\n"
    assert (new.exit_code, old.exit_code) == (0, 0)
    assert (new.stderr, old.stderr) == (hint, "")


def test_a_batch_is_signed_with_one_key() -> None:
    run(*SINGLE, "--batch", "may", "-o", "a.xml")
    prepare("p256")

    result = run(*SINGLE, "--batch", "may", "-o", "b.xml")

    assert failed(result, 5, "this batch was signed with a different key")


def test_an_option_that_is_over_is_told() -> None:
    Path("options.toml").write_text(OPTIONS.replace("2026", "2020"))

    result = run(*SINGLE, "-o", "v.xml")

    assert (result.exit_code, result.stderr) == (
        0,
        "spkg: warning: the Option 'IPTV' has already ended: every device will refuse this voucher\n",
    )


def test_strict_issues_nothing_that_is_warned_of() -> None:
    Path("options.toml").write_text(OPTIONS.replace("2026", "2020"))

    result = run(*SINGLE, "--strict", "-o", "v.xml")

    assert (result.exit_code, Path("v.xml").exists()) == (5, False)
    assert result.stderr.endswith("spkg: hint: without --strict, warnings stop nothing\n")


def test_a_ledger_in_a_directory_that_is_not_there_is_told() -> None:
    result = run(*ISSUE, "--device", "device.toml", "--ledger", "nowhere/ledger.db", "-o", "v.xml")

    hint = "create it with 'spkg voucher ledger init nowhere/ledger.db'"
    assert failed(result, 9, "nowhere/ledger.db: the ledger does not exist", hint)
    assert not Path("v.xml").exists()


def test_a_device_that_does_not_say_who_it_is_gets_no_voucher() -> None:
    Path("device.toml").write_text('[device]\noui = "00D09E"\n')

    result = run(*SINGLE, "-o", "v.xml")

    message = (
        "device.toml: device: missing product-class and serial-number: vouchers need the device's identity "
        "[TR-069 C.3, Table 63]"
    )
    assert failed(result, 3, message)
    assert entries() == []


DEVICE_ARGS: Final = ("--device", "device.toml")
LIST_ARGS: Final = ("--devices", "devices.csv")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([*LEDGER, "-o", "v"], "expected either --device or --devices"),
        ([*DEVICE_ARGS, *LIST_ARGS, *LEDGER, "-o", "v"], "expected either --device or --devices"),
        ([*DEVICE_ARGS, *LEDGER], "expected either -o or --out-dir"),
        ([*DEVICE_ARGS, *LEDGER, "-o", "v", "--out-dir", "d"], "expected either -o or --out-dir"),
        ([*LIST_ARGS, *LEDGER, "-o", "v"], "--devices needs --out-dir"),
        *(
            ([*args, "-o", "v"], "expected either --ledger, or --serial for one voucher without --batch")
            for args in (
                [*DEVICE_ARGS],
                [*DEVICE_ARGS, *LEDGER, "--serial", "1"],
                [*DEVICE_ARGS, "--serial", "1", "--batch", "may"],
            )
        ),
        (
            [*DEVICE_ARGS, "--serial", "1", "--out-dir", "d"],
            "expected either --ledger, or --serial for one voucher without --batch",
        ),
        *(
            (
                [*DEVICE_ARGS, *LEDGER, "-o", "v", "--batch", name],
                "--batch must have 1 to 128 printable characters",
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
    assert json.loads(result.stdout) == error("error", 2, message)
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
        ("p256", "expected an ECDSA key on P-256 with sha256, got secp256r1 with sha1"),
        ("p384", "expected an ECDSA key on P-256 with sha256, got secp384r1 with sha1"),
        (
            "dsa2048",
            "a DSA key for sha1 needs 1024/2048/3072 bits and a q of 160, got 2048 and 256",
        ),
    ],
)
def test_a_key_that_does_not_sign_with_sha1_is_refused_before_a_number_is_taken(
    which: str, message: str
) -> None:
    prepare(which)

    for args in ([*SINGLE, "-o", "v.xml"], [*MANY, "--out-dir", "out"]):
        told = f"the key can't sign vouchers: {message}"
        assert failed(run(*args, "--digest", "sha1"), 5, told)

    assert entries() == []
    assert not Path("v.xml").exists()
    assert not Path("out.part").exists()
