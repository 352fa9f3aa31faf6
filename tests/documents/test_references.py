"""Every decision, section, table and page that a text cites exists."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.documents.pages import COMMANDS, DOCS, README, ROOT, name_of, pages, prose

OWN: Final = Path(__file__)
SOURCES: Final = sorted(
    file
    for folder in ("spkg", "vouchers", "tests", "samples")
    for kind in ("py", "sh", "toml", "vec")
    for file in ROOT.glob(f"{folder}/**/*.{kind}")
    if file != OWN
)
TEXTS: Final = [
    *(page for page in pages() if page != COMMANDS),
    *(ROOT / name for name in ("cli.py", "CHANGELOG.md", "Makefile", ".ci/run")),
    *SOURCES,
]
SECTIONS: Final = {*(OWN.parent / "sections.txt").read_text().split()}
"""The numbers of all sections of TR-069 (May 2004), its appendices by their letters."""
TABLES: Final = range(1, 78)
FIGURES: Final = range(1, 10)
BREAK: Final = r"(?:\s|#)+"
"""What is between words, also where a line ends within a comment."""
LIST: Final = rf"[0-9]+(?:(?:,{BREAK}|{BREAK}and{BREAK}|{BREAK}to{BREAK})[0-9]+)*"


def decisions() -> list[int]:
    page = (DOCS / "decisions.md").read_text()
    return [int(one) for one in re.findall(r"^([0-9]+)\. ", page, re.MULTILINE)]


def titles() -> set[str]:
    return {one for page in pages() for one in re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)}


KNOWN: Final = {"decision": {*decisions()}, "table": {*TABLES}, "figure": {*FIGURES}}


def numbered(text: str) -> Iterator[str]:
    """Give what a text cites by a word and a number, as ``Table 62``, and is not there."""
    for word, list_ in re.findall(rf"\b(decision|table|figure)s?{BREAK}({LIST})\b", text, re.IGNORECASE):
        for number in re.findall("[0-9]+", list_):
            if int(number) not in KNOWN[word.lower()]:
                yield f"{word} {number}"


def sections(text: str) -> Iterator[str]:
    """Give the sections that a text cites by a letter and that are not there."""
    # Not within an OID, a version or a file name: those have something before or behind.
    cited = re.findall(r"(?<![\w./-])([A-E](?:\.[0-9]+)+)(?![\w-]|\.\w)", text)
    cited += re.findall(r"\bAppendix ([A-Z])\b", text)
    yield from (one for one in cited if one not in SECTIONS)


def sections_of_errors(text: str) -> Iterator[str]:
    """Give what errors cite and is not there: ``section="C.3, Table 62"``."""
    for found in re.findall(r'\bsection="([^"{]+)"', text, re.IGNORECASE):
        for part in found.split(", "):
            if re.fullmatch(r"(?:[1-9]|[A-E])(?:\.[0-9]+)*", part) is None:
                break  # a table or figure, or another specification, which is named
            if part not in SECTIONS:
                yield part


def places(text: str) -> Iterator[str]:
    """Give the headings and pages that a text cites and that are not there."""
    for title in re.findall(rf'README,{BREAK}"([^"]+)"', text):
        if re.sub(BREAK, " ", title) not in titles():
            yield f'README, "{title}"'
    for page in re.findall(r"\bdocs/[a-z-]+\.(?:md|ksy)\b", text):
        if not (ROOT / page).is_file():
            yield page


def strangers(text: str) -> Iterator[str]:
    """Give documents by whose names no file of the project goes."""
    yield from (name for name in re.findall(r"\b[A-Z][A-Z-]+\.md\b", text) if not (ROOT / name).is_file())


CHECKS: Final = (numbered, sections, sections_of_errors, places, strangers)


def wrong(check: Callable[[str], Iterable[str]]) -> list[str]:
    texts = {file: file.read_bytes().decode(errors="replace") for file in TEXTS}
    return [f"{name_of(file)}: {one}" for file, text in texts.items() for one in check(text)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_is_cited_is_there(check: Callable[[str], Iterable[str]]) -> None:
    assert wrong(check) == []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (numbered, "decisions 8 and 99"),
        (numbered, "as decision\n    # 99 has it"),
        (numbered, "Tables 62, 78"),
        (sections, "demanded by E.4.14."),
        (sections, "Appendix F"),
        (sections_of_errors, 'section="3.9"'),
        (places, 'README, "Nothing"'),
        (places, "docs/nothing.md"),
        (strangers, "(NOTHING.md, section 4)"),
    ],
)
def test_a_wrong_reference_is_found(check: Callable[[str], Iterable[str]], text: str) -> None:
    assert [*check(text)] != []


def test_the_decisions_are_numbered_without_a_gap() -> None:
    assert decisions() == list(range(1, len(decisions()) + 1))


def test_the_readme_leads_to_the_decisions() -> None:
    assert "(docs/decisions.md)" in README.read_text()
