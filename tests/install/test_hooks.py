"""Hooks of the device: when they run, what they get, and what they decide."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any, Final, NoReturn

import pytest

import spkg
from spkg.errors import (
    FailedError,
    FormatError,
    HostError,
    RefusedError,
    SpkgError,
    TransferError,
    UnsafeError,
    UntrustedError,
)
from spkg.format.commands import End, MinimumVersion, Remove, Version
from spkg.format.paths import RootPath
from tests.support.commands import PATIENCE, PROGRAM, process, run
from tests.support.hooks_kit import LONG, NOTES, is_gone, noted, on_device, write_device
from tests.support.installation import APPLY, OLD, RECORDS, events, furnish_root, started, tree, wait_for
from tests.support.kit import AT, CONTENTS, Draft, file, policy

NEW: Final = {"root/bin/app": CONTENTS}
PACKAGE: Final = Draft(records=RECORDS)
DIGEST: Final = sha256(PACKAGE.signed).hexdigest()
RAN: Final = 'echo "$SPKG_STATUS" >> "$1/$0"'
"""A script that shows that it ran."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a package, what trusts it, and a root."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("p.spkg").write_bytes(PACKAGE.encode())
    return tmp_path


def apply(*args: str, package: str = "p.spkg") -> tuple[int, dict[str, Any], str]:
    """Install; return the exit status, the result, and the standard error."""
    done = run("apply", package, *on_device(*APPLY), "--json", *args)
    return done.exit_code, events(done.stdout)[-1], done.stderr


def wait_for_child() -> None:
    """Wait until no installation runs in the root."""
    deadline = monotonic() + PATIENCE
    directory = os.open("root/.spkg", os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert monotonic() < deadline
                time.sleep(0.01)
            else:
                return
    finally:
        os.close(directory)


# What they get.


def test_a_hook_gets_the_plan_and_a_few_variables_and_nothing_else(here: Path) -> None:
    write_device(before='cat > "$1/plan"; env > "$1/variables"')
    planned = apply("--dry-run")[1]

    secrets = os.environ | {"SPKG_PASSWORD": "hunter2", "PATH": f"/nowhere:{os.defpath}"}
    done = process("apply", "p.spkg", *on_device(*APPLY), "--json", env=secrets)

    assert done.returncode == 0
    given = json.loads(noted("plan"))
    times = ("start_time", "complete_time")
    assert given.keys() == planned.keys()
    assert [given.pop(name) for name in times] == [events(done.stdout)[-1]["start_time"]] * 2
    assert given == {name: value for name, value in planned.items() if name not in times}
    assert dict(line.split("=", 1) for line in noted("variables").splitlines() if line[:2] != "_=") == {
        "PATH": f"/nowhere:{os.defpath}",
        "PWD": str(here),  # the shell's own
        "SPKG_ROOT": str(here / "root"),
        "SPKG_PACKAGE": DIGEST,
        "SPKG_VERSION": "6.3",
        "SPKG_STATUS": "planned",
    }


def test_a_package_without_a_version_has_an_empty_one() -> None:
    write_device(before='echo "[$SPKG_VERSION]" > "$1/version"')
    Path("p.spkg").write_bytes(Draft().encode())

    apply()

    assert noted("version") == "[]\n"


def test_a_version_with_a_nul_stops_no_hook() -> None:
    write_device(before='printf "[%s]" "$SPKG_VERSION" > "$1/version"')
    Path("p.spkg").write_bytes(Draft(records=(Version(text="6\0ä"), End()), payload=b"").encode())

    apply()

    assert noted("version") == "[6\\0ä]"


def test_without_a_clock_the_plan_says_that_dates_were_not_checked() -> None:
    write_device(before='cat > "$1/plan"')

    run("apply", "p.spkg", "--root", "root", "--trust", "ca.pem", "--no-clock", "--device", "device.toml")

    assert [one["code"] for one in json.loads(noted("plan"))["warnings"]] == ["dates-not-checked"]


def test_a_hook_is_found_by_the_usual_path_if_the_caller_has_none() -> None:
    write_device(before='echo "$PATH" > "$1/path"')
    with spkg.open_source("p.spkg", clock=monotonic) as (package, payload):
        trusted = spkg.verify_package(package, policy(), at=AT)
        request = spkg.ApplyRequest(device=spkg.load_device(Path("device.toml")))
        spkg.apply_package(trusted, payload, Path("root"), request, clock=monotonic)

    assert noted("path") == f"{os.defpath}\n"


# What they decide.


def test_a_hook_that_is_content_changes_nothing_in_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    write_device(before=f"{RAN}; echo words")

    status, result, told = apply()

    assert (status, result["status"], told) == (0, "installed", "")
    assert capfd.readouterr().err == "words\n"
    assert tree() == NEW
    assert noted("before") == "planned\n"
    assert [{**one, "command": one["command"][3:]} for one in result["hooks"]] == [
        {
            "hook": "before",
            "command": ["before", str(Path(NOTES).absolute())],
            "status": 0,
            "timed_out": False,
            "problem": None,
            "output": "words\n",
        }
    ]


@pytest.mark.parametrize(
    ("script", "limit", "told"),
    [
        (
            "echo; echo ' the battery is low\x1b '; exit 3",
            "60",
            "ended with status 3: the battery is low\\x1b",
        ),
        (f"echo waiting; sleep {LONG}", "0.3", "took longer than 0.3 s and was ended: waiting"),
        (f"sleep {LONG} & exit 1", "60", "ended with status 1"),
        ("kill -KILL $$", "60", "was ended by signal 9 (SIGKILL)"),
        ("echo $(head -c 1000 /dev/zero | tr '\\0' x); exit 1", "60", f"ended with status 1: {'x' * 200}"),
    ],
)
def test_a_hook_can_refuse_a_package(script: str, limit: str, told: str) -> None:
    write_device(limit, before=script, failed=RAN)
    begun = monotonic()

    status, result, _ = apply()

    assert (status, result["status"]) == (5, "refused")
    assert result["message"] == f"the hook 'before' refused the package: /bin/sh {told}"
    assert result["changes"] == []
    assert tree() == OLD
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")
    assert noted("failed") is None
    assert monotonic() - begun < LONG / 2


def test_a_hook_that_can_not_be_run_refuses() -> None:
    Path("device.toml").write_text('[install]\nbefore = ["nowhere/at/all", "x"]\n')

    status, result, _ = apply()

    problem = "nowhere/at/all: no such file or directory"
    assert status == 5
    assert result["message"] == (
        f"the hook 'before' refused the package: nowhere/at/all can't be run: {problem}"
    )
    assert result["hooks"] == [
        {
            "hook": "before",
            "command": ["nowhere/at/all", "x"],
            "status": None,
            "timed_out": False,
            "problem": problem,
            "output": "",
        }
    ]
    assert tree() == OLD


def test_the_report_has_what_the_hooks_did() -> None:
    write_device(before="echo no; exit 1")

    apply("--report", "report.json")

    (one,) = json.loads(Path("report.json").read_text())["hooks"]
    assert (one["status"], one["output"]) == (1, "no\n")


# When they run.


def test_nothing_runs_in_a_dry_run_or_where_nothing_is_to_be_done() -> None:
    scripts = dict.fromkeys(("before", "after", "failed", "recovery_command"), RAN)
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    write_device(handlers=RAN, **scripts)

    dry = run("apply", "p.spkg", *on_device(*APPLY), "--dry-run")
    again = run("apply", "p.spkg", *on_device(*APPLY))

    assert (dry.exit_code, again.exit_code) == (0, 0)
    assert list(Path(NOTES).iterdir()) == []


def damaged() -> bytes:
    octets = bytearray(PACKAGE.encode())
    octets[-1] ^= 1
    return bytes(octets)


@pytest.mark.parametrize("mode", [(), ("--in-place",)])
@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (damaged(), 4),
        (PACKAGE.encode()[:-1], 3),
        (Draft(records=(MinimumVersion(version=(9,)), End()), payload=b"").encode(), 5),
    ],
    ids=["damaged", "short", "refused"],
)
def test_what_is_wrong_with_a_package_is_found_before_any_hook(
    octets: bytes, status: int, mode: tuple[str, ...]
) -> None:
    write_device(before=RAN, failed=RAN, recovery_command=RAN)
    Path("p.spkg").write_bytes(octets)

    assert apply(*mode)[0] == status
    assert list(Path(NOTES).iterdir()) == []
    assert tree() == OLD


def test_what_was_interrupted_is_recovered_before_the_hook() -> None:
    write_device(before='cat > "$1/plan"')
    Path("root/.spkg/txn").mkdir(parents=True)
    Path("root/.spkg").chmod(0o700)

    status, result, _ = apply()

    assert (status, result["recovered"]) == (0, "discarded")
    assert json.loads(noted("plan"))["recovered"] == "discarded"


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (FailedError("no"), "failed"),
        (TransferError("no"), "transfer-failed"),
        (UnsafeError("no"), "unsafe"),
    ],
)
def test_after_a_failure_the_hook_for_that_runs(
    error: SpkgError, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_device(
        failed=f'{RAN}; cat > "$1/plan"; ls "$1" > "$1/before"', recovery_command=f'{RAN}; cat > "$1/same"'
    )
    monkeypatch.setattr("spkg.install.apply.apply", raising(error))

    result = events(run("apply", "p.spkg", *on_device(*APPLY), "--json").stdout)[-1]

    assert result["status"] == word
    assert noted("failed") == f"{word}\n"
    assert (noted("recovery_command") is not None) == (word == "unsafe")
    assert ("recovery_command" in noted("before").split()) == (word == "unsafe")  # that comes first
    assert json.loads(noted("plan"))["changes"] == []  # nothing was planned
    assert noted("same") in {None, noted("plan")}
    ran = [(one["hook"], one["status"]) for one in result["hooks"]]
    assert ran == [("recovery", 0)] * (word == "unsafe") + [("failed", 0)]


@pytest.mark.parametrize("kind", [FormatError, UntrustedError, RefusedError, HostError])
def test_after_a_refusal_it_does_not(kind: type[SpkgError], monkeypatch: pytest.MonkeyPatch) -> None:
    write_device(failed=RAN, recovery_command=RAN)
    monkeypatch.setattr("spkg.install.apply.apply", raising(kind("no")))

    assert run("apply", "p.spkg", *on_device(*APPLY)).exit_code in {3, 4, 5, 9}
    assert list(Path(NOTES).iterdir()) == []


def test_how_that_hook_ends_is_a_warning_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    write_device(failed="exit 9")
    monkeypatch.setattr("spkg.install.apply.apply", raising(FailedError("disk")))

    result = run("apply", "p.spkg", *on_device(*APPLY))

    assert result.exit_code == 6
    assert result.stderr == (
        "spkg: warning: the hook 'failed' failed: /bin/sh ended with status 9\nspkg: error: disk\n"
    )


def test_a_recovery_command_has_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    write_device("0.2", recovery_command=f"sleep {LONG}")
    monkeypatch.setattr("spkg.install.apply.apply", raising(UnsafeError("no")))

    result = run("apply", "p.spkg", *on_device(*APPLY))

    assert result.exit_code == 7
    assert "spkg: warning: /bin/sh took longer than 0.2 s and was ended\n" in result.stderr


def streamed(octets: bytes, *args: str) -> subprocess.CompletedProcess[bytes]:
    """Install from standard input."""
    command = [*PROGRAM, "apply", "-", *on_device(*APPLY), *args]
    return subprocess.run(command, input=octets, capture_output=True, check=False, timeout=PATIENCE)


def test_a_stream_that_breaks_off_has_been_planned() -> None:
    write_device(before=RAN, failed=f'{RAN}; cat > "$1/plan"')
    octets = PACKAGE.encode()[:-1]

    done = subprocess.run(
        [*PROGRAM, "apply", "-", *on_device(*APPLY)],
        input=octets,
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )

    assert done.returncode == 8
    assert (noted("before"), noted("failed")) == ("planned\n", "transfer-failed\n")
    assert len(json.loads(noted("plan"))["changes"]) == 3
    assert tree() == OLD


def test_a_stream_waits_for_the_hook_without_coming_closer_to_its_deadlines() -> None:
    write_device(before="sleep 4.1")
    limits = ("--timeout", "4", "--idle-timeout", "4")

    done = streamed(PACKAGE.encode(), *limits)

    assert (done.returncode, done.stderr) == (0, b"")
    assert tree() == NEW


@pytest.mark.parametrize("script", ["exit 0", "exit 1"])
def test_a_hook_comes_before_an_installation_in_place(script: str) -> None:
    write_device(before=f'ls root > "$1/root"; {script}')

    status, _, _ = apply("--in-place")

    assert noted("root") == "old\n"
    assert status == (5 if script == "exit 1" else 0)
    assert tree() == (OLD if status else NEW)


# Signals and kills.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_hook_and_leaves_the_root_as_it_was(number: signal.Signals) -> None:
    write_device(before=f'echo $$ > "$1/draft"; mv "$1/draft" "$1/pid"; sleep {LONG}; true', failed=RAN)
    with started("apply", "p.spkg", *on_device(*APPLY)) as running:
        wait_for(f"{NOTES}/pid")

        running.send_signal(number)
        _, told = running.communicate(timeout=PATIENCE)

    assert running.returncode == 128 + number
    assert told.decode() in {"spkg: error: terminated\n", "spkg: error: interrupted\n"}
    assert is_gone(int(noted("pid")))
    assert tree() == OLD
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")
    assert noted("failed") is None


@pytest.mark.parametrize("hook", ["before", "handlers"])
def test_a_parent_that_is_killed_while_its_child_waits_leaves_the_root_as_it_was(hook: str) -> None:
    script = 'echo $$ > "$1/draft"; mv "$1/draft" "$1/pid"; while [ ! -e "$1/go" ]; do sleep 0.01; done'
    write_device(**{hook: script})
    Path("p.spkg").write_bytes(
        Draft(records=(file("/images/a"), file("/bin/app"), Remove(path=RootPath.of("/old")), End())).encode()
    )
    with started("apply", "p.spkg", *on_device(*APPLY)) as running:
        wait_for(f"{NOTES}/pid")
        running.kill()
        running.wait(PATIENCE)
    Path(f"{NOTES}/go").touch()

    wait_for_child()
    assert tree() == OLD
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")


# What is installed, and taken back.


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("status", "--root", "root", "--json").stdout)
    return found


def test_a_hook_that_approves_keeps_the_package() -> None:
    write_device(after=f'{RAN}; cat > "$1/plan"; ls root > "$1/root"', failed=RAN)

    exit_status, result, told = apply()

    assert (exit_status, result["status"], told) == (0, "installed", "")
    assert (noted("after"), noted("root"), noted("failed")) == ("installed\n", "bin\n", None)
    assert json.loads(noted("plan"))["changes"] == result["changes"]
    assert tree() == NEW
    found = status()
    assert (found["state"], found["trial"], found["rolled_back"]) == ("clean", None, [])
    assert not Path("root/.spkg/kept").exists()


@pytest.mark.parametrize("more", [(), ("--back-up", "1h")])
@pytest.mark.parametrize(
    ("script", "limit", "end"),
    [
        ("echo 'no answer'; exit 2", "60", "ended with status 2: no answer"),
        (f"sleep {LONG}", "0.2", "took longer than 0.2 s and was ended"),
    ],
)
def test_a_hook_that_fails_takes_the_package_back(
    script: str, limit: str, end: str, more: tuple[str, ...]
) -> None:
    write_device(
        limit, after=f"[ -e root/bin/app ] || exit 9; {script}", failed=f'{RAN}; ls root > "$1/root"'
    )

    exit_status, result, _ = apply(*more)

    reason = f"the hook 'after' failed: /bin/sh {end}"
    assert (exit_status, result["status"]) == (6, "failed")
    assert result["message"] == f"taken back because {reason}"
    assert [one["hook"] for one in result["hooks"]] == ["after", "failed"]
    assert (noted("failed"), noted("root")) == ("failed\n", "old\n")
    assert tree() == OLD
    found = status()
    assert (found["state"], found["trial"], found["installed"]) == ("clean", None, [])
    (gone,) = found["rolled_back"]
    assert (gone["package"], gone["by"], gone["reason"]) == (DIGEST, "hook", reason)


def test_what_was_taken_back_is_refused_the_next_time() -> None:
    write_device(after="exit 1", before=RAN)
    apply()
    Path(NOTES, "before").unlink()

    exit_status, result, _ = apply()

    assert (exit_status, result["reason"]) == (5, "rolled-back")
    assert noted("before") is None
    assert apply("--again")[0] == 6


def test_what_is_approved_on_trial_stays_on_trial() -> None:
    write_device(after=RAN)

    assert apply("--back-up", "1h")[0] == 0

    assert status()["state"] == "trial"
    assert run("rollback", "--root", "root").exit_code == 0
    assert tree() == OLD


@pytest.mark.parametrize("more", [(), ("--back-up", "1h")])
@pytest.mark.parametrize(
    ("end", "because"),
    [
        ("exit 0", "the hook 'after' rolled it back"),
        ("exit 3", "the hook 'after' failed: /bin/sh ended with status 3"),
    ],
)
def test_a_hook_that_goes_back_itself_has_taken_the_package_back(
    end: str, because: str, more: tuple[str, ...]
) -> None:
    program = shlex.join((*PROGRAM, "rollback", "--root", "root"))
    write_device(after=f"{program} >/dev/null; {end}", failed=RAN, recovery_command=RAN)

    exit_status, result, _ = apply(*more)

    assert (exit_status, result["message"]) == (6, f"taken back because {because}")
    assert (tree(), noted("failed"), noted("recovery_command")) == (OLD, "failed\n", None)
    assert (status()["state"], status()["installed"]) == ("clean", [])


def test_a_hook_that_confirms_itself_ends_the_trial() -> None:
    program = shlex.join((*PROGRAM, "confirm", "--root", "root"))
    write_device(after=f"{program} >/dev/null")

    result = run("apply", "p.spkg", *on_device(*APPLY), "--back-up", "1h")

    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "root: installed, 3 changes, reboot required\n",
        "",
    )
    assert (status()["state"], status()["trial"], tree()) == ("clean", None, NEW)


def test_in_place_nothing_can_be_taken_back() -> None:
    write_device(after="exit 1", failed=RAN)

    exit_status, result, _ = apply("--in-place")

    assert exit_status == 6
    assert result["message"] == (
        "the hook 'after' failed: /bin/sh ended with status 1; "
        "the package was installed in place and can't be taken back"
    )
    assert tree() == NEW
    assert noted("failed") == "failed\n"


def test_what_can_not_be_taken_back_makes_the_root_unsafe(monkeypatch: pytest.MonkeyPatch) -> None:
    write_device(after="exit 1", failed=RAN, recovery_command=RAN)
    monkeypatch.setattr("spkg.install.trial_end.rollback", raising(OSError(5, "Input/output error", "/bin")))

    exit_status, result, _ = apply()

    assert exit_status == 7
    assert result["message"] == (
        "the hook 'after' failed: /bin/sh ended with status 1; "
        "and the package can't be taken back: /bin: input/output error"
    )
    assert (noted("recovery_command"), noted("failed")) == ("unsafe\n", "unsafe\n")


def test_old_files_that_stay_for_now_are_a_warning() -> None:
    write_device(after=RAN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spkg.install.approval.end_hook_trial", raising(FailedError("/.spkg/trial: no")))

        exit_status, _, told = apply()

    assert (exit_status, told) == (
        0,
        "spkg: warning: the old files could not be removed yet: /.spkg/trial: no\n",
    )
    assert run("recover", "--root", "root").exit_code == 0
    assert (tree(), status()["trial"], Path("root/.spkg/kept").exists()) == (NEW, None, False)


@pytest.mark.parametrize("mode", [(), ("--in-place",)])
def test_a_signal_ends_that_hook_and_takes_the_package_back(mode: tuple[str, ...]) -> None:
    write_device(after=f'echo $$ > "$1/draft"; mv "$1/draft" "$1/pid"; sleep {LONG}; true', failed=RAN)
    with started("apply", "p.spkg", *on_device(*APPLY), *mode) as running:
        wait_for(f"{NOTES}/pid")

        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=PATIENCE)

    assert running.returncode == 128 + signal.SIGTERM
    assert is_gone(int(noted("pid")))
    assert tree() == (NEW if mode else OLD)
    assert noted("failed") is None
    assert [one["by"] for one in status()["rolled_back"]] == ([] if mode else ["hook"])


@pytest.mark.parametrize("in_place", [False, True])
def test_a_caller_that_is_interrupted_then_has_the_package_taken_back(*, in_place: bool) -> None:
    write_device(after=RAN)

    def interrupt(event: object) -> None:
        if isinstance(event, spkg.HookRun):
            raise KeyboardInterrupt

    with spkg.open_source("p.spkg", clock=monotonic) as (package, payload):
        trusted = spkg.verify_package(package, policy(), at=AT)
        device = spkg.load_device(Path("device.toml"))
        request = spkg.ApplyRequest(device=device, when="then", in_place=in_place)
        with pytest.raises(KeyboardInterrupt):
            spkg.apply_package(trusted, payload, Path("root"), request, clock=monotonic, hear=interrupt)

    assert tree() == (NEW if in_place else OLD)


def test_a_process_that_is_killed_during_that_hook_leaves_the_package_installed() -> None:
    write_device(
        after='echo $$ > "$1/draft"; mv "$1/draft" "$1/pid"; while [ ! -e "$1/go" ]; do sleep 0.01; done'
    )
    with started("apply", "p.spkg", *on_device(*APPLY)) as running:
        wait_for(f"{NOTES}/pid")
        running.kill()
        running.communicate(timeout=PATIENCE)
    Path(f"{NOTES}/go").touch()

    assert run("recover", "--root", "root").exit_code == 0

    assert (tree(), status()["state"], status()["trial"]) == (NEW, "clean", None)


def test_where_the_child_is_killed_the_hook_decides_on_what_another_one_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_device(after=f"{RAN}; exit 1")

    def killed(root: Any, staged: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr("spkg.install.all_or_nothing.complete", killed)

    exit_status, result, _ = apply()

    assert (exit_status, result["message"][:10], noted("after")) == (6, "taken back", "installed\n")
    assert tree() == OLD
