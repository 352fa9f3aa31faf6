"""``spkg voucher verify``: who signed a voucher, and whether it is for this device."""

import json
from base64 import b64encode, encodebytes
from pathlib import Path

import pytest

from spkg.common.digests import Digest
from tests.support.commands import failure
from tests.support.voucher_files import (
    ACCEPTED,
    ANCHOR,
    CALLED,
    ELSEWHERE,
    LINES,
    OTHERS,
    TRUST,
    failed,
    furnish,
    genuine,
    process,
    run,
    specification,
    told,
)
from tests.support.voucher_kit import IPTV, QOS, VOUCHER, signed
from vouchers.signature.shape import MAX_VOUCHER


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


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
        "warnings": [],
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
        "warnings": [],
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

    assert told(result) == failed(4, "Signature.Object[0]: contents do not match the signed digest")


def test_a_voucher_that_is_not_trusted_is_told_of_in_a_document_without_what_it_says() -> None:
    Path("v.xml").write_bytes(genuine().replace(b"<Duration>12<", b"<Duration>99<"))
    message = "Signature.Object[0]: contents do not match the signed digest"

    result = run("verify", "v.xml", *TRUST, "--json")

    assert (result.exit_code, result.stderr) == (4, f"spkg: error: {message}\n")
    assert json.loads(result.stdout) == {
        "schema": "spkg.voucher.verify/1",
        "verdict": "untrusted",
        "dates_checked": None,
        "signer": None,
        "digest": None,
        "options": [],
        "warnings": [],
        **failure("untrusted", 4, message, field="Signature.Object[0]"),
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((*TRUST, "--signer", "Somebody"), f"{CALLED} is not one of the accepted signers"),
        ((*TRUST, "--required-signers", "2"), "a voucher has one signature, but 2 are required"),
        (
            (*ANCHOR, "--at", "2050-01-01"),
            (
                "CN=Test Root: certificate has expired: "
                "valid until 2049-06-01T12:00:00Z, checked at 2050-01-01T00:00:00Z"
            ),
        ),
    ],
)
def test_a_voucher_that_the_policy_does_not_take_is_not_trusted(
    options: tuple[str, ...], problem: str
) -> None:
    result = run("verify", "v.xml", *options)

    assert told(result)[:2] == (4, "")
    assert result.stderr.splitlines()[0] == f"spkg: error: {problem}"


def test_a_voucher_in_the_form_of_2004_wants_a_word() -> None:
    Path("v.xml").write_bytes(signed(VOUCHER, "dsa1024", Digest.SHA1))

    refused = run("verify", "v.xml", *TRUST)
    accepted = run("verify", "v.xml", *TRUST, "--digests", "sha1,sha256")

    assert told(refused) == failed(
        4, "a signature with sha1 is not accepted", "use --digests sha1,sha256 to accept the form of 2004"
    )
    assert told(accepted) == (0, f"{ACCEPTED.replace('256', '1')}{LINES}trusted\n", "")


def test_the_largest_voucher_is_taken() -> None:
    Path("v.xml").write_bytes(genuine().ljust(MAX_VOUCHER))
    Path("v.b64").write_bytes(encodebytes(genuine().ljust(MAX_VOUCHER)))

    results = [run("verify", name, *TRUST) for name in ("v.xml", "v.b64")]

    assert [told(result) for result in results] == [(0, f"{ACCEPTED}{LINES}trusted\n", "")] * 2


def test_a_policy_file_states_who_may_sign_vouchers() -> None:
    Path("trust.toml").write_text(f'anchors = ["{ANCHOR[1]}"]\n')
    time = TRUST[len(ANCHOR) :]

    accepted = run("verify", "v.xml", "--policy", "trust.toml", *time)
    Path("trust.toml").write_text(f'anchors = ["{ANCHOR[1]}"]\nsigners = ["Somebody"]\n')
    refused = run("verify", "v.xml", "--policy", "trust.toml", *time)
    overridden = run("verify", "v.xml", "--policy", "trust.toml", *time, "--signer", CALLED)

    assert told(accepted) == (0, f"{ACCEPTED}{LINES}trusted\n", "")
    assert told(refused)[:2] == (4, "")
    assert overridden.exit_code == 0


def test_without_a_word_in_the_policy_file_vouchers_need_sha_256() -> None:
    Path("v.xml").write_bytes(signed(VOUCHER, "dsa1024", Digest.SHA1))
    Path("trust.toml").write_text(f'anchors = ["{ANCHOR[1]}"]\n')

    refused = run("verify", "v.xml", "--policy", "trust.toml", *TRUST[len(ANCHOR) :])
    Path("trust.toml").write_text(f'anchors = ["{ANCHOR[1]}"]\ndigests = ["sha1"]\n')
    accepted = run("verify", "v.xml", "--policy", "trust.toml", *TRUST[len(ANCHOR) :])

    assert (refused.exit_code, accepted.exit_code) == (4, 0)
