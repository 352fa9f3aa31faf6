"""Names of X.509: read from DER, compared as X.509 compares them, and as people write them.

People write a subject as RFC 4514 does, or copy what ``openssl x509 -subject`` prints: the other way round,
and with blanks and quotes in some versions.
"""

import re
from functools import lru_cache
from io import BytesIO
from typing import Final, Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from spkg.common.reader import Reader
from spkg.trust.ber import SEQUENCE, BerElement, read_element

__all__ = ["folded_name", "is_same_name", "means_name", "read_distinguished_name"]

NAME_PART: Final = 0x31
ATTRIBUTE_TYPE: Final = 0x06
STRING_ENCODINGS: Final = {
    0x0C: "utf-8",  # UTF8String
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # T61String: software of the time put Latin-1 into it, and openssl reads it as that
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
"""How the values of each string type are encoded, by tag."""

ATTRIBUTE_TYPES: Final = {
    "CN": NameOID.COMMON_NAME,
    "COMMONNAME": NameOID.COMMON_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "EMAILADDRESS": NameOID.EMAIL_ADDRESS,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "TITLE": NameOID.TITLE,
}
"""The short names of attribute types in RFC 4514 and in openssl, in capitals."""
PIECE: Final = re.compile(
    r"""\s*(?P<type>[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)\s*=\s*"""
    r"""(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>(?:[^,+"\\]|\\.)*))"""
    r"""\s*(?P<end>[,+]|$)""",
    re.DOTALL,
)
"""One attribute of a written name, and what separates it from the next."""
ESCAPED_CHARACTERS: Final = re.compile(r"(?:\\[0-9A-Fa-f]{2})+|\\(.)", re.DOTALL)
MAX_WRITTEN: Final = 8192
"""The longest name that is taken apart, in characters."""

WrittenName = tuple[frozenset[tuple[str, str]], ...]
"""The parts of a name in the order of a certificate, each a set of types and values."""


def read_distinguished_name(octets: bytes, errors: Literal["strict", "replace"] = "strict") -> x509.Name:
    """Return a Name from its DER, also one whose T61Strings are in Latin-1.

    Args:
        octets: The Name.
        errors: What to do with characters that can't be read: refuse them, or show a mark in their place.

    Raises:
        FormatError: It is not a Name, or has a value that is no string.
    """
    element = read_element(Reader(BytesIO(octets), section="E.5"), "name")
    levels = element.expect(SEQUENCE).children()
    try:
        return x509.Name(
            x509.RelativeDistinguishedName(
                _attribute(part, errors) for part in level.expect(NAME_PART).children()
            )
            for level in levels
        )
    except ValueError as exc:  # an empty set, an attribute twice, or characters of another encoding
        raise element.error(f"the Name can't be read: {exc}") from exc


def _attribute(element: BerElement, errors: str) -> x509.NameAttribute[str]:
    parts = element.expect(SEQUENCE).children("type", "value", most=2)
    if len(parts) != 2:
        raise element.error(f"expected a type and a value, got {len(parts)} elements")
    kind, value = parts
    encoding = STRING_ENCODINGS.get(value.tag)
    if encoding is None:
        raise value.error(f"expected a string, got tag 0x{value.tag:02x}")
    return x509.NameAttribute(
        x509.ObjectIdentifier(_dotted(kind.expect(ATTRIBUTE_TYPE))),
        value.contents.decode(encoding, errors),
        _validate=False,
    )


def _dotted(element: BerElement) -> str:
    """Return an object identifier as text."""
    contents = element.contents
    if not contents or contents[-1] & 0x80:
        raise element.error("the object identifier is cut off")
    numbers: list[int] = []
    number = 0
    for octet in contents:
        number = number << 7 | octet & 0x7F
        if octet < 0x80:
            numbers.append(number)
            number = 0
    first, *rest = numbers
    top = min(first // 40, 2)
    return ".".join(str(part) for part in (top, first - 40 * top, *rest))


def is_same_name(one: x509.Name, other: x509.Name) -> bool:
    """Whether two Names are the same by RFC 5280: case and the width of spaces do not matter."""
    return one == other or folded_name(one) == folded_name(other)


def folded_name(name: x509.Name) -> tuple[tuple[str, str], ...]:
    """Return what is equal for Names that are the same."""
    return tuple((part.oid.dotted_string, " ".join(str(part.value).casefold().split())) for part in name)


def means_name(text: str, name: x509.Name) -> bool:
    """Whether a subject that somebody wrote is this Name, in the order of RFC 4514 or of openssl."""
    own = tuple(frozenset((part.oid.dotted_string, str(part.value)) for part in level) for level in name.rdns)
    # RFC 4514 begins with the last part of a Name, and openssl with the first.
    return _parts(text) in {own, own[::-1]}


@lru_cache(maxsize=1024)
def _parts(text: str) -> WrittenName | None:
    """Return the parts of a written name in their order; None if the text is something else."""
    at, done = 0, False
    parts: list[set[tuple[str, str]]] = [set()]
    while not done and len(text) <= MAX_WRITTEN:
        found = PIECE.match(text, at)
        if found is None:
            return None
        kind = found["type"]
        oid = ATTRIBUTE_TYPES.get(kind.upper())
        value = found["quoted"] if found["quoted"] is not None else _trimmed(found["plain"])
        parts[-1].add((kind if oid is None else oid.dotted_string, _unescaped(value)))
        if found["end"] == ",":
            parts.append(set())
        at, done = found.end(), not found["end"]
    return tuple(frozenset(part) for part in parts) if done else None


def _trimmed(value: str) -> str:
    """Return a value without the blanks behind it, but for one that is escaped."""
    bare = value.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return value[: len(bare) + 1] if backslashes % 2 else bare


def _unescaped(value: str) -> str:
    def plain(found: re.Match[str]) -> str:
        if found[1] is not None:
            return found[1]
        return bytes.fromhex(found[0].replace("\\", "")).decode("utf-8", "replace")

    return ESCAPED_CHARACTERS.sub(plain, value)
