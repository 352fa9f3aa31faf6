"""What is left over and can't be removed stops nothing, is named, and is tried again by later runs."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from spkg.format.commands import End, RemoveSubTree, Role
from spkg.format.paths import TreePath
from spkg.install.leftovers import LISTED, leftover_warnings, leftovers, stuck_warnings
from spkg.install.own_directory import working_in
from spkg.install.own_files import write_whole
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.staging import begin, collect, keep_staged
from spkg.install.transaction_places import TXN
from spkg.install.tree_path import split
from tests.support.commands import run
from tests.support.installation import APPLY, events, furnish_root, mark_unsafe, tree
from tests.support.kit import CONTENTS, Draft, file
from tests.support.namespaces import isolated, mount_memory
from tests.support.restrictions import APPEND_ONLY, IMMUTABLE, fixed
from tests.support.sampling import few

PACKAGE = "ab" * 32
STUCK = "is left over and could not be removed yet: no harm is done, and later runs try again"
LEFT = "is left over: the next run removes it, and no harm is done"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a root and packages for it."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    for name in ("a", "b", "c"):
        Path(f"{name}.spkg").write_bytes(Draft(records=(file(f"/{name}/{name}"), End())).encode())
    rescue = (Role(role=2), file("/rescued"), End())
    Path("rescue.spkg").write_bytes(Draft(records=rescue).encode())
    return tmp_path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def leave(path: str, stack: ExitStack, attribute: int = IMMUTABLE) -> None:
    """Leave a file below .spkg that can't be removed, with one beside it that can."""
    left = Path("root/.spkg", path)
    left.parent.mkdir(parents=True, exist_ok=True)
    Path("root/.spkg").chmod(0o700)
    left.write_text("left")
    if left.parent.name != ".spkg":
        left.with_name("other").write_text("goes")
    stack.enter_context(fixed(left, attribute))


def status() -> dict[str, object]:
    found: dict[str, object] = json.loads(run("status", "--root", "root", "--json").stdout)
    return {name: found[name] for name in ("state", "leftovers", "warnings")}


PLACES = [
    "over/old/0/resolv.conf",
    "over",
    "txn/old/0/resolv.conf",
    "txn/new/0",
    "txn/mk/0/deep/er",
    "part",
    "made/x",
    "arrived/0.21",
    "checkpoint.new",
    "checkpoint.spare",
]


@pytest.mark.parametrize("attribute", [IMMUTABLE, APPEND_ONLY])
@pytest.mark.parametrize("path", few(PLACES, every=3, part="fuzz"))
def test_nothing_that_is_left_over_blocks_anything(path: str, attribute: int, stack: ExitStack) -> None:
    leave(path, stack, attribute)

    for name, how in (("a", ()), ("b", ("--in-place",)), ("c", ("--unsafe-force",))):
        result = run("apply", f"{name}.spkg", *APPLY, *how, "--json")
        last = events(result.stdout)[-1]
        assert result.exit_code == 0, result.stderr
        assert [one["code"] for one in last["warnings"] if one["code"] != "recovered"] == ["leftovers"]
        assert f"root/{name}/{name}" in tree()
    recovered = run("recover", "--root", "root", "--json")
    assert (recovered.exit_code, json.loads(recovered.stdout)["state"]) == (0, "clean")

    lies = "/.spkg/" + path.replace("txn/", "over/", 1)
    stuck, left = ({"code": "leftovers", "message": told, "path": lies} for told in (STUCK, LEFT))
    assert status() == {"state": "clean", "leftovers": [lies], "warnings": [left]}
    assert json.loads(recovered.stdout)["warnings"] == [stuck]
    text = run("status", "--root", "root")
    assert f"  left over: {lies}\n" in text.stdout
    assert text.stderr == f"spkg: warning: {lies}: {LEFT}\n"


@pytest.mark.parametrize("path", PLACES)
def test_what_is_left_over_goes_once_it_can(path: str) -> None:
    with ExitStack() as stack:
        leave(path, stack)
        assert run("recover", "--root", "root").exit_code == 0

    assert run("recover", "--root", "root").stderr == ""
    assert status() == {"state": "clean", "leftovers": [], "warnings": []}
    assert not [path for path in Path("root/.spkg").iterdir() if path.name != "installed"]


def test_what_is_left_over_twice_has_two_names(stack: ExitStack) -> None:
    for number in range(3):
        leave("txn/old/0/file", stack)
        result = run("recover", "--root", "root")
        assert result.exit_code == 0
        more = f", with {number} more" if number else ""
        assert f"could not be removed yet{more}: no harm is done" in result.stderr

    assert status()["leftovers"] == [f"/.spkg/over{name}/old/0/file" for name in ("", ".1", ".2")]


def test_what_nobody_has_tried_to_remove_is_not_said_to_be_stuck() -> None:
    for name in ("over/done", "part", "checkpoint.spare"):
        Path("root/.spkg", name).parent.mkdir(parents=True, exist_ok=True)
        Path("root/.spkg", name).touch()
    Path("root/.spkg").chmod(0o700)
    told = "is left over, with 2 more: the next run removes them, and no harm is done"

    found, dry = status(), run("apply", "a.spkg", *APPLY, "--dry-run", "--json")
    real = run("apply", "a.spkg", *APPLY, "--json")

    warning = {"code": "leftovers", "message": told, "path": "/.spkg/checkpoint.spare"}
    lies = ["/.spkg/checkpoint.spare", "/.spkg/over/done", "/.spkg/part"]
    assert found == {"state": "clean", "leftovers": lies, "warnings": [warning]}
    assert events(dry.stdout)[-1]["warnings"] == [warning]
    assert events(real.stdout)[-1]["warnings"] == []
    assert status() == {"state": "clean", "leftovers": [], "warnings": []}


def test_nothing_is_left_over_while_an_installer_is_running() -> None:
    with Root(Path("root")) as root, working_in(root):
        Path("root/.spkg/part").touch()
        during = status()

    assert during == {"state": "clean", "leftovers": [], "warnings": []}
    assert status()["leftovers"] == ["/.spkg/part"]


def test_an_installer_outwaits_a_status_that_looks_whether_another_is_running() -> None:
    Path("root/.spkg").mkdir(mode=0o700)
    with Root(Path("root")) as looking, Root(Path("root")) as root, ExitStack() as held:
        held.enter_context(looking.locked((b".spkg",)))
        timer = Timer(0.01, held.pop_all().close)
        timer.start()
        with working_in(root):
            timer.join()


def test_a_transaction_that_is_over_stays_whole_until_its_new_name_is_durable() -> None:
    class Failing(Root):
        def sync_directory(self, path: tuple[bytes, ...]) -> None:
            raise OSError(5, "Input/output error", str(path))

    for name in ("txn/old/0", "txn/done", "txn/placing"):
        Path("root/.spkg", name).parent.mkdir(parents=True, exist_ok=True)
        Path("root/.spkg", name).touch()

    with Failing(Path("root")) as failing, pytest.raises(OSError, match="Input/output error"):
        collect(failing)
    left = sorted(str(path.relative_to("root/.spkg")) for path in Path("root/.spkg").rglob("*"))
    with Root(Path("root")) as root:
        settle_root(root)

    assert left == ["over", "over/done", "over/old", "over/old/0", "over/placing"]
    assert list(Path("root/.spkg").iterdir()) == []


def test_a_file_system_without_locks_has_leftovers() -> None:
    class Lockless(Root):
        def locked(self, path: tuple[bytes, ...]) -> Any:
            raise OSError(95, "Operation not supported", str(path))

    Path("root/.spkg/part").mkdir(parents=True)

    with Lockless(Path("root")) as root:
        assert leftovers(root) == ((b".spkg", b"part"),)


def test_what_can_not_be_read_has_no_warnings() -> None:
    Path("root/.spkg").touch()

    with Root(Path("root")) as root:
        assert (leftover_warnings(root), stuck_warnings(root)) == ((), ())


def test_a_directory_that_can_not_be_emptied_is_left_over_with_what_is_in_it(stack: ExitStack) -> None:
    for name in ("a", "b"):
        Path("root/.spkg/over/old/fixed").mkdir(parents=True, exist_ok=True)
        Path("root/.spkg/over/old/fixed", name).touch()
    Path("root/.spkg").chmod(0o700)
    stack.enter_context(fixed(Path("root/.spkg/over/old/fixed")))

    assert run("apply", "a.spkg", *APPLY).exit_code == 0

    assert status()["leftovers"] == ["/.spkg/over/old/fixed/a", "/.spkg/over/old/fixed/b"]


def test_a_package_that_leaves_the_unsafe_state_is_not_stopped(stack: ExitStack) -> None:
    mark_unsafe()
    leave("over/old/0/file", stack)
    leave("part", stack)

    assert run("apply", "rescue.spkg", *APPLY).exit_code == 0
    assert status()["state"] == "clean"


def cleared_around_a_mount(place: Path) -> None:
    """Settle a root with a mount among what is left over."""
    root = place / "root"
    (root / ".spkg/over/old/0/mounted").mkdir(parents=True)
    (root / ".spkg").chmod(0o700)
    mount_memory(root / ".spkg/over/old/0/mounted")
    (root / ".spkg/over/old/0/mounted/file").write_text("of somebody else")
    (root / ".spkg/over/old/0/ours").touch()
    with Root(root) as opened:
        with working_in(opened):
            settle_root(opened)
        found = leftovers(opened)
    assert found == (split("/.spkg/over/old/0/mounted"),)
    assert (root / ".spkg/over/old/0/mounted/file").read_text() == "of somebody else"


def test_a_mount_among_what_is_left_over_is_neither_entered_nor_in_the_way(tmp_path: Path) -> None:
    isolated(cleared_around_a_mount, tmp_path)


def test_of_many_leftovers_the_first_are_named() -> None:
    (over := Path("root/.spkg/over")).mkdir(parents=True)
    Path("root/.spkg").chmod(0o700)
    for number in range(LISTED + 5):
        (over / f"{number:03}").touch()

    with Root(Path("root")) as root:
        found, (warning,) = leftovers(root), leftover_warnings(root)

    assert found == tuple(split(f"/.spkg/over/{number:03}") for number in range(LISTED))
    assert (warning.path, f"with {LISTED - 1} more" in warning.message) == ("/.spkg/over/000", True)


# Staged files of a download that can't be resumed.


@pytest.fixture
def staging() -> Iterator[Root]:
    with Root(Path("root")) as root, working_in(root):
        begin(root, PACKAGE)
        write_whole(root, (*TXN, b"new", b"0"), CONTENTS)
        yield root


@pytest.mark.parametrize("path", ["new/0", "old/0", "mk/0"])
def test_a_download_begins_anew_where_its_remains_can_not_be_removed(
    staging: Root, path: str, stack: ExitStack
) -> None:
    Path("root/.spkg/txn", path).touch()
    stack.enter_context(fixed(Path("root/.spkg/txn", path)))

    begin(staging, PACKAGE)
    kept = keep_staged(staging, {})

    assert kept == {}
    assert {path.name for path in Path("root/.spkg/txn").iterdir()} == {"new", "mov", "old", "mk", "package"}
    assert not list(Path("root/.spkg/txn/new").iterdir())
    (stuck,) = stuck_warnings(staging)
    assert (stuck.path, stuck.message) == (f"/.spkg/over/{path}", STUCK)


def test_a_download_keeps_what_it_can_use(staging: Root, stack: ExitStack) -> None:
    Path("root/.spkg/txn/mk/0").touch()
    stack.enter_context(fixed(Path("root/.spkg/txn/new/0")))

    begin(staging, PACKAGE)

    assert keep_staged(staging, {(*TXN, b"new", b"0"): len(CONTENTS)}) == {
        (*TXN, b"new", b"0"): len(CONTENTS)
    }


# A kernel or a file system that does not tell what is immutable: it is found when it has to go.


@pytest.mark.parametrize("how", [(), ("--in-place",)])
@pytest.mark.parametrize("inside", ["www/sub/file", "www/sub"])
def test_a_tree_with_something_immutable_in_it_is_removed(
    inside: str, how: tuple[str, ...], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.install.system_calls._ask", lambda *_: None)
    Path("root/www/sub").mkdir(parents=True)
    for name in ("file", "other"):
        Path("root/www/sub", name).touch()
    leaving = RemoveSubTree(path=TreePath.of("/www"))
    Path("p.spkg").write_bytes(Draft(records=(leaving, file("/new"), End())).encode())
    stack.enter_context(fixed(Path("root", inside)))

    first, second = run("apply", "p.spkg", *APPLY, *how), run("apply", "a.spkg", *APPLY, *how)

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr
    assert sorted(path.name for path in Path("root").iterdir()) == [".spkg", "a", "new", "old"]
    names = ["file"] if inside.endswith("file") else ["file", "other"]
    place = "over/sub" if how else "over/old/1/sub"
    assert status()["leftovers"] == [f"/.spkg/{place}/{name}" for name in names]


@pytest.mark.parametrize(
    ("asked", "exit_code", "told"),
    [(True, 5, "no permission to write in /www"), (False, 6, "/www: operation not permitted")],
)
def test_in_place_a_tree_that_can_neither_be_removed_nor_moved_is_told(
    exit_code: int, told: str, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, *, asked: bool
) -> None:
    monkeypatch.setattr("spkg.install.system_calls._ask", lambda *_: None)
    if not asked:  # a file system that grants everything until it is done
        monkeypatch.setattr("os.access", lambda *_, **__: True)
    Path("root/www").mkdir()
    Path("root/www/file").touch()
    Path("p.spkg").write_bytes(Draft(records=(RemoveSubTree(path=TreePath.of("/www")), End())).encode())
    stack.enter_context(fixed(Path("root/www")))

    result = run("apply", "p.spkg", *APPLY, "--in-place")

    assert (result.exit_code, told in result.stderr) == (exit_code, True), result.stderr
