"""Every relative link of README, docs and CHANGELOG leads somewhere, anchors among them."""

import re
from pathlib import Path

import pytest

from tests.documents.pages import DOCS, ROOT, name_of, pages, prose

ALL = [*pages(), ROOT / "CHANGELOG.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`]*`", "", prose(page))
    return [
        target for target in LINK.findall(text) if "://" not in target and not target.startswith("mailto:")
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of *page*, as GitHub and the site make them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        file, _, anchor = target.partition("#")
        found = page if not file else (page.parent / file).resolve()
        assert found.is_file(), target
        assert found.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(found), target


def test_every_page_is_in_the_contents_of_the_site() -> None:
    index = DOCS / "index.md"
    listed = re.findall(r"^([a-z][a-z-]*)$", index.read_text(), re.MULTILINE)

    assert sorted([*listed, "index"]) == sorted(page.stem for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_every_row_of_a_table_has_the_cells_of_its_head(page: Path) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", prose(page) + "\n", re.MULTILINE):
        rows = [len(re.sub(r"`[^`]*`", "", row).split("|")) for row in table.splitlines()]
        assert len({*rows}) == 1, table
        assert re.fullmatch(r"\|(-+\|)+", table.splitlines()[1]), table


def test_every_folder_is_explained() -> None:
    text = (DOCS / "architecture.md").read_text()
    named = {*re.findall(r"`((?:spkg|vouchers)/[a-z]+)/`", text)}
    there = {
        name_of(file.parent) for top in ("spkg", "vouchers") for file in ROOT.glob(f"{top}/*/__init__.py")
    }

    assert named == there
