"""Vouchers signed in two steps: written without a signature, signed elsewhere, completed and verified.

What is written out is the voucher itself with zeros for its signature, so that the completed one is what
``issue`` writes with the same key.
"""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.common.atomic_output import write_all
from spkg.common.digests import Digest
from spkg.common.documents import json_text
from spkg.errors import RefusedError, UntrustedError
from spkg.trust.request_fields import RequestFields
from spkg.trust.signers import PublicKey, Signatory, digest_info, pair_as_der
from vouchers.acs.bulk import BulkOrder, BulkReport, reserved_vouchers
from vouchers.acs.bulk_output import RejectedLines
from vouchers.acs.issuer import Issued, sign_voucher
from vouchers.acs.ledger import Ledger
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.serial_log import SerialLog
from vouchers.signature.shape import read_voucher
from vouchers.signature.sign import VoucherSigner, signed_info_of, with_signature_value
from vouchers.signature.verify import voucher_signed_by

__all__ = [
    "MAX_VOUCHER_REQUEST",
    "VoucherRequest",
    "complete_voucher",
    "request_for",
    "unsigned_signer",
    "write_requests",
]

VOUCHER_REQUEST_SCHEMA: Final = "spkg.voucher.request/1"
MAX_VOUCHER_REQUEST: Final = 1 << 21
"""The longest request for one voucher, in bytes."""


@dataclass(frozen=True)
class _Blank:
    """Stands for a key that is elsewhere: its signatures are zeros."""

    public_key: PublicKey

    def sign(self, digest: Digest, hashed: bytes) -> bytes:  # noqa: ARG002 - it has no use for them
        """Return zeros, as many as a signature has."""
        if isinstance(self.public_key, rsa.RSAPublicKey):
            return bytes((self.public_key.key_size + 7) // 8)
        return encode_dss_signature(0, 0)


@dataclass(frozen=True, kw_only=True)
class VoucherRequest:
    """A voucher that is still to be signed."""

    digest: Digest
    unsigned: bytes
    """Its XML, with zeros for the signature."""
    certificate: x509.Certificate

    def encode(self, issued: Issued) -> bytes:
        """Return it as a line of JSON; *issued* says whose it is."""
        octets = signed_info_of(self.unsigned)
        hashed = self.digest.of(octets)
        is_rsa = isinstance(self.certificate.public_key(), rsa.RSAPublicKey)
        document = {
            "schema": VOUCHER_REQUEST_SCHEMA,
            "device": {
                "oui": issued.device.oui,
                "product_class": issued.device.product_class,
                "serial_number": issued.device.serial_number,
            },
            "serials": issued.serials,
            "digest": self.digest.value,
            "signed_info": _base64(octets),
            "signed_info_digest": _base64(hashed),
            "digest_info": _base64(digest_info(self.digest, hashed)) if is_rsa else None,
            "certificate": self.certificate.public_bytes(Encoding.PEM).decode(),
            "voucher": _base64(self.unsigned),
        }
        return json_text(document).encode() + b"\n"

    @classmethod
    def decode(cls, octets: bytes, name: str, line: int | None = None) -> Self:
        """Return the request in a line; *name* and *line* say where it is from, for errors.

        Raises:
            FormatError: It is not such a request.
        """
        fields = RequestFields(
            octets, VOUCHER_REQUEST_SCHEMA, most=MAX_VOUCHER_REQUEST, source=name, line=line
        )
        return cls(
            digest=fields.digest(),
            unsigned=fields.octets("voucher"),
            certificate=fields.certificates("certificate")[0],
        )


def unsigned_signer(
    certificate: x509.Certificate, chain: tuple[x509.Certificate, ...], digest: Digest
) -> VoucherSigner:
    """Return what writes vouchers for a key that is elsewhere, with zeros for the signature.

    Raises:
        RefusedError: The certificate's key can't sign vouchers, or not with this digest.
        FormatError: There are more certificates than a voucher may have.
    """
    key = certificate.public_key()
    if not isinstance(key, PublicKey):
        raise RefusedError("the key must be RSA, DSA or ECDSA")
    return VoucherSigner(Signatory(key=_Blank(key), certificate=certificate, chain=chain), digest)


def request_for(issued: Issued, certificate: x509.Certificate, digest: Digest) -> bytes:
    """Return the request, a line of JSON, for a voucher that :func:`unsigned_signer` has written."""
    return VoucherRequest(digest=digest, unsigned=issued.octets, certificate=certificate).encode(issued)


def write_requests(
    order: BulkOrder,
    devices: Iterable[ListedDevice],
    output: FileIO,
    signer: VoucherSigner,
    *,
    certificate: x509.Certificate,
    ledger: Ledger,
    rejected: FileIO,
    log: SerialLog,
) -> BulkReport:
    """Write a request for each device of a list, a line each.

    The caller makes the output durable, and then confirms the serial numbers in *log* in the ledger: from
    then on, a voucher with them may exist.

    Args:
        order: What to issue.
        devices: The list.
        output: The file.
        signer: What :func:`unsigned_signer` returned.
        certificate: The signer's.
        ledger: The source of the serial numbers.
        rejected: The file of the lines that get none, as ``issue`` writes it.
        log: Where the serial numbers of what was written are added.

    Raises:
        FormatError: The list is malformed, or a voucher would be too large.
        RefusedError: The batch was begun with other Options.
        HostError: The ledger can't be used.
        OSError: The output can't be written.
    """
    run, issued = ledger.new_run(), 0
    with RejectedLines(rejected) as reject:
        for taken, _ in reserved_vouchers(order, devices, ledger, signer, run, reject):
            made = [sign_voucher(want, serials, signer) for want, serials in taken]
            write_all(output, b"".join(request_for(one, certificate, signer.digest) for one in made))
            issued += len(made)
            for one in made:
                log.add(one.serials)
    return BulkReport(issued=issued, rejected=reject.count, run=run)


def complete_voucher(request: VoucherRequest, signature: bytes) -> Issued:
    """Return a voucher with a signature that was made elsewhere, verified.

    Args:
        request: What was to be signed.
        signature: The raw bytes of RSASSA-PKCS1-v1_5; for DSA and ECDSA DER, or r followed by s.

    Raises:
        UntrustedError: The signature does not hold.
        FormatError: The request has no valid voucher.
    """
    key = request.certificate.public_key()
    if not isinstance(key, PublicKey):
        raise UntrustedError("the key must be RSA, DSA or ECDSA")
    octets = with_signature_value(request.unsigned, _raw(signature, key))
    voucher = voucher_signed_by(read_voucher(octets), request.certificate, request.digest)
    first = voucher.options[0]
    return Issued(
        device=first.device, serials=tuple(int(option.serial) for option in voucher.options), octets=octets
    )


def _raw(signature: bytes, key: PublicKey) -> bytes:
    if isinstance(key, rsa.RSAPublicKey):
        return signature
    try:
        pair = decode_dss_signature(pair_as_der(signature, key))
        bits = key.key_size
        if isinstance(key, dsa.DSAPublicKey):
            bits = key.parameters().parameter_numbers().q.bit_length()
        return b"".join(part.to_bytes((bits + 7) // 8, "big") for part in pair)
    except (ValueError, OverflowError) as exc:
        raise UntrustedError("the signature is not one of DSA or ECDSA") from exc


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()
