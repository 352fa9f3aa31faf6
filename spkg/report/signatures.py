"""``spkg signatures``: who signed a package, as it says; nothing is verified."""

from collections.abc import Collection, Iterator

from spkg.common.documents import Document
from spkg.common.printable import amount
from spkg.common.times import write_time
from spkg.errors import FormatError
from spkg.format.signature_block import SignatureBlock, readable_name
from spkg.report.lines import Line, Tone, columns
from spkg.trust.certificates import certificate_id, read_certificate, serial_text
from spkg.trust.chain import names_of

__all__ = ["named_signatures", "signatures_document", "signatures_lines"]


def named_signatures(block: SignatureBlock, name: str) -> list[int]:
    """Return the indexes of the signatures whose certificate in the block has a name."""
    having: set[tuple[bytes | None, int | None]] = set()
    for octets in block.certificates:
        try:
            if name in names_of(read_certificate(octets)):
                having.add(certificate_id(octets))
        except FormatError:
            continue
    return [index for index, one in enumerate(block.signers) if (one.issuer, one.serial) in having]


def signatures_document(block: SignatureBlock, gone: Collection[int]) -> Document:
    """Return what ``signatures --json`` prints: those that are there, without those that are *gone*."""
    return {
        "schema": "spkg.signatures/1",
        "signatures": [one for index, one in enumerate(_signatures(block)) if index not in gone],
        "removed": len(gone),
    }


def signatures_lines(
    name: str, block: SignatureBlock, gone: Collection[int], *, removed: bool
) -> Iterator[Line]:
    """Yield what ``signatures`` prints."""
    if removed:
        left = len(block.signers) - len(gone)
        yield Tone.PLAIN, f"{name}: removed {amount(len(gone), 'signature')}, {left} left"
        return
    rows = [
        (
            f"signature {one['index']}",
            one["subject"] or "unknown signer",
            one["digest"],
            f"serial {one['serial']}" if one["serial"] else "",
            f"signed {one['signing_time']}" if one["signing_time"] else "",
        )
        for one in _signatures(block)
    ]
    for line in columns(rows):
        yield Tone.PLAIN, line
    if not rows:
        yield Tone.PLAIN, f"{name}: no signature"


def _signatures(block: SignatureBlock) -> list[Document]:
    return [
        {
            "index": index,
            "subject": block.subject_of(one),
            "issuer": None if one.issuer is None else readable_name(one.issuer),
            "serial": None if one.serial is None else serial_text(one.serial),
            "digest": one.digest_algorithm.name,
            "signing_time": None if one.signing_time is None else write_time(one.signing_time),
        }
        for index, one in enumerate(block.signers)
    ]
