"""Public vectors of XML-Signature: none is a voucher, so all are refused, and what we share with them holds.

They are of others and not part of this repository: SPKG_XMLDSIG_VECTORS names a directory that has them, with
a ``manifest.json`` that says of each what is expected.
"""

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree

from spkg.common.digests import Digest
from spkg.common.hostile_xml import PlainParser, XmlElement, base64_of, canonical
from spkg.errors import FormatError, UntrustedError
from spkg.trust.certificates import read_certificate
from tests.support.voucher_forge import C14N, DS, DS11
from vouchers.signature.algorithms import DIGESTS, P256, PublicKey, digest_of_method, key_value_of, scheme_for
from vouchers.signature.shape import read_voucher, unwrap

PLACE: Final = os.environ.get("SPKG_XMLDSIG_VECTORS")
PATIENCE: Final = 1.0
"""How long a refusal may take, in seconds."""


def manifest() -> list[dict[str, Any]]:
    if PLACE is None:
        return []
    entries: list[dict[str, Any]] = json.loads((Path(PLACE) / "manifest.json").read_text())
    return entries


def documents() -> list[str]:
    return [one["file"] for one in manifest() if one["file"].endswith(".xml")]


def said_to_be(expected: str) -> list[str]:
    return [one["file"] for one in manifest() if one["expected"] == expected and one["file"][-4:] == ".xml"]


def load(file: str) -> bytes:
    if PLACE is None:
        pytest.skip("NOT JUDGED: SPKG_XMLDSIG_VECTORS names no directory with the vectors of XML-Signature")
    return (Path(PLACE) / file).read_bytes()


def each(files: list[str]) -> pytest.MarkDecorator:
    """Run a test for each file; without any it runs once, to say why it does not."""
    return pytest.mark.parametrize("file", files or ["none"])


@each(documents())
def test_none_of_them_is_a_voucher(file: str) -> None:
    octets = load(file)

    start = time.process_time()
    with pytest.raises(FormatError):
        read_voucher(unwrap(octets))

    assert time.process_time() - start < PATIENCE


# The core: Canonical XML, digests, keys and signatures of those that are valid, by our own means.

OUT_OF_SCOPE: Final = {
    "aleksey01/enveloping-sha1-dsa1024-der-encoded-key-value.xml": "the key as DEREncodedKeyValue",
    "aleksey01-old/enveloping-dsa-x509chain.xml": "the signer's certificate not the first",
    "aleksey01-old/enveloping-sha1-rsa-sha1.xml": "the signer's certificate not the first",
    "w3c11-sun/c14n10-signature-enveloping-rsa-sha256.xml": "an RSA key of 512 bits",
    "w3c11-sun/signature-enveloping-rsa-sha256.xml": "Canonical XML 1.1, and an RSA key of 512 bits",
    "w3c11-oracle/signature-enveloping-p256_sha1.xml": "ecdsa-sha1",
    "iaik/rSASignature.xml": "an RSA key with the exponent 3",
}
"""Those that are valid, and why they need what a voucher never has."""
ENVELOPED: Final = ("w3c11-microsoft/",)
"""Where the signature stands in what it signs: it is in scope, the digest of its surroundings is not."""


def found(element: XmlElement, path: str) -> XmlElement:
    one = element.find("/".join(f"{{{DS}}}{name}" for name in path.split("/")))
    assert one is not None, path
    return one


def numbers(element: XmlElement, *names: str) -> list[int]:
    return [int.from_bytes(base64_of(found(element, name))) for name in names]


def key_of(signature: XmlElement) -> PublicKey:
    """Return the key that KeyInfo gives: of the certificate, or as numbers."""
    certificate = signature.find(f".//{{{DS}}}X509Certificate")
    if certificate is not None:
        key = read_certificate(base64_of(certificate)).public_key()
        assert isinstance(key, PublicKey)
        return key
    value = found(signature, "KeyInfo/KeyValue")[0]
    kind = etree.QName(value).localname
    if kind == "RSAKeyValue":
        n, e = numbers(value, "Modulus", "Exponent")
        return rsa.RSAPublicNumbers(e, n).public_key()
    if kind == "DSAKeyValue":
        p, q, g, y = numbers(value, *"PQGY")
        return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()
    curve, point = value
    assert curve.get("URI") == P256
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64_of(point))


def check_signature(signature: XmlElement) -> Digest:
    """Verify SignatureValue by what our table says of method and key."""
    info = found(signature, "SignedInfo")
    assert found(info, "CanonicalizationMethod").get("Algorithm") == C14N
    method = found(info, "SignatureMethod").get("Algorithm") or ""
    digest = digest_of_method(method)
    assert digest is not None, method
    scheme = scheme_for(key_of(signature), digest)
    value = base64_of(found(signature, "SignatureValue"))
    assert (scheme.uri, scheme.length) == (method, len(value))
    octets, key = canonical(info), scheme.key
    half = len(value) // 2
    pair = encode_dss_signature(int.from_bytes(value[:half]), int.from_bytes(value[half:]))
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(value, octets, padding.PKCS1v15(), digest.algorithm)
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(pair, octets, digest.algorithm)
    else:
        key.verify(pair, octets, ec.ECDSA(digest.algorithm))
    return digest


def check_references(signature: XmlElement) -> None:
    """Verify the digest of each Object that is referred to by its Id."""
    by_uri = {uri: digest for digest, uri in DIGESTS.items()}
    for reference in found(signature, "SignedInfo").iterchildren(f"{{{DS}}}Reference"):
        transforms = [one.get("Algorithm") for one in reference.iter(f"{{{DS}}}Transform")]
        assert set(transforms) <= {C14N}, transforms
        (target,) = (one for one in signature.iter() if f"#{one.get('Id')}" == reference.get("URI"))
        digest = by_uri[found(reference, "DigestMethod").get("Algorithm") or ""]
        assert digest.of(canonical(target)) == base64_of(found(reference, "DigestValue"))


def signature_in(octets: bytes) -> XmlElement:
    # Some have comments, which a voucher never has, and Canonical XML leaves out.
    root = etree.fromstring(octets, PlainParser())
    return next(root.iter(f"{{{DS}}}Signature"))


@each([one for one in said_to_be("valid") if one not in OUT_OF_SCOPE])
def test_the_core_of_a_valid_one_holds(file: str) -> None:
    signature = signature_in(load(file))

    check_signature(signature)
    if not file.startswith(ENVELOPED):
        check_references(signature)


@each([one for one in said_to_be("valid") if one not in OUT_OF_SCOPE])
def test_it_holds_no_longer_where_an_octet_is_another(file: str) -> None:
    octets = load(file)
    value = re.search(rb"SignatureValue[^>]*>\s*", octets)
    assert value is not None
    at = value.end() + 5
    other = octets[:at] + (b"A" if octets[at : at + 1] != b"A" else b"B") + octets[at + 1 :]

    with pytest.raises((InvalidSignature, FormatError)):
        check_signature(signature_in(other))


@each([one for one in said_to_be("valid") if one in OUT_OF_SCOPE])
def test_what_a_voucher_never_has_is_not_taken_by_the_core(file: str) -> None:
    with pytest.raises((UntrustedError, AssertionError)):
        check_signature(signature_in(load(file)))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("merlin23/signature-enveloping-dsa", "Object"),
        ("merlin23/signature-enveloping-rsa", "Object"),
        ("merlin23/signature-enveloping-dsa", "SignedInfo"),
        ("merlin23/signature-enveloping-rsa", "SignedInfo"),
    ],
)
def test_octets_that_were_digested_are_those_that_others_state(file: str, name: str) -> None:
    number = {"Object": 0, "SignedInfo": 1}[name]
    stated = load(f"{file}-c14n-{number}.txt")

    assert canonical(found(signature_in(load(f"{file}.xml")), name)) == stated


@pytest.mark.parametrize("file", ["iaik/dSASignature", "iaik/rSASignature"])
def test_an_object_of_text_is_digested_as_others_state(file: str) -> None:
    stated = load(f"{file}.firstReference.txt")

    assert canonical(found(signature_in(load(f"{file}.xml")), "Object")) == stated


# Canonical XML: the examples of its specification, where they need no document type (31, 33 and 34 do, 35 is
# of a part of a document chosen by XPath).


def test_white_space_is_kept_as_the_specification_shows() -> None:
    tree = etree.fromstring(load("c14n/32_input.xml"), PlainParser())

    assert canonical(tree) == load("c14n/32_c14n.xml")


def test_other_encodings_end_in_utf_8() -> None:
    # A voucher in ISO 8859-1 is refused; what is canonical is in UTF-8 wherever it comes from.
    tree = etree.fromstring(load("c14n/36_input.xml"), PlainParser())

    assert canonical(tree) == load("c14n/36_c14n.xml")


def test_characters_are_written_as_the_specification_shows() -> None:
    # Without its document type, which makes NMTOKENS and ID of two attributes and trims them: those are cut.
    octets = load("c14n/34_input.xml").partition(b"]>")[2].lstrip()
    wanted = load("c14n/34_c14n.xml")

    written = canonical(etree.fromstring(octets, PlainParser()))

    assert written.partition(b"   <normNames")[0] == wanted.partition(b"   <normNames")[0]


def test_comments_and_their_document_type_aside_the_first_example_holds() -> None:
    octets = load("c14n/31_input.xml").replace(b'<!DOCTYPE doc SYSTEM "doc.dtd">', b"")
    wanted = load("c14n/31_c14n.xml")

    # Of an element, as all that is signed is, and not of a document with what stands around it.
    assert canonical(etree.fromstring(octets, PlainParser())) == wanted.split(b"\n")[2]


def test_an_object_below_a_default_namespace_is_canonical_as_others_have_it() -> None:
    # The very shape of a voucher, where lxml adds xmlns="" to what needs none.
    tree = etree.fromstring(load("c14n/default_ns_redefinition_input.xml"), PlainParser())
    wanted = load("c14n/default_ns_redefinition_c14n.xml")

    assert canonical(tree[0]) == wanted


def test_the_keys_of_valid_ones_are_read_as_they_are_written() -> None:
    for file in [one for one in said_to_be("valid") if one not in OUT_OF_SCOPE] or ["none"]:
        key = key_of(signature_in(load(file)))
        text, value = key_value_of(key)
        written = etree.fromstring(f'<KeyValue xmlns="{DS}">{text}</KeyValue>')

        (one,) = written
        parts = [one[1]] if one.tag == f"{{{DS11}}}ECKeyValue" else list(one)
        read = tuple(base64_of(part) for part in parts)
        assert value == (read[0] if len(parts) == 1 else tuple(map(int.from_bytes, read)))
