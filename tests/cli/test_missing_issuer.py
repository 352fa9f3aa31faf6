"""A signature whose issuer does not go with it is warned of, by each command that signs."""

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.common.digests import Digest
from spkg.trust.signers import KeySigner
from tests.support.commands import run
from tests.support.kit import KEYS, Certified, authority, certify, root
from tests.support.package_files import MANIFEST, TIME, furnish

MIDDLE: Final = authority("Middle", root(), with_key="other", serial=7)
LEAF: Final = certify("Leaf", MIDDLE, serial=8, purposes=None)
MESSAGE: Final = (
    "the certificate of CN=Middle, the issuer of CN=Leaf, is not embedded: devices without it will not trust "
    "this; embed it with --chain"
)
WARNING: Final = {"code": "issuer-missing", "message": MESSAGE, "path": None}
OPTIONS: Final = '[[option]]\nident = "QoS"\nmode = "EnableWithoutExpiration"\n'
DEVICE: Final = (
    '[device]\nmanufacturer = "2Wire"\noui = "00D09E"\nproduct-class = "Gateway"\nserial-number = "1"\n'
)
BY: Final = "--key signer.key --cert leaf.pem"
WHAT: Final = "--device device.toml --options options.toml --serial 5"
SIGNING: Final = {
    "build": f"build m.toml -o new {BY}",
    "sign": f"sign u.spkg -o new {BY}",
    "prepare": "prepare u.spkg -o new --cert leaf.pem",
    "attest": f"attest p.spkg -o new {BY}",
    "voucher issue": f"voucher issue -o new {WHAT} {BY}",
    "voucher prepare": f"voucher prepare -o new {WHAT} --cert leaf.pem",
}
STRICT: Final = ("build", "sign", "attest")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("leaf.pem").write_bytes(LEAF.pem)
    Path("middle.pem").write_bytes(MIDDLE.pem)
    Path("options.toml").write_text(OPTIONS)
    Path("device.toml").write_text(DEVICE)
    return tmp_path


def warnings_in(stderr: str) -> list[str]:
    """Return the warnings of a missing issuer."""
    lines = [line.removeprefix("spkg: warning: ") for line in stderr.splitlines() if "warning" in line]
    return [line for line in lines if "is not embedded" in line]


@pytest.mark.parametrize("name", SIGNING)
def test_a_missing_issuer_is_warned_of_by_its_name_and_the_option(name: str) -> None:
    without = run(*SIGNING[name].split())
    with_it = run(*SIGNING[name].split(), "--chain", "middle.pem", "--force")

    assert (without.exit_code, warnings_in(without.stderr)) == (0, [MESSAGE])
    assert (with_it.exit_code, warnings_in(with_it.stderr)) == (0, [])


@pytest.mark.parametrize("name", STRICT)
def test_the_warning_is_a_refusal_where_that_is_wanted(name: str) -> None:
    refused = run(*SIGNING[name].split(), "--strict")
    signed = run(*SIGNING[name].split(), "--strict", "--chain", "middle.pem")

    assert (refused.exit_code, refused.stderr.splitlines()[-2:]) == (
        5,
        [
            f"spkg: error: {MESSAGE} (issuer-missing)",
            "spkg: hint: without --strict, warnings stop nothing",
        ],
    )
    assert signed.exit_code == 0
    assert Path("new").exists()


@pytest.mark.parametrize("name", [*STRICT, "voucher issue"])
def test_the_warning_is_in_the_document(name: str) -> None:
    document: dict[str, Any] = json.loads(run(*SIGNING[name].split(), "--json").stdout)

    assert WARNING in document["warnings"]


@pytest.mark.parametrize("name", ["build", "sign", "voucher issue"])
def test_a_device_that_trusts_the_issuer_needs_it_from_nobody(name: str) -> None:
    itself = run(*SIGNING[name].split(), "--trust", "leaf.pem", *TIME)
    issuer = run(*SIGNING[name].split(), "--trust", "middle.pem", *TIME, "--force")
    above = run(*SIGNING[name].split(), "--trust", "ca.pem", *TIME, "--force")

    assert (itself.exit_code, warnings_in(itself.stderr)) == (0, [])
    assert (issuer.exit_code, warnings_in(issuer.stderr)) == (0, [])
    assert (above.exit_code, warnings_in(above.stderr)) == (5, [MESSAGE])


def test_who_signs_for_himself_has_no_issuer() -> None:
    Path("leaf.pem").write_bytes(certify("Alone").pem)

    for command in SIGNING.values():
        result = run(*command.split(), "--force")

        assert (result.exit_code, warnings_in(result.stderr)) == (0, [])


def test_an_issuer_that_the_package_has_already_is_not_missing() -> None:
    Path("second.pem").write_bytes(certify("Second", MIDDLE, serial=9, with_key="second").pem)
    both = "--cert leaf.pem --key signer.key --chain middle.pem"
    assert run("sign", "u.spkg", *both.split()).exit_code == 0

    signed = run("sign", "u.spkg", "-o", "s.spkg", "--cert", "second.pem", "--key", str(KEYS / "second.key"))
    prepared = run("prepare", "u.spkg", "-o", "request", "--cert", "second.pem")

    assert (signed.exit_code, signed.stderr) == (0, "")
    assert (prepared.exit_code, prepared.stderr) == (0, "")


def signature_of(request: str, by: Certified) -> bytes:
    """Return what openssl would make of a request's line."""
    document = json.loads(request)
    hashed = b64decode(document.get("attributes_digest") or document["signed_info_digest"])
    return KeySigner(by.key).sign(Digest(document["digest"]), hashed)


def test_a_missing_issuer_is_warned_of_when_a_signature_is_attached() -> None:
    run(*SIGNING["prepare"].split())
    Path("raw").write_bytes(signature_of(Path("new").read_text(), LEAF))
    attach = ("attach", "u.spkg", "new", "--signature", "raw", "-o", "s.spkg")

    refused = run(*attach, "--strict")
    kept = Path("s.spkg").exists()
    attached = run(*attach, "--json")

    message = f"{MESSAGE} of 'spkg prepare'"
    assert (refused.exit_code, kept) == (5, False)
    assert (attached.exit_code, attached.stderr) == (0, f"spkg: warning: {message}\n")
    assert json.loads(attached.stdout)["warnings"] == [{**WARNING, "message": message}]


def test_a_missing_issuer_is_warned_of_when_a_signature_is_attached_to_a_voucher() -> None:
    run(*SIGNING["voucher prepare"].split())
    Path("raw").write_bytes(signature_of(Path("new").read_text(), LEAF))
    attach = ("voucher", "attach", "new", "--signature", "raw", "-o", "v.xml")

    refused = run(*attach, "--strict")
    kept = Path("v.xml").exists()
    attached = run(*attach)

    assert (refused.exit_code, kept) == (5, False)
    assert (attached.exit_code, attached.stderr) == (
        0,
        f"spkg: warning: {MESSAGE} of 'spkg voucher prepare'\n",
    )


def test_of_a_batch_it_is_warned_once_for_each_signer() -> None:
    Path("devices.csv").write_text("oui,product_class,serial_number\n00D09E,G,1\n00D09E,G,2\n00D09E,G,3\n")
    batch = (
        "voucher prepare --devices devices.csv --options options.toml --ledger l.db --new-ledger --batch b"
    )
    run(*batch.split(), "--cert", "leaf.pem", "-o", "requests")
    lines = Path("requests").read_text().splitlines()
    Path("raw").write_bytes(b"\n".join(b64encode(signature_of(line, LEAF)) for line in lines))
    attach = ("voucher", "attach", "requests", "--signatures", "raw", "--out-dir", "out")

    refused = run(*attach, "--strict")
    kept = Path("out").exists()
    attached = run(*attach)

    assert (len(lines), refused.exit_code, kept) == (3, 5, False)
    assert warnings_in(attached.stderr) == [f"{MESSAGE} of 'spkg voucher prepare'"]
    assert attached.exit_code == 0


def test_keys_that_were_just_made_are_complete() -> None:
    run("keygen", "keys")
    Path("m.toml").write_text(MANIFEST)
    signer, voucher = (f"--key keys/{name}.key --cert keys/{name}.pem" for name in ("signer", "voucher"))

    built = run("build", "m.toml", "-o", "new.spkg", *signer.split())
    issued = run("voucher", "issue", "-o", "v.xml", *WHAT.split(), *voucher.split())

    assert (built.exit_code, built.stderr) == (0, "")
    assert (issued.exit_code, warnings_in(issued.stderr)) == (0, [])


def test_what_is_prepared_is_a_document() -> None:
    result = run(*SIGNING["prepare"].split(), "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document == {
        "schema": "spkg.prepare/1",
        "output": "new",
        "signer": "CN=Leaf",
        "digest": "sha1",
        "signed_sha256": json.loads(Path("new").read_text())["package"],
        "warnings": [WARNING],
    }
