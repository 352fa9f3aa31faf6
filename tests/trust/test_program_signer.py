"""Programs that sign: what they get, what counts as an answer, and what is said where there is none."""

import os
import sys
from pathlib import Path
from time import monotonic
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from spkg.common.digests import Digest
from spkg.errors import HostError, UsageError
from spkg.trust.exec_signer import LONGEST_ANSWER, ProgramSigner
from spkg.trust.key_files import load_key_file
from spkg.trust.keys import KeyAccess, load_identity, load_signatory
from spkg.trust.signers import KeySigner, check_signature, digest_info
from tests.support.kit import KEYS, certify, key, root, signer
from tests.support.voucher_kit import signatory, signing_key

HASHED: Final = Digest.SHA256.of(b"what is signed")
ENVIRONMENT: Final = {"PATH": os.defpath}
SIGNS: Final = """
import sys
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
given = sys.stdin.buffer.read()
if len(sys.argv) == 2:
    signature = key.sign(given, padding.PKCS1v15(), utils.NoDigestInfo())
else:
    signature = key.sign(given, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    if sys.argv[2] == "raw":
        signature = b"".join(part.to_bytes(32, "big") for part in utils.decode_dss_signature(signature))
sys.stdout.buffer.write(signature)
"""
"""Signs as a key service does that knows nothing but the raw operation."""


def program(tmp_path: Path, *arguments: str) -> str:
    (script := tmp_path / "sign.py").write_text(SIGNS)
    return " ".join(map(str, (sys.executable, script, *arguments)))


def asks(command: str, which: str = "signer") -> ProgramSigner:
    certificate = signer().certificate if which == "signer" else signatory(which).certificate
    return ProgramSigner.of(command, certificate, ENVIRONMENT, monotonic)


def test_an_rsa_key_elsewhere_signs_what_the_key_in_memory_signs(tmp_path: Path) -> None:
    elsewhere = asks(program(tmp_path, str(KEYS / "signer.key")))

    assert elsewhere.sign(Digest.SHA256, HASHED) == KeySigner(key("signer")).sign(Digest.SHA256, HASHED)


@pytest.mark.parametrize("form", ["der", "raw"])
def test_a_signature_of_ecdsa_may_be_der_or_r_and_s(tmp_path: Path, form: str) -> None:
    elsewhere = asks(program(tmp_path, str(KEYS / "p256.key"), form), "p256")

    signature = elsewhere.sign(Digest.SHA256, HASHED)

    assert all(decode_dss_signature(signature))
    check_signature(signing_key("p256").public_key(), Digest.SHA256, HASHED, signature, "it")


def test_it_gets_the_digest_info_and_the_name_of_the_digest() -> None:
    shows = asks("/bin/sh -c 'echo $(od -An -tx1 -v) $SPKG_DIGEST $HOME. >&2; exit 3'")

    with pytest.raises(HostError) as refused:
        shows.sign(Digest.SHA1, bytes(20))

    octets = digest_info(Digest.SHA1, bytes(20)).hex(" ")
    assert str(refused.value) == f"/bin/sh ended with status 3: {octets} sha1 ."
    assert digest_info(Digest.SHA1, bytes(20)).hex() == "3021300906052b0e03021a05000414" + "00" * 20


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("/bin/sh -c 'echo first >&2; echo last >&2; exit 4'", "/bin/sh ended with status 4: last"),
        ("/bin/sh -c 'exit 4'", "/bin/sh ended with status 4"),
        ("/bin/sh -c 'kill -9 $$'", "/bin/sh was ended by signal 9 (SIGKILL)"),
        ("/no/such/program", "/no/such/program can't be run: /no/such/program: no such file or directory"),
        ("/bin/echo no", "/bin/echo: expected a signature of 256 bytes, got 3"),
        (
            "/usr/bin/head -c 256 /dev/zero",
            "/usr/bin/head: the signature is not valid for the key of the signer's certificate",
        ),
        (
            "/usr/bin/head -c 100000 /dev/zero",
            f"/usr/bin/head answered more than {LONGEST_ANSWER} bytes",
        ),
        (
            f"/usr/bin/head -c {LONGEST_ANSWER + 1} /dev/zero",
            f"/usr/bin/head answered more than {LONGEST_ANSWER} bytes",
        ),
        (
            f"/usr/bin/head -c {LONGEST_ANSWER} /dev/zero",
            f"/usr/bin/head: expected a signature of 256 bytes, got {LONGEST_ANSWER}",
        ),
    ],
    ids=["fails", "in silence", "killed", "nothing", "short", "wrong", "endless", "long", "longest"],
)
def test_what_is_no_signature_is_said(command: str, problem: str) -> None:
    with pytest.raises(HostError) as refused:
        asks(command).sign(Digest.SHA256, HASHED)

    assert str(refused.value) == problem


def test_it_has_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spkg.trust.exec_signer.TIME_LIMIT", 0.1)

    with pytest.raises(HostError, match=r"^/bin/sleep took longer than 0\.1 s and was ended$"):
        asks("/bin/sleep 60").sign(Digest.SHA256, HASHED)


@pytest.mark.parametrize(
    ("command", "problem"), [("", "exec: needs a program"), ("a 'b", "exec: no closing quotation")]
)
def test_a_command_has_words(command: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        asks(command)

    assert str(refused.value) == problem


def test_it_needs_the_certificate(tmp_path: Path) -> None:
    (certificate := tmp_path / "c.pem").write_bytes(signer().pem)
    access = KeyAccess(environment=ENVIRONMENT, clock=monotonic)

    with pytest.raises(HostError, match=r"^a program that signs needs the signer's certificate$"):
        load_identity("exec:/bin/true", None, None, access)

    found = load_identity(f"exec:{program(tmp_path, str(KEYS / 'signer.key'))}", certificate, None, access)
    assert found.key.sign(Digest.SHA256, HASHED) == KeySigner(key("signer")).sign(Digest.SHA256, HASHED)


def test_a_key_that_is_read_from_a_pipe_brings_its_certificate() -> None:
    reading, writing = os.pipe()
    os.write(writing, (KEYS / "signer.key").read_bytes() + certify("Piped", root()).pem)
    os.close(writing)
    try:
        found = load_signatory(Path(f"/dev/fd/{reading}"), None)
    finally:
        os.close(reading)

    assert found.certificate == certify("Piped", root()).certificate


@pytest.mark.parametrize(
    ("text", "cipher"),
    [
        (b"Proc-Type: 4,ENCRYPTED\nDEK-Info: DES-CBC,0011223344556677\n\nAAAA", "DES-CBC"),
        (b"Proc-Type: 4,ENCRYPTED\nDEK-Info: CAMELLIA-256-CBC,00112233\n\nAAAA", "CAMELLIA-256-CBC"),
    ],
)
def test_a_cipher_that_is_not_supported_is_named(tmp_path: Path, text: bytes, cipher: str) -> None:
    (path := tmp_path / "k").write_bytes(
        b"-----BEGIN RSA PRIVATE KEY-----\n" + text + b"\n-----END RSA PRIVATE KEY-----\n"
    )

    with pytest.raises(HostError) as refused:
        load_key_file(path, b"secret")

    assert str(refused.value) == f"the key in {path} is encrypted with {cipher}, which is not supported"
    assert f"openssl pkey -in {path} -aes256 -out NEW" in str(refused.value.hint)


def test_whoever_can_be_asked_is_asked_for_a_passphrase(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - this test alone
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        pkcs12,
    )

    locked = BestAvailableEncryption(b"secret")
    (pem := tmp_path / "pem").write_bytes(
        key("signer").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    )
    (pfx := tmp_path / "pfx").write_bytes(
        pkcs12.serialize_key_and_certificates(None, key("signer"), signer().certificate, None, locked)
    )
    asked: list[str] = []

    def ask(what: str) -> bytes:
        asked.append(what)
        return b"secret"

    for path in (pem, pfx):
        assert load_key_file(path, None, ask)[0].public_key() == key("signer").public_key()

    assert asked == [f"the passphrase of the key in {pem}", f"the passphrase of the key in {pfx}"]
