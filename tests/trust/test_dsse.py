"""DSSE envelopes: what is signed, how they are written, and what is refused when they are read."""

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spkg.errors import FormatError
from spkg.trust.dsse import (
    MAX_ATTESTATION,
    DsseEnvelope,
    DsseSignature,
    key_digest,
    pre_authentication,
    read_envelope,
)
from tests.support.kit import authority, root, signer

GOOD: dict[str, Any] = {
    "payload": "aGVsbG8=",
    "payloadType": "x/y",
    "signatures": [{"keyid": "k", "sig": "AQID", "cert": signer().pem.decode() + root().pem.decode()}],
}


def encoded(**changes: Any) -> bytes:
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not None}).encode()


def with_signature(**changes: Any) -> bytes:
    fields = GOOD["signatures"][0] | changes
    return encoded(signatures=[{key: value for key, value in fields.items() if value is not None}])


def test_what_is_signed_is_the_example_of_the_specification() -> None:
    octets = pre_authentication("http://example.com/HelloWorld", b"hello world")

    assert octets == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_what_is_signed_counts_bytes_and_not_characters() -> None:
    assert pre_authentication("ä", "ö".encode()) == "DSSEv1 2 ä 2 ö".encode()


def test_an_envelope_is_read_with_its_certificates() -> None:
    assert read_envelope(encoded()) == DsseEnvelope(
        payload_type="x/y",
        payload=b"hello",
        signatures=(
            DsseSignature(
                keyid="k", octets=b"\1\2\3", certificates=(signer().certificate, root().certificate)
            ),
        ),
    )


def test_what_is_written_is_one_line_that_is_read_again() -> None:
    plain = DsseSignature(keyid="", octets=b"\xff" * 9)
    certified = DsseSignature(keyid="ä", octets=b"", certificates=(signer().certificate,))
    envelope = DsseEnvelope(payload_type="x/y", payload=b"\xfe" * 5, signatures=(plain, certified))

    octets = envelope.encode()

    assert octets.count(b"\n") == 1
    assert octets.endswith(b"\n")
    assert read_envelope(octets) == envelope
    assert "cert" not in json.loads(octets)["signatures"][0]


def test_both_alphabets_of_base64_are_read_and_unknown_fields_ignored() -> None:
    octets = b"\xfb\xff\xfe"

    read = read_envelope(
        encoded(
            payload=urlsafe_b64encode(octets).decode(),
            more={"x": 1},
            signatures=[{"sig": b64encode(octets).decode(), "more": 1}],
        )
    )

    assert read.payload == octets
    assert read.signatures == (DsseSignature(keyid="", octets=octets),)


@pytest.mark.parametrize(
    "pem", [None, 1, "", "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_certificates_that_cannot_be_read_are_left_out(pem: Any) -> None:
    assert read_envelope(with_signature(cert=pem)).signatures[0].certificates == ()


def test_only_a_few_certificates_are_read() -> None:
    many = "".join(authority(f"Root {number}").pem.decode() for number in range(9))

    assert len(read_envelope(with_signature(cert=many)).signatures[0].certificates) == 8


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"hello", "f:1: expected JSON: expecting value"),
        (b"[]", "f: expected a DSSE envelope, an object with payload, payloadType and signatures"),
        (
            encoded(payloadType=None),
            "f: expected a DSSE envelope, an object with payload, payloadType and signatures",
        ),
        (encoded(payload=1), "f: payload: expected a string"),
        (encoded(payload="aGVsbG8"), "f: payload: expected base64"),
        (encoded(payload="aGVs bG8="), "f: payload: expected base64"),
        (encoded(payload="ä"), "f: payload: expected base64"),
        (encoded(payloadType=[]), "f: payloadType: expected a string"),
        (encoded(payloadType="x\ny"), "f: payloadType: expected a string"),
        (encoded(signatures={}), "f: signatures: expected 1 to 16 signatures"),
        (encoded(signatures=[]), "f: signatures: expected 1 to 16 signatures"),
        (encoded(signatures=GOOD["signatures"] * 17), "f: signatures: expected 1 to 16 signatures"),
        (encoded(signatures=["x"]), "f: signatures[0]: expected an object"),
        (with_signature(sig=None), "f: signatures[0].sig: expected a string"),
        (with_signature(sig="?"), "f: signatures[0].sig: expected base64"),
        (with_signature(keyid=7), "f: signatures[0].keyid: expected a string"),
        (None, f"f: the attestation has more than {MAX_ATTESTATION} bytes"),
    ],
)
def test_what_is_no_envelope_is_refused_with_its_place(octets: bytes | None, message: str) -> None:
    with pytest.raises(FormatError) as raised:
        read_envelope(b" " * (MAX_ATTESTATION + 1) if octets is None else octets, "f")

    assert str(raised.value) == message


def test_sixteen_signatures_are_read() -> None:
    assert len(read_envelope(encoded(signatures=GOOD["signatures"] * 16)).signatures) == 16


def test_a_key_is_named_by_its_digest() -> None:
    public = signer().key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert key_digest(signer().certificate) == sha256(public).hexdigest()
