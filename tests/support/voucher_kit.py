"""What tests of vouchers are made of: signers of every kind, Options and vouchers, all genuine."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.common.digests import Digest
from spkg.trust.policy import VOUCHER_PURPOSES, Policy
from spkg.trust.signers import KeySigner, PrivateKey, Signatory
from tests.support.kit import AT, KEYS, LAST, name, root
from vouchers.model import DeviceId, Mode, Option, Voucher
from vouchers.months import Units
from vouchers.signature.shape import read_voucher
from vouchers.signature.sign import VoucherSigner
from vouchers.signature.verify import TrustedVoucher, Verifier

SCHEMES: Final = (
    ("signer", Digest.SHA256),
    ("p256", Digest.SHA256),
    ("dsa2048", Digest.SHA256),
    ("signer", Digest.SHA1),
    ("dsa1024", Digest.SHA1),
)
"""Every way to sign a voucher: the key, and the digest."""
DEVICE: Final = DeviceId(
    manufacturer="2Wire", oui="00D09E", product_class="Gateway", serial_number="123456789"
)
IPTV: Final = Option(
    serial="4001",
    device=DEVICE,
    ident="IPTV",
    description="Television over DSL",
    mode=Mode.WITH_EXPIRATION,
    start=datetime(2026, 5, 1, tzinfo=UTC),
    duration=12,
    units=Units.MONTHS,
)
QOS: Final = Option(
    serial="4002",
    device=DEVICE,
    ident="QoS",
    description="Quality of service",
    mode=Mode.WITHOUT_EXPIRATION,
    transferable=True,
)
VOUCHER: Final = Voucher(options=(IPTV, QOS))


@cache
def signing_key(which: str) -> PrivateKey:
    """Return one of the fixed test keys, of any kind."""
    loaded = load_pem_private_key(
        (KEYS / f"{which}.key").read_bytes(), None, unsafe_skip_rsa_key_validation=True
    )
    assert isinstance(loaded, PrivateKey)
    return loaded


def private_key(who: Signatory) -> PrivateKey:
    """Return the key of a signer whose key is in memory, as those of the tests are."""
    assert isinstance(who.key, KeySigner)
    return who.key.private


@cache
def signatory(
    which: str = "signer",
    *,
    subject: str = "Voucher Signer",
    ca: bool = False,
    purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CODE_SIGNING,),
    start: datetime = AT - timedelta(days=365),
    end: datetime = LAST,
) -> Signatory:
    """Return a signer of vouchers whom the root of all tests certifies, which goes with it as its chain."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(root().certificate.subject)
        .public_key(signing_key(which).public_key())
        .serial_number(4000)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    certificate = builder.sign(root().key, hashes.SHA256())
    return Signatory(key=KeySigner(signing_key(which)), certificate=certificate, chain=(root().certificate,))


def signed(
    voucher: Voucher = VOUCHER, which: str = "signer", digest: Digest = Digest.SHA256, **certificate: Any
) -> bytes:
    """Return a voucher as signed XML."""
    return VoucherSigner(signatory(which, **certificate), digest).sign(voucher)


def policy(*digests: Digest, **changes: Any) -> Policy:
    """Return what accepts the signers above; SHA-256 alone where no digest is named."""
    accepted = frozenset(digests) or frozenset({Digest.SHA256})
    wanted = Policy(anchors=(root().certificate,), purposes=VOUCHER_PURPOSES, digests=accepted)
    return replace(wanted, **changes)


def verified(octets: bytes, *digests: Digest, at: datetime | None = AT, **changes: Any) -> TrustedVoucher:
    """Read and verify a voucher."""
    return Verifier(policy(*digests, **changes)).verify(read_voucher(octets), at)


def pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as a file has them."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
