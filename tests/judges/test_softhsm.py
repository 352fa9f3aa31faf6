"""Keys in a token: SoftHSM signs, and everybody else has to find what it signs the same."""

import json
import os
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from spkg.common.digests import Digest
from spkg.errors import HostError, UsageError
from spkg.trust.keys import KeyAccess, load_identity, load_signatory
from spkg.trust.signers import KeySigner, check_signature
from spkg.trust.token_signer import TokenAddress
from tests.support import acs_files
from tests.support.commands import PROGRAM, run
from tests.support.dask_kit import DaskCluster
from tests.support.kit import Draft, key, root, signer
from tests.support.voucher_kit import VOUCHER, signatory, signing_key, verified
from vouchers.signature.sign import VoucherSigner

pkcs11 = pytest.importorskip("pkcs11")
pytestmark = [pytest.mark.judge("softhsm2-util"), pytest.mark.xdist_group("softhsm")]

MODULES: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
)
MODULE: Final = next((module for module in MODULES if Path(module).exists()), MODULES[0])
PIN: Final = "1234"
HASHED: Final = Digest.SHA256.of(b"what is signed")
RSA: Final = f"pkcs11:token=release;object=key?module-path={MODULE}"
EC: Final = f"pkcs11:token=release;id=%02?module-path={MODULE}"
WITH_PIN: Final = KeyAccess(passphrase=PIN.encode())


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A token with an RSA key, an ECDSA key, and the certificate of neither."""
    place = tmp_path_factory.mktemp("softhsm")
    (place / "tokens").mkdir()
    (place / "conf").write_text(f"directories.tokendir = {place}/tokens\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(place / "conf")
    init = ("--init-token", "--free", "--label", "release", "--pin", PIN, "--so-pin", "5678")
    subprocess.run(["softhsm2-util", *init], check=True, capture_output=True)
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for number, (name, private) in enumerate((("key", key("signer")), ("ec", signing_key("p256"))), start=1):
        (place / name).write_bytes(private.private_bytes(*form))
        named = ("--token", "release", "--label", name, "--id", f"0{number}", "--pin", PIN)
        subprocess.run(["softhsm2-util", "--import", place / name, *named], check=True, capture_output=True)
    (place / "signer.pem").write_bytes(signer().pem)
    (place / "ec.pem").write_bytes(signatory("p256").certificate.public_bytes(Encoding.PEM))
    (place / "pin").write_text(f"{PIN}\n")
    yield place
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.mark.parametrize("digest", list(Digest))
def test_an_rsa_key_in_a_token_signs_what_the_key_in_memory_signs(token: Path, digest: Digest) -> None:
    hashed = digest.of(b"what is signed")

    found = load_identity(f"{RSA}&pin-source=file:{token}/pin", token / "signer.pem")

    assert found.key.sign(digest, hashed) == KeySigner(key("signer")).sign(digest, hashed)


def test_a_key_of_ecdsa_in_a_token_signs_vouchers(token: Path) -> None:
    found = load_signatory(EC, token / "ec.pem", None, WITH_PIN)

    check_signature(
        signing_key("p256").public_key(), Digest.SHA256, HASHED, found.key.sign(Digest.SHA256, HASHED), ""
    )
    assert b"ecdsa-sha256" in VoucherSigner(found).sign(VOUCHER)


@pytest.mark.part("vouchers")
@pytest.mark.proof
def test_workers_of_a_cluster_sign_with_keys_in_their_tokens(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    acs_files.furnish()
    Path("signer.pem").write_bytes((token / "ec.pem").read_bytes() + root().pem)
    key = ("--key", f"{EC}&pin-source=file:{token}/pin")
    issue = [*acs_files.MANY[:-2], *key, "--out-dir", "out", "--no-progress"]

    with DaskCluster(2, tmp_path) as cluster:
        signed = run(*issue, "--cluster", cluster.address)
        bad = ("--key", f"{EC}&pin-source=file:{token}/ec", "--cluster", cluster.address)
        wrong = run(*issue[:-2], "other", *bad)

    assert (signed.exit_code, signed.stdout, signed.stderr) == (0, "out: 3 vouchers, batch may\n", "")
    lines = [json.loads(line) for line in Path("out/vouchers.ndjson").read_text().splitlines()]
    for line in lines:
        verified(b64decode(line["voucher"]))
    assert len(lines) == 3
    assert wrong.exit_code == 9
    assert wrong.stderr.endswith(": the PIN of the token 'release' is wrong\n")


def test_a_process_that_is_forked_signs_too(token: Path) -> None:
    found = load_identity(RSA, token / "signer.pem", None, WITH_PIN)
    found.key.sign(Digest.SHA256, HASHED)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            wanted = KeySigner(key("signer")).sign(Digest.SHA256, HASHED)
            status = 0 if found.key.sign(Digest.SHA256, HASHED) == wanted else 2
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("uri", "certificate", "problem"),
    [
        (RSA.replace("release", "nope"), "signer.pem", "the token 'nope' does not exist"),
        (
            RSA.replace("=key", "=nope"),
            "signer.pem",
            "the token 'release' has no private key with object 'nope'",
        ),
        (RSA, "ec.pem", "object 'key' in the token 'release' does not match the signer's certificate"),
        (RSA, None, "the token 'release' has no certificate of object 'key'"),
        (
            RSA.replace(MODULE, "/no/module"),
            "signer.pem",
            "the PKCS #11 module can't be used: /no/module: no such file or directory",
        ),
    ],
    ids=["token", "object", "other key", "no certificate", "module"],
)
def test_what_is_missing_is_named(token: Path, uri: str, certificate: str | None, problem: str) -> None:
    with pytest.raises(HostError) as refused:
        load_signatory(uri, None if certificate is None else token / certificate, None, WITH_PIN)

    assert str(refused.value) == problem


def test_a_wrong_pin_is_said_and_not_shown(token: Path) -> None:
    (token / "p.spkg").write_bytes(Draft(signers=()).encode())
    command = [
        *PROGRAM,
        "sign",
        "p.spkg",
        "--key",
        RSA,
        "--cert",
        "signer.pem",
        "--key-password-env",
        "THE_PIN",
    ]

    result = subprocess.run(
        command, cwd=token, env={**os.environ, "THE_PIN": "9876"}, capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout) == (9, "")
    assert result.stderr == "spkg: error: the PIN of the token 'release' is wrong\n"


def test_without_a_pin_it_is_said_how_to_give_one(token: Path) -> None:
    (token / "p.spkg").write_bytes(Draft(signers=()).encode())
    command = [*PROGRAM, "sign", "p.spkg", "--key", RSA, "--cert", "signer.pem"]

    result = subprocess.run(
        command, cwd=token, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout) == (9, "")
    assert result.stderr == (
        "spkg: error: the token 'release' has no private key with object 'key'\n"
        "spkg: hint: a token shows most keys only with its PIN: "
        "give the PIN with pin-source=file:PATH, pin-source=env:NAME or --key-password-file\n"
    )


def test_whoever_can_be_asked_is_asked_for_the_pin(token: Path) -> None:
    asked: list[str] = []

    def ask(what: str) -> bytes:
        asked.append(what)
        return PIN.encode()

    found = load_identity(RSA, token / "signer.pem", None, KeyAccess(ask=ask))

    assert found.certificate == signer().certificate
    assert asked == ["the PIN of the token 'release'"]


def test_a_pin_may_come_from_the_environment(token: Path) -> None:
    access = KeyAccess(environment={"THE_PIN": PIN})

    found = load_identity(f"{RSA}&pin-source=env:THE_PIN", token / "signer.pem", None, access)

    assert found.certificate == signer().certificate
    with pytest.raises(UsageError, match=r"^the environment variable THE_PIN is not set$"):
        load_identity(f"{RSA}&pin-source=env:THE_PIN", token / "signer.pem")


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("pkcs11:object=key", "pkcs11: module-path is missing"),
        ("pkcs11:token=t?module-path=/m", "pkcs11: expected object or id, the key's name or CKA_ID"),
        ("pkcs11:object=key?module-path=/m&pin-value=1", "pkcs11: a PIN is not taken from the command line"),
        ("pkcs11:object=key;type=cert?module-path=/m", "pkcs11: type must be private"),
        ("pkcs11:object=a;object=b?module-path=/m", "pkcs11: object is stated twice"),
        ("pkcs11:object=key;slot-id=x?module-path=/m", "pkcs11: slot-id must be a number"),
        ("pkcs11:object=%ff?module-path=/m", "pkcs11: names must be UTF-8"),
        ("PKCS11:object=key?module-path=/m&PIN-VALUE=1", "pkcs11: a PIN is not taken from the command line"),
        (
            "pkcs11:object=key?module-path=/m&pin-value:1",
            "pkcs11: expected NAME=VALUE, got something without an equals sign",
        ),
        (
            "pkcs11:object=key?module-path=/m&pin=1",
            "pkcs11: unknown attribute 'pin'; known are module-path, pin-source",
        ),
    ],
)
def test_a_uri_that_names_no_key_is_refused(uri: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        TokenAddress.parse(uri)

    assert str(refused.value) == problem


@pytest.mark.parametrize(
    ("source", "access", "problem"),
    [
        ("latin-1", KeyAccess(), "the PIN is not UTF-8"),
        ("pin", WITH_PIN, "pin-source and a passphrase in another way are mutually exclusive"),
    ],
)
def test_a_pin_that_can_not_be_used_is_refused(
    token: Path, source: str, access: KeyAccess, problem: str
) -> None:
    (token / "latin-1").write_bytes(b"\xe4\n")

    with pytest.raises((HostError, UsageError)) as refused:
        load_identity(f"{RSA}&pin-source=file:{token}/{source}", token / "signer.pem", None, access)

    assert str(refused.value) == problem


def test_a_module_that_is_none_is_said_to_be_unusable(token: Path) -> None:
    (token / "module.so").write_text("no library\n")

    with pytest.raises(HostError, match=r"^the PKCS #11 module .*/module\.so can't be used: "):
        load_identity(RSA.replace(MODULE, f"{token}/module.so"), token / "signer.pem", None, WITH_PIN)


def test_two_keys_of_one_name_are_told_apart_by_their_ids(token: Path) -> None:
    for number in (3, 4):
        named = ("--token", "release", "--label", "twin", "--id", f"0{number}", "--pin", PIN)
        subprocess.run(["softhsm2-util", "--import", token / "key", *named], check=True, capture_output=True)
    twin = RSA.replace("=key", "=twin")

    with pytest.raises(HostError) as refused:
        load_identity(twin, token / "signer.pem", None, WITH_PIN)
    found = load_identity(twin.replace("=twin", "=twin;id=%03"), token / "signer.pem", None, WITH_PIN)

    assert str(refused.value) == "the token 'release' has several private keys with object 'twin'"
    assert refused.value.hint == "name it by object and id"
    assert found.key.sign(Digest.SHA256, HASHED) == KeySigner(key("signer")).sign(Digest.SHA256, HASHED)


def test_a_token_that_fails_says_why(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise pkcs11.exceptions.DeviceRemoved

    found = load_identity(RSA, token / "signer.pem", None, WITH_PIN)
    monkeypatch.setattr(found.key, "_key", SimpleNamespace(sign=fails))
    with pytest.raises(HostError, match=r"^the token 'release' can't sign: device removed$"):
        found.key.sign(Digest.SHA256, HASHED)

    monkeypatch.setattr(pkcs11, "lib", lambda _: SimpleNamespace(get_slots=fails))
    with pytest.raises(HostError, match=r"^the token 'release' can't be used: device removed$"):
        load_identity(RSA, token / "signer.pem", None, WITH_PIN)

    slot = SimpleNamespace(get_token=lambda: SimpleNamespace(label="release", open=fails))
    monkeypatch.setattr(pkcs11, "lib", lambda _: SimpleNamespace(get_slots=lambda **_: [slot]))
    with pytest.raises(HostError, match=r"^the token 'release': device removed$"):
        load_identity(RSA, token / "signer.pem", None, WITH_PIN)


def test_a_certificate_in_a_token_that_is_none_is_refused(token: Path) -> None:
    load_identity(RSA, token / "signer.pem", None, WITH_PIN)  # from now on this process is logged in
    session = pkcs11.lib(MODULE).get_token(token_label="release").open(rw=True)
    broken = session.create_object(
        {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
            pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
            pkcs11.Attribute.TOKEN: True,
            pkcs11.Attribute.ID: b"\1",
            pkcs11.Attribute.SUBJECT: b"",
            pkcs11.Attribute.VALUE: b"no certificate",
        }
    )
    try:
        with pytest.raises(HostError, match=r"^the certificate in the token can't be used: "):
            load_identity(RSA, None, None, WITH_PIN)
    finally:
        broken.destroy()
        session.close()
