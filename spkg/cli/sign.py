"""``spkg sign``."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, key_files, now, package_source, read_identity, spare_inputs
from spkg.cli.console import print_document, print_lines, progress_bar, warn
from spkg.cli.options import (
    FILE,
    FORCE,
    JSON,
    KEY,
    NO_PROGRESS,
    SIGN_DIGEST,
    SIGNING_TIME,
    STRICT,
    UNFIT,
    VERIFY_WRITTEN,
)
from spkg.cli.trust import device_policy
from spkg.common.findings import Finding, refuse_findings
from spkg.errors import UsageError

__all__ = ["sign"]

SHA1_MISSING: Final = Finding(
    code="sha1-missing",
    message="also sign with --digest sha1: readers that follow E.5 accept no other signature",
)


@command("sign")
@click.argument("package", metavar="PKG", type=FILE)
@KEY
@SIGNING_TIME
@SIGN_DIGEST
@click.option("--replace", "replacing", is_flag=True, help="Replace the signer's signature with this digest.")
@UNFIT
@VERIFY_WRITTEN
@click.option("-o", "output", type=FILE, metavar="OUT", help="Write to OUT and leave PKG unchanged.")
@STRICT
@FORCE
@NO_PROGRESS
@JSON
def sign(
    package: Path,
    digest: str,
    replacing: bool,
    at: datetime | None,
    trust: tuple[Path, ...],
    unsafe_unfit_certificate: bool,
    output: Path | None,
    strict: bool,
    force: bool,
    no_progress: bool,
    as_json: bool,
    signing_time: datetime | None,
    **key: Any,
) -> None:
    """Add a signature to PKG; existing ones stay unchanged.

    A payload that does not match the signed commands is refused, because the signature covers it, too.

    \b
    Example:
      spkg sign gateway.spkg --digest sha256 --key keys/signer.key --cert keys/signer.pem

    See: docs/signing.md
    """
    from spkg.build.self_check import verify_written
    from spkg.build.sign import open_signed, sign_package
    from spkg.common.digests import Digest
    from spkg.report.sign import signed_document, signed_lines
    from spkg.trust.certificates import readable_certificates, subject_of
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.policy import PACKAGE_PURPOSES
    from spkg.verify.payload import open_package

    if output is None and str(package) == "-":
        raise UsageError("a package from standard input needs -o OUT")
    if output is not None:
        check_output(output, force=force)
        spare_inputs(output, key_files(key))
    policy, identity = device_policy(trust), read_identity(**key)
    with open_package(package_source(package)) as (opened, payload):
        found = check_fitness(
            identity.certificate,
            PACKAGE_PURPOSES,
            at=at or now(),
            unsafe_unfit_certificate=unsafe_unfit_certificate,
            digest=Digest(digest),
        )
        embedded = (*identity.chain, *readable_certificates(opened.block.certificates))
        found += chain_findings(identity.certificate, embedded, policy)
        if digest == "sha256" and not opened.block.signers:
            found.append(SHA1_MISSING)
        for finding in found:
            warn(finding)
        if strict:
            refuse_findings(found)
        with (
            progress_bar("signing", payload.length, wanted=not no_progress) as progress,
            open_signed(package, payload, output, force=force) as file,
        ):
            replaced = sign_package(
                opened,
                payload,
                file,
                identity,
                digest=Digest(digest),
                signing_time=signing_time,
                replacing=replacing,
                progress=progress,
            )
            if policy is not None:
                verify_written(file, policy, at=at or now())
    who, count = subject_of(identity.certificate), len(opened.block.signers) + 1 - replaced
    name = str(output or package)
    if as_json:
        print_document(signed_document(name, who, digest, opened, found, replaced=replaced))
    else:
        print_lines(signed_lines(name, who, digest, count))
