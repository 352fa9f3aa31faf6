"""``spkg apply`` with a file: what it prints, and the status it ends with."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from spkg.cli.app import Stopped
from spkg.cli.apply import _listener
from spkg.cli.console import ClosedOutput
from spkg.common.child_process import ChildKilledError, DefectError
from spkg.errors import UnsafeError
from spkg.format.commands import Description, End, Format, MinimumVersion, Move, Role, UnknownCommand
from spkg.format.paths import RootPath
from spkg.install.root import Root
from spkg.install.supervisor import Advance, apply_package, mark_unreported
from spkg.install.unreported import forget_unreported
from tests.support.commands import PATIENCE, PROGRAM, run
from tests.support.installation import APPLY, OLD, RECORDS, events, furnish_root, mark_unsafe, tree
from tests.support.kit import CONTENTS, ROOT, Draft, file
from tests.support.restrictions import fixed

UNCONFINED: Final = (
    "the kernel has no Landlock of Linux 5.19 or later: the installer was not confined to the root"
)
NEW: Final = {"root/bin/app": CONTENTS}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a package, what trusts it, and a root."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("p.spkg").write_bytes(Draft(records=RECORDS).encode())
    return tmp_path


def test_a_package_is_installed() -> None:
    result = run("apply", "p.spkg", *APPLY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "root: installed, 3 changes, reboot required\n"
    assert tree() == NEW


def test_where_the_kernel_has_no_landlock_the_same_is_done_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spkg.install.confined.confine", lambda _: 0)
    Path("p.spkg").write_bytes(Draft(records=(*RECORDS[:2], Description(text="x"), *RECORDS[2:])).encode())

    result = run("apply", "p.spkg", *APPLY)
    again = run("apply", "p.spkg", *APPLY, "--again", "--in-place", "--json")
    recovered = run("recover", "--root", "root")

    assert (result.exit_code, result.stderr) == (
        0,
        f"spkg: warning: {UNCONFINED}\n",
    )
    assert (again.exit_code, events(again.stdout)[-1]["confined"]) == (0, False)
    assert recovered.exit_code == 0
    assert tree() == NEW


def test_a_dry_run_shows_what_would_change() -> None:
    result = run("apply", "p.spkg", *APPLY, "--dry-run")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == ("  + /bin/\n  + /bin/app\n  - /old\nroot: dry run, 3 changes, reboot required\n")
    assert tree() == OLD


def test_a_package_that_comes_again_changes_nothing() -> None:
    run("apply", "p.spkg", *APPLY)

    result = run("apply", "p.spkg", *APPLY)

    assert (result.exit_code, result.stdout) == (
        0,
        "root: this package is already installed, nothing was changed\n",
    )
    assert result.stderr == "spkg: hint: to apply it again, use --again\n"


@pytest.mark.parametrize(
    ("option", "most"),
    [("--command-key", 32), ("--provisioning-code", 64)],
    ids=["CommandKey", "ProvisioningCode"],
)
def test_a_name_of_the_server_is_no_longer_than_its_table_allows(option: str, most: int) -> None:
    problem = f"{option} must have at most {most} characters, got {most + 1}"

    text = run("apply", "p.spkg", *APPLY, option, "é" * (most + 1))
    document = run("apply", "p.spkg", *APPLY, option, "é" * (most + 1), "--json")
    longest = run("apply", "p.spkg", *APPLY, option, "é" * most, "--dry-run")

    assert (text.exit_code, text.stdout, text.stderr) == (2, "", f"spkg: error: {problem}\n")
    assert (document.exit_code, events(document.stdout)[-1]["message"]) == (2, problem)
    assert longest.exit_code == 0
    assert tree() == OLD


def test_no_progress_is_printed_twice_however_slow_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    hear = _listener(21, None, [], as_json=True)

    for octets in (21, 0, 0):
        hear(Advance(octets=octets, standing=None))

    assert [one["octets"] for one in events(capsys.readouterr().out)] == [21]


def test_the_events_end_with_the_result() -> None:
    result = run("apply", "p.spkg", *APPLY, "--json", "--command-key", "k1")

    *progress, last = events(result.stdout)
    assert progress == [{"schema": "spkg.apply/1", "event": "progress", "octets": 21, "total": 21}]
    assert list(last)[:3] == ["schema", "event", "status"]
    assert last.pop("start_time") <= last.pop("complete_time")
    assert last.pop("confined") in {True, False}
    assert last == {
        "schema": "spkg.apply/1",
        "event": "result",
        "status": "installed",
        "exit": 0,
        "reboot_required": True,
        "already_installed": False,
        "roles": [],
        "command_key": "k1",
        "fault": {"code": 0, "string": ""},
        "reason": None,
        "changes": [
            {"action": "make-directory", "path": "/bin", "replaces": None},
            {"action": "put", "path": "/bin/app", "replaces": None, "mode": "0644"},
            {"action": "delete", "path": "/old", "kind": "file"},
        ],
        "skipped_unknown": [],
        "notes": [],
        "warnings": [],
        "recovered": "nothing",
        "hooks": [],
    }


def test_a_dry_run_is_planned() -> None:
    (last,) = events(run("apply", "p.spkg", *APPLY, "--json", "--dry-run").stdout)

    assert (last["status"], last["exit"], last["confined"]) == ("planned", 0, None)


FAULTS: Final[dict[str, tuple[tuple[str, ...], bytes | None, str, int, int]]] = {
    "usage": (("--digests", "md5"), None, "error", 2, 9002),
    "malformed": ((), b"2WIRE", "malformed", 3, 9010),
    "untrusted": ((), Draft(records=RECORDS, signers=()).encode(), "untrusted", 4, 9010),
    "damaged": ((), Draft(records=RECORDS, payload=bytes(21)).encode(), "untrusted", 4, 9010),
    "refused": ((), Draft(records=(MinimumVersion(version=(5,)), *RECORDS)).encode(), "refused", 5, 9001),
    "unknown": (
        ("--refuse-unknown",),
        Draft(records=(UnknownCommand(number=1000, value=b""), *RECORDS)).encode(),
        "refused",
        5,
        9001,
    ),
    "host_error": (("--device", "nowhere.toml"), None, "error", 9, 9002),
    "a long message": (("--device", f"{'nowhere' * 30}/{'at all' * 30}"), None, "error", 9, 9002),
    "no room": (("--device", "small.toml"), None, "refused", 5, 9010),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_failure_has_its_status_and_its_fault_and_changes_nothing(kind: str) -> None:
    options, package, word, status, fault = FAULTS[kind]
    if package is not None:
        Path("p.spkg").write_bytes(package)
    Path("small.toml").write_text(f"[install]\nmax-extracted = {len(CONTENTS) - 1}\n")

    result = run("apply", "p.spkg", *APPLY, *options, "--json")

    *_, last = events(result.stdout)
    assert (result.exit_code, last["status"], last["exit"]) == (status, word, status)
    assert last["fault"] == {"code": fault, "string": last["message"][:256]}
    assert (len(last["message"]) > 300) == (kind == "a long message")
    assert result.stderr.startswith(f"spkg: error: {last['message']}\n")
    assert tree() == OLD


def test_no_room_is_a_download_failure_since_transfer_complete_has_no_9004() -> None:
    Path("small.toml").write_text("[install]\nmax-extracted = 1\n")

    result = run("apply", "p.spkg", *APPLY, "--device", "small.toml", "--json")

    *_, last = events(result.stdout)
    assert (result.exit_code, last["fault"]["code"], last["reason"]) == (5, 9010, "no-room")
    assert tree() == OLD


FEEDING: Final = """
import sys, time
octets = open("p.spkg", "rb").read()
with open("pipe", "wb") as pipe:  # once it is read from
    opened = int(time.time())
    while int(time.time()) == opened:
        time.sleep(0.01)
    pipe.write(octets)
"""
"""Writes the package into a pipe when a second has begun in which nobody had opened it yet."""


@pytest.mark.parametrize("policy", [(), ("--digests", "sha256")], ids=["installed", "refused"])
def test_the_times_are_those_of_the_beginning_and_of_the_end(policy: tuple[str, ...]) -> None:
    os.mkfifo("pipe")
    before = datetime.now(UTC).replace(microsecond=0)

    # A process, not a thread: the child that installs would inherit its end of the pipe, and wait for ever.
    with subprocess.Popen([sys.executable, "-c", FEEDING]):
        result = run("apply", "pipe", *APPLY, *policy, "--json")

    last = events(result.stdout)[-1]
    assert last["status"] == ("untrusted" if policy else "installed")
    times = [last["start_time"], last["complete_time"]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one) for one in times)
    start, end = map(datetime.fromisoformat, times)
    assert before <= start < end <= datetime.now(UTC)


def test_a_version_that_is_not_known_is_hinted_at() -> None:
    Path("p.spkg").write_bytes(Draft(records=(MinimumVersion(version=(5,)), *RECORDS)).encode())

    result = run("apply", "p.spkg", *APPLY)

    assert result.stderr == (
        "spkg: error: offset 0x0018: command[0]: requires a software version, but that of the device is "
        "unknown [TR-069 E.4.10]\nspkg: hint: name the device file with --device\n"
    )
    assert run("apply", "p.spkg", *APPLY, "--software-version", "4.9").exit_code == 5
    assert run("apply", "p.spkg", *APPLY, "--software-version", "5.0.1").exit_code == 0


def test_what_the_command_line_says_of_the_device_counts_more_than_the_file() -> None:
    Path("p.spkg").write_bytes(Draft(records=(MinimumVersion(version=(5,)), *RECORDS)).encode())
    Path("d.toml").write_text('[device]\nsoftware-version = "4.0"\n')

    assert run("apply", "p.spkg", *APPLY, "--device", "d.toml").exit_code == 5
    assert run("apply", "p.spkg", *APPLY, "--device", "d.toml", "--software-version", "5").exit_code == 0


@pytest.mark.parametrize("path", ["nowhere", "p.spkg"])
def test_a_root_that_is_none_is_9(path: str) -> None:
    for command in (("apply", "p.spkg", *APPLY[2:]), ("recover",), ("status",)):
        result = run(*command, "--root", path)

        assert result.exit_code == 9
        assert result.stderr.startswith(f"spkg: error: {path}: no")


def test_without_a_clock_times_count_from_the_start_of_the_device_and_that_is_said() -> None:
    options = ("--root", "root", "--trust", "ca.pem", "--no-clock", "--json")

    result = run("apply", "p.spkg", *options)

    *_, last = events(result.stdout)
    assert last["start_time"].startswith("0000-00-")
    assert result.stderr.startswith("spkg: warning: the dates of certificates")
    assert [one["code"] for one in last["warnings"]] == ["dates-not-checked"]


@pytest.mark.parametrize("option", [("--bogus",), ("--at", "never")])
def test_wrong_usage_ends_with_a_result_line_too(option: tuple[str, ...]) -> None:
    result = run("apply", "p.spkg", "--root", "root", *option, "--json")

    (last,) = events(result.stdout)
    assert (result.exit_code, last["event"], last["status"], last["exit"]) == (2, "result", "error", 2)


def test_a_report_does_not_take_the_place_of_what_it_is_about() -> None:
    Path("d.toml").write_text("")

    for name, what in (("p.spkg", "SOURCE"), ("ca.pem", "--trust"), ("d.toml", "--device")):
        before = Path(name).read_bytes()
        result = run("apply", "p.spkg", *APPLY, "--device", "d.toml", "--report", name)

        assert result.exit_code == 2
        assert result.stderr == f"spkg: error: {name}: the report would overwrite an input ({what})\n"
        assert Path(name).read_bytes() == before


def test_a_file_called_minus_is_not_standard_input() -> None:
    Path("p.spkg").rename("-")

    assert run("apply", "./-", *APPLY).exit_code == 0


def test_a_report_is_written() -> None:
    result = run("apply", "p.spkg", *APPLY, "--report", "r.json")

    assert result.exit_code == 0
    assert json.loads(Path("r.json").read_text())["status"] == "installed"
    Path("p.spkg").write_bytes(b"")
    assert run("apply", "p.spkg", *APPLY, "--report", "r.json").exit_code == 3
    assert json.loads(Path("r.json").read_text())["status"] == "malformed"


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("nowhere/r.json", "nowhere/r.json: no such file or directory"),
        ("old.json/r.json", "old.json/r.json: not a directory"),
        ("reports", "reports is a directory"),
        ("pipe", "pipe is not a regular file"),
    ],
)
@pytest.mark.parametrize("how", [(), ("--in-place",), ("--dry-run",)])
def test_a_report_that_can_not_be_written_is_told_before_anything_changes(
    place: str, problem: str, how: tuple[str, ...]
) -> None:
    Path("old.json").touch()
    Path("reports").mkdir()
    os.mkfifo("pipe")

    result = run("apply", "p.spkg", *APPLY, *how, "--report", place)

    assert (result.exit_code, result.stderr) == (9, f"spkg: error: the report can't be written: {problem}\n")
    assert tree() == OLD
    assert not Path("root/.spkg").exists()


@pytest.mark.parametrize("name", ["root/.spkg/installed", "root/bin/../.spkg/new", "linked/installed"])
def test_a_report_never_lies_among_the_files_of_the_installer(name: str) -> None:
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    Path("linked").symlink_to("root/.spkg")
    record = Path("root/.spkg/installed").read_bytes()

    result = run("apply", "p.spkg", *APPLY, "--again", "--report", name)

    told = f"spkg: error: {name}: the report would lie among the installer's own files\n"
    assert (result.exit_code, result.stderr) == (2, told)
    assert Path("root/.spkg/installed").read_bytes() == record
    assert not Path("root/.spkg/new").exists()


def test_a_report_is_never_written_to_standard_output() -> None:
    Path("stdout").symlink_to("/proc/self/fd/1")

    dash = run("apply", "p.spkg", *APPLY, "--report", "-")
    link = run("apply", "p.spkg", *APPLY, "--report", "stdout")

    told = "spkg: error: --report takes a file, not standard output\n"
    assert (dash.exit_code, dash.stderr) == (2, f"{told}spkg: hint: use --json to print the result\n")
    problem = "spkg: error: the report can't be written: stdout is not a regular file\n"
    assert (link.exit_code, link.stderr) == (9, problem)
    assert tree() == OLD
    assert not Path("-").exists()


def test_a_report_in_a_directory_that_can_not_change_is_told_before_anything_does() -> None:
    Path("reports").mkdir()
    Path("reports/r.json").write_text("old")

    with fixed(Path("reports")):
        result = run("apply", "p.spkg", *APPLY, "--report", "reports/r.json")

    problem = "the report can't be written: reports/r.json: operation not permitted"
    assert (result.exit_code, result.stderr) == (9, f"spkg: error: {problem}\n")
    assert tree() == OLD


def test_an_old_report_is_gone_before_anything_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []

    def applying(*_: Any, **__: Any) -> Any:
        found.append(Path("r.json").exists())
        raise UnsafeError("stopped")

    monkeypatch.setattr("spkg.install.supervisor.apply_package", applying)
    Path("r.json").write_text("of another time")

    result = run("apply", "p.spkg", *APPLY, "--report", "r.json")

    assert (result.exit_code, found) == (7, [False])
    assert json.loads(Path("r.json").read_text())["status"] == "unsafe"


def test_what_is_installed_and_not_reported_is_a_warning_and_in_the_status() -> None:
    Path("reports").mkdir()
    Path("p.spkg").write_bytes(Draft(records=(file("/new"), End())).encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spkg.install.supervisor.apply_package", _then(apply_package, Path("reports").rmdir))
        result = run("apply", "p.spkg", *APPLY, "--report", "reports/r.json", "--json")

    problem = "the report can't be written: reports/r.json: no such file or directory"
    (lost,) = events(result.stdout)[-1]["warnings"]
    assert (result.exit_code, lost) == (0, {"code": "not-reported", "message": problem, "path": None})
    assert f"spkg: warning: {problem}\n" in result.stderr
    shown = json.loads(run("status", "--root", "root", "--json").stdout)
    told = f"the last package is installed, but its result could not be reported ({problem})"
    assert (shown["state"], len(shown["installed"])) == ("clean", 1)
    assert shown["warnings"] == [{"code": "not-reported", "message": told, "path": None}]
    # The next result that is written is the one that counts.
    Path("reports").mkdir()
    assert run("apply", "p.spkg", *APPLY, "--report", "reports/r.json").exit_code == 0
    assert json.loads(run("status", "--root", "root", "--json").stdout)["warnings"] == []


def _then(work: Any, after: Any) -> Any:
    def both(*args: Any, **settings: Any) -> Any:
        done = work(*args, **settings)
        after()
        return done

    return both


def test_a_damaged_note_of_a_lost_report_is_still_one() -> None:
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    Path("root/.spkg/unreported").mkdir()

    (warning,) = json.loads(run("status", "--root", "root", "--json").stdout)["warnings"]

    assert warning["message"] == "the last package is installed, but its result could not be reported"
    assert run("apply", "p.spkg", *APPLY, "--again").exit_code == 0
    assert not Path("root/.spkg/unreported").exists()


def test_a_note_of_a_lost_report_that_comes_back_is_not_of_the_next_package() -> None:
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    mark_unreported(Path("root"), "of the first")
    note, first = Path("root/.spkg/unreported").read_bytes(), run("status", "--root", "root")
    Path("q.spkg").write_bytes(Draft(records=(file("/other"), End())).encode())
    assert run("apply", "q.spkg", *APPLY).exit_code == 0
    Path("root/.spkg/unreported").write_bytes(note)  # a power cut brought it back

    second = run("status", "--root", "root")

    assert "its result could not be reported (of the first)\n" in first.stderr
    assert (second.exit_code, second.stderr) == (0, "")


@pytest.mark.parametrize("note", ["5", '"x"', '{"problem": 5}', '{"package": 5}', "[]"])
def test_a_note_that_spkg_did_not_write_names_no_cause(note: str) -> None:
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    Path("root/.spkg/unreported").write_text(note)

    (warning,) = json.loads(run("status", "--root", "root", "--json").stdout)["warnings"]

    assert warning["message"] == "the last package is installed, but its result could not be reported"


def test_a_note_is_forgotten_durably() -> None:
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    mark_unreported(Path("root"), "x")
    synced: list[bool] = []

    class Watched(Root):
        def sync_directory(self, path: tuple[bytes, ...]) -> None:
            synced.append(Path("root/.spkg/unreported").exists())
            super().sync_directory(path)

    with Watched(Path("root")) as root:
        forget_unreported(root)
        forget_unreported(root)

    assert synced == [False]


def test_a_dry_run_shows_what_is_replaced_and_moved() -> None:
    records = (
        file("/old"),
        Move(source_path=RootPath.of("/d"), destination_path=RootPath.of("/e")),
        End(),
    )
    Path("root/d").write_text("d")
    Path("p.spkg").write_bytes(Draft(records=records).encode())

    assert run("apply", "p.spkg", *APPLY, "--dry-run").stdout == (
        "  > /d -> /e\n  ~ /old\nroot: dry run, 2 changes\n"
    )


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_where_nobody_reads_the_result_it_is_done_all_the_same(options: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [*PROGRAM, "apply", "p.spkg", *APPLY, *options],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)

    assert (result.returncode, tree()) == (0, NEW)
    assert "Traceback" not in result.stderr


def scripted(script: str, argument: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Apply the package by a script that changes a part of the program first."""
    return subprocess.run(
        [sys.executable, "-c", script, argument, "apply", "p.spkg", *APPLY, *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


FAILING: Final = """
import sys
import cli
from spkg.install import in_place as inplace

real = inplace.plan_command
def plan_command(trusted, device, tree, command):
    if command.index == int(sys.argv[1]):
        raise OSError(28, "No space left on device", "/somewhere")
    return real(trusted, device, tree, command)
inplace.plan_command = plan_command
cli.main.main(sys.argv[2:])
"""


def test_a_failure_in_the_unrecoverable_state_runs_the_recovery_command_outside_the_confinement() -> None:
    script = 'import pathlib, sys; pathlib.Path("recovered").write_text(sys.argv[1]); print("words")'
    command = json.dumps([sys.executable, "-c", script, "argument"])
    Path("d.toml").write_text(f"[install]\nrecovery-command = {command}\n")
    Path("p.spkg").write_bytes(Draft(records=(Format(), file("/a"), End())).encode())

    result = scripted(FAILING, "1", "--in-place", "--device", "d.toml", "--json")

    *_, last = events(result.stdout)
    assert (result.returncode, last["status"], last["fault"]["code"]) == (7, "unsafe", 9002)
    assert Path("recovered").read_text() == "argument"
    assert "words\n" in result.stderr
    assert f"spkg: warning: {sys.executable} ended with status 0\n" in result.stderr
    assert run("status", "--root", "root").stdout.startswith("root: unsafe\n")


@pytest.mark.parametrize("command", ['["nowhere/at/all"]', "[]"])
def test_a_recovery_command_that_can_not_be_run_is_told(command: str) -> None:
    Path("d.toml").write_text(f"[install]\nrecovery-command = {command}\n")
    Path("p.spkg").write_bytes(Draft(records=(Format(), file("/a"), End())).encode())

    result = scripted(FAILING, "1", "--in-place", "--device", "d.toml")

    assert result.returncode == 7
    assert ("the recovery command can't be run" in result.stderr) == (command != "[]")


def test_a_failure_in_place_before_that_is_6_and_partial() -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/a"), file("/b"), End())).encode())

    result = scripted(FAILING, "1", "--in-place")

    assert (result.returncode, result.stderr) == (
        6,
        "spkg: error: offset 0x0056: command[1]: /somewhere: no space left on device\n",
    )
    assert run("status", "--root", "root").stdout.startswith("root: partial\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_the_commit_leaves_the_root_as_it_was(number: signal.Signals) -> None:
    payload = bytes(1 << 22)
    octets = Draft(records=(file("/big", payload), End()), payload=payload).encode()

    before = signal.signal(number, signal.default_int_handler)  # whoever starts the tests may ignore it
    try:
        process = subprocess.Popen(
            [*PROGRAM, "apply", "-", *APPLY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(number, before)
    with process as running:
        assert running.stdin is not None
        running.stdin.write(octets[: len(octets) // 2])
        running.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while not Path("root/.spkg/txn/new").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(number)
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stdout) == (128 + number, b"")
    assert stderr.startswith(b"spkg: error: ")
    assert tree() == OLD
    assert run("recover", "--root", "root").stdout.endswith("; the root is clean\n")
    assert tree() == OLD


KILLED: Final = """
import os, signal, sys
import cli
from spkg.install import transaction

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
real = transaction.commit
def commit(*arguments, **settings):
    if sys.argv[1] == "after":
        real(*arguments, **settings)
    kill()
transaction.commit = commit
cli.main.main(sys.argv[2:])
"""


def test_an_unsafe_root_is_told_and_recovered_also_where_nobody_listens() -> None:
    Path("d.toml").write_text('[install]\nrecovery-command = ["/bin/sh", "-c", "echo > recovered"]\n')
    Path("p.spkg").write_bytes(Draft(records=(Format(), file("/a"), End())).encode())

    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [
                sys.executable,
                "-c",
                FAILING,
                "1",
                "apply",
                "p.spkg",
                *APPLY,
                "--in-place",
                "--json",
                "--device",
                "d.toml",
            ],
            stdout=full,
            stderr=full,
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    assert result.returncode == 7
    assert Path("recovered").exists()


def test_a_dry_run_runs_no_recovery_command() -> None:
    mark_unsafe()
    Path("d.toml").write_text('[install]\nrecovery-command = ["/bin/sh", "-c", "echo > recovered"]\n')

    assert run("apply", "p.spkg", *APPLY, "--dry-run", "--device", "d.toml").exit_code == 5
    assert not Path("recovered").exists()


TWICE: Final = """
import os, signal
import cli
from spkg.install import aftermath, apply

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
apply.apply = aftermath.aftermath = kill
import sys
cli.main.main(sys.argv[2:])
"""


def test_two_kills_before_anything_changed_are_no_reason_for_a_recovery() -> None:
    Path("d.toml").write_text('[install]\nrecovery-command = ["/bin/sh", "-c", "echo > recovered"]\n')

    result = scripted(TWICE, "", "--device", "d.toml")

    assert result.returncode == 6
    assert tree() == OLD
    assert not Path("recovered").exists()


def test_a_parent_that_is_killed_does_not_fail_what_its_child_does() -> None:
    payload = Random(1).randbytes(1 << 24)
    records = (file("/big", payload, flags=1), End())
    Path("p.spkg").write_bytes(Draft(records=records, payload=payload).encode())

    with subprocess.Popen([*PROGRAM, "apply", "p.spkg", *APPLY, "--in-place"]) as process:
        deadline = time.monotonic() + PATIENCE
        while not Path("root/.spkg/checkpoint").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    while not Path("root/.spkg/installed").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)

    assert Path("root/big").read_bytes() == payload
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")


@pytest.mark.parametrize(("when", "status"), [("before", 6), ("after", 0)])
def test_where_the_child_is_killed_its_parent_recovers(when: str, status: int) -> None:
    result = scripted(KILLED, when, "--json")

    *_, last = events(result.stdout)
    assert result.returncode == last["exit"] == status
    how = "the process that changes the root was ended by signal 9 (SIGKILL)"
    assert f"spkg: warning: {how}: recovering\n" in result.stderr
    assert last.get("message") == (how if status else None)
    assert tree() == (NEW if when == "after" else OLD)
    assert len(last["changes"]) == (3 if when == "after" else 0)
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")


# Within this process, where what the child says or does not say is made up.


def answering(monkeypatch: pytest.MonkeyPatch, *answers: BaseException | None) -> None:
    """Have each child in turn end as it is told; None does its work here."""
    waiting = list(answers)

    def run_child(work: Any, hear: Any, _reply: Any = None) -> Any:
        answer = waiting.pop(0)
        if answer is not None:
            raise answer
        return work(hear)

    monkeypatch.setattr("spkg.install.confined.confine", lambda _: 1)
    monkeypatch.setattr("spkg.install.supervisor.run_child", run_child)


KILL: Final = ChildKilledError("the process that changes the root was ended by signal 9")


def test_what_the_second_child_finds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, None)
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    answering(monkeypatch, KILL, None)

    result = run("apply", "p.spkg", *APPLY, "--again")

    assert result.exit_code in {0, 6}  # 0 where both were in one second
    assert f"spkg: warning: {KILL}: recovering\n" in result.stderr


@pytest.mark.parametrize(("half", "status"), [(False, 6), (True, 7)])
def test_after_two_kills_the_root_itself_tells_how_it_stands(
    monkeypatch: pytest.MonkeyPatch, status: int, *, half: bool
) -> None:
    Path("d.toml").write_text('[install]\nrecovery-command = ["/bin/sh", "-c", "echo > recovered"]\n')
    if half:
        Path("root/.spkg/txn").mkdir(parents=True)
        Path("root/.spkg/txn/journal").touch()
    answering(monkeypatch, KILL, KILL)

    result = run("apply", "p.spkg", *APPLY, "--device", "d.toml")

    assert result.exit_code == status
    assert result.stderr.endswith(f"{KILL}, twice\nspkg: hint: run 'spkg recover' to try again\n")
    assert Path("recovered").exists() is half


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ('["/bin/sh", "-c", "echo > recovered; exit 3"]', "/bin/sh ended with status 3"),
        (
            '["nowhere/at/all"]',
            "the recovery command can't be run: nowhere/at/all: no such file or directory",
        ),
    ],
)
def test_what_the_recovery_command_does_is_told(
    monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    Path("d.toml").write_text(f"[install]\nrecovery-command = {command}\n")
    answering(monkeypatch, UnsafeError("it can neither be made nor taken back"))

    result = run("apply", "p.spkg", *APPLY, "--device", "d.toml", "--json")

    assert (result.exit_code, events(result.stdout)[-1]["status"]) == (7, "unsafe")
    assert f"spkg: warning: {told}\n" in result.stderr
    assert Path("recovered").exists() == told.endswith("3")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_by_a_signal_has_a_result_line_too(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    answering(monkeypatch, Stopped(number))

    result = run("apply", "p.spkg", *APPLY, "--json")

    (last,) = events(result.stdout)
    assert (result.exit_code, last["event"], last["exit"]) == (128 + number, "result", 128 + number)


def test_a_defect_has_a_result_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, DefectError("ValueError: x"))

    result = run("apply", "p.spkg", *APPLY, "--json")

    (last,) = events(result.stdout)
    assert (result.exit_code, last["status"], last["fault"]["code"]) == (1, "error", 9002)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_result_that_nobody_gets_is_a_warning_and_in_the_status(how: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "spkg", "apply", "p.spkg", *APPLY, *how],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    told = "spkg: warning: standard output can't be written\n"
    assert (done.returncode, done.stderr, tree()) == (0, told, NEW)
    assert (
        "could not be reported (standard output can't be written)" in run("status", "--root", "root").stderr
    )


def test_an_output_that_fails_takes_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ClosedOutput

    answering(monkeypatch, None, None, UnsafeError("x"))
    monkeypatch.setattr("spkg.cli.apply.print_lines", fail)

    assert run("apply", "p.spkg", *APPLY, "--dry-run").exit_code == 9
    done = run("apply", "p.spkg", *APPLY)
    assert (done.exit_code, tree()) == (0, NEW)
    assert "spkg: warning: standard output can't be written\n" in done.stderr
    assert "its result could not be reported (standard output can't be written)" in (
        run("status", "--root", "root").stderr
    )
    assert run("apply", "p.spkg", *APPLY, "--again").exit_code == 7


@pytest.mark.parametrize(
    ("expected", "status"),
    [
        (("web-content",), 5),
        (("software-upgrade",), 0),
        (("web-content", "software-upgrade"), 0),
        (("vendor",), 5),
    ],
)
def test_a_package_with_another_role_than_expected_is_refused(expected: tuple[str, ...], status: int) -> None:
    Path("p.spkg").write_bytes(Draft(records=(Role(role=1), *RECORDS)).encode())
    options = [f"--expect-role={role}" for role in expected]

    result = run("apply", "p.spkg", *APPLY, *options)

    assert result.exit_code == status
    assert ("does not accept the role software-upgrade" in result.stderr) == (status == 5)
