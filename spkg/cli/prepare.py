"""``spkg prepare``."""

from datetime import datetime
from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, now, package_source, spare_inputs
from spkg.cli.console import print_document, print_lines, warn
from spkg.cli.options import CERTIFICATE, FILE, FORCE, JSON, SIGN_DIGEST, SIGNING_TIME, UNFIT

__all__ = ["prepare"]


@command("prepare")
@click.argument("package", metavar="PKG", type=FILE)
@click.option("-o", "output", required=True, type=FILE, metavar="REQUEST", help="Write to REQUEST.")
@CERTIFICATE
@SIGN_DIGEST
@SIGNING_TIME
@UNFIT
@FORCE
@JSON
def prepare(
    package: Path,
    output: Path,
    cert: Path,
    chain: Path | None,
    digest: str,
    signing_time: datetime | None,
    at: datetime | None,
    unsafe_unfit_certificate: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write what is to be signed for PKG, to be signed elsewhere.

    REQUEST is JSON; 'spkg attach' adds the signature to the package.

    \b
    Example:
      spkg prepare gateway.spkg -o request.json --cert keys/signer.pem --digest sha256

    See: docs/signing.md
    """
    from spkg.build.two_steps import prepare_signature
    from spkg.common.atomic_output import new_file, write_all
    from spkg.common.digests import Digest
    from spkg.report.lines import Tone, warning_documents
    from spkg.trust.certificate_files import load_certificates
    from spkg.trust.certificates import readable_certificates, subject_of
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.policy import PACKAGE_PURPOSES
    from spkg.verify.payload import open_package

    check_output(output, force=force)
    spare_inputs(output, [("PKG", package), ("--cert", cert), ("--chain", chain)])
    leaf, *others = load_certificates(cert) + ([] if chain is None else load_certificates(chain))
    found = check_fitness(
        leaf,
        PACKAGE_PURPOSES,
        at=at or now(),
        unsafe_unfit_certificate=unsafe_unfit_certificate,
        digest=Digest(digest),
    )
    with open_package(package_source(package)) as (opened, _):
        request = prepare_signature(
            opened, leaf, tuple(others), digest=Digest(digest), signing_time=signing_time
        )
        embedded = (*others, *readable_certificates(opened.block.certificates))
        found += chain_findings(leaf, embedded)
        for finding in found:
            warn(finding)
    with new_file(output, force=force) as file:
        write_all(file, request.encode())
    if as_json:
        print_document(
            {
                "schema": "spkg.prepare/1",
                "output": str(output),
                "signer": subject_of(leaf),
                "digest": digest,
                "signed_sha256": request.package,
                "warnings": warning_documents(found),
            }
        )
        return
    print_lines([(Tone.PLAIN, f"{output}: to be signed by {subject_of(leaf)} with {digest}")])
