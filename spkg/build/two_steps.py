"""Signing in two steps: what is to be signed is written out, signed elsewhere, and attached.

Nothing is attached that was not checked: the request must be of this package, and the signature must hold.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.build.sign import attributes_to_sign, with_signature
from spkg.common.digests import Digest
from spkg.common.reader import Reader
from spkg.errors import FormatError, RefusedError, UntrustedError
from spkg.format.package import Package
from spkg.format.signature_block import add_signer, load_block
from spkg.trust.ber import INTEGER, OBJECT_IDENTIFIER, SEQUENCE, read_element
from spkg.trust.certificate_blocks import unwrapped
from spkg.trust.certificates import certificate_id, subject_of
from spkg.trust.chain import check_rsa_key
from spkg.trust.request_fields import RequestFields
from spkg.trust.signers import digest_info
from spkg.verify.signature_checks import check_one_signature, digest_name

__all__ = ["MAX_REQUEST", "SigningRequest", "attach_signature", "attach_signer_info", "prepare_signature"]

CMS_COMMAND: Final = "openssl cms -sign -binary -nosmimecap -outform DER writes such a CMS"
MAX_FIELDS: Final = 16
"""How many fields of a SignerInfo or ContentInfo are looked at."""
REQUEST_SCHEMA: Final = "spkg.request/1"
MAX_REQUEST: Final = 1 << 20
"""The longest request, in bytes."""


@dataclass(frozen=True, kw_only=True)
class SigningRequest:
    """What is to be signed, and by whom."""

    package: str
    """SHA-256 of the signed bytes, in hex: which package it is for."""
    digest: Digest
    attributes: bytes
    """The signed attributes (PKCS #7): their digest is what the key signs."""
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def hashed(self) -> bytes:
        """The digest of the signed attributes."""
        return self.digest.of(self.attributes)

    def encode(self) -> bytes:
        """Return the contents of the request's file."""
        document = {
            "schema": REQUEST_SCHEMA,
            "package": self.package,
            "digest": self.digest.value,
            "signed_attributes": _base64(self.attributes),
            "attributes_digest": _base64(self.hashed),
            "digest_info": _base64(digest_info(self.digest, self.hashed)),
            "certificate": _pem([self.certificate]),
            "chain": _pem(self.chain),
        }
        return json.dumps(document, indent=2).encode() + b"\n"

    @classmethod
    def decode(cls, octets: bytes, name: str) -> Self:
        """Return the request that a file holds; *name* is its name, for errors.

        Raises:
            FormatError: It is not such a request, or contradicts itself.
        """
        fields = RequestFields(octets, REQUEST_SCHEMA, most=MAX_REQUEST, source=name)
        request = cls(
            package=fields.text("package"),
            digest=fields.digest(),
            attributes=fields.octets("signed_attributes"),
            certificate=fields.certificates("certificate")[0],
            chain=fields.certificates("chain") if "chain" in fields else (),
        )
        fields.compare("attributes_digest", request.hashed)
        fields.compare("digest_info", digest_info(request.digest, request.hashed))
        return request


def prepare_signature(
    package: Package,
    certificate: x509.Certificate,
    chain: tuple[x509.Certificate, ...] = (),
    *,
    digest: Digest = Digest.SHA1,
    signing_time: datetime | None = None,
) -> SigningRequest:
    """Return what is to be signed for one more signature of *package*.

    Raises:
        RefusedError: This signer has already signed with this digest.
        UntrustedError: Our own verifier would not accept the key.
    """
    attributes = attributes_to_sign(package.block, package.signed, certificate, digest, signing_time)
    return SigningRequest(
        package=_identity(package),
        digest=digest,
        attributes=attributes,
        certificate=certificate,
        chain=chain,
    )


def attach_signature(package: Package, request: SigningRequest, signature: bytes) -> bytes:
    """Return the block of *package* with a signature that was made elsewhere.

    Args:
        package: The package.
        request: What was to be signed.
        signature: The raw bytes of RSASSA-PKCS1-v1_5.

    Raises:
        RefusedError: The request is of another package, or this signer has already signed.
        UntrustedError: The signature does not hold.
        FormatError: The block would have too many signatures or certificates.
    """
    _check_request(package, request)
    length = (check_rsa_key(request.certificate.public_key()).key_size + 7) // 8
    if len(signature) != length:
        problem = f"expected a signature of {length} bytes, got {len(signature)}"
        hint = "it is given as it is, not in base64: openssl base64 -d -A" if _is_text(signature) else None
        raise UntrustedError(problem, hint=hint)
    block = with_signature(
        package.block,
        request.certificate,
        request.chain,
        digest=request.digest,
        attributes=request.attributes,
        signature=signature,
    )
    return _checked(package, request, block)


def attach_signer_info(package: Package, request: SigningRequest, octets: bytes) -> bytes:
    """Return the block of *package* with a SignerInfo that was made elsewhere.

    Args:
        package: The package.
        request: What was to be signed; the SignerInfo may have other attributes.
        octets: The SignerInfo in DER, or a whole CMS or PKCS #7 with one of this signer, in DER or PEM.

    Raises:
        RefusedError: The request is of another package, or this signer has already signed.
        UntrustedError: The signature does not hold, or is another signer's.
        FormatError: It is neither, the package has it already, or the block would have too many signatures or
            certificates.
    """
    _check_request(package, request)
    info = _info_of(request, octets)
    own = [request.certificate, *request.chain]
    certificates = [one.public_bytes(Encoding.DER) for one in own]
    return _checked(package, request, add_signer(package.block, info, request.digest, certificates))


def _check_request(package: Package, request: SigningRequest) -> None:
    if request.package != _identity(package):
        raise RefusedError(
            f"the request is for package {request.package[:16]}, and this is {_identity(package)[:16]}",
            hint="prepare a request for this package",
        )
    attributes_to_sign(package.block, package.signed, request.certificate, request.digest, None)


def _info_of(request: SigningRequest, octets: bytes) -> bytes:
    """Return the SignerInfo that was given, in a block or alone."""
    named = certificate_id(request.certificate.public_bytes(Encoding.DER))
    octets = unwrapped(octets)
    first = _first_tag(octets)
    if first == INTEGER:
        return octets
    if first != OBJECT_IDENTIFIER:
        raise FormatError("expected a SignerInfo or a CMS in DER", hint=CMS_COMMAND)
    try:
        block = load_block(octets)
    except FormatError as exc:
        exc.hint = exc.hint or CMS_COMMAND
        raise
    found = [signer.octets for signer in block.signers if (signer.issuer, signer.serial) == named]
    if len(found) != 1:
        who = subject_of(request.certificate)
        problem = f"expected one signature of {who}, named by issuer and serial number, got {len(found)}"
        raise UntrustedError(problem)
    return found[0]


def _first_tag(octets: bytes) -> int | None:
    """Return what a SEQUENCE begins with; None if the bytes are not one SEQUENCE."""
    try:
        reader = Reader(BytesIO(octets), section="E.5")
        element = read_element(reader, "signer_info", limit=len(octets)).expect(SEQUENCE)
        parts = element.children(most=MAX_FIELDS)
    except FormatError:
        return None
    return parts[0].tag if parts and len(element.octets) == len(octets) else None


def _is_text(octets: bytes) -> bool:
    try:
        return bool(b64decode(b"".join(octets.split()), validate=True))
    except ValueError:
        return False


def _checked(package: Package, request: SigningRequest, octets: bytes) -> bytes:
    """Return a block whose new signature holds."""
    block = load_block(octets)
    before = [signer.octets for signer in package.block.signers]
    new = [number for number, signer in enumerate(block.signers) if signer.octets not in before]
    if len(new) != 1 or len(block.signers) != len(before) + 1:
        problem = f"expected one SignerInfo that the package does not have, got {len(new)}"
        raise FormatError(problem, section="E.5")
    (index,) = new
    used = digest_name(block.signers[index].digest_algorithm)
    if used != request.digest.value:
        raise UntrustedError(f"the request is for a signature with {request.digest.value}, this has {used}")
    check_one_signature(block, index, package.signed, request.certificate, request.digest)
    return octets


def _identity(package: Package) -> str:
    return sha256(package.signed).hexdigest()


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()


def _pem(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)
