"""The signature block: one detached PKCS #7 SignedData, read as it is and written in DER (TR-069 E.5).

The only module that uses asn1crypto.  It returns structure and bytes; :mod:`spkg.verify.signatures` decides
whether a signature is valid, and :mod:`spkg.trust.chain` whether its signer is trusted.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from typing import Final

from asn1crypto import algos, cms, core, x509

from spkg.common.digests import Digest
from spkg.common.frozen import dataclass
from spkg.common.reader import Reader
from spkg.errors import FormatError
from spkg.trust.ber import (
    INTEGER,
    MAX_DER,
    OBJECT_IDENTIFIER,
    SEQUENCE,
    BerElement,
    read_element,
    set_of,
    tlv,
)
from spkg.trust.certificates import (
    MAX_CERTIFICATE_SERIAL,
    MAX_X501_NAME,
    certificate_id,
    quiet,
    read_certificate,
    subject_of,
)
from spkg.trust.names import read_distinguished_name

__all__ = [
    "CONTENT_TYPE",
    "DATA_OCTETS",
    "EMPTY_BLOCK",
    "MAX_BLOCK_CERTIFICATES",
    "MAX_SIGNERS",
    "MESSAGE_DIGEST",
    "Algorithm",
    "SignatureBlock",
    "SignedAttribute",
    "SignerInfo",
    "add_signer",
    "load_block",
    "parse_block",
    "read_block",
    "readable_name",
    "signed_attributes",
    "signer_info",
    "without_signers",
]

MAX_SIGNERS: Final = 64
"""The most SignerInfos in one block."""
MAX_BLOCK_CERTIFICATES: Final = 64
"""The most certificates, and the most revocation lists, in one block."""
MAX_ATTRIBUTES: Final = 64
MAX_OID: Final = 64
"""The longest object identifier, in bytes."""
UTC_TIME_YEARS: Final = range(1950, 2050)

EMPTY_BLOCK: Final = bytes.fromhex(
    "302306092a864886f70d010702a01630140201013100300b06092a864886f70d0107013100"
)
"""The block without signatures: a fixed sequence of bytes (E.5)."""

DATA: Final = "1.2.840.113549.1.7.1"
SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_TIME_OID: Final = "1.2.840.113549.1.9.5"

DATA_OCTETS: Final[bytes] = core.ObjectIdentifier(DATA).dump()
NULL_OCTETS: Final = b"\x05\x00"
SET: Final = 0x31
CONTEXT_0: Final = 0xA0
CONTEXT_1: Final = 0xA1
KEY_ID: Final = 0x80


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """An AlgorithmIdentifier."""

    oid: str
    parameters: bytes
    """In DER; empty if they are absent."""

    @property
    def name(self) -> str:
        """A short name if it has one, otherwise the dotted number."""
        for kind in (algos.DigestAlgorithmId, algos.SignedDigestAlgorithmId):
            named: str = kind.map(self.oid)
            if named != self.oid:
                return named
        return self.oid

    @property
    def plain(self) -> bool:
        """Whether the parameters are absent or NULL; RFC 3370 allows both."""
        return self.parameters in {b"", NULL_OCTETS}


@dataclass(frozen=True, kw_only=True)
class SignedAttribute:
    """One attribute of a SignerInfo."""

    oid: str
    values: tuple[bytes, ...]
    """Each value in DER."""
    octets: bytes
    """The attribute in DER."""


@dataclass(frozen=True, kw_only=True)
class SignerInfo:
    """One signature of a block."""

    octets: bytes
    """Exactly as in the block."""
    offset: int
    version: int
    issuer: bytes | None
    """The issuer's Name in DER; None if a key identifier names the signer, which only CMS allows."""
    serial: int | None
    digest_algorithm: Algorithm
    attributes: tuple[SignedAttribute, ...] | None
    """The authenticated attributes in their order; None if the field is absent."""
    signature_algorithm: Algorithm
    signature: bytes

    @property
    def signed_attributes(self) -> bytes:
        """What a signature with attributes covers: their SET, in the order of the block."""
        return tlv(SET, *(attribute.octets for attribute in self.attributes or ()))

    @property
    def signing_time(self) -> datetime | None:
        """The time that the attribute signingTime claims; None if it is missing or can't be read."""
        for attribute in self.attributes or ():
            if attribute.oid == SIGNING_TIME_OID and len(attribute.values) == 1:
                try:
                    time = cms.Time.load(attribute.values[0], strict=True).native
                except (ValueError, TypeError):
                    return None
                return time if isinstance(time, datetime) else None
        return None


@dataclass(frozen=True, kw_only=True)
class SignatureBlock:
    """A signature block, with the unchanged bytes of everything in it."""

    octets: bytes
    offset: int
    version: int
    digest_algorithms: tuple[Algorithm, ...]
    digest_algorithm_octets: tuple[bytes, ...]
    certificates: tuple[bytes, ...]
    """X.509 certificates of acceptable size in DER framing: untrusted bytes, not parsed yet."""
    certificate_octets: tuple[bytes, ...]
    """All members of the certificates field, including any that are not X.509 certificates."""
    crl_octets: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]

    def subject_of(self, signer: SignerInfo) -> str | None:
        """Return the subject of the certificate in the block that *signer* names, if there is one."""
        return self._subjects.get((signer.issuer, signer.serial))

    @cached_property
    def _subjects(self) -> dict[tuple[bytes | None, int | None], str]:
        """The subjects of the readable certificates, by the issuer and serial number of a SignerInfo."""
        subjects: dict[tuple[bytes | None, int | None], str] = {}
        for octets in self.certificates:
            with suppress(FormatError):
                subjects.setdefault(certificate_id(octets), subject_of(read_certificate(octets)))
        return subjects


def read_block(reader: Reader) -> SignatureBlock:
    """Read the signature block, and not one byte after it.

    Raises:
        FormatError: It is not a detached SignedData of type data within the limits.
    """
    return parse_block(read_element(reader, "signature_block"))


def load_block(octets: bytes) -> SignatureBlock:
    """Return the signature block that is exactly *octets*.

    Raises:
        FormatError: They are not such a block, or something follows it.
    """
    reader = Reader(BytesIO(octets), section="E.5")
    with reader.within(len(octets), "", "E.5"):
        return read_block(reader)


def parse_block(block: BerElement) -> SignatureBlock:
    """Return the signature block in the element *block*.

    Raises:
        FormatError: It is not a detached SignedData of type data within the limits.
    """
    # (1) ContentInfo { contentType signedData, content [0] EXPLICIT SignedData }
    names = ("content_type", "content")
    if [child.tag for child in block.expect(SEQUENCE).children()][:1] == [INTEGER]:
        raise block.error("expected a ContentInfo, got a SignedData without one")
    content_type, content = _members(block, names, (OBJECT_IDENTIFIER, CONTEXT_0))
    if _oid(content_type) != SIGNED_DATA:
        raise content_type.error("the content must be of type signedData")
    (signed_data,) = _members(content, ("signed_data",), (SEQUENCE,))

    # (2) SignedData: the optional fields are recognized by their tags.
    fields = signed_data.children("version", "digest_algorithms", "content_info", most=6)
    if len(fields) < 4:
        raise signed_data.error("fields are missing")
    version = fields[0].integer()
    if version not in {1, 3, 4, 5}:
        raise fields[0].error(f"expected version 1, 3, 4 or 5, got {version}")
    algorithms = fields[1].expect(SET).children(most=MAX_SIGNERS)
    rest = fields[3:]
    certificates = rest.pop(0).children(most=MAX_BLOCK_CERTIFICATES) if rest[0].tag == CONTEXT_0 else []
    crls = rest.pop(0).children(most=MAX_BLOCK_CERTIFICATES) if rest and rest[0].tag == CONTEXT_1 else []
    if len(rest) != 1:
        raise signed_data.error("signerInfos must be the last field")

    # (3) E.5: an external signature over data, so the content is of that type and absent.
    content_info = fields[2].expect(SEQUENCE).children("content_type", "content")
    if not content_info or _oid(content_info[0]) != DATA:
        raise fields[2].error("the content must be of type data")
    if len(content_info) != 1:
        raise content_info[1].error("the content must be absent")

    signers = rest[0].expect(SET).children(most=MAX_SIGNERS)
    return SignatureBlock(
        octets=block.octets,
        offset=block.offset,
        version=version,
        digest_algorithms=tuple(_algorithm(element) for element in algorithms),
        digest_algorithm_octets=tuple(element.octets for element in algorithms),
        certificates=tuple(
            element.der()
            for element in certificates
            if element.tag == SEQUENCE and len(element.octets) <= MAX_DER
        ),
        certificate_octets=tuple(element.octets for element in certificates),
        crl_octets=tuple(element.octets for element in crls),
        signers=tuple(_signer_info(element) for element in signers),
    )


def signed_attributes(digest: bytes, signing_time: datetime | None = None) -> bytes:
    """Return the SET of attributes to sign for contents with this *digest*."""
    attributes = [
        {"type": "content_type", "values": ["data"]},
        {"type": "message_digest", "values": [digest]},
    ]
    if signing_time is not None:
        moment = signing_time.astimezone(UTC)
        # RFC 5652 11.3: UTCTime for the years that it can express, GeneralizedTime for all others.
        if moment.year in UTC_TIME_YEARS:
            time = cms.Time(name="utc_time", value=core.UTCTime(moment))
        else:
            time = cms.Time(name="generalized_time", value=core.GeneralizedTime(moment))
        attributes.append({"type": "signing_time", "values": [time]})
    encoded: bytes = cms.CMSAttributes(attributes).dump()
    return encoded


def signer_info(certificate: bytes, digest: Digest, attributes: bytes, signature: bytes) -> bytes:
    """Return the SignerInfo of an RSA signature over *attributes*.

    Args:
        certificate: The signer's, in DER.
        digest: The digest of the contents and of the attributes.
        attributes: What :func:`signed_attributes` returned.
        signature: The RSA PKCS #1 v1.5 signature, as long as the modulus.

    Raises:
        FormatError: The attributes are not DER.
    """
    try:
        loaded = cms.CMSAttributes.load(attributes, strict=True)
    except ValueError as exc:
        raise FormatError(f"the signed attributes can't be read: {exc}", section="E.5") from exc
    tbs = x509.Certificate.load(certificate)["tbs_certificate"]
    algorithm = {"algorithm": digest.value, "parameters": core.Null()}
    info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                name="issuer_and_serial_number",
                value={"issuer": tbs["issuer"], "serial_number": tbs["serial_number"]},
            ),
            "digest_algorithm": algorithm,
            "signed_attrs": loaded,
            "signature_algorithm": {"algorithm": "rsassa_pkcs1v15", "parameters": core.Null()},
            "signature": signature,
        }
    )
    encoded: bytes = info.dump()
    return encoded


def add_signer(block: SignatureBlock, info: bytes, digest: Digest, certificates: Sequence[bytes]) -> bytes:
    """Return *block* with one more SignerInfo and its certificates.

    Every existing SignerInfo, certificate and revocation list is kept byte for byte.
    """
    algorithms = list(block.digest_algorithm_octets)
    oid = algos.DigestAlgorithmId(digest.value).dotted
    if oid not in {algorithm.oid for algorithm in block.digest_algorithms}:
        algorithms.append(
            algos.DigestAlgorithm({"algorithm": digest.value, "parameters": core.Null()}).dump()
        )
    pool = [*block.certificate_octets, *certificates]
    signers = [*(signer.octets for signer in block.signers), info]
    return _block(block.version, algorithms, pool, block.crl_octets, signers)


def without_signers(block: SignatureBlock, gone: Collection[int]) -> bytes:
    """Return *block* without some of its signatures, and the certificates of these signers alone.

    Everything else is kept byte for byte, but without any signature the block is empty.

    Args:
        block: The block.
        gone: The indexes of the signatures.
    """
    kept = [signer for index, signer in enumerate(block.signers) if index not in gone]
    if not kept:
        return EMPTY_BLOCK
    needed = {(signer.issuer, signer.serial) for signer in kept}
    leaving = {(block.signers[index].issuer, block.signers[index].serial) for index in gone} - needed
    oids = {signer.digest_algorithm.oid for signer in kept}
    algorithms = [
        octets
        for one, octets in zip(block.digest_algorithms, block.digest_algorithm_octets, strict=True)
        if one.oid in oids
    ]
    certificates = [octets for octets in block.certificate_octets if _named(octets) not in leaving]
    signers = [signer.octets for signer in kept]
    return _block(block.version, algorithms, certificates, block.crl_octets, signers)


def _named(certificate: bytes) -> tuple[bytes, int] | None:
    try:
        return certificate_id(certificate)
    except FormatError:
        return None


def _block(
    version: int,
    algorithms: Sequence[bytes],
    certificates: Sequence[bytes],
    crls: Sequence[bytes],
    signers: Sequence[bytes],
) -> bytes:
    """Return a block of these members, each in DER."""
    signed_data = tlv(
        SEQUENCE,
        tlv(INTEGER, bytes((version,))),
        set_of(algorithms),
        tlv(SEQUENCE, DATA_OCTETS),
        set_of(certificates, CONTEXT_0) if certificates else b"",
        set_of(crls, CONTEXT_1) if crls else b"",
        set_of(signers),
    )
    return tlv(SEQUENCE, core.ObjectIdentifier(SIGNED_DATA).dump(), tlv(CONTEXT_0, signed_data))


def _signer_info(element: BerElement) -> SignerInfo:
    """Return the SignerInfo in *element*."""
    fields = element.expect(SEQUENCE).children("version", "sid", "digest_algorithm", most=7)
    if len(fields) < 5:
        raise element.error("fields are missing")
    version, sid, digest_algorithm, *rest = fields
    issuer, serial = None, None
    if sid.tag == SEQUENCE:
        issuer_element, serial_element = _members(sid, ("issuer", "serial"), (SEQUENCE, INTEGER))
        issuer, serial = issuer_element.der(), serial_element.integer(most=MAX_CERTIFICATE_SERIAL)
    else:
        sid.expect(KEY_ID)
    attributes: tuple[SignedAttribute, ...] | None = None
    if rest[0].tag == CONTEXT_0:
        attributes = tuple(_attribute(child) for child in rest.pop(0).children(most=MAX_ATTRIBUTES))
    if len(rest) == 3:
        rest.pop().expect(CONTEXT_1)  # unauthenticated attributes: not signed, so not read
    if len(rest) != 2:
        raise element.error("the signature is not in the expected place")
    return SignerInfo(
        octets=element.octets,
        offset=element.offset,
        version=version.integer(),
        issuer=issuer,
        serial=serial,
        digest_algorithm=_algorithm(digest_algorithm),
        attributes=attributes,
        signature_algorithm=_algorithm(rest[0]),
        signature=rest[1].string(),
    )


def _attribute(element: BerElement) -> SignedAttribute:
    kind, values = _members(element, ("type", "values"), (OBJECT_IDENTIFIER, SET))
    found = tuple(value.der() for value in values.children(most=MAX_ATTRIBUTES))
    return SignedAttribute(oid=_oid(kind), values=found, octets=element.der())


def _algorithm(element: BerElement) -> Algorithm:
    fields = element.expect(SEQUENCE).children("algorithm", "parameters", most=2)
    if not fields:
        raise element.error("the algorithm is missing")
    return Algorithm(oid=_oid(fields[0]), parameters=b"".join(field.der() for field in fields[1:]))


def _members(element: BerElement, names: tuple[str, ...], tags: tuple[int, ...]) -> list[BerElement]:
    """Return the children of a sequence, which must be exactly these."""
    members = element.children(*names)
    if len(members) != len(tags):
        raise element.error(f"expected {len(tags)} fields, got {len(members)}")
    return [member.expect(tag) for member, tag in zip(members, tags, strict=True)]


def _oid(element: BerElement) -> str:
    if len(element.expect(OBJECT_IDENTIFIER).contents) > MAX_OID:  # decoding takes quadratic time
        raise element.error(f"an object identifier must have at most {MAX_OID} bytes")
    octets = element.der()
    try:
        dotted: str = core.ObjectIdentifier.load(octets, strict=True).dotted
        shortest = core.ObjectIdentifier(dotted).dump()
    except (ValueError, IndexError) as exc:
        raise element.error(f"not an object identifier: {exc}") from exc
    if shortest != octets:
        raise element.error("the object identifier is not in DER")
    return dotted


def readable_name(name: bytes) -> str:
    """Return a Name in DER as RFC 4514 writes it, or in hex if it can't be read."""
    if len(name) > MAX_X501_NAME:
        return f"#{name[:MAX_OID].hex()}…"
    try:
        with quiet():
            return read_distinguished_name(name).rfc4514_string()
    except FormatError:
        return f"#{name.hex()}"
