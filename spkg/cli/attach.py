"""``spkg attach``."""

from datetime import datetime
from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, now, package_source, read_input, spare_inputs
from spkg.cli.console import print_document, print_lines, progress_bar, warn
from spkg.cli.options import FILE, FORCE, JSON, NO_PROGRESS, STRICT, UNFIT, VERIFY_WRITTEN
from spkg.cli.trust import device_policy
from spkg.errors import UsageError

__all__ = ["attach"]


@command("attach")
@click.argument("package", metavar="PKG", type=FILE)
@click.argument("request", metavar="REQUEST", type=FILE)
@click.option("--signature", type=FILE, metavar="RAW", help="Attach the raw signature in RAW.")
@click.option(
    "--signer-info",
    type=FILE,
    metavar="DER",
    help="Attach the SignerInfo in DER, alone or in what 'openssl cms' writes.",
)
@click.option("-o", "output", type=FILE, metavar="OUT", help="Write to OUT and leave PKG unchanged.")
@UNFIT
@VERIFY_WRITTEN
@STRICT
@FORCE
@NO_PROGRESS
@JSON
def attach(
    package: Path,
    request: Path,
    signature: Path | None,
    signer_info: Path | None,
    output: Path | None,
    at: datetime | None,
    trust: tuple[Path, ...],
    unsafe_unfit_certificate: bool,
    strict: bool,
    force: bool,
    no_progress: bool,
    as_json: bool,
) -> None:
    """Add a signature to PKG that was made elsewhere for REQUEST.

    The signature is verified before anything is written.

    \b
    Example:
      spkg attach gateway.spkg request.json --signature signature.bin

    See: docs/signing.md
    """
    from spkg.build.self_check import verify_written
    from spkg.build.sign import open_signed, write_with_block
    from spkg.build.two_steps import MAX_REQUEST, SigningRequest, attach_signature, attach_signer_info
    from spkg.common.findings import refuse_findings
    from spkg.report.sign import signed_document, signed_lines
    from spkg.trust.certificates import readable_certificates, subject_of
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.policy import PACKAGE_PURPOSES
    from spkg.verify.payload import open_package

    if (signature is None) == (signer_info is None):
        raise UsageError("expected either --signature or --signer-info")
    if output is None and str(package) == "-":
        raise UsageError("a package from standard input needs -o OUT")
    made = signature or signer_info
    assert made is not None  # as checked above
    if output is not None:
        check_output(output, force=force)
        spare_inputs(output, [("REQUEST", request), ("the signature", made)])
    policy = device_policy(trust)
    wanted = SigningRequest.decode(read_input(request, MAX_REQUEST), str(request))
    octets = read_input(made, MAX_REQUEST)
    found = check_fitness(
        wanted.certificate,
        PACKAGE_PURPOSES,
        at=at or now(),
        unsafe_unfit_certificate=unsafe_unfit_certificate,
        digest=wanted.digest,
    )
    with open_package(package_source(package)) as (opened, payload):
        add = attach_signature if signer_info is None else attach_signer_info
        block = add(opened, wanted, octets)
        embedded = (*wanted.chain, *readable_certificates(opened.block.certificates))
        found += chain_findings(wanted.certificate, embedded, policy, option="--chain of 'spkg prepare'")
        for finding in found:
            warn(finding)
        if strict:
            refuse_findings(found)
        with (
            progress_bar("signing", payload.length, wanted=not no_progress) as progress,
            open_signed(package, payload, output, force=force) as file,
        ):
            write_with_block(opened, payload, file, block, progress=progress)
            if policy is not None:
                verify_written(file, policy, at=at or now())
    who, count = subject_of(wanted.certificate), len(opened.block.signers) + 1
    name = str(output or package)
    if as_json:
        print_document(signed_document(name, who, wanted.digest.value, opened, found, schema="spkg.attach/1"))
    else:
        print_lines(signed_lines(name, who, wanted.digest.value, count))
