"""The clauses on the agent, each with the tests that hold it: the table of docs/agent-clauses.md."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.documents.pages import DOCS, ROOT, name_of

__all__ = ["CLAUSES", "ELSEWHERE", "Clause", "clauses", "clauses_page", "places"]

CLAUSES: Final = DOCS / "agent-clauses.md"
TABLE: Final = Path(__file__).with_name("agent_clauses.txt")
"""A clause a line: number, what it asks for, sections, tests; or why there is no test."""
ELSEWHERE: Final = {
    "later": "is left out, with the reason",
    "integrator": "is for who puts the agent into a gateway",
}
"""What stands in place of tests, and what it means."""
CHAPTERS: Final = {
    "S": "Sessions",
    "D": "Connections and the discovery of the ACS",
    "C": "Connection requests",
    "H": "HTTP and TLS",
    "X": "SOAP",
    "E": "Inform and events",
    "R": "Methods that the ACS calls",
    "A": "Methods that the agent calls",
    "T": "Transfers",
    "P": "Parameters",
    "O": "Options",
    "V": "What people see",
    "problem": "Problems of real devices and servers",
    "server": "What GenieACS does",
}
HEAD: Final = """# Clauses

Each clause of TR-069 that binds the agent, each feature of the guides of vendors, and each problem that was
seen in the field, with the tests that hold it.  `make pages` writes this page from
`tests/documents/agent_clauses.txt`.  Where no test is named, one of these words is:

| word | the clause |
|---|---|
"""


@dataclass(frozen=True)
class Clause:
    """A row of the table."""

    number: str
    asks: str
    sections: str
    proof: str

    @property
    def tests(self) -> tuple[str, ...]:
        """The names of the functions that hold it."""
        return () if self.elsewhere else tuple(self.proof.split(", "))

    @property
    def elsewhere(self) -> str | None:
        """What stands in place of tests; None where there are tests."""
        word, colon, _ = self.proof.partition(":")
        return word if colon else None


def clauses() -> list[Clause]:
    """Return all rows, in their order."""
    return [Clause(*line.split(" | ")) for line in TABLE.read_text().splitlines()]


@cache
def places() -> dict[str, list[str]]:
    """Return the files of each test, by the name of its function."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.setdefault(node.name, []).append(name_of(file).removeprefix("tests/"))
    return found


def clauses_page() -> str:
    """Return docs/agent-clauses.md."""
    every = clauses()
    page = HEAD + "".join(f"| {word} | {meaning} |\n" for word, meaning in ELSEWHERE.items())
    for key, title in CHAPTERS.items():
        page += f"\n## {title}\n\n| number | clause | section | tests |\n|---|---|---|---|\n"
        page += "".join(_row(one) for one in every if one.number.rstrip("0123456789 ") == key)
    return page


def _row(clause: Clause) -> str:
    number = clause.number.removeprefix("problem ").removeprefix("server ")
    tests = "<br>".join(f"`{places()[test][0]}` `{test}`" for test in clause.tests) or clause.proof
    return f"| {number} | {clause.asks} | {clause.sections} | {tests} |\n"
