"""``spkg build``."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import (
    check_output,
    cores,
    given_options,
    key_files,
    now,
    read_identity,
    read_input,
    spare_inputs,
)
from spkg.cli.console import (
    print_document,
    print_lines,
    progress_bar,
    say_lines,
    warn,
    writing,
)
from spkg.cli.options import (
    FILE,
    FORCE,
    JOBS,
    JSON,
    KEY,
    NO_PROGRESS,
    SIGNING_TIME,
    STRICT,
    UNFIT,
    VERIFY_WRITTEN,
)
from spkg.cli.trust import device_policy
from spkg.errors import HostError, UsageError

if TYPE_CHECKING:
    from spkg.build.build_plan import BuildPlan
    from spkg.build.manifest import Manifest
    from spkg.build.sbom import CarriedSbom

__all__ = ["build"]

STANDARD = Path("-")


@command("build")
@click.argument("manifest", type=FILE)
@click.option("-o", "output", type=FILE, metavar="PKG", help="Write the package to PKG.")
@KEY
@SIGNING_TIME
@UNFIT
@VERIFY_WRITTEN
@click.option("--unsigned", is_flag=True, help="Build a package without a signature.")
@click.option("--check", is_flag=True, help="Do everything but write the package.")
@STRICT
@click.option(
    "--define",
    "definitions",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace ${NAME} in the strings of the manifest by VALUE.  Repeatable.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a key of [package] or [timeouts], for example package.version=6.4.  Repeatable.",
)
@click.option(
    "--sbom",
    type=FILE,
    metavar="FILE",
    help="Carry the CycloneDX or SPDX document in FILE (JSON); a large one goes to PKG.sbom.json.",
)
@JOBS
@FORCE
@NO_PROGRESS
@JSON
def build(
    manifest: Path,
    output: Path | None,
    unsigned: bool,
    check: bool,
    strict: bool,
    definitions: tuple[str, ...],
    overrides: tuple[str, ...],
    sbom: Path | None,
    jobs: int | None,
    force: bool,
    no_progress: bool,
    as_json: bool,
    at: datetime | None,
    trust: tuple[Path, ...],
    unsafe_unfit_certificate: bool,
    signing_time: datetime | None,
    **key: Any,
) -> None:
    """Build a package from MANIFEST and sign it.

    The same inputs always give the same bytes.  Either --key and --cert or --unsigned is required, except
    with --check.  MANIFEST may be -, standard input: its sources are relative to the current directory.
    With -o - the package is written to standard output.

    \b
    Example:
      spkg build samples/gateway/manifest.toml -o gateway.spkg \\
          --key keys/signer.key --cert keys/signer.pem

    See: docs/building.md
    """
    from spkg.build.build_plan import plan_build, sources_size
    from spkg.build.build_warnings import build_warnings
    from spkg.build.builder import build_package, check_build, stream_package
    from spkg.build.self_check import verify_written
    from spkg.common.findings import refuse_findings
    from spkg.report.build import build_document, build_lines
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.policy import PACKAGE_PURPOSES

    _check_usage(output, unsigned=unsigned, check=check, as_json=as_json, key=key)
    streaming = output == STANDARD
    if output is not None and not streaming:
        check_output(output, force=force)
    plan = plan_build(
        _load(
            manifest, _pairs("--set", "KEY=VALUE", overrides), _pairs("--define", "NAME=VALUE", definitions)
        )
    )
    plan, carried = (plan, None) if sbom is None else _carrying(plan, sbom)
    beside = None
    if carried is not None and not carried.inside and not check:
        if output is None or streaming:
            problem = "the SBOM does not fit into the package, and standard output has no place beside it"
            raise UsageError(problem, hint="write the package to a file, with -o PKG")
        beside = carried.beside(output)
    for place in [] if streaming else [output, beside]:
        if place is not None:
            _spare(plan, place, [("the manifest", manifest), ("--sbom", sbom), *key_files(key)])
            check_output(place, force=force)
            if check and not os.access(place.parent, os.W_OK | os.X_OK):
                raise HostError(f"{place}: nothing can be written in that directory")
    identity = None if key["key"] is None else read_identity(**key)
    policy = device_policy(trust)
    if policy is not None and (streaming or unsigned or check):
        raise UsageError("--trust needs a signed package in a file, without --unsigned, --check or -o -")
    findings = [*build_warnings(plan)]
    if identity is not None:
        findings += check_fitness(
            identity.certificate,
            PACKAGE_PURPOSES,
            at=at or now(),
            unsafe_unfit_certificate=unsafe_unfit_certificate,
        )
        findings += chain_findings(identity.certificate, identity.chain, policy)
    for finding in findings:
        warn(finding)
    if strict:
        refuse_findings(findings)
    total = sources_size(plan) * (2 if streaming and not check else 1)
    with progress_bar("building", total, wanted=not no_progress) as progress:
        work: dict[str, Any] = {"jobs": jobs or cores(), "progress": progress}
        if check or output is None:
            report = check_build(plan, identity, **work)
        elif streaming:
            with _standard_output() as file:
                report = stream_package(plan, file, identity, signing_time=signing_time, **work)
        else:
            with _new_package(output, beside, carried, force=force) as file:
                report = build_package(plan, file, identity, signing_time=signing_time, **work)
                if policy is not None:
                    verify_written(file, policy, at=at or now())
    written = None if check or output is None else str(output)
    if as_json:
        print_document(build_document(plan, report, written, findings, carried))
    elif streaming and not check:
        say_lines(build_lines(plan, report, "standard output", carried))
    else:
        print_lines(build_lines(plan, report, written, carried))


def _carrying(plan: "BuildPlan", sbom: Path) -> tuple["BuildPlan", "CarriedSbom"]:
    """Return the plan of a package that has the bill of materials, and where that is."""
    from spkg.build.sbom import carry_sbom, load_sbom

    return carry_sbom(plan, load_sbom(sbom))


def _spare(plan: "BuildPlan", output: Path, inputs: Iterable[tuple[str, Any]]) -> None:
    """Refuse an output that is an input, or that the package itself would contain."""
    from spkg.build.build_plan import packs

    spare_inputs(output, inputs)
    packing = packs(plan, output)
    if packing is not None:
        raise UsageError(f"{packing} would pack the output file {output} into the package")


@contextmanager
def _new_package(
    output: Path, beside: Path | None, carried: "CarriedSbom | None", *, force: bool
) -> "Iterator[FileIO]":
    """Open the file of a package, and write its bill of materials if that goes beside it."""
    from spkg.common.atomic_output import new_file, new_pair, write_all

    if carried is None or beside is None:
        with new_file(output, force=force) as file:
            yield file
        return
    with new_pair(output, beside, force=force) as (file, other):
        write_all(other, carried.sbom.octets)
        yield file


def _check_usage(
    output: Path | None, *, unsigned: bool, check: bool, as_json: bool, key: Mapping[str, Any]
) -> None:
    """Refuse options that contradict each other."""
    given = bool(given_options([*key, "signing_time"]))
    if (unsigned and given) or (given and key["key"] is None) or not (unsigned or given or check):
        raise UsageError("expected either --key and --cert, or --unsigned")
    if output is None and not check:
        raise UsageError("-o PKG is required, except with --check")
    if output == STANDARD and as_json:
        raise UsageError("-o - and --json exclude each other")
    if output == STANDARD and not check and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a package is not written to a terminal")


def _pairs(option: str, form: str, entries: Sequence[str]) -> dict[str, str]:
    """Return the names and values of a repeatable option."""
    pairs = [entry.partition("=") for entry in entries]
    if not all(name and equals for name, equals, _ in pairs):
        example = "package.version=6.4" if option == "--set" else "VERSION=6.4"
        raise UsageError(f"{option} takes {form}, for example {example}")
    return {name: value for name, _, value in pairs}


def _load(manifest: Path, overrides: Mapping[str, str], definitions: Mapping[str, str]) -> "Manifest":
    from spkg.build.manifest import load_manifest, read_manifest
    from spkg.common.toml_document import MAX_DOCUMENT, parse_table

    if manifest != STANDARD:
        return load_manifest(manifest, overrides, definitions)
    octets = read_input(manifest, MAX_DOCUMENT)
    return read_manifest(parse_table(octets, "standard input", overrides, definitions), Path())


@contextmanager
def _standard_output() -> Iterator[FileIO]:
    """Open standard output for the bytes of a package."""
    if sys.stdout is None:
        raise HostError("standard output is closed")
    with writing():
        sys.stdout.flush()
        yield FileIO(sys.stdout.fileno(), "wb", closefd=False)
