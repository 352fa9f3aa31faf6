"""Signing: a SignerInfo made with a key, checked before it is used, and added to a package (TR-069 E.5)."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.common.atomic_output import new_file, write_all
from spkg.common.digests import Digest
from spkg.errors import FormatError, RefusedError, UsageError
from spkg.format.package import MAX_FRONT_MATTER, Package
from spkg.format.ranges import Range
from spkg.format.signature_block import (
    SignatureBlock,
    add_signer,
    load_block,
    signed_attributes,
    signer_info,
    without_signers,
)
from spkg.trust.certificates import certificate_id, subject_of
from spkg.trust.chain import check_rsa_key
from spkg.trust.signers import Identity, check_kind, check_signature
from spkg.verify.contents import compare_payload
from spkg.verify.payload import Payload
from spkg.verify.single_pass import Consumer, Progress

__all__ = [
    "add_signature",
    "attributes_to_sign",
    "check_front_matter",
    "open_signed",
    "sign_package",
    "signed_size",
    "with_signature",
    "write_with_block",
]


def add_signature(
    block: SignatureBlock,
    signed: bytes,
    identity: Identity,
    *,
    digest: Digest = Digest.SHA1,
    signing_time: datetime | None = None,
) -> bytes:
    """Return *block* with one more signature; the others stay unchanged, byte for byte.

    The same inputs give the same bytes, and the length does not depend on *signed*.

    Args:
        block: The block to extend.
        signed: The bytes of header and command list.
        identity: The signer.
        digest: SHA-1 as E.5 demands, or SHA-256 for a second signature in addition to it.
        signing_time: The time that the signature claims, if any.

    Raises:
        FormatError: There are too many signatures or certificates for one block.
        RefusedError: This signer has already signed with this digest.
        UntrustedError: Our own verifier would not accept the key.
    """
    attributes = attributes_to_sign(block, signed, identity.certificate, digest, signing_time)
    hashed = digest.of(attributes)
    signature = identity.key.sign(digest, hashed)
    check_signature(check_rsa_key(identity.key.public_key), digest, hashed, signature, "the signer's key")
    return with_signature(
        block,
        identity.certificate,
        identity.chain,
        digest=digest,
        attributes=attributes,
        signature=signature,
    )


def signed_size(block: SignatureBlock, identity: Identity, signing_time: datetime | None = None) -> int:
    """Return how long *block* is with one more signature, by SHA-1, without making one.

    Raises:
        FormatError: There are too many signatures or certificates for one block.
        UntrustedError: Our own verifier would not accept the key.
    """
    attributes = attributes_to_sign(block, b"", identity.certificate, Digest.SHA1, signing_time)
    blank = bytes((check_rsa_key(identity.key.public_key).key_size + 7) // 8)
    made = with_signature(
        block,
        identity.certificate,
        identity.chain,
        digest=Digest.SHA1,
        attributes=attributes,
        signature=blank,
    )
    return len(made)


def attributes_to_sign(
    block: SignatureBlock,
    signed: bytes,
    certificate: x509.Certificate,
    digest: Digest,
    signing_time: datetime | None,
) -> bytes:
    """Return the signed attributes of a signature, whose digest is what a key signs.

    Args:
        block: The block that the signature will be added to.
        signed: The bytes of header and command list.
        certificate: The signer's.
        digest: The digest.
        signing_time: The time that the signature claims, if any.

    Raises:
        RefusedError: This signer has already signed with this digest, or its key is not an RSA key.
        UntrustedError: Our own verifier would not accept the key.
    """
    check_kind(certificate.public_key())
    check_rsa_key(certificate.public_key())
    names = certificate_id(certificate.public_bytes(Encoding.DER))
    for signer in block.signers:
        if (signer.issuer, signer.serial) == names and signer.digest_algorithm.name == digest.value:
            raise RefusedError(
                f"{subject_of(certificate)} has already signed this package with {digest.value}"
            )
    return signed_attributes(digest.of(signed), signing_time)


def with_signature(
    block: SignatureBlock,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    *,
    digest: Digest,
    attributes: bytes,
    signature: bytes,
) -> bytes:
    """Return *block* with a signature that was made; the caller has checked it.

    Raises:
        FormatError: There are too many signatures or certificates for one block.
    """
    own = certificate.public_bytes(Encoding.DER)
    info = signer_info(own, digest, attributes, signature)
    extended = add_signer(block, info, digest, [own, *(one.public_bytes(Encoding.DER) for one in chain)])
    load_block(extended)  # a block that can't be read again is not written
    return extended


def check_front_matter(signed: bytes, block: bytes) -> None:
    """Refuse to write a front matter that recipients need not accept.

    Raises:
        FormatError: Header, command list and block have more than 150 000 bytes together.
    """
    size = len(signed) + len(block)
    if size > MAX_FRONT_MATTER:
        problem = (
            f"header, command list and signatures would have {size} bytes, the limit is {MAX_FRONT_MATTER}"
        )
        raise FormatError(problem, section="E.5")


def sign_package(
    package: Package,
    payload: Payload,
    output: FileIO,
    identity: Identity,
    *,
    digest: Digest = Digest.SHA1,
    signing_time: datetime | None = None,
    replacing: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write *package* with one more signature to *output*, and return how many it replaces.

    The payload is compared with its commands while it is copied: the signature covers it, too.  With
    *replacing*, the same certificate's signature with the same digest goes.

    Raises:
        DamagedPayloadError: A file does not match its command.
        FormatError: The payload does not fit the header, or the front matter would be too large.
        RefusedError: This signer has already signed with this digest.
        UntrustedError: Our own verifier would not accept the key.
    """
    block, gone = package.block, set[int]()
    if replacing:
        named = certificate_id(identity.certificate.public_bytes(Encoding.DER))
        gone = {
            index
            for index, one in enumerate(block.signers)
            if (one.issuer, one.serial) == named and one.digest_algorithm.name == digest.value
        }
        block = load_block(without_signers(block, gone))
    octets = add_signature(block, package.signed, identity, digest=digest, signing_time=signing_time)
    write_with_block(package, payload, output, octets, progress=progress)
    return len(gone)


def write_with_block(
    package: Package, payload: Payload, output: FileIO, block: bytes, *, progress: Progress | None = None
) -> None:
    """Write *package* with another signature block to *output*.

    Raises:
        DamagedPayloadError: A file does not match its command.
        FormatError: The payload does not fit the header, or the front matter would be too large.
    """
    check_front_matter(package.signed, block)
    write_all(output, package.signed + block)
    compare_payload(package, payload, also=[_Copier(output, payload.length)], progress=progress)


@contextmanager
def open_signed(
    source: Path, payload: Payload, output: Path | None, *, force: bool = False
) -> Iterator[FileIO]:
    """Open the file that a signed package is written to, which appears whole or not at all.

    Args:
        source: The file that the package was read from.
        payload: The payload that was opened with it.
        output: The new file; None to replace *source*, where a symbolic link stays a link.
        force: Whether an existing *output* is replaced.

    Raises:
        UsageError: The output exists, or *source* is to be replaced and is not a regular file.
        HostError: The file was changed in the meantime.
        OSError: It can't be written.
    """
    if output is not None:
        with new_file(output, force=force) as file:
            yield file
        return
    if payload.descriptor is None:
        raise UsageError(f"{source} is not a regular file: signing it needs -o OUT")
    target = Path(os.path.realpath(source)) if source.is_symlink() else source
    with new_file(target, replaces=os.fstat(payload.descriptor)) as file:
        yield file


class _Copier(Consumer):
    """A consumer that copies the whole payload."""

    def __init__(self, output: FileIO, length: int) -> None:
        self.range = Range(0, length)
        self._output = output

    def feed(self, octets: memoryview) -> None:
        """Write the next bytes."""
        write_all(self._output, octets)
