"""``spkg attest``."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from spkg import __version__
from spkg.cli.app import command
from spkg.cli.arguments import check_output, key_files, now, package_source, read_identity, spare_inputs
from spkg.cli.console import print_document, print_lines, progress_bar, warn
from spkg.cli.options import FILE, FORCE, JSON, KEY, NO_PROGRESS, STRICT, UNFIT
from spkg.common.findings import refuse_findings
from spkg.errors import UsageError

__all__ = ["attest"]

URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:[!#-;=?-Z_a-z~%\[\]@]{1,2000}")
"""What a builder is named by: the characters that RFC 3986 allows."""


@command("attest")
@click.argument("package", metavar="PKG", type=FILE)
@click.option("-o", "output", required=True, type=FILE, metavar="FILE", help="Write the attestation to FILE.")
@KEY
@UNFIT
@click.option("--builder", metavar="URI", help="Name who built the package.  [default: spkg itself]")
@STRICT
@FORCE
@NO_PROGRESS
@JSON
def attest(
    package: Path,
    output: Path,
    builder: str | None,
    strict: bool,
    force: bool,
    no_progress: bool,
    as_json: bool,
    at: datetime | None,
    unsafe_unfit_certificate: bool,
    **key: Any,
) -> None:
    """Sign a statement about where PKG comes from: SLSA provenance.

    FILE gets an in-toto statement in a DSSE envelope.  Its subject is the digest of header and command list,
    so signatures can still be added to PKG.  A payload that does not match the commands is refused.

    \b
    Example:
      spkg attest gateway.spkg -o gateway.intoto.json --key keys/signer.key --cert keys/signer.pem
      spkg verify gateway.spkg --trust keys/ca.pem --attestation gateway.intoto.json

    See: docs/provenance.md
    """
    from spkg.build.attest import BUILDER, attest_package, describe_package
    from spkg.common.atomic_output import new_file, write_all
    from spkg.report.attest import attested_document, attested_lines
    from spkg.trust.certificates import subject_of
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.policy import PACKAGE_PURPOSES
    from spkg.verify.payload import open_package

    if builder is not None and URI.fullmatch(builder) is None:
        raise UsageError(f"--builder takes a URI, not {builder!r:.80}")
    if str(output) == "-":
        raise UsageError("an attestation can't be written to standard output")
    spare_inputs(output, [("the package", package), *key_files(key)])
    check_output(output, force=force)
    identity = read_identity(**key)
    found = check_fitness(
        identity.certificate,
        PACKAGE_PURPOSES,
        at=at or now(),
        unsafe_unfit_certificate=unsafe_unfit_certificate,
    )
    found += chain_findings(identity.certificate, identity.chain)
    for finding in found:
        warn(finding)
    if strict:
        refuse_findings(found)
    with open_package(package_source(package)) as (opened, payload):
        with progress_bar("reading", payload.length, wanted=not no_progress) as progress:
            name = "package" if str(package) == "-" else package.name
            facts = describe_package(name, opened, payload, progress=progress)
        envelope = attest_package(facts, identity, builder=builder or BUILDER, version=__version__)
        with new_file(output, force=force) as file:
            write_all(file, envelope.encode())
    signer = subject_of(identity.certificate)
    if as_json:
        print_document(attested_document(str(output), signer, builder or BUILDER, facts, found))
    else:
        print_lines(attested_lines(str(output), signer, facts))
