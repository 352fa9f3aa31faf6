"""``spkg voucher verify --explain``: the chain, each rule with its values, and what to do."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.common.digests import Digest
from spkg.trust.signers import KeySigner, Signatory
from tests.support.kit import AT, Certified, authority, certify, root
from tests.support.revocation_kit import crl
from tests.support.voucher_files import ACCEPTED, LINES, TRUST, furnish, genuine, run, told
from tests.support.voucher_kit import SCHEMES, VOUCHER, signed
from vouchers.signature.sign import VoucherSigner

ROOT_LINE: Final = (
    "  issued by: CN=Test Root, serial number 01, RSA 2048, "
    "valid from 2025-06-01T12:00:00Z until 2049-06-01T12:00:00Z, an anchor\n"
)
CHAIN: Final = (
    "  certificate: CN=Voucher Signer, serial number 0FA0, RSA 2048, "
    f"valid from 2025-06-01T12:00:00Z until 2049-06-01T12:00:00Z\n{ROOT_LINE}"
)
RULES: Final = """\
  met  certificate       CN=Voucher Signer, serial number 0FA0, and 1 other certificate
  met  required-signers  1 signature required, and a voucher has one
  met  algorithms        rsa-sha256, and sha256 of each Object; accepted digests: sha256
  met  key               the method fits the key of the certificate; KeyValue is the same key
  met  signature         valid under the key of the certificate, for 2 Objects
  met  signer            any signer with a path to an anchor
  met  purpose           the certificate's extendedKeyUsage is 1.3.6.1.5.5.7.3.3
  met  path              valid at 2026-06-01T12:00:00Z, the first certificate on it ends on 2049-06-01T12:00:00Z
  met  keys              RSA keys of at least 1024 bits below the anchor
  met  pins              no keys are pinned
  met  path-purpose      0 intermediates may certify signers
  met  path-digests      certificates below the anchor are signed with sha256
  met  revocation        not checked: the policy has 0 revocation lists, and does not look at any
"""  # noqa: E501 - as it is printed


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def voucher_by(one: Certified, *chain: Certified) -> None:
    """Put the voucher of somebody else in the place of the genuine one."""
    signatory = Signatory(
        key=KeySigner(one.key),
        certificate=one.certificate,
        chain=tuple(other.certificate for other in chain),
    )
    Path("v.xml").write_bytes(VoucherSigner(signatory).sign(VOUCHER))


def explained(*options: str) -> dict[str, Any]:
    """Return the explanation of the only signature."""
    document = json.loads(run("verify", "v.xml", *TRUST, *options, "--explain", "--json").stdout)
    (signature,) = document["explain"]["signatures"]
    return dict[str, Any](signature)


def unmet(signature: dict[str, Any]) -> dict[str, str]:
    return {one["rule"]: one["detail"] for one in signature["rules"] if not one["met"]}


def test_of_a_good_voucher_every_rule_is_met_with_its_values() -> None:
    result = run("verify", "v.xml", *TRUST, "--explain")

    assert told(result) == (0, f"{ACCEPTED}{CHAIN}{RULES}{LINES}trusted\n", "")


def test_an_expired_certificate_is_shown_with_its_date_and_what_to_do() -> None:
    voucher_by(certify("Old", root(), end=AT - timedelta(days=1)), root())
    problem = (
        "CN=Old: certificate has expired: valid until 2026-05-31T12:00:00Z, checked at 2026-06-01T12:00:00Z"
    )

    result = run("verify", "v.xml", *TRUST, "--explain")

    first, *lines = result.stdout.splitlines()
    assert (result.exit_code, first) == (4, f"CN=Old: {problem}")
    assert [line for line in lines if "not met" in line] == [f"  not met  path              {problem}"]
    advice = [line.removeprefix("  what to do: ") for line in lines if "what to do" in line]
    assert result.stderr == f"spkg: error: {problem}\nspkg: hint: {advice[0]}\n"
    assert advice[0].startswith("give --at TIME")
    assert "option 0" not in result.stdout


def test_a_broken_chain_is_shown_as_far_as_it_goes() -> None:
    middle = authority("Middle", root(), with_key="other", serial=2)
    voucher_by(certify("Leaf", middle))

    result = run("verify", "v.xml", *TRUST, "--explain")
    document = explained()

    lines = result.stdout.splitlines()
    assert result.exit_code == 4
    assert "  issued by: CN=Middle, whose certificate is missing" in lines
    assert (
        "  what to do: embed the certificate of CN=Middle with --chain when signing, "
        "or trust it with --trust when verifying"
    ) in lines
    assert (document["complete"], document["missing_issuer"]) == (False, "CN=Middle")
    assert [one["subject"] for one in document["chain"]] == ["CN=Leaf"]


def test_a_revoked_certificate_is_named() -> None:
    revoked = certify("Revoked", root())
    voucher_by(revoked, root())
    Path("list.pem").write_bytes(crl(root(), revoked).public_bytes(Encoding.PEM))

    document = explained("--crl", "list.pem")

    problem = "certificate revoked: on the revocation list of CN=Test Root since 2026-05-30T12:00:00Z"
    assert unmet(document) == {"revocation": f"CN=Revoked: {problem}"}
    assert (document["complete"], [one["anchor"] for one in document["chain"]]) == (True, [False, True])


def test_all_rules_that_are_not_met_are_shown_not_only_the_first() -> None:
    voucher_by(certify("Server", root(), purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), root())
    Path("v.xml").write_bytes(Path("v.xml").read_bytes().replace(b"<Duration>12<", b"<Duration>99<"))

    document = explained("--signer", "Somebody", "--required-signers", "2", "--digests", "sha1")

    assert unmet(document) == {
        "required-signers": "a voucher has one signature, but 2 are required",
        "algorithms": "a signature with sha256 is not accepted",
        "key": "a signature with sha256 is not accepted",
        "signature": "a signature with sha256 is not accepted",
        "signer": "CN=Server is not one of the accepted signers",
        "purpose": "the signer's certificate has no suitable extendedKeyUsage",
    }


def test_changed_contents_are_told_from_a_signature_of_another_key() -> None:
    changed = genuine().replace(b"<Duration>12<", b"<Duration>99<")
    Path("v.xml").write_bytes(changed)
    contents = unmet(explained())
    start = changed.index(b"<SignatureValue>") + 16
    Path("v.xml").write_bytes(genuine()[:start] + b"AAAA" + genuine()[start + 4 :])
    value = unmet(explained())

    assert contents == {"signature": "contents do not match the signed digest"}
    assert value == {"signature": "the signature of CN=Voucher Signer is not valid"}


def test_a_certificate_that_cannot_be_read_leaves_no_chain() -> None:
    octets = genuine()
    start = octets.index(b"<X509Certificate>") + 18
    Path("v.xml").write_bytes(octets[:start] + b"AAAA" + octets[start + 4 :])

    result = run("verify", "v.xml", *TRUST, "--explain")
    document = explained()

    assert result.exit_code == 4
    assert result.stdout.startswith("an unknown signer: the certificate can't be read")
    assert (document["chain"], document["missing_issuer"]) == ([], None)
    assert list(unmet(document)) == ["certificate"]


@pytest.mark.parametrize(("which", "digest"), SCHEMES)
def test_every_scheme_is_explained_as_it_is_verified(which: str, digest: Digest) -> None:
    Path("v.xml").write_bytes(signed(which=which, digest=digest))

    both, one = explained("--digests", "sha1,sha256"), explained("--digests", "sha256")

    assert unmet(both) == {}
    assert (unmet(one) == {}) == (digest is Digest.SHA256)


def test_without_explain_nothing_is_explained() -> None:
    assert "explain" not in json.loads(run("verify", "v.xml", *TRUST, "--json").stdout)


def test_what_is_no_voucher_has_no_explanation() -> None:
    Path("v.xml").write_text("<a/>")

    result = run("verify", "v.xml", *TRUST, "--explain")
    document = json.loads(run("verify", "v.xml", *TRUST, "--explain", "--json").stdout)

    assert (result.exit_code, result.stdout, "explain" in document) == (3, "", False)


def test_warnings_of_the_trusted_files_are_in_the_document() -> None:
    Path("ca.pem").write_bytes(root().pem + b"-----BEGIN NOTES-----\nAAAA\n-----END NOTES-----\n")

    document = json.loads(run("verify", "v.xml", *TRUST, "--json").stdout)

    assert [one["code"] for one in document["warnings"]] == ["trust-file-ignored"]
