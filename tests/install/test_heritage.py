"""New entries get what their directory or the replaced file gives them, and what is lost is told."""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from spkg.common.findings import Finding
from spkg.device import Device
from spkg.format.commands import End, FileModes, Record
from spkg.install.applied import Applied, ApplyRequest
from spkg.install.apply import apply, preview
from spkg.install.effects import MakeDirectory, PutFile
from spkg.install.heritage import ACCESS_LIST, DEFAULT_LIST, Heritage, access_list
from spkg.install.plan import plan_installation
from spkg.install.root import Root
from spkg.install.root_tree import EntryKind, TreeEntry
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read
from tests.support.memory_tree import tree

GROUP: Final = 4321
CAPABILITY: Final = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service, as the kernel keeps it."""


def listed(*entries: tuple[int, int, int]) -> bytes:
    """Return an access control list: tag, permissions and identifier of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY: Final = 0xFFFFFFFF
LISTS: Final = {
    "minimal": listed((0x01, 7, NOBODY), (0x04, 5, NOBODY), (0x20, 0, NOBODY)),
    "named": listed(
        (0x01, 7, NOBODY),
        (0x02, 6, 1234),
        (0x04, 7, NOBODY),
        (0x08, 5, 4321),
        (0x10, 7, NOBODY),
        (0x20, 4, NOBODY),
    ),
    "wide": listed(
        (0x01, 7, NOBODY), (0x02, 7, 1234), (0x04, 7, NOBODY), (0x10, 7, NOBODY), (0x20, 7, NOBODY)
    ),
}


def facts(path: Path) -> dict[str, object]:
    """Return what an entry has of its directory."""
    found = path.stat()
    said: dict[str, object] = {"mode": f"{stat.S_IMODE(found.st_mode):04o}", "group": found.st_gid}
    for name in (ACCESS_LIST, DEFAULT_LIST):
        if name in os.listxattr(path):
            said[name] = os.getxattr(path, name)
    return said


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root with a directory, on a file system that knows access control lists."""
    (made := tmp_path / "root").mkdir()
    (made / "d").mkdir()
    (made / "d").chmod(0o755)
    return made


def applied(place: Path, *records: Record, in_place: bool = False, dry: bool = False) -> Applied:
    (package := place.with_name("package")).write_bytes(Draft(records=(*records, End())).encode())
    with open_package(package) as (opened, payload), Root(place) as root:
        trusted = verify_package(opened, policy(), at=AT)
        request = ApplyRequest(device=None, in_place=in_place, again=True)
        return (preview if dry else apply)(trusted, payload, root, request)


def made_by_the_kernel(directory: Path, work: Callable[[], object]) -> None:
    mask = os.umask(0)
    try:
        work()
    finally:
        os.umask(mask)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("bits", [0o755, 0o2775])
@pytest.mark.parametrize("name", [None, *LISTS])
def test_new_entries_are_as_if_they_were_made_in_their_directory(
    place: Path, name: str | None, bits: int, *, in_place: bool
) -> None:
    directory = place / "d"
    if os.geteuid() == 0:
        os.chown(directory, -1, GROUP)
    directory.chmod(bits)
    if name is not None:
        os.setxattr(directory, DEFAULT_LIST, LISTS[name])

    applied(place, file("/d/file"), file("/d/new/deep/file"), in_place=in_place)

    def by_hand() -> None:
        for path in ("hand", "other/deep/hand"):
            for above in reversed((directory / path).parents):
                if directory in above.parents and not above.exists():
                    above.mkdir(mode=0o755)
            os.close(os.open(directory / path, os.O_CREAT | os.O_WRONLY, 0o644))

    made_by_the_kernel(directory, by_hand)
    for ours, theirs in (
        ("file", "hand"),
        ("new", "other"),
        ("new/deep", "other/deep"),
        ("new/deep/file", "other/deep/hand"),
    ):
        assert facts(directory / ours) == facts(directory / theirs), ours
    assert (directory / "new/deep/file").read_bytes() == CONTENTS


def test_the_installer_s_own_directory_inherits_nothing(place: Path) -> None:
    (place / "d" / "old").write_text("old")
    (place / "d" / "old").chmod(0o600)
    place.chmod(0o2755)
    os.setxattr(place, DEFAULT_LIST, LISTS["wide"])

    applied(place, file("/d/old"), file("/d/new"))

    assert os.listxattr(place / ".spkg") == []
    assert stat.S_IMODE((place / ".spkg").stat().st_mode) == 0o700
    assert [os.listxattr(place / "d" / name) for name in ("old", "new")] == [[], []]
    assert facts(place / "d/old")["mode"] == "0600"


@pytest.mark.parametrize("in_place", [False, True])
def test_what_an_older_release_let_the_directory_inherit_is_not_handed_on(
    place: Path, *, in_place: bool
) -> None:
    own = place / ".spkg"
    own.mkdir(mode=0o700)
    os.setxattr(own, DEFAULT_LIST, LISTS["wide"])

    applied(place, FileModes(modes=(0o640, 0)), file("/d/stated"), file("/d/not/stated"), in_place=in_place)

    assert [os.listxattr(path) for path in (own, place / "d/stated", place / "d/not/stated")] == [[], [], []]
    assert [os.listxattr(place / "d/not"), facts(place / "d/stated")["mode"]] == [[], "0640"]


def test_a_file_that_was_made_with_a_list_loses_it_with_its_mode(place: Path) -> None:
    os.setxattr(place / "d", DEFAULT_LIST, LISTS["wide"])

    with Root(place) as root:
        made = root.create((b"d", b"new"))
        made.set_mode(0o640, None)
        made.close()

        with pytest.raises(ValueError, match="directories of the tree keep their lists"):
            root.disown((b"d",))

    assert facts(place / "d/new") == {"mode": "0640", "group": (place / "d/new").stat().st_gid}


def test_a_mode_that_is_stated_is_the_whole_mode_and_the_group_is_that_of_the_directory() -> None:
    where = tree("d/")
    where.heritages[(b"d",)] = Heritage(group=GROUP, default_list=LISTS["named"])
    package = read(Draft(records=(FileModes(modes=(0o640, 0)), file("/d/a"), file("/d/b"), End())).encode())
    trusted = verify_package(package, policy(), at=AT)

    puts = plan_installation(trusted, None, where).puts

    assert [put.heritage for put in puts] == [
        Heritage(group=GROUP),
        Heritage(group=GROUP, default_list=LISTS["named"]),
    ]


def test_a_replaced_file_keeps_its_own_group_and_a_directory_takes_its_parent_s() -> None:
    where = tree("d/a")
    where.heritages[(b"d",)] = Heritage(group=GROUP)
    package = read(Draft(records=(file("/d/a"), file("/d/new/b"), End())).encode())
    trusted = verify_package(package, policy(), at=AT)

    effects = plan_installation(trusted, Device(), where).effects

    found = {
        effect.path: effect.heritage for effect in effects if isinstance(effect, PutFile | MakeDirectory)
    }
    assert found == {
        (b"d", b"a"): Heritage(),
        (b"d", b"new"): Heritage(group=GROUP),
        (b"d", b"new", b"b"): Heritage(group=GROUP),
    }


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dry", [False, True])
def test_attributes_of_a_replaced_file_that_are_lost_are_told(
    place: Path, *, dry: bool, in_place: bool
) -> None:
    for name in ("ping", "plain", "kept"):
        (place / "d" / name).write_text("old")
    os.setxattr(place / "d/ping", "user.origin", b"factory")
    os.setxattr(place / "d/kept", "user.origin", b"factory")
    names = ["user.origin"]
    if os.geteuid() == 0:
        os.setxattr(place / "d/ping", "security.capability", CAPABILITY)
        names.insert(0, "security.capability")

    done = applied(place, file("/d/ping"), file("/d/plain"), file("/d/new"), in_place=in_place, dry=dry)

    message = f"the new file will not have the replaced one's {', '.join(names)}"
    assert done.warnings == (Finding(code="attributes-lost", message=message, path="/d/ping"),)
    assert (os.listxattr(place / "d/ping") == []) is not dry
    assert os.listxattr(place / "d/kept") == ["user.origin"]


def test_many_files_that_lose_the_same_draw_one_warning() -> None:
    where = tree("a", "b", "c", "d", "e")
    labels = ("security.evm", "security.ima", "security.selinux")
    for name in (b"a", b"c", b"e"):
        where.attributed[name,] = (*labels, "user.origin")
    where.attributed[b"b",] = (*labels,)
    where.attributed[b"d",] = ("security.capability", "user.origin")
    records = [file(f"/{name}") for name in "abcde"]
    trusted = verify_package(read(Draft(records=(*records, End())).encode()), policy(), at=AT)

    found = plan_installation(trusted, None, where).warnings

    told = "the new file will not have the replaced one's"
    assert found == (
        Finding(code="attributes-lost", message=f"{told} user.origin, and 2 more lose the same", path="/a"),
        Finding(code="attributes-lost", message=f"{told} security.capability, user.origin", path="/d"),
    )


SECRET: Final = listed(
    (0x01, 6, NOBODY), (0x02, 6, 1000), (0x04, 0, NOBODY), (0x10, 6, NOBODY), (0x20, 0, NOBODY)
)
"""A list of a file that one more user can use, and its group can't: its mode is 0660."""


@pytest.mark.parametrize("in_place", [False, True])
def test_a_replaced_file_keeps_its_access_control_list(place: Path, *, in_place: bool) -> None:
    (old := place / "d/secret").write_text("old")
    os.setxattr(old, ACCESS_LIST, SECRET)
    before = facts(old)

    done = applied(place, file("/d/secret"), in_place=in_place)

    assert before[ACCESS_LIST] == SECRET
    assert (facts(old), old.read_bytes()) == (before, CONTENTS)
    assert done.warnings == ()


def test_a_mode_that_is_stated_takes_the_place_of_the_list(place: Path) -> None:
    (old := place / "d/secret").write_text("old")
    os.setxattr(old, ACCESS_LIST, SECRET)

    done = applied(place, FileModes(modes=(0o640,)), file("/d/secret"))

    assert facts(old) == {"mode": "0640", "group": old.stat().st_gid}
    message = "mode 0640 of the package is wider than the device's 0600"
    lost = f"the new file will not have the replaced one's {ACCESS_LIST}"
    assert done.warnings == (
        Finding(code="mode-widened", message=message, path="/d/secret"),
        Finding(code="attributes-lost", message=lost, path="/d/secret"),
    )


@pytest.mark.parametrize(
    ("entries", "mode"),
    [
        (((0x02, 6, NOBODY), (0x04, 4, NOBODY), (0x10, 6, NOBODY)), 0o640),
        (((0x04, 7, NOBODY), (0x08, 6, NOBODY), (0x10, 6, NOBODY)), 0o660),
    ],
)
def test_a_list_that_can_not_be_kept_gives_the_group_no_more_than_before(
    entries: tuple[tuple[int, int, int], ...], mode: int
) -> None:
    where = tree("a")
    where.entries[b"a",] = TreeEntry(kind=EntryKind.FILE, mode=0o660)
    where.lists[b"a",] = listed((0x01, 6, NOBODY), *entries, (0x20, 0, NOBODY))
    trusted = verify_package(read(Draft(records=(file("/a"), End())).encode()), policy(), at=AT)

    (put,) = plan_installation(trusted, None, where).puts

    assert (put.mode, put.heritage) == (mode, Heritage())


def test_a_file_that_is_put_twice_keeps_the_list_of_the_first_one() -> None:
    where = tree("a")
    where.lists[b"a",] = SECRET
    trusted = verify_package(read(Draft(records=(file("/a"), file("/a"), End())).encode()), policy(), at=AT)

    (put,) = plan_installation(trusted, None, where).puts

    assert put.heritage == Heritage(own_list=SECRET)


def test_no_permission_beyond_the_mode_is_given() -> None:
    found = access_list(LISTS["wide"], 0o640)

    assert found == listed(
        (0x01, 6, NOBODY), (0x02, 7, 1234), (0x04, 7, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)
    )
