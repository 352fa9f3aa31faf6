"""Attesting with the library: what is signed, and what is not written."""

from io import BytesIO

import pytest

import spkg
from spkg.build.attest import BUILDER, attest_package, describe_package
from spkg.errors import HostError, UntrustedError
from spkg.trust.signers import Identity, KeySigner
from spkg.verify.attestation import verify_attestation
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, certify, key, policy, root, signer


def test_a_package_is_attested_and_accepted_without_the_command_line() -> None:
    with open_package(BytesIO(Draft().encode())) as (package, payload):
        facts = describe_package("p.spkg", package, payload)
        envelope = attest_package(facts, signer().identity(), builder=BUILDER, version="1")

        trusted = verify_package(package, policy(), at=AT)
        found = verify_attestation(envelope, trusted, policy(), at=AT)

    assert (found.signer, found.payload_sha256) == ("CN=Test Signer", facts.payload_sha256)
    assert spkg.attest_package is attest_package


def test_a_signature_that_does_not_hold_is_not_written() -> None:
    mixed = Identity(key=KeySigner(key("second")), certificate=signer().certificate)
    with open_package(BytesIO(Draft().encode())) as (package, payload):
        facts = describe_package("p.spkg", package, payload)

    with pytest.raises(HostError):
        attest_package(facts, mixed, builder=BUILDER, version="1")


def test_a_key_that_no_verifier_takes_attests_nothing() -> None:
    small = certify("Small", root(), with_key="tiny").identity()
    with open_package(BytesIO(Draft().encode())) as (package, payload):
        facts = describe_package("p.spkg", package, payload)

    with pytest.raises(UntrustedError, match=r"^expected an RSA key of 1024 to 8192 bits, got 512$"):
        attest_package(facts, small, builder=BUILDER, version="1")
