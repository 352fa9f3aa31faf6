"""Every command of the pages does what the page shows."""

import fcntl
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from cli import main
from tests.documents.pages import COMMANDS, DOCS, README, ROOT, Block, blocks, commands, name_of, pages, prose
from tests.documents.running import TOUR, bare, run, same

KINDS: Final = {"sh", "sh no-run", "console", "python", "python no-run", "text", "toml"}
JUDGES: Final = {DOCS / "openssl.md": ("openssl", "xmlsec1")}
"""Programs of others that a page calls."""
ALL: Final = {(): main, **dict(commands(main))}
RUN: Final = [
    pytest.param(page, marks=pytest.mark.judge(*JUDGES[page])) if page in JUDGES else page
    for page in pages()
    if any(block.info in {"sh", "console", "python"} for block in blocks(page))
]


@pytest.fixture(scope="session")
def toured(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the directory that the tour leaves, made once for all workers."""
    own = tmp_path_factory.getbasetemp()
    base = own if worker_id == "master" else own.parent
    directory = base / "toured"
    with (base / "toured.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "toured.done").exists():
            shutil.rmtree(directory, ignore_errors=True)
            bare(directory)
            run(TOUR, directory)
            (base / "toured.done").touch()
    return directory


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_commands_of_a_page_do_what_it_shows(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    directory = tmp_path / "page"
    if page in {README, TOUR}:
        bare(directory)
    else:
        shutil.copytree(request.getfixturevalue("toured"), directory, symlinks=True)

    done = run(page, directory)

    stale = [(prompt.command, printed) for prompt, printed in done if not same(prompt.printed, printed)]
    assert stale == [], f"{name_of(page)} is out of date: make pages"


def test_every_block_has_a_kind() -> None:
    odd = [block.place for page in pages() for block in blocks(page) if not known(block)]

    assert odd == []


def known(block: Block) -> bool:
    return block.info in KINDS or block.info.startswith("{")


def test_no_command_hides_from_being_run() -> None:
    hidden = [
        f"{block.place}: {line}"
        for page in pages()
        if page != COMMANDS
        for block in blocks(page)
        if block.info not in {"sh", "sh no-run", "console"}
        for line in block.text.splitlines()
        if re.match(r"(\$ )?spkg ", line)
    ]

    assert hidden == []


def written() -> Iterator[tuple[str, str]]:
    """Give what the pages show of commands without running them: some blocks, and names within text."""
    for page in pages():
        for block in blocks(page):
            if block.info == "sh no-run":
                lines = block.text.replace("\\\n", " ").splitlines()
                yield from ((block.place, line) for line in lines)
        spans = re.findall(r"`([^`]+)`", " ".join(prose(page).split()))
        yield from ((name_of(page), span) for span in spans if re.match(r"(spkg|make) [a-z-]", span))


def test_what_is_not_run_could_be() -> None:
    problems = [f"{place}: {line}: {problem}" for place, line in written() if (problem := wrong(line))]

    assert problems == []


def test_every_option_that_a_page_names_exists() -> None:
    known = {name for command in ALL.values() for one in command.params for name in one.opts} | {"--help"}
    named = {
        (name_of(page), option)
        for page in pages()
        for option in re.findall(r"`(--[a-z0-9-]+)[^`]*`", " ".join(prose(page).split()))
    }

    assert sorted((page, option) for page, option in named if option not in known) == []


def wrong(line: str) -> str | None:
    """Return what is wrong with a command line: a command, option or target that there is not."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("|&;<>()"):
            words.append(word)
            continue
        problem = _wrong_words(words)
        if problem is not None:
            return problem
        words = []
    return None


def _wrong_words(words: list[str]) -> str | None:
    if words[:1] == ["make"]:
        targets = {*re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
        asked = {word for word in words[1:] if "=" not in word}
        return None if asked <= targets else f"no such target: {', '.join(asked - targets)}"
    if words[:1] != ["spkg"]:
        return None
    called: tuple[str, ...] = ()
    for word in words[1:]:
        if word.startswith("-") and word != "-":
            options = {
                name
                for parameter in ALL[called].params
                for name in (*parameter.opts, *parameter.secondary_opts)
            }
            if word.partition("=")[0] not in {*options, "-h", "--help"}:
                return f"no such option: {word}"
        elif isinstance(ALL[called], click.Group):
            called = (*called, word)
            if called not in ALL and word != "…":
                return f"no such command: {word}"
            if word == "…":
                return None
    return None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("spkg verify p --trust c.pem", None),
        ("spkg verify p --trusted c.pem", "no such option: --trusted"),
        ("spkg check p", "no such command: check"),
        ("cat p | spkg voucher issu -", "no such command: issu"),
        ("make tests", "no such target: tests"),
    ],
)
def test_a_wrong_command_is_found(line: str, problem: str | None) -> None:
    assert wrong(line) == problem
