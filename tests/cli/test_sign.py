"""``spkg sign``: signatures that are added, in place too, and the keys that make them."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from spkg.build.sign import sign_package
from spkg.cli.sign import SHA1_MISSING
from tests.support.commands import files, run
from tests.support.kit import AT, KEYS, LAST, Draft, certify, key, name, read, root, second_signer, signer
from tests.support.odd_certificates import ODD
from tests.support.package_files import KEY, TRUST, complete, furnish, genuine, unsigned
from tests.support.restrictions import umask


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_sign_adds_a_signature_in_place_and_keeps_the_first() -> None:
    Path("second.pem").write_bytes(second_signer().pem)
    before = read(genuine()).block

    result = run("sign", "p.spkg", "--key", KEYS / "second.key", "--cert", "second.pem", "--chain", "ca.pem")
    after = read(Path("p.spkg").read_bytes()).block
    verified = run("verify", "p.spkg", *TRUST, "--required-signers", "2")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "p.spkg: signed by CN=Second Signer with sha1, 2 signatures\n"
    assert before.signers[0].octets in [one.octets for one in after.signers]
    assert len(after.signers) == 2
    assert set(after.certificate_octets) == {signer().der, second_signer().der, root().der}
    assert Path("p.spkg").read_bytes().startswith(Draft().signed)
    assert (verified.exit_code, verified.stderr) == (0, "")


def test_sign_adds_a_strong_signature_by_the_same_signer() -> None:
    result = run("sign", "p.spkg", *KEY, "--digest", "sha256", "-o", "new.spkg")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "new.spkg: signed by CN=Test Signer with sha256, 2 signatures\n"
    assert Path("p.spkg").read_bytes() == genuine()
    assert run("verify", "new.spkg", *TRUST).stdout == (
        "signature 0: CN=Test Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        "signature 1: CN=Test Signer, sha256: accepted\n"
        "  trusted through CN=Test Root\n"
        "files: 1 of 1 match the signed digests, 21 bytes\n"
        "trusted\n"
    )


def test_a_package_that_is_signed_with_sha256_alone_is_told_to_depart_from_the_text() -> None:
    result = run("sign", "u.spkg", *KEY, "--digest", "sha256")

    assert result.exit_code == 0
    assert result.stderr == (
        "spkg: warning: also sign with --digest sha1: readers that follow E.5 accept no other signature\n"
    )


def test_one_signature_is_told_in_the_singular() -> None:
    result = run("sign", "u.spkg", *KEY)

    assert result.stdout == "u.spkg: signed by CN=Test Signer with sha1, 1 signature\n"


def test_a_signing_time_is_stated_where_it_is_given() -> None:
    result = run("sign", "u.spkg", *KEY, "--signing-time", "2026-06-01T12:00:00+02:00")
    inspected = json.loads(run("inspect", "u.spkg", "--json").stdout)

    assert result.exit_code == 0
    assert inspected["signature_block"]["signers"][0]["signing_time"] == "2026-06-01T10:00:00Z"


@pytest.mark.parametrize("time", ["1949-12-31T23:59:59", "2050-01-01T00:00:00"])
def test_a_signing_time_outside_the_years_of_utctime_is_stated_as_a_generalized_time(time: str) -> None:
    result = run("sign", "u.spkg", *KEY, "--signing-time", time)
    inspected = json.loads(run("inspect", "u.spkg", "--json").stdout)

    assert (result.exit_code, result.stderr) == (0, "")
    assert inspected["signature_block"]["signers"][0]["signing_time"] == f"{time}Z"


# In place.


def test_signing_in_place_keeps_the_mode_of_the_file_whatever_the_umask() -> None:
    Path("u.spkg").chmod(0o664)
    with umask(0o077):
        result = run("sign", "u.spkg", *KEY)

    assert result.exit_code == 0
    assert Path("u.spkg").stat().st_mode & 0o777 == 0o664


def test_signing_in_place_keeps_the_mode_of_the_file() -> None:
    Path("u.spkg").chmod(0o640)

    result = run("sign", "u.spkg", *KEY)

    assert result.exit_code == 0
    assert Path("u.spkg").stat().st_mode & 0o777 == 0o640


def test_a_package_that_somebody_else_signed_meanwhile_is_not_overwritten(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*args: Any, **settings: Any) -> None:
        sign_package(*args, **settings)
        (here / "other").write_bytes(genuine())
        (here / "other").replace(here / "u.spkg")

    monkeypatch.setattr("spkg.build.sign.sign_package", overtaken)

    result = run("sign", "u.spkg", "--digest", "sha256", *KEY)

    problem = "u.spkg was changed by another program in the meantime; it is left as it is"
    assert (result.exit_code, result.stderr) == (
        9,
        f"spkg: warning: {SHA1_MISSING}\nspkg: error: {problem}\n",
    )
    assert Path("u.spkg").read_bytes() == genuine()
    assert not list(here.glob(".*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_signing_in_place_keeps_the_owner_of_the_file() -> None:
    os.chown("u.spkg", 1234, 2345)

    result = run("sign", "u.spkg", *KEY)

    assert result.exit_code == 0
    assert (Path("u.spkg").stat().st_uid, Path("u.spkg").stat().st_gid) == (1234, 2345)


def test_a_pipe_can_not_be_signed_in_place() -> None:
    os.mkfifo("pipe")
    with ThreadPoolExecutor(max_workers=1) as pool:
        writing = pool.submit(Path("pipe").write_bytes, unsigned())
        result = run("sign", "pipe", *KEY)
        writing.result()

    assert (result.exit_code, result.stderr) == (
        2,
        "spkg: error: pipe is not a regular file: signing it needs -o OUT\n",
    )


def test_signing_in_place_follows_a_link_to_the_package() -> None:
    Path("store").mkdir()
    Path("u.spkg").rename("store/u.spkg")
    Path("u.spkg").symlink_to("store/u.spkg")

    result = run("sign", "u.spkg", "--digest", "sha1", *KEY)

    assert result.exit_code == 0
    assert Path("u.spkg").is_symlink()
    assert Path("store/u.spkg").read_bytes() == complete()
    assert files("store") == ["u.spkg"]


# Keys.


def pem(kind: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes | None = None) -> bytes:
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key("signer").private_bytes(Encoding.PEM, kind, encryption)


def pfx(passphrase: bytes | None = None) -> bytes:
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return pkcs12.serialize_key_and_certificates(
        b"signer", key("signer"), signer().certificate, [root().certificate], encryption
    )


def test_the_passphrase_of_a_key_comes_from_the_environment_or_a_file() -> None:
    Path("e.key").write_bytes(pem(passphrase="pass wörd".encode()))
    Path("old.key").write_bytes(pem(PrivateFormat.TraditionalOpenSSL, "pass wörd".encode()))
    Path("pass").write_text("pass wörd\r\nand nothing of this\n", encoding="utf-8")
    known = {"SPKG_TEST_PASS": "pass wörd"}

    results = [
        run(
            "sign", "u.spkg", "-o", f"{number}.spkg", "--key", one, "--cert", "signer.pem", *option, env=known
        )
        for number, (one, option) in enumerate(
            (one, option)
            for one in ("e.key", "old.key")
            for option in (("--key-password-env", "SPKG_TEST_PASS"), ("--key-password-file", "pass"))
        )
    ]

    assert [(result.exit_code, result.stderr) for result in results] == [(0, "")] * 4
    assert {Path(f"{number}.spkg").read_bytes() for number in range(4)} == {complete()}


@pytest.mark.parametrize("passphrase", [None, b"secret"])
def test_a_pkcs12_file_brings_certificate_and_chain(passphrase: bytes | None) -> None:
    Path("signer.p12").write_bytes(pfx(passphrase))
    Path("pass").write_bytes(b"secret")
    option = () if passphrase is None else ("--key-password-file", "pass")

    result = run("sign", "u.spkg", "--key", "signer.p12", *option)

    assert (result.exit_code, result.stderr) == (0, "")
    assert set(read(Path("u.spkg").read_bytes()).block.certificates) == {signer().der, root().der}


def ec_key() -> bytes:
    made = ec.derive_private_key(0x1234567890, ec.SECP256R1())
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_program_that_signs_does_not_get_the_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPKG_TEST_PASS", "sesame")
    monkeypatch.setenv("SPKG_TEST_ELSE", "free")
    Path("ask").write_text("#!/bin/sh\nenv >told\nexit 3\n")
    Path("ask").chmod(0o755)

    key = ("--key", "EXEC:./ask", "--cert", "signer.pem", "--key-password-env", "SPKG_TEST_PASS")
    result = run("sign", "u.spkg", *key)

    told = Path("told").read_text()
    assert (result.exit_code, result.stderr) == (9, "spkg: error: ./ask ended with status 3\n")
    assert "SPKG_TEST_ELSE=free\n" in told
    assert "sesame" not in told


@pytest.mark.parametrize("key", ["PKCS11:object=key?pin-value=98765", "pkcs11:object=key?pin-value:98765"])
def test_a_pin_on_the_command_line_is_refused_and_never_shown(key: str) -> None:
    result = run("sign", "u.spkg", "--key", key, "--cert", "signer.pem", "--json")

    assert (result.exit_code, "98765" in result.stdout + result.stderr) == (2, False)


PASSPHRASE_HINT: Final = "give its passphrase with --key-password-env or --key-password-file"
WRONG_PASSPHRASE: Final = "the key in k can't be read: the passphrase is wrong, or the file is damaged"
NO_PRIVATE_KEY: Final = "the key in k can't be read: it is not a private key"
BAD_KEYS: Final[dict[str, tuple[Callable[[], bytes], bytes | None, str, str | None]]] = {
    "encrypted, no passphrase": (
        lambda: pem(passphrase=b"secret"),
        None,
        "the key in k is encrypted",
        PASSPHRASE_HINT,
    ),
    "encrypted, wrong passphrase": (lambda: pem(passphrase=b"secret"), b"public", WRONG_PASSPHRASE, None),
    "encrypted, empty passphrase": (lambda: pem(passphrase=b"secret"), b"", WRONG_PASSPHRASE, None),
    "old form, no passphrase": (
        lambda: pem(PrivateFormat.TraditionalOpenSSL, b"secret"),
        None,
        "the key in k is encrypted",
        PASSPHRASE_HINT,
    ),
    "old form, wrong passphrase": (
        lambda: pem(PrivateFormat.TraditionalOpenSSL, b"secret"),
        b"public",
        WRONG_PASSPHRASE,
        None,
    ),
    "plain, a passphrase": (
        pem,
        b"secret",
        "the key in k is not encrypted, but a passphrase was given",
        None,
    ),
    "PKCS #12, wrong passphrase": (lambda: pfx(b"secret"), b"public", WRONG_PASSPHRASE, None),
    "PKCS #12, no passphrase": (
        lambda: pfx(b"secret"),
        None,
        "the key in k is encrypted",
        PASSPHRASE_HINT,
    ),
    "PKCS #12, without a key": (
        lambda: pkcs12.serialize_key_and_certificates(None, None, None, [root().certificate], NoEncryption()),
        None,
        "k contains no private key",
        None,
    ),
    "garbage": (lambda: b"garbage\n", None, NO_PRIVATE_KEY, None),
    "empty": (lambda: b"", None, NO_PRIVATE_KEY, None),
    "a certificate": (lambda: signer().pem, None, NO_PRIVATE_KEY, None),
    "DER": (
        lambda: key("signer").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        None,
        "the key in k can't be read: it is neither PEM nor PKCS #12",
        None,
    ),
    "of another certificate": (
        (KEYS / "other.key").read_bytes,
        None,
        "the key in k does not match the certificate of CN=Test Signer",
        None,
    ),
    "too large": (lambda: bytes((1 << 24) + 1), None, "k is larger than 16777216 bytes", None),
}


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_a_key_that_cannot_be_used_is_9_and_leaves_the_package_as_it_was(kind: str) -> None:
    make, passphrase, message, hint = BAD_KEYS[kind]
    Path("k").write_bytes(make())
    Path("pass").write_bytes((passphrase or b"") + b"\n")
    option = () if passphrase is None else ("--key-password-file", "pass")

    result = run("sign", "u.spkg", "--key", "k", "--cert", "signer.pem", *option)

    told = f"spkg: error: {message}\n" + (f"spkg: hint: {hint}\n" if hint else "")
    assert (result.exit_code, result.stdout, result.stderr) == (9, "", told)
    assert Path("u.spkg").read_bytes() == unsigned()


OTHER_KIND: Final = "packages are signed with an RSA key, and this is another kind [TR-069 E.5]"


def test_a_key_of_another_kind_than_packages_need_is_refused() -> None:
    Path("k").write_bytes(ec_key())

    result = run("sign", "u.spkg", "--key", "k", "--cert", "signer.pem")

    assert (result.exit_code, result.stdout, result.stderr) == (5, "", f"spkg: error: {OTHER_KIND}\n")
    assert Path("u.spkg").read_bytes() == unsigned()


def test_a_certificate_of_another_kind_of_key_is_refused_when_a_signature_is_prepared() -> None:
    key = ec.derive_private_key(0x1234567890, ec.SECP256R1())
    subject = name("Elliptic")
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).serial_number(9)
    dates = builder.not_valid_before(AT - timedelta(days=1)).not_valid_after(LAST)
    certificate = dates.public_key(key.public_key()).sign(key, hashes.SHA256())
    Path("c.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    prepared = run("prepare", "u.spkg", "-o", "r.json", "--cert", "c.pem", "--at", AT.isoformat())

    assert (prepared.exit_code, prepared.stdout) == (5, "")
    assert prepared.stderr == f"spkg: error: {OTHER_KIND}\n"
    assert not Path("r.json").exists()


def test_a_key_without_a_certificate_is_9() -> None:
    result = run("sign", "u.spkg", "--key", "signer.key")

    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr == (
        "spkg: error: signer.key contains no certificate\nspkg: hint: give the signer's with --cert\n"
    )


def test_a_package_that_its_device_would_not_trust_stays_as_it_was() -> None:
    Path("other.pem").write_bytes(second_signer().pem)

    refused = run("sign", "u.spkg", *KEY, "--trust", "other.pem")
    unchanged = Path("u.spkg").read_bytes()
    trusted = run("sign", "u.spkg", *KEY, "--trust", "ca.pem")

    assert (refused.exit_code, unchanged) == (5, unsigned())
    assert trusted.exit_code == 0


def test_a_key_that_no_verifier_accepts_signs_nothing() -> None:
    Path("tiny.pem").write_bytes(certify("Tiny", root(), with_key="tiny").pem)

    result = run("sign", "u.spkg", "--key", KEYS / "tiny.key", "--cert", "tiny.pem")

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == (
        f"spkg: error: expected an RSA key of 1024 to 8192 bits, got {key('tiny').key_size}\n"
    )


@pytest.mark.parametrize("kind", ["a subject that is not UTF-8", "a key of an unknown kind"])
def test_a_certificate_that_is_odd_signs_nothing(kind: str) -> None:
    Path("odd.der").write_bytes(ODD[kind]())

    result = run("sign", "u.spkg", "--key", "signer.key", "--cert", "odd.der")

    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr.startswith("spkg: error: odd.der: the certificate can't be read: ")
    assert Path("u.spkg").read_bytes() == unsigned()


def test_strict_signs_nothing_that_is_warned_of(here: Path) -> None:
    before = (here / "u.spkg").read_bytes()

    result = run("sign", "u.spkg", *KEY, "--digest", "sha256", "--strict")

    assert (result.exit_code, (here / "u.spkg").read_bytes()) == (5, before)
    assert result.stderr == (
        f"spkg: warning: {SHA1_MISSING}\n"
        f"spkg: error: {SHA1_MISSING} (sha1-missing)\n"
        "spkg: hint: without --strict, warnings stop nothing\n"
    )
