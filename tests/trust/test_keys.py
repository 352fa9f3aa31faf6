"""Keys and certificates: what is read from files, and what is refused."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from spkg.errors import HostError
from spkg.trust.certificate_files import MAX_KEY_FILE, load_certificates, load_revocation_lists
from spkg.trust.keys import KeyAccess, load_identity
from spkg.trust.signers import Identity
from tests.support.kit import (
    AT,
    KEYS,
    Certified,
    authority,
    certify,
    key,
    root,
    second_signer,
    signer,
)

SIGNER_KEY: Final = KEYS / "signer.key"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write octets into a file called ``file``."""

    def write(octets: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(octets)
        return path

    return write


def plain_key() -> bytes:
    return key("signer").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted_key() -> bytes:
    return key("signer").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


def pfx(leaf: Certified | None, *chain: Certified, passphrase: bytes | None = None) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"any name",
        key("signer"),
        None if leaf is None else leaf.certificate,
        [one.certificate for one in chain],
        NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase),
    )


# Identities.


def test_an_identity_is_a_key_and_its_certificate(file: Callable[[bytes], Path]) -> None:
    identity = load_identity(SIGNER_KEY, file(signer().pem))

    assert identity == Identity(key=identity.key, certificate=signer().certificate, chain=())
    assert identity.key.public_key == key("signer").public_key()


def test_an_identity_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        signer().identity().chain = (root().certificate,)  # type: ignore[misc]


def test_the_first_certificate_is_the_signers_and_all_others_join_the_chain(
    file: Callable[[bytes], Path], tmp_path: Path
) -> None:
    (chain := tmp_path / "chain").write_bytes(root().pem + signer().pem + authority("Third").pem)

    identity = load_identity(SIGNER_KEY, file(signer().pem + second_signer().pem + root().pem), chain)

    assert identity.certificate == signer().certificate
    assert identity.chain == (
        second_signer().certificate,
        root().certificate,
        authority("Third").certificate,
    )


def test_key_and_certificate_may_be_in_one_file(file: Callable[[bytes], Path]) -> None:
    both = file(signer().pem + plain_key() + root().pem)

    identity = load_identity(both, both)

    assert identity.certificate == signer().certificate
    assert identity.chain == (root().certificate,)


def test_a_pkcs12_file_brings_all_of_it(file: Callable[[bytes], Path]) -> None:
    identity = load_identity(
        file(pfx(signer(), root(), passphrase=b"secret")),
        None,
        access=KeyAccess(passphrase=b"secret"),
    )

    assert identity.certificate == signer().certificate
    assert identity.chain == (root().certificate,)


def test_a_certificate_beside_a_pkcs12_file_comes_first(
    file: Callable[[bytes], Path], tmp_path: Path
) -> None:
    renewed = certify("Test Signer", root(), serial=2000)
    (certificate := tmp_path / "renewed").write_bytes(renewed.pem)

    identity = load_identity(file(pfx(signer(), root())), certificate)

    assert identity.certificate == renewed.certificate
    assert identity.chain == (signer().certificate, root().certificate)


def test_a_pkcs12_file_without_certificates_wants_one(file: Callable[[bytes], Path]) -> None:
    path = file(pfx(None))

    with pytest.raises(HostError) as raised:
        load_identity(path, None)

    assert str(raised.value) == f"{path} contains no certificate"
    assert raised.value.hint == "give the signer's with --cert"


def test_an_encrypted_key_is_read_with_its_passphrase(file: Callable[[bytes], Path], tmp_path: Path) -> None:
    (certificate := tmp_path / "certificate").write_bytes(signer().pem)

    identity = load_identity(file(encrypted_key()), certificate, access=KeyAccess(passphrase=b"secret"))

    assert identity.key.public_key == key("signer").public_key()


def test_a_key_is_encrypted_where_its_armour_says_so_and_nowhere_else(
    file: Callable[[bytes], Path], tmp_path: Path
) -> None:
    (certificate := tmp_path / "certificate").write_bytes(signer().pem)

    identity = load_identity(file(b"    friendlyName: ENCRYPTED LINES\n" + plain_key()), certificate)

    assert identity.key.public_key == key("signer").public_key()


@pytest.mark.parametrize(
    ("octets", "passphrase", "problem"),
    [
        (encrypted_key, b"another secret", "can't be read: the passphrase is wrong, or the file is damaged"),
        (plain_key, b"another secret", "is not encrypted, but a passphrase was given"),
        (encrypted_key, None, "is encrypted"),
        (lambda: pfx(signer(), passphrase=b"secret"), b"another secret", None),
        (lambda: plain_key()[:-200], None, "can't be read: it is not a private key"),
    ],
    ids=["wrong", "needless", "missing", "wrong, PKCS #12", "cut"],
)
def test_no_message_has_anything_of_a_secret_in_it(
    octets: Callable[[], bytes], passphrase: bytes | None, problem: str | None, file: Callable[[bytes], Path]
) -> None:
    path = file(octets())

    with pytest.raises(HostError) as raised:
        load_identity(path, None, access=KeyAccess(passphrase=passphrase))

    told = problem or "can't be read: the passphrase is wrong, or the file is damaged"
    assert str(raised.value) == f"the key in {path} {told}"
    assert "secret" not in (raised.value.hint or "")


def test_a_missing_passphrase_is_told_how_to_give_it(file: Callable[[bytes], Path]) -> None:
    with pytest.raises(HostError) as raised:
        load_identity(file(encrypted_key()), None)

    assert raised.value.hint == "give its passphrase with --key-password-env or --key-password-file"


@pytest.mark.parametrize("name", ["root", "second", "other"])
def test_a_key_of_another_certificate_is_refused(name: str, file: Callable[[bytes], Path]) -> None:
    path = KEYS / f"{name}.key"

    with pytest.raises(HostError) as raised:
        load_identity(path, file(signer().pem))

    assert str(raised.value) == f"the key in {path} does not match the certificate of CN=Test Signer"


def test_a_file_that_cannot_be_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"

    with pytest.raises(FileNotFoundError):
        load_identity(nothing, None)
    with pytest.raises(FileNotFoundError):
        load_identity(SIGNER_KEY, nothing)
    with pytest.raises(IsADirectoryError):
        load_certificates(tmp_path)
    with pytest.raises(IsADirectoryError):
        load_revocation_lists(tmp_path)


# Certificates.


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        (lambda: signer().pem, 1),
        (lambda: signer().der, 1),
        (lambda: b"Bag Attributes: none\n\n" + signer().pem + b"\ntext\n" + root().pem, 2),
        (lambda: plain_key() + signer().pem, 1),
        (lambda: signer().pem.replace(b"\n", b"\r\n"), 1),
        (lambda: b"0: Certificate\n" + signer().pem + b"1: Certificate\n" + root().pem, 2),
    ],
    ids=["PEM", "DER", "two and text", "behind a key", "CRLF", "numbered"],
)
def test_certificates_are_read_in_their_order(
    octets: Callable[[], bytes], count: int, file: Callable[[bytes], Path]
) -> None:
    found = load_certificates(file(octets()))

    assert found == [signer().certificate, root().certificate][:count]


def test_certificates_of_old_forms_are_read(file: Callable[[bytes], Path]) -> None:
    old = authority("Old", version_1=True, digest="sha1")

    assert load_certificates(file(old.der)) == [old.certificate]


@pytest.mark.parametrize(
    "octets",
    [
        lambda: signer().der + b"\0",
        lambda: signer().der[:-1],
        lambda: b"\x30\x00",
        lambda: signer().pem[:-40],
        lambda: root().pem + signer().pem.replace(b"MII", b"AII", 1),
    ],
    ids=["trailing", "cut", "an empty sequence", "cut PEM", "damaged second"],
)
def test_a_damaged_certificate_is_refused_with_the_reason(
    octets: Callable[[], bytes], file: Callable[[bytes], Path]
) -> None:
    path = file(octets())

    with pytest.raises(HostError) as raised:
        load_certificates(path)

    # The reason is in the words of cryptography, which change.
    assert str(raised.value).startswith(str(path))
    assert " certificate " in str(raised.value)
    assert "can't be read" in str(raised.value)
    assert "ParseError" not in str(raised.value)
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize(
    "octets", [lambda: b"", lambda: b"garbage\n", plain_key], ids=["empty", "garbage", "a key"]
)
def test_a_file_without_certificates_is_told_in_our_words(
    octets: Callable[[], bytes], file: Callable[[bytes], Path]
) -> None:
    path = file(octets())

    with pytest.raises(HostError) as raised:
        load_certificates(path)

    assert str(raised.value) == f"{path} contains no certificate"


def test_a_file_is_read_up_to_the_limit_and_not_beyond(file: Callable[[bytes], Path]) -> None:
    padding = b"\n" * (MAX_KEY_FILE - len(signer().pem))
    assert load_certificates(file(signer().pem + padding)) == [signer().certificate]

    path = file(signer().pem + padding + b"\n")
    with pytest.raises(HostError) as raised:
        load_certificates(path)

    assert str(raised.value) == f"{path} is larger than 16777216 bytes"


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(HostError) as raised:
        load_identity(Path("/dev/zero"), None)

    assert str(raised.value) == "/dev/zero is larger than 16777216 bytes"


# Revocation lists.


@cache
def revocations(*serials: int) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root().certificate.subject)
        .last_update(AT)
        .next_update(AT + timedelta(days=1))
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(AT).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(root().key, hashes.SHA256())


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        (lambda: revocations(1).public_bytes(Encoding.PEM), 1),
        (lambda: revocations(1).public_bytes(Encoding.DER), 1),
        (lambda: b"0: CRL\n" + revocations(1).public_bytes(Encoding.PEM), 1),
        (
            lambda: (
                b"text\n"
                + revocations(1).public_bytes(Encoding.PEM)
                + signer().pem
                + revocations(2, 3).public_bytes(Encoding.PEM)
            ),
            2,
        ),
    ],
    ids=["PEM", "DER", "numbered", "two and other things"],
)
def test_revocation_lists_are_read_in_their_order(
    octets: Callable[[], bytes], count: int, file: Callable[[bytes], Path]
) -> None:
    found = load_revocation_lists(file(octets()))

    assert found == [revocations(1), revocations(2, 3)][:count]


@pytest.mark.parametrize("octets", [b"", b"garbage\n", signer().pem], ids=["empty", "garbage", "certificate"])
def test_a_file_without_revocation_lists_is_refused(octets: bytes, file: Callable[[bytes], Path]) -> None:
    path = file(octets)

    with pytest.raises(HostError) as raised:
        load_revocation_lists(path)

    assert str(raised.value) == f"{path} contains no revocation list"


@pytest.mark.parametrize(
    "octets",
    [
        lambda: revocations(1).public_bytes(Encoding.DER)[:-1],
        lambda: revocations(1).public_bytes(Encoding.PEM)[:-30],
        lambda: revocations(1).public_bytes(Encoding.PEM) + b"-----BEGIN X509 CRL-----\n",
        lambda: signer().der,
    ],
    ids=["cut DER", "cut PEM", "cut second", "a certificate in DER"],
)
def test_a_damaged_revocation_list_is_refused_with_the_reason(
    octets: Callable[[], bytes], file: Callable[[bytes], Path]
) -> None:
    path = file(octets())

    with pytest.raises(HostError) as raised:
        load_revocation_lists(path)

    assert str(raised.value).startswith(f"{path} contains a revocation list that can't be read: ")
    assert raised.value.__cause__ is not None


def test_a_revocation_list_that_is_too_large_is_called_one(file: Callable[[bytes], Path]) -> None:
    path = file(bytes(MAX_KEY_FILE + 1))

    with pytest.raises(HostError) as raised:
        load_revocation_lists(path)

    assert str(raised.value) == f"{path} is larger than {MAX_KEY_FILE} bytes"
