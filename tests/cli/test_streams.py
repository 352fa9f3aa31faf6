"""The standard streams of any command: closed, full, without a reader, or unable to say it."""

import os
import sys
from pathlib import Path
from typing import Final

import pytest

from spkg.format.commands import End
from tests.support.commands import process
from tests.support.kit import Draft, file
from tests.support.package_files import furnish


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.mark.parametrize("args", ["inspect p.spkg", "verify nothing --json", "--help"])
def test_a_reader_that_has_enough_ends_the_program_quietly(args: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = process(*args.split(), stdout=writing)
    finally:
        os.close(writing)

    assert result.stderr == ""
    assert result.returncode == 9


CLOSED: Final = "import os, sys\nos.close(int(sys.argv[1]))\nos.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.parametrize(
    ("args", "descriptor", "status"),
    [
        ("inspect -", 0, 9),
        ("inspect p.spkg", 1, 9),
        ("inspect nothing", 2, 9),
        ("verify u.spkg --trust ca.pem", 2, 4),
    ],
)
def test_a_standard_stream_that_is_closed_is_no_defect(args: str, descriptor: int, status: int) -> None:
    result = process(*args.split(), prefix=(sys.executable, "-c", CLOSED, str(descriptor)))

    assert result.returncode == status


@pytest.mark.parametrize(
    "args", ["inspect p.spkg", "inspect nothing --json", "--help", "sign --help", "--version"]
)
def test_an_output_that_cannot_be_written_is_9(args: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = process(*args.split(), stdout=full)

    assert result.returncode == 9
    assert result.stderr.splitlines()[-1] == "spkg: error: standard output: no space left on device"


def test_where_nobody_can_be_told_what_is_wrong_the_status_still_tells() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        assert process("inspect", "nothing", stderr=full).returncode == 9


def test_a_terminal_that_lacks_a_character_gets_it_escaped() -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/bin/€"), End())).encode())

    result = process("inspect", "p.spkg", env={**os.environ, "PYTHONIOENCODING": "latin-1"})

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[6] == "  0  0x0018  1  Extract File  /bin/\\u20ac, 21 bytes"
