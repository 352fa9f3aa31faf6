"""What ``keygen`` makes: the names, the purposes and the chain of each certificate."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spkg.errors import UntrustedError
from spkg.trust.chain import check_signer
from spkg.trust.keygen import KeySet, MadeKey, make_keys
from spkg.trust.policy import VOUCHER_PURPOSES, Policy
from spkg.trust.signers import Identity, KeySigner
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, USAGES, Certified, Draft, policy, read

DOCUMENTS = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")


@pytest.fixture(scope="module")
def made() -> KeySet:
    return make_keys("Jane Doe", AT)


def all_of(keys: KeySet) -> list[MadeKey]:
    return [keys.root, keys.intermediate, keys.signer, keys.voucher, keys.voucher_ec]


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def extensions_of(one: x509.Certificate | x509.CertificateSigningRequest) -> dict[x509.ExtensionType, bool]:
    """Return the extensions, and whether they are critical."""
    return {extension.value: extension.critical for extension in one.extensions}


def key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in usages for usage in USAGES})


def test_each_is_named_after_the_signer(made: KeySet) -> None:
    assert [one.certificate.subject for one in all_of(made)] == [
        common_name("Jane Doe root"),
        common_name("Jane Doe intermediate"),
        common_name("Jane Doe"),
        common_name("Jane Doe vouchers"),
        common_name("Jane Doe vouchers EC"),
    ]


def test_the_root_issues_signer_and_intermediate_and_that_the_signers_of_vouchers(made: KeySet) -> None:
    root, intermediate = made.root.certificate, made.intermediate.certificate

    for issued in (made.root, made.intermediate, made.signer):
        issued.certificate.verify_directly_issued_by(root)
    for issued in (made.voucher, made.voucher_ec):
        issued.certificate.verify_directly_issued_by(intermediate)
    assert [one.chain for one in all_of(made)] == [(), (), (root,), (intermediate,), (intermediate,)]


def test_the_certificates_hold_for_ten_years_and_for_clocks_a_day_behind(made: KeySet) -> None:
    for one in all_of(made):
        assert one.certificate.not_valid_before_utc == AT - timedelta(days=1)
        assert one.certificate.not_valid_after_utc == AT + timedelta(days=3650)
        assert isinstance(one.certificate.signature_hash_algorithm, hashes.SHA256)


def test_each_may_do_what_it_is_for_and_nothing_else(made: KeySet) -> None:
    authority, signs = key_usage("key_cert_sign", "crl_sign"), key_usage("digital_signature")
    nothing_to_issue = x509.BasicConstraints(ca=False, path_length=None)
    own = {
        id(one): {x509.SubjectKeyIdentifier.from_public_key(one.key.public_key()): False}
        for one in all_of(made)
    }
    by_root, by_intermediate = (
        dict[x509.ExtensionType, bool](
            {x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()): False}
        )
        for issuer in (made.root, made.intermediate)
    )

    found = [extensions_of(one.certificate) for one in all_of(made)]

    code = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    vouchers = x509.ExtendedKeyUsage([DOCUMENTS, ExtendedKeyUsageOID.EMAIL_PROTECTION])
    expected: list[dict[x509.ExtensionType, bool]] = [
        {x509.BasicConstraints(ca=True, path_length=1): True, authority: True},
        {x509.BasicConstraints(ca=True, path_length=0): True, authority: True, **by_root},
        {nothing_to_issue: True, signs: True, code: False, **by_root},
        {nothing_to_issue: True, signs: True, vouchers: False, **by_intermediate},
        {nothing_to_issue: True, signs: True, vouchers: False, **by_intermediate},
    ]
    assert found == [one | own[id(key)] for one, key in zip(expected, all_of(made), strict=True)]


def test_a_request_asks_for_the_same_name_key_and_purposes(made: KeySet) -> None:
    for one in all_of(made):
        wanted = {
            extension: critical
            for extension, critical in extensions_of(one.certificate).items()
            if not isinstance(extension, x509.AuthorityKeyIdentifier)
        }

        assert one.request.is_signature_valid
        assert one.request.subject == one.certificate.subject
        assert one.request.public_key() == one.certificate.public_key() == one.key.public_key()
        assert extensions_of(one.request) == wanted


def test_the_keys_are_of_2048_bits_or_p_256_and_all_different(made: KeySet) -> None:
    curve = made.voucher_ec.key
    sizes = [one.key.key_size for one in all_of(made) if isinstance(one.key, rsa.RSAPrivateKey)]

    assert sizes == [2048] * 4
    assert isinstance(curve, ec.EllipticCurvePrivateKey)
    assert isinstance(curve.curve, ec.SECP256R1)
    public = [one.key.public_key() for one in all_of(made)]
    assert all(public.index(one) == index for index, one in enumerate(public))


def test_the_serial_numbers_are_those_that_x509_takes(made: KeySet) -> None:
    numbers = {one.certificate.serial_number for one in all_of(made)}

    assert len(numbers) == 5
    assert all(0 < number < 1 << 159 for number in numbers)


def test_what_was_made_signs_packages_that_its_root_vouches_for(made: KeySet) -> None:
    assert isinstance(made.signer.key, rsa.RSAPrivateKey)
    identity = Identity(key=KeySigner(made.signer.key), certificate=made.signer.certificate)
    package = read(Draft(signers=(identity,)).encode())
    anchor = Certified(key=made.signer.key, certificate=made.root.certificate)

    trusted = verify_package(package, policy(anchor), at=AT)

    assert [one.subject for one in trusted.signers] == ["CN=Jane Doe"]


def test_the_signers_of_vouchers_sign_no_packages(made: KeySet) -> None:
    packages = Policy(anchors=(made.root.certificate,))
    vouchers = Policy(anchors=(made.root.certificate,), purposes=VOUCHER_PURPOSES)

    for one in (made.voucher, made.voucher_ec):
        path = check_signer(one.certificate, one.chain, vouchers, AT)
        assert path == (one.certificate, *one.chain, made.root.certificate)
        with pytest.raises(
            UntrustedError, match=r"^the signer's certificate has no suitable extendedKeyUsage$"
        ):
            check_signer(one.certificate, one.chain, packages, AT)


def test_keys_are_never_made_twice(made: KeySet) -> None:
    again = make_keys("Jane Doe", AT)

    for one, other in zip(all_of(made), all_of(again), strict=True):
        assert one.key.public_key() != other.key.public_key()
        assert one.certificate.serial_number != other.certificate.serial_number


@pytest.mark.parametrize(
    ("name", "root_name", "longest_role"),
    [
        ("x" * 64, "x" * 59 + " root", "x" * 51 + " intermediate"),
        ("ü" * 32, "ü" * 29 + " root", "ü" * 25 + " intermediate"),
    ],
)
def test_a_name_may_have_64_octets_and_is_cut_to_leave_room_for_a_role(
    name: str, root_name: str, longest_role: str
) -> None:
    longest = make_keys(name, AT)

    assert longest.signer.certificate.subject == common_name(name)
    assert longest.root.certificate.subject == common_name(root_name)
    assert longest.intermediate.certificate.subject == common_name(longest_role)


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_x509_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"length must be >= 1 and <= 64, but it was {len(name)}$"):
        make_keys(name, AT)
