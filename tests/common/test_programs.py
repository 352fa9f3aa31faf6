"""Programs of the device: what they get, how long they may take, what is shown and kept of their output."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

import pytest

from spkg.common.programs import KEPT, SHOWN, ProgramRun, run_program
from tests.support.hooks_kit import LONG, is_gone

ENVIRONMENT = {"PATH": os.defpath, "NAME": "value"}


def shell(script: str, *arguments: str, **settings: Any) -> ProgramRun:
    settings = {"environment": ENVIRONMENT, "clock": monotonic, "limit": LONG, **settings}
    return run_program(["/bin/sh", "-c", script, "sh", *arguments], **settings)


def heirloom() -> int:
    """Return a descriptor that other programs inherit."""
    opened = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(opened, True)  # noqa: FBT003 - its only argument
    return opened


def test_a_program_gets_arguments_environment_and_input_and_nothing_else() -> None:
    inherited = heirloom()
    code = (
        "import os, sys; print(sys.argv[1:], dict(os.environ), sys.stdin.read(),"
        "sorted(os.listdir('/proc/self/fd')))"
    )

    done = run_program(
        [sys.executable, "-I", "-S", "-c", code, "$NAME", "a b", ""],
        environment={"NAME": "value", "LC_ALL": "C"},
        clock=monotonic,
        given=b"given",
    )
    os.close(inherited)

    # The fourth one is that of the directory itself.
    words = "['$NAME', 'a b', ''] {'NAME': 'value', 'LC_ALL': 'C'} given ['0', '1', '2', '3']\n"
    assert done == ProgramRun(status=0, output=words)
    assert done.succeeded


def test_without_proc_what_is_inherited_is_found_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spkg.common.programs.DESCRIPTORS", Path("/nowhere"))
    inherited = heirloom()

    done = shell(f"[ ! -e /proc/self/fd/{inherited} ]")
    os.close(inherited)

    assert done.succeeded


def test_an_open_file_is_read_from_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(4)

        done = shell("cat", given=file.fileno())

    assert done.output == "456789"


@pytest.mark.parametrize("size", [0, 1, 1 << 22])
def test_all_of_the_input_arrives(size: int) -> None:
    assert shell("wc -c", given=bytes(size)).output.strip() == str(size)


@pytest.mark.parametrize("script", ["exit 0", "exec <&-; sleep 0.05"])
def test_a_program_need_not_read_its_input(script: str) -> None:
    assert shell(script, given=bytes(1 << 20)) == ProgramRun(status=0, limit=LONG)


@pytest.mark.parametrize(
    ("script", "status", "end"),
    [
        ("exit 3", 3, "ended with status 3"),
        ("kill -KILL $$", -9, "was ended by signal 9 (SIGKILL)"),
        ("kill -35 $$", -35, "was ended by signal 35"),
    ],
)
def test_how_a_program_ends_is_said(script: str, status: int, end: str) -> None:
    done = shell(script)

    assert (done.status, done.end, done.succeeded) == (status, end, False)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["nowhere/at/all"], "nowhere/at/all: no such file or directory"),
        (["/etc/passwd"], "/etc/passwd: permission denied"),
        (["/bin/true", "a\0b"], "embedded null byte"),
    ],
)
def test_a_program_that_can_not_be_run_is_told(command: list[str], problem: str) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())

    done = run_program(command, environment={}, clock=monotonic, given=b"given", limit=LONG)

    assert done == ProgramRun(status=None, problem=problem, limit=LONG)
    assert done.end == f"can't be run: {problem}"
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_program_finds_signals_as_usual() -> None:
    blocked, ignored = shell("sed -n -E 's/^Sig(Blk|Ign):\t//p' /proc/self/status").output.split()

    assert int(blocked, 16) == 0
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        assert not int(ignored, 16) & 1 << number - 1


# The limit.


def test_past_its_limit_a_program_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    begun = monotonic()

    done = shell(f"sleep {LONG} & echo $! $$ > {tmp_path}/pids; echo words; sleep {LONG}", limit=0.1)

    assert done == ProgramRun(status=None, timed_out=True, output="words\n", limit=0.1)
    assert done.end == "took longer than 0.1 s and was ended"
    assert monotonic() - begun < LONG / 2
    assert all(is_gone(int(number)) for number in (tmp_path / "pids").read_text().split())


def test_it_is_asked_first_and_can_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spkg.common.programs.GRACE", LONG)
    begun = monotonic()

    done = shell(f"trap 'echo bye; exit 0' TERM; sleep {LONG} & wait", limit=0.1)

    assert (done.status, done.timed_out, done.output) == (None, True, "bye\n")
    assert monotonic() - begun < LONG / 2


def test_one_that_does_not_listen_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spkg.common.programs.GRACE", 0.1)

    done = shell("trap '' TERM; while :; do sleep 0.01; done", limit=0.1)

    assert (done.status, done.timed_out) == (None, True)


def test_one_that_nothing_ends_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    kill = os.killpg
    monkeypatch.setattr("spkg.common.programs.GRACE", 0.05)
    monkeypatch.setattr("os.killpg", lambda group, _: groups.append(group))

    done = shell(f"sleep {LONG}", limit=0.05)

    assert (done.status, done.timed_out) == (None, True)
    kill(groups[0], signal.SIGKILL)
    os.waitpid(groups[0], 0)


def test_no_limit_is_none() -> None:
    assert shell("sleep 0.05; exit 4", limit=None).status == 4


@pytest.mark.parametrize("missing", ["attribute", "call"])
def test_an_old_kernel_does_not_say_when_a_program_ends(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: int) -> NoReturn:
        raise OSError(38, "Function not implemented")

    if missing == "call":
        monkeypatch.setattr("os.pidfd_open", unknown)
    else:
        monkeypatch.delattr("os.pidfd_open")

    assert shell("exec >&- 2>&-; sleep 0.1; exit 5").status == 5
    assert shell(f"sleep {LONG}", limit=0.05).timed_out


def test_whoever_ignores_their_children_gets_no_status(request: pytest.FixtureRequest) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    request.addfinalizer(lambda: signal.signal(signal.SIGCHLD, before))

    done = shell("exit 0")

    assert (done.status, done.end) == (None, "can't be run: its status went to another process")


# Its output.


def test_output_is_shown_as_it_comes(tmp_path: Path) -> None:
    marker = tmp_path / "seen"
    code = f"""
import os, sys, threading, time
from spkg.common.programs import run_program
run_program(
    ["/bin/sh", "-c", "echo first; while [ ! -e {marker} ]; do sleep 0.01; done; echo second >&2"],
    environment={{"PATH": os.defpath}}, clock=time.monotonic, limit={LONG},
)
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as program:
        assert program.stderr is not None
        first = program.stderr.readline()
        marker.touch()
        rest = program.stderr.read()

    assert (first, rest, program.returncode) == (b"first\n", b"second\n", 0)


def test_of_much_output_a_part_is_shown_and_the_end_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    done = shell("head -c 10485760 /dev/zero | tr '\\0' x; echo why; exit 3")

    assert done == ProgramRun(status=3, output="x" * (KEPT - 4) + "why\n", limit=LONG)
    assert capfd.readouterr().err == "x" * SHOWN + "\n[the rest of the output is not shown]\n"


def test_just_as_much_as_is_shown_is_shown_without_a_note(capfd: pytest.CaptureFixture[str]) -> None:
    shell(f"head -c {SHOWN} /dev/zero | tr '\\0' x")

    assert capfd.readouterr().err == "x" * SHOWN


def test_what_is_no_text_takes_no_more_room_than_text() -> None:
    done = shell("head -c 9000 /dev/zero | tr '\\0' '\\377'; echo ' \u00e4'")

    assert len(done.output.encode()) <= KEPT
    assert done.output.endswith("\\xff\\xff \u00e4\n")


def test_output_that_others_hold_open_keeps_nobody_waiting(tmp_path: Path) -> None:
    begun = monotonic()

    done = shell(f"sleep {LONG} & echo $! > {tmp_path}/pid; echo words")

    assert done == ProgramRun(status=0, output="words\n", limit=LONG)
    assert monotonic() - begun < LONG / 2
    os.kill(
        int((tmp_path / "pid").read_text()), signal.SIGKILL
    )  # what it left running is none of our business


def in_process(setup: str, script: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a script in a process of its own, whose streams a setup changes before."""
    code = f"""
import os, sys, time, json
from spkg.common.programs import run_program
result = os.dup(1)
{setup}
done = run_program(["/bin/sh", "-c", {script!r}], environment={{"PATH": os.defpath}}, clock=time.monotonic,
    limit={LONG}, given=b"given")
os.write(result, json.dumps([done.status, done.output]).encode())
"""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=LONG, check=False, **settings
    )


@pytest.mark.parametrize("closed", [(0, 1, 2), (0,), (1,)])
def test_closed_streams_are_no_obstacle(closed: tuple[int, ...]) -> None:
    done = in_process(f"for one in {closed}: os.close(one)", "cat; echo words >&2")

    assert (done.stdout, done.returncode) == (b'[0, "givenwords\\n"]', 0)


@contextmanager
def standard_error(descriptor: int | None) -> Iterator[None]:
    """Have another standard error, or none, here."""
    before = os.dup(2)
    os.close(2)
    try:
        if descriptor is not None:
            os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def test_without_a_standard_error_the_output_is_kept() -> None:
    with standard_error(None):
        done = shell("cat; echo words >&2", given=b"given")

    assert (done.status, done.output) == (0, "givenwords\n")


@pytest.mark.parametrize("kind", ["gone", "full", "full and patient", "no room"])
def test_where_nobody_looks_at_the_output_the_program_goes_on(kind: str) -> None:
    reading, writing = os.pipe()
    if kind == "gone":
        os.close(reading)
    if kind == "full":
        os.set_blocking(writing, False)
    looking = os.open("/dev/full", os.O_WRONLY) if kind == "no room" else writing

    with standard_error(looking):
        done = shell("head -c 100000 /dev/zero | tr '\\0' x; echo end")

    assert (done.status, done.output[-5:]) == (0, "xend\n")
    for descriptor in {writing, looking} | ({reading} if kind != "gone" else set()):
        os.close(descriptor)


# Signals to us.


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
@pytest.mark.usefixtures("raising")
def test_a_signal_that_raises_here_ends_the_program(
    trap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.common.programs.GRACE", 0.1)
    pids, draft = tmp_path / "pids", tmp_path / "draft"
    interrupter = threading.Thread(target=interrupt_when, args=(pids,))
    interrupter.start()

    with pytest.raises(KeyboardInterrupt):
        shell(f"{trap}sleep {LONG} & echo $! $$ > {draft}; mv {draft} {pids}; wait; wait")

    interrupter.join()
    assert all(is_gone(int(number)) for number in pids.read_text().split())


@pytest.fixture
def raising() -> Iterator[None]:
    """Have SIGTERM raise here."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def interrupt_when(path: Path) -> None:
    deadline = monotonic() + LONG
    while not path.exists() and monotonic() < deadline:
        time.sleep(0.01)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
