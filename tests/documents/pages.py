"""The pages: README and docs, their blocks, and the reference of commands.

The info string of a block says what a test does with it:

- ``sh``: its commands run, in the order of the page, and must succeed.
- ``sh no-run``: its commands only have to parse: they need what a test does not have.
- ``console``: what follows ``$`` runs; the rest is what it prints.  A line ``…`` stands for any lines.
- ``python``: it runs as a program in the same directory.  ``python no-run`` does not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from click.testing import CliRunner

from cli import main
from spkg.common.findings import CODES

__all__ = [
    "COMMANDS",
    "DOCS",
    "README",
    "ROOT",
    "WARNINGS",
    "Block",
    "blocks",
    "commands",
    "commands_page",
    "name_of",
    "pages",
    "prose",
    "warnings_page",
]

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
COMMANDS: Final = DOCS / "commands.md"
WARNINGS: Final = DOCS / "warnings.md"
FENCE: Final = re.compile(r"^(`{3,}|~{3,})(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """The line of its first fence, from 1."""
    info: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{name_of(self.page)}:{self.line}"


def pages() -> list[Path]:
    """Return README and every page of docs."""
    return [README, *sorted(DOCS.glob("*.md"))]


def name_of(page: Path) -> str:
    """Return the path of a page below the project, by which tests are named."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of *page* in their order."""
    return [part for part in _parts(page) if isinstance(part, Block)]


def prose(page: Path) -> str:
    """Return the lines of *page* that stand in no fenced block."""
    return "\n".join(part for part in _parts(page) if isinstance(part, str))


def _parts(page: Path) -> Iterator[str | Block]:
    fence, start, info, inside = "", 0, "", list[str]()
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        found = FENCE.match(line)
        if fence:
            if line.strip() == fence:
                yield Block(page, start, info, "\n".join(inside))
                fence = ""
            else:
                inside.append(line)
        elif found:
            fence, start, info, inside = found[1], number, found[2].strip(), []
        else:
            yield line
    if fence:
        raise ValueError(f"{name_of(page)}:{start}: the block has no end")


def commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give every command with the words that call it, those below others among them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


def help_of(*words: str) -> str:
    """Return what ``--help`` prints."""
    printed = CliRunner().invoke(main, [*words, "--help"], prog_name="spkg", terminal_width=100).stdout
    return printed.rstrip()


def commands_page() -> str:
    """Return docs/commands.md as the program has it."""
    about = "All commands with all their options, as `--help` prints them. `make pages` writes this page."
    parts = [f"# Commands\n\n{about}\n\n```text\n{help_of()}\n```\n"]
    parts += [
        f"## spkg {' '.join(words)}\n\n```text\n{help_of(*words)}\n```\n" for words, _ in commands(main)
    ]
    return "\n".join(parts)


def warnings_page() -> str:
    """Return docs/warnings.md, with the table of codes as the program has it."""
    head = WARNINGS.read_text().partition("| code |")[0]
    rows = "".join(f"| `{code}` | {meaning} |\n" for code, meaning in CODES.items())
    return f"{head}| code | what it means |\n|---|---|\n{rows}"
