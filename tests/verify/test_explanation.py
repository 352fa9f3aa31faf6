"""``verify --explain`` from the library: every rule with its values, and never another verdict."""

import dataclasses
from datetime import timedelta

import pytest

from spkg.common.digests import Digest
from spkg.trust.explanation import SignatureExplanation
from spkg.trust.policy import Policy, RevocationRule
from spkg.verify.explanation import PackageExplanation, explain_package
from spkg.verify.signatures import UntrustedPackageError, verify_package
from tests.support.kit import (
    AT,
    Certified,
    Draft,
    authority,
    certify,
    craft_block,
    craft_signer,
    policy,
    read,
    root,
    second_signer,
    signer,
)
from tests.support.revocation_kit import crl

MIDDLE = authority("Intermediate", root(), with_key="other", serial=2)
LEAF = certify("Leaf", MIDDLE)


def signed_by(*signers: Certified, chain: tuple[Certified, ...] = ()) -> Draft:
    return Draft(signers=tuple(one.identity(*chain) for one in signers))


def explained(draft: Draft, wanted: Policy) -> PackageExplanation:
    return explain_package(read(draft.encode()), wanted, at=AT)


def first(draft: Draft, wanted: Policy) -> SignatureExplanation:
    return explained(draft, wanted).signatures[0]


def unmet(explanation: SignatureExplanation) -> dict[str, str]:
    return {one.rule: one.detail for one in explanation.rules if one.error is not None}


def test_of_a_good_signature_every_rule_is_met_with_its_values() -> None:
    found = first(signed_by(LEAF, chain=(MIDDLE,)), policy(crls=(crl(root()), crl(MIDDLE))))

    assert [(one.rule, one.detail) for one in found.rules] == [
        ("certificate", "found the certificate of issuer CN=Intermediate, serial number 03E8"),
        ("algorithms", "RSA with sha1; accepted digests: sha1, sha256"),
        ("contents", "the signed attributes have the digest of header and command list"),
        ("signature", "the signature is valid under the key of the certificate"),
        ("signer", "any signer with a path to an anchor"),
        ("purpose", "the certificate's extendedKeyUsage is 1.3.6.1.5.5.7.3.3"),
        (
            "path",
            "valid at 2026-06-01T12:00:00Z, the first certificate on it ends on 2049-06-01T12:00:00Z",
        ),
        ("keys", "RSA keys of at least 1024 bits below the anchor"),
        ("pins", "no keys are pinned"),
        ("path-purpose", "1 intermediate may certify signers"),
        ("path-digests", "certificates below the anchor are signed with sha256, sha256"),
        (
            "revocation",
            (
                "CN=Leaf: not on the revocation list of CN=Intermediate, which began on 2026-05-31T12:00:00Z "
                "and "
                "ends on 2026-07-01T12:00:00Z, checked at 2026-06-01T12:00:00Z; CN=Intermediate: not on the "
                "revocation list of CN=Test Root, which began on 2026-05-31T12:00:00Z and "
                "ends on 2026-07-01T12:00:00Z, checked at 2026-06-01T12:00:00Z"
            ),
        ),
    ]
    assert found.chain == (LEAF.certificate, MIDDLE.certificate, root().certificate)
    assert (found.anchor, found.missing_issuer, found.advice) == (root().certificate, None, ())


def test_a_broken_chain_is_shown_as_far_as_it_goes() -> None:
    found = first(signed_by(LEAF), policy())

    assert found.chain == (LEAF.certificate,)
    assert (found.anchor, found.missing_issuer) == (None, "CN=Intermediate")
    assert unmet(found) == {
        "path": "CN=Leaf: unable to get local issuer certificate: there is no certificate of CN=Intermediate"
    }
    assert found.advice == (
        (
            "embed the certificate of CN=Intermediate with --chain when signing, "
            "or trust it with --trust when verifying"
        ),
    )


def test_a_chain_may_end_in_a_root_that_nobody_trusts() -> None:
    found = first(signed_by(LEAF, chain=(MIDDLE, root())), policy(second_signer()))

    assert found.chain == (LEAF.certificate, MIDDLE.certificate, root().certificate)
    assert (found.anchor, found.missing_issuer) == (None, None)
    assert found.advice == ("to trust CN=Test Root, give its certificate with --trust",)


def test_all_rules_that_are_not_met_are_shown_not_only_the_first() -> None:
    servers = certify("Servers", root(), purposes=None, usage=("key_encipherment",))
    wanted = policy(
        signers=frozenset({"Somebody"}),
        crls=(crl(root(), servers),),
        minimum_rsa_bits=4096,
        pins=frozenset({b""}),
    )

    found = unmet(first(signed_by(servers), wanted))

    assert list(found) == ["signer", "purpose", "keys", "pins", "revocation"]
    assert found["revocation"] == (
        "CN=Servers: certificate revoked: on the revocation list of CN=Test Root since 2026-05-30T12:00:00Z"
    )


def test_a_false_signature_is_named_and_its_chain_shown_all_the_same() -> None:
    draft = Draft()
    block = craft_block(
        craft_signer(draft.signed, signer(), attributes=None, signature=bytes(256)), certificates=(signer(),)
    )

    found = first(dataclasses.replace(draft, block=block), policy())

    assert unmet(found) == {"signature": "the signature is not valid under the key of the certificate"}
    assert found.anchor == root().certificate


def test_a_certificate_that_is_missing_is_named_by_issuer_and_number() -> None:
    draft = Draft()
    block = craft_block(craft_signer(draft.signed, signer(), attributes=None))

    found = first(dataclasses.replace(draft, block=block), policy())

    assert unmet(found) == {
        "certificate": "the certificate of issuer CN=Test Root, serial number 03E8 is neither in the block "
        "nor "
        "an anchor"
    }
    assert (found.chain, found.missing_issuer) == ((), None)
    assert found.rules[2].detail == "the signature is over header and command list"


def test_the_rules_for_the_package_are_shown_too() -> None:
    strong = policy(digests=frozenset({Digest.SHA256}), required_signers=2)

    rules = explained(signed_by(signer(), second_signer()), strong).rules
    met = explained(signed_by(signer(), second_signer()), policy(required_signers=2)).rules
    unsigned = explained(Draft(signers=()), policy(unsafe_allow_unsigned=True)).rules

    assert [(one.rule, one.error is None, one.detail) for one in rules] == [
        ("required-signers", False, "0 trusted signers with different keys, 2 required"),
        ("strong-digests", False, "only SHA-1 protects the files"),
    ]
    assert [one.detail for one in met] == [
        "2 trusted signers with different keys, 2 required",
        "SHA-1 is accepted",
    ]
    assert unsigned[0].detail == "the package carries no signature, and none is required"


@pytest.mark.parametrize(
    "wanted",
    [
        policy(),
        policy(signer()),
        policy(second_signer()),
        policy(signers=frozenset({"CN = Test Signer"})),
        policy(signers=frozenset({"x"})),
        policy(crls=(crl(root(), signer()),)),
        policy(revocation=RevocationRule.REQUIRE),
        policy(digests=frozenset({Digest.SHA256})),
        policy(minimum_rsa_bits=4096),
        policy(required_signers=2),
        policy(not_before=AT + timedelta(days=20000)),
    ],
)
def test_the_explanation_and_the_verdict_agree(wanted: Policy) -> None:
    draft = Draft()
    try:
        trusted = bool(verify_package(read(draft.encode()), wanted, at=AT).signers)
    except UntrustedPackageError:
        trusted = False

    found = explained(draft, wanted)

    assert trusted == all(one.error is None for one in found.rules)
