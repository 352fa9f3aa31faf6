"""Bills of materials: which documents are, and where a package has its own (docs/provenance.md)."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from spkg.common.json_input import read_json
from spkg.errors import FormatError, SpkgError

__all__ = ["MAX_SBOM", "SBOM_DIGEST_KEY", "SBOM_KEY", "SbomFormat", "SbomKind", "recognize_sbom", "sbom_kind"]

SBOM_KEY: Final = "sbom"
"""The key of the metadata that has the document itself."""
SBOM_DIGEST_KEY: Final = "sbom-sha256"
"""The key that has the SHA-256 digest of a document that does not fit in there."""
MAX_SBOM: Final = 16 << 20
"""The largest document, in bytes."""
SPDX_CONTEXT: Final = re.compile(r"https?://spdx\.org/rdf/(?:v)?(3\.\d{1,3}(?:\.\d{1,3})?)/")
"""The context of SPDX 3, which is JSON-LD, with its version."""


class SbomFormat(Enum):
    """A format of bills of materials, with its name and the media type of its JSON."""

    CYCLONE_DX = "CycloneDX", "application/vnd.cyclonedx+json"
    SPDX = "SPDX", "application/spdx+json"

    @property
    def title(self) -> str:
        """Its name."""
        return self.value[0]

    @property
    def media_type(self) -> str:
        """What files in it are called on the network."""
        return self.value[1]


@dataclass(frozen=True, kw_only=True)
class SbomKind:
    """The format of a document, and the version of the format."""

    format: SbomFormat
    version: str

    def __str__(self) -> str:
        return f"{self.format.title} {self.version}"


def recognize_sbom(document: Any, source: str | None = None) -> SbomKind:
    """Return which kind of bill of materials a JSON document is.

    Raises:
        FormatError: It is of no kind that is known here.
    """
    if isinstance(document, dict):
        if document.get("bomFormat") == SbomFormat.CYCLONE_DX.title:
            version = _version(document, "specVersion", r"1\.\d{1,2}", "a version such as 1.6", source)
            return SbomKind(format=SbomFormat.CYCLONE_DX, version=version)
        if "spdxVersion" in document:
            version = _version(document, "spdxVersion", r"SPDX-\d\.\d{1,2}", "SPDX-2.3 or the like", source)
            return SbomKind(format=SbomFormat.SPDX, version=version.removeprefix("SPDX-"))
        contexts = document.get("@context")
        for context in contexts if isinstance(contexts, list) else [contexts]:
            found = SPDX_CONTEXT.match(context) if isinstance(context, str) else None
            if found is not None:
                return SbomKind(format=SbomFormat.SPDX, version=found[1])
    raise FormatError(
        "expected a CycloneDX or SPDX document",
        source=source,
        hint="CycloneDX has the key bomFormat, SPDX has spdxVersion or the @context of SPDX 3",
    )


def sbom_kind(text: str) -> SbomKind | None:
    """Return which kind of bill of materials a text is; None for any other."""
    try:
        return recognize_sbom(read_json(text.encode()))
    except (SpkgError, UnicodeEncodeError):
        return None


def _version(document: dict[str, Any], key: str, form: str, expected: str, source: str | None) -> str:
    version = document.get(key)
    if not isinstance(version, str) or re.fullmatch(form, version, re.ASCII) is None:
        found = "nothing" if version is None else f"{version!r:.60}"
        raise FormatError(f"expected {expected}, got {found}", source=source, field=key)
    return version
