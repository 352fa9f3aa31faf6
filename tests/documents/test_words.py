"""The words of texts: the field's terms, one for one thing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.pages import COMMANDS, ROOT, name_of, pages, prose

CODE: tuple[str, ...] = ("spkg", "vouchers", "cli.py")
"""Code whose strings are held to the phrases as well: ``spkg``, ``vouchers``, ``cli.py``."""
PHRASES = (
    r"belongs? here",
    r"\b(?<!there )is no key\b",
    r"\bis none\b",
    r"is it meant\?",
    r"nobody(?:'s| vouches| who vouches)",
    r"whose word",
    r"\bsurroundings\b",
    r"\b(?:go|goes|went|going) on (?:where|with what)",
    r"can't go on\b",
    r"\bthose there are\b",
    r"\bis (?:not )?there already\b",
    r"\bis(?: not|n't) there\b",
    r"\bnot there yet\b",
    r"\bwhoever\b",
    r"all that it says",
    r"\bheeded\b",
    r"an anchor needs none\b",
    r"need not mean the same",
    r"hold dates against",
    r"\bcount on from\b",
    r"the user has not\b",
    r"has something else to say",
    r"one key wants one ledger",
    r"it looks like XML",
    r"\beOF occurred",
)
"""What texts said before, and say otherwise now."""
IN_PAGES = (r"\boctets?\b", r"\btells?\b", r"\btold\b", r"\bgates\b")
"""What strings may have, as names or where the specification is quoted, and pages may not."""
PLURAL_ONCE = {"docs/decisions.md": r"\bgates\b"}
"""Where a word is explained, once."""


def found(text: str, patterns: tuple[str, ...]) -> list[str]:
    """Return the phrases of *text* that should not be there, wherever its lines end."""
    flat = " ".join(text.split())
    return [match[0] for pattern in patterns for match in re.finditer(pattern, flat, re.IGNORECASE)]


def strings(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(
    "page", [one for one in [*pages(), ROOT / "CHANGELOG.md"] if one != COMMANDS], ids=name_of
)
def test_pages_have_the_terms_of_the_field(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", prose(page))
    explained = PLURAL_ONCE.get(name_of(page))
    if explained is not None:
        text = re.sub(explained, "", text, count=1)

    assert found(text, (*PHRASES, *IN_PAGES)) == []


def files(name: str) -> list[Path]:
    place = ROOT / name
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def wrong(names: tuple[str, ...]) -> list[str]:
    """Return the strings of some code that have a phrase of before."""
    return sorted(
        {
            f"{name_of(file)}: {phrase}"
            for name in names
            for file in files(name)
            for text in strings(file)
            for phrase in found(text, PHRASES)
        }
    )


def test_strings_have_the_terms_of_the_field() -> None:
    assert wrong(CODE) == []


@pytest.mark.parametrize("phrase", ["nobody vouches for it", "It goes on where it broke", "'x' is no key"])
def test_a_phrase_is_found(phrase: str) -> None:
    assert found(phrase, PHRASES)
