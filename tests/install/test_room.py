"""What an installation takes of the file system is counted before it begins, for both modes, and right."""

import errno
import io
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.errors import NO_ROOM, FailedError, RefusedError, SpkgError
from spkg.format.commands import End, Format, PayloadCommand, Record, Remove, RemoveSubTree
from spkg.format.package import Package
from spkg.format.paths import RootPath, TreePath
from spkg.install import apply as applying
from spkg.install import in_place as inplace
from spkg.install import plan as planning
from spkg.install.applied import ApplyRequest
from spkg.install.plan import plan_installation
from spkg.install.room import IN_PLACE_OVERHEAD, OVERHEAD, TEXT
from spkg.install.root import Root
from spkg.install.root_tree import Room
from spkg.install.status import RootState, root_state
from spkg.install.upper_layer import TMPFS, UpperLayer, upper_layer
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, policy
from tests.support.memory_tree import SPACIOUS, Memory, tree
from tests.support.naive_installer import PAYLOAD, interpret, piece, seen
from tests.support.namespaces import isolated, make_read_only, mount_layers, mount_memory, unmount
from tests.support.sampling import few

pytestmark = pytest.mark.part("power")
OLD: Final = ("old/a", "old/b", "old/deep/c", "replaced", "gone")
CHANGES: Final[dict[str, tuple[Record, ...]]] = {
    "new files": (*(piece(f"/new/{name}", 0) for name in "abcdefgh"), End()),
    "replaced": (piece("/replaced", 0), piece("/old/a", 1), piece("/old/deep/c", 3), End()),
    "one after another": (
        Remove(path=RootPath.of("/gone")),
        piece("/x", 0),
        RemoveSubTree(path=TreePath.of("/old")),
        *(piece(f"/old/{name}", 1) for name in "abcd"),
        piece("/replaced", 3),
        End(),
    ),
    "all anew": (Format(), *(piece(f"/{name}", 1) for name in "abcdef"), End()),
}


def outcome(work: Callable[[], object]) -> str:
    """Return what becomes of an installation, in a word."""
    try:
        work()
    except SpkgError as exc:
        refused = isinstance(exc, RefusedError) and exc.reason == NO_ROOM
        return "refused" if refused else f"{exc.STATUS}: {exc}"
    return "done"


def planted(root: Path) -> None:
    root.mkdir()
    for name in OLD:
        (place := root / name).parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes(5000))
        place.chmod(0o644)


def tried(package: Path, root: Path, *, in_place: bool) -> tuple[str, str]:
    """Return what the dry run says of an installation, and what the real one does."""
    request = ApplyRequest(device=None, in_place=in_place)

    def run(work: Callable[..., object]) -> str:
        with open_package(package) as (opened, payload), Root(root) as there:
            trusted = verify_package(opened, policy(), at=AT)
            return outcome(lambda: work(trusted, payload, there, request))

    return run(applying.preview), run(applying.apply)


def sweep(tmp_path: Path, name: str, sizes: list[str], *, in_place: bool, layered: bool) -> None:
    """Install on file systems of all sizes; what does not fit is refused, and what fits is done."""
    records = CHANGES[name]
    (package := tmp_path / "package").write_bytes(Draft(records=records, payload=PAYLOAD).encode())
    (below := tmp_path / "below").mkdir()
    found: list[str] = []
    for size in sizes:
        mount_memory(below, size)
        place = below
        if layered:
            (tmp_path / "lower").mkdir(exist_ok=True)
            mount_memory(tmp_path / "lower")
            planted(tmp_path / "lower/root")
            (place := tmp_path / "place").mkdir(exist_ok=True)
            for one in ("upper", "work"):
                (below / one).mkdir()
            (below / "lower").symlink_to(tmp_path / "lower")
            mount_layers(below, place)
        else:
            planted(place / "root")
        before = seen(place / "root")

        dry, real = tried(package, place / "root", in_place=in_place)

        assert dry == real, f"{size}: the dry run says {dry}, the real one {real}"
        if real == "refused":
            assert seen(place / "root") == before, size
        else:
            assert real == "done", f"{size}: {real}"
            assert seen(place / "root") == interpret(records, PAYLOAD, before), size
        with Root(place / "root") as there:
            assert root_state(there)[0] is RootState.CLEAN
        found.append(real)
        if layered:
            unmount(place)
            unmount(tmp_path / "lower")
        unmount(below)
        if found[-3:] == ["done"] * 3:
            break
    assert found[0] == "refused"
    assert found[-1] == "done"
    assert found == sorted(found, reverse=True)  # once it fits, more room does no harm


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "one after another" else pytest.mark.proof) for name in CHANGES],
)
@pytest.mark.parametrize("in_place", [False, True], ids=["all-or-nothing", "in-place"])
@pytest.mark.parametrize("layered", few([False, True], every=2, part="power"), ids=["tmpfs", "overlayfs"])
@pytest.mark.parametrize("what", ["inodes", "octets"])
def test_what_does_not_fit_is_refused_before_anything_and_what_fits_is_installed(
    name: str, what: str, tmp_path: Path, *, in_place: bool, layered: bool
) -> None:
    isolated(_sweep, tmp_path, name, what, in_place, layered)


def _sweep(tmp_path: Path, name: str, what: str, in_place: bool, layered: bool) -> None:  # noqa: FBT001
    first, step, unit = (8, 1, "") if what == "inodes" else (16, 8, "k")
    option = "nr_inodes" if what == "inodes" else "size"
    first += 0 if layered else 2 if what == "inodes" else len(OLD) * 8  # what is planted fits
    sizes = [f"{option}={number}{unit}" for number in range(first, first + 60 * step, step)]
    sweep(tmp_path, name, sizes, in_place=in_place, layered=layered)


WHITEOUTS: Final = 400


def _lower_tree(room: Room) -> Memory:
    """Return an overlayfs with a directory of long names in its lower layer."""
    where = tree(*(f"www/{'n' * 100}{number:05d}" for number in range(WHITEOUTS)), layered=True, space=room)
    where.entries = {path: replace(entry, lower=True) for path, entry in where.entries.items()}
    return where


def planned(where: Memory, *records: Record, in_place: bool) -> str:
    """Return what becomes of planning, in a word."""
    payload = PAYLOAD if any(isinstance(record, PayloadCommand) for record in records) else b""
    with io.BytesIO(Draft(records=records, payload=payload).encode()) as stream:
        trusted = verify_package(Package.read(stream), policy(), at=AT)
    return outcome(lambda: plan_installation(trusted, None, where, in_place=in_place))


@pytest.mark.parametrize("in_place", [False, True], ids=["all-or-nothing", "in-place"])
def test_what_notes_the_names_that_are_gone_from_a_lower_layer_is_counted(*, in_place: bool) -> None:
    records = (RemoveSubTree(path=TreePath.of("/www")), End())
    names = 2 * WHITEOUTS * 116 // 1024  # of a directory that was split, half may be empty
    room = replace(SPACIOUS, block=1024, free=names * 1024)

    assert planned(_lower_tree(room), *records, in_place=in_place) == "refused"
    more = replace(room, free=(names + OVERHEAD + 8) * 1024)
    assert planned(_lower_tree(more), *records, in_place=in_place) == "done"
    assert (
        planned(_lower_tree(replace(room, free=OVERHEAD * 2048, grows=False)), *records, in_place=in_place)
        == "done"
    )


@pytest.mark.parametrize("in_place", [False, True], ids=["all-or-nothing", "in-place"])
def test_what_is_gone_takes_an_inode_each_only_where_names_do(*, in_place: bool) -> None:
    records = (RemoveSubTree(path=TreePath.of("/www")), End())
    room = replace(SPACIOUS, inodes=WHITEOUTS)

    assert planned(_lower_tree(room), *records, in_place=in_place) == "done"
    assert planned(_lower_tree(replace(room, names_count=True)), *records, in_place=in_place) == "refused"


@pytest.mark.parametrize("in_place", [False, True], ids=["all-or-nothing", "in-place"])
def test_directories_that_grow_are_counted(*, in_place: bool) -> None:
    records = (*(piece(f"/{'n' * 200}{number}", 0) for number in range(100)), End())
    own = max(OVERHEAD, IN_PLACE_OVERHEAD)
    texts = 2 * 100 * (TEXT + 4 * 202)
    files, names = 100 * 4096, 2 * 100 * 212
    room = replace(SPACIOUS, free=own * 4096 + texts * (not in_place) + texts // 2 * in_place + files)

    assert planned(tree(space=room), *records, in_place=in_place) == "refused"
    assert (
        planned(tree(space=replace(room, free=(room.free or 0) + names + 8192)), *records, in_place=in_place)
        == "done"
    )


def test_in_place_the_record_of_what_changes_is_counted() -> None:
    old = [f"{number:04d}" for number in range(200)]
    records = (*(Remove(path=RootPath.of(name)) for name in old), End())
    room = replace(SPACIOUS, block=1024, free=20 * 1024)

    assert planned(tree(*old, space=room), *records, in_place=True) == "refused"
    assert planned(tree(*old, space=replace(room, free=40 * 1024)), *records, in_place=True) == "done"
    assert planned(tree(*old[:5], space=room), *records, in_place=True) == "done"


@pytest.mark.parametrize("in_place", [False, True], ids=["all-or-nothing", "in-place"])
def test_a_file_system_that_reports_no_size_has_room(*, in_place: bool) -> None:
    room = replace(SPACIOUS, size=None, free=None, inodes=None)
    records = (Remove(path=RootPath.of("/gone")), piece("/new", 0), End())

    assert planned(tree("gone", space=room), *records, in_place=in_place) == "done"


def _filled(tmp_path: Path) -> None:
    (package := tmp_path / "package").write_bytes(
        Draft(records=(piece("/a", 0), End()), payload=PAYLOAD).encode()
    )
    (place := tmp_path / "place").mkdir()
    mount_memory(place, "size=1m")
    (root := place / "root").mkdir()
    real = planning.plan_command

    def fill(*settings: Any) -> Any:
        with suppress(OSError), (place / "another").open("wb", buffering=0) as another:
            while True:
                another.write(bytes(4096))
        return real(*settings)

    setattr(inplace, "plan_command", fill)  # noqa: B010 - this process ends with the test
    with open_package(package) as (opened, payload), Root(root) as there:
        trusted = verify_package(opened, policy(), at=AT)
        with pytest.raises(FailedError, match="no space left on device"):
            applying.apply(trusted, payload, there, ApplyRequest(device=None, in_place=True))
        assert root_state(there)[0] is RootState.PARTIAL
    unmount(place)


def test_in_place_a_disk_that_others_fill_leaves_a_root_that_says_so(tmp_path: Path) -> None:
    isolated(_filled, tmp_path)


def _copied(tmp_path: Path) -> None:
    (below := tmp_path / "below").mkdir()
    (place := tmp_path / "place").mkdir()
    mount_memory(below)
    (below / "lower/d").mkdir(parents=True)
    (below / "lower/f").touch()
    mount_layers(below, place)
    real = os.utime

    def utime(*path: Any, ns: tuple[int, int] | None = None, **more: Any) -> None:
        if ns is not None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        real(*path, **more)

    setattr(os, "utime", utime)  # noqa: B010 - this process ends with the test
    with Root(place) as root:
        root.bring_up((b"d",))
        root.bring_up((b"f",))
    assert {path.name for path in (below / "upper").iterdir()} == {"d"}
    unmount(place)
    unmount(below)


def test_an_overlayfs_copies_a_directory_of_another_user_too(tmp_path: Path) -> None:
    isolated(_copied, tmp_path)


def test_an_upper_layer_that_this_user_can_not_search_is_one_that_can_not_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    mounts = [b"94 91 0:41 / / rw - overlay o rw,lowerdir=/l,upperdir=/,workdir=/w".split()]
    assert not upper_layer(mounts, ()).lacks(())
    monkeypatch.setattr(os, "open", denied)

    assert upper_layer(mounts, ()).lacks(())


@pytest.mark.parametrize(
    ("kind", "release", "counts"),
    [
        (0xEF53, "6.1.0-13-amd64", False),
        (0xEF53, "5.8.0", False),
        (0xEF53, "5.7.19", True),
        (0xEF53, "unknown", True),
        (0, "6.1.0", True),
        (TMPFS, "6.1.0", True),
    ],
)
def test_whiteouts_are_names_of_one_inode_where_that_is_known(
    kind: int, release: str, *, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "")))

    assert UpperLayer(b"/u", kind).names_count is counts
    assert UpperLayer(None, 0, takes=True).names_count is (release in {"5.7.19", "unknown"})


def _read_only(tmp_path: Path) -> None:
    (package := tmp_path / "package").write_bytes(
        Draft(records=(piece("/a", 0), End()), payload=PAYLOAD).encode()
    )
    (place := tmp_path / "place").mkdir()
    mount_memory(place)
    (fresh := place / "fresh").mkdir()
    (used := place / "used").mkdir()
    assert tried(package, used, in_place=False) == ("done", "done")
    make_read_only(place)

    for in_place in (False, True):
        told = "refused: the root is on a file system that is mounted read-only"
        assert tried(package, fresh, in_place=in_place) == (told, told)
        assert list(fresh.iterdir()) == []
        assert tried(package, used, in_place=in_place) == ("done", "done")  # it is installed already
    unmount(place)


def test_a_root_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    isolated(_read_only, tmp_path)
