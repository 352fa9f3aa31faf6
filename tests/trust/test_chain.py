"""Policies, and what each of their parts refuses."""

import copy
import dataclasses
import pickle
from datetime import timedelta, timezone
from typing import Any, Final

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.build.sign import add_signature
from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.common.times import write_time
from spkg.errors import UntrustedError
from spkg.format.commands import End, StrongDigests
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.trust import chain as trust
from spkg.trust.ber import tlv
from spkg.trust.chain import doubts
from spkg.trust.policy import Policy
from spkg.verify import signature_checks as verification
from spkg.verify.signatures import TrustedPackage, UntrustedPackageError, verify_package
from tests.support.kit import (
    AT,
    CONTENTS,
    Certified,
    Draft,
    attribute,
    attributes,
    authority,
    certify,
    craft_block,
    craft_signer,
    file,
    policy,
    read,
    root,
    second_signer,
    signer,
)
from tests.support.revocation_kit import crl

NO_LIST: Final = (
    "signature[0]: CN=Test Signer: unable to get certificate CRL: there is no revocation list of CN=Test Root"
)
SIGNING_TIME: Final = bytes.fromhex("06092a864886f70d010905")


def signed_by(*signers: Certified, chain: tuple[Certified, ...] = ()) -> Draft:
    return Draft(signers=tuple(one.identity(*chain) for one in signers))


def refusal(draft: Draft, wanted: Policy, **when: Any) -> str:
    with pytest.raises(UntrustedPackageError) as caught:
        verify_package(read(draft.encode()), wanted, at=when.get("at", AT))
    return caught.value.problem


def accepted(draft: Draft, wanted: Policy, **when: Any) -> tuple[str, ...]:
    trusted = verify_package(read(draft.encode()), wanted, at=when.get("at", AT))
    return tuple(one.subject for one in trusted.signers)


# A policy that would accept nothing, or anything, can't be made.


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"anchors": ()}, "a policy needs an anchor"),
        ({"signers": frozenset()}, "a policy that names signers must name at least one"),
        ({"required_signers": 0}, "a policy must require at least one signer"),
        ({"digests": frozenset()}, "a policy must accept at least one digest"),
        ({"purposes": frozenset()}, "a policy must accept at least one purpose"),
        (
            {"unsafe_allow_unsigned": True, "required_signers": 2},
            "a policy that allows unsigned packages can't require signers",
        ),
        (
            {"unsafe_allow_unsigned": True, "signers": frozenset({"Test Signer"})},
            "a policy that allows unsigned packages can't require signers",
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_an_error(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Policy(**{"anchors": (root().certificate,), **settings})


def test_an_unsigned_package_is_trusted_only_by_name() -> None:
    unsigned = Draft(signers=())

    assert refusal(unsigned, policy()) == "the package carries no signature"
    assert accepted(unsigned, policy(unsafe_allow_unsigned=True)) == ()


def test_allowing_unsigned_packages_does_not_allow_false_signatures() -> None:
    stranger = certify("Stranger", with_key="other")

    problem = refusal(signed_by(stranger), policy(unsafe_allow_unsigned=True))

    assert problem == "signature[0]: CN=Stranger: self-signed certificate"


def test_without_anchors_only_unsigned_packages_can_be_allowed() -> None:
    nobody = Policy(anchors=(), unsafe_allow_unsigned=True)

    assert accepted(Draft(signers=()), nobody) == ()
    assert "unable to get local issuer certificate" in refusal(Draft(), nobody)


# Names.


@pytest.mark.parametrize("wanted", ["Test Signer", "CN=Test Signer"])
def test_a_signer_is_named_by_subject_or_common_name(wanted: str) -> None:
    assert accepted(Draft(), policy(signers=frozenset({wanted}))) == ("CN=Test Signer",)


@pytest.mark.parametrize("wanted", ["Test", "test signer", "CN=Test Root", "CN=Test Signer,O=x", ""])
def test_another_name_is_refused(wanted: str) -> None:
    problem = refusal(Draft(), policy(signers=frozenset({wanted})))

    assert problem == "signature[0]: CN=Test Signer is not one of the accepted signers"


def test_a_common_name_that_looks_like_a_subject_is_none() -> None:
    impostor = certify("CN=Test Signer", root(), with_key="other")

    problem = refusal(signed_by(impostor), policy(signers=frozenset({"CN=Test Signer"})))

    assert problem == "signature[0]: CN=CN=Test Signer is not one of the accepted signers"


def test_of_two_common_names_none_counts() -> None:
    twice = certify(["Test Signer", "Somebody"], root())

    problem = refusal(signed_by(twice), policy(signers=frozenset({"Test Signer"})))

    assert problem == "signature[0]: CN=Somebody,CN=Test Signer is not one of the accepted signers"


# How many.


def test_two_signers_with_different_keys_are_two() -> None:
    both = signed_by(signer(), second_signer())

    assert set(accepted(both, policy(required_signers=2))) == {"CN=Test Signer", "CN=Second Signer"}


def test_one_signer_is_not_two() -> None:
    assert refusal(Draft(), policy(required_signers=2)) == "only 1 of 2 required signers"


def test_one_key_under_two_certificates_is_one_signer() -> None:
    again = certify("Another Name", root(), serial=1002)

    assert refusal(signed_by(signer(), again), policy(required_signers=2)) == "only 1 of 2 required signers"


def test_one_key_with_two_digests_is_one_signer() -> None:
    draft = Draft()
    block = add_signature(
        load_block(draft.front[len(draft.signed) :]), draft.signed, signer().identity(), digest=Digest.SHA256
    )
    twice = dataclasses.replace(draft, block=block)

    assert refusal(twice, policy(required_signers=2)) == "only 1 of 2 required signers"
    assert len(accepted(twice, policy())) == 1


def test_signers_outside_the_allowed_set_do_not_count() -> None:
    both = signed_by(signer(), second_signer())

    problem = refusal(both, policy(required_signers=2, signers=frozenset({"Test Signer"})))

    assert problem.startswith("only 1 of 2 required signers; signature[")
    assert problem.endswith("]: CN=Second Signer is not one of the accepted signers")


# Anchors: roots, intermediates, the signer's own certificate, and forms of 2004.


def test_a_pinned_leaf_needs_no_root() -> None:
    assert accepted(Draft(), policy(signer())) == ("CN=Test Signer",)


def test_a_pinned_leaf_is_no_authority_for_others() -> None:
    other = certify("Other", signer(), with_key="other")

    assert (
        refusal(signed_by(other), policy(signer())) == "signature[0]: CN=Test Signer: invalid CA certificate"
    )


def test_an_intermediate_can_be_the_anchor() -> None:
    middle = authority("Intermediate", root(), with_key="other", serial=2)
    leaf = certify("Leaf", middle)

    assert accepted(signed_by(leaf), policy(middle)) == ("CN=Leaf",)
    assert refusal(Draft(), policy(middle)).startswith("signature[0]: CN=Test Signer: unable to get")


def test_an_authority_that_is_the_anchor_itself_may_sign() -> None:
    alone = certify("Alone", ca=True, usage=("key_cert_sign", "digital_signature"))

    assert accepted(signed_by(alone), policy(alone)) == ("CN=Alone",)


def test_an_anchor_for_certificates_alone_signs_nothing() -> None:
    assert (
        refusal(signed_by(root()), policy())
        == "signature[0]: the certificate's keyUsage lacks digitalSignature"
    )


@pytest.mark.parametrize("settings", [{"digest": "sha1"}, {"version_1": True}, {"with_key": "small"}])
def test_roots_of_2004_still_carry_a_path(settings: dict[str, Any]) -> None:
    old = authority("Old Root", **settings)

    assert accepted(signed_by(certify("Leaf", old, digest="sha1")), policy(old)) == ("CN=Leaf",)


def test_intermediates_of_excessive_keys_are_not_tried() -> None:
    middle = authority("Intermediate", root(), with_key="exponent3", serial=2)
    leaf = certify("Leaf", middle)

    problem = refusal(signed_by(leaf, chain=(middle,)), policy())

    assert problem == (
        "signature[0]: CN=Leaf: unable to get local issuer certificate: "
        "the key of the certificate of CN=Intermediate did not sign it"
    )


# Time.


def test_dates_are_held_against_the_given_time() -> None:
    late = AT.replace(year=2050)

    assert refusal(Draft(), policy(), at=late) == (
        "signature[0]: CN=Test Root: certificate has expired: "
        "valid until 2049-06-01T12:00:00Z, checked at 2050-06-01T12:00:00Z"
    )


def test_the_zone_of_the_given_time_counts() -> None:
    ends = AT + timedelta(hours=1)
    short = certify("Short", root(), end=ends)
    east = (ends - timedelta(minutes=1)).astimezone(tz=timezone(timedelta(hours=14)))

    assert accepted(signed_by(short), policy(), at=east) == ("CN=Short",)


def test_without_a_clock_no_dates_are_checked_and_that_is_said() -> None:
    ended = certify("Ended", root(), end=AT - timedelta(days=300))

    trusted = verify_package(read(signed_by(ended).encode()), policy(), at=None)

    assert not trusted.dates_checked
    assert trusted.signers[0].subject == "CN=Ended"


# Purposes.


def test_a_purpose_that_is_named_takes_the_place_of_code_signing() -> None:
    own = "1.3.6.1.4.1.99999.1"
    special = certify("Special", root(), purposes=(x509.ObjectIdentifier(own),))
    wanted = policy(purposes=frozenset({own}), purposes_required=True)

    assert accepted(signed_by(special), wanted) == ("CN=Special",)
    assert refusal(signed_by(special), policy()).endswith("has no suitable extendedKeyUsage")
    assert refusal(Draft(), wanted).endswith("has no suitable extendedKeyUsage")


def test_a_purpose_that_is_named_has_to_be_there() -> None:
    plain = certify("Plain", root(), purposes=None)
    wanted = policy(
        purposes=frozenset({ExtendedKeyUsageOID.CODE_SIGNING.dotted_string}), purposes_required=True
    )

    assert refusal(signed_by(plain), wanted) == "signature[0]: the certificate has no extendedKeyUsage"


# SHA-1.

STRONG = policy(digests=frozenset({Digest.SHA256}))


def strong(*, by: Certified | None = None, digests: bool = True) -> Draft:
    listed = (StrongDigests(digests=(Digest.SHA256.of(CONTENTS),)),) if digests else ()
    draft = Draft(records=(*listed, file("/bin/app"), End()))
    block = add_signature(
        load_block(EMPTY_BLOCK), draft.signed, (by or signer()).identity(), digest=Digest.SHA256
    )
    return dataclasses.replace(draft, block=block)


def test_without_sha_1_a_package_needs_sha_256_throughout() -> None:
    assert accepted(strong(), STRONG) == ("CN=Test Signer",)


def test_without_sha_1_a_sha_1_signature_is_refused() -> None:
    assert refusal(Draft(), STRONG) == "signature[0]: the policy does not accept the digest algorithm sha1"


def test_without_sha_1_files_need_strong_digests() -> None:
    problem = refusal(strong(digests=False), STRONG)

    assert problem == "the package has no strong digests, so only SHA-1 protects its files"


def test_without_sha_1_a_package_without_files_needs_none() -> None:
    draft = Draft(records=(End(),), payload=b"")
    block = add_signature(load_block(EMPTY_BLOCK), draft.signed, signer().identity(), digest=Digest.SHA256)

    assert accepted(dataclasses.replace(draft, block=block), STRONG) == ("CN=Test Signer",)


def test_without_sha_1_a_certificate_signed_with_it_is_refused() -> None:
    old = certify("Old", root(), digest="sha1")

    assert (
        refusal(strong(by=old), STRONG) == "signature[0]: CN=Old is signed with sha1, which is not accepted"
    )


def test_without_sha_1_the_anchors_own_signature_does_not_matter() -> None:
    old = authority("Old Root", digest="sha1")
    wanted = policy(old, digests=frozenset({Digest.SHA256}))

    assert accepted(strong(by=certify("Leaf", old)), wanted) == ("CN=Leaf",)


# Revocation.


REVOKED = "certificate revoked: on the revocation list of CN=Test Root since 2026-05-30T12:00:00Z"


def test_a_signer_who_is_on_no_list_is_accepted() -> None:
    assert accepted(Draft(), policy(crls=(crl(root(), second_signer()),))) == ("CN=Test Signer",)


def test_a_revoked_signer_is_refused() -> None:
    problem = refusal(Draft(), policy(crls=(crl(root(), signer()),)))

    assert problem == f"signature[0]: CN=Test Signer: {REVOKED}"


def test_a_stale_list_fails_closed() -> None:
    stale = policy(crls=(crl(root(), days=0),))

    assert refusal(Draft(), stale, at=AT + timedelta(days=2)) == (
        "signature[0]: CN=Test Signer: CRL has expired: that of CN=Test Root began on 2026-05-31T12:00:00Z "
        "and ends on 2026-06-01T12:00:00Z, checked at 2026-06-03T12:00:00Z"
    )


def test_without_a_clock_a_stale_list_still_counts() -> None:
    assert accepted(Draft(), policy(crls=(crl(root(), days=0),)), at=None) == ("CN=Test Signer",)
    assert refusal(Draft(), policy(crls=(crl(root(), signer(), days=0),)), at=None).endswith(REVOKED)


def test_a_list_of_somebody_else_fails_closed() -> None:
    stranger = authority("Stranger", with_key="other")

    assert refusal(Draft(), policy(crls=(crl(stranger),))) == NO_LIST


def test_a_list_that_its_issuer_did_not_sign_fails_closed() -> None:
    false = authority(with_key="other")

    assert refusal(Draft(), policy(crls=(crl(false),))) == NO_LIST
    assert accepted(Draft(), policy(crls=(crl(false), crl(root())))) == ("CN=Test Signer",)


def test_every_certificate_below_the_anchor_needs_a_list() -> None:
    middle = authority("Intermediate", root(), with_key="other", serial=2)
    draft = signed_by(certify("Leaf", middle), chain=(middle,))

    assert refusal(draft, policy(crls=(crl(middle),))).startswith(
        "signature[0]: CN=Intermediate: unable to get"
    )
    assert accepted(draft, policy(crls=(crl(middle), crl(root())))) == ("CN=Leaf",)
    assert refusal(draft, policy(crls=(crl(middle), crl(root(), middle)))).endswith(REVOKED)


def test_an_intermediate_as_anchor_needs_no_list_of_its_own() -> None:
    middle = authority("Intermediate", root(), with_key="other", serial=2)
    draft = signed_by(certify("Leaf", middle))

    assert accepted(draft, policy(middle, crls=(crl(middle),))) == ("CN=Leaf",)


def test_a_list_that_names_a_pinned_leaf_counts() -> None:
    assert refusal(Draft(), policy(signer(), crls=(crl(root(), signer()),))).endswith(REVOKED)
    assert accepted(Draft(), policy(signer(), crls=(crl(root()),))) == ("CN=Test Signer",)


def test_a_stale_list_of_whoever_certified_a_pinned_leaf_fails_closed() -> None:
    stale = policy(signer(), crls=(crl(root(), days=0),))

    assert refusal(Draft(), stale, at=AT + timedelta(days=2)) == (
        "signature[0]: there is no current revocation list of CN=Test Root"
    )
    assert accepted(Draft(), stale, at=None) == ("CN=Test Signer",)


def test_a_list_of_changes_counts_and_stands_for_no_whole_list() -> None:
    changes = (x509.CRLNumber(2), x509.DeltaCRLIndicator(1))
    whole = crl(root(), extensions=(x509.CRLNumber(1),))

    assert refusal(Draft(), policy(crls=(whole, crl(root(), signer(), extensions=changes)))).endswith(
        f"CN=Test Signer: {REVOKED}"
    )
    assert refusal(Draft(), policy(crls=(crl(root(), extensions=changes),))).endswith(
        "unable to get certificate CRL"
    )
    assert refusal(Draft(), policy(signer(), crls=(crl(root(), extensions=changes),))) == (
        "signature[0]: there is no current revocation list of CN=Test Root"
    )
    for lists in ((whole, crl(root(), extensions=changes)), (crl(root(), extensions=changes), whole)):
        assert accepted(Draft(), policy(crls=lists)) == ("CN=Test Signer",)


@pytest.mark.parametrize("turn", [1, -1])
def test_who_was_revoked_once_stays_so(turn: int) -> None:
    lists = (crl(root(), signer(), start=-9, days=-5), crl(root()))[::turn]

    assert refusal(Draft(), policy(crls=lists)).endswith(REVOKED)
    assert refusal(Draft(), policy(signer(), crls=lists)).endswith(REVOKED)


def test_names_of_issuers_are_compared_as_x_509_compares_them() -> None:
    shouted = crl(root(), signer(), called="TEST  ROOT")

    told = REVOKED.replace("Test Root", "TEST  ROOT")
    assert refusal(Draft(), policy(crls=(shouted,))).endswith(told)
    assert refusal(Draft(), policy(signer(), crls=(shouted,))).endswith(told)


def test_a_list_for_a_pinned_leaf_has_to_be_current() -> None:
    early, late, now = (crl(root(), start=start, days=start + 2) for start in (-9, 9, -1))

    for lists in ((early,), (late,), (early, late)):
        assert refusal(Draft(), policy(signer(), crls=lists)) == (
            "signature[0]: there is no current revocation list of CN=Test Root"
        )
    assert accepted(Draft(), policy(signer(), crls=(early, now, late))) == ("CN=Test Signer",)


def test_the_list_of_one_authority_does_not_stand_for_that_of_another_of_its_name() -> None:
    def keyed(by: Certified, start: int) -> x509.CertificateRevocationList:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        return crl(by, start=start, days=start + 2, extensions=(identifier,))

    lists = (keyed(root(), -9), keyed(authority(with_key="other"), -1))

    assert refusal(Draft(), policy(signer(), crls=lists)) == (
        "signature[0]: there is no current revocation list of CN=Test Root"
    )
    assert accepted(Draft(), policy(signer(), crls=(*lists, keyed(root(), -1)))) == ("CN=Test Signer",)


# Authorities of one name.


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_anchors_of_one_name_the_one_whose_key_signed_counts(turn: int) -> None:
    renewed = authority(with_key="other", serial=2)
    anchors = (root(), renewed)[::turn]

    assert accepted(signed_by(certify("Old", root())), policy(*anchors)) == ("CN=Old",)
    assert accepted(signed_by(certify("New", renewed)), policy(*anchors)) == ("CN=New",)


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_intermediates_of_one_name_the_one_whose_key_signed_counts(turn: int) -> None:
    one = authority("Intermediate", root(), with_key="other", serial=2)
    two = authority("Intermediate", root(), with_key="second", serial=3)
    chain = (one, two)[::turn]

    assert accepted(signed_by(certify("Leaf", one), chain=chain), policy()) == ("CN=Leaf",)
    assert accepted(signed_by(certify("Leaf", two), chain=chain), policy()) == ("CN=Leaf",)


def test_an_authority_with_the_name_of_the_anchor_does_not_keep_it_from_counting() -> None:
    false = authority(with_key="other")

    assert accepted(signed_by(signer(), chain=(false,)), policy()) == ("CN=Test Signer",)


# What a certificate is for.


def test_a_key_for_certificates_signs_no_package_though_nothing_says_it_is_an_authority() -> None:
    usage = ("digital_signature", "key_cert_sign")
    unclear = certify("Unclear", root(), ca=None, usage=usage)

    problem = refusal(signed_by(unclear), policy())

    assert problem == "signature[0]: the certificate's keyUsage includes keyCertSign, as for a CA"
    assert accepted(signed_by(unclear), policy(unclear)) == ("CN=Unclear",)


def test_an_intermediate_for_another_purpose_vouches_for_no_signer() -> None:
    servers = certify(
        "Servers",
        root(),
        with_key="other",
        ca=True,
        usage=("key_cert_sign",),
        purposes=(ExtendedKeyUsageOID.SERVER_AUTH,),
    )
    draft = signed_by(certify("Leaf", servers), chain=(servers,))

    problem = refusal(draft, policy())

    assert problem == "signature[0]: the certificate of CN=Servers has no suitable extendedKeyUsage"
    assert accepted(draft, policy(servers)) == ("CN=Leaf",)


def test_an_intermediate_for_any_purpose_vouches_for_the_one_that_is_named() -> None:
    middle = certify(
        "Middle",
        root(),
        with_key="other",
        ca=True,
        usage=("key_cert_sign",),
        purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,),
    )
    own = x509.ObjectIdentifier("1.3.6.1.4.1.9999.1")
    wanted = policy(purposes=frozenset({own.dotted_string}), purposes_required=True)

    assert accepted(signed_by(certify("Leaf", middle, purposes=(own,)), chain=(middle,)), wanted) == (
        "CN=Leaf",
    )


def test_a_key_for_pss_alone_makes_no_signature_of_another_scheme() -> None:
    certificate = asn1_x509.Certificate.load(signer().der)
    certificate["tbs_certificate"]["subject_public_key_info"]["algorithm"] = {"algorithm": "rsassa_pss"}
    octets = certificate["tbs_certificate"].dump(force=True)
    certificate["signature_value"] = root().key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    other = Certified(
        key=signer().key, certificate=x509.load_der_x509_certificate(certificate.dump(force=True))
    )

    assert refusal(signed_by(other), policy()) == "signature[0]: the key is for RSASSA-PSS only"


def test_a_block_that_claims_no_signer_carries_nothing_else() -> None:
    problem = "the package carries no signature, but certificates or revocation lists"

    assert (
        refusal(Draft(block=craft_block(certificates=(root(),))), policy(unsafe_allow_unsigned=True))
        == problem
    )


# What many certificates and signatures cost.


def test_the_path_of_a_certificate_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[x509.Certificate] = []

    def check(certificate: x509.Certificate, *rest: Any) -> Any:
        looked.append(certificate)
        return trust.check_signer(certificate, *rest)

    monkeypatch.setattr(verification, "check_signer", check)
    signed = Draft().signed
    infos = [
        craft_signer(
            signed,
            signer(),
            attributes=sorted([*attributes(signed), attribute(SIGNING_TIME, tlv(4, bytes((number,))))]),
        )
        for number in range(5)
    ]

    assert accepted(Draft(block=craft_block(*infos, certificates=(signer(),))), policy()) == (
        "CN=Test Signer",
    )
    assert looked == [signer().certificate]


def test_certificates_of_one_name_and_number_are_not_all_tried() -> None:
    others = [
        certify("Test Signer", root(), with_key="other", end=AT + timedelta(days=days))
        for days in range(1, 5)
    ]
    signed = Draft().signed
    info = craft_signer(signed, signer(), attributes=attributes(signed))

    def block(count: int) -> bytes:
        return craft_block(info, certificates=(*others[:count], signer()))

    assert accepted(Draft(block=block(3)), policy()) == ("CN=Test Signer",)
    assert refusal(Draft(block=block(4)), policy()) == "signature[0]: the signature is not valid"
    assert accepted(Draft(block=block(4)), policy(signer())) == ("CN=Test Signer",)


ANCHOR_ONLY: Final = ": it may sign only as an anchor"


@pytest.mark.parametrize(
    ("settings", "doubt"),
    [
        (
            {"end": AT - timedelta(days=1)},
            "the certificate of CN=Signer expired on 2026-05-31T12:00:00Z",
        ),
        (
            {"start": AT + timedelta(days=99), "end": AT + timedelta(days=100)},
            "the certificate of CN=Signer is not valid before 2026-09-08T12:00:00Z",
        ),
        (
            {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)},
            "verifiers may reject this signature: the signer's certificate has no suitable extendedKeyUsage",
        ),
        (
            {"ca": True},
            "the certificate of CN=Signer is a CA certificate: it may sign only as an anchor",
        ),
        (
            {"usage": ("digital_signature", "key_cert_sign")},
            "the certificate of CN=Signer has a keyUsage that includes keyCertSign, as for a CA"
            + ANCHOR_ONLY,
        ),
        (
            {"digest": "md5"},
            "the certificate of CN=Signer is signed with md5, which is not accepted" + ANCHOR_ONLY,
        ),
        (
            {"extension": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")},
            "verifiers will reject this signature: CN=Signer: unhandled critical extension",
        ),
    ],
)
def test_a_certificate_that_no_verifier_takes_is_doubted_when_it_signs(
    settings: dict[str, Any], doubt: str
) -> None:
    found = doubts(certify("Signer", root(), **settings).certificate, AT)

    assert found == [Finding(code="unfit-certificate", message=doubt)]


def test_how_a_certificate_that_certifies_itself_is_signed_does_not_matter() -> None:
    assert doubts(certify("Signer", digest="md5").certificate, AT) == []


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(days=90), None),
        (timedelta(days=90) - timedelta(seconds=1), "89 days"),
        (timedelta(days=1), "1 day"),
        (timedelta(0), "0 days"),
    ],
)
def test_a_certificate_that_expires_within_90_days_is_doubted_when_it_signs(
    left: timedelta, told: str | None
) -> None:
    certificate = certify("Signer", root(), end=AT + left).certificate

    message = f"the certificate of CN=Signer expires in {told}, on {write_time(AT + left)}"
    assert doubts(certificate, AT) == [Finding(code="certificate-expires", message=message)] * (
        told is not None
    )


# A trusted package is only made by verify().


def test_a_trusted_package_can_not_be_made_otherwise() -> None:
    package = read(Draft().encode())

    with pytest.raises(TypeError, match=r"can only be made by spkg\.verify"):
        TrustedPackage(package=package, signers=(), signatures=(), dates_checked=True, seal=None)


def test_a_trusted_package_can_not_be_changed_copied_or_pickled() -> None:
    trusted = verify_package(read(Draft().encode()), policy(), at=AT)

    for attempt in (
        lambda: dataclasses.replace(trusted, signers=(), seal=None),
        lambda: copy.copy(trusted),
        lambda: copy.deepcopy(trusted),
        lambda: pickle.dumps(trusted),
    ):
        with pytest.raises((TypeError, ValueError)):
            attempt()
    with pytest.raises(dataclasses.FrozenInstanceError):
        trusted.signers = ()  # type: ignore[misc]


def test_the_refusal_tells_of_every_signature() -> None:
    stranger = certify("Stranger", with_key="other")
    package = read(signed_by(stranger, second_signer()).encode())

    with pytest.raises(UntrustedPackageError) as caught:
        verify_package(package, policy(signers=frozenset({"Test Signer"})), at=AT)

    assert sorted(report.reason for report in caught.value.signatures) == [
        "CN=Second Signer is not one of the accepted signers",
        "CN=Stranger is not one of the accepted signers",
    ]
    assert isinstance(caught.value, UntrustedError)


def test_the_refusal_of_many_signatures_is_short_and_the_reports_have_all() -> None:
    strangers = [certify("Stranger", with_key="other", serial=number) for number in range(1, 21)]
    package = read(signed_by(*strangers).encode())

    with pytest.raises(UntrustedPackageError) as caught:
        verify_package(package, policy(), at=AT)

    assert caught.value.problem.endswith("; and 12 more")
    assert caught.value.problem.count("signature[") == 8
    assert len(caught.value.signatures) == 20


def test_nobody_makes_a_trusted_package_by_a_class_of_their_own() -> None:
    with pytest.raises(TypeError, match="TrustedPackage can't have subclasses"):

        class Forged(TrustedPackage, of=None, maker="nobody"):  # type: ignore[misc]
            """A package that nobody has verified."""

    assert not [name for name in dir(TrustedPackage) if name in {"_of", "_seal", "seal"}]
