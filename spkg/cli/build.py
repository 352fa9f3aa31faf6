"""``spkg build``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, cores, given_options, key_files, read_identity, spare_inputs
from spkg.cli.console import print_document, print_lines, progress_bar, warn
from spkg.cli.options import FILE, FORCE, JOBS, JSON, KEY, NO_PROGRESS, SIGNING_TIME, STRICT
from spkg.errors import UsageError

__all__ = ["build"]


@command("build")
@click.argument("manifest", type=FILE)
@click.option("-o", "output", required=True, type=FILE, metavar="PKG", help="Write the package to PKG.")
@KEY
@SIGNING_TIME
@click.option("--unsigned", is_flag=True, help="Build a package without a signature.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a key of [package] or [timeouts], for example package.version=6.4.  Repeatable.",
)
@STRICT
@JOBS
@FORCE
@NO_PROGRESS
@JSON
def build(
    manifest: Path,
    output: Path,
    unsigned: bool,
    overrides: tuple[str, ...],
    strict: bool,
    jobs: int | None,
    force: bool,
    no_progress: bool,
    as_json: bool,
    signing_time: datetime | None,
    **key: Any,
) -> None:
    """Build a package from MANIFEST and sign it.

    The same inputs always give the same bytes.  Either --key and --cert or --unsigned is required.

    \b
    Example:
      spkg build samples/gateway/manifest.toml -o gateway.spkg \\
          --key keys/signer.key --cert keys/signer.pem

    See: docs/building.md
    """
    from spkg.build import builder as building
    from spkg.build.manifest import load_manifest
    from spkg.common.atomic_output import new_file
    from spkg.common.findings import refuse_findings
    from spkg.report.build import build_document, build_lines
    from spkg.trust.chain import doubts

    if unsigned == bool(given_options([*key, "signing_time"])) or (not unsigned and key["key"] is None):
        raise UsageError("expected either --key and --cert, or --unsigned")
    check_output(output, force=force)
    pairs = [entry.partition("=") for entry in overrides]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError("--set takes KEY=VALUE, for example package.version=6.4")
    plan = building.plan_build(load_manifest(manifest, {name: value for name, _, value in pairs}))
    spare_inputs(output, [("the manifest", manifest), *key_files(key)])
    packing = building.packs(plan, output)
    if packing is not None:
        raise UsageError(f"{packing} would pack the output file {output} into the package")
    identity = None if unsigned else read_identity(**key)
    doubted = [] if identity is None else doubts(identity.certificate, datetime.now(UTC))
    found = [*building.warnings(plan), *doubted]
    for finding in found:
        warn(finding)
    if strict:
        refuse_findings(found)
    total = building.sources_size(plan)
    with (
        progress_bar("building", total, wanted=not no_progress) as progress,
        new_file(output, force=force) as file,
    ):
        report = building.build_package(
            plan, file, identity, signing_time=signing_time, jobs=jobs or cores(), progress=progress
        )
    if as_json:
        print_document(build_document(plan, report, str(output), found))
    else:
        print_lines(build_lines(plan, report, str(output)))
