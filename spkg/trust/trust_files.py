"""What the user trusts, from files and directories: all that can be used, and no silence about the rest.

A set with an odd member is neither spoiled by it nor thinned without a word: what can't be used as an anchor
is left out with a warning that names it.  Revocation lists in the set count; an unreadable one is an error.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Final

from cryptography import x509
from OpenSSL import crypto

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.common.printable import amount
from spkg.errors import FormatError, HostError
from spkg.trust.certificate_blocks import BlockKind, CertificateBlock, blocks_of
from spkg.trust.certificate_files import (
    nothing_found,
    read_certificate_block,
    read_key_file,
    read_list_block,
)
from spkg.trust.certificates import salvaged_subject, subject_of

__all__ = ["TrustSet", "load_trust"]

MAX_NAMED_UNUSABLE: Final = 8
"""How many certificates an error names that can't be used."""


@dataclass(frozen=True, kw_only=True)
class TrustSet:
    """The anchors of a policy, with the revocation lists that lie beside them."""

    certificates: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    findings: tuple[Finding, ...]
    """What was left out, and why."""


@dataclasses.dataclass
class _Gathered:
    certificates: list[x509.Certificate] = field(default_factory=list)
    crls: list[x509.CertificateRevocationList] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    """The certificates that can't be used, each with its name and the reason."""
    blocks: list[CertificateBlock] = field(default_factory=list)


def load_trust(paths: Sequence[Path]) -> TrustSet:
    """Read all certificates and revocation lists of files and directories.

    Args:
        paths: Files; of a directory all regular files are read in the order of their names, hidden ones
            excepted.

    Raises:
        HostError: One of them has no certificate that can be used, or a revocation list that can't be read.
        OSError: One of them can't be read.
    """
    gathered = [_gather(path) for path in paths]
    certificates = dict.fromkeys(one for part in gathered for one in part.certificates)
    return TrustSet(
        certificates=tuple(certificates),
        crls=tuple(one for part in gathered for one in part.crls),
        findings=tuple(one for part in gathered for one in part.findings),
    )


def _gather(path: Path) -> _Gathered:
    """Read one file or directory."""
    found = _Gathered()
    for file in _files(path):
        blocks = list(blocks_of(read_key_file(file)))
        if not blocks and file is not path:
            found.findings.append(_ignored(f"{file}: ignored: it has no certificate"))
        for block in blocks:
            _add(found, file, block)
        found.blocks += blocks
    if not found.certificates:
        if not found.unusable:
            hint = "give revocation lists with --crl" if found.crls else None
            raise nothing_found(str(path), found.blocks, "certificate", hint)
        named = found.unusable[:MAX_NAMED_UNUSABLE]
        if len(found.unusable) > len(named):
            named.append(f"and {amount(len(found.unusable) - len(named), 'more certificate')}")
        raise HostError(f"{path} contains no certificate that can be used: {'; '.join(named)}")
    return found


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.iterdir()):
        if not file.name.startswith(".") and file.is_file():
            yield file


def _add(found: _Gathered, file: Path, block: CertificateBlock) -> None:
    """Add a block to the set, or the warning why it is not in it."""
    match block.kind:
        case BlockKind.CERTIFICATE:
            try:
                found.certificates.append(_anchor(block))
            except FormatError as exc:
                subject = salvaged_subject(block.octets) or "an unknown subject"
                found.unusable.append(f"{subject}: {exc.problem}")
                message = f"{file}: skipped the certificate of {subject}: {exc.problem}"
                found.findings.append(Finding(code="certificate-skipped", message=message))
                return
            if block.trust_settings:
                subject = subject_of(found.certificates[-1])
                message = f"{file}: the trust settings of openssl for {subject} are ignored: it is an anchor"
                found.findings.append(Finding(code="trust-settings", message=message))
        case BlockKind.REVOCATION_LIST:
            try:
                found.crls.append(read_list_block(block))
            except FormatError as exc:
                problem = f"{file} contains a revocation list that can't be read: {exc.problem}"
                raise HostError(problem) from exc
        case BlockKind.PRIVATE_KEY:
            message = f"{file}: ignored a private key: it should not lie among the trusted certificates"
            found.findings.append(Finding(code="private-key", message=message))
        case BlockKind.OTHER:
            found.findings.append(_ignored(f"{file}: ignored: {block.problem or block.label}"))


def _ignored(message: str) -> Finding:
    return Finding(code="trust-file-ignored", message=message)


def _anchor(block: CertificateBlock) -> x509.Certificate:
    """Return a certificate that can be an anchor.

    Raises:
        FormatError: It can't be read, by us or by OpenSSL, which builds the paths.
    """
    certificate = read_certificate_block(block)
    try:
        crypto.X509.from_cryptography(certificate).get_pubkey()
    except crypto.Error as exc:
        raise FormatError("OpenSSL can't read it") from exc
    return certificate
