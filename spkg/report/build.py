"""``spkg build``: what went into a package, and what a tree step left out."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from spkg.build.build_plan import BuildPlan
from spkg.build.builder import BuildReport
from spkg.build.sbom import CarriedSbom
from spkg.build.source_tree import TreeReport
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.printable import amount, size
from spkg.report.lines import Line, Tone, warning_documents

__all__ = ["build_document", "build_lines"]

NAMES_SHOWN = 5
"""How many names are shown to people; JSON has all of them."""


def build_document(
    plan: BuildPlan,
    report: BuildReport,
    output: str | None,
    findings: Iterable[Finding],
    sbom: CarriedSbom | None = None,
) -> Document:
    """Return what ``build --json`` prints; without *output*, nothing was written."""
    return {
        "schema": "spkg.build/1",
        "output": output,
        "size": report.size,
        "signed": report.signer is not None,
        "signed_sha256": report.signed_sha256.hex(),
        "signer": report.signer,
        "warnings": warning_documents(findings),
        "commands": report.commands,
        "files": report.files,
        "shared": report.shared,
        "command_list_length": report.header.command_list_length,
        "payload_length": report.header.payload_length,
        "sbom": None if sbom is None else _sbom(sbom, output),
        "trees": [_tree(tree) for tree in plan.trees],
    }


def build_lines(
    plan: BuildPlan, report: BuildReport, output: str | None, sbom: CarriedSbom | None = None
) -> Iterator[Line]:
    """Yield what ``build`` prints."""
    for tree in plan.trees:
        yield Tone.PLAIN, f"{tree.field}: {amount(len(tree.taken), 'file')} taken"
        for names, one, several, what in (
            (tree.excluded, "excluded", "excluded", ""),
            (tree.skipped_links, "link", "links", " skipped"),
            (tree.copied_links, "link", "links", " followed"),
            (
                tree.empty_directories,
                "empty directory",
                "empty directories",
                " left out: not in the format",
            ),
        ):
            if names:
                shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
                yield Tone.PLAIN, f"  {amount(len(names), one, several)}{what}: {shown}"
    if sbom is not None:
        place = "in the package" if sbom.inside else "beside the package, for which it is too large"
        yield Tone.PLAIN, f"sbom: {sbom.sbom.kind}, {size(len(sbom.sbom.octets))}, {place}"
    shared = f" ({report.shared} sharing the contents of another)" if report.shared else ""
    payload = size(report.header.payload_length)
    signed = "not signed" if report.signer is None else "signed"
    contents = f"{amount(report.commands, 'command')}, {amount(report.files, 'file')}{shared}"
    name = "checked, nothing written" if output is None else output
    yield Tone.GOOD, f"{name}: {contents}, payload of {payload}, {signed}"


def _sbom(carried: CarriedSbom, output: str | None) -> Document:
    beside = None if output is None else carried.beside(Path(output))
    return {
        "format": carried.sbom.kind.format.title,
        "version": carried.sbom.kind.version,
        "size": len(carried.sbom.octets),
        "sha256": carried.sbom.sha256.hex(),
        "inside": carried.inside,
        "file": None if beside is None else str(beside),
    }


def _tree(tree: TreeReport) -> Document:
    return {
        "step": tree.field,
        "taken": [str(file.path) for file in tree.taken],
        "excluded": list(tree.excluded),
        "skipped_links": list(tree.skipped_links),
        "copied_links": list(tree.copied_links),
        "empty_directories": list(tree.empty_directories),
    }
