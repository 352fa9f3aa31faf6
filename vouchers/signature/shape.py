"""A voucher as it is received: checked for the shape of Figure 6, not trusted yet (TR-069 C.3).

The shape is a closed grammar.  Everything else that XML-Signature allows (other transforms, external
references, several signatures, unsigned neighbours) is refused before any of it is evaluated.
"""

import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Final

from spkg.common.hostile_xml import (
    XML_BLANKS,
    XmlElement,
    attribute,
    base64_of,
    check_plain,
    children,
    malformed,
    parse,
    text_of,
)
from spkg.errors import FormatError
from vouchers.model import MAX_VOUCHER_OPTIONS
from vouchers.signature.algorithms import DSIG, DSIG11, P256, KeyNumbers

__all__ = [
    "C14N",
    "MAX_FILE",
    "MAX_VOUCHER",
    "MAX_VOUCHER_CERTIFICATES",
    "VoucherDocument",
    "read_voucher",
    "unwrap",
]

MAX_VOUCHER: Final = 256 * 1024
"""The largest voucher, in bytes."""
NDJSON_HINT: Final = "each line of NDJSON has a voucher in 'voucher'; '--format xml' writes files to apply"
"""What to do with the output of a bulk run."""
MAX_FILE: Final = MAX_VOUCHER * 3 // 2
"""The largest file of a voucher in base64, with its line breaks."""
MAX_IN_SCOPE: Final = 8
"""The most namespaces in scope at an element with many descendants."""
MAX_PARTS: Final = 64
"""The most elements of an Option."""
MAGIC: Final = b"2WIRE_SP"
"""The first bytes of a package (E.3)."""
MAX_VOUCHER_CERTIFICATES: Final = 8
C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
"""Canonical XML 1.0, without comments: the only canonicalisation, and the only transform."""
ID: Final = re.compile("[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_DS: Final = f"{{{DSIG}}}"
_DS11: Final = f"{{{DSIG11}}}"
REFERENCE: Final = tuple(f"{_DS}{name}" for name in ("Transforms", "DigestMethod", "DigestValue"))
X509: Final = frozenset(f"{_DS}{name}" for name in ("X509IssuerSerial", "X509SubjectName", "X509Certificate"))


@dataclass(frozen=True, kw_only=True)
class VoucherDocument:
    """A voucher that is not verified.  Only :meth:`Verifier.verify` makes a trusted one of it."""

    octets: bytes
    method: str
    """The URI of the SignatureMethod."""
    digests: tuple[str, ...]
    """The URI of each Reference's DigestMethod."""
    signature: bytes
    certificates: tuple[bytes, ...]
    """In DER, in any order; not trusted yet."""
    key_value: KeyNumbers | None
    """The signer's key according to KeyValue; None if there is no KeyValue."""
    root: XmlElement = field(repr=False)

    @property
    def objects(self) -> tuple[XmlElement, ...]:
        """The Objects, each with an Option."""
        return tuple(self.root)[3:]


def unwrap(octets: bytes) -> bytes:
    """Return the XML of a voucher, which may be in base64, as in SetVouchers.

    Raises:
        FormatError: It is neither, or too large.
    """
    plain = octets.removeprefix(b"\xef\xbb\xbf")
    if plain.lstrip().startswith(b"<"):
        return octets
    if plain.startswith(MAGIC):
        raise FormatError(
            "expected a voucher, got a package", hint="use 'spkg verify' for packages", section="C.3"
        )
    if len(octets) > MAX_FILE:
        raise FormatError(f"a voucher must have at most {MAX_VOUCHER} bytes, got more", section="C.3")
    try:
        return b64decode(plain.translate(None, XML_BLANKS.encode()), validate=True)
    except ValueError as exc:
        hint = NDJSON_HINT if plain.startswith(b"{") else None
        raise FormatError("not a voucher: neither XML nor base64", section="C.3", hint=hint) from exc


def read_voucher(octets: bytes) -> VoucherDocument:
    """Return the voucher in *octets*; only its shape is checked.

    Raises:
        FormatError: They do not have that shape.
    """
    # (1) Parse once, within bounds: elements and their text only.
    root = parse(octets, "a voucher", MAX_VOUCHER, section="C.3")
    # (2) A Signature of SignedInfo, SignatureValue, KeyInfo and Objects, limited before anything is computed.
    if root.tag != f"{_DS}Signature":
        raise malformed(root, "must be a Signature of XML-Signature")
    _check_namespaces(root)
    count = len(root) - 3
    if not 1 <= count <= MAX_VOUCHER_OPTIONS:
        raise malformed(root, f"expected 1 to {MAX_VOUCHER_OPTIONS} Objects, got {max(count, 0)}")
    info, value, key_info, *objects = children(
        root,
        *(f"{_DS}{name}" for name in ("SignedInfo", "SignatureValue", "KeyInfo")),
        *[f"{_DS}Object"] * count,
    )
    _check_namespaces(info)
    names = [_object(element) for element in objects]
    if len({*names}) != count:
        raise malformed(root, "the Ids of the Objects must differ")
    canonicalization, method, *references = children(
        info, f"{_DS}CanonicalizationMethod", f"{_DS}SignatureMethod", *[f"{_DS}Reference"] * count
    )
    # (3) Reference i refers to Object i, with Canonical XML 1.0 as its only transform.
    if _algorithm(canonicalization) != C14N:
        raise malformed(canonicalization, "must be Canonical XML 1.0 without comments")
    digests = tuple(_reference(*pair) for pair in zip(references, names, strict=True))
    # (4) The key, at most once, and certificates.
    key_value, certificates = _key_info(key_info)
    # (5) Nothing else: there are no attributes but those read above.
    curve = isinstance(key_value, bytes)
    check_plain(root, 2 + 4 * count + curve)
    return VoucherDocument(
        octets=octets,
        method=_algorithm(method),
        digests=digests,
        signature=base64_of(value),
        certificates=certificates,
        key_value=key_value,
        root=root,
    )


def _algorithm(element: XmlElement) -> str:
    """Return the Algorithm of an element without contents."""
    if not _is_empty(element):
        raise malformed(element, "must have an Algorithm and no contents")
    return attribute(element, "Algorithm")


def _object(element: XmlElement) -> str:
    """Return the Id of an Object that has one Option, plain XML without a namespace."""
    _check_namespaces(element)
    name = attribute(element, "Id")
    if ID.fullmatch(name) is None:
        raise malformed(element, "must have an Id such as option0")
    if len(element) != 1 or element[0].tag != "Option":
        raise malformed(element, "must contain one Option without a namespace")
    for count, part in enumerate(element[0].iter("{*}*")):
        if count >= MAX_PARTS:
            raise malformed(element, f"expected at most {MAX_PARTS} elements in an Option, got more")
        if part.tag[0] == "{":
            raise malformed(part, "must not have a namespace")
    return name


def _check_namespaces(element: XmlElement) -> None:
    """Refuse too many namespaces: Canonical XML carries each to every element below, at a great cost."""
    if len(element.nsmap) > MAX_IN_SCOPE:
        raise malformed(element, f"expected at most {MAX_IN_SCOPE} namespaces, got {len(element.nsmap)}")


def _reference(element: XmlElement, name: str) -> str:
    """Return the DigestMethod of a Reference to the Object with that Id."""
    if attribute(element, "URI") != f"#{name}":
        raise malformed(element, f"expected the URI #{name} of the Object at the same position")
    transforms, method, value = children(element, *REFERENCE)
    (transform,) = children(transforms, f"{_DS}Transform")
    if _algorithm(transform) != C14N:
        raise malformed(transform, "must be Canonical XML 1.0 without comments")
    base64_of(value)
    return _algorithm(method)


def _key_info(element: XmlElement) -> tuple[KeyNumbers | None, tuple[bytes, ...]]:
    """Return the contents of KeyValue, and the certificates."""
    parts = {child.tag: child for child in element}
    if len(parts) != len(element) or f"{_DS}X509Data" not in parts:
        raise malformed(element, "must contain one X509Data, and at most one KeyName and one KeyValue")
    data, value = parts.pop(f"{_DS}X509Data"), parts.pop(f"{_DS}KeyValue", None)
    if f"{_DS}KeyName" in parts:
        text_of(parts.pop(f"{_DS}KeyName"))  # a name for people: the certificate says who signs
    if parts:
        raise malformed(element, "must contain only KeyName, KeyValue and X509Data")
    if not {child.tag for child in data} <= X509:
        raise malformed(data, "must contain only X509IssuerSerial, X509SubjectName and X509Certificate")
    for child in data:
        if child.tag == f"{_DS}X509IssuerSerial":
            for part in children(child, f"{_DS}X509IssuerName", f"{_DS}X509SerialNumber"):
                text_of(part)
        else:
            text_of(child)
    names = [child.tag for child in data if child.tag != f"{_DS}X509Certificate"]
    if len(names) != len({*names}):
        raise malformed(data, "must contain X509IssuerSerial and X509SubjectName at most once")
    certificates = [child for child in data if child.tag == f"{_DS}X509Certificate"]
    if not 1 <= len(certificates) <= MAX_VOUCHER_CERTIFICATES:
        raise malformed(
            data, f"expected 1 to {MAX_VOUCHER_CERTIFICATES} certificates, got {len(certificates)}"
        )
    return None if value is None else _key_value(value), tuple(base64_of(one) for one in certificates)


def _key_value(element: XmlElement) -> KeyNumbers:
    """Return the contents of a KeyValue: the numbers of an RSA or DSA key, or a point."""
    if len(element) != 1:
        raise malformed(element, "must contain one key")
    key = element[0]
    if key.tag == f"{_DS11}ECKeyValue":
        curve, point = key if len(key) == 2 else (key, key)
        if (curve.tag, point.tag) != (f"{_DS11}NamedCurve", f"{_DS11}PublicKey"):
            raise malformed(key, "must contain NamedCurve and PublicKey")
        if attribute(curve, "URI") != P256 or not _is_empty(curve):
            raise malformed(curve, f"must have the URI {P256} and no contents")
        return base64_of(point)
    parts = {f"{_DS}RSAKeyValue": ("Modulus", "Exponent"), f"{_DS}DSAKeyValue": ("P", "Q", "G", "Y")}
    if key.tag not in parts:
        raise malformed(key, "must be RSAKeyValue, DSAKeyValue or ECKeyValue")
    found = children(key, *(f"{_DS}{part}" for part in parts[key.tag]))
    return tuple(int.from_bytes(base64_of(part)) for part in found)


def _is_empty(element: XmlElement) -> bool:
    return not len(element) and not (element.text or "").strip(XML_BLANKS)
