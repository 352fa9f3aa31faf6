"""Bills of materials: which documents are, and how those in a package are shown."""

from typing import Any

import pytest

from spkg.errors import FormatError
from spkg.format.command_text import entry_text, summary
from spkg.format.commands import Metadata
from spkg.format.sbom import recognize_sbom, sbom_kind

SPDX_3 = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"bomFormat": "CycloneDX", "specVersion": "1.2"}, "CycloneDX 1.2"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.10", "spdxVersion": 2}, "CycloneDX 1.10"),
        ({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"}, "SPDX 2.3"),
        ({"@context": SPDX_3, "@graph": []}, "SPDX 3.0.1"),
        ({"@context": ["x", {"y": 1}, "https://spdx.org/rdf/v3.1/c.jsonld"]}, "SPDX 3.1"),
    ],
)
def test_each_format_is_known_by_its_mark(document: Any, kind: str) -> None:
    assert str(recognize_sbom(document)) == kind


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "s.json: expected a CycloneDX or SPDX document"),
        ("CycloneDX", "s.json: expected a CycloneDX or SPDX document"),
        ({}, "s.json: expected a CycloneDX or SPDX document"),
        ({"bomFormat": "cyclonedx", "specVersion": "1.6"}, "s.json: expected a CycloneDX or SPDX document"),
        ({"@context": "https://spdx.org/rdf/2.0/"}, "s.json: expected a CycloneDX or SPDX document"),
        ({"@context": {"spdx": SPDX_3}}, "s.json: expected a CycloneDX or SPDX document"),
        ({"bomFormat": "CycloneDX"}, "s.json: specVersion: expected a version such as 1.6, got nothing"),
        (
            {"bomFormat": "CycloneDX", "specVersion": 1.6},
            "s.json: specVersion: expected a version such as 1.6, got 1.6",
        ),
        (
            {"bomFormat": "CycloneDX", "specVersion": "1.6\n"},
            "s.json: specVersion: expected a version such as 1.6, got '1.6\\n'",
        ),
        ({"spdxVersion": "2.3"}, "s.json: spdxVersion: expected SPDX-2.3 or the like, got '2.3'"),
        ({"spdxVersion": None}, "s.json: spdxVersion: expected SPDX-2.3 or the like, got nothing"),
    ],
)
def test_what_is_neither_is_refused(document: Any, message: str) -> None:
    with pytest.raises(FormatError) as raised:
        recognize_sbom(document, "s.json")

    assert str(raised.value) == message


@pytest.mark.parametrize(
    "text", ["", "{", "\ud800", "[]", '{"spdxVersion":"SPDX-2.3","spdxVersion":"SPDX-2.3"}']
)
def test_a_text_that_is_none_has_no_kind(text: str) -> None:
    assert sbom_kind(text) is None


def test_metadata_is_shown_by_what_it_is_and_not_at_full_length() -> None:
    document = '{"spdxVersion":"SPDX-2.3","packages":[' + "1," * 5000 + "1]}"
    entries = (("a", "x" * 200), ("b", "\x1b" + "x" * 200), ("sbom", document))

    assert summary(Metadata(entries=entries)) == (
        f'a = "{"x" * 200}", '
        f'b = "\\u001b{"x" * 59}…" (201 bytes, SHA-256 479f83cdf56a05d2…), '
        "sbom = SPDX 2.3 (10041 bytes, SHA-256 373ab512ecfa0757…)"
    )


def test_a_key_of_that_name_with_anything_else_is_shown_as_any_other() -> None:
    assert entry_text("sbom", "none") == 'sbom = "none"'
    assert entry_text("other", '{"spdxVersion":"SPDX-2.3"}') == r'other = "{\"spdxVersion\":\"SPDX-2.3\"}"'
