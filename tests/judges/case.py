"""The case that every judge hears: octets that are signed, those who sign them, and blocks of ours."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.build.sign import add_signature
from spkg.common.digests import Digest
from spkg.format.package import Package
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.verify.signatures import TrustedPackage, UntrustedPackageError, verify_package
from tests.support.kit import AT, CONTENTS, Certified, Draft, certify, policy, read

__all__ = [
    "END",
    "FORGED",
    "OURS",
    "SIGNED",
    "START",
    "accept",
    "chained",
    "flip",
    "intermediate",
    "old_root",
    "old_signer",
    "package",
    "refusal",
    "root",
    "second",
    "sign",
    "signer",
    "signers_of",
]

CODE_SIGNING: Final = ExtendedKeyUsageOID.CODE_SIGNING
START: Final = datetime(2020, 1, 1, tzinfo=UTC)
END: Final = datetime(2049, 12, 31, tzinfo=UTC)
"""Not every judge can be told the time: these certificates outlast the clock of the machine."""


def _authority(
    subject: str,
    by: Certified | None = None,
    *,
    with_key: str,
    purposes: tuple[x509.ObjectIdentifier, ...] | None = None,
    digest: str = "sha256",
    serial: int,
) -> Certified:
    return certify(
        subject,
        by,
        with_key=with_key,
        ca=True,
        usage=("key_cert_sign", "crl_sign"),
        purposes=purposes,
        digest=digest,
        start=START,
        end=END,
        serial=serial,
    )


@cache
def root() -> Certified:
    return _authority("Lasting Root", with_key="root", serial=1)


@cache
def intermediate() -> Certified:
    # NSS has none vouch for signers of objects that does not say so itself.
    return _authority("Intermediate", root(), with_key="second", purposes=(CODE_SIGNING,), serial=2)


@cache
def signer() -> Certified:
    return certify("Signer", root(), start=START, end=END, serial=10)


@cache
def second() -> Certified:
    return certify("Second", root(), with_key="second", start=START, end=END, serial=11)


@cache
def chained() -> Certified:
    return certify("Chained", intermediate(), with_key="other", start=START, end=END, serial=12)


@cache
def old_root() -> Certified:
    return _authority("Old Root", with_key="root", digest="sha1", serial=3)


@cache
def old_signer() -> Certified:
    return certify("Old Signer", old_root(), digest="sha1", start=START, end=END, serial=13)


SIGNED: Final = Draft().signed
"""Header and command list: the message of every signature here."""


def flip(octets: bytes, position: int) -> bytes:
    """Return *octets* with one bit changed."""
    flipped = bytearray(octets)
    flipped[position] ^= 1
    return bytes(flipped)


FORGED: Final = flip(SIGNED, SIGNED.index(b"/bin/app"))
"""The same with an octet changed that no reader can see anything wrong with."""


def sign(
    block: bytes,
    by: Certified,
    *chain: Certified,
    digest: Digest = Digest.SHA1,
    signing_time: datetime | None = None,
) -> bytes:
    """Return *block* with one more signature of ours."""
    identity = by.identity(*chain)
    return add_signature(load_block(block), SIGNED, identity, digest=digest, signing_time=signing_time)


def _one_signer() -> bytes:
    return sign(EMPTY_BLOCK, signer())


def _two_signers() -> bytes:
    return sign(sign(EMPTY_BLOCK, signer()), second())


def _two_digests() -> bytes:
    return sign(sign(EMPTY_BLOCK, signer()), signer(), digest=Digest.SHA256)


def _chain() -> bytes:
    return sign(EMPTY_BLOCK, chained(), intermediate())


def _everything() -> bytes:
    return sign(sign(_two_signers(), signer(), digest=Digest.SHA256), chained(), intermediate())


def _signing_time() -> bytes:
    return sign(EMPTY_BLOCK, signer(), signing_time=AT)


OURS: Final[dict[str, Callable[[], bytes]]] = {
    "one signer": _one_signer,
    "two signers": _two_signers,
    "SHA-256 beside SHA-1": _two_digests,
    "an intermediate certificate": _chain,
    "a signing time": _signing_time,
    "all of it": _everything,
}
"""Blocks that we write, each made when it is asked for."""


def package(block: bytes, signed: bytes = SIGNED) -> Package:
    """Return the package that has this block, read from its octets."""
    return read(signed + block + CONTENTS)


def accept(block: bytes, *anchors: Certified, **settings: object) -> TrustedPackage:
    """Verify a package with this block, where the anchors are the root unless others are named."""
    return verify_package(package(block), policy(*(anchors or (root(),)), **settings), at=AT)


def refusal(block: bytes, *anchors: Certified, signed: bytes = SIGNED, **settings: object) -> str:
    """Return why we refuse a package with this block."""
    with pytest.raises(UntrustedPackageError) as caught:
        verify_package(package(block, signed), policy(*(anchors or (root(),)), **settings), at=AT)
    return str(caught.value)


def signers_of(block: bytes) -> list[bytes]:
    """Return the SignerInfos of a block as they stand."""
    return [one.octets for one in load_block(block).signers]
