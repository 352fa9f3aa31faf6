"""What is in a file of certificates: PEM of every kind, DER, and PKCS #7 bundles opened, in order.

Nothing here decides what is used; a block that can't be decoded is returned with its problem, not left out.
"""

import re
from binascii import a2b_base64
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from enum import Enum
from io import BytesIO
from typing import Final

from spkg.common.frozen import dataclass
from spkg.common.reader import Reader
from spkg.errors import FormatError
from spkg.trust.ber import INTEGER, SEQUENCE, BerElement, read_element

__all__ = ["PEM_MARK", "UTF_16_PROBLEM", "BlockKind", "CertificateBlock", "blocks_of", "is_der", "unwrapped"]

PEM_MARK: Final = b"-----BEGIN"
BEGIN: Final = re.compile(rb"-----BEGIN ([A-Za-z0-9 #-]{1,64}?)-----")
HEADER_LINE: Final = re.compile(rb"^[A-Za-z-]+:[^\n]*\n(?:[ \t][^\n]*\n)*", re.MULTILINE)
"""A header of a block, such as Proc-Type, with the lines that go on with it."""
UTF_16_MARKS: Final = (BOM_UTF16_LE, BOM_UTF16_BE, "-----BEGIN".encode("utf-16-le"))
"""How text in UTF-16 begins, with and without its mark."""
UTF_16_PROBLEM: Final = "UTF-16 text, expected PEM in ASCII or UTF-8"
CERTIFICATE_LABELS: Final = {"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"}
BUNDLE_LABELS: Final = {"PKCS7", "PKCS #7 SIGNED DATA", "CMS"}
CONTENT_TYPE_TAG: Final = 0x06
TIMES: Final = {0x17, 0x18}
SIGNED_DATA_TYPE: Final = bytes.fromhex("2a864886f70d010702")
MAX_BUNDLED: Final = 16384
BUNDLE_CERTIFICATES: Final = 0xA0
BUNDLE_LISTS: Final = 0xA1


class BlockKind(Enum):
    """What a block is."""

    CERTIFICATE = "certificate"
    REVOCATION_LIST = "revocation list"
    PRIVATE_KEY = "private key"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class CertificateBlock:
    """One thing in a file."""

    kind: BlockKind
    label: str
    """What it calls itself, or what it is, for messages."""
    octets: bytes
    """Its DER, as far as it could be decoded."""
    problem: str = ""
    """Why it could not be decoded."""
    trust_settings: bool = False
    """Whether a TRUSTED CERTIFICATE has settings of openssl behind it, which are not in these bytes."""


def is_der(octets: bytes) -> bool:
    """Whether a file is DER: not text that begins with the digit zero and contains PEM further on."""
    return octets.startswith(b"\x30") and PEM_MARK not in octets


def blocks_of(octets: bytes) -> Iterator[CertificateBlock]:
    """Yield what a file contains, in its order; nothing if it is text without any block."""
    if octets.startswith(UTF_16_MARKS):
        yield CertificateBlock(kind=BlockKind.OTHER, label=UTF_16_PROBLEM, octets=b"", problem=UTF_16_PROBLEM)
    elif is_der(octets):
        yield from _opened(_der_block(octets))
    else:
        for block in _pem_blocks(octets):
            yield from _opened(block)


def unwrapped(octets: bytes) -> bytes:
    """Return the DER of a CMS or PKCS #7 bundle that is in PEM, and anything else as it is."""
    if PEM_MARK not in octets or is_der(octets):
        return octets
    found = [block for block in _pem_blocks(octets) if block.label in BUNDLE_LABELS and not block.problem]
    return found[0].octets if len(found) == 1 else octets


def _pem_blocks(octets: bytes) -> Iterator[CertificateBlock]:
    found = list(BEGIN.finditer(octets))
    ends = [*(one.start() for one in found[1:]), len(octets)]
    for begin, end in zip(found, ends, strict=False):
        label = begin[1].decode("ascii")
        body, mark, _ = octets[begin.end() : end].partition(b"-----END " + begin[1] + b"-----")
        text = HEADER_LINE.sub(b"", body.replace(b"\r\n", b"\n"))
        der, problem = b"", "" if mark else f"cut off: expected '-----END {label}-----'"
        if not problem:
            try:
                der = a2b_base64(b"".join(text.split()), strict_mode=True)
            except ValueError as exc:
                problem = f"not base64: {str(exc)[:1].lower()}{str(exc)[1:]}"
        yield _labelled(label, der, problem)


def _labelled(label: str, der: bytes, problem: str) -> CertificateBlock:
    if label.endswith("PRIVATE KEY"):
        return CertificateBlock(kind=BlockKind.PRIVATE_KEY, label=label, octets=b"")
    if label == "X509 CRL":
        return CertificateBlock(kind=BlockKind.REVOCATION_LIST, label=label, octets=der, problem=problem)
    if label not in CERTIFICATE_LABELS:
        return CertificateBlock(kind=BlockKind.OTHER, label=label, octets=der, problem=problem)
    if label == "TRUSTED CERTIFICATE":
        try:
            certificate = read_element(_reader(der), "certificate", limit=len(der)).octets
        except FormatError as exc:
            problem = problem or exc.problem
        else:
            settings = len(certificate) < len(der)
            return CertificateBlock(
                kind=BlockKind.CERTIFICATE, label=label, octets=certificate, trust_settings=settings
            )
    return CertificateBlock(kind=BlockKind.CERTIFICATE, label=label, octets=der, problem=problem)


def _der_block(octets: bytes) -> CertificateBlock:
    """Return what a DER file is; what nothing else fits is called a certificate, and read as one."""
    kind, label = BlockKind.CERTIFICATE, "certificate"
    try:
        parts = read_element(_reader(octets), "file", limit=len(octets)).expect(SEQUENCE).children(most=16)
        first = parts[0].tag if parts else None
        if first == CONTENT_TYPE_TAG and parts[0].contents == SIGNED_DATA_TYPE:
            kind, label = BlockKind.OTHER, "PKCS7"
        elif first == INTEGER:
            kind, label = BlockKind.OTHER, "PKCS #12 file or private key"
        elif first == SEQUENCE and any(field.tag in TIMES for field in parts[0].children()[:5]):
            kind, label = BlockKind.REVOCATION_LIST, "revocation list"
    except FormatError:
        pass
    return CertificateBlock(kind=kind, label=label, octets=octets)


def _opened(block: CertificateBlock) -> Iterator[CertificateBlock]:
    """Yield what a PKCS #7 bundle contains, and any other block as it is."""
    if block.label not in BUNDLE_LABELS or block.problem:
        yield block
        return
    try:
        yield from _bundled(block.octets)
    except FormatError as exc:
        yield CertificateBlock(
            kind=BlockKind.OTHER,
            label=block.label,
            octets=b"",
            problem=f"not a PKCS #7 bundle: {exc.problem}",
        )


def _bundled(octets: bytes) -> list[CertificateBlock]:
    outer = read_element(_reader(octets), "bundle", limit=len(octets)).expect(SEQUENCE)
    parts = outer.children("content_type", "content", most=2)
    inner = parts[1].children("signed_data", most=1) if len(parts) > 1 else []
    if not inner or parts[0].expect(CONTENT_TYPE_TAG).contents != SIGNED_DATA_TYPE:
        raise outer.error("expected SignedData")
    (signed,) = inner
    found: list[CertificateBlock] = []
    for field in signed.expect(SEQUENCE).children(most=8):
        if field.tag == BUNDLE_CERTIFICATES:
            found += [_member(one, BlockKind.CERTIFICATE) for one in field.children(most=MAX_BUNDLED)]
        elif field.tag == BUNDLE_LISTS:
            found += [_member(one, BlockKind.REVOCATION_LIST) for one in field.children(most=MAX_BUNDLED)]
    return found


def _member(element: BerElement, kind: BlockKind) -> CertificateBlock:
    return CertificateBlock(kind=kind, label=f"{kind.value} of a PKCS #7 bundle", octets=element.octets)


def _reader(octets: bytes) -> Reader:
    return Reader(BytesIO(octets), section="E.5")
