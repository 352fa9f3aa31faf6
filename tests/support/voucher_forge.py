"""A second signer of XML-Signature, which shares nothing with ours: whatever text it gets, it signs.

A document is text with gaps, ``?digest?`` and ``?signature?``.  :func:`forge` fills them so that the
signature holds, for whoever checks no more than that.  It reads with expat and writes Canonical XML itself:
neither lxml nor libxml2 have a part in it.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final
from xml.dom import minidom

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spkg.common.digests import Digest
from spkg.errors import FormatError, UntrustedError
from spkg.trust.signers import PrivateKey, Signatory
from tests.support.voucher_kit import private_key, signatory, verified

__all__ = [
    "C14N",
    "DS",
    "DS11",
    "EXCLUSIVE",
    "METHODS",
    "MORE",
    "OPTION",
    "XMLENC",
    "canonical",
    "edited",
    "figure",
    "forge",
    "holds",
    "key_value",
    "number",
    "refusal",
]

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
DS11: Final = "http://www.w3.org/2009/xmldsig11#"
MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
XMLENC: Final = "http://www.w3.org/2001/04/xmlenc#"
PSS: Final = "http://www.w3.org/2007/05/xmldsig-more#"
C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
XML: Final = "http://www.w3.org/XML/1998/namespace"
XMLNS: Final = "http://www.w3.org/2000/xmlns/"
METHODS: Final[Mapping[str, tuple[str, hashes.HashAlgorithm]]] = {
    f"{DS}rsa-sha1": ("rsa", hashes.SHA1()),
    f"{DS}dsa-sha1": ("dsa", hashes.SHA1()),
    f"{DS}hmac-sha1": ("hmac", hashes.SHA1()),
    f"{DS11}dsa-sha256": ("dsa", hashes.SHA256()),
    f"{MORE}rsa-md5": ("rsa", hashes.MD5()),
    f"{MORE}rsa-sha256": ("rsa", hashes.SHA256()),
    f"{MORE}rsa-sha384": ("rsa", hashes.SHA384()),
    f"{MORE}rsa-sha512": ("rsa", hashes.SHA512()),
    f"{MORE}ecdsa-sha1": ("ec", hashes.SHA1()),
    f"{MORE}ecdsa-sha256": ("ec", hashes.SHA256()),
    f"{MORE}ecdsa-sha384": ("ec", hashes.SHA384()),
    f"{MORE}hmac-sha256": ("hmac", hashes.SHA256()),
    f"{PSS}sha256-rsa-MGF1": ("pss", hashes.SHA256()),
}
"""What a SignatureMethod is: the kind of key, and the digest."""
DIGESTS: Final[Mapping[str, hashes.HashAlgorithm]] = {
    f"{DS}sha1": hashes.SHA1(),
    f"{MORE}md5": hashes.MD5(),
    f"{MORE}sha384": hashes.SHA384(),
    f"{XMLENC}sha256": hashes.SHA256(),
    f"{XMLENC}sha512": hashes.SHA512(),
}
OPTION: Final = """<Option>
<VSerialNum>4001</VSerialNum>
<DeviceId>
<Manufacturer>2Wire</Manufacturer>
<OUI>00D09E</OUI>
<ProductClass>Gateway</ProductClass>
<SerialNumber>123456789</SerialNumber>
</DeviceId>
<OptionIdent>IPTV</OptionIdent>
<OptionDesc>Television over DSL</OptionDesc>
<StartDate>2026-05-01T00:00:00Z</StartDate>
<Duration>12</Duration>
<DurationUnits>Months</DurationUnits>
<Mode>EnableWithExpiration</Mode>
</Option>"""
"""The Option that is ``IPTV`` in the kit."""
_KINDS: Final = (
    (rsa.RSAPrivateKey, "rsa"),
    (dsa.DSAPrivateKey, "dsa"),
    (ec.EllipticCurvePrivateKey, "ec"),
)


def figure(
    *options: str,
    who: Signatory | None = None,
    digest: Digest = Digest.SHA256,
    p: str = "",
    keyed: bool = True,
) -> str:
    """Return a voucher in the shape of Figure 6, with gaps where digests and signature belong.

    Args:
        options: The Options, as text.
        who: Whose key and certificates it has.
        digest: Of References and signature.
        p: The prefix of XML-Signature with its colon; without one it is the default namespace.
        keyed: Whether it has a KeyValue.
    """
    who = who or signatory()
    options = options or (OPTION,)
    kind = next(kind for form, kind in _KINDS if isinstance(private_key(who), form))
    wanted = (kind, digest.algorithm.name)
    method = next(uri for uri, (key, hashed) in METHODS.items() if (key, hashed.name) == wanted)
    hashed = next(uri for uri, algorithm in DIGESTS.items() if algorithm.name == digest.algorithm.name)
    references = "".join(
        f'<{p}Reference URI="#option{index}">\n'
        f'<{p}Transforms>\n<{p}Transform Algorithm="{C14N}"></{p}Transform>\n</{p}Transforms>\n'
        f'<{p}DigestMethod Algorithm="{hashed}"></{p}DigestMethod>\n'
        f"<{p}DigestValue>?digest?</{p}DigestValue>\n</{p}Reference>\n"
        for index in range(len(options))
    )
    objects = "".join(
        f'<dsig:Object xmlns="" xmlns:dsig="{DS}" Id="option{index}">\n{option}\n</dsig:Object>\n'
        for index, option in enumerate(options)
    )
    certificates = "".join(
        f"<{p}X509Certificate>{b64encode(one.public_bytes(Encoding.DER)).decode()}</{p}X509Certificate>\n"
        for one in (who.certificate, *who.chain)
    )
    value = f"<{p}KeyValue>{key_value(private_key(who), p)}</{p}KeyValue>\n" if keyed else ""
    return (
        f'<{p}Signature xmlns{p and ":"}{p.rstrip(":")}="{DS}">\n<{p}SignedInfo>\n'
        f'<{p}CanonicalizationMethod Algorithm="{C14N}"></{p}CanonicalizationMethod>\n'
        f'<{p}SignatureMethod Algorithm="{method}"></{p}SignatureMethod>\n{references}</{p}SignedInfo>\n'
        f"<{p}SignatureValue>?signature?</{p}SignatureValue>\n"
        f"<{p}KeyInfo>\n{value}<{p}X509Data>\n{certificates}</{p}X509Data>\n</{p}KeyInfo>\n"
        f"{objects}</{p}Signature>\n"
    )


def key_value(key: PrivateKey, p: str = "") -> str:
    """Return what stands in the KeyValue of a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        return (
            f"<{p}RSAKeyValue><{p}Modulus>{number(public.n)}</{p}Modulus>"
            f"<{p}Exponent>{number(public.e)}</{p}Exponent></{p}RSAKeyValue>"
        )
    if isinstance(key, dsa.DSAPrivateKey):
        numbers = key.public_key().public_numbers()
        domain = numbers.parameter_numbers
        parts = zip("PQGY", (domain.p, domain.q, domain.g, numbers.y), strict=True)
        inner = "".join(f"<{p}{name}>{number(value)}</{p}{name}>" for name, value in parts)
        return f"<{p}DSAKeyValue>{inner}</{p}DSAKeyValue>"
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    oid = {"secp256r1": "1.2.840.10045.3.1.7", "secp384r1": "1.3.132.0.34"}[key.curve.name]
    return (
        f'<e:ECKeyValue xmlns:e="{DS11}"><e:NamedCurve URI="urn:oid:{oid}"></e:NamedCurve>'
        f"<e:PublicKey>{b64encode(point).decode()}</e:PublicKey></e:ECKeyValue>"
    )


def number(value: int) -> str:
    """Return a big number as a CryptoBinary."""
    return b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()


def forge(
    text: str,
    who: Signatory | None = None,
    *,
    secret: bytes = b"secret",
    width: int | None = None,
    info: int = 0,
    edit: tuple[str, str] = ("", ""),
) -> bytes:
    """Return a document with its gaps filled, so that its signature holds.

    Args:
        text: The document.
        who: Whose key signs.
        secret: The key of HMAC.
        width: How many octets r and s have each, where not as many as they should.
        info: Which SignedInfo is signed, where there are several.
        edit: A part, and what stands in its place in what is signed: the document keeps the first.
    """
    key = private_key(who or signatory())
    document = minidom.parseString(text)  # noqa: S318 - it is ours
    # From the end: what a Manifest in an Object says is digested itself.
    for reference in reversed([one for one in _all(document, "Reference") if "?digest?" in one.toxml()]):
        (method,) = _all(reference, "DigestMethod")
        octets = _referred(document, reference)
        value = b64encode(_digest(octets, DIGESTS[method.getAttribute("Algorithm")])).decode()
        before, _, after = text.rpartition("?digest?")
        text = f"{before}{value}{after}"
        if "Manifest" in text:
            document = minidom.parseString(text)  # noqa: S318
    signed = minidom.parseString(text.replace(*edit) if edit[0] else text)  # noqa: S318 - it is ours
    element = _all(signed, "SignedInfo")[info]
    method = _all(element, "SignatureMethod")[0]
    value = b64encode(_sign(_signed_octets(element), key, method, secret, width)).decode()
    return text.replace("?signature?", value, 1).encode()


def canonical(element: minidom.Element, *, comments: bool = False, exclusive: bool = False) -> bytes:
    """Return an element in Canonical XML 1.0, or the exclusive one."""
    scope: dict[str, str] = {}
    inherited: dict[str, minidom.Attr] = {}
    above = element.parentNode
    while isinstance(above, minidom.Element):
        scope = _namespaces(above) | scope
        inherited = {one.name: one for one in _attributes(above) if one.name[:4] == "xml:"} | inherited
        above = above.parentNode
    parts = _written(
        element, scope, {}, {} if exclusive else inherited, comments=comments, exclusive=exclusive
    )
    return "".join(parts).encode()


def _written(
    node: minidom.Node,
    scope: dict[str, str],
    rendered: dict[str, str],
    inherited: dict[str, minidom.Attr],
    *,
    comments: bool,
    exclusive: bool,
) -> Iterator[str]:
    if isinstance(node, minidom.Text):
        text = node.data.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield text.replace("\r", "&#xD;")
    elif isinstance(node, minidom.Comment):
        yield f"<!--{node.data}-->" if comments else ""
    elif isinstance(node, minidom.ProcessingInstruction):
        yield f"<?{node.target} {node.data}".rstrip() + "?>"
    elif isinstance(node, minidom.Element):
        scope = scope | _namespaces(node)
        own = inherited | {one.name: one for one in _attributes(node)}
        visible = {one.name.partition(":")[0] for one in own.values() if ":" in one.name}
        visible.add(node.tagName.rpartition(":")[0])
        fresh = {
            prefix: uri
            for prefix, uri in sorted(scope.items())
            if rendered.get(prefix, "") != uri and (not exclusive or prefix in visible)
        }
        yield f"<{node.tagName}"
        for prefix, uri in fresh.items():
            yield f' xmlns{prefix and ":"}{prefix}="{_quoted(uri)}"'
        for one in sorted(own.values(), key=lambda one: (one.namespaceURI or "", one.localName)):
            yield f' {one.name}="{_quoted(one.value)}"'
        yield ">"
        for child in node.childNodes:
            yield from _written(child, scope, rendered | fresh, {}, comments=comments, exclusive=exclusive)
        yield f"</{node.tagName}>"


def _quoted(text: str) -> str:
    for plain, written in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        ('"', "&quot;"),
        ("\t", "&#x9;"),
        ("\n", "&#xA;"),
        ("\r", "&#xD;"),
    ):
        text = text.replace(plain, written)
    return text


def _namespaces(element: minidom.Element) -> dict[str, str]:
    """Return what an element declares, by prefix; the default namespace is that of none."""
    declared = (one for one in element.attributes.values() if one.namespaceURI == XMLNS)
    return {"" if one.name == "xmlns" else one.localName: one.value or "" for one in declared}


def _attributes(element: minidom.Element) -> list[minidom.Attr]:
    return [one for one in element.attributes.values() if one.namespaceURI != XMLNS]


def _all(above: minidom.Document | minidom.Element, name: str) -> list[minidom.Element]:
    return list(above.getElementsByTagNameNS(DS, name))


def _referred(document: minidom.Document, reference: minidom.Element) -> bytes:
    """Return what a Reference is to; transforms that are not known do nothing, as with signxml."""
    root = document.documentElement
    assert isinstance(root, minidom.Element)
    uri = reference.getAttribute("URI")
    name = uri.removeprefix("#xpointer(id('").removeprefix("#").removesuffix("'))")
    elements = [root, *root.getElementsByTagName("*")]
    found = [one for one in elements if name in {one.getAttribute("Id"), one.getAttribute("xml:id")}]
    target: Any = found[0] if name else root
    octets = None
    for transform in _all(reference, "Transform"):
        how = transform.getAttribute("Algorithm")
        if how == f"{DS}base64":
            octets = b64decode(_text(target))
        elif how == f"{DS}enveloped-signature":
            target = target.cloneNode(deep=True)
            for inner in _all(target, "Signature"):
                target.removeChild(inner)
        elif "c14n" in how:
            octets = canonical(target, comments="omments" in how, exclusive=how.startswith(EXCLUSIVE))
    return canonical(target) if octets is None else octets


def _digest(octets: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    running = hashes.Hash(algorithm)
    running.update(octets)
    return running.finalize()


def _sign(octets: bytes, key: PrivateKey, method: minidom.Element, secret: bytes, width: int | None) -> bytes:
    kind, algorithm = METHODS[method.getAttribute("Algorithm")]
    if kind == "hmac":
        short = _all(method, "HMACOutputLength")
        made = hmac.digest(secret, octets, algorithm.name)
        return made[: int(_text(short[0])) // 8] if short else made
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(_digest(octets, algorithm), _padding(kind, algorithm), Prehashed(algorithm))
    if isinstance(key, dsa.DSAPrivateKey):
        pair = key.sign(octets, algorithm)
        size = key.parameters().parameter_numbers().q.bit_length()
    else:
        pair = key.sign(octets, ec.ECDSA(algorithm))
        size = key.curve.key_size
    return b"".join(part.to_bytes(width or (size + 7) // 8, "big") for part in decode_dss_signature(pair))


def holds(octets: bytes, who: Signatory | None = None, *, secret: bytes = b"secret", info: int = 0) -> bool:
    """Return what a careless verifier says, who looks for each thing anywhere and takes the first.

    It resolves entities, knows no shape, ignores what it does not know, and believes the key it is given.
    """
    document = minidom.parseString(octets)  # noqa: S318
    element = _all(document, "SignedInfo")[info]
    for reference in _all(element, "Reference"):
        (method,), (value,) = _all(reference, "DigestMethod"), _all(reference, "DigestValue")
        found = _digest(_referred(document, reference), DIGESTS[method.getAttribute("Algorithm")])
        if found != b64decode(_text(value)):
            return False
    (method, *_), (value, *_) = _all(element, "SignatureMethod"), _all(document, "SignatureValue")
    return _is_signed(_signed_octets(element), b64decode(_text(value)), method, who or signatory(), secret)


def _signed_octets(info: minidom.Element) -> bytes:
    how = _all(info, "CanonicalizationMethod")[0].getAttribute("Algorithm")
    return canonical(info, comments="omments" in how, exclusive=how.startswith(EXCLUSIVE))


def _is_signed(octets: bytes, value: bytes, method: minidom.Element, who: Signatory, secret: bytes) -> bool:
    kind, algorithm = METHODS[method.getAttribute("Algorithm")]
    if kind == "hmac":
        return hmac.compare_digest(value, _sign(octets, private_key(who), method, secret, None))
    key = who.key.public_key
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, _digest(octets, algorithm), _padding(kind, algorithm), Prehashed(algorithm))
        else:
            half = len(value) // 2
            pair = encode_dss_signature(int.from_bytes(value[:half]), int.from_bytes(value[half:]))
            if isinstance(key, dsa.DSAPublicKey):
                key.verify(pair, octets, algorithm)
            else:
                key.verify(pair, octets, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def _padding(kind: str, algorithm: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if kind == "pss":
        return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)
    return padding.PKCS1v15()


def _text(element: minidom.Element) -> str:
    return "".join(child.data for child in element.childNodes if isinstance(child, minidom.Text))


def edited(text: str, *changes: tuple[str, str]) -> str:
    """Return *text* with each change made once; a change that finds nothing to change is a mistake."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def refusal(octets: bytes, *digests: Digest, **wanted: Any) -> str:
    """Return the class and the words with which a document is refused; as :func:`voucher_kit.verified`."""
    with pytest.raises((FormatError, UntrustedError)) as caught:
        verified(octets, *digests, **wanted)
    return f"{type(caught.value).__name__}: {caught.value}"
