"""Signals, whatever the command: it ends soon, with a status of its own, and nothing is left."""

import atexit
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import pytest

from spkg.__main__ import main
from spkg.format.commands import End
from spkg.format.package import Header, encode_commands
from tests.support.commands import PATIENCE, PROGRAM, files, run, with_command
from tests.support.kit import Draft, file
from tests.support.package_files import TRUST, furnish

SIGNALS: Final = {
    signal.SIGHUP: (129, b"", b"spkg: error: the terminal was closed\n"),
    signal.SIGTERM: (143, b"", b"spkg: error: terminated\n"),
    signal.SIGINT: (130, b"", b"spkg: error: interrupted\n"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_has_a_status_of_its_own_and_its_old_meaning_afterwards(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)  # whoever starts the tests may ignore it
    try:
        result = run("more", group=with_command(lambda: signal.raise_signal(number)))
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before)

    status, stdout, stderr = SIGNALS[number]
    assert (result.exit_code, result.stdout, result.stderr) == (status, stdout.decode(), stderr.decode())
    assert after is signal.default_int_handler


# In the midst of the work.


@contextmanager
def started(
    *args: str, sigint: Callable[..., Any] | signal.Handlers = signal.default_int_handler
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program, with a pipe of one page as its standard input, and end it whatever happens."""
    # Who starts tests in the background may ignore SIGINT, and so would all their children.
    before = signal.signal(signal.SIGINT, sigint)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        running = subprocess.Popen(
            [*PROGRAM, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGHUP, hangup)
    with running:
        try:
            fcntl.fcntl(input_of(running), fcntl.F_SETPIPE_SZ, 4096)
            yield running
        finally:
            running.kill()


def input_of(running: subprocess.Popen[bytes]) -> IO[bytes]:
    assert running.stdin is not None
    return running.stdin


def close_input_of(running: subprocess.Popen[bytes]) -> None:
    """Close the pipe: a signal that comes just before a read that blocks is seen when the read ends."""
    input_of(running).close()
    running.stdin = None


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "args",
    [
        "extract - out --unsafe-skip-signatures",
        "sign - -o out --key signer.key --cert signer.pem",
    ],
)
def test_a_signal_in_the_midst_of_the_payload_leaves_nothing(
    number: signal.Signals, args: str, here: Path
) -> None:
    payload = bytes(1 << 20)
    octets = Draft(records=(file("/big", payload), End()), payload=payload, signers=()).encode()
    there = files(here)

    with started(*args.split()) as running:
        # When this returns, all but one page was read: more than the front matter and any buffer behind it.
        input_of(running).write(octets[: len(octets) // 2])
        input_of(running).flush()
        (part,) = here.glob(".*")
        running.send_signal(number)
        close_input_of(running)
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert re.fullmatch(r"\.out\.[0-9a-f]{8}\.part", part.name)
    assert files(here) == there
    assert (running.returncode, stdout, stderr) == SIGNALS[number]


def test_a_second_signal_does_not_disturb_the_cleaning_after_the_first(here: Path) -> None:
    payload = bytes(1 << 20)
    many = [file(f"/{number}", b"\0", at=number) for number in range(700)]
    octets = Draft(records=(*many, file("/big", payload), End()), payload=payload, signers=()).encode()

    def left() -> int:
        try:
            return len(list(part.iterdir()))
        except FileNotFoundError:
            return 0

    there = files(here)

    with started("extract", "-", "out", "--unsafe-skip-signatures") as running:
        input_of(running).write(octets[: len(octets) // 2])
        input_of(running).flush()
        (part,) = here.glob(".out.*.part")
        assert left() == len(many) + 1
        running.terminate()
        close_input_of(running)
        while left() > len(many) and running.poll() is None:
            pass
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=PATIENCE)

    assert files(here) == there
    assert (running.returncode, stderr) == (143, b"spkg: error: terminated\n")


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(here: Path) -> None:
    payload = bytes(1 << 20)
    octets = Draft(records=(file("/big", payload), End()), payload=payload, signers=()).encode()

    # So a shell starts what it runs in the background, and nohup what is to live on.
    with started("extract", "-", "out", "--unsafe-skip-signatures", sigint=signal.SIG_IGN) as running:
        input_of(running).write(octets[: len(octets) // 2])
        input_of(running).flush()
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(octets[len(octets) // 2 :], timeout=PATIENCE)

    assert (running.returncode, stderr) == (
        0,
        b"spkg: warning: no signature was checked: these files may come from anyone\n",
    )
    assert Path("out/big").stat().st_size == len(payload)


def test_a_signal_ends_hashing_in_parallel() -> None:
    half = 1 << 30
    records = tuple(replace(file(f"/{at}"), file_offset=at * half, file_length=half) for at in (0, 1))
    commands = encode_commands((*records, End()))
    header = Header(command_list_length=len(commands), payload_length=2 * half).encode()
    front = Draft(records=(*records, End()), header=header).front
    Path("big.spkg").write_bytes(front)
    os.truncate("big.spkg", len(front) + 2 * half)  # takes no room, and a second to hash

    with started("verify", "big.spkg", *TRUST, "--jobs", "2") as running:
        while len(list(Path(f"/proc/{running.pid}/task").iterdir())) < 3:
            assert running.poll() is None
        running.terminate()
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stdout, stderr) == SIGNALS[signal.SIGTERM]


def test_a_signal_in_the_midst_of_building_leaves_nothing(here: Path) -> None:
    with Path("big").open("wb") as big:
        big.truncate(1 << 30)  # takes no room, and a second to hash
    Path("m.toml").write_text('[[step]]\nextract = "/big"\nfrom = "big"\n')
    there = files(here)

    with started("build", "m.toml", "-o", "out", "--unsigned") as running:
        while not list(here.glob(".out.*.part")):
            assert running.poll() is None
        running.terminate()
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stdout, stderr) == (143, b"", b"spkg: error: terminated\n")
    assert files(here) == there


LATE = """
import atexit, os, signal, sys
from spkg.__main__ import main
number = getattr(signal, sys.argv.pop())
class Freed:
    def __del__(self):
        os.write(1, b"freed")
freed = Freed()
old = atexit.register
def register(last):  # what the program registers comes first, so that this is called before
    old(last)
    old(os.kill, os.getpid(), number)
    old(os.write, 1, b"at exit ")
atexit.register = register
main()
"""


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
@pytest.mark.parametrize(("argument", "status"), [("--version", 0), ("--unknown", 2)])
def test_a_signal_while_python_ends_does_not_change_the_exit_status(
    name: str, argument: str, status: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE, argument, name], capture_output=True, timeout=PATIENCE, check=False
    )

    assert done.returncode == status, done.stderr
    assert done.stdout.endswith(b"at exit ")  # what was registered is called; nothing is freed


@pytest.mark.parametrize(("argument", "status"), [("--version", 0), ("--unknown", 2)])
def test_a_process_ends_with_the_status_of_its_command_and_frees_nothing(argument: str, status: int) -> None:
    child = os.fork()
    if child == 0:
        last: list[Callable[[], object]] = []
        atexit.register = last.append  # type: ignore[assignment]
        sys.argv = ["spkg", argument]
        with suppress(SystemExit):
            main()
        last[0]()
        os._exit(99)  # it came back

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
