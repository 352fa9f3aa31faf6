"""Whatever stands where the installer keeps its files, there is a documented way out, and it is named."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.errors import FailedError
from spkg.format.commands import End, Role
from spkg.install.history import installed
from spkg.install.root import Root
from tests.support.commands import run
from tests.support.installation import APPLY, events, furnish_root, tree
from tests.support.kit import CONTENTS, Draft, file
from tests.support.sampling import few

RESCUE: Final = ("apply", "rescue.spkg", *APPLY, "--unsafe-force")
HOWS: Final = pytest.mark.parametrize("how", [(), ("--in-place",)], ids=["all or nothing", "in place"])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a root and packages for it."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("outside").write_text("of somebody else")
    Path("root/.spkg").mkdir(mode=0o700)
    Path("a.spkg").write_bytes(Draft(records=(file("/a"), End())).encode())
    Path("rescue.spkg").write_bytes(Draft(records=(Role(role=2), file("/rescued"), End())).encode())
    Path("unfit.spkg").write_bytes(Draft(records=(Role(role=2), file("/old/below"), End())).encode())
    return tmp_path


def directory(path: Path) -> None:
    path.mkdir()
    (path / "file").touch()


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 33)


KINDS: Final[dict[str, Callable[[Path], object]]] = {
    "empty": Path.touch,
    "words": lambda path: path.write_text("hello, world"),
    "octets": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "other JSON": lambda path: path.write_text('{"installed": [{}], "steps": 1, "command": "x"}'),
    "deep JSON": lambda path: path.write_text("[" * 4000),
    "large numbers": lambda path: path.write_text(
        '{"package": "x", "command": Infinity, "state": "initial", "failed": false, "installed": 1e999}'
    ),
    "a command before the first": lambda path: path.write_text(
        '{"package": "x", "command": -1, "state": "initial", "failed": false}'
    ),
    "directory": directory,
    "link": lambda path: path.symlink_to(Path("outside").absolute()),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "FIFO": os.mkfifo,
    "huge": huge,
}
kinds = pytest.mark.parametrize("kind", few(KINDS, every=3, part="fuzz"))


def status() -> dict[str, Any]:
    result = run("status", "--root", "root", "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def codes(document: dict[str, Any]) -> list[str]:
    return [one["code"] for one in document["warnings"]]


# The record.


ENTRY: Final[dict[str, Any]] = {
    "package": "ab" * 32,
    "version": None,
    "description": None,
    "signers": ["CN=x"],
    "time": "2026-01-01T00:00:00Z",
    "changed": 1,
    "changes": [{"action": "put", "path": "/a", "replaces": None, "mode": "0644"}],
    "command_key": None,
    "boot_id": "71a2",
}
SECOND_RELEASE: Final = {name: ENTRY[name] for name in ENTRY if name not in {"command_key", "boot_id"}}
"""An entry as release 0.2 wrote it."""


def test_a_sound_record_is_shown() -> None:
    Path("root/.spkg/installed").write_text(json.dumps({"installed": [ENTRY, SECOND_RELEASE]}))

    found = status()

    assert (found["warnings"], found["installed"]) == ([], [ENTRY, ENTRY | {"boot_id": None}])


@pytest.mark.parametrize(
    "broken",
    [
        *few(({name: wrong} for name in ENTRY for wrong in (True, 0.5, {"x": 1})), every=4, part="fuzz"),
        {"signers": [5]},
        {"signers": [None]},
        {"changes": [5]},
        {"changes": ["put"]},
        {"changes": [{"action": 5}]},
        {"changes": [{"action": ["put"]}]},
    ],
)
def test_a_record_with_a_value_of_another_type_is_damaged(broken: dict[str, Any]) -> None:
    Path("root/.spkg/installed").write_text(json.dumps({"installed": [ENTRY | broken]}))

    found, shown = status(), run("status", "--root", "root")

    assert (found["installed"], codes(found), shown.exit_code) == ([], ["damaged-record"], 0)
    assert "(it was not written by spkg)" in shown.stderr
    assert run("apply", "a.spkg", *APPLY).exit_code == 0
    assert status()["warnings"] == []


@HOWS
@kinds
def test_a_damaged_record_is_set_aside(kind: str, how: tuple[str, ...]) -> None:
    KINDS[kind](Path("root/.spkg/installed"))
    before = status()

    result = run("apply", "a.spkg", *APPLY, *how, "--json")

    assert (before["state"], before["installed"], codes(before)) == ("clean", [], ["damaged-record"])
    assert before["warnings"][0]["path"] == "/.spkg/installed"
    last = events(result.stdout)[-1]
    assert (result.exit_code, codes(last)) == (0, ["damaged-record"]), result.stderr
    assert "it is set aside as /.spkg/installed.damaged" in result.stderr
    assert os.path.lexists("root/.spkg/installed.damaged")
    after = status()
    assert (after["state"], len(after["installed"]), after["warnings"]) == ("clean", 1, [])
    assert tree()["root/a"] == CONTENTS
    assert Path("outside").read_text() == "of somebody else"


def test_a_dry_run_sets_nothing_aside() -> None:
    Path("root/.spkg/installed").write_text("hello")

    result = run("apply", "a.spkg", *APPLY, "--dry-run", "--json")

    assert (result.exit_code, codes(events(result.stdout)[-1])) == (0, ["damaged-record"])
    assert Path("root/.spkg/installed").read_text() == "hello"


def test_recovering_sets_a_damaged_record_aside_once() -> None:
    for contents in ("first", "second"):
        Path("root/.spkg/installed").write_text(contents)

        result = run("recover", "--root", "root", "--json")

        assert (result.exit_code, codes(json.loads(result.stdout))) == (0, ["damaged-record"])
        assert Path("root/.spkg/installed.damaged").read_text() == contents
    assert sorted(path.name for path in Path("root/.spkg").iterdir()) == ["installed.damaged"]


def test_a_record_that_can_not_be_read_stays_and_is_named_with_the_way_out() -> None:
    class Broken(Root):
        def read(self, path: tuple[bytes, ...], limit: int) -> bytes:  # noqa: ARG002 - whatever it is
            raise OSError(5, "Input/output error", "/.spkg/installed")

    with Broken(Path("root")) as root, pytest.raises(FailedError) as caught:
        installed(root)

    assert str(caught.value) == "/.spkg/installed: input/output error"
    hint = "if this stays so, move /.spkg/installed below the root away (docs/installing.md)"
    assert caught.value.hint == hint


# The journal.

ASIDE: Final = (
    "the transaction is set aside as /.spkg/txn.damaged, and may hold the only copy of files that were being "
    "moved or replaced: move back what is missing, then delete it (docs/installing.md)"
)


def damage_journal(kind: str) -> None:
    for name in ("new", "old", "mov", "mk"):
        Path("root/.spkg/txn", name).mkdir(parents=True)
    Path("root/.spkg/txn/old/0").write_text("what was there")
    KINDS[kind](Path("root/.spkg/txn/journal"))


@HOWS
@kinds
def test_a_damaged_journal_is_set_aside_by_a_recovery_package_and_force(
    kind: str, how: tuple[str, ...]
) -> None:
    damage_journal(kind)
    before = status()
    hint = "with the role software-recovery and --unsafe-force, which sets the transaction aside"

    recovered = run("recover", "--root", "root")
    others = [
        run("apply", "a.spkg", *APPLY, *how),
        run("apply", "a.spkg", *APPLY, *how, "--unsafe-force"),
        run("apply", "rescue.spkg", *APPLY, *how),
        run("apply", "a.spkg", *APPLY, *how, "--dry-run"),
        run("apply", "a.spkg", *APPLY, *how, "--unsafe-force", "--dry-run"),
        run("apply", "rescue.spkg", *APPLY, *how, "--dry-run"),
        run("rollback", "--root", "root", "--dry-run"),
    ]
    unfit = run("apply", "unfit.spkg", *APPLY, *how, "--unsafe-force")
    stayed = os.path.lexists("root/.spkg/txn/journal")
    dry = run(*RESCUE, *how, "--dry-run", "--json")
    result = run(*RESCUE, *how, "--json")

    assert (before["state"], codes(before)) == ("unsafe", ["damaged-journal"])
    assert before["warnings"][0]["path"] == "/.spkg/txn/journal"
    for one in (recovered, *others):
        assert one.exit_code == 7, one.stderr
        assert "/.spkg/txn/journal: " in one.stderr
        assert f"spkg: hint: apply a package {hint}" in one.stderr
    assert (unfit.exit_code, stayed) == (5, True)
    assert (dry.exit_code, codes(events(dry.stdout)[-1])) == (0, ["damaged-journal"])
    assert (result.exit_code, codes(events(result.stdout)[-1])) == (0, ["damaged-journal"]), result.stderr
    assert f"/.spkg/txn/journal: the journal was damaged: {ASIDE}" in result.stderr
    assert os.path.lexists("root/.spkg/txn.damaged/journal")
    assert Path("root/.spkg/txn.damaged/old/0").read_text() == "what was there"
    after = status()
    assert (after["state"], len(after["installed"]), after["leftovers"]) == ("clean", 1, [])
    assert codes(after) == ["set-aside"]
    assert tree() == {"root/old": b"old", "root/rescued": CONTENTS}


@pytest.mark.parametrize("kind", ["words", None])
def test_what_was_on_its_way_when_the_journal_was_lost_is_kept_by_every_later_run(kind: str | None) -> None:
    for contents in (b"first", b"second"):
        for name in ("new", "old", "mov", "mk"):
            Path("root/.spkg/txn", name).mkdir(parents=True)
        Path("root/.spkg/txn/package").write_text("ab" * 32)
        Path("root/.spkg/txn/mov/0").write_bytes(contents)
        if kind is not None:
            KINDS[kind](Path("root/.spkg/txn/journal"))
        before = status()
        stopped = [run("recover", "--root", "root"), run("apply", "a.spkg", *APPLY)]
        assert run(*RESCUE, "--again").exit_code == 0
        assert (before["state"], before["staged"], codes(before)[0]) == ("unsafe", None, "damaged-journal")
        assert [one.exit_code for one in stopped] == [7, 7]
        if kind is None:
            missing = "/.spkg/txn/journal: the journal is missing, and the changes have begun"
            assert missing in stopped[0].stderr
    assert run("recover", "--root", "root").exit_code == 0
    assert run("apply", "a.spkg", *APPLY).exit_code == 0

    kept = {name: Path("root/.spkg", name, "mov/0").read_bytes() for name in ("txn.damaged", "txn.damaged.1")}
    assert kept == {"txn.damaged": b"first", "txn.damaged.1": b"second"}
    warnings = status()["warnings"]
    assert [(one["code"], one["path"]) for one in warnings] == [
        ("set-aside", "/.spkg/txn.damaged"),
        ("set-aside", "/.spkg/txn.damaged.1"),
    ]
    assert status()["leftovers"] == []


@pytest.mark.parametrize("marker", ["placing", "back"])
def test_a_marker_tells_that_the_journal_is_missing(marker: str) -> None:
    Path("root/.spkg/txn").mkdir()
    Path("root/.spkg/txn", marker).touch()

    assert (status()["state"], run("recover", "--root", "root").exit_code) == ("unsafe", 7)


def test_a_root_whose_journal_was_set_aside_is_unsafe_until_the_package_is_installed() -> None:
    damage_journal("words")
    octets = Path("rescue.spkg").read_bytes()
    Path("broken.spkg").write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))

    broken = run("apply", "broken.spkg", *APPLY, "--unsafe-force")

    assert (broken.exit_code, status()["state"]) == (4, "unsafe")
    assert run("recover", "--root", "root").exit_code == 7
    assert run("apply", "a.spkg", *APPLY).exit_code == 5
    assert run("apply", "rescue.spkg", *APPLY).exit_code == 0
    assert status()["state"] == "clean"


@pytest.mark.parametrize("kind", ["empty", "link", "dangling link", "FIFO"])
def test_what_is_no_transaction_is_discarded(kind: str) -> None:
    KINDS[kind](Path("root/.spkg/txn"))
    before = status()

    recovered = run("recover", "--root", "root")

    assert (before["state"], recovered.exit_code, status()["state"]) == ("pending", 0, "clean")
    KINDS[kind](Path("root/.spkg/txn"))
    assert run("apply", "a.spkg", *APPLY).exit_code == 0
    assert Path("outside").read_text() == "of somebody else"


@pytest.mark.parametrize("digest", ["a" * 63 + "\n", "\033[2J" * 16, "A" * 64, "a" * 63])
def test_what_is_no_digest_is_no_package_of_a_download(digest: str) -> None:
    Path("root/.spkg/txn").mkdir(parents=True)
    Path("root/.spkg/txn/package").write_text(digest)

    assert (status()["state"], status()["staged"]) == ("pending", None)
    assert run("recover", "--root", "root").exit_code == 0


@pytest.mark.parametrize("kind", ["directory", "link", "FIFO", "huge"])
def test_what_does_not_name_the_package_of_a_download_is_discarded(kind: str) -> None:
    Path("root/.spkg/txn/new").mkdir(parents=True)
    KINDS[kind](Path("root/.spkg/txn/package"))

    assert (status()["state"], status()["staged"]) == ("pending", None)
    assert run("recover", "--root", "root").exit_code == 0
    assert status()["state"] == "clean"


@pytest.mark.parametrize("kind", ["empty", "link", "FIFO", None])
def test_a_download_whose_files_are_gone_begins_anew(kind: str | None) -> None:
    Path("root/.spkg/txn").mkdir()
    Path("root/.spkg/txn/package").write_text("ab" * 32)
    if kind is not None:
        KINDS[kind](Path("root/.spkg/txn/new"))

    assert status()["staged"] == {"package": "ab" * 32, "octets": 0}
    assert run("apply", "a.spkg", *APPLY).exit_code == 0


# The checkpoint.

AT: Final[dict[str, Any]] = {"package": "ab" * 32, "command": 1, "state": "recoverable", "failed": False}


def test_a_sound_checkpoint_is_shown() -> None:
    Path("root/.spkg/checkpoint").write_text(json.dumps(AT))

    assert (status()["in_place"], status()["warnings"]) == (AT, [])


@pytest.mark.parametrize(
    "broken",
    [
        *few(
            (
                {name: wrong}
                for name in AT
                for wrong in (None, 0.5, ["initial"], {"x": 1}, "x")
                if (name, wrong) != ("package", "x")
            ),
            every=3,
            part="fuzz",
        ),
        {"command": True},
        {"failed": 0},
        {"package": 5},
    ],
)
def test_a_checkpoint_with_a_value_of_another_type_is_damaged(broken: dict[str, Any]) -> None:
    Path("root/.spkg/checkpoint").write_text(json.dumps(AT | broken))

    found = status()

    assert (found["state"], codes(found)) == ("unsafe", ["damaged-checkpoint"])
    assert run("apply", "a.spkg", *APPLY).exit_code == 5


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("octets", "not JSON"), ("deep JSON", "not JSON"), ("directory", "a directory"), ("link", "a link")],
)
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("installed", "the record of installed packages is damaged"),
        ("checkpoint", "the checkpoint is damaged"),
        ("trial", "the note of the trial is damaged"),
    ],
)
def test_what_is_damaged_is_told_in_plain_words(name: str, what: str, kind: str, problem: str) -> None:
    KINDS[kind](Path("root/.spkg", name))

    assert status()["warnings"][0]["message"].startswith(f"{what} ({problem})")


@HOWS
@kinds
def test_a_damaged_checkpoint_counts_as_the_worst_and_a_recovery_package_ends_it(
    kind: str, how: tuple[str, ...]
) -> None:
    KINDS[kind](Path("root/.spkg/checkpoint"))
    before = status()

    recovered = run("recover", "--root", "root")
    other = run("apply", "a.spkg", *APPLY, *how)
    result = run("apply", "rescue.spkg", *APPLY, *how)

    assert (before["state"], codes(before)) == ("unsafe", ["damaged-checkpoint"])
    assert before["warnings"][0]["path"] == "/.spkg/checkpoint"
    assert recovered.exit_code == 7
    assert "spkg: warning: /.spkg/checkpoint: the checkpoint is damaged (" in recovered.stderr
    assert "apply a package with the role software-recovery" in recovered.stderr
    assert other.exit_code == 5
    assert "the root is unsafe (/.spkg/checkpoint is damaged) and accepts only a package" in other.stderr
    assert result.exit_code == 0, result.stderr
    after = status()
    assert (after["state"], after["warnings"]) == ("clean", [])
    assert sorted(path.name for path in Path("root/.spkg").iterdir()) == ["installed"]
    assert Path("outside").read_text() == "of somebody else"
