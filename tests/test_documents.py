"""What the documents say is what the program does."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import EXIT_FOR, main
from tests.support.kit import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = ROOT / "docs" / "commands.md"


def commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give every command with the words that call it, those below others among them."""
    for name, command in sorted(group.commands.items()):
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


def help_of(*words: str) -> str:
    return CliRunner().invoke(main, [*words, "--help"], prog_name="spkg", terminal_width=100).stdout


def commands_page() -> str:
    """Return docs/commands.md as the program has it."""
    pages = ["# Commands\n\nMade from the program: `python -m tests.test_documents` writes this page anew.\n"]
    pages += [
        f"## spkg {' '.join(words)}\n\n```\n{help_of(*words).rstrip()}\n```\n" for words, _ in commands(main)
    ]
    return "\n".join(pages)


def test_the_readme_has_the_help_of_the_program() -> None:
    assert f"$ spkg --help\n{help_of().rstrip()}\n```" in README


def test_the_page_of_commands_is_that_of_the_program() -> None:
    assert COMMANDS.read_text() == commands_page()


def test_the_readme_has_every_exit_status() -> None:
    rows = re.findall(r"^\| ([0-9]+) \|", README, re.MULTILINE)

    assert {int(row) for row in rows} == {0, 1, 10, *EXIT_FOR.values()}


@pytest.mark.parametrize("words", [" ".join(words) for words, _ in commands(main)])
def test_every_option_says_what_it_does(words: str) -> None:
    for parameter in {" ".join(names): command for names, command in commands(main)}[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_readme_names_every_module() -> None:
    modules = {path.name for folder in ("spkg", "vouchers") for path in ROOT.glob(f"{folder}/*.py")}
    modules -= {"__init__.py", "errors.py", "digests.py"}
    shared = {"keys.py", "keygen.py", "output.py", "text.py", "summary.py"}

    assert {name for name in modules - shared if f"{name}`" not in README} == set()


def test_the_decisions_are_numbered_without_a_gap() -> None:
    section = README.split("## Decisions")[1].split("\n## ")[0]

    numbers = [int(number) for number in re.findall(r"^([0-9]+)\. ", section, re.MULTILINE)]

    assert numbers == list(range(1, len(numbers) + 1))


if __name__ == "__main__":
    COMMANDS.write_text(commands_page())
    head, _, rest = README.partition("$ spkg --help\n")
    _, _, rest = rest.partition("```")
    Path(ROOT / "README.md").write_text(f"{head}$ spkg --help\n{help_of().rstrip()}\n```{rest}")
    sys.stdout.write("written\n")
