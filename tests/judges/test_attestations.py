"""OpenSSL, securesystemslib and in-toto's own types judge our attestations, and we judge theirs."""

import json
from base64 import b64decode

import pytest
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey

from spkg.errors import UntrustedError
from spkg.trust.dsse import read_envelope
from spkg.verify.attestation import PAYLOAD_TYPE, PREDICATE_TYPE, verify_attestation
from spkg.verify.signatures import verify_package
from tests.judges.desk import Desk
from tests.support.commands import run
from tests.support.kit import AT, Certified, Draft, certify, policy, read, root, signer
from tests.support.provenance_kit import statement

SCHEME = "rsa-pkcs1v15-sha256"


@pytest.fixture
def ours(desk: Desk) -> bytes:
    """The attestation that the command writes."""
    desk.put("p.spkg", Draft().encode())
    command = f"attest {desk.path}/p.spkg -o {desk.path}/a.json --key {desk.path}/signer.key"
    assert run(*command.split(), "--cert", desk.path / "signer.pem").exit_code == 0
    return desk.take("a.json")


def their_key(certified: Certified, keyid: str) -> SSlibKey:
    return SSlibKey.from_crypto(certified.key.public_key(), keyid=keyid, scheme=SCHEME)


def signed_by_them(stated: bytes, by: Certified) -> bytes:
    """Return what securesystemslib writes: its key is named, its certificate is not there."""
    envelope = Envelope(stated, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(by.key, their_key(by, "theirs")))
    return json.dumps(envelope.to_dict()).encode()


@pytest.mark.judge("openssl")
def test_openssl_verifies_the_signature_with_the_key_of_the_certificate_beside_it(
    desk: Desk, ours: bytes
) -> None:
    document = json.loads(ours)
    payload = b64decode(document["payload"])
    kind = document["payloadType"].encode()
    desk.put("signed", b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    desk.put("signature", b64decode(document["signatures"][0]["sig"]))
    desk.put("cert.pem", document["signatures"][0]["cert"].encode())
    desk.put("public.pem", desk.must(*["openssl", "x509", "-in", "cert.pem", "-noout", "-pubkey"]).stdout)
    command = "openssl dgst -sha256 -verify public.pem -signature signature signed"

    outcome = desk.run(*command.split())

    assert (outcome.status, outcome.text) == (0, "Verified OK\n")


def test_securesystemslib_verifies_it_and_refuses_another(ours: bytes) -> None:
    document = json.loads(ours)
    envelope = Envelope.from_dict(document)
    (keyid,) = envelope.signatures

    assert envelope.verify([their_key(signer(), keyid)], 1).keys() == {keyid}
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([their_key(signer(), keyid)], 1)


def test_it_is_a_statement_and_provenance_by_the_types_of_in_toto(ours: bytes) -> None:
    payload = b64decode(json.loads(ours)["payload"])

    message = Parse(payload, StatementMessage())
    provenance = Parse(json.dumps(json.loads(payload)["predicate"]), Provenance())

    Statement.copy_from_pb(message).validate()
    assert message.predicate_type == PREDICATE_TYPE
    assert [one.name for one in message.subject] == ["p.spkg"]
    assert provenance.run_details.builder.id == "pkg:pypi/tr069-spkg"
    with pytest.raises(ParseError):  # so these types do refuse what they do not know
        Parse('{"runDetails": {"bilder": {}}}', Provenance())


def test_we_accept_what_they_sign_about_the_package_and_nothing_else() -> None:
    package = verify_package(read(Draft().encode()), policy(), at=AT)
    digest = statement()["subject"][0]["digest"]
    made = Statement(
        [ResourceDescriptor("theirs", digest=digest).pb], PREDICATE_TYPE, statement()["predicate"]
    )
    made.validate()
    theirs = MessageToJson(made.pb).encode()

    found = verify_attestation(read_envelope(signed_by_them(theirs, signer())), package, policy(), at=AT)

    assert (found.signer, found.subject, found.builder) == ("CN=Test Signer", "theirs", "x:builder")
    stranger = read_envelope(signed_by_them(theirs, certify("Other", root(), with_key="other")))
    with pytest.raises(UntrustedError):
        verify_attestation(stranger, package, policy(), at=AT)
