"""The standard streams of any command: closed, full, without a reader, or unable to say it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from spkg.format.commands import End
from tests.support.commands import PROGRAM, process
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
    "args",
    [
        "inspect p.spkg",
        "inspect nothing --json",
        "--help",
        "sign --help",
        "--version",
        "build m.toml -o - --unsigned",
    ],
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


LIMITED: Final = """import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a program that can't write more than 4096 bytes to any file, as on a full disk."""
UNBUFFERED: Final = {**os.environ, "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("args", ["cat p.spkg /f --trust ca.pem", "list p.spkg --json"])
def test_an_output_that_is_cut_short_is_9_also_without_buffers(args: str) -> None:
    octets = b"x" * 9000
    many = [file(f"/{'d' * 60}/{number}", octets) for number in range(40)]
    Path("p.spkg").write_bytes(Draft(records=(*many, file("/f", octets), End()), payload=octets).encode())

    with Path("out").open("wb") as out:
        result = process(*args.split(), prefix=(sys.executable, "-c", LIMITED), stdout=out, env=UNBUFFERED)

    assert result.stderr == "spkg: error: standard output: file too large\n"
    assert (result.returncode, Path("out").stat().st_size) == (9, 4096)


def test_a_pipe_that_does_not_block_gets_everything() -> None:
    octets = b"0123456789" * 100_000
    Path("p.spkg").write_bytes(Draft(records=(file("/f", octets), End()), payload=octets).encode())
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    program = subprocess.Popen(
        [*PROGRAM, "cat", "p.spkg", "/f", "--trust", "ca.pem"], stdout=writing, env=UNBUFFERED
    )
    os.close(writing)

    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        printed = pipe.read()

    assert (program.wait(), printed) == (0, octets)
