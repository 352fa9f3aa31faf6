"""``spkg guard``: what waits for the end of a trial, goes back, and reboots."""

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from spkg.common.boots import Boot
from spkg.common.findings import Finding
from spkg.errors import RefusedError
from spkg.install.guard import guard_trial
from spkg.install.rollback import RolledBack
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from tests.support.commands import PATIENCE, process, run
from tests.support.installation import APPLY, OLD, RECORDS, furnish_root, started, tree
from tests.support.kit import CONTENTS, Draft

FIRST: Final = Draft(records=RECORDS)
NEXT: Final = Draft(records=RECORDS[1:])
SHORT: Final = sha256(FIRST.signed).hexdigest()[:16]
NEW: Final = {"root/bin/app": CONTENTS}
GONE: Final = f"root: rolled back package {SHORT}, 2 changes\n"
USAGE: Final = "spkg: hint: Usage: spkg guard [OPTIONS] --reboot CMD [ARGUMENT]...\n"
TIME: Final = "2004-05-01T12:00:00Z"
MARK: Final = Path("rebooted")
REBOOT: Final = ("sh", "-c", 'echo "$@" > rebooted', "sh")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a package, what trusts it, and a root."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("p.spkg").write_bytes(FIRST.encode())
    return tmp_path


def begin_trial(delay: str) -> None:
    assert run("apply", "p.spkg", *APPLY, "--back-up", delay).exit_code == 0


def guarded(*words: str) -> tuple[int, str, str]:
    result = run("guard", *words)
    return result.exit_code, result.stdout, result.stderr


class Clock:
    """The time since the boot, which passes only where somebody sleeps, and what happens meanwhile."""

    def __init__(self, boot: str = "another", seconds: float = 0) -> None:
        self.boot = boot
        self.seconds = seconds
        self.naps: list[float] = []
        self.events: dict[int, Callable[[], object]] = {}

    def now(self) -> Boot:
        return Boot(identity=self.boot, seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds
        self.events.pop(len(self.naps), lambda: None)()

    def guard(self, warn: Callable[[Finding], object] = lambda _: None) -> RolledBack | None:
        return guard_trial(Path("root"), boot=self.now, sleep=self.sleep, timestamp=lambda: TIME, warn=warn)


# ---- Its end ----------------------------------------------------------------------------------------------


def test_a_root_without_a_trial_needs_no_guard() -> None:
    assert guarded("--root", "root", "--reboot", *REBOOT) == (0, "", "")
    assert not MARK.exists()
    assert not Path("root/.spkg").exists()


def test_a_trial_that_nobody_confirms_is_rolled_back_and_the_device_reboots() -> None:
    begin_trial("0")

    result = guarded("--root", "root", "--reboot", *REBOOT, "now")

    assert result == (0, GONE, "spkg: running sh\n")
    assert MARK.read_text() == "now\n"
    assert tree() == OLD
    events = json.loads(run("log", "--root", "root", "--json").stdout)["events"]
    assert [(one["event"], one["by"], one["reason"]) for one in events] == [
        ("applied", "command", None),
        ("rolled-back", "delay", "not confirmed within 0 s"),
    ]


@pytest.mark.parametrize("how", ["confirm", "rollback", "another"])
def test_a_guard_of_a_trial_that_ends_otherwise_ends_within_seconds(how: str) -> None:
    def end() -> None:
        run("confirm" if how == "confirm" else "rollback", "--root", "root")
        if how == "another":
            Path("next.spkg").write_bytes(NEXT.encode())
            assert run("apply", "next.spkg", *APPLY, "--back-up", "1h").exit_code == 0

    begin_trial("1h")
    clock = Clock()
    clock.events[3] = end

    done = clock.guard()

    assert (done, len(clock.naps)) == (None, 3)
    assert max(clock.naps) < 5
    assert tree() == (OLD if how == "rollback" else NEW)


def test_a_termination_changes_nothing() -> None:
    begin_trial("1h")
    running = started("guard", "--root", "root", "--reboot", "./nothing")
    assert running.stderr is not None
    running.stderr.readline()  # it has begun

    running.send_signal(signal.SIGTERM)
    output, errors = running.communicate(timeout=PATIENCE)

    assert (running.returncode, output, errors) == (143, b"", b"spkg: error: terminated\n")
    assert tree() == NEW


# ---- The clock --------------------------------------------------------------------------------------------


def test_in_a_later_boot_the_delay_counts_from_its_beginning() -> None:
    begin_trial("100s")
    clock = Clock(seconds=40)

    done = clock.guard()

    assert done is not None
    assert sum(clock.naps) == 60
    assert tree() == OLD


def test_in_the_boot_of_the_installation_the_delay_counts_from_then() -> None:
    begin_trial("100s")
    note = json.loads(Path("root/.spkg/trial").read_text())
    clock = Clock(note["boot"], note["since"] + 40)

    done = clock.guard()

    assert done is not None
    assert sum(clock.naps) == pytest.approx(60)


def test_the_boots_that_are_counted_meanwhile_make_no_other_trial_of_it() -> None:
    begin_trial("100s")
    note = Path("root/.spkg/trial")
    changed = {**json.loads(note.read_text()), "boots": 3, "counted": 1, "last_boot": "another"}
    clock = Clock()
    clock.events[1] = lambda: note.write_text(json.dumps(changed))

    assert clock.guard() is not None


# ---- What it runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [(), ("--",)])
def test_everything_after_the_option_belongs_to_the_program(between: tuple[str, ...]) -> None:
    begin_trial("0")

    result = guarded("--root", "root", "--reboot", *between, *REBOOT, "--root", "x", "--", "--help", "-h")

    assert result == (0, GONE, "spkg: running sh\n")
    assert MARK.read_text() == "--root x -- --help -h\n"


def test_the_program_may_stand_behind_an_equals_sign() -> None:
    begin_trial("0")

    result = guarded("--root=root", "--reboot=sh", *REBOOT[1:], "-f")

    assert (result[0], MARK.read_text()) == (0, "-f\n")


@pytest.mark.parametrize("words", [("--reboot",), ("--reboot", "--"), ("--reboot", ""), ("--reboot=",)])
def test_a_guard_without_a_program_is_wrong_usage(words: tuple[str, ...]) -> None:
    begin_trial("0")

    result = guarded("--root", "root", *words)

    assert result == (2, "", f"spkg: error: --reboot needs a program\n{USAGE}")
    assert tree() == NEW


def test_an_option_of_the_guard_behind_the_program_is_wrong_usage() -> None:
    problem = "--root must come before --reboot: all that follows belongs to the program"

    assert guarded("--reboot", "true", "--root", "root") == (2, "", f"spkg: error: {problem}\n")
    assert guarded("--root", "root") == (2, "", f"spkg: error: missing option '--reboot'\n{USAGE}")
    assert guarded("--reboot", "true") == (2, "", f"spkg: error: missing option '--root'\n{USAGE}")


@pytest.mark.parametrize(
    ("program", "end"),
    [
        (("sh", "-c", "exit 3"), "sh ended with status 3"),
        (("sh", "-c", "kill -9 $$"), "sh was ended by signal 9 (SIGKILL)"),
    ],
)
def test_a_program_that_fails_is_an_error_of_the_environment(program: tuple[str, ...], end: str) -> None:
    begin_trial("0")

    result = guarded("--root", "root", "--reboot", *program)

    hint = "spkg: hint: the old files are back; reboot the device\n"
    assert result == (9, GONE, f"spkg: running sh\nspkg: error: {end}\n{hint}")


def test_a_program_that_does_not_exist_is_noticed_before_it_is_needed() -> None:
    warning = "spkg: warning: reboot now does not exist or is not executable, so that nothing would reboot\n"
    early = guarded("--root", "root", "--reboot", "reboot now")
    begin_trial("0")

    late = guarded("--root", "root", "--reboot", "reboot now")

    assert early == (0, "", warning)
    assert late == (
        9,
        GONE,
        (
            f"{warning}spkg: running reboot now\n"
            "spkg: error: reboot now can't be run: reboot now: no such file or directory\n"
            "spkg: hint: the old files are back; reboot the device\n"
        ),
    )


@pytest.mark.parametrize("output", ["full", "closed by its reader"])
def test_the_device_reboots_also_if_nothing_can_be_printed(output: str) -> None:
    begin_trial("0")
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("wb") as full, os.fdopen(writing, "wb") as closed:
        stream = full if output == "full" else closed
        result = process("guard", "--root", "root", "--reboot", *REBOOT, "now", stdout=stream)

    problem = (
        "standard output: no space left on device" if output == "full" else "nobody reads standard output"
    )
    assert (result.returncode, result.stderr) == (0, f"spkg: warning: {problem}\nspkg: running sh\n")
    assert MARK.read_text() == "now\n"


# ---- What is in the way -----------------------------------------------------------------------------------


def test_another_process_at_work_is_waited_for() -> None:
    begin_trial("0")
    clock = Clock()

    with ExitStack() as other:
        opened = other.enter_context(Root(Path("root")))
        other.enter_context(opened.locked(OWN))
        clock.events[9] = other.close
        done = clock.guard()

    assert done is not None
    assert clock.naps == [2.0] * 9
    assert tree() == OLD


def test_what_is_refused_is_tried_three_times() -> None:
    begin_trial("0")
    Path("root/bin/mine").write_text("mine")
    Path("root/.spkg/aside").write_text("")
    clock = Clock()

    with pytest.raises(RefusedError, match="not a directory"):
        clock.guard()

    assert clock.naps == [2.0] * 2
    assert tree() == {**NEW, "root/bin/mine": b"mine"}


def test_what_is_refused_can_be_mended_meanwhile() -> None:
    begin_trial("0")
    Path("root/bin/mine").write_text("mine")
    Path("root/.spkg/aside").write_text("")
    clock = Clock()
    clock.events[2] = Path("root/.spkg/aside").unlink

    done = clock.guard()

    assert done is not None
    assert done.set_aside == ("/bin/mine",)


def test_a_damaged_trial_has_no_end_but_is_waited_for() -> None:
    begin_trial("0")
    Path("root/.spkg/trial").write_text("")
    clock, found = Clock(), list[Finding]()
    clock.events[1000] = lambda: run("confirm", "--root", "root")

    done = clock.guard(found.append)

    assert (done, len(clock.naps)) == (None, 1000)
    assert [one.code for one in found] == ["damaged-trial"]
