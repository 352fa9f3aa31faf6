"""The program as people and programs run it: in this process, or in one of its own."""

import copy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from click.testing import CliRunner, Result

from cli import main
from tests.support.kit import ROOT

__all__ = [
    "NO_TRUST",
    "PATIENCE",
    "PROGRAM",
    "USAGE",
    "error",
    "failure",
    "files",
    "main",
    "process",
    "run",
    "with_command",
]

PROGRAM: Final = (sys.executable, str(ROOT / "cli.py"))
PATIENCE: Final = 60
"""How many seconds a process has before a test gives it up."""
USAGE: Final = "Usage: spkg [OPTIONS] COMMAND [ARGS]..."
NO_TRUST: Final = (
    "nothing is trusted without --trust",
    "name the trusted certificates with --trust; 'spkg keygen' creates some for tests",
)
"""What is said, and what is hinted at, where a command is to trust nobody."""


def run(*args: str | Path, env: Mapping[str, str] | None = None, group: click.Command = main) -> Result:
    """Run the program in this process."""
    return CliRunner().invoke(group, [str(one) for one in args], env=env, prog_name="spkg")


def process(
    *args: str | bytes, prefix: tuple[str, ...] = (), **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run the program as a process."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", **settings}
    return subprocess.run([*prefix, *PROGRAM, *args], text=True, timeout=PATIENCE, check=False, **settings)


def with_command(callback: Callable[[], None]) -> click.Group:
    """Return the program with one more command, ``more``."""
    group = copy.copy(main)
    group.commands = dict(main.commands)
    group.command("more", params=[click.Option(["--json", "as_json"], is_flag=True)])(lambda **_: callback())
    return group


def files(directory: Path | str = ".") -> list[str]:
    """Return what lies in a directory, at any depth."""
    return sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*"))


def failure(status: str, number: int, message: str, **places: object) -> dict[str, object]:
    """Return what every document says of a failure."""
    nothing = {"source": None, "offset": None, "field": None, "section": None, "hint": None}
    return {"status": status, "exit": number, "message": message, **nothing, **places}


def error(status: str, number: int, message: str, **places: object) -> dict[str, object]:
    """Return the document of a command that failed and has none of its own for that."""
    words = {"error": "usage" if number == 2 else "error"}
    fields = {"reason": words.get(status, status), **places}
    return {"schema": "spkg.error/1", **failure(status, number, message, **fields)}
