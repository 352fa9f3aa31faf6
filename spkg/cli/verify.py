"""``spkg verify``."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import DocumentedError, command, exit_status, host_error
from spkg.cli.arguments import cores, package_source, read_attestation
from spkg.cli.console import print_document, print_lines, progress_bar
from spkg.cli.options import EXPLAIN, FILE, JOBS, JSON, NO_PROGRESS, TRUST
from spkg.cli.trust import read_trust
from spkg.errors import SpkgError

if TYPE_CHECKING:
    from spkg.common.findings import Finding
    from spkg.verify.attestation import TrustedAttestation
    from spkg.verify.explanation import PackageExplanation

__all__ = ["verify"]


@command("verify")
@click.argument("package", metavar="PKG", type=FILE)
@TRUST
@click.option(
    "--attestation",
    type=FILE,
    metavar="FILE",
    help="Also require the provenance in FILE (DSSE), for this package and by an accepted signer.",
)
@EXPLAIN
@JOBS
@NO_PROGRESS
@JSON
def verify(
    package: Path,
    at: datetime | None,
    no_clock: bool,
    attestation: Path | None,
    explain: bool,
    jobs: int | None,
    no_progress: bool,
    as_json: bool,
    **trust: Any,
) -> None:
    """Check the signatures of PKG and the digest of every file.

    Exit status 0: a trusted signer signed it, and every file matches; 4: not trusted; --explain shows why.

    \b
    Example:
      spkg verify gateway.spkg --trust keys/ca.pem

    See: docs/verifying.md
    """
    from spkg.common.digests import Digest
    from spkg.report.lines import error_fields, warning_documents
    from spkg.report.verify import verification_document, verification_lines
    from spkg.verify import signatures as verification
    from spkg.verify.contents import PayloadReport, check_payload
    from spkg.verify.payload import open_package

    trusted: verification.TrustedPackage | None = None
    report: PayloadReport | None = None
    attested: TrustedAttestation | None = None
    error: SpkgError | None = None
    explained: PackageExplanation | None = None
    findings: tuple[Finding, ...] = ()
    try:
        options = read_trust(at=at, no_clock=no_clock, **trust)
        policy, time, findings = options.policy, options.time, options.findings
        envelope = None if attestation is None else read_attestation(attestation)
        with open_package(package_source(package)) as (opened, payload):
            if explain:
                from spkg.verify.explanation import explain_package

                explained = explain_package(opened, policy, at=time)
            trusted = verification.verify_package(opened, policy, at=time)
            hashers = []
            if envelope is not None:
                from spkg.verify.attestation import payload_hasher, verify_attestation

                attested = verify_attestation(envelope, trusted, policy, at=time)
                hashers.append(payload_hasher(payload))
            with progress_bar("verifying", payload.length, wanted=not no_progress) as progress:
                report = check_payload(
                    trusted,
                    payload,
                    also=hashers,
                    jobs=jobs or cores(),
                    sha256=as_json,
                    progress=progress,
                )
            if attested is not None:
                attested.check_payload_digest(hashers[0].digests[Digest.SHA256])
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = host_error(exc)
    if as_json:
        document = verification_document(trusted, report, error, attested)
        document["warnings"] = warning_documents(findings)
        if explained is not None:
            from spkg.report.explanation import explanation_document

            document["explain"] = explanation_document(explained)
        if error is not None:
            document |= error_fields(error, exit_status(error), error.STATUS, str(error))
        print_document(document)
    else:
        print_lines(verification_lines(trusted, report, error, attested, explained))
    if error is not None:
        raise DocumentedError(error) from error
