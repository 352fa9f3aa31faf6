"""The list of commands: complete, true, and cheap."""

import subprocess
import sys
from importlib import import_module

import click
import pytest

from spkg.__main__ import COMMANDS, main
from tests.support.kit import ROOT

NAMES = [name for name, listed in COMMANDS.items() if listed.where]


def found(name: str) -> click.Command:
    context = click.Context(main)
    command: click.Command | None = main
    for word in name.split():
        assert isinstance(command, click.Group)
        command = command.get_command(context, word)
    assert command is not None
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_of_its_help(name: str) -> None:
    first = (found(name).help or "").partition("\n\n")[0].replace("\n", " ")

    assert COMMANDS[name].help == first


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_called_what_it_is_listed_as(name: str) -> None:
    module, _, attribute = COMMANDS[name].where.partition(":")

    command = getattr(import_module(module), attribute)

    assert command.name == name.rpartition(" ")[2]


@pytest.mark.parametrize("folder", ["spkg", "vouchers"])
def test_every_command_is_in_the_list(folder: str) -> None:
    listed = {listed.where.partition(":")[0] for listed in COMMANDS.values()}
    modules = {f"{folder}.cli.{path.stem}" for path in ROOT.glob(f"{folder}/cli/*.py")}
    shared = {
        "__init__",
        "agent_findings",
        "agent_options",
        "app",
        "arguments",
        "bulk_run",
        "console",
        "options",
        "server_login",
        "shared",
        "trust",
        "voucher_options",
        "worker_key",
    } - ({"options"} if folder == "vouchers" else set())

    assert modules - {f"{folder}.cli.{name}" for name in shared} <= listed


def test_the_list_is_shown_without_importing_any_command() -> None:
    code = (
        "import sys\nfrom spkg.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "loaded = sorted(name for name in sys.modules if name.startswith(('spkg.cli', 'vouchers')))\n"
        "print(*loaded, file=sys.stderr)\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert result.stderr.split() == ["spkg.cli", "spkg.cli.app", "spkg.cli.console"]


def test_the_list_of_a_checkout_is_short() -> None:
    assert len((ROOT / "cli.py").read_text().splitlines()) <= 120
