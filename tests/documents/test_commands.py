"""What the pages state of commands and exit statuses is what the program has."""

import re

import click
import pytest

from cli import main
from spkg.cli.app import EXIT_FOR
from spkg.common.findings import CODES
from tests.documents.pages import COMMANDS, DOCS, WARNINGS, commands, commands_page, warnings_page

ALL = {" ".join(words): command for words, command in commands(main)}


def test_the_page_of_commands_is_that_of_the_program() -> None:
    assert COMMANDS.read_text() == commands_page(), "make pages"


@pytest.mark.parametrize("words", ALL)
def test_every_option_says_what_it_does(words: str) -> None:
    for parameter in ALL[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_the_page_of_exit_statuses_has_every_one() -> None:
    page = (DOCS / "json-and-exit-statuses.md").read_text()
    rows = re.findall(r"^\| ([0-9]+) \|", page, re.MULTILINE)

    assert {int(row) for row in rows} == {0, 1, 10, *EXIT_FOR.values()}


def test_the_page_of_warnings_lists_every_code() -> None:
    assert WARNINGS.read_text() == warnings_page(), "make pages"
    assert list(CODES) == sorted(CODES)
