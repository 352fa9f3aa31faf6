"""What becomes of a command whose standard streams are gone or full, in this process."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from spkg.cli import build, console
from spkg.cli.console import ClosedOutput, OutputError, say, writing
from spkg.errors import HostError
from tests.support.commands import run, with_command


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the streams back that are given up."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)


def test_a_reader_that_has_gone_is_no_error_of_a_file() -> None:
    with pytest.raises(ClosedOutput), writing():
        raise BrokenPipeError
    assert sys.stdout is None


def test_an_output_that_is_full_is_named() -> None:
    with pytest.raises(OutputError, match=r"^standard output: no space left on device$"), writing():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert sys.stdout is None


class Full:
    """A stream that takes nothing."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return False

    def write(self, _text: str) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        """There is nothing to flush."""


def test_where_nothing_can_be_said_nothing_is() -> None:
    sys.stderr = Full()

    say("spkg: error: nobody hears it")

    assert sys.stderr is None


def test_without_standard_output_nothing_can_be_printed() -> None:
    sys.stdout = None

    with pytest.raises(HostError, match="standard output is closed"):
        console.prepare_streams()
    with pytest.raises(HostError, match="standard output is closed"), build._standard_output():
        pass


def test_the_octets_of_a_package_go_to_standard_output(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        sys.stdout = stream
        with build._standard_output() as file:
            file.write(b"\xff\x00")

    assert (tmp_path / "out").read_bytes() == b"\xff\x00"


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (OutputError("standard output: full"), 9, "spkg: error: standard output: full\n"),
        (ClosedOutput(), 9, ""),
        (KeyboardInterrupt(), 130, "spkg: error: interrupted\n"),
        (ModuleNotFoundError("No module named 'requests'", name="requests"), 9, "requests"),
    ],
    ids=["full", "closed", "interrupted", "missing"],
)
def test_what_ends_a_command_has_its_status(error: BaseException, status: int, told: str) -> None:
    done = run("more", group=with_command(raising(error)))

    assert done.exit_code == status
    assert told in done.output
