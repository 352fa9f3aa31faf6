"""What may be wrong without stopping anything: warnings, each with a code that never changes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Final, Literal, get_args

from spkg.common.documents import Document
from spkg.common.frozen import dataclass
from spkg.errors import RefusedError

__all__ = [
    "CODES",
    "NO_DATES",
    "Finding",
    "StrictError",
    "WarningCode",
    "refuse_findings",
    "warning_documents",
]

WarningCode = Literal[
    "already-ended",
    "another-builder",
    "attributes-lost",
    "capability",
    "certificate-expires",
    "certificate-skipped",
    "damaged-checkpoint",
    "damaged-journal",
    "damaged-kept",
    "damaged-record",
    "damaged-trial",
    "dates-not-checked",
    "device-path",
    "directory-mode",
    "doubtful-number",
    "empty-manifest",
    "empty-tree",
    "executable-without-mode",
    "extended-attribute",
    "handler-not-undone",
    "initial-timeouts",
    "issuer-missing",
    "leftovers",
    "lost-zeros",
    "mode-bits-dropped",
    "mode-widened",
    "new-ledger",
    "no-maximum-version",
    "no-reboot",
    "normalization",
    "not-confined",
    "not-covered",
    "not-reported",
    "not-restored",
    "not-signed",
    "owners",
    "path-twice",
    "path-under-file",
    "private-key",
    "recovered",
    "renamed",
    "requirement-ignored",
    "serial-not-remembered",
    "set-aside",
    "sha1-certificate",
    "sha1-missing",
    "special-bits",
    "trust-file-ignored",
    "trust-settings",
    "unfit-certificate",
    "unknown-commands",
    "unprotected-cluster",
    "unstatable-mode",
    "unused-pattern",
    "version-contents",
    "weak-policy",
]
"""The kind of a warning, in a word that never changes (docs/warnings.md)."""

CODES: Final = MappingProxyType[WarningCode, str](
    {
        "already-ended": "an Option of the voucher has ended already, so every device will refuse it",
        "another-builder": "another builder wrote a package: building from its manifest gives other bytes",
        "attributes-lost": "a replaced file had capabilities or other extended attributes, which are lost",
        "capability": "files have capabilities, which the package does not carry",
        "certificate-expires": "the signer's certificate expires within 90 days",
        "certificate-skipped": "a certificate among the trusted ones can't be used, and was left out",
        "damaged-checkpoint": "it is unknown how far an installation in place had come; the root is unsafe",
        "damaged-journal": "what an interrupted installation had changed is unknown; the root needs recovery",
        "damaged-kept": "a package is on trial, and what was kept to go back is damaged or missing",
        "damaged-record": "the record of installed packages was damaged; it counts as empty and is set aside",
        "damaged-trial": "the note of a trial is damaged: nothing rolls back by itself",
        "dates-not-checked": "without a clock, no dates of certificates and revocation lists were checked",
        "device-path": "a regular file goes below /dev, where a running device has its devices",
        "directory-mode": "directories of a tree have another mode than 0755, which devices give them",
        "doubtful-number": "a serial number of a list is one that a program may have written differently",
        "empty-manifest": "a manifest has no steps, so its package changes nothing",
        "empty-tree": "a step takes a tree in which there is no file",
        "executable-without-mode": "executable files have no mode in the package",
        "extended-attribute": "files have extended attributes, which the package does not carry",
        "handler-not-undone": "a roll-back does not undo what the handler of a file writes",
        "initial-timeouts": "the first step leaves the initial state, so its timeouts never apply",
        "issuer-missing": "the certificate of the signer's issuer does not go with the signature",
        "leftovers": "files of earlier installations are left over; every later run tries to remove them",
        "lost-zeros": "a serial number of a list has fewer digits than most; leading zeros may be lost",
        "mode-bits-dropped": "a mode had bits above 0777, which are never set",
        "mode-widened": "the package states a wider mode than the device had for the file",
        "new-ledger": "the ledger did not exist: it knows no serial number that was issued before",
        "no-maximum-version": "a software-upgrade can be applied over a newer release",
        "no-reboot": "the program that 'spkg guard' is to run does not exist, or is not executable",
        "normalization": "two paths look the same, in composed and decomposed characters (NFC, NFD)",
        "not-confined": "the kernel could not confine the installer to the root",
        "not-covered": "bytes of a payload that no command covers, and no signature protects, were left out",
        "not-reported": "a package was installed, and its report or its result could not be written",
        "not-restored": "going back could not restore a file that was moved: it is gone",
        "not-signed": "files come from a package without a signature, or without it being checked",
        "owners": "the files of a tree have several owners, which the package does not carry",
        "path-twice": "two steps write the same file",
        "path-under-file": "a step writes a file, and another one something below it, as in a directory",
        "private-key": "a file of trusted certificates contains a private key",
        "recovered": "an interrupted installation was finished, undone or discarded first",
        "renamed": "an extracted file has another name, because another file has its path",
        "requirement-ignored": "an attribute requirement is unknown to the device, and was ignored (E.4.13)",
        "serial-not-remembered": "nothing remembers the serial number: another voucher may get it, too",
        "set-aside": "files of an installation with a damaged journal are kept until somebody deletes them",
        "sha1-certificate": "the signer's certificate is signed with SHA-1, which not every verifier accepts",
        "sha1-missing": "readers that follow E.5 accept only SHA-1 signatures; the package has another",
        "special-bits": "set-user-ID, set-group-ID or sticky bits, which the package does not carry",
        "trust-file-ignored": "a file or part among the trusted certificates is neither certificate nor list",
        "trust-settings": "trust settings of openssl in a TRUSTED CERTIFICATE were ignored",
        "unfit-certificate": "verifiers with the default policy may reject signatures of the certificate",
        "unknown-commands": "commands of unknown types were skipped (E.4)",
        "unprotected-cluster": "without TLS, others who reach a cluster can sign with its workers' keys",
        "unstatable-mode": "a source has mode 0000, which a package can't state",
        "unused-pattern": "a pattern matches nothing",
        "version-contents": "a versioned file has other contents under the same extension (E.4.1)",
        "weak-policy": "a policy accepts more than it need to, or can accept nothing",
    }
)
"""What each code means, in one line."""

if CODES.keys() != set(get_args(WarningCode)):
    raise AssertionError("a code of warnings has no meaning, or a meaning no code")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that may be wrong, but stops nothing: a warning."""

    code: WarningCode
    message: str
    """For people: lower case, without a full stop."""
    path: str | None = None
    """The path in the package or below the root that it is about, if it is about one."""

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"


NO_DATES: Final = Finding(
    code="dates-not-checked",
    message="the dates of certificates and revocation lists were not checked: there is no clock",
)
"""The warning whenever a signature was accepted without a clock."""


def warning_documents(findings: Iterable[Finding]) -> list[Document]:
    """Return the list ``warnings`` of a document."""
    return [asdict(finding) for finding in findings]


class StrictError(RefusedError):
    """What has warnings is refused."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        named = [f"{finding} ({finding.code})" for finding in findings]
        super().__init__("; ".join(named), hint="without --strict, warnings stop nothing")
        self.findings = tuple(findings)


def refuse_findings(findings: Sequence[Finding]) -> None:
    """Refuse what has warnings, as ``--strict`` demands.

    Raises:
        StrictError: There are some; all of them are named.
    """
    if findings:
        raise StrictError(findings)
