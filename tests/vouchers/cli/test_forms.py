"""What ``issue`` writes, ``inspect`` and ``apply`` read, in every form."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Final

import pytest

from tests.support.acs_files import ISSUE, LEDGER, MANY, ONE, SINGLE, failed, furnish, write_list
from tests.support.commands import run
from vouchers.signature.voucher_files import MAX_VOUCHER_ENVELOPE, MAX_VOUCHER_LINE

FORMS: Final = ("xml", "base64", "soap", "ndjson")
APPLY: Final = ("--trust", "ca.pem", "--device", "device.toml", "--store", "options.db")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("options.toml").write_text(ONE)
    return tmp_path


def only(directory: str) -> str:
    """Return the file of vouchers in an output."""
    names = {"index.csv", "rejected.csv"}
    (found,) = [one for one in Path(directory).iterdir() if one.name not in names]
    return str(found)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_issued_to_one_device_is_applied(form: str) -> None:
    run(*SINGLE, "--format", form, "-o", "one")
    run(*ISSUE, "--device", "device.toml", *LEDGER, "--format", form, "--out-dir", "out", "--batch", "b")

    for file in ("one", "out", only("out")):
        result = run("voucher", "apply", file, *APPLY)
        assert result.exit_code == 0, result.stderr
        assert run("voucher", "inspect", file).stdout.count("VSerialNum") == 1
    assert json.loads(run("voucher", "inspect", "out", "--json").stdout)["options"][0]["OptionIdent"] == "QoS"


@pytest.mark.parametrize("form", FORMS)
def test_all_of_an_output_is_inspected(form: str) -> None:
    write_list(range(3))
    run(*MANY, "--format", form, "--out-dir", "out")

    told = run("voucher", "inspect", "out")
    document = json.loads(run("voucher", "inspect", "out", "--json").stdout)

    assert (told.exit_code, told.stdout.count("not verified")) == (0, 3)
    assert (document["schema"], document["verified"]) == ("spkg.voucher.inspect/1", False)
    assert [one["options"][0]["VSerialNum"] for one in document["vouchers"]] == ["1", "2", "3"]
    sources = [one["source"] for one in document["vouchers"]]
    assert (
        sources
        == {
            "xml": [f"out/{number}.xml" for number in (1, 2, 3)],
            "soap": [f"out/{number}.xml: VoucherList[0]" for number in (1, 2, 3)],
            "base64": [f"out/vouchers.base64: line {number}" for number in (1, 2, 3)],
            "ndjson": [f"out/vouchers.ndjson: line {number}" for number in (1, 2, 3)],
        }[form]
    )


def test_vouchers_of_other_devices_are_refused_by_their_place() -> None:
    write_list(range(2))
    run(*MANY, "--out-dir", "out")

    result = run("voucher", "apply", "out", *APPLY)

    assert result.exit_code == 5
    assert result.stderr.startswith("spkg: error: out/vouchers.ndjson: line 1: ")
    assert not Path("options.db").exists()


LINE: Final = b64encode(b"<x></Signature>")


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"{}\n", "v:1: expected a voucher in base64, or a JSON object with one as 'voucher'"),
        (
            b'{"voucher": 5}\n',
            "v:1: expected a voucher in base64, or a JSON object with one as 'voucher'",
        ),
        (b"{" * 5000, "v:1: expected a voucher in base64, or a JSON object with one as 'voucher'"),
        (
            LINE + b"\n\n!\n",
            "v:3: expected a voucher in base64, or a JSON object with one as 'voucher'",
        ),
        (
            LINE + b"\n" + b"A" * (MAX_VOUCHER_LINE + 1),
            f"v:2: expected at most {MAX_VOUCHER_LINE} bytes, got more",
        ),
        (
            b"<Envelope>" + b" " * MAX_VOUCHER_ENVELOPE,
            f"v: expected at most {MAX_VOUCHER_ENVELOPE} bytes, got more",
        ),
    ],
)
def test_what_is_no_voucher_is_located(octets: bytes, message: str) -> None:
    Path("v").write_bytes(octets)

    result = run("voucher", "apply", "v", *APPLY)

    assert failed(result, 3, message)


def test_another_request_has_no_vouchers() -> None:
    run(*SINGLE, "--format", "soap", "-o", "v")
    Path("v").write_bytes(Path("v").read_bytes().replace(b"SetVouchers", b"GetOptions"))

    result = run("voucher", "apply", "v", *APPLY)

    assert failed(result, 3, "v: expected the envelope of a SetVouchers request [TR-069 A.4.1.3]")


def test_a_directory_without_vouchers_is_told() -> None:
    Path("d").mkdir()

    result = run("voucher", "inspect", "d")

    assert failed(result, 3, "d: expected vouchers.ndjson or vouchers.base64 or XML files in it")


def test_an_empty_file_has_no_voucher() -> None:
    Path("out").mkdir()
    Path("out/vouchers.ndjson").touch()

    assert run("voucher", "inspect", "out").exit_code == 3
