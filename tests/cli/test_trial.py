"""``apply --back-up``, ``confirm``, ``rollback``, ``recover --boot``, ``log`` and ``status``: a trial."""

import json
import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.cli import arguments
from spkg.format.commands import End, Role, Version
from tests.support.commands import error, process, run
from tests.support.installation import APPLY, OLD, RECORDS, furnish_root, tree
from tests.support.kit import CONTENTS, Draft, file
from tests.support.namespaces import bind, isolated, make_read_only, mount_memory
from tests.support.restrictions import without_privileges

FIRST: Final = Draft(records=RECORDS)
PACKAGE: Final = sha256(FIRST.signed).hexdigest()
SHORT: Final = PACKAGE[:16]
NEW: Final = {"root/bin/app": CONTENTS}
NEXT: Final = Draft(records=(Version(text="6.4"), file("/bin/app"), End()))
RECOVERY: Final = Draft(records=(Role(role=2), *RECORDS))
ON_TRIAL: Final = "spkg: hint: it is on trial: 'spkg confirm' keeps it, 'spkg rollback' goes back\n"
NOTHING_KEPT: Final = (
    "there is nothing to go back to: no package is on trial",
    "'spkg apply --back-up DELAY' installs a package on trial",
)
STAYS: Final = "spkg: hint: run 'spkg confirm': the package stays\n"
READ_ONLY: Final = (
    "spkg: error: the root is on a file system that is mounted read-only\n"
    "spkg: hint: remount it with 'mount -o remount,rw', or use the layer that can be written\n"
)
OTHER_USER: Final = (
    "spkg: error: this user has no permission to write in /.spkg\n"
    "spkg: hint: run spkg as root or as the owner of the files; if root may not, look at 'lsattr -d'\n"
)
NO_BOOT: Final = (
    "spkg: error: /proc/sys/kernel/random/boot_id: no such file or directory\n"
    "spkg: hint: mount /proc: the kernel names the boot only there\n"
)
KEPT_MISSING: Final = (
    "spkg: warning: /.spkg/kept: what was kept to go back is missing, so that nothing can be rolled back: "
    "run 'spkg confirm'\n"
)
TRIAL_FILE: Final = Path("root/.spkg/trial")
KEPT: Final = Path("root/.spkg/kept")

Boots = Callable[[str], None]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with packages, what trusts them, and a root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.fixture
def boots(here: Path, monkeypatch: pytest.MonkeyPatch) -> Boots:
    """Let the device boot again: the kernel gives each boot a name."""

    def begin(name: str) -> None:
        (here / "boot").write_text(f"{name}\n")
        monkeypatch.setattr(arguments, "BOOT_ID", here / "boot")

    begin("boot-0")
    return begin


def furnish() -> None:
    furnish_root()
    Path("p.spkg").write_bytes(FIRST.encode())
    Path("next.spkg").write_bytes(NEXT.encode())
    Path("recovery.spkg").write_bytes(RECOVERY.encode())


def begin_trial(*options: str) -> None:
    assert run("apply", "p.spkg", *APPLY, "--back-up", "1h", *options).exit_code == 0


def timeless(text: str) -> str:
    """Return a text whose times can be compared."""
    return re.sub(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "TIME", text)


def document(*words: str) -> Any:
    result = run(*words, "--root", "root", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(timeless(result.stdout))


def problem_of(*words: str) -> tuple[int, str, str]:
    result = run(*words)
    return result.exit_code, result.stdout, result.stderr


def change_trial(**values: object) -> None:
    TRIAL_FILE.write_text(json.dumps({**json.loads(TRIAL_FILE.read_text()), **values}))


# ---- The story --------------------------------------------------------------------------------------------


def test_a_release_that_nobody_confirms_goes_back_after_its_boots(boots: Boots) -> None:
    begin_trial("--back-up-boots", "2")
    told = []

    for boot in ("boot-0", "boot-1", "boot-1", "boot-2", "boot-3", "boot-3"):
        boots(boot)
        told.append(run("recover", "--root", "root", "--boot").stdout)

    left = "root: {} left to confirm the package on trial\n"
    waiting = "root: nothing was left to recover; the root is on trial\n"
    clean = "root: nothing was left to recover; the root is clean\n"
    assert told == [
        left.format("2 boots") + waiting,
        left.format("1 boot") + waiting,
        left.format("1 boot") + waiting,
        left.format("0 boots") + waiting,
        f"root: rolled back package {SHORT}, 2 changes\n{clean}",
        clean,
    ]
    assert tree() == OLD
    assert timeless(run("status", "--root", "root").stdout) == (
        f"root: clean\n  package {SHORT} was rolled back at TIME: not confirmed within 2 boots\n"
    )
    assert timeless(run("log", "--root", "root").stdout) == (
        f"TIME  applied      6.3  package {SHORT}\n"
        f"TIME  rolled-back  6.3  package {SHORT}  by recover --boot  not confirmed within 2 boots\n"
    )


def test_programs_are_told_the_same_story(boots: Boots) -> None:
    begin_trial("--back-up-boots", "0", "--command-key", "K7")
    status = document("status")
    boots("boot-1")
    recovered = document("recover", "--boot")

    assert status["state"] == "trial"
    assert status["trial"] == {"package": PACKAGE, "until": "TIME", "boots_left": 0, "octets_kept": 3}
    assert (status["installed"][0]["command_key"], status["installed"][0]["boot_id"]) == ("K7", "boot-0")
    changes = [{"action": "delete", "path": "/bin"}, {"action": "restore", "path": "/old"}]
    assert recovered == {
        "schema": "spkg.recover/1",
        "outcome": "nothing",
        "cause": None,
        "state": "clean",
        "boots_left": None,
        "rolled_back": {"package": PACKAGE, "changes": changes, "set_aside": []},
        "discarded_aside": [],
        "warnings": [],
    }
    why = {"by": "boots", "reason": "not confirmed within 0 boots"}
    gone = {"package": PACKAGE, "version": "6.3", "time": "TIME"}
    assert document("status")["rolled_back"] == [{**gone, **why}]
    assert document("log") == {
        "schema": "spkg.log/1",
        "events": [
            {"event": "applied", **gone, "by": "command", "reason": None},
            {"event": "rolled-back", **gone, **why},
        ],
    }


def test_without_a_number_of_boots_none_of_them_counts(boots: Boots) -> None:
    begin_trial()
    for boot in ("boot-1", "boot-2"):
        boots(boot)
        result = document("recover", "--boot")

    assert (result["state"], result["boots_left"], result["rolled_back"]) == ("trial", None, None)
    assert tree() == NEW


# ---- How a trial begins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", ["0", "30s", "10min", "10 min", "1h", "9999999999h"])
def test_a_delay_is_seconds_or_a_number_with_a_unit(delay: str) -> None:
    result = run("apply", "p.spkg", *APPLY, "--back-up", delay)

    assert (result.exit_code, result.stdout) == (0, "root: installed, 3 changes, reboot required\n")
    assert result.stderr == ON_TRIAL
    assert json.loads(timeless(run("status", "--root", "root", "--json").stdout))["trial"]["until"] == "TIME"


@pytest.mark.parametrize(
    "delay", ["10 minutes", "-1", "1e9", "1.5", "", "inf", "s", "10m", "\u0661", "9" * 11]
)
def test_another_delay_is_refused(delay: str) -> None:
    result = run("apply", "p.spkg", *APPLY, f"--back-up={delay}")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"spkg: error: invalid value for '--back-up': {delay!r} is not a number of seconds or a time such as "
        "30s, 10min or 1h\nspkg: hint: Usage: spkg apply [OPTIONS] [SOURCE]\n"
    )
    assert not Path("root/.spkg").exists()


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (("--back-up-boots", "3"), 2, "--back-up-boots needs --back-up\n"),
        (
            ("--back-up", "1h", "--back-up-boots", "-1"),
            2,
            (
                "invalid value for '--back-up-boots': -1 is not in the range x>=0\n"
                "spkg: hint: Usage: spkg apply [OPTIONS] [SOURCE]\n"
            ),
        ),
        (
            ("--back-up", "1h", "--in-place"),
            5,
            (
                "an installation in place keeps nothing to go back to\n"
                "spkg: hint: leave out --in-place or --back-up\n"
            ),
        ),
        (
            ("--back-up", "1h", "--in-place", "--dry-run"),
            5,
            (
                "an installation in place keeps nothing to go back to\n"
                "spkg: hint: leave out --in-place or --back-up\n"
            ),
        ),
    ],
)
def test_a_trial_that_makes_no_sense_is_refused(options: tuple[str, ...], status: int, told: str) -> None:
    assert problem_of("apply", "p.spkg", *APPLY, *options) == (status, "", f"spkg: error: {told}")
    assert tree() == OLD


def test_a_dry_run_begins_no_trial() -> None:
    result = run("apply", "p.spkg", *APPLY, "--back-up", "1h", "--dry-run")

    assert (result.exit_code, result.stderr) == (0, "")
    assert not Path("root/.spkg").exists()


# ---- What else can be installed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [(), ("--dry-run",), ("--back-up", "1h"), ("--again",), ("--unsafe-force",)]
)
def test_no_other_package_is_installed_during_a_trial(options: tuple[str, ...]) -> None:
    begin_trial()

    text = problem_of("apply", "next.spkg", *APPLY, *options)
    told = json.loads(run("apply", "next.spkg", *APPLY, *options, "--json").stdout)

    assert text == (
        5,
        "",
        (
            f"spkg: error: package {SHORT} is on trial\n"
            "spkg: hint: end the trial first: 'spkg confirm' keeps that package, 'spkg rollback' goes back\n"
        ),
    )
    assert (told["status"], told["reason"], told["changes"]) == ("refused", "on-trial", [])
    assert tree() == NEW


@pytest.mark.parametrize("options", [(), ("--back-up", "5"), ("--dry-run",), ("--unsafe-force",)])
def test_the_same_package_again_changes_nothing_during_its_trial(options: tuple[str, ...]) -> None:
    begin_trial("--back-up-boots", "1")
    before = TRIAL_FILE.read_bytes()

    result = run("apply", "p.spkg", *APPLY, *options)

    assert (result.exit_code, result.stderr) == (0, ON_TRIAL)
    assert result.stdout == "root: this package is already installed, nothing was changed\n"
    assert TRIAL_FILE.read_bytes() == before


def test_a_recovery_package_ends_a_trial_in_its_own_commit() -> None:
    begin_trial()

    result = run("apply", "recovery.spkg", *APPLY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert document("status")["state"] == "clean"
    assert not KEPT.exists()
    assert problem_of("rollback", "--root", "root")[0] == 5


def test_a_recovery_package_can_begin_a_trial_of_its_own() -> None:
    begin_trial()

    result = run("apply", "recovery.spkg", *APPLY, "--back-up", "1h")
    goes_back = run("rollback", "--root", "root")

    assert (result.exit_code, result.stderr) == (0, ON_TRIAL)
    other = sha256(RECOVERY.signed).hexdigest()
    assert goes_back.stdout == f"root: rolled back package {other[:16]}, 1 change\n"
    assert tree() == NEW


# ---- Confirm ----------------------------------------------------------------------------------------------


def test_a_confirmed_package_stays() -> None:
    begin_trial()

    first, second = run("confirm", "--root", "root"), run("confirm", "--root", "root")

    assert (first.exit_code, first.stdout, first.stderr) == (0, f"root: confirmed package {SHORT}\n", "")
    assert (second.exit_code, second.stdout) == (0, "root: no package is on trial\n")
    assert tree() == NEW
    assert [path.name for path in Path("root/.spkg").iterdir()] == ["installed"]
    assert timeless(run("log", "--root", "root").stdout) == (
        f"TIME  applied    6.3  package {SHORT}\nTIME  confirmed  6.3  package {SHORT}  by a command\n"
    )


def test_programs_are_told_what_was_confirmed() -> None:
    begin_trial()

    first, second = document("confirm"), document("confirm")

    told = {"schema": "spkg.confirm/1", "status": "confirmed", "package": PACKAGE}
    assert first == {**told, "changes": [], "set_aside": [], "forgiven": [], "warnings": []}
    assert second == {**first, "package": None}


def test_a_root_without_installations_has_nothing_to_confirm_and_is_left_alone() -> None:
    for words in (("confirm",), ("confirm", "--forgive"), ("recover", "--boot"), ("log",), ("status",)):
        assert run(*words, "--root", "root").exit_code == 0

    assert not Path("root/.spkg").exists()


# ---- Roll back --------------------------------------------------------------------------------------------


def test_a_dry_run_shows_what_going_back_would_change() -> None:
    begin_trial()
    Path("root/bin/mine").write_text("mine")

    text, told = run("rollback", "--root", "root", "--dry-run"), document("rollback", "--dry-run")

    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout == (
        "  > /bin/mine -> /.spkg/aside/bin/mine\n"
        "  - /bin\n"
        "  < /old\n"
        f"root: dry run, would roll back package {SHORT}, 3 changes, 1 set aside\n"
    )
    assert told == {
        "schema": "spkg.rollback/1",
        "status": "planned",
        "package": PACKAGE,
        "changes": [
            {"action": "set-aside", "path": "/bin/mine", "place": "/.spkg/aside/bin/mine"},
            {"action": "delete", "path": "/bin"},
            {"action": "restore", "path": "/old"},
        ],
        "set_aside": ["/bin/mine"],
        "warnings": [],
    }
    assert tree() == {**NEW, "root/bin/mine": b"mine"}


def test_what_was_in_the_way_is_shown_until_somebody_discards_it() -> None:
    begin_trial()
    Path("root/bin/mine").write_text("mine")

    gone = run("rollback", "--root", "root")
    status = run("status", "--root", "root")
    discarded = run("recover", "--root", "root", "--discard-aside")

    assert gone.stdout == (
        f"  > /bin/mine -> /.spkg/aside/bin/mine\nroot: rolled back package {SHORT}, 3 changes, 1 set aside\n"
    )
    assert "  set aside: /.spkg/aside/bin/mine\n" in status.stdout
    assert discarded.stdout == (
        "  deleted: /.spkg/aside/bin/mine\nroot: nothing was left to recover; the root is clean\n"
    )
    assert document("status")["set_aside"] == []
    assert document("recover", "--discard-aside")["discarded_aside"] == []


def test_there_is_no_second_way_back() -> None:
    begin_trial()
    run("rollback", "--root", "root")

    for words in (("rollback", "--root", "root"), ("rollback", "--root", "root", "--dry-run")):
        assert problem_of(*words) == (
            5,
            "",
            f"spkg: error: {NOTHING_KEPT[0]}\nspkg: hint: {NOTHING_KEPT[1]}\n",
        )
    told = run("rollback", "--root", "root", "--json")

    assert json.loads(told.stdout) == error(
        "refused", 5, NOTHING_KEPT[0], hint=NOTHING_KEPT[1], reason="nothing-kept"
    )
    assert tree() == OLD


def test_what_was_rolled_back_is_refused_until_it_is_forgiven() -> None:
    begin_trial()
    run("rollback", "--root", "root")

    refused = run("apply", "p.spkg", *APPLY)
    told = json.loads(run("apply", "p.spkg", *APPLY, "--json").stdout)
    forgiven, nothing = run("confirm", "--root", "root", "--forgive"), document("confirm", "--forgive")
    accepted = run("apply", "p.spkg", *APPLY)

    assert (refused.exit_code, timeless(refused.stderr)) == (
        5,
        (
            "spkg: error: this package was rolled back at TIME\n"
            "spkg: hint: to apply it all the same, use --again or 'spkg confirm --forgive'\n"
        ),
    )
    assert (told["status"], told["reason"]) == ("refused", "rolled-back")
    assert forgiven.stdout == (
        f"root: no package is on trial\nroot: package {SHORT}, which was rolled back, may be applied again\n"
    )
    assert nothing["forgiven"] == []
    assert accepted.exit_code == 0
    assert [event["event"] for event in document("log")["events"]] == [
        "applied",
        "rolled-back",
        "forgiven",
        "applied",
    ]


@pytest.mark.parametrize("way", ["again", "another"])
def test_what_was_rolled_back_is_accepted_again_or_after_another(way: str) -> None:
    begin_trial()
    run("rollback", "--root", "root")

    if way == "another":
        assert run("apply", "next.spkg", *APPLY).exit_code == 0
    result = run("apply", "p.spkg", *APPLY, *(["--again"] if way == "again" else []))

    assert (result.exit_code, document("status")["rolled_back"]) == (0, [])


# ---- Places where nothing can be done ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("confirm",), ("rollback",), ("rollback", "--dry-run"), ("recover", "--boot"), ("log",)]
)
def test_a_root_that_does_not_exist_is_an_error_of_the_environment(words: tuple[str, ...]) -> None:
    Path("file").write_text("")

    missing, no_directory = (problem_of(*words, "--root", name) for name in ("nowhere", "file"))

    assert missing == (9, "", "spkg: error: nowhere: no such file or directory\n")
    assert no_directory == (9, "", "spkg: error: file: not a directory\n")


def test_another_user_is_told_to_be_the_owner() -> None:
    begin_trial()
    Path().chmod(0o711)
    if os.geteuid():
        Path("root/.spkg").chmod(0)
    with without_privileges():
        changing = {
            words: problem_of(*words, "--root", "root")
            for words in [("confirm",), ("rollback",), ("rollback", "--dry-run"), ("recover", "--boot")]
        }
        log, status = (problem_of(word, "--root", "root") for word in ("log", "status"))
    Path("root/.spkg").chmod(0o700)

    hint = "spkg: hint: run spkg as root, or as the owner of the root\n"
    assert set(changing.values()) == {(5, "", OTHER_USER)}
    assert log == (9, "", f"spkg: error: /.spkg/installed: permission denied\n{hint}")
    assert status == (9, "", f"spkg: error: /.spkg/checkpoint: permission denied\n{hint}")
    assert tree() == NEW


def test_a_read_only_root_is_refused() -> None:
    isolated(_read_only, Path.cwd())


def _read_only(place: Path) -> None:
    os.chdir(place)
    mount_memory(Path("root"))
    begin_trial("--back-up-boots", "0")
    make_read_only(Path("root"))
    other = place / "other-boot"
    other.write_text("other\n")
    for words in (("confirm",), ("rollback",), ("rollback", "--dry-run")):
        assert problem_of(*words, "--root", "root") == (5, "", READ_ONLY), words
    assert run("recover", "--root", "root", "--boot").exit_code == 0  # there is nothing to count
    bind(other, Path("/proc/sys/kernel/random/boot_id"))
    assert problem_of("recover", "--root", "root", "--boot") == (5, "", READ_ONLY)
    assert run("status", "--root", "root").stdout.startswith("root: trial\n")


def test_without_proc_only_what_needs_the_boot_fails() -> None:
    isolated(_without_proc, Path.cwd())


def _without_proc(place: Path) -> None:
    os.chdir(place)
    begin_trial("--back-up-boots", "0")
    mount_memory(Path("/proc"))
    assert problem_of("apply", "next.spkg", *APPLY, "--back-up", "1h") == (9, "", NO_BOOT)
    assert problem_of("recover", "--root", "root", "--boot") == (9, "", NO_BOOT)
    assert problem_of("guard", "--root", "root", "--reboot", "true") == (9, "", NO_BOOT)
    assert document("status")["trial"]["until"] is None
    assert run("recover", "--root", "root").exit_code == 0
    assert run("confirm", "--root", "root").exit_code == 0
    assert problem_of("recover", "--root", "root", "--boot") == (
        0,
        "root: nothing was left to recover; the root is clean\n",
        "",
    )


@pytest.mark.parametrize("words", [("confirm",), ("rollback",), ("recover", "--boot")])
def test_nothing_changes_where_there_is_no_standard_output(words: tuple[str, ...]) -> None:
    begin_trial("--back-up-boots", "0")

    shell = ("sh", "-c", 'exec "$@" >&-', "sh")
    result = process(*words, "--root", "root", prefix=shell)

    assert (result.returncode, result.stderr) == (9, "spkg: error: standard output is closed\n")
    assert TRIAL_FILE.exists()


# ---- Damage -----------------------------------------------------------------------------------------------


@pytest.mark.part("fuzz", turns=True, few=4)
@pytest.mark.parametrize(
    "what", ["empty", "not ours", "a directory", "a link", "too large", "NaN", "infinite"]
)
def test_a_damaged_note_is_a_trial_of_the_last_package_without_limits(boots: Boots, what: str) -> None:
    begin_trial("--back-up-boots", "0")
    damage_trial(what)
    boots("boot-1")

    status, recovered = run("status", "--root", "root"), run("recover", "--root", "root", "--boot")
    gone = run("rollback", "--root", "root")

    for told in (status, recovered):
        assert told.exit_code == 0
        assert re.fullmatch(
            r"spkg: warning: /\.spkg/trial: the note of the trial is damaged \(.*\), so that nothing rolls "
            r"back by itself: run 'spkg confirm' or 'spkg rollback'\n",
            told.stderr,
        )
    assert f"  package {SHORT} is on trial: 3 bytes of old files are kept\n" in status.stdout
    assert recovered.stdout == "root: nothing was left to recover; the root is on trial\n"
    assert gone.stdout == f"root: rolled back package {SHORT}, 2 changes\n"
    assert tree() == OLD
    assert run("apply", "p.spkg", *APPLY).exit_code == 5


def damage_trial(what: str) -> None:
    match what:
        case "NaN":
            change_trial(delay=float("nan"))
        case "infinite":
            change_trial(since=float("inf"))
        case "not ours":
            TRIAL_FILE.write_text("[]")
        case "too large":
            os.truncate(TRIAL_FILE, 1 << 30)
        case _:
            text = TRIAL_FILE.read_text()
            TRIAL_FILE.unlink()
            if what == "a directory":
                TRIAL_FILE.mkdir()
            elif what == "a link":
                Path("elsewhere").write_text(text)
                TRIAL_FILE.symlink_to(Path("elsewhere").absolute())
            else:
                TRIAL_FILE.write_text("")


def test_a_damaged_note_in_a_root_with_a_damaged_record_names_no_package() -> None:
    begin_trial()
    TRIAL_FILE.write_text("")
    Path("root/.spkg/installed").write_text("x")

    result = run("rollback", "--root", "root")

    assert (result.exit_code, result.stdout) == (0, "root: rolled back package unknown, 2 changes\n")
    assert result.stderr == (
        "spkg: warning: /.spkg/installed: the record of installed packages was damaged: it is set aside as "
        "/.spkg/installed.damaged, a new one begins\n"
    )
    assert tree() == OLD


def test_a_damaged_record_is_reported_by_confirm() -> None:
    begin_trial()
    Path("root/.spkg/installed").write_text("x")

    told = json.loads(run("confirm", "--root", "root", "--json").stdout)

    assert (told["package"], [one["code"] for one in told["warnings"]]) == (PACKAGE, ["damaged-record"])


def test_a_delay_beyond_all_times_ends_with_them() -> None:
    begin_trial()
    change_trial(delay=1e300)

    told = run("status", "--root", "root", "--json")

    assert json.loads(told.stdout)["trial"]["until"] == "9999-12-31T23:59:59Z"


def test_a_delay_that_has_passed_is_shown_with_a_hint() -> None:
    begin_trial()
    change_trial(delay=0)

    result = run("status", "--root", "root")

    assert (result.exit_code, result.stderr) == (
        0,
        "spkg: hint: the delay of the trial has passed: is 'spkg guard' running?\n",
    )


def test_nothing_kept_is_not_mistaken_for_no_trial() -> None:
    begin_trial()
    KEPT.rename("root/.spkg/gone")

    status, gone = run("status", "--root", "root"), problem_of("rollback", "--root", "root")

    assert status.stderr.startswith(KEPT_MISSING)
    assert gone == (
        5,
        "",
        f"spkg: error: there is nothing to go back to: what was kept to go back is missing\n{STAYS}",
    )


@pytest.mark.parametrize("what", ["a file", "journal", "an old file"])
def test_what_can_not_go_back_can_be_confirmed(what: str) -> None:
    begin_trial()
    if what == "a file":
        KEPT.rename("elsewhere")
        KEPT.write_text("")
        told = "what was kept to go back is missing"
    elif what == "journal":
        (KEPT / "done").write_text("x")
        told = "what was kept to go back is damaged: the journal is damaged"
    else:
        (old,) = (KEPT / "old").iterdir()
        old.unlink()
        told = f"/.spkg/kept/old/{old.name} is missing, so that /old can't come back"

    gone = [problem_of("rollback", "--root", "root", *options) for options in ((), ("--dry-run",))]
    codes = [one["code"] for one in document_of_status()["warnings"]]
    stays = run("confirm", "--root", "root")

    assert gone == [(6, "", f"spkg: error: {told}\n{STAYS}")] * 2
    assert codes == ([] if what == "an old file" else ["damaged-kept"])
    assert (stays.exit_code, stays.stderr) == (0, "")
    assert tree() == NEW
    assert document("status")["state"] == "clean"


def document_of_status() -> Any:
    return json.loads(run("status", "--root", "root", "--json").stdout)


def test_what_stands_where_things_are_set_aside_can_be_discarded() -> None:
    begin_trial()
    Path("root/bin/mine").write_text("mine")
    Path("root/.spkg/aside").write_text("")

    refused = problem_of("rollback", "--root", "root")
    discarded = run("recover", "--root", "root", "--discard-aside")

    assert refused == (
        5,
        "",
        (
            "spkg: error: /bin/mine is in the way, and /.spkg/aside is not a directory\n"
            "spkg: hint: delete it with 'spkg recover --discard-aside'\n"
        ),
    )
    assert discarded.stdout.startswith("  deleted: /.spkg/aside\n")
    assert run("rollback", "--root", "root").exit_code == 0
    assert tree() == OLD


def test_a_crash_before_the_old_files_are_in_their_place_is_recovered_first() -> None:
    begin_trial()
    KEPT.rename("root/.spkg/txn")  # the last thing that an installation does

    status, dry = document("status"), problem_of("rollback", "--root", "root", "--dry-run")
    gone = run("rollback", "--root", "root")

    assert (status["warnings"], status["trial"]["octets_kept"]) == ([], 3)
    assert dry == (
        5,
        "",
        (
            "spkg: error: an installation in this root was interrupted\n"
            "spkg: hint: run 'spkg recover' to finish or undo it\n"
        ),
    )
    assert gone.stdout == f"root: rolled back package {SHORT}, 2 changes\n"
    assert tree() == OLD
