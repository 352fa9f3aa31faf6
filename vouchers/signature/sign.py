"""Signing vouchers: written exactly in the shape of Figure 6 (TR-069 C.3).

The signed parts are written in canonical form, so no tree is built.  KeyInfo and everything else that is the
same in every voucher is written once.  The tests and independent programs check that the bytes are canonical.
"""

from base64 import b64encode, encodebytes
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spkg.common.digests import Digest
from spkg.common.hostile_xml import escape
from spkg.common.xml_text import NOT_XML
from spkg.errors import FormatError, RefusedError, UntrustedError
from spkg.trust.certificates import issuer_of, subject_of
from spkg.trust.signers import Signatory
from vouchers.model import Voucher
from vouchers.signature.algorithms import DIGESTS, DSIG, key_value_of, raw_signature, scheme_for
from vouchers.signature.option_elements import option_text
from vouchers.signature.shape import C14N, MAX_VOUCHER, MAX_VOUCHER_CERTIFICATES

__all__ = ["UnsignedVoucher", "VoucherSigner", "signed_info_of", "with_signature_value"]

_SIGNATURE: Final = f'<Signature xmlns="{DSIG}">\n'
_SIGNED_INFO: Final = f'<SignedInfo xmlns="{DSIG}">'
"""As Canonical XML writes it: with the namespace that Signature declares."""
_VALUE: Final = b"<SignatureValue>"
_VALUE_END: Final = b"</SignatureValue>"


@dataclass(frozen=True, kw_only=True)
class UnsignedVoucher:
    """A voucher that only lacks its signature."""

    hashed: bytes
    """The digest of what the signature covers, as :meth:`Signer.sign` takes it."""
    inner: str
    """The contents of SignedInfo."""
    objects: str


class VoucherSigner:
    """Signs vouchers with one key.

    Args:
        signatory: The key, with the certificates that go into each voucher.
        digest: The digest of the signature.  SHA-1 is the form of 2004.

    Raises:
        RefusedError: The key can't sign vouchers with this digest.
        FormatError: There are more certificates than a voucher may have.
    """

    def __init__(self, signatory: Signatory, digest: Digest = Digest.SHA256) -> None:
        self.digest: Final = digest
        count = 1 + len(signatory.chain)
        if count > MAX_VOUCHER_CERTIFICATES:
            raise FormatError(
                f"expected at most {MAX_VOUCHER_CERTIFICATES} certificates in a voucher, got {count}",
                section="C.3",
            )
        self.key: Final = signatory.key
        public = signatory.certificate.public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id: Final = sha256(spki).hexdigest()
        """Identifies the signer, whatever the certificate: the SHA-256 of the SubjectPublicKeyInfo."""
        try:
            scheme = scheme_for(public, digest)
        except UntrustedError as exc:
            raise RefusedError(f"the key can't sign vouchers: {exc.problem}") from exc
        self.public_key: Final = scheme.key
        self._length = scheme.length
        self._head = (
            f'\n<CanonicalizationMethod Algorithm="{C14N}"></CanonicalizationMethod>\n'
            f'<SignatureMethod Algorithm="{scheme.uri}"></SignatureMethod>\n'
        )
        self._reference = (
            f'">\n<Transforms>\n<Transform Algorithm="{C14N}"></Transform>\n</Transforms>\n'
            f'<DigestMethod Algorithm="{DIGESTS[digest]}"></DigestMethod>\n<DigestValue>'
        )
        self._key_info = _key_info(signatory, key_value_of(scheme.key)[0])

    def check(self, voucher: Voucher) -> None:
        """Make sure that a voucher can be signed, without signing it.

        Raises:
            FormatError: It would be larger than a voucher may be.
        """
        self._write(*self._parts(voucher), b"\0" * self._length)

    def prepare(self, voucher: Voucher) -> UnsignedVoucher:
        """Return a voucher that only lacks its signature."""
        inner, objects = self._parts(voucher)
        hashed = self.digest.of(f"{_SIGNED_INFO}{inner}".encode())
        return UnsignedVoucher(hashed=hashed, inner=inner, objects=objects)

    def complete(self, unsigned: UnsignedVoucher, signature: bytes) -> bytes:
        """Return a voucher as signed XML.

        Args:
            unsigned: What :meth:`prepare` returned.
            signature: What the key returned for its digest.

        Raises:
            FormatError: It would be larger than a voucher may be.
        """
        value = raw_signature(signature, self.public_key, self._length)
        return self._write(unsigned.inner, unsigned.objects, value)

    def sign(self, voucher: Voucher) -> bytes:
        """Return a voucher as signed XML.

        Raises:
            FormatError: It would be larger than a voucher may be.
            HostError: The key can't be used.
        """
        unsigned = self.prepare(voucher)
        return self.complete(unsigned, self.key.sign(self.digest, unsigned.hashed))

    def _parts(self, voucher: Voucher) -> tuple[str, str]:
        """Return the contents of SignedInfo, and the Objects."""
        objects, references = [], []
        for index, option in enumerate(voucher.options):
            content = f'xmlns:dsig="{DSIG}" Id="option{index}">\n{option_text(option)}\n</dsig:Object>'
            digest = b64encode(self.digest.of(f"<dsig:Object {content}".encode())).decode()
            references.append(
                f'<Reference URI="#option{index}{self._reference}{digest}</DigestValue>\n</Reference>\n'
            )
            objects.append(f'<dsig:Object xmlns="" {content}\n')
        return f"{self._head}{''.join(references)}</SignedInfo>", "".join(objects)

    def _write(self, inner: str, objects: str, signature: bytes) -> bytes:
        value = b64encode(signature).decode()
        octets = (
            f"{_SIGNATURE}<SignedInfo>{inner}\n<SignatureValue>{value}</SignatureValue>\n"
            f"{self._key_info}{objects}</Signature>\n"
        ).encode()
        if len(octets) > MAX_VOUCHER:
            problem = (
                f"expected a voucher of at most {MAX_VOUCHER} bytes, got {len(octets)}; use fewer Options"
            )
            raise FormatError(problem, section="C.3")
        return octets


def signed_info_of(octets: bytes) -> bytes:
    """Return what the signature of a voucher that we wrote covers: its SignedInfo, in canonical form."""
    _, _, rest = octets.partition(b"<SignedInfo>")
    inner, _, _ = rest.partition(b"</SignedInfo>")
    return f"{_SIGNED_INFO}".encode() + inner + b"</SignedInfo>"


def with_signature_value(octets: bytes, signature: bytes) -> bytes:
    """Return a voucher that we wrote with another signature.

    Raises:
        FormatError: It has no place for one.
    """
    before, opened, rest = octets.partition(_VALUE)
    _, closed, after = rest.partition(_VALUE_END)
    if not opened or not closed:
        raise FormatError("the voucher has no SignatureValue", section="C.3")
    return before + opened + b64encode(signature) + closed + after


def _key_info(signatory: Signatory, key_value: str) -> str:
    """Return KeyInfo: the key, and the certificates, the signer's first."""
    certificate = signatory.certificate
    certificates = "\n".join(
        f"<X509Certificate>\n{encodebytes(one.public_bytes(Encoding.DER)).decode()}</X509Certificate>"
        for one in (certificate, *signatory.chain)
    )
    return (
        f"<KeyInfo>\n<KeyValue>\n{key_value}\n</KeyValue>\n<X509Data>\n<X509IssuerSerial>\n"
        f"<X509IssuerName>{_name(issuer_of(certificate))}</X509IssuerName>\n"
        f"<X509SerialNumber>{certificate.serial_number}</X509SerialNumber>\n</X509IssuerSerial>\n"
        f"<X509SubjectName>{_name(subject_of(certificate))}</X509SubjectName>\n{certificates}\n"
        "</X509Data>\n</KeyInfo>\n"
    )


def _name(text: str) -> str:
    """Return a Name; characters that XML does not allow are escaped as in RFC 4514."""
    return escape(NOT_XML.sub(lambda found: "".join(f"\\{octet:02X}" for octet in found[0].encode()), text))
