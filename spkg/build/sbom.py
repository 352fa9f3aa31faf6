"""A bill of materials for a package: carried in its metadata, or beside it where there is no room.

The document is carried byte for byte.  One that is beside the package is bound to it by its digest, which is
in the metadata and therefore signed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from spkg.build.build_plan import BuildPlan, check_command_list
from spkg.common.json_input import read_json
from spkg.errors import FormatError
from spkg.format.commands import Metadata
from spkg.format.sbom import MAX_SBOM, SBOM_DIGEST_KEY, SBOM_KEY, SbomKind, recognize_sbom

__all__ = ["CarriedSbom", "Sbom", "carry_sbom", "load_sbom"]


@dataclass(frozen=True, kw_only=True)
class Sbom:
    """A CycloneDX or SPDX document in JSON."""

    kind: SbomKind
    octets: bytes = field(repr=False)
    """The document as it was read, in UTF-8."""

    @property
    def sha256(self) -> bytes:
        """The digest of the document."""
        return sha256(self.octets).digest()


@dataclass(frozen=True, kw_only=True)
class CarriedSbom:
    """A document, and where it is."""

    sbom: Sbom
    inside: bool
    """Whether it is in the package; otherwise beside it."""

    def beside(self, package: Path) -> Path | None:
        """Return the file beside *package* that has the document; None if it is in the package."""
        return None if self.inside else package.with_name(f"{package.name}.sbom.json")


def load_sbom(path: Path) -> Sbom:
    """Read a bill of materials.

    Raises:
        FormatError: It is neither a CycloneDX nor an SPDX document in JSON, or too large.
        OSError: It can't be read.
    """
    source = str(path)
    with path.open("rb") as file:
        octets = file.read(MAX_SBOM + 1)
    if len(octets) > MAX_SBOM:
        raise FormatError(f"the document has more than {MAX_SBOM} bytes", source=source)
    if octets.lstrip()[:1] == b"<":
        problem = "expected a CycloneDX or SPDX document in JSON, got XML"
        raise FormatError(problem, source=source, line=1, hint="have the document written as JSON")
    return Sbom(kind=recognize_sbom(read_json(octets, source), source), octets=octets)


def carry_sbom(plan: BuildPlan, sbom: Sbom) -> tuple[BuildPlan, CarriedSbom]:
    """Return a plan with the document or, where it does not fit, with its digest in the metadata.

    Raises:
        FormatError: The manifest has metadata of the same name, or even the digest does not fit.
    """
    source = plan.manifest.source
    entries = dict(entry for one in _metadata(plan) for entry in one.entries)
    for key in (SBOM_KEY, SBOM_DIGEST_KEY):
        if key in entries:
            problem = "the manifest already has this key, which --sbom sets"
            raise FormatError(problem, source=source, field=f"metadata.{key}")
    try:
        whole = _with(plan, entries | {SBOM_KEY: sbom.octets.decode()})
        check_command_list(whole)
    except (ValueError, FormatError):
        try:
            plan = _with(plan, entries | {SBOM_DIGEST_KEY: sbom.sha256.hex()})
        except ValueError as exc:
            raise FormatError(str(exc), source=source, field="metadata") from exc
        check_command_list(plan)
        return plan, CarriedSbom(sbom=sbom, inside=False)
    return whole, CarriedSbom(sbom=sbom, inside=True)


def _metadata(plan: BuildPlan) -> Iterable[Metadata]:
    return (one for one in plan.manifest.parameters if isinstance(one, Metadata))


def _with(plan: BuildPlan, entries: dict[str, str]) -> BuildPlan:
    """Return a plan with other metadata, which is the last of the parameters.

    Raises:
        ValueError: It is too large.
    """
    others = tuple(one for one in plan.manifest.parameters if not isinstance(one, Metadata))
    record = Metadata(entries=tuple(sorted(entries.items())))
    return replace(plan, manifest=replace(plan.manifest, parameters=(*others, record)))
