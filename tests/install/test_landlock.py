"""Whatever version of Landlock a kernel has, packages are installed, and what was not confined is told."""

import os
from ctypes import CDLL
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.common import landlock
from spkg.format.commands import End, Move, MoveVersioned, Remove, RemoveSubTree
from spkg.format.paths import RootPath, TreePath, VersionedPath
from tests.support.commands import run
from tests.support.installation import APPLY, events, furnish_root, tree
from tests.support.kit import CONTENTS, Draft, file
from tests.support.planted_tree import plant

NEWEST: Final = 9
"""A version that no kernel has yet."""
HERE: Final = max(0, int(CDLL(None).syscall(landlock.CREATE_RULESET, None, 0, landlock.VERSION_FLAG)))
OLD: Final = {
    "bin/app": b"old",
    "gone": b"gone",
    "from/here": b"moved",
    "www/a/b": b"tree",
    "v/app.001": b"1",
    "v/app.002": b"2",
}
RECORDS: Final = (
    file("/bin/app"),
    file("/new/deep/file"),
    Remove(path=RootPath.of("/gone")),
    Move(source_path=RootPath.of("/from/here"), destination_path=RootPath.of("/to/there")),
    RemoveSubTree(path=TreePath.of("/www")),
    MoveVersioned(
        source_path=VersionedPath.of("/v/app.000"), destination_path=VersionedPath.of("/w/app.003")
    ),
    file("/x/f"),
    End(),
)
NEW: Final = {
    "root/bin/app": CONTENTS,
    "root/new/deep/file": CONTENTS,
    "root/to/there": b"moved",
    "root/w/app.003": b"1",
    "root/x/f": CONTENTS,
    "root/old": b"old",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a root, a package for it, and a file that is none of its business."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    plant(Path("root"), OLD)
    Path("p.spkg").write_bytes(Draft(records=RECORDS).encode())
    return tmp_path


def answer(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel tell another version of Landlock than it has; all else it does as it can."""
    real = landlock._call

    def call(number: int, *arguments: Any) -> int:
        if number == landlock.CREATE_RULESET and arguments[-1] == landlock.VERSION_FLAG:
            return version or -1
        return real(number, *arguments)

    monkeypatch.setattr(landlock, "_call", call)


@pytest.mark.judge("Landlock 2")
@pytest.mark.parametrize("version", range(NEWEST + 1))
@pytest.mark.parametrize("how", [(), ("--in-place",)], ids=["all or nothing", "in place"])
def test_under_each_version_of_landlock_everything_can_be_installed(
    version: int, how: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(version, monkeypatch)

    result = run("apply", "p.spkg", *APPLY, *how, "--json")

    last = events(result.stdout)[-1]
    assert (result.exit_code, last["status"]) == (0, "installed"), result.stderr
    assert tree() == NEW
    # What this kernel does not know it refuses, and what is newer than this program it is not asked for.
    assert last["confined"] is (version >= 2 and (version <= HERE or landlock.SCOPES_FROM <= HERE))
    assert [one["code"] for one in last["warnings"]] == ([] if last["confined"] else ["not-confined"])
    assert ("the installer was not confined" in result.stderr) is not last["confined"]
    recovered = run("recover", "--root", "root")
    assert (recovered.exit_code, recovered.stdout.split("; ")[1]) == (0, "the root is clean\n")


@pytest.mark.judge("Landlock 2")
@pytest.mark.parametrize("version", range(NEWEST + 1))
def test_what_has_no_root_is_confined_by_every_version(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(version, monkeypatch)
    child = os.fork()
    if child == 0:
        confined = landlock.confine(None)
        try:
            Path("root/old").write_text("changed")
        except OSError:
            os._exit(10 + confined)
        os._exit(confined)  # it was changed

    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    confined = version >= 1 and (version <= HERE or max(landlock.RIGHTS) <= HERE)
    assert status == (10 + version if confined else 0)


@pytest.mark.judge("Landlock 2")
def test_a_process_can_be_left_some_directories_alone(tmp_path: Path) -> None:
    for name in ("state", "store", "other"):
        (tmp_path / name).mkdir()
    child = os.fork()
    if child == 0:
        opened = [os.open(tmp_path / name, os.O_PATH) for name in ("state", "store")]
        confined = landlock.confine_changes(*opened)
        denied = 0
        for name in ("state", "store", "other"):
            try:
                (tmp_path / name / "file").write_text("changed")
                (tmp_path / name / "file").rename(tmp_path / name / "renamed")
            except OSError:
                denied += 1
        os._exit(10 * bool(confined) + denied)

    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert status == 11
    assert [path.parent.name for path in sorted(tmp_path.rglob("renamed"))] == ["state", "store"]
