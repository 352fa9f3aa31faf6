"""Going back: the tree as before the package, whatever others have done to it meanwhile."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings

from spkg.common.boots import Boot
from spkg.errors import NOTHING_KEPT, ROLLED_BACK, RefusedError
from spkg.format.commands import Move, Record, Remove, RemoveSubTree
from spkg.format.installation_state import InstallationState
from spkg.format.paths import RootPath, TreePath
from spkg.install.applied import Applied, ApplyRequest
from spkg.install.apply import apply
from spkg.install.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from spkg.install.events import Trigger
from spkg.install.history import events, installed_packages, rolled_back_packages
from spkg.install.own_directory import working_in
from spkg.install.recovery import recover_in
from spkg.install.reserve import RESERVE, RESERVE_INODES
from spkg.install.rollback import RolledBack, boot_in, confirm_in, preview_in, roll_back_in
from spkg.install.root import Root
from spkg.install.tree_path import split
from spkg.install.trial import BackUp
from spkg.verify.payload import Payload
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, policy, read
from tests.support.naive_installer import (
    PAYLOAD,
    Directory,
    File,
    Garden,
    Link,
    Node,
    Special,
    command_lists,
    gardens,
    grown,
    interpret,
    piece,
    plant,
    seen,
)
from tests.support.namespaces import isolated, mount_memory, unmount
from tests.support.others import Before, Edit, edits, survey
from tests.support.restrictions import umask
from tests.support.sampling import amount
from tests.support.simulated_installation import at

BOOT: Final = Boot(identity="the boot of the installation", seconds=100.0)
ON_TRIAL: Final = ApplyRequest(device=None, when="then", boot=BOOT, back_up=BackUp(delay=600, boots=3))


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory in memory, where there is one."""
    memory = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def install(root: Path, *records: Record, request: ApplyRequest = ON_TRIAL) -> Applied:
    package = read(Draft(records=records, payload=PAYLOAD).encode())
    payload = Payload(io.BytesIO(PAYLOAD), offset=0, length=len(PAYLOAD))
    with Root(root) as opened:
        return apply(verify_package(package, policy(), at=AT), payload, opened, request)


def go_back(root: Path) -> RolledBack:
    with Root(root) as opened:
        return roll_back_in(opened, when="later", by=Trigger.COMMAND, reason=None, committing=lambda: None)


def preview(root: Path) -> RolledBack:
    with Root(root) as opened:
        return preview_in(opened)


def judged(root: Path, before: Before) -> list[str]:
    """Go back, and return what is not as it has to be."""
    now, whole = survey(root), survey(root, own=True)
    try:
        said = preview(root)
    except RefusedError as exc:
        with pytest.raises(RefusedError, match=f"^{re.escape(str(exc))}$"):
            go_back(root)
        assert survey(root, own=True) == whole
        links = before.may_be_refused(now)
        if not links:
            return [f"refused: {exc}"]
        for path in links:
            (root / b"/".join(path).decode()).unlink(missing_ok=True)
        return judged(root, before)
    assert survey(root, own=True) == whole
    problems = ["not refused"] if before.must_be_refused(now) else []
    done = go_back(root)
    if done != said:
        problems.append(f"said {said}, and did {done}")
    aside = survey(root / ".spkg/aside") if (root / ".spkg/aside").exists() else {}
    problems += before.problems(now, survey(root), aside, done.changes, done.set_aside)
    left = {path.name for path in (root / ".spkg").iterdir()} - {"installed", "aside"}
    if left:
        problems.append(f"left over: {left}")
    return problems


@pytest.mark.part("fuzz")
def test_whatever_others_do_the_tree_is_as_before_or_it_is_told(
    ground: Path, record_property: Callable[[str, object], None]
) -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=amount(20000, 30), suppress_health_check=list(HealthCheck))
    @given(garden=gardens, records=command_lists, done=edits)
    def tried(garden: Garden, records: tuple[Record, ...], done: tuple[Edit, ...]) -> None:
        if interpret(records, PAYLOAD, grown(garden)) is None:
            counts["refused"] += 1
            return
        with TemporaryDirectory(dir=ground) as name:
            root = Path(name)
            root.chmod(0o755)
            plant(garden, root)
            with Before(root) as before:
                before.after(install(root, *records).changes)
                for edit in done:
                    counts[edit.what] += edit.do(root, before.touched)
                counts["tried"] += 1
                assert judged(root, before) == []

    tried()

    record_property("counts", dict(counts))


# What others do most often, one by one.


GARDEN: Final = at(
    bin=Directory(0o755),
    bin__app=File(b"the old one", 0o750),
    bin__gone=File(b"removed", 0o600),
    etc=Directory(0o755),
    etc__hosts=File(b"of nobody"),
    m=File(b"moved", 0o640),
    tree=Directory(0o700),
    tree__a=File(b"in the tree"),
    tree__sub=Directory(0o711),
)
RECORDS: Final = (
    piece("/bin/app", 0),
    piece("/etc/new", 1),
    piece("/made/deep/file", 3),
    Remove(path=RootPath.of("/bin/gone")),
    RemoveSubTree(path=TreePath.of("/tree")),
    Move(source_path=RootPath.of("/m"), destination_path=RootPath.of("/made/m")),
)
AGAIN: Final = Directory(0o755)
"""A directory that is made again."""
ROWS: Final[dict[str, tuple[tuple[tuple[str, str], ...], dict[str, Node | None], dict[str, Node]]]] = {
    "nothing": ((), {}, {}),
    "a placed file is edited": ((("write", "/bin/app"),), {}, {}),
    "a placed file is replaced": ((("replace", "/bin/app"), ("replace", "/etc/new")), {}, {}),
    "a placed file is deleted": ((("delete", "/bin/app"), ("delete", "/etc/new")), {}, {}),
    "a new directory is deleted": ((("delete", "/made"),), {}, {}),
    "a file is made in a new directory": (
        (("file below", "/made/deep"),),
        {},
        {"made/deep/others": File(b"of others")},
    ),
    "a directory is made in a new one": (
        (("file below", "/made/x/y"),),
        {},
        {"made/x": AGAIN, "made/x/y": AGAIN, "made/x/y/others": File(b"of others")},
    ),
    "a removed directory is made again": ((("directory", "/tree"),), {}, {"tree": Directory(0o711)}),
    "a removed directory is made again with a file": (
        (("file below", "/tree"),),
        {},
        {"tree": AGAIN, "tree/others": File(b"of others")},
    ),
    "a removed file is made again": ((("file", "/bin/gone"),), {}, {"bin/gone": File(b"of others")}),
    "a directory in the place of a placed file": (
        (("directory in place", "/bin/app"),),
        {},
        {"bin/app": AGAIN, "bin/app/inside": File(b"of others")},
    ),
    "a link in the place of a placed file": (
        (("link in place", "/bin/app"), ("link in place", "/etc/new")),
        {},
        {"bin/app": Link(b"nowhere"), "etc/new": Link(b"nowhere")},
    ),
    "a FIFO in the place of a placed file": ((("pipe in place", "/bin/app"),), {}, {"bin/app": Special()}),
    "a directory above is deleted": (
        (("delete", "/bin"),),
        {"bin": AGAIN},
        {},
    ),
    "a directory above nothing old is deleted": ((("delete", "/etc"),), {"etc": None, "etc/hosts": None}, {}),
    "a directory above is replaced by a file": (
        (("file in place", "/bin"),),
        {"bin": AGAIN},
        {"bin": File(b"instead")},
    ),
    "a directory above is replaced by a link to nothing": (
        (("link in place", "/bin"),),
        {"bin": AGAIN},
        {"bin": Link(b"nowhere")},
    ),
    "a moved file is edited": ((("write", "/made/m"),), {"m": File(b"edited in place", 0o640)}, {}),
    "a moved file is replaced": ((("replace", "/made/m"),), {}, {"made/m": File(b"replaced")}),
    "a moved file is deleted": ((("delete", "/made/m"),), {}, {}),
    "a file is made where one was moved from": ((("file", "/m"),), {}, {"m": File(b"of others")}),
    "what nobody touched is edited": (
        (("write", "/etc/hosts"),),
        {"etc/hosts": File(b"edited in place")},
        {},
    ),
    "modes are changed": (
        (("mode", "/bin/app"), ("mode", "/made/m"), ("mode", "/etc")),
        {"m": File(b"moved", 0o711), "etc": Directory(0o711)},
        {},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_since_the_installation(row: str, ground: Path) -> None:
    done, different, set_aside = ROWS[row]
    ground.chmod(0o755)
    plant(GARDEN, ground)
    install(ground, *RECORDS)
    with umask(0o022):
        for what, path in done:
            assert Edit(what, path, "/nowhere").do(ground, ())

    told = go_back(ground)

    wanted = {**grown(GARDEN), **{split(path): node for path, node in different.items()}}
    assert seen(ground) == {path: node for path, node in wanted.items() if node is not None}
    lying = {split(path): node for path, node in set_aside.items()}
    above = {path[:depth]: Directory(0o755) for path in lying for depth in range(1, len(path))}
    aside = ground / ".spkg/aside"
    assert (seen(aside) if aside.exists() else {}) == {**above, **lying}
    assert {*map(split, told.set_aside)} == {*lying} - {
        path for path in lying for other in lying if path != other and path[: len(other)] == other
    }


def test_a_link_among_the_directories_above_is_refused_and_nothing_changes(ground: Path) -> None:
    plant(GARDEN, ground)
    install(ground, *RECORDS)
    (ground / "bin").rename(ground / "usr")
    (ground / "bin").symlink_to("usr")
    before = survey(ground, own=True)

    with pytest.raises(RefusedError) as caught:
        go_back(ground)

    assert str(caught.value) == "/bin is a symbolic link to a directory now, and /bin/app is below it"
    assert caught.value.hint == "put the directory back in the place of the link"
    assert survey(ground, own=True) == before


def test_what_is_set_aside_twice_gets_a_number(ground: Path) -> None:
    plant(GARDEN, ground)
    for octets in (b"first", b"second"):
        install(ground, *RECORDS, request=replace(ON_TRIAL, again=True))
        (ground / "bin/gone").write_bytes(octets)
        go_back(ground)

    assert (ground / ".spkg/aside/bin/gone").read_bytes() == b"first"
    assert (ground / ".spkg/aside/bin/gone.1").read_bytes() == b"second"
    assert (ground / "bin/gone").read_bytes() == b"removed"


def test_a_file_that_got_its_name_back_stays_as_it_is(ground: Path) -> None:
    # Once a bug: it was set aside, under a second name.
    plant(GARDEN, ground)
    install(ground, *RECORDS)
    (ground / "m").hardlink_to(ground / "made/m")

    told = go_back(ground)

    assert seen(ground) == grown(GARDEN)
    assert told.set_aside == ()
    assert (ground / "m").stat().st_nlink == 1


@pytest.mark.parametrize("what", ["file in place", "link in place"])
def test_directories_are_made_again_below_what_was_set_aside(what: str, ground: Path) -> None:
    # Once a bug: what was in the way was looked into, as if it were a directory.
    garden = at(a=Directory(0o755), a__b=Directory(0o755), a__b__c=File(b"removed", 0o640))
    plant(garden, ground)
    install(ground, Remove(path=RootPath.of("/a/b/c")))
    Edit(what, "/a", "/nowhere").do(ground, ())

    told = go_back(ground)

    assert seen(ground) == grown(garden)
    assert told.set_aside == ("/a",)
    assert told.changes == (
        {"action": "set-aside", "path": "/a", "place": "/.spkg/aside/a"},
        {"action": "make-directory", "path": "/a"},
        {"action": "make-directory", "path": "/a/b"},
        {"action": "restore", "path": "/a/b/c"},
    )


# What is kept and noted.


def test_a_boot_counts_once_and_that_of_the_installation_does_not(ground: Path) -> None:
    install(ground, *RECORDS)
    left = []

    for boot in ("the boot of the installation", "1", "1", "2", "2", "3"):
        with Root(ground) as root:
            trial, gone = boot_in(root, Boot(identity=boot, seconds=1.0), when="later")
        assert (trial is None, gone) == (False, None)
        left.append(trial and trial.boots_left)
    with Root(ground) as root:
        trial, gone = boot_in(root, Boot(identity="4", seconds=1.0), when="later")

    assert left == [3, 2, 2, 1, 1, 0]
    assert trial is None
    assert gone is not None
    assert seen(ground) == {}


def test_room_is_reserved_for_going_back_and_again_after_a_boot_took_it(ground: Path) -> None:
    install(ground, *RECORDS)
    reserve = ground / ".spkg/kept/reserve"

    files = [*reserve.iterdir()]

    assert len(files) == RESERVE_INODES
    assert sum(file.stat().st_size for file in files) >= RESERVE
    rmtree(reserve)
    with Root(ground) as root:
        recover_in(root)
    assert len([*reserve.iterdir()]) == RESERVE_INODES


def test_what_was_rolled_back_is_refused_until_it_is_wanted_again(ground: Path) -> None:
    install(ground, *RECORDS)
    package = go_back(ground).package

    with Root(ground) as root:
        assert installed_packages(root) == ()
        assert [(one.package, one.when, one.by) for one in rolled_back_packages(root)] == [
            (package, "later", Trigger.COMMAND)
        ]
        assert [one.event.value for one in events(root)] == ["applied", "rolled-back"]
    with pytest.raises(RefusedError, match="this package was rolled back at later") as caught:
        install(ground, *RECORDS)
    assert caught.value.reason == ROLLED_BACK
    install(ground, *RECORDS, request=replace(ON_TRIAL, again=True))
    with Root(ground) as root:
        assert rolled_back_packages(root) == ()


def test_an_installation_in_place_that_had_stopped_is_unfinished_again(ground: Path) -> None:
    stopped = Checkpoint(package="ab" * 32, command=3, state=InstallationState.RECOVERABLE, failed=True)
    with Root(ground) as root, working_in(root):
        save_checkpoint(root, stopped)
    install(ground, *RECORDS)
    with Root(ground) as root:
        assert load_checkpoint(root) is None

    go_back(ground)

    with Root(ground) as root:
        assert load_checkpoint(root) == stopped


def test_without_a_trial_there_is_nothing_to_go_back_to(ground: Path) -> None:
    install(ground, *RECORDS)
    with Root(ground) as root:
        done = confirm_in(root, when="later", committing=lambda: None)
        assert done.package == installed_packages(root)[0].package
        assert confirm_in(root, when="later", committing=lambda: None).package is None
        assert [one.event.value for one in events(root)] == ["applied", "confirmed"]

    for work in (go_back, preview):
        with pytest.raises(RefusedError, match="there is nothing to go back to") as caught:
            work(ground)
        assert caught.value.reason == NOTHING_KEPT
    assert not (ground / ".spkg/kept").exists()


def _over_mounts(ground: Path) -> None:
    told = []
    for number, where in enumerate(("bin", "bin/app", "made/deep/mine", "tree")):
        root = ground / str(number)
        root.mkdir()
        plant(GARDEN, root)
        install(root, *RECORDS)
        point = root / where
        if where == "bin/app":
            point.unlink()
        point.mkdir(parents=True, exist_ok=True)
        mount_memory(point)
        before = survey(root, own=True)
        with pytest.raises(RefusedError) as caught:
            go_back(root)
        assert survey(root, own=True) == before
        told.append(str(caught.value))
        unmount(point)
        go_back(root)
    assert told == [
        "/bin is a mount now, and /bin/app is below it",
        "/bin/app is a mount point now, or has one below it",
        "/made is a mount point now, or has one below it",
        "/tree is a mount point now, or has one below it",
    ]


def test_a_mount_in_the_way_is_refused_and_nothing_changes(ground: Path) -> None:
    isolated(_over_mounts, ground)
