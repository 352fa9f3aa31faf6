"""Forged vouchers: each would pass a careless verifier, which each test shows, and none passes ours."""

import copy
import pickle
import socket
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any, Final

import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from lxml import etree

from spkg.common.digests import Digest
from spkg.errors import UntrustedError
from spkg.trust.signers import KeySigner, Signatory
from tests.support.kit import AT, LAST, Certified, authority, certify, name, root
from tests.support.voucher_forge import (
    C14N,
    DS,
    DS11,
    EXCLUSIVE,
    MORE,
    OPTION,
    XMLENC,
    edited,
    figure,
    forge,
    holds,
    key_value,
    number,
    refusal,
)
from tests.support.voucher_kit import (
    IPTV,
    SCHEMES,
    VOUCHER,
    pem,
    policy,
    private_key,
    signatory,
    signed,
    signing_key,
    verified,
)
from vouchers.model import Voucher
from vouchers.signature.shape import read_voucher
from vouchers.signature.sign import VoucherSigner
from vouchers.signature.verify import Verifier, verify_voucher

REFERENCE: Final = "Signature.SignedInfo.Reference"
X509: Final = "Signature.KeyInfo.X509Data"
EC: Final = "Signature.KeyInfo.KeyValue.ECKeyValue"
INFO_PATH: Final = "Signature.SignedInfo"
METHODS: Final = "CanonicalizationMethod, SignatureMethod"
ELSEWHERE: Final = "expected the URI #option1 of the Object at the same position"
SERIAL: Final = "X509IssuerSerial"
P256: Final = "urn:oid:1.2.840.10045.3.1.7"
C3: Final = " [TR-069 C.3]"
TRANSFORM: Final = f'<Transform Algorithm="{C14N}"></Transform>'
METHOD: Final = f'<SignatureMethod Algorithm="{MORE}rsa-sha256"></SignatureMethod>'
SHA256: Final = f'<DigestMethod Algorithm="{XMLENC}sha256"></DigestMethod>'
OBJECT: Final = f'<dsig:Object xmlns="" xmlns:dsig="{DS}" Id="option0">\n{OPTION}\n</dsig:Object>\n'
FORGED: Final = OPTION.replace("IPTV", "EVERYTHING").replace("4001", "6666")
"""What an attacker would like to have signed."""
MINE: Final = OBJECT.replace(OPTION, FORGED)
SECOND: Final = OPTION.replace("4001", "4005").replace("IPTV", "QoS")
INFO: Final = figure().partition("<SignedInfo>")[2].partition("</SignedInfo>")[0]
KEY_INFO: Final = figure().partition("<KeyInfo>\n")[2].partition("</KeyInfo>")[0]
KEY_VALUE: Final = f"<KeyValue>{key_value(signing_key('signer'))}</KeyValue>\n"
GENUINE: Final = forge(figure())
SPKI: Final = signing_key("signer").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
XPATH: Final = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XSLT: Final = "http://www.w3.org/TR/1999/REC-xslt-19991116"
XSL: Final = "http://www.w3.org/1999/XSL/Transform"
C14N_11: Final = "http://www.w3.org/2006/12/xml-c14n11"
Changes = list[tuple[str, str]]


def transform(how: str, inner: str = "") -> str:
    return f'<Transform Algorithm="{how}">{inner}</Transform>'


def rows(table: dict[str, dict[str, Changes]]) -> list[Any]:
    """Return the cases of a table that has them by what is said of them."""
    return [
        pytest.param(changes, problem, id=name_)
        for problem, cases in table.items()
        for name_, changes in cases.items()
    ]


def xmlsec_holds(octets: bytes, who: Signatory | None = None) -> bool:
    """Return what a program in wide use says to the signature, where it is told whose key to take."""
    tree = etree.fromstring(octets)
    xmlsec.tree.add_ids(tree, ["Id"])
    context = xmlsec.SignatureContext()
    certificate = pem((who or signatory()).certificate)
    context.key = xmlsec.Key.from_memory(certificate, xmlsec.constants.KeyDataFormatCertPem)
    signature = xmlsec.tree.find_node(tree, "Signature")
    assert signature is not None
    try:
        context.verify(signature)
    except xmlsec.Error:
        return False
    return True


def first(octets: bytes) -> str | None:
    """Return the name of the Option that a careless reader finds in a document."""
    found: str | None = etree.fromstring(octets).findtext(".//{*}OptionIdent")
    return found


def test_what_is_forged_without_an_attack_is_accepted() -> None:
    # Or the refusals below would prove nothing.
    assert holds(GENUINE)
    assert xmlsec_holds(GENUINE)
    assert verified(GENUINE).voucher == Voucher(options=(IPTV,))


# Comments and processing instructions: Canonical XML leaves comments out, so they can come in later.

INSERTED: Final = [
    ("<OptionIdent>IP", "TV</OptionIdent>", "Signature.Object.Option.OptionIdent", 30),
    ("<SerialNumber>12345", "6789</SerialNumber>", "Signature.Object.Option.DeviceId.SerialNumber", 28),
    ("<OUI>", "00D09E</OUI>", "Signature.Object.Option.DeviceId.OUI", 26),
    ("<Mode>EnableWithExpiration", "</Mode>", "Signature.Object.Option.Mode", 35),
    ("<Option>", "\n<VSerialNum>", "Signature.Object.Option", 22),
    ("\n</Option>", "\n</dsig:Object>", "Signature.Object", 21),
    (' Id="option0">', "\n<Option>", "Signature.Object", 21),
    ("<DigestValue>", "", "Signature.SignedInfo.Reference.DigestValue", 10),
    ("<SignatureValue>", "", "Signature.SignatureValue", 13),
    ("<X509Certificate>", "MII", "Signature.KeyInfo.X509Data.X509Certificate[0]", 17),
    ("<KeyInfo>", "", "Signature.KeyInfo", 14),
    ("<KeyValue>", "", "Signature.KeyInfo.KeyValue", 15),
    ("<Modulus>", "", "Signature.KeyInfo.KeyValue.RSAKeyValue.Modulus", 15),
    ("<X509Data>", "", "Signature.KeyInfo.X509Data", 16),
    ("<Transforms>", "", "Signature.SignedInfo.Reference.Transforms", 6),
    ("<SignedInfo>", "", "Signature.SignedInfo", 2),
    (f'<Transform Algorithm="{C14N}">', "", "Signature.SignedInfo.Reference.Transforms.Transform", 7),
    ("</KeyInfo>\n", "", "Signature", 1),
]
BESIDE: Final = f"FormatError: a processing instruction outside the root{C3}"


@pytest.mark.parametrize(("before", "behind", "element", "line"), INSERTED)
def test_no_comment_comes_in_though_the_signature_holds(
    before: str, behind: str, element: str, line: int
) -> None:
    octets = edited(GENUINE.decode(), (before + behind, f"{before}<!-- -->{behind}")).encode()

    assert holds(octets)
    assert xmlsec_holds(octets)
    assert refusal(octets) == (
        f"FormatError: {element}: contains a comment or processing instruction (line {line}){C3}"
    )


@pytest.mark.parametrize(("before", "behind", "element", "line"), INSERTED)
def test_no_processing_instruction_comes_in_and_none_is_signed(
    before: str, behind: str, element: str, line: int
) -> None:
    octets = forge(edited(figure(), (before + behind, f"{before}<?x y?>{behind}")))

    assert holds(octets)
    assert refusal(octets) == (
        f"FormatError: {element}: contains a comment or processing instruction (line {line}){C3}"
    )


def test_comments_may_stand_beside_the_signature() -> None:
    beside = b"<!-- <Signature/> -->"

    for octets in (beside * 3 + GENUINE + beside, b'<?xml version="1.0"?>\n' + beside + GENUINE):
        assert holds(octets)
        assert xmlsec_holds(octets)
        assert verified(octets).voucher == Voucher(options=(IPTV,))


@pytest.mark.parametrize("node", [b"<?x y?>", b"<!-- --><?x y?><!-- -->"])
def test_nothing_else_stands_beside_the_signature(node: bytes) -> None:
    for octets in (node + GENUINE, GENUINE + node, b'<?xml version="1.0"?>\n' + node + GENUINE):
        assert holds(octets)
        assert xmlsec_holds(octets)
        assert refusal(octets) == BESIDE


@pytest.mark.parametrize("node", ["<!-- -->", "<?x y?>"])
def test_no_comment_stands_for_a_key(node: str) -> None:
    octets = forge(edited(figure(), (key_value(signing_key("signer")), node)))

    assert holds(octets)
    assert refusal(octets) == (
        f"FormatError: Signature.KeyInfo.KeyValue: contains a comment or processing instruction (line 15){C3}"
    )


def test_a_comment_cuts_no_name_in_two() -> None:
    # CVE-2017-11427: signed is one name, and what is read of it ends at the comment.
    octets = forge(edited(figure(), ("<OptionIdent>IPTV", "<OptionIdent>IPTV.test"))).replace(
        b"IPTV.test", b"IPTV<!-- -->.test"
    )

    assert first(octets) == "IPTV"
    assert xmlsec_holds(octets)
    assert refusal(octets) == (
        "FormatError: Signature.Object.Option.OptionIdent:"
        f" contains a comment or processing instruction (line 30){C3}"
    )


def test_a_comment_hides_no_part_of_a_digest() -> None:
    # CVE-2025-29775: read to the comment, the digest is that of another Object.
    mine = forge(figure(FORGED)).decode().partition("<DigestValue>")[2].partition("</DigestValue>")[0]
    octets = edited(
        GENUINE.decode(), ("<DigestValue>", f"<DigestValue>{mine}<!-- -->"), (OPTION, FORGED)
    ).encode()

    assert etree.fromstring(octets).findtext(".//{*}DigestValue") == mine
    assert refusal(octets) == (
        f"FormatError: {REFERENCE}.DigestValue: contains a comment or processing instruction (line 10){C3}"
    )


# Document types: entities, default attributes and files of others.

NO_TYPE: Final = "a document type declaration is not accepted [TR-069 C.3]"
DOCUMENT_TYPES: Final = [
    "<!DOCTYPE Signature>",
    '<!DOCTYPE Signature [<!ENTITY a "b">]>',
    '<!DOCTYPE Signature [<!ATTLIST Mode x CDATA "y">]>',
    "<!DOCTYPE Signature [<!ENTITY % p \"<!ENTITY a 'b'>\"> %p;]>",
    '<!DOCTYPE Signature [<!ENTITY a "b"><!ENTITY c "&a;&a;&a;&a;&a;&a;">]>',
    '<!DOCTYPE Signature SYSTEM "file:///etc/hostname">',
    '<!DOCTYPE Signature PUBLIC "-//a" "file:///etc/hostname">',
    '<!DOCTYPE Signature [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
]


@pytest.mark.parametrize("declared", DOCUMENT_TYPES)
def test_no_document_type_is_taken(declared: str) -> None:
    octets = forge(declared + figure())

    assert holds(octets)
    assert refusal(octets) == f"FormatError: offset 0x0000: {NO_TYPE}"


@pytest.mark.parametrize("declared", DOCUMENT_TYPES)
def test_nor_where_it_is_written_so_that_nobody_sees_it(declared: str) -> None:
    # In UTF-16 without a mark the octets are valid UTF-8, and there is no <!DOCTYPE in them.
    text = f'<?xml version="1.0" encoding="UTF-16BE"?>{forge(declared + figure()).decode()}'
    octets = text.encode("utf-16-be")

    assert octets.decode()
    assert holds(octets)
    assert refusal(octets) == f"FormatError: {NO_TYPE}"


def test_what_an_entity_stands_for_is_never_read() -> None:
    octets = forge(
        '<!DOCTYPE Signature [<!ENTITY a "IPTV">]>'
        + edited(figure(), ("<OptionIdent>IPTV", "<OptionIdent>&a;"))
    )
    hidden = ('<?xml version="1.0" encoding="UTF-16BE"?>' + octets.decode()).encode("utf-16-be")

    assert first(octets) == first(hidden) == "IPTV"
    assert xmlsec_holds(octets)
    assert refusal(octets) == f"FormatError: offset 0x0000: {NO_TYPE}"
    assert refusal(hidden) == f"FormatError: {NO_TYPE}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be"])
@pytest.mark.parametrize(
    "place", ["<OptionIdent>&e{};", 'Id="&e{};"', "<SignatureValue>&e{};", "<KeyInfo>&e{};"]
)
def test_a_bomb_does_not_go_off(encoding: str, place: str) -> None:
    entities = '<!ENTITY e0 "0123456789">' + "".join(
        f'<!ENTITY e{one} "{f"&e{one - 1};" * 10}">' for one in range(1, 10)
    )
    old = place.partition("&")[0]
    text = edited(GENUINE.decode(), (old, place.format(9)))
    declared = '<?xml version="1.0" encoding="UTF-16BE"?>' if encoding != "utf-8" else ""

    said = refusal(f"{declared}<!DOCTYPE Signature [{entities}]>{text}".encode(encoding))

    assert "a document type declaration is not accepted" in said or "malformed XML: " in said


def test_nobody_is_asked_for_an_entity() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/dtd"
        for declared in (
            f'<!DOCTYPE Signature SYSTEM "{place}">',
            f'<!DOCTYPE Signature [<!ENTITY % p SYSTEM "{place}"> %p;]>',
            f'<!DOCTYPE Signature [<!ENTITY x SYSTEM "{place}">]>',
        ):
            text = declared + GENUINE.decode().replace("<OptionIdent>IPTV", "<OptionIdent>&x;")
            refusal(text.encode())
            refusal(f'<?xml version="1.0" encoding="UTF-16BE"?>{text}'.encode("utf-16-be"))

        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (GENUINE.decode().encode("utf-16"), "offset 0x0000: not UTF-8: invalid start byte"),
        (
            GENUINE.decode().encode("utf-16-le"),
            "offset 0x0001: malformed XML: invalid character: Char 0x0 out of allowed range",
        ),
        (
            ('<?xml version="1.0" encoding="UTF-16LE"?>' + GENUINE.decode()).encode("utf-16-le"),
            "expected XML 1.0 in UTF-8, got XML 1.0 in UTF-16LE",
        ),
        (
            b'<?xml version="1.0" encoding="ISO-8859-1"?>' + GENUINE,
            "expected XML 1.0 in UTF-8, got XML 1.0 in ISO-8859-1",
        ),
        (
            b'<?xml version="1.0" encoding="UTF-7"?>' + GENUINE,
            "offset 0x0024: malformed XML: invalid bytes in character encoding",
        ),
        (b'<?xml version="1.1"?>' + GENUINE, "expected XML 1.0 in UTF-8, got XML 1.1 in UTF-8"),
    ],
)
def test_no_other_encoding_of_a_genuine_voucher_is_taken(octets: bytes, problem: str) -> None:
    assert refusal(octets) == f"FormatError: {problem} [TR-069 C.3]"


# What XML-Signature can do besides: each of these is signed in earnest, with the signer's own key.

SIGNED_SHAPES: Final[dict[str, dict[str, Changes]]] = {
    "Signature.SignedInfo.Reference.Transforms: must contain exactly Transform (line 6)": {
        "enveloped": [(TRANSFORM, transform(f"{DS}enveloped-signature") + TRANSFORM)],
        "xpath": [(TRANSFORM, transform(XPATH, "<XPath>true()</XPath>") + TRANSFORM)],
        "xslt-behind": [(TRANSFORM, TRANSFORM + transform(XSLT))],
        "unknown-transform-behind": [(TRANSFORM, TRANSFORM + transform("urn:nothing"))],
        "twice": [(TRANSFORM, TRANSFORM * 2)],
        "no-transform": [(TRANSFORM, "")],
    },
    f"{REFERENCE}.Transforms.Transform: must be Canonical XML 1.0 without comments (line 7)": {
        "enveloped-alone": [(TRANSFORM, transform(f"{DS}enveloped-signature"))],
        "base64": [(TRANSFORM, transform(f"{DS}base64"))],
        "unknown-transform": [(TRANSFORM, transform("urn:nothing"))],
        "exclusive": [(TRANSFORM, transform(EXCLUSIVE))],
        "c14n-1.1": [(TRANSFORM, transform(C14N_11))],
        "with-comments": [(TRANSFORM, transform(f"{C14N}#WithComments"))],
    },
    "Signature.SignedInfo.Reference.Transforms.Transform: must have an Algorithm and no contents (line 7)": {
        "xpath-inside": [(TRANSFORM, TRANSFORM.replace("></", "><XPath>1</XPath></"))],
        "xslt": [
            (TRANSFORM, transform(XSLT, f'<x:stylesheet xmlns:x="{XSL}" version="1.0"></x:stylesheet>'))
        ],
    },
    "Signature.SignedInfo.Reference.Transforms.Transform: the attribute Algorithm is missing (line 7)": {
        "transform-without-algorithm": [(TRANSFORM, "<Transform></Transform>")],
    },
    "Signature.SignedInfo.Reference: must contain exactly Transforms, DigestMethod, DigestValue (line 5)": {
        "no-transforms": [(f"<Transforms>\n{TRANSFORM}\n</Transforms>\n", "")],
    },
    "Signature.SignedInfo.CanonicalizationMethod: must be Canonical XML 1.0 without comments (line 3)": {
        "info-exclusive": [(f'Method Algorithm="{C14N}"', f'Method Algorithm="{EXCLUSIVE}"')],
        "info-c14n-1.1": [(f'Method Algorithm="{C14N}"', f'Method Algorithm="{C14N_11}"')],
        "info-with-comments": [(f'Method Algorithm="{C14N}"', f'Method Algorithm="{C14N}#WithComments"')],
    },
    "Signature.SignedInfo.CanonicalizationMethod: must have an Algorithm and no contents (line 3)": {
        "prefix-list": [
            (
                "</CanonicalizationMethod>",
                f'<i:InclusiveNamespaces xmlns:i="{EXCLUSIVE}"/></CanonicalizationMethod>',
            )
        ],
    },
    "Signature.SignedInfo.SignatureMethod: must have an Algorithm and no contents (line 4)": {
        "text-in-method": [("</SignatureMethod>", "x</SignatureMethod>")],
        "output-length": [("</SignatureMethod>", "<HMACOutputLength>8</HMACOutputLength></SignatureMethod>")],
        "next-line-in-method": [("</SignatureMethod>", "\u0085</SignatureMethod>")],
    },
    "Signature.SignedInfo.Reference.DigestMethod: must have an Algorithm and no contents (line 9)": {
        "text-in-digest-method": [("</DigestMethod>", "x</DigestMethod>")],
    },
    "Voucher: must be a Signature of XML-Signature (line 1)": {
        "whole-document": [
            ("<Signature ", f"<Voucher>{OPTION}<Signature "),
            ("</Signature>", "</Signature></Voucher>"),
            ('URI="#option0"', 'URI=""'),
            (TRANSFORM, transform(f"{DS}enveloped-signature") + TRANSFORM),
        ],
        "wrapped": [("<Signature ", "<Voucher><Signature "), ("</Signature>", "</Signature></Voucher>")],
    },
    f"{REFERENCE}: expected the URI #option0 of the Object at the same position (line 5)": {
        "xpointer": [('URI="#option0"', "URI=\"#xpointer(id('option0'))\"")],
        "reference-to-key-info": [('URI="#option0"', 'URI="#k"'), ("<KeyInfo>", '<KeyInfo Id="k">')],
        "reference-to-option": [('URI="#option0"', 'URI="#o"'), ("<Option>", '<Option Id="o">')],
    },
    "the document has unexpected attributes": {
        "id-of-reference": [("<Reference ", '<Reference Id="r" ')],
        "type-of-reference": [("<Reference ", f'<Reference Type="{DS}Object" ')],
        "id-of-signature": [("<Signature ", '<Signature Id="s" ')],
        "id-of-info": [("<SignedInfo>", '<SignedInfo Id="s">')],
        "id-of-value": [("<SignatureValue>", '<SignatureValue Id="s">')],
        "id-of-key-info": [("<KeyInfo>", '<KeyInfo Id="s">')],
        "id-of-key-name": [("<X509Data>", '<KeyName Id="s">a</KeyName><X509Data>')],
        "id-twice": [("<Option>", '<Option Id="option0">')],
        "id-of-xml": [("<Option>", '<Option xml:id="option0">')],
        "type-of-object": [('Id="option0">', 'Id="option0" MimeType="text/xml">')],
        "base": [("<Signature ", '<Signature xml:base="http://example.org/" ')],
        "language": [("<OptionDesc>", '<OptionDesc xml:lang="en">')],
        "space": [("<Option>", '<Option xml:space="preserve">')],
        "nil": [("<Mode>", '<Mode xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true">')],
        "attribute": [("<Mode>", '<Mode x="1">')],
    },
    "Signature.SignedInfo.Reference: expected the URI #o of the Object at the same position (line 5)": {
        "id-of-option": [('Id="option0">', 'Id="o">'), ("<Option>", '<Option Id="option0">')],
    },
    "Signature.KeyInfo: must contain only KeyName, KeyValue and X509Data (line 14)": {
        "retrieval-method": [
            ("<X509Data>", '<RetrievalMethod URI="http://127.0.0.1/"></RetrievalMethod><X509Data>')
        ],
        "der-encoded-key": [
            (
                KEY_VALUE,
                f'<d:DEREncodedKeyValue xmlns:d="{DS11}">{b64encode(SPKI).decode()}</d:DEREncodedKeyValue>',
            )
        ],
        "key-info-reference": [
            ("<X509Data>", f'<d:KeyInfoReference xmlns:d="{DS11}" URI="#k"></d:KeyInfoReference><X509Data>')
        ],
    },
    "Signature.KeyInfo: must contain one X509Data, and at most one KeyName and one KeyValue (line 14)": {
        "two-key-names": [("<X509Data>", "<KeyName>signer</KeyName>" * 2 + "<X509Data>")],
        "two-x509-data": [("</X509Data>", "</X509Data><X509Data></X509Data>")],
        "two-keys": [(KEY_VALUE, KEY_VALUE * 2)],
        "key-alone": [(KEY_INFO, KEY_VALUE)],
    },
    "Signature.KeyInfo.KeyValue: must contain one key (line 15)": {
        "two-keys-in-one": [("</KeyValue>", f"{key_value(signing_key('other'))}</KeyValue>")],
        "no-key-in-it": [(KEY_VALUE, "<KeyValue></KeyValue>")],
    },
    "Signature.KeyInfo.KeyValue.DHKeyValue: must be RSAKeyValue, DSAKeyValue or ECKeyValue (line 15)": {
        "key-of-another-kind": [(KEY_VALUE, "<KeyValue><DHKeyValue></DHKeyValue></KeyValue>")],
    },
    "Signature.KeyInfo: contains text between its elements (line 14)": {
        "text-in-key-info": [("<KeyInfo>", "<KeyInfo>signer")],
    },
    f"{X509}: must contain only X509IssuerSerial, X509SubjectName and X509Certificate (line 16)": {
        "revocation-list": [("</X509Data>", "<X509CRL>AAAA</X509CRL></X509Data>")],
        "key-identifier": [("<X509Data>", "<X509Data><X509SKI>AAAA</X509SKI>")],
    },
    "Signature.KeyInfo.X509Data: expected 1 to 8 certificates, got 0 (line 16)": {
        "no-certificate": [(KEY_INFO, f"{KEY_VALUE}<X509Data></X509Data>")],
    },
    "Signature.KeyInfo.X509Data: expected 1 to 8 certificates, got 9 (line 16)": {
        "nine-certificates": [("</X509Data>", "<X509Certificate>AAAA</X509Certificate>" * 7 + "</X509Data>")],
    },
    "Signature: expected 1 to 64 Objects, got 0 (line 1)": {
        "no-key-info": [(f"<KeyInfo>\n{KEY_INFO}</KeyInfo>\n", "")],
    },
    "Signature.Object: must contain one Option without a namespace (line 21)": {
        "option-in-a-namespace": [("<Option>", '<Option xmlns="urn:other">')],
        "two-options": [("</Option>", f"</Option>{FORGED}")],
        "option-beside": [("<Option>", "<Extra></Extra><Option>")],
        "no-option": [(OPTION, "")],
        "signature-in-object": [("<Option>", f'<Signature xmlns="{DS}"></Signature><Option>')],
        "manifest": [("<Option>", f'<Manifest xmlns="{DS}"></Manifest><Option>')],
        "properties": [("<Option>", f'<SignatureProperties xmlns="{DS}"></SignatureProperties><Option>')],
    },
    "Signature.Object.Option.Mode: must not have a namespace (line 35)": {
        "mode-in-a-namespace": [("<Mode>", '<Mode xmlns="urn:other">')],
    },
    "Signature: must contain exactly SignedInfo, SignatureValue, KeyInfo, Object (line 1)": {
        "object-of-another-namespace": [
            ("<dsig:Object ", '<o:Object xmlns:o="urn:other" '),
            ("</dsig:Object>", "</o:Object>"),
        ],
    },
    "Signature.Object: must have an Id such as option0 (line 21)": {
        "id-of-digits": [('"#option0"', '"#0"'), ('"option0"', '"0"')],
        "id-of-other-letters": [('"#option0"', '"#\u00e9"'), ('"option0"', '"\u00e9"')],
        "id-with-a-space": [('"#option0"', '"#a b"'), ('"option0"', '"a b"')],
        "id-that-is-long": [('"#option0"', f'"#{"x" * 65}"'), ('"option0"', f'"{"x" * 65}"')],
    },
    "Signature.Object.Option: contains text between its elements (line 22)": {
        "no-break-space-first": [("<Option>", "<Option>\u00a0")],
        "next-line-first": [("<Option>", "<Option>\u0085")],
    },
    "Signature.Object: contains text between its elements (line 21)": {
        "text-in-object": [("<Option>", "text<Option>")],
    },
    "Signature.Object.Option: is followed by text (line 22)": {
        "text-behind-option": [("</Option>", "</Option>text")],
    },
    "Signature.Object.Option.DurationUnits: is followed by text (line 34)": {
        "text-in-option": [("<Mode>", "text<Mode>")],
        "no-break-space-between": [("<Mode>", "\u00a0<Mode>")],
        "next-line-between": [("<Mode>", "\u0085<Mode>")],
    },
    "Signature.SignedInfo.SignatureMethod: is followed by text (line 4)": {
        "text-in-info": [("<Reference ", "text<Reference ")],
    },
    "Signature.SignatureValue: is followed by text (line 13)": {
        "text-behind-value": [("</SignatureValue>", "</SignatureValue>text")],
    },
    "Signature.SignedInfo: is followed by text (line 2)": {
        "next-line-in-signature": [("</SignedInfo>", "</SignedInfo>\u0085")],
    },
    "Signature.Object.Option.Signature: must not have a namespace (line 35)": {
        "signature-in-option": [("<Mode>", f'<Signature xmlns="{DS}"></Signature><Mode>')],
    },
    "Object: has no canonical form: C14N failed": {
        "relative-namespace": [('Id="option0">', 'Id="option0" xmlns:r="relative">')],
    },
    "SignedInfo: has no canonical form: C14N failed": {
        "relative-namespace-of-info": [("<SignedInfo>", '<SignedInfo xmlns:r="../relative">')],
        "relative-namespace-of-all": [("<Signature ", '<Signature xmlns:r="relative" ')],
    },
    "Signature: must be a Signature of XML-Signature (line 1)": {
        "signature-of-another-namespace": [
            ('<Signature xmlns="', '<o:Signature xmlns:o="urn:o" xmlns="'),
            ("</Signature>", "</o:Signature>"),
        ],
    },
    f"{X509}.X509SubjectName: must contain only text (line 16)": {
        "object-in-subject": [("<X509Data>", "<X509Data><X509SubjectName><Object/></X509SubjectName>")],
        "signature-in-subject": [
            (
                "<X509Data>",
                "<X509Data><X509SubjectName><Signature><SignedInfo/></Signature></X509SubjectName>",
            )
        ],
    },
    f"{X509}.X509IssuerSerial: must contain exactly X509IssuerName, X509SerialNumber (line 16)": {
        "text-in-issuer": [("<X509Data>", "<X509Data><X509IssuerSerial>a</X509IssuerSerial>")],
        "certificate-in-issuer": [
            (
                "<X509Data>",
                "<X509Data><X509IssuerSerial><X509Certificate>AAAA</X509Certificate></X509IssuerSerial>",
            )
        ],
    },
    f"{X509}.X509IssuerSerial.X509IssuerName: must contain only text (line 16)": {
        "object-in-issuer": [
            (
                "<X509Data>",
                f"<X509Data><{SERIAL}><X509IssuerName><Object/></X509IssuerName><X509SerialNumber/></{SERIAL}>",
            )
        ],
    },
    f"{X509}: must contain X509IssuerSerial and X509SubjectName at most once (line 16)": {
        "two-subjects": [("<X509Data>", "<X509Data>" + "<X509SubjectName>a</X509SubjectName>" * 2)],
        "two-issuers": [
            (
                "<X509Data>",
                "<X509Data>"
                + "<X509IssuerSerial><X509IssuerName/><X509SerialNumber/></X509IssuerSerial>" * 2,
            )
        ],
    },
    "Signature: must contain exactly SignedInfo, SignatureValue, KeyInfo, Object, Object (line 1)": {
        "two-values": [("<KeyInfo>", "<SignatureValue>AAAA</SignatureValue><KeyInfo>")],
        "two-key-infos": [("</KeyInfo>", f"</KeyInfo><KeyInfo>{KEY_INFO}</KeyInfo>")],
        "stranger-behind-object": [("</Signature>", "<Extra></Extra></Signature>")],
    },
}


@pytest.mark.parametrize(("changes", "problem"), rows(SIGNED_SHAPES))
def test_a_genuine_signature_excuses_no_other_shape(changes: Changes, problem: str) -> None:
    octets = forge(edited(figure(), *changes))

    assert holds(octets)
    assert refusal(octets) == f"FormatError: {problem} [TR-069 C.3]"


# Wrapping: the signature holds for the Option that was signed, and a careless reader finds another.

WRAPPED: Final[dict[str, dict[str, Changes]]] = {
    f"{INFO_PATH}: must contain exactly {METHODS}, Reference, Reference (line 2)": {
        "unsigned-neighbour": [(OBJECT, MINE.replace("option0", "evil") + OBJECT)],
        "unsigned-neighbour-behind": [(OBJECT, OBJECT + MINE.replace("option0", "option1"))],
    },
    "Signature.Object[0]: the attribute Id is missing (line 21)": {
        "unsigned-neighbour-without-id": [(OBJECT, MINE.replace(' Id="option0"', "") + OBJECT)],
    },
    "Signature: the Ids of the Objects must differ (line 1)": {
        "duplicate-id": [(OBJECT, OBJECT + MINE)],
    },
    "Signature.Object[1]: must contain one Option without a namespace (line 38)": {
        "duplicate-id-in-another-namespace": [(OBJECT, f'{OBJECT}<Object Id="option0">{FORGED}</Object>')],
    },
    "Signature.Object: must contain one Option without a namespace (line 21)": {
        "moved-into-object": [(OBJECT, MINE.replace("option0", "evil").replace(FORGED, FORGED + OBJECT))],
        "moved-into-nested-signature": [
            (
                OBJECT,
                MINE.replace("option0", "evil").replace(
                    FORGED, f'{FORGED}<Signature xmlns="{DS}">{OBJECT}</Signature>'
                ),
            )
        ],
    },
    "Signature.Object.Option.Object: must not have a namespace (line 36)": {
        "moved-into-option": [
            (OBJECT, MINE.replace("option0", "evil").replace("</Option>", f"{OBJECT}</Option>"))
        ],
    },
    "Signature.SignedInfo.Reference: expected the URI #evil of the Object at the same position (line 5)": {
        "moved-into-key-info": [
            (OBJECT, MINE.replace("option0", "evil")),
            ("</KeyInfo>", f"{OBJECT}</KeyInfo>"),
        ],
        "moved-into-x509-data": [
            (OBJECT, MINE.replace("option0", "evil")),
            ("</X509Data>", f"{OBJECT}</X509Data>"),
        ],
        "moved-into-subject": [
            (OBJECT, MINE.replace("option0", "evil")),
            ("</X509Data>", f"<X509SubjectName>{OBJECT}</X509SubjectName></X509Data>"),
        ],
        "moved-into-key-name": [
            (OBJECT, MINE.replace("option0", "evil")),
            ("<X509Data>", f"<KeyName>{OBJECT}</KeyName><X509Data>"),
        ],
        "moved-into-signature-value": [
            (OBJECT, MINE.replace("option0", "evil")),
            ("</SignatureValue>", f"{OBJECT}</SignatureValue>"),
        ],
    },
    "Signature.KeyInfo.X509Data.X509SubjectName: must contain only text (line 16)": {
        "the-same-id-in-subject": [
            (OBJECT, MINE),
            ("<X509Data>", f"<X509Data><X509SubjectName>{OBJECT}</X509SubjectName>"),
        ],
    },
    "Signature.KeyInfo.KeyName: must contain only text (line 16)": {
        "the-same-id-in-key-name": [
            (OBJECT, MINE),
            ("<X509Data>", f"<KeyName>{OBJECT}</KeyName><X509Data>"),
        ],
    },
    f"{X509}.X509IssuerSerial: must contain exactly X509IssuerName, X509SerialNumber (line 16)": {
        "the-same-id-in-issuer": [
            (OBJECT, MINE),
            ("<X509Data>", f"<X509Data><X509IssuerSerial>{OBJECT}</X509IssuerSerial>"),
        ],
    },
    "Signature.SignatureValue.Object: is followed by text (line 13)": {
        "the-same-id-in-signature-value": [
            (OBJECT, MINE),
            ("<SignatureValue>", f"<SignatureValue>{OBJECT}"),
        ],
    },
    "Signature.KeyInfo: must contain only KeyName, KeyValue and X509Data (line 14)": {
        "the-same-id-in-key-info": [(OBJECT, MINE), ("<KeyInfo>", f"<KeyInfo>{OBJECT}")],
    },
    "Voucher: must be a Signature of XML-Signature (line 1)": {
        "root-of-another-kind": [
            ("<Signature ", f"<Voucher>{FORGED}<Signature "),
            ("</Signature>", "</Signature></Voucher>"),
        ],
    },
    "Signature: must contain exactly SignedInfo, SignatureValue, KeyInfo, Object, Object (line 1)": {
        "signature-within-a-signature": [
            ("<Signature ", f'<Signature xmlns="{DS}"><Signature '),
            ("</Signature>", f"</Signature><SignedInfo/><SignatureValue/><KeyInfo/>{MINE}</Signature>"),
        ],
    },
}


@pytest.mark.parametrize(("changes", "problem"), rows(WRAPPED))
def test_no_wrapped_signature_is_taken(changes: Changes, problem: str) -> None:
    octets = edited(GENUINE.decode(), *changes).encode()

    assert holds(octets)
    assert "EVERYTHING" in {one.text for one in etree.fromstring(octets).iter("{*}OptionIdent")}
    assert refusal(octets) == f"FormatError: {problem} [TR-069 C.3]"


def test_a_nested_signature_that_holds_is_not_looked_for() -> None:
    outer = edited(figure(FORGED), ("?signature?", b64encode(bytes(256)).decode()), ("?digest?", "AAAA"))
    octets = edited(outer, ("</Mode>\n</Option>", f"</Mode>\n{GENUINE.decode()}</Option>")).encode()

    assert first(octets) == "EVERYTHING"
    assert (
        refusal(octets)
        == "FormatError: Signature.Object.Option.Signature: must not have a namespace (line 36) [TR-069 C.3]"
    )


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (
            (1, 0),
            f"{REFERENCE}[0]: expected the URI #option0 of the Object at the same position (line 5)",
        ),
        (
            (0, 0),
            f"{REFERENCE}[1]: expected the URI #option1 of the Object at the same position (line 12)",
        ),
        (
            (1, 1),
            f"{REFERENCE}[0]: expected the URI #option0 of the Object at the same position (line 5)",
        ),
    ],
)
def test_reference_i_belongs_to_object_i(order: tuple[int, int], problem: str) -> None:
    # CVE-2026-33487: the digest of one is compared with that of another.
    text = figure(OPTION, SECOND).replace('"#option0"', '"#first"').replace('"#option1"', '"#second"')
    for name_, number_ in zip(("first", "second"), order, strict=True):
        text = text.replace(f'"#{name_}"', f'"#option{number_}"')
    octets = forge(text)

    assert holds(octets)
    assert refusal(octets) == f"FormatError: {problem} [TR-069 C.3]"


def test_an_object_that_changes_places_is_not_what_was_signed() -> None:
    octets = forge(figure(OPTION, SECOND)).decode()
    objects = octets.partition("</KeyInfo>\n")[2].removesuffix("</Signature>\n")
    half = objects.index("<dsig:Object ", 1)
    swapped = octets.replace(objects, objects[half:] + objects[:half]).encode()

    assert holds(swapped)
    assert xmlsec_holds(swapped)
    assert refusal(swapped) == f"FormatError: {REFERENCE}[0]: {ELSEWHERE} (line 5){C3}"


def test_no_more_references_than_objects() -> None:
    reference = "<Reference" + INFO.partition("<Reference")[2]
    octets = forge(edited(figure(), (reference, reference * 2)))

    assert holds(octets)
    assert (
        refusal(octets) == f"FormatError: {INFO_PATH}: must contain exactly {METHODS}, Reference (line 2){C3}"
    )


def test_no_object_without_a_reference() -> None:
    octets = forge(
        edited(figure(), (OBJECT, OBJECT + OBJECT.replace("option0", "option1").replace("IPTV", "QoS")))
    )

    assert holds(octets)
    assert (
        refusal(octets)
        == f"FormatError: {INFO_PATH}: must contain exactly {METHODS}, Reference, Reference (line 2){C3}"
    )


def test_no_manifest_stands_between_signature_and_objects() -> None:
    # What a Manifest lists is not validated by whoever validates the signature.
    reference = "<Reference" + INFO.partition("<Reference")[2]
    inner = reference.replace("?digest?", b64encode(bytes(32)).decode())
    manifest = f'<Object Id="m"><Manifest>{inner}</Manifest></Object>'
    octets = forge(
        edited(figure(FORGED), ('URI="#option0"', 'URI="#m"'), ("<dsig:Object ", f"{manifest}<dsig:Object "))
    )

    assert holds(octets)
    assert xmlsec_holds(octets)
    assert (
        refusal(octets)
        == f"FormatError: Signature.Object[0]: must contain one Option without a namespace (line 21){C3}"
    )


@pytest.mark.parametrize(
    ("info", "place", "problem"),
    [
        (
            0,
            "<SignatureValue>",
            "Signature: must contain exactly SignedInfo, SignatureValue, KeyInfo, Object, Object (line 1)",
        ),
        (
            1,
            "<SignedInfo>",
            "Signature: must contain exactly SignedInfo, SignatureValue, KeyInfo, Object, Object (line 1)",
        ),
        (
            0,
            "</Signature>",
            "Signature: must contain exactly SignedInfo, SignatureValue, KeyInfo, Object, Object (line 1)",
        ),
        (0, "</KeyInfo>", "Signature.KeyInfo: must contain only KeyName, KeyValue and X509Data (line 14)"),
    ],
)
def test_no_second_signed_info_confuses(info: int, place: str, problem: str) -> None:
    # CVE-2025-29774: one is validated, and the digests are taken from another.
    mine = forge(figure(FORGED)).decode()
    other = (
        "<SignedInfo>" + mine.partition("<SignedInfo>")[2].partition("</SignedInfo>")[0] + "</SignedInfo>\n"
    )
    octets = edited(GENUINE.decode(), (place, other + place)).encode()

    assert holds(octets, info=info)
    assert refusal(octets) == f"FormatError: {problem} [TR-069 C.3]"


# What Canonical XML makes of namespaces.


def test_a_declaration_that_came_in_later_is_seen() -> None:
    octets = edited(GENUINE.decode(), ('Id="option0">', 'Id="option0" xmlns:x="urn:x">')).encode()
    outer = edited(GENUINE.decode(), ("<Signature ", '<Signature xmlns:x="urn:x" ')).encode()

    assert refusal(octets) == "UntrustedError: Signature.Object[0]: contents do not match the signed digest"
    assert refusal(outer) == "UntrustedError: the signature of CN=Voucher Signer is not valid"


def test_text_that_looks_like_a_declaration_is_text() -> None:
    # signxml's excise_empty_xmlns_declarations takes it out of what it digests: it could come in unseen.
    octets = edited(GENUINE.decode(), ("<OptionIdent>IPTV", '<OptionIdent>IP xmlns=""TV')).encode()
    signed_so = forge(edited(figure(), ("<OptionIdent>IPTV", '<OptionIdent>IP xmlns=""TV')))

    assert octets.replace(b' xmlns=""', b"") == GENUINE.replace(b' xmlns=""', b"")
    assert refusal(octets) == "UntrustedError: Signature.Object[0]: contents do not match the signed digest"
    assert verified(signed_so).voucher.options == (replace(IPTV, ident='IP xmlns=""TV'),)


def test_without_its_empty_namespace_an_option_is_another() -> None:
    octets = edited(GENUINE.decode(), ('<dsig:Object xmlns="" ', "<dsig:Object ")).encode()

    assert (
        refusal(octets)
        == "FormatError: Signature.Object: must contain one Option without a namespace (line 21) [TR-069 C.3]"
    )


def test_a_failed_canonical_form_is_not_an_empty_one() -> None:
    # CVE-2025-66568: digests of nothing, and a signature over nothing, where Canonical XML fails.
    key = signing_key("signer")
    assert isinstance(key, rsa.RSAPrivateKey)
    empty = b64encode(key.sign(b"", padding.PKCS1v15(), hashes.SHA256())).decode()
    nothing = b64encode(Digest.SHA256.of(b"")).decode()
    text = edited(figure(FORGED), ("<Signature ", '<Signature xmlns:r="relative" '), ("?digest?", nothing))
    octets = edited(text, ("?signature?", empty)).encode()

    assert refusal(octets) == "FormatError: SignedInfo: has no canonical form: C14N failed [TR-069 C.3]"


def test_an_empty_digest_is_that_of_nothing() -> None:
    octets = forge(edited(figure(), ("?digest?", "")))

    assert refusal(octets) == "UntrustedError: Signature.Object[0]: contents do not match the signed digest"


# Keys: whose they are, and what else says so.

STRANGER: Final = replace(
    signatory("other"), certificate=certify("Voucher Signer", with_key="other").certificate
)
"""An attacker, with a certificate of his own in the signer's name."""


def rsa_value(n: int, e: int) -> str:
    return f"<RSAKeyValue><Modulus>{number(n)}</Modulus><Exponent>{number(e)}</Exponent></RSAKeyValue>"


def test_a_key_that_is_not_that_of_the_certificate_is_refused() -> None:
    # CVE-2021-21239: the key in KeyValue signs, and the certificate of somebody else is believed.
    octets = forge(
        edited(figure(FORGED), (KEY_VALUE, f"<KeyValue>{key_value(private_key(STRANGER))}</KeyValue>")),
        STRANGER,
    )

    assert holds(octets, STRANGER)
    assert xmlsec_holds(octets, STRANGER)
    assert refusal(octets) == "UntrustedError: KeyValue is not the key of the certificate [TR-069 C.3]"


def test_nor_does_a_key_of_another_help_where_the_signature_is_genuine() -> None:
    octets = edited(
        GENUINE.decode(), (KEY_VALUE, f"<KeyValue>{key_value(private_key(STRANGER))}</KeyValue>")
    ).encode()

    assert holds(octets)
    assert xmlsec_holds(octets)
    assert refusal(octets) == "UntrustedError: KeyValue is not the key of the certificate [TR-069 C.3]"


@pytest.mark.parametrize("which", range(2))
def test_each_number_of_an_rsa_key_counts(which: int) -> None:
    key = signing_key("signer")
    assert isinstance(key, rsa.RSAPrivateKey)
    numbers = [key.public_key().public_numbers().n, key.public_key().public_numbers().e]
    numbers[which] += 2
    octets = edited(GENUINE.decode(), (key_value(key), rsa_value(*numbers))).encode()

    assert holds(octets)
    assert refusal(octets) == "UntrustedError: KeyValue is not the key of the certificate [TR-069 C.3]"


@pytest.mark.parametrize("name_", ["P", "Q", "G", "Y"])
@pytest.mark.parametrize(("which", "digest"), [("dsa2048", Digest.SHA256), ("dsa1024", Digest.SHA1)])
def test_each_number_of_a_dsa_key_counts(which: str, digest: Digest, name_: str) -> None:
    # signxml leaves out Y, which alone tells two keys of one domain apart.
    who = signatory(which)
    octets = forge(figure(who=who, digest=digest), who).decode()
    value = octets.partition(f"<{name_}>")[2].partition(f"</{name_}>")[0]
    other = number(int.from_bytes(b64decode(value)) ^ 2)
    octets_of_other = edited(octets, (f"<{name_}>{value}", f"<{name_}>{other}")).encode()

    assert holds(octets_of_other, who)
    assert (
        refusal(octets_of_other, digest)
        == "UntrustedError: KeyValue is not the key of the certificate [TR-069 C.3]"
    )


@pytest.mark.parametrize("position", [0, 1, 32, 33, 64])
def test_each_octet_of_a_point_counts(position: int) -> None:
    who = signatory("p256")
    octets = forge(figure(who=who), who).decode()
    value = octets.partition("<e:PublicKey>")[2].partition("</e:PublicKey>")[0]
    point = bytearray(b64decode(value))
    point[position] ^= 1
    other = edited(octets, (value, b64encode(point).decode())).encode()

    assert holds(other, who)
    assert refusal(other) == "UntrustedError: KeyValue is not the key of the certificate [TR-069 C.3]"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            [("10045.3.1.7", "10045.3.1.8")],
            f"{EC}.NamedCurve: must have the URI urn:oid:1.2.840.10045.3.1.7 and no contents (line 15)",
        ),
        (
            [(' URI="urn:oid:1.2.840.10045.3.1.7"', "")],
            "Signature.KeyInfo.KeyValue.ECKeyValue.NamedCurve: the attribute URI is missing (line 15)",
        ),
        (
            [("</e:NamedCurve>", "x</e:NamedCurve>")],
            f"{EC}.NamedCurve: must have the URI urn:oid:1.2.840.10045.3.1.7 and no contents (line 15)",
        ),
        (
            [("e:NamedCurve", "e:ECParameters"), ("</e:NamedCurve", "</e:ECParameters")],
            "Signature.KeyInfo.KeyValue.ECKeyValue: must contain NamedCurve and PublicKey (line 15)",
        ),
        (
            [("</e:PublicKey>", "</e:PublicKey><e:PublicKey>AAAA</e:PublicKey>")],
            "Signature.KeyInfo.KeyValue.ECKeyValue: must contain NamedCurve and PublicKey (line 15)",
        ),
        ([("<e:PublicKey>", '<e:PublicKey x="y">')], "the document has unexpected attributes"),
    ],
)
def test_a_curve_is_named_and_it_is_the_one_taken(changes: Changes, problem: str) -> None:
    # CVE-2026-26007 and its like: a curve in parameters of its own, or another one of the same size.
    who = signatory("p256")
    octets = forge(edited(figure(who=who), *changes), who)

    assert holds(octets, who)
    assert refusal(octets) == f"FormatError: {problem} [TR-069 C.3]"


def test_a_compressed_point_is_another_text_for_the_same_key() -> None:
    who = signatory("p256")
    key = who.key.public_key
    assert isinstance(key, ec.EllipticCurvePublicKey)
    long, short = (
        b64encode(key.public_bytes(Encoding.X962, form)).decode()
        for form in (PublicFormat.UncompressedPoint, PublicFormat.CompressedPoint)
    )
    octets = forge(edited(figure(who=who), (long, short)), who)

    assert holds(octets, who)
    assert refusal(octets) == "UntrustedError: KeyValue is not the key of the certificate [TR-069 C.3]"


def test_the_first_certificate_is_the_signers_wherever_others_stand() -> None:
    # The attacker's key, with the certificate of the genuine signer beside his own.
    text = figure(FORGED, who=STRANGER, keyed=False)
    mine = text.partition("<X509Certificate>")[2].partition("</X509Certificate>")[0]
    theirs = figure().partition("<X509Certificate>")[2].partition("</X509Certificate>")[0]
    behind = forge(edited(text, (mine, f"{mine}</X509Certificate><X509Certificate>{theirs}")), STRANGER)
    before = forge(edited(text, (mine, f"{theirs}</X509Certificate><X509Certificate>{mine}")), STRANGER)

    assert holds(behind, STRANGER)
    assert refusal(behind) == "UntrustedError: CN=Voucher Signer: self-signed certificate"
    assert holds(before, STRANGER)
    assert refusal(before) == "UntrustedError: the signature of CN=Voucher Signer is not valid"


@pytest.mark.parametrize("keyed", [None, STRANGER, signatory()], ids=["no key", "their key", "the key"])
def test_wherever_certificates_stand_an_attacker_gains_nothing(keyed: Signatory | None) -> None:
    # Theirs are an authority in the name of the root, and a leaf of it in the name of the signer.
    false = authority("Test Root", with_key="other", serial=1)
    leaf = certify("Voucher Signer", false, with_key="second", serial=4000)
    who = Signatory(key=KeySigner(leaf.key), certificate=leaf.certificate, chain=(false.certificate,))
    pool = (leaf.certificate, false.certificate, signatory().certificate, root().certificate)
    mine = Signatory(key=KeySigner(signing_key("second")), certificate=leaf.certificate, chain=())
    value = "" if keyed is None else key_value(private_key(mine if keyed is STRANGER else keyed))
    text = figure(FORGED, who=who, keyed=False)
    data = text[text.index("<X509Certificate>") : text.index("</X509Data>")]

    for order in permutations(pool):
        given = "".join(
            f"<X509Certificate>{b64encode(one.public_bytes(Encoding.DER)).decode()}</X509Certificate>"
            for one in order
        )
        shown = edited(
            text, (data, given), ("<X509Data>", f"<KeyName>root</KeyName>{value_of(value)}<X509Data>")
        )
        octets = forge(shown, who)

        assert holds(octets, who)
        assert refusal(octets).startswith("UntrustedError: ")


def value_of(key: str) -> str:
    return f"<KeyValue>{key}</KeyValue>" if key else ""


@pytest.mark.parametrize("keyed", [False, True], ids=["no key", "keyed"])
def test_certificates_may_come_in_any_order(*, keyed: bool) -> None:
    middle = authority("Middle", root(), with_key="second", serial=2)
    leaf = certify("Voucher Signer", middle)
    who = Signatory(
        key=KeySigner(leaf.key), certificate=leaf.certificate, chain=(middle.certificate, root().certificate)
    )
    text = figure(who=who, keyed=keyed)
    data = text[text.index("<X509Certificate>") : text.index("</X509Data>")]

    for order in permutations((who.certificate, *who.chain)):
        given = "".join(
            f"<X509Certificate>{b64encode(one.public_bytes(Encoding.DER)).decode()}</X509Certificate>"
            for one in order
        )
        trusted = verified(forge(edited(text, (data, given)), who))

        assert trusted.path == (who.certificate, *who.chain)


def test_where_two_certificates_may_be_the_signers_it_is_the_first() -> None:
    other = certify("Voucher Signer", root(), with_key="second", serial=4001)
    text = figure(keyed=False)
    mine = text.partition("<X509Certificate>")[2].partition("</X509Certificate>")[0]
    more = b64encode(other.der).decode()
    first = forge(edited(text, (mine, f"{mine}</X509Certificate><X509Certificate>{more}")))
    last = forge(edited(text, (mine, f"{more}</X509Certificate><X509Certificate>{mine}")))

    assert verified(first).voucher == Voucher(options=(IPTV,))
    assert refusal(last) == "UntrustedError: the signature of CN=Voucher Signer is not valid"


@pytest.mark.parametrize("text", ["", "signer", "CN=Nobody", "x" * 1000])
def test_a_key_name_is_taken_and_means_nothing(text: str) -> None:
    octets = forge(edited(figure(), ("<X509Data>", f"<KeyName>{text}</KeyName><X509Data>")))

    assert holds(octets)
    assert xmlsec_holds(octets)
    assert verified(octets).signer == signatory().certificate


def test_a_certificate_in_the_name_of_the_signer_is_not_his() -> None:
    octets = forge(figure(FORGED, who=STRANGER), STRANGER)

    assert holds(octets, STRANGER)
    assert refusal(octets) == "UntrustedError: CN=Voucher Signer: self-signed certificate"
    assert (
        refusal(octets, signers=frozenset({"Voucher Signer"}))
        == "UntrustedError: CN=Voucher Signer: self-signed certificate"
    )


def test_names_in_x509_data_say_nothing() -> None:
    # The certificate speaks: what stands beside it is neither compared nor believed.
    said = (
        "<X509IssuerSerial><X509IssuerName>CN=Nobody</X509IssuerName><X509SerialNumber>1</X509SerialNumber>"
    )
    octets = forge(
        edited(
            figure(),
            ("<X509Data>", f"<X509Data>{said}</X509IssuerSerial><X509SubjectName>CN=God</X509SubjectName>"),
        )
    )

    trusted = verified(octets)

    assert trusted.signer == signatory().certificate
    assert (
        refusal(octets, signers=frozenset({"CN=God"}))
        == "UntrustedError: CN=Voucher Signer is not one of the accepted signers"
    )


@pytest.mark.parametrize("secret", [b"", b"secret", SPKI, pem(signatory().certificate)])
@pytest.mark.parametrize("method", [f"{DS}hmac-sha1", f"{MORE}hmac-sha256"])
def test_a_public_key_is_no_secret(secret: bytes, method: str) -> None:
    # CVE-2025-48994: HMAC, whose key everybody knows.
    octets = forge(edited(figure(FORGED), (f"{MORE}rsa-sha256", method)), secret=secret)

    assert holds(octets, secret=secret)
    assert refusal(octets) == f"UntrustedError: the SignatureMethod {method} is not accepted"


@pytest.mark.parametrize("bits", [0, 8, 160])
def test_a_truncated_hmac_is_none(bits: int) -> None:
    # CVE-2009-0217: a signature of no bits is easily found.
    length = f"<HMACOutputLength>{bits}</HMACOutputLength>"
    short = f'<SignatureMethod Algorithm="{DS}hmac-sha1">{length}</SignatureMethod>'
    octets = forge(edited(figure(FORGED), (METHOD, short)), secret=b"")

    assert holds(octets, secret=b"")
    assert (
        refusal(octets)
        == f"FormatError: {INFO_PATH}.SignatureMethod: must have an Algorithm and no contents (line 4){C3}"
    )


# Algorithms: one table of what is taken, and nothing beside it.


@pytest.mark.parametrize(
    ("which", "method"),
    [
        ("signer", f"{MORE}rsa-md5"),
        ("signer", f"{MORE}rsa-sha384"),
        ("signer", f"{MORE}rsa-sha512"),
        ("signer", "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"),
        ("p256", f"{MORE}ecdsa-sha1"),
        ("p256", f"{MORE}ecdsa-sha384"),
        ("p384", f"{MORE}ecdsa-sha384"),
    ],
)
def test_no_other_method_is_taken(which: str, method: str) -> None:
    who = signatory(which)
    text = figure(who=who, keyed=False)
    old = text.partition('<SignatureMethod Algorithm="')[2].partition('"')[0]
    octets = forge(edited(text, (old, method)), who)

    assert holds(octets, who)
    assert refusal(octets, *Digest) == f"UntrustedError: the SignatureMethod {method} is not accepted"


@pytest.mark.parametrize(
    ("which", "method", "hashed", "problem"),
    [
        # q of 256 bits, and a signature cut to its first 160: two strengths in one.
        (
            "dsa2048",
            f"{DS}dsa-sha1",
            f"{DS}sha1",
            "UntrustedError: a DSA key for sha1 needs 1024/2048/3072 bits and a q of 160, got 2048 and 256",
        ),
        (
            "dsa1024",
            f"{DS11}dsa-sha256",
            f"{XMLENC}sha256",
            "UntrustedError: a DSA key for sha256 needs 1024/2048/3072 bits and a q of 256, got 1024 and 160",
        ),
        (
            "dsa2048q224",
            f"{DS11}dsa-sha256",
            f"{XMLENC}sha256",
            "UntrustedError: a DSA key for sha256 needs 1024/2048/3072 bits and a q of 256, got 2048 and 224",
        ),
        (
            "dsa2048q224",
            f"{DS}dsa-sha1",
            f"{DS}sha1",
            "UntrustedError: a DSA key for sha1 needs 1024/2048/3072 bits and a q of 160, got 2048 and 224",
        ),
        (
            "p384",
            f"{MORE}ecdsa-sha256",
            f"{XMLENC}sha256",
            "UntrustedError: expected an ECDSA key on P-256 with sha256, got secp384r1 with sha256",
        ),
        (
            "tiny",
            f"{MORE}rsa-sha256",
            f"{XMLENC}sha256",
            "UntrustedError: expected an RSA key of 1024 to 8192 bits, got 512",
        ),
        (
            "exponent3",
            f"{MORE}rsa-sha256",
            f"{XMLENC}sha256",
            "UntrustedError: expected an RSA key with an odd exponent from 65537 to 4294967297, got 3",
        ),
    ],
)
def test_no_key_of_another_size_is_taken(which: str, method: str, hashed: str, problem: str) -> None:
    who = signatory(which)
    text = figure(who=who, keyed=False)
    old = text.partition('<SignatureMethod Algorithm="')[2].partition('"')[0]
    octets = forge(edited(text, (old, method), (f"{XMLENC}sha256", hashed)), who)

    assert holds(octets, who)
    assert refusal(octets, *Digest) == problem


@pytest.mark.parametrize(
    ("digest", "hashed", "problem"),
    [
        (
            Digest.SHA256,
            f"{DS}sha1",
            f"UntrustedError: expected the DigestMethod of the signature, sha256, got {DS}sha1",
        ),
        (
            Digest.SHA1,
            f"{XMLENC}sha256",
            f"UntrustedError: expected the DigestMethod of the signature, sha1, got {XMLENC}sha256",
        ),
        (
            Digest.SHA256,
            f"{MORE}md5",
            f"UntrustedError: expected the DigestMethod of the signature, sha256, got {MORE}md5",
        ),
        (
            Digest.SHA256,
            f"{XMLENC}sha512",
            f"UntrustedError: expected the DigestMethod of the signature, sha256, got {XMLENC}sha512",
        ),
    ],
)
def test_no_digest_is_weaker_than_that_of_the_signature(digest: Digest, hashed: str, problem: str) -> None:
    text = figure(OPTION, SECOND, digest=digest)
    second = text.rindex("<DigestMethod")
    octets = forge(
        text[:second]
        + edited(text[second:], (f"{XMLENC}sha256" if digest is Digest.SHA256 else f"{DS}sha1", hashed))
    )

    assert holds(octets)
    assert refusal(octets, *Digest) == problem


@pytest.mark.parametrize(("which", "digest"), SCHEMES[3:])
def test_the_form_of_2004_is_taken_where_the_policy_says_so(which: str, digest: Digest) -> None:
    octets = signed(which=which, digest=digest)

    with pytest.raises(UntrustedError) as caught:
        verified(octets)

    assert str(caught.value) == "a signature with sha1 is not accepted"
    assert caught.value.hint == "use --digests sha1,sha256 to accept the form of 2004"
    assert verified(octets, Digest.SHA1).digest is Digest.SHA1


def test_nor_the_other_way_round() -> None:
    with pytest.raises(UntrustedError) as caught:
        verified(GENUINE, Digest.SHA1)

    assert str(caught.value) == "a signature with sha256 is not accepted"
    assert caught.value.hint is None


def test_a_key_signs_by_its_own_method_only() -> None:
    octets = edited(GENUINE.decode(), (f"{MORE}rsa-sha256", f"{MORE}ecdsa-sha256")).encode()

    assert refusal(octets) == "UntrustedError: the signature does not fit the key of CN=Voucher Signer"


def test_a_key_of_no_kind_that_signs_vouchers_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("Voucher Signer"))
        .issuer_name(root().certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(AT - timedelta(days=1))
        .not_valid_after(LAST)
        .sign(root().key, hashes.SHA256())
    )
    octets = forge(figure(who=replace(signatory(), certificate=certificate), keyed=False))

    assert holds(octets)
    assert refusal(octets) == "UntrustedError: the key must be RSA, DSA or ECDSA"


# Signatures: one form for each key.


@pytest.mark.parametrize(
    ("which", "digest", "width"),
    [
        ("dsa1024", Digest.SHA1, 128),  # as signxml writes it, of the size of p
        ("dsa1024", Digest.SHA1, 21),
        ("dsa2048", Digest.SHA256, 256),
        ("dsa2048", Digest.SHA256, 33),
        ("p256", Digest.SHA256, 33),
        ("p256", Digest.SHA256, 66),
    ],
)
def test_no_signature_is_padded(which: str, digest: Digest, width: int) -> None:
    who = signatory(which)
    octets = forge(figure(who=who, digest=digest), who, width=width)

    assert holds(octets, who)
    assert (
        refusal(octets, *Digest) == "UntrustedError: the signature does not fit the key of CN=Voucher Signer"
    )


@pytest.mark.parametrize(("which", "digest"), SCHEMES)
@pytest.mark.parametrize("extra", ["before", "behind", "less", "none"])
def test_no_signature_is_longer_or_shorter(which: str, digest: Digest, extra: str) -> None:
    who = signatory(which)
    octets = forge(figure(who=who, digest=digest), who).decode()
    value = octets.partition("<SignatureValue>")[2].partition("</SignatureValue>")[0]
    raw = b64decode(value)
    other = {"before": bytes(1) + raw, "behind": raw + bytes(1), "less": raw[:-1], "none": b""}[extra]

    assert (
        refusal(octets.replace(value, b64encode(other).decode()).encode(), *Digest)
        == "UntrustedError: the signature does not fit the key of CN=Voucher Signer"
    )


@pytest.mark.parametrize("which", ["p256", "dsa2048"])
def test_no_signature_is_in_der(which: str) -> None:
    who = signatory(which)
    octets = forge(figure(who=who), who).decode()
    value = octets.partition("<SignatureValue>")[2].partition("</SignatureValue>")[0]
    raw = b64decode(value)
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))

    assert (
        refusal(octets.replace(value, b64encode(der).decode()).encode())
        == "UntrustedError: the signature does not fit the key of CN=Voucher Signer"
    )


@pytest.mark.parametrize(("which", "digest"), [case for case in SCHEMES if case[0] != "signer"])
@pytest.mark.parametrize("pair", ["zeros", "r is q", "s is q", "one"])
def test_no_pair_of_numbers_that_always_holds_is_taken(which: str, digest: Digest, pair: str) -> None:
    # CVE-2022-21449: (0, 0) was a signature of everything.
    who = signatory(which)
    q = order(who)
    half = (q.bit_length() + 7) // 8
    r, s = {"zeros": (0, 0), "r is q": (q, 1), "s is q": (1, q), "one": (1, 1)}[pair]
    value = b64encode(r.to_bytes(half) + s.to_bytes(half)).decode()
    octets = forge(edited(figure(FORGED, who=who, digest=digest), ("?signature?", value)), who)

    assert refusal(octets, *Digest) == "UntrustedError: the signature of CN=Voucher Signer is not valid"


@pytest.mark.parametrize(("which", "digest"), [case for case in SCHEMES if case[0] != "signer"])
def test_the_other_signature_of_the_same_is_the_same_voucher(which: str, digest: Digest) -> None:
    # On a curve (r, n - s) holds, too: a replay is told by what a voucher says, never by its octets.
    who = signatory(which)
    octets = signed(which=which, digest=digest).decode()
    value = octets.partition("<SignatureValue>")[2].partition("</SignatureValue>")[0]
    raw = b64decode(value)
    half = len(raw) // 2
    other = raw[:half] + (order(who) - int.from_bytes(raw[half:])).to_bytes(half)
    twin = octets.replace(value, b64encode(other).decode()).encode()

    if which == "p256":
        one, two = verified(octets.encode(), digest), verified(twin, digest)
        assert (two.voucher, two.signer_key) == (one.voucher, one.signer_key)
    else:
        assert refusal(twin, digest) == "UntrustedError: the signature of CN=Voucher Signer is not valid"


def order(who: Signatory) -> int:
    """Return what r and s are smaller than."""
    if isinstance(who.key.public_key, dsa.DSAPublicKey):
        return who.key.public_key.parameters().parameter_numbers().q
    return 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_a_number_as_large_as_the_modulus_is_no_signature() -> None:
    # s + n is congruent to s: for whoever does not look at its size it holds as well.
    key = signing_key("signer").public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    text = figure()
    for count in range(200):  # until s + n still has as many octets as n
        octets = forge(text.replace("IPTV", f"IPTV{count}")).decode()
        value = octets.partition("<SignatureValue>")[2].partition("</SignatureValue>")[0]
        larger = int.from_bytes(b64decode(value)) + key.public_numbers().n
        if larger < 1 << 2048:
            break

    assert larger < 1 << 2048
    assert (
        refusal(octets.replace(value, number(larger)).encode())
        == "UntrustedError: the signature of CN=Voucher Signer is not valid"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "=",
        lambda text: text + "====",
        lambda text: text[:-1],
        lambda text: text + "AAAA=AAA",
        lambda text: "\u00a0" + text,
        lambda text: "\u0085" + text,
        lambda text: "\u2003" + text,
        lambda text: "-_" + text[2:],
        lambda text: "!" + text,
        lambda text: text.removesuffix("==")[:-1] + "/==",
    ],
)
@pytest.mark.parametrize("element", ["SignatureValue", "DigestValue", "X509Certificate", "Modulus"])
def test_base64_has_one_form(element: str, change: Callable[[str], str]) -> None:
    # Whatever else a careless decoder passes over: the same octets, in a text that was never signed.
    octets = GENUINE.decode()
    value = octets.partition(f"<{element}>")[2].partition(f"</{element}>")[0]

    said = refusal(edited(octets, (f">{value}</{element}>", f">{change(value)}</{element}>")).encode())

    assert said.startswith("FormatError: Signature.")
    assert f".{element}" in said
    assert ": not base64" in said


# Certificates: a path to an anchor, and a signer made for signing.

SIGNING: Final = [
    None,
    [ExtendedKeyUsageOID.CODE_SIGNING],
    [ExtendedKeyUsageOID.EMAIL_PROTECTION],
    [x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")],
    [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING],
]
OTHERS: Final = [
    [ExtendedKeyUsageOID.SERVER_AUTH],
    [ExtendedKeyUsageOID.CLIENT_AUTH],
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    [ExtendedKeyUsageOID.TIME_STAMPING],
    [ExtendedKeyUsageOID.OCSP_SIGNING],
]


@pytest.mark.parametrize("purposes", SIGNING)
def test_a_certificate_for_signing_signs_vouchers(purposes: list[x509.ObjectIdentifier] | None) -> None:
    chosen = None if purposes is None else tuple(purposes)

    assert verified(signed(purposes=chosen)).voucher == VOUCHER


@pytest.mark.parametrize("purposes", OTHERS)
def test_any_other_does_not(purposes: list[x509.ObjectIdentifier]) -> None:
    # A gateway's own certificate, for TLS, is of the same authority.
    octets = signed(purposes=tuple(purposes))

    assert holds(octets, signatory(purposes=tuple(purposes)))
    assert refusal(octets) == "UntrustedError: the signer's certificate has no suitable extendedKeyUsage"


def test_a_certificate_without_purposes_signs_nothing_where_they_are_required() -> None:
    assert (
        refusal(signed(purposes=None), purposes_required=True)
        == "UntrustedError: the certificate has no extendedKeyUsage"
    )


def test_an_authority_signs_no_voucher() -> None:
    assert refusal(signed(ca=True)) == "UntrustedError: the signer's certificate is a CA certificate"


@pytest.mark.parametrize(
    ("usage", "problem"),
    [
        ("key_encipherment", "UntrustedError: the certificate's keyUsage lacks digitalSignature"),
        ("key_cert_sign", "UntrustedError: the certificate's keyUsage includes keyCertSign, as for a CA"),
    ],
)
def test_a_key_for_something_else_signs_no_voucher(usage: str, problem: str) -> None:
    usages = ("digital_signature", usage) if usage == "key_cert_sign" else (usage,)
    who = replace(signatory(), certificate=certify("Voucher Signer", root(), usage=usages).certificate)

    assert refusal(forge(figure(who=who), who)) == problem


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        (
            AT - timedelta(days=400),
            (
                "UntrustedError: CN=Test Root: certificate is not yet valid: "
                "valid from 2025-06-01T12:00:00Z, checked at 2025-04-27T12:00:00Z"
            ),
        ),
        (
            LAST + timedelta(days=1),
            (
                "UntrustedError: CN=Test Root: certificate has expired: "
                "valid until 2049-06-01T12:00:00Z, checked at 2049-06-02T12:00:00Z"
            ),
        ),
    ],
)
def test_a_certificate_has_its_time(at: datetime, problem: str) -> None:
    assert refusal(GENUINE, at=at) == problem


def test_a_path_that_is_remembered_is_held_to_each_time() -> None:
    verifier = Verifier(policy())
    document = read_voucher(GENUINE)

    assert verifier.verify(document, AT).dates_checked
    for at, problem in (
        (
            AT - timedelta(days=400),
            (
                "UntrustedError: CN=Test Root: certificate is not yet valid: "
                "valid from 2025-06-01T12:00:00Z, checked at 2025-04-27T12:00:00Z"
            ),
        ),
        (
            LAST + timedelta(days=1),
            (
                "UntrustedError: CN=Test Root: certificate has expired: "
                "valid until 2049-06-01T12:00:00Z, checked at 2049-06-02T12:00:00Z"
            ),
        ),
    ):
        with pytest.raises(UntrustedError) as caught:
            verifier.verify(document, at)
        assert f"UntrustedError: {caught.value}" == problem
    assert verifier.verify(document, AT).voucher == Voucher(options=(IPTV,))


def test_what_is_remembered_of_signers_is_bounded() -> None:
    # Anybody may come with certificates of their own: of those that lead to an anchor 64 are kept.
    verifier = Verifier(policy())

    for number_ in range(66):
        octets = signed(which="p256", subject=f"Signer {number_}")
        assert verifier.verify(read_voucher(octets), AT).signer.subject == name(f"Signer {number_}")
        assert len(verifier._known) == number_ % 64 + 1


def test_without_a_clock_no_dates_are_checked_and_it_says_so() -> None:
    octets = signed(end=AT - timedelta(days=1))
    verifier = Verifier(policy())

    trusted = verifier.verify(read_voucher(octets), None)

    assert (trusted.voucher, trusted.dates_checked) == (VOUCHER, False)
    assert refusal(octets) == (
        "UntrustedError: CN=Voucher Signer: certificate has expired: "
        "valid until 2026-05-31T12:00:00Z, checked at 2026-06-01T12:00:00Z"
    )
    with pytest.raises(UntrustedError):
        verifier.verify(read_voucher(octets), AT)


def test_only_signers_that_are_asked_for_count() -> None:
    octets = signed(subject="Gateway 123456789")

    assert verified(octets).signer.subject == name("Gateway 123456789")
    assert (
        refusal(octets, signers=frozenset({"Voucher Signer"}))
        == "UntrustedError: CN=Gateway 123456789 is not one of the accepted signers"
    )
    for wanted in ("Gateway 123456789", "CN=Gateway 123456789"):
        assert verified(octets, signers=frozenset({wanted})).voucher == VOUCHER


def test_a_voucher_has_one_signature_and_no_policy_that_wants_two() -> None:
    assert (
        refusal(GENUINE, required_signers=2)
        == "UntrustedError: a voucher has one signature, but 2 are required"
    )


def test_a_root_that_nobody_named_certifies_nothing() -> None:
    mine = authority("Test Root", with_key="second")
    leaf = certify("Voucher Signer", mine).certificate
    who = Signatory(key=KeySigner(signing_key("signer")), certificate=leaf, chain=(mine.certificate,))
    octets = forge(figure(who=who), who)

    assert holds(octets)
    assert refusal(octets) == "UntrustedError: CN=Test Root: self-signed certificate in certificate chain"
    assert verified(octets, anchors=(mine.certificate,)).path[-1] == mine.certificate


def through(middle: Certified, **leaf: Any) -> bytes:
    """Return a voucher of a signer whom another authority certifies, in turn certified by the root."""
    certified = certify("Voucher Signer", middle, **leaf)
    who = Signatory(
        key=KeySigner(certified.key),
        certificate=certified.certificate,
        chain=(middle.certificate, root().certificate),
    )
    return VoucherSigner(who).sign(VOUCHER)


def test_a_path_may_have_authorities_on_it() -> None:
    middle = authority("Middle", root(), with_key="second", serial=2)

    trusted = verified(through(middle))

    assert [one.subject for one in trusted.path] == [
        name("Voucher Signer"),
        name("Middle"),
        name("Test Root"),
    ]


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_a_certificate_is_signed_no_weaker_than_a_voucher(digest: str) -> None:
    middle = authority("Middle", root(), with_key="second", serial=2, digest=digest)
    leaf = through(authority("Middle", root(), with_key="second", serial=2), digest=digest)

    for octets, whose in ((through(middle), "Middle"), (leaf, "Voucher Signer")):
        assert refusal(octets) == f"UntrustedError: CN={whose} is signed with {digest}, which is not accepted"
    taken = digest == "sha1"
    if taken:
        assert verified(leaf, *Digest).voucher == VOUCHER
    else:
        assert (
            refusal(leaf, *Digest)
            == "UntrustedError: CN=Voucher Signer is signed with md5, which is not accepted"
        )


def test_a_leaf_is_no_authority() -> None:
    middle = certify("Middle", root(), with_key="second", serial=2)

    assert refusal(through(middle)) == "UntrustedError: CN=Middle: invalid CA certificate"


def test_an_anchor_needs_nobody_to_vouch_for_it() -> None:
    # What comes with it, a root that MD5 signed or one that has expired, is not looked at.
    other = authority("Other Root", with_key="second", digest="md5")
    leaf = certify("Voucher Signer", other).certificate
    who = Signatory(key=KeySigner(signing_key("signer")), certificate=leaf, chain=(other.certificate,))

    trusted = verified(VoucherSigner(who).sign(VOUCHER), anchors=(leaf,))

    assert trusted.path == (leaf,)


def revoking(*serials: int, days: int = 30) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root().certificate.subject)
        .last_update(AT - timedelta(days=1))
        .next_update(AT + timedelta(days=days))
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(AT - timedelta(days=1))
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(root().key, hashes.SHA256())


def test_a_signer_who_is_revoked_signs_nothing() -> None:
    assert verified(GENUINE, crls=(revoking(2, 3),)).voucher == Voucher(options=(IPTV,))
    assert refusal(GENUINE, crls=(revoking(4000),)) == (
        "UntrustedError: CN=Voucher Signer: certificate revoked: on the revocation list of CN=Test Root "
        "since 2026-05-31T12:00:00Z"
    )


def test_a_revocation_list_has_its_own_time_though_the_path_is_known() -> None:
    verifier = Verifier(policy(crls=(revoking(days=1),)))
    document = read_voucher(GENUINE)

    assert verifier.verify(document, AT).voucher == Voucher(options=(IPTV,))
    with pytest.raises(UntrustedError) as caught:
        verifier.verify(document, AT + timedelta(days=2))
    assert str(caught.value) == (
        "CN=Voucher Signer: CRL has expired: that of CN=Test Root began on 2026-05-31T12:00:00Z "
        "and ends on 2026-06-02T12:00:00Z, checked at 2026-06-03T12:00:00Z"
    )


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (
            b"",
            "UntrustedError: the certificate can't be read: the input ends 2 bytes too early [TR-069 C.3]",
        ),
        (
            b"\x30\x03\x02\x01\x01",
            "UntrustedError: the certificate can't be read: expected tag 0x30, got 0x02 [TR-069 C.3]",
        ),
        (
            b"junk",
            f"UntrustedError: the certificate can't be read: the input ends 115 bytes too early{C3}",
        ),
    ],
)
def test_what_is_no_certificate_is_none(octets: bytes, problem: str) -> None:
    theirs = figure().partition("<X509Certificate>")[2].partition("</X509Certificate>")[0]

    assert refusal(forge(edited(figure(), (theirs, b64encode(octets).decode())))) == problem


def test_no_trusted_voucher_is_made_up() -> None:
    trusted = verified(GENUINE)

    with pytest.raises(TypeError, match=r"can only be made by Verifier.verify\(\)"):
        replace(trusted, voucher=VOUCHER, seal=object())
    with pytest.raises(TypeError, match="can't be copied or pickled"):
        copy.copy(trusted)
    with pytest.raises(TypeError, match="can't be copied or pickled"):
        pickle.dumps(trusted)


def test_the_short_way_to_verify_is_the_same() -> None:
    assert verify_voucher(read_voucher(GENUINE), policy(), AT).voucher == verified(GENUINE).voucher
