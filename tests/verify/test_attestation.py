"""Attestations: who may state where a package comes from, and about which package."""

from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.common.digests import Digest
from spkg.errors import FormatError, UntrustedError
from spkg.trust.dsse import DsseEnvelope
from spkg.trust.policy import Policy
from spkg.verify.attestation import TrustedAttestation, verify_attestation
from spkg.verify.signatures import TrustedPackage, verify_package
from tests.support.kit import (
    AT,
    Certified,
    Draft,
    authority,
    certify,
    policy,
    read,
    root,
    second_signer,
    signer,
)
from tests.support.provenance_kit import enveloped, signature, statement

HEX = "ab" * 32


def trusted(draft: Draft | None = None, by: Policy | None = None) -> TrustedPackage:
    return verify_package(read((draft or Draft()).encode()), by or policy(), at=AT)


def check(
    envelope: DsseEnvelope, by: Policy | None = None, package: TrustedPackage | None = None
) -> TrustedAttestation:
    return verify_attestation(envelope, package or trusted(), by or policy(), at=AT)


def refused(envelope: DsseEnvelope, by: Policy | None = None) -> str:
    with pytest.raises(UntrustedError) as raised:
        check(envelope, by)
    return str(raised.value)


def test_a_statement_of_an_accepted_signer_about_the_package_is_accepted() -> None:
    found = check(enveloped(statement()))

    assert found.signer == "CN=Test Signer"
    assert found.path == (signer().certificate, root().certificate)
    assert (found.subject, found.builder, found.build_type) == ("p.spkg", "x:builder", "x:type")
    assert found.payload_sha256 is None


def test_a_signature_that_is_added_to_the_package_changes_nothing() -> None:
    draft = Draft(signers=(signer().identity(), second_signer().identity()))

    assert check(enveloped(statement()), package=trusted(draft)).signer == "CN=Test Signer"


def test_the_signer_of_the_package_need_not_be_that_of_the_statement() -> None:
    assert check(enveloped(statement(), second_signer())).signer == "CN=Second Signer"


def test_one_of_several_subjects_is_enough() -> None:
    mine = statement()["subject"][0]
    others = [{"digest": {"sha256": HEX}}, {"digest": {"sha1": "00"}}, mine]

    assert check(enveloped(statement(subject=others))).subject == "p.spkg"


def test_a_subject_needs_no_name() -> None:
    digest = statement()["subject"][0]["digest"]

    assert check(enveloped(statement(subject=[{"digest": digest}]))).subject == ""


def test_one_of_several_signatures_is_enough() -> None:
    genuine = enveloped(statement())
    other = signature(genuine.payload, certify("Nobody", with_key="other"))

    assert check(replace(genuine, signatures=(other, *genuine.signatures))).signer == "CN=Test Signer"


def test_an_intermediate_comes_with_the_signature() -> None:
    between = authority("Between", root(), with_key="other", serial=7)
    deep = certify("Deep", between, with_key="second")

    assert check(enveloped(statement(), deep, chain=[between])).signer == "CN=Deep"
    assert "unable to get local issuer certificate" in refused(enveloped(statement(), deep))


@pytest.mark.parametrize("keyid", [None, "", "a name"])
def test_a_signature_without_its_certificate_is_of_a_signer_that_is_known(keyid: str | None) -> None:
    bare = enveloped(statement(), embed=False, keyid=keyid)
    pinned = policy(signer())

    assert check(bare, pinned, trusted(by=pinned)).signer == "CN=Test Signer"
    assert check(bare).signer == "CN=Test Signer"  # its certificate is in the package


def test_a_signature_of_an_unknown_key_is_refused() -> None:
    stranger = enveloped(statement(), second_signer(), embed=False)
    nameless = enveloped(statement(), second_signer(), embed=False, keyid="")

    assert refused(stranger) == (
        "the attestation: signature[0]: the signer's certificate is neither in it nor known"
    )
    assert refused(nameless) == "the attestation: signature[0]: the signature is not valid"


def test_the_first_certificate_beside_a_signature_is_the_signers() -> None:
    genuine = enveloped(statement())
    (made,) = genuine.signatures
    swapped = (second_signer().certificate, signer().certificate)

    assert refused(replace(genuine, signatures=(replace(made, certificates=swapped),))) == (
        "the attestation: signature[0]: the signature is not valid"
    )


def test_without_the_name_of_a_key_only_a_few_are_tried() -> None:
    others = [authority(f"Root {number}", with_key="root", serial=number) for number in range(2, 9)]
    eighth, ninth = policy(*others, second_signer()), policy(*others, root(), second_signer())
    package = verify_package(read(Draft().encode()), policy(), at=AT)
    nameless = enveloped(statement(), second_signer(), embed=False, keyid="")
    named = enveloped(statement(), second_signer(), embed=False)

    assert check(nameless, eighth, package).signer == "CN=Second Signer"
    assert check(named, ninth, package).signer == "CN=Second Signer"
    with pytest.raises(UntrustedError):
        check(nameless, ninth, package)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (certify("Self", with_key="other"), "CN=Self: self-signed certificate"),
        (certify("Old", root(), end=AT.replace(year=2026, month=1)), "CN=Old: certificate has expired"),
        (certify("CA", root(), ca=True), "the signer's certificate is a CA certificate"),
        (
            certify("TLS", root(), purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
            "the signer's certificate has no suitable extendedKeyUsage",
        ),
        (certify("Small", root(), with_key="tiny"), "expected an RSA key of 1024 to 8192 bits, got 512"),
        (
            certify("Three", root(), with_key="exponent3"),
            "expected an RSA key with an odd exponent from 65537 to 4294967297, got 3",
        ),
    ],
)
def test_a_signer_that_could_not_sign_the_package_cannot_sign_a_statement(
    by: Certified, message: str
) -> None:
    assert message in refused(enveloped(statement(), by))


def test_the_names_and_digests_of_the_policy_count() -> None:
    envelope, package = enveloped(statement(), second_signer()), trusted()
    named = policy(signers=frozenset({"Test Signer"}))

    assert refused(envelope, named) == (
        "the attestation: signature[0]: CN=Second Signer is not one of the accepted signers"
    )
    with pytest.raises(UntrustedError) as raised:
        check(envelope, policy(digests=frozenset({Digest.SHA1})), package)
    assert str(raised.value) == "the policy does not accept the digest algorithm sha256 of the attestation"


def test_a_certificate_beside_the_signature_is_no_anchor() -> None:
    forger = authority("Test Root", with_key="other")
    forged = certify("Test Signer", forger, with_key="second")

    assert "the attestation: signature[0]: " in refused(enveloped(statement(), forged, chain=[forger]))


@pytest.mark.parametrize("part", ["payload", "octets", "type"])
def test_no_part_can_be_changed(part: str) -> None:
    genuine = enveloped(statement())
    (made,) = genuine.signatures
    changed = {
        "payload": replace(genuine, payload=genuine.payload + b" "),
        "octets": replace(genuine, signatures=(replace(made, octets=made.octets[:-1] + b"\0"),)),
        "type": replace(enveloped(statement(), payload_type="text/plain"), payload_type=genuine.payload_type),
    }[part]

    assert refused(changed) == "the attestation: signature[0]: the signature is not valid"


def test_a_signature_of_another_length_is_refused() -> None:
    genuine = enveloped(statement())
    (made,) = genuine.signatures

    assert refused(replace(genuine, signatures=(replace(made, octets=b"\0" + made.octets),))) == (
        "the attestation: signature[0]: expected a signature of 256 bytes, got 257"
    )


def test_a_message_lists_a_few_refusals_and_counts_the_others() -> None:
    genuine = enveloped(statement())
    (made,) = genuine.signatures
    many = replace(genuine, signatures=(replace(made, octets=bytes(256)),) * 10)

    told = refused(many).removeprefix("the attestation: ").split("; ")

    assert told == [f"signature[{index}]: the signature is not valid" for index in range(8)] + ["and 2 more"]


def test_a_statement_about_another_package_is_refused() -> None:
    other = statement(subject=[{"name": "p.spkg", "digest": {"sha256": HEX}}])
    mine = statement()["subject"][0]["digest"]["sha256"]

    assert refused(enveloped(other)) == (
        f"the attestation is for another package: expected SHA-256 {mine}, got {HEX}"
    )
    assert refused(enveloped(statement(subject=[{"digest": {"sha1": "00"}}]))).endswith(f"{mine}, got none")


def test_the_payload_digest_is_compared_where_it_is_stated() -> None:
    mine = statement()["subject"][0] | {"annotations": {"payloadSha256": HEX}}
    found = check(enveloped(statement(subject=[mine])))

    found.check_payload_digest(bytes.fromhex(HEX))
    with pytest.raises(UntrustedError) as raised:
        found.check_payload_digest(bytes(32))
    assert str(raised.value) == "the payload does not match the SHA-256 digest in the attestation"
    check(enveloped(statement())).check_payload_digest(bytes(32))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (b"junk", "the statement of the attestation:1: expected JSON: expecting value"),
        (b"[]", "attestation.statement: expected an object"),
        (statement(_type=None), "attestation.statement._type: expected a string"),
        (
            statement(_type="https://in-toto.io/Statement/v0.1"),
            (
                "attestation.statement._type: expected https://in-toto.io/Statement/v1, "
                "got 'https://in-toto.io/Statement/v0.1'"
            ),
        ),
        (
            statement(predicateType="https://spdx.dev/Document"),
            (
                "attestation.statement.predicateType: expected https://slsa.dev/provenance/v1, "
                "got 'https://spdx.dev/Document'"
            ),
        ),
        (statement(subject={}), "attestation.statement.subject: expected a list of at least one"),
        (statement(subject=[]), "attestation.statement.subject: expected a list of at least one"),
        (statement(subject=["x"]), "attestation.statement.subject[0]: expected an object"),
        (statement(subject=[{}]), "attestation.statement.subject[0].digest: expected an object"),
        (
            statement(subject=[{"digest": {"sha256": HEX.upper()}}]),
            "attestation.statement.subject[0].digest.sha256: expected 64 hexadecimal digits in lower case",
        ),
        (
            statement(subject=[statement()["subject"][0] | {"annotations": 1}]),
            "attestation.statement.subject[0].annotations: expected an object",
        ),
        (statement(predicate=None), "attestation.statement.predicate: expected an object"),
        (
            statement(predicate={"runDetails": {}}),
            "attestation.statement.predicate.runDetails.builder: expected an object",
        ),
        (
            statement(predicate={"runDetails": {"builder": {"id": 1}}}),
            "attestation.statement.predicate.runDetails.builder.id: expected a string",
        ),
        (
            statement(predicate={"runDetails": {"builder": {"id": "x"}}, "buildDefinition": {}}),
            "attestation.statement.predicate.buildDefinition.buildType: expected a string",
        ),
    ],
)
def test_what_is_signed_and_no_provenance_is_malformed(stated: Any, message: str) -> None:
    with pytest.raises(FormatError) as raised:
        check(enveloped(stated))

    assert str(raised.value) == message


def test_another_type_of_payload_is_malformed() -> None:
    with pytest.raises(FormatError) as raised:
        check(enveloped(statement(), payload_type="text/plain"))

    assert str(raised.value) == (
        "attestation.payloadType: expected application/vnd.in-toto+json, got 'text/plain'"
    )


def test_an_accepted_attestation_is_made_by_verifying_alone() -> None:
    found = check(enveloped(statement()))

    with pytest.raises(TypeError, match=r"can only be made by spkg\.verify_attestation\(\)$"):
        TrustedAttestation(path=(), subject="", builder="", build_type="", payload_sha256=None, seal=None)
    with pytest.raises(TypeError, match="can't be copied or pickled"):
        copy(found)
