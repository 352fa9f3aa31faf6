"""``prepare``, ``attach`` and ``signatures``: signatures that are made elsewhere, with openssl alone."""

import json
import subprocess
from base64 import b64encode
from datetime import timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.build.two_steps import SigningRequest
from spkg.common.digests import Digest
from spkg.trust.signers import KeySigner, digest_info
from tests.support.commands import run
from tests.support.kit import AT, KEYS, Draft, certify, key, read, root, second_signer, signer
from tests.support.package_files import KEY, TRUST, furnish, genuine, unsigned

OPENSSL: Final = pytest.mark.judge("openssl")
RAW: Final = r"""
sed -n 's/.*"digest_info": "\([^"]*\)".*/\1/p' request.json | openssl base64 -d -A |
openssl pkeyutl -sign -inkey signer.key -pkeyopt rsa_padding_mode:pkcs1 > signature.bin
"""
"""What the documents show: openssl signs the DigestInfo."""
NOT_BASE64: Final = "spkg: hint: it is given as it is, not in base64: openssl base64 -d -A"
CMS_HINT: Final = "spkg: hint: openssl cms -sign -binary -nosmimecap -outform DER writes such a CMS\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def request(**changes: Any) -> dict[str, Any]:
    """Prepare a request for the unsigned package, and return it with changes."""
    assert run("prepare", "u.spkg", "-o", "request.json", "--cert", "signer.pem", "--force").exit_code == 0
    found: dict[str, Any] = json.loads(Path("request.json").read_text()) | changes
    Path("request.json").write_text(json.dumps(found))
    return found


def signature(digest: Digest = Digest.SHA1) -> bytes:
    """Sign the request here."""
    wanted = SigningRequest.decode(Path("request.json").read_bytes(), "request.json")
    made = KeySigner(key("signer")).sign(digest, wanted.hashed)
    Path("signature.bin").write_bytes(made)
    return made


@OPENSSL
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_what_openssl_signs_elsewhere_is_what_sign_writes(digest: str) -> None:
    prepared = run("prepare", "u.spkg", "-o", "request.json", "--cert", "signer.pem", "--digest", digest)
    subprocess.run(["/bin/sh", "-ec", RAW], check=True)

    attached = run("attach", "u.spkg", "request.json", "--signature", "signature.bin", "-o", "two.spkg")

    assert (prepared.exit_code, prepared.stderr) == (0, "")
    assert prepared.stdout == f"request.json: to be signed by CN=Test Signer with {digest}\n"
    assert (attached.exit_code, attached.stderr) == (0, "")
    assert attached.stdout == f"two.spkg: signed by CN=Test Signer with {digest}, 1 signature\n"
    assert run("sign", "u.spkg", *KEY, "--digest", digest, "-o", "one.spkg").exit_code == 0
    assert Path("two.spkg").read_bytes() == Path("one.spkg").read_bytes()
    assert Path("u.spkg").read_bytes() == unsigned()


@OPENSSL
def test_a_whole_cms_of_openssl_is_taken_too() -> None:
    request()
    Path("signed.bin").write_bytes(read(unsigned()).signed)
    made = ("-signer", "signer.pem", "-inkey", "signer.key", "-in", "signed.bin", "-outform", "DER")
    subprocess.run(
        ["openssl", "cms", "-sign", "-binary", "-md", "sha1", "-nosmimecap", *made, "-out", "cms.der"],
        check=True,
    )

    result = run("attach", "u.spkg", "request.json", "--signer-info", "cms.der")

    assert (result.exit_code, result.stderr) == (0, "")
    assert run("verify", "u.spkg", *TRUST).exit_code == 0


def test_a_signer_info_alone_is_taken() -> None:
    request()
    (info,) = [one.octets for one in read(genuine()).block.signers]
    Path("info.der").write_bytes(info)

    result = run("attach", "u.spkg", "request.json", "--signer-info", "info.der", "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.attach/1",
        "output": "u.spkg",
        "signer": "CN=Test Signer",
        "digest": "sha1",
        "signatures": 1,
        "signed_sha256": request_of(unsigned()),
        "warnings": [],
    }


def request_of(package: bytes) -> str:
    Path("again.spkg").write_bytes(package)
    assert run("prepare", "again.spkg", "-o", "again.json", "--cert", "signer.pem").exit_code == 0
    found: str = json.loads(Path("again.json").read_text())["package"]
    return found


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"short", "expected a signature of 256 bytes, got 5"),
        (bytes(256), "the signature is not valid"),
        (
            b64encode(bytes(256)) + b"\n",
            "expected a signature of 256 bytes, got 345\n" + NOT_BASE64,
        ),
        (bytes(1 << 21), "expected a signature of 256 bytes, got 1048577"),
    ],
    ids=["short", "wrong", "base64", "endless"],
)
def test_a_signature_that_does_not_hold_is_4(octets: bytes, problem: str) -> None:
    request()
    Path("signature.bin").write_bytes(octets)

    result = run("attach", "u.spkg", "request.json", "--signature", "signature.bin")

    assert (result.exit_code, result.stdout, result.stderr) == (4, "", f"spkg: error: {problem}\n")
    assert Path("u.spkg").read_bytes() == unsigned()


def test_one_of_another_signer_is_4() -> None:
    request()
    Path("info.der").write_bytes(read(Draft(signers=(second_signer().identity(),)).encode()).block.octets)

    result = run("attach", "u.spkg", "request.json", "--signer-info", "info.der")

    told = "spkg: error: expected one signature of CN=Test Signer, named by issuer and serial number, got 0\n"
    assert (result.exit_code, result.stderr) == (4, told)


def test_a_signer_info_that_the_package_has_is_3() -> None:
    request()
    Path("theirs.spkg").write_bytes(Draft(signers=(second_signer().identity(),)).encode())
    (theirs,) = [one.octets for one in read(Path("theirs.spkg").read_bytes()).block.signers]
    Path("info.der").write_bytes(theirs)

    result = run("attach", "theirs.spkg", "request.json", "--signer-info", "info.der")

    told = "spkg: error: expected one SignerInfo that the package does not have, got 0 [TR-069 E.5]\n"
    assert (result.exit_code, result.stderr) == (3, told)


@pytest.mark.parametrize("what", ["nothing", "twice", "a signature", "zeros", "S/MIME"])
def test_what_is_neither_a_signer_info_nor_a_cms_is_3_with_the_command_that_makes_one(what: str) -> None:
    request()
    (info,) = [one.octets for one in read(genuine()).block.signers]
    octets = {"nothing": b"", "twice": info * 2, "a signature": signature(), "zeros": bytes(1 << 20)}
    Path("info.der").write_bytes(octets.get(what, b"MIME-Version: 1.0\n\n"))

    result = run("attach", "u.spkg", "request.json", "--signer-info", "info.der")

    assert (result.exit_code, result.stderr) == (
        3,
        "spkg: error: expected a SignerInfo or a CMS in DER\n" + CMS_HINT,
    )
    assert Path("u.spkg").read_bytes() == unsigned()


@OPENSSL
@pytest.mark.parametrize(
    ("options", "status", "problem"),
    [
        (("-md", "sha1", "-outform", "PEM"), 0, None),
        (
            ("-md", "sha256", "-outform", "DER"),
            4,
            "the request is for a signature with sha1, this has sha256",
        ),
        (
            ("-md", "sha1", "-outform", "DER", "-nodetach"),
            3,
            "content_info.content: the content must be absent [TR-069 E.5]\nspkg: hint: openssl cms ",
        ),
    ],
    ids=["PEM", "another digest", "with its content"],
)
def test_a_cms_of_openssl_that_does_not_fit_is_refused_with_the_reason(
    options: tuple[str, ...], status: int, problem: str | None
) -> None:
    request()
    Path("signed.bin").write_bytes(read(unsigned()).signed)
    made = ("-signer", "signer.pem", "-inkey", "signer.key", "-in", "signed.bin", "-out", "cms", *options)
    subprocess.run(["openssl", "cms", "-sign", "-binary", "-nosmimecap", *made], check=True)

    result = run("attach", "u.spkg", "request.json", "--signer-info", "cms")

    assert (result.exit_code, Path("u.spkg").read_bytes() == unsigned()) == (status, status != 0)
    assert (problem or "") in result.stderr


def test_another_packages_request_is_5() -> None:
    found = request()
    signature()
    Path("other.spkg").write_bytes(Draft(signers=(), records=Draft().records[:1]).encode())

    result = run("attach", "other.spkg", "request.json", "--signature", "signature.bin")

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith(
        f"spkg: error: the request is for package {found['package'][:16]}, and this is "
    )
    assert result.stderr.endswith("\nspkg: hint: prepare a request for this package\n")


def test_attributes_of_another_package_are_not_believed() -> None:
    Path("other.spkg").write_bytes(Draft(signers=(), records=Draft().records[:1]).encode())
    assert run("prepare", "other.spkg", "-o", "other.json", "--cert", "signer.pem").exit_code == 0
    other = json.loads(Path("other.json").read_text())
    kept = ("signed_attributes", "attributes_digest", "digest_info")
    request(**{key: other[key] for key in kept})
    signature()

    result = run("attach", "u.spkg", "request.json", "--signature", "signature.bin")

    told = "spkg: error: the attribute messageDigest does not match the header and command list\n"
    assert (result.exit_code, result.stderr) == (4, told)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": "spkg.sign/1"}, "expected a request with the schema 'spkg.request/1'"),
        ({"digest": "md5"}, "digest: expected sha1 or sha256, got 'md5'"),
        ({"package": 5}, "package: expected a string, got 5"),
        ({"signed_attributes": "?"}, "signed_attributes: expected base64, got '?'"),
        ({"attributes_digest": "AAAA"}, "attributes_digest: does not follow from the other fields"),
        ({"digest_info": "AAAA"}, "digest_info: does not follow from the other fields"),
        ({"certificate": ""}, "certificate: expected certificates in PEM that can be read"),
        ({"chain": "x"}, "chain: expected certificates in PEM that can be read"),
        (
            {
                "signed_attributes": "",
                "attributes_digest": b64encode(sha1(b"").digest()).decode(),
                "digest_info": b64encode(digest_info(Digest.SHA1, sha1(b"").digest())).decode(),
            },
            "the signed attributes can't be read: ",
        ),
        ({"more": "x" * (1 << 20)}, "request.json: the request has more than 1048576 bytes"),
        ({"certificate": "x"}, "certificate: expected certificates in PEM that can be read"),
    ],
    ids=[
        "schema",
        "digest",
        "type",
        "base64",
        "contradiction",
        "another DigestInfo",
        "nobody",
        "no chain",
        "attributes",
        "size",
        "nonsense",
    ],
)
def test_what_is_no_request_is_3(changes: dict[str, Any], problem: str) -> None:
    request(**changes)
    Path("signature.bin").write_bytes(bytes(256))

    result = run("attach", "u.spkg", "request.json", "--signature", "signature.bin")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("spkg: error: ")
    assert problem in result.stderr


def test_a_field_that_is_missing_is_named() -> None:
    found = request()
    del found["package"]
    Path("request.json").write_text(json.dumps(found))
    Path("signature.bin").write_bytes(bytes(256))

    result = run("attach", "u.spkg", "request.json", "--signature", "signature.bin")

    assert (result.exit_code, result.stderr) == (3, "spkg: error: request.json: package: missing\n")


def test_a_request_that_is_not_json_is_3() -> None:
    Path("request.json").write_text("{")
    Path("signature.bin").write_bytes(bytes(256))

    result = run("attach", "u.spkg", "request.json", "--signature", "signature.bin")

    told = "spkg: error: request.json:1: expected JSON: expecting property name enclosed in double quotes\n"
    assert (result.exit_code, result.stderr) == (3, told)


@pytest.mark.parametrize("options", [(), ("--signature", "u.spkg", "--signer-info", "u.spkg")])
def test_one_way_of_giving_the_signature_is_needed(options: tuple[str, ...]) -> None:
    request()

    result = run("attach", "u.spkg", "request.json", *options)

    told = "spkg: error: expected either --signature or --signer-info\n"
    assert (result.exit_code, result.stderr) == (2, told)


# Lists and removals.


def test_signatures_are_listed_as_the_package_has_them() -> None:
    text, document = run("signatures", "p.spkg"), run("signatures", "p.spkg", "--json")

    assert text.stdout == "signature 0  CN=Test Signer  sha1  serial 03E8\n"
    assert json.loads(document.stdout)["signatures"] == [
        {
            "index": 0,
            "subject": "CN=Test Signer",
            "issuer": "CN=Test Root",
            "serial": "03E8",
            "digest": "sha1",
            "signing_time": None,
        }
    ]
    assert run("signatures", "u.spkg").stdout == "u.spkg: no signature\n"


def test_a_rotation_ends_with_the_removal_of_the_old_signer() -> None:
    Path("second.pem").write_bytes(second_signer().pem)
    assert run("sign", "p.spkg", "--key", KEYS / "second.key", "--cert", "second.pem").exit_code == 0
    both = run("verify", "p.spkg", "--trust", "leaf.pem", *TRUST[2:])

    removed = run("signatures", "remove", "p.spkg", "--signer", "Test Signer")

    assert both.exit_code == 0
    assert (removed.exit_code, removed.stdout) == (0, "p.spkg: removed 1 signature, 1 left\n")
    assert run("verify", "p.spkg", "--trust", "second.pem", *TRUST[2:]).exit_code == 0
    assert run("verify", "p.spkg", "--trust", "leaf.pem", *TRUST[2:]).exit_code == 4
    block = read(Path("p.spkg").read_bytes()).block
    assert signer().der not in block.certificates
    assert second_signer().der in block.certificates


def test_without_its_last_signature_a_package_is_unsigned() -> None:
    result = run("signatures", "remove", "p.spkg", "--signer", "CN=Test Signer", "-o", "bare.spkg")

    assert (result.exit_code, result.stdout) == (0, "bare.spkg: removed 1 signature, 0 left\n")
    assert Path("bare.spkg").read_bytes() == unsigned()
    assert Path("p.spkg").read_bytes() == genuine()


def test_a_name_that_has_not_signed_is_5() -> None:
    result = run("signatures", "remove", "p.spkg", "--signer", "nobody")

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == (
        "spkg: error: p.spkg has no signature of 'nobody'\nspkg: hint: 'spkg signatures p.spkg' lists them\n"
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("p.spkg", "u.spkg"), "expected PKG, or remove PKG"),
        (("remove", "p.spkg"), "--signer and -o belong to 'signatures remove PKG --signer NAME'"),
        (("p.spkg", "--signer", "x"), "--signer and -o belong to 'signatures remove PKG --signer NAME'"),
        (("p.spkg", "-o", "x"), "--signer and -o belong to 'signatures remove PKG --signer NAME'"),
    ],
)
def test_words_that_mean_nothing_are_2(words: tuple[str, ...], problem: str) -> None:
    result = run("signatures", *words)

    assert (result.exit_code, result.stderr) == (2, f"spkg: error: {problem}\n")


def test_replace_leaves_one_signature_of_a_signer_with_a_digest() -> None:
    refused = run("sign", "p.spkg", *KEY)

    replaced = run("sign", "p.spkg", *KEY, "--replace", "--signing-time", AT.isoformat())

    assert refused.exit_code == 5
    assert replaced.stdout == "p.spkg: signed by CN=Test Signer with sha1, 1 signature\n"
    (info,) = read(Path("p.spkg").read_bytes()).block.signers
    assert info.signing_time == AT


def test_replace_leaves_the_signature_with_another_digest() -> None:
    assert run("sign", "p.spkg", *KEY, "--digest", "sha256").exit_code == 0

    replaced = run("sign", "p.spkg", *KEY, "--replace", "--signing-time", AT.isoformat())

    assert replaced.stdout == "p.spkg: signed by CN=Test Signer with sha1, 2 signatures\n"
    block = read(Path("p.spkg").read_bytes()).block
    times = {one.digest_algorithm.name: one.signing_time for one in block.signers}
    assert times == {"sha1": AT, "sha256": None}


# What signs and what does not.


UNFIT: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "expired": ({"end": AT - timedelta(days=3)}, "expired on"),
    "not yet": ({"start": AT + timedelta(days=3650)}, "is not valid before"),
    "of a CA": ({"ca": True, "usage": ("digital_signature", "key_cert_sign")}, "CA certificate"),
    "for encryption": ({"usage": ("key_encipherment",)}, "keyUsage lacks digitalSignature"),
    "for servers": ({"purposes": ()}, "no suitable extendedKeyUsage"),
}


@pytest.mark.part("fuzz", turns=True, few=4)
@pytest.mark.parametrize("why", UNFIT)
@pytest.mark.parametrize("way", ["sign", "prepare", "build"])
def test_a_certificate_that_no_verifier_takes_signs_nothing(way: str, why: str) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415 - for one of the kinds

    settings, problem = UNFIT[why]
    if "purposes" in settings:
        settings = {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)}
    Path("odd.pem").write_bytes(certify("Odd", root(), **settings).pem)
    command = {
        "sign": ("sign", "u.spkg", "--key", "signer.key", "--cert", "odd.pem"),
        "prepare": ("prepare", "u.spkg", "-o", "out", "--cert", "odd.pem"),
        "build": ("build", "m.toml", "-o", "out", "--key", "signer.key", "--cert", "odd.pem"),
    }[way]

    refused, forced = run(*command), run(*command, "--unsafe-unfit-certificate")

    assert (refused.exit_code, refused.stdout) == (5, "")
    assert problem in refused.stderr
    assert "spkg: hint: use another certificate; --at states the time of an old release" in refused.stderr
    assert forced.exit_code == 0
    assert problem in forced.stderr


def test_an_old_release_is_signed_again_at_its_time() -> None:
    Path("old.pem").write_bytes(certify("Old", root(), end=AT - timedelta(days=3)).pem)

    then = (AT - timedelta(days=30)).isoformat()
    result = run("sign", "u.spkg", "--key", "signer.key", "--cert", "old.pem", "--at", then)

    assert result.exit_code == 0
