"""``spkg verify``: who signed, what was signed, and whom the options let be trusted."""

import json
import shlex
from dataclasses import replace
from hashlib import sha1, sha256
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.commands import NO_TRUST, run
from tests.support.kit import AT, CONTENTS, SAMPLE, Draft, authority, certify, root, signer
from tests.support.odd_certificates import ODD
from tests.support.package_files import (
    KEY,
    SHA1,
    SHA256,
    TIME,
    TRUST,
    damaged,
    front_size,
    furnish,
    genuine,
    identities,
)

ACCEPTED: Final = {
    "index": 0,
    "subject": "CN=Test Signer",
    "issuer": "CN=Test Root",
    "serial": "03E8",
    "digest": "sha1",
    "signing_time": None,
    "status": "accepted",
    "reason": None,
}
INTACT: Final = {
    "command": 0,
    "path": "/bin/app",
    "length": 21,
    "mode": None,
    "sha1": SHA1,
    "sha256": SHA256,
    "status": "intact",
    "reason": None,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_verify_says_who_signed_and_what_was_signed() -> None:
    result = run("verify", "p.spkg", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "signature 0: CN=Test Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        "files: 1 of 1 match the signed digests, 21 bytes\n"
        "trusted\n"
    )


def test_verify_prints_one_document() -> None:
    result = run("verify", "p.spkg", *TRUST, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "trusted",
        "dates_checked": True,
        "attestation": None,
        "signatures": [ACCEPTED],
        "files": [INTACT],
        "uncovered": [],
        "warnings": [],
    }


def test_verify_says_that_it_checked_no_dates() -> None:
    expired = certify("Old Signer", root(), start=AT.replace(year=2001), end=AT.replace(year=2002))
    Path("p.spkg").write_bytes(Draft(signers=identities(expired)).encode())

    result = run("verify", "p.spkg", "--trust", "ca.pem", "--no-clock")
    document = json.loads(run("verify", "p.spkg", "--trust", "ca.pem", "--no-clock", "--json").stdout)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "signature 0: CN=Old Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        "the dates of certificates and revocation lists were not checked: there is no clock\n"
        "files: 1 of 1 match the signed digests, 21 bytes\n"
        "trusted\n"
    )
    assert document["dates_checked"] is False


def test_verify_shows_octets_that_nobody_signed() -> None:
    Path("p.spkg").write_bytes(Draft(payload=CONTENTS + b"more").encode())

    result = run("verify", "p.spkg", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[3:] == [
        "4 bytes at 0x00000015 of the payload belong to no file: they are not signed",
        "trusted",
    ]


def test_verify_gives_the_same_answer_with_any_number_of_jobs() -> None:
    run("build", SAMPLE / "manifest.toml", "-o", "sample.spkg", *KEY)

    one = run("verify", "sample.spkg", *TRUST, "--json", "--jobs", "1")
    four = run("verify", "sample.spkg", *TRUST, "--json", "--jobs", "4")

    assert (one.exit_code, four.exit_code) == (0, 0)
    assert one.stdout == four.stdout


# Packages that are not what they should be.


def test_a_payload_that_was_tampered_with_is_not_trusted() -> None:
    Path("p.spkg").write_bytes(damaged(-1))
    message = "/bin/app: contents do not match the signed SHA-1 digest"

    text, document = run("verify", "p.spkg", *TRUST), run("verify", "p.spkg", *TRUST, "--json")

    assert text.exit_code == 4
    assert text.stdout == (
        "signature 0: CN=Test Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        f"{message}\n"
        "files: 0 of 1 match the signed digests, 0 bytes\n"
    )
    assert text.stderr == f"spkg: error: {message} [TR-069 E.4.3]\n"
    assert (document.exit_code, document.stderr) == (4, text.stderr)
    contents = CONTENTS[:-1] + bytes([CONTENTS[-1] ^ 1])
    assert json.loads(document.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "untrusted",
        "dates_checked": True,
        "attestation": None,
        "signatures": [ACCEPTED],
        "files": [
            {
                **INTACT,
                "sha1": sha1(contents, usedforsecurity=False).hexdigest(),
                "sha256": sha256(contents).hexdigest(),
                "status": "damaged",
                "reason": "contents do not match the signed SHA-1 digest",
            }
        ],
        "uncovered": [],
        "warnings": [],
        "status": "untrusted",
        "exit": 4,
        "message": f"{message} [TR-069 E.4.3]",
        "source": None,
        "offset": None,
        "field": None,
        "section": "E.4.3",
        "hint": None,
    }


def test_commands_that_were_tampered_with_are_not_trusted() -> None:
    Path("p.spkg").write_bytes(genuine().replace(b"/bin/app", b"/bin/sh!"))
    reason = "the attribute messageDigest does not match the header and command list"

    text, document = run("verify", "p.spkg", *TRUST), run("verify", "p.spkg", *TRUST, "--json")

    assert text.exit_code == 4
    assert text.stdout == f"signature 0: CN=Test Signer, sha1: {reason}\n"
    assert text.stderr == f"spkg: error: signature[0]: {reason} [TR-069 E.5]\n"
    assert json.loads(document.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "untrusted",
        "dates_checked": None,
        "attestation": None,
        "signatures": [{**ACCEPTED, "status": "refused", "reason": reason}],
        "files": [],
        "uncovered": [],
        "warnings": [],
        "status": "untrusted",
        "exit": 4,
        "message": f"signature[0]: {reason} [TR-069 E.5]",
        "source": None,
        "offset": None,
        "field": None,
        "section": "E.5",
        "hint": None,
    }


def test_verify_prints_its_own_document_of_a_malformed_package_too() -> None:
    Path("p.spkg").write_bytes(genuine()[:-1])

    result = run("verify", "p.spkg", *TRUST, "--json")

    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "malformed",
        "dates_checked": None,
        "attestation": None,
        "signatures": [],
        "files": [],
        "uncovered": [],
        "warnings": [],
        "status": "malformed",
        "exit": 3,
        "message": f"offset 0x{front_size() + 20:04x}: payload: 1 of 21 bytes are missing [TR-069 E.3]",
        "source": None,
        "offset": front_size() + 20,
        "field": "payload",
        "section": "E.3",
        "hint": None,
    }


@pytest.mark.parametrize(
    ("args", "number", "message"),
    [
        ("nothing.spkg --trust ca.pem", 9, "nothing.spkg: no such file or directory"),
        ("p.spkg --trust nothing.pem", 9, "nothing.pem: no such file or directory"),
        ("p.spkg", 2, NO_TRUST[0]),
    ],
)
def test_verify_prints_its_own_document_whatever_fails(args: str, number: int, message: str) -> None:
    result = run("verify", *args.split(), "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == number
    assert {name: document.get(name) for name in ("schema", "verdict", "status", "exit", "message")} == {
        "schema": "spkg.verify/1",
        "verdict": "error",
        "status": "error",
        "exit": number,
        "message": message,
    }


# Who is trusted.


def test_an_unsigned_package_is_trusted_only_where_that_is_said_by_name() -> None:
    refused = run("verify", "u.spkg", *TRUST)
    accepted = run("verify", "u.spkg", "--unsafe-allow-unsigned")
    signed_by_nobody = run("verify", "p.spkg", "--unsafe-allow-unsigned", *TIME)

    assert (refused.exit_code, refused.stdout) == (4, "")
    assert refused.stderr == "spkg: error: the package carries no signature [TR-069 E.5]\n"
    assert (accepted.exit_code, accepted.stderr) == (0, "")
    assert accepted.stdout == (
        "no signatures: accepted because of --unsafe-allow-unsigned\n"
        "files: 1 of 1 match their commands, 21 bytes\n"
        "not signed\n"
    )
    assert (
        json.loads(run("verify", "u.spkg", "--unsafe-allow-unsigned", "--json").stdout)["verdict"]
        == "unsigned"
    )
    assert signed_by_nobody.exit_code == 4


def revocations(*serials: int) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root().certificate.subject)
        .last_update(AT.replace(month=5))
        .next_update(AT.replace(month=7))
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(AT.replace(month=5))
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(root().key, hashes.SHA256()).public_bytes(Encoding.PEM)


REFUSALS: Final = {
    "": None,
    "--signer 'Test Signer'": None,
    "--signer 'CN=Test Signer' --signer Jane": None,
    "--signer Jane": "signature[0]: CN=Test Signer is not one of the accepted signers",
    "--required-signers 2": "only 1 of 2 required signers",
    "--at 2024-01-01": (
        "signature[0]: CN=Test Root: certificate is not yet valid: "
        "valid from 2025-06-01T12:00:00Z, checked at 2024-01-01T00:00:00Z"
    ),
    "--at 2050-01-01": (
        "signature[0]: CN=Test Root: certificate has expired: "
        "valid until 2049-06-01T12:00:00Z, checked at 2050-01-01T00:00:00Z"
    ),
    "--crl good.crl": None,
    "--crl bad.crl": (
        "signature[0]: CN=Test Signer: certificate revoked: on the revocation list of CN=Test Root "
        "since 2026-05-01T12:00:00Z"
    ),
    "--at 2026-08-01 --crl good.crl": (
        "signature[0]: CN=Test Signer: CRL has expired: that of CN=Test Root began on 2026-05-01T12:00:00Z "
        "and ends on 2026-07-01T12:00:00Z, checked at 2026-08-01T00:00:00Z"
    ),
    "--digests sha1": None,
    "--digests ' sha256 , sha1 '": None,
    "--digests sha256": "signature[0]: the policy does not accept the digest algorithm sha1",
    "--eku 1.3.6.1.5.5.7.3.3": None,
    "--eku 1.3.6.1.5.5.7.3.1": "signature[0]: the signer's certificate has no suitable extendedKeyUsage",
}


@pytest.mark.parametrize("options", REFUSALS)
def test_the_options_of_trust_decide(options: str) -> None:
    Path("good.crl").write_bytes(revocations(77))
    Path("bad.crl").write_bytes(revocations(77, 1000))
    reason = REFUSALS[options]

    result = run("verify", "p.spkg", *TRUST, *shlex.split(options))

    assert (result.exit_code, result.stderr.splitlines()[:1]) == (
        (0, []) if reason is None else (4, [f"spkg: error: {reason} [TR-069 E.5]"])
    )


def test_a_signer_whose_root_is_not_trusted_is_not_trusted() -> None:
    Path("other.pem").write_bytes(authority("Other Root", with_key="other").pem)

    result = run("verify", "p.spkg", "--trust", "other.pem", *TIME)

    reason = "CN=Test Signer: unable to get local issuer certificate: there is no certificate of CN=Test Root"
    assert result.exit_code == 4
    assert result.stdout == f"signature 0: CN=Test Signer, sha1: {reason}\n"
    assert result.stderr == (
        f"spkg: error: signature[0]: {reason} [TR-069 E.5]\n"
        "spkg: hint: embed the certificate of CN=Test Root with --chain when signing, "
        "or trust it with --trust when verifying\n"
    )


@pytest.mark.parametrize("option", ["--trust", "--crl"])
def test_certificates_and_lists_that_cannot_be_read_are_9(option: str) -> None:
    result = run("verify", "p.spkg", *TRUST, option, "app")

    what = {"--trust": "certificate", "--crl": "revocation list"}[option]
    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr == f"spkg: error: app contains no {what}\n"


@pytest.mark.parametrize("kind", ODD)
def test_a_signer_with_an_odd_certificate_is_not_trusted(kind: str) -> None:
    Path("p.spkg").write_bytes(genuine().replace(signer().der, ODD[kind]()))

    result = run("verify", "p.spkg", *TRUST)

    assert result.exit_code == 4
    assert result.stderr.startswith("spkg: error: signature[0]: ")
    assert "[(" not in result.stderr


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_certificate_beside_the_signers_harms_nobody(kind: str) -> None:
    beside = x509.load_der_x509_certificate(ODD[kind]())
    Path("p.spkg").write_bytes(Draft(signers=(replace(signer().identity(), chain=(beside,)),)).encode())

    result = run("verify", "p.spkg", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")
