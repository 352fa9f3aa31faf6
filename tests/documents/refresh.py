"""Writes anew what in the pages is made from the program: the commands, and outputs in console blocks.

``python -m tests.documents.refresh --write`` is ``make pages``.  Without ``--write`` it names the pages
that are out of date, and exits with 1.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.documents.clauses import CLAUSES, clauses_page
from tests.documents.pages import COMMANDS, WARNINGS, blocks, commands_page, name_of, pages, warnings_page
from tests.documents.running import refreshed


def _fresh() -> Iterator[tuple[Path, str]]:
    """Give each page that is made from the program, whole or in part, with the text it should have."""
    yield COMMANDS, commands_page()
    yield WARNINGS, warnings_page()
    yield CLAUSES, clauses_page()
    for page in pages():
        if any(block.info == "console" for block in blocks(page)):
            yield page, refreshed(page)


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; return the exit status."""
    if arguments not in ([], ["--write"]):
        sys.stderr.write("usage: python -m tests.documents.refresh [--write]\n")
        return 2
    stale = [(page, text) for page, text in _fresh() if page.read_text() != text]
    for page, text in stale:
        if arguments:
            page.write_text(text)
        sys.stdout.write(f"{name_of(page)}: {'written' if arguments else 'out of date: make pages'}\n")
    return 1 if stale and not arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
