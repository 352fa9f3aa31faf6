"""Plans: what each command changes in a tree, what is refused, what it costs; against a tree in a dict."""

import copy
import dataclasses
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from spkg.device import Device, LinkPolicy
from spkg.errors import NO_ROOM, RefusedError
from spkg.format.commands import (
    Add,
    AddVersioned,
    Description,
    End,
    Extract,
    ExtractVersioned,
    FileModes,
    Format,
    Move,
    MoveVersioned,
    PayloadCommand,
    Reboot,
    Record,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
    UnknownCommand,
    Version,
)
from spkg.format.modes import ModeRule
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.install.effects import DeleteEntry, Effect, MakeDirectory, PutFile
from spkg.install.effects import MoveEntry as Moved
from spkg.install.plan import Plan, plan_installation
from spkg.install.room import OVERHEAD, OWN_TEXTS, TEXT
from spkg.install.root_tree import EntryKind, TreeEntry
from spkg.install.tree_path import Parts, split
from spkg.verify.signatures import TrustedPackage, verify_package
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read
from tests.support.memory_tree import DIRECTORY, FILE, LINK, SPACIOUS, Memory, tree

OTHER: Final = TreeEntry(kind=EntryKind.OTHER)


def trusted(*records: Record, payload: bytes = CONTENTS) -> TrustedPackage:
    package = read(Draft(records=records, payload=payload, signers=()).encode())
    return verify_package(package, policy(unsafe_allow_unsigned=True), at=AT)


def planned(where: Memory, *records: Record, device: Device | None = None, payload: bytes = CONTENTS) -> Plan:
    return plan_installation(trusted(*records, payload=payload), device, where)


def effects(where: Memory, *records: Record, device: Device | None = None) -> tuple[Effect, ...]:
    return planned(where, *records, device=device).effects


def refused(where: Memory, *records: Record, device: Device | None = None) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        planned(where, *records, device=device)
    return caught.value


def refusal(where: Memory, *records: Record, device: Device | None = None) -> str:
    """Return what a refusal says, without its place: where that is has claims of its own."""
    return str(refused(where, *records, device=device)).partition(": ")[2]


def versioned(path: str, kind: type[PayloadCommand] = ExtractVersioned) -> PayloadCommand:
    return kind(path=VersionedPath.of(path), hash=file("/x").hash, file_offset=0, file_length=len(CONTENTS))


def remove(path: str) -> Remove:
    return Remove(path=RootPath.of(path))


def remove_versioned(path: str) -> RemoveVersioned:
    return RemoveVersioned(path=VersionedPath.of(path))


def remove_tree(path: str) -> RemoveSubTree:
    return RemoveSubTree(path=TreePath.of(path))


def move(source: str, destination: str) -> Move:
    return Move(source_path=RootPath.of(source), destination_path=RootPath.of(destination))


def move_versioned(source: str, destination: str) -> MoveVersioned:
    return MoveVersioned(source_path=VersionedPath.of(source), destination_path=VersionedPath.of(destination))


def put(path: str, number: int = 0, *, replaces: EntryKind | None = None, mode: int = 0o644) -> PutFile:
    """Return the effect of a file; who replaces a file gets its owner."""
    owner = (0, 0) if replaces is EntryKind.FILE else None
    return PutFile(path=split(path), file=number, mode=mode, owner=owner, replaces=replaces)


def gone(path: str, kind: EntryKind = EntryKind.FILE) -> DeleteEntry:
    return DeleteEntry(path=split(path), kind=kind)


def moved(source: str, path: str, replaces: EntryKind | None = None) -> Moved:
    return Moved(source=split(source), path=split(path), replaces=replaces)


def made(path: str, replaces: EntryKind | None = None) -> MakeDirectory:
    return MakeDirectory(path=split(path), replaces=replaces)


# E.4.3: extract and add.


@pytest.mark.parametrize("kind", [Extract, Add])
def test_a_file_that_is_not_there_is_put(kind: type[PayloadCommand]) -> None:
    assert effects(tree("bin/"), file("/bin/app", kind=kind)) == (put("/bin/app"),)


def test_extract_replaces_a_file_and_add_does_not() -> None:
    assert effects(tree("app"), file("app")) == (put("/app", replaces=EntryKind.FILE),)
    assert effects(tree("app"), file("app", kind=Add)) == ()


def test_a_link_is_replaced_by_extract_and_is_there_for_add() -> None:
    where = Memory({(b"app",): LINK})

    assert effects(where, file("app")) == (put("/app", replaces=EntryKind.LINK),)
    assert effects(where, file("app", kind=Add)) == ()
    assert where.calls["target"] == 0


@pytest.mark.parametrize(
    ("record", "section"),
    [
        (file("/dev/mtd.001"), "E.4.3"),
        (versioned("/dev/mtd.001"), "E.4.3"),
        (move("/f", "/dev/mtd.001"), "E.4.5"),
        (move_versioned("/v.001", "/dev/mtd.001"), "E.4.5"),
    ],
)
@pytest.mark.parametrize("in_place", [False, True])
def test_a_device_is_not_replaced_by_a_file(record: Record, section: str, *, in_place: bool) -> None:
    where = tree("dev/", "f", "v.001")
    where.entries[(b"dev", b"mtd.001")] = OTHER

    with pytest.raises(RefusedError) as caught:
        plan_installation(trusted(record), None, where, in_place=in_place)

    problem = "/dev/mtd.001 is a special file (device, FIFO or socket), expected a file"
    assert (caught.value.problem, caught.value.field) == (problem, "command[0]")
    assert caught.value.section == section
    assert caught.value.hint == "a package that means it removes the special file first"


def test_a_device_is_there_for_add_and_can_be_removed_or_moved_away_before() -> None:
    where = Memory({(b"app",): OTHER, (b"tty",): OTHER})

    assert effects(where, file("app", kind=Add)) == ()
    assert effects(where, remove("app"), file("app")) == (put("/app", replaces=EntryKind.OTHER),)
    assert effects(where, move("app", "old"), file("app")) == (put("/app"), moved("/app", "/old"))
    assert effects(where, move("app", "app")) == ()


@pytest.mark.parametrize("kind", [Extract, Add])
def test_missing_directories_are_made(kind: type[PayloadCommand]) -> None:
    assert effects(tree("usr/"), file("/usr/local/bin/app", kind=kind)) == (
        made("/usr/local"),
        made("/usr/local/bin"),
        put("/usr/local/bin/app"),
    )


def test_a_directory_is_made_once_however_many_files_are_in_it() -> None:
    assert effects(tree(), file("new/b"), file("new/a"), file("new/sub/c")) == (
        made("/new"),
        put("/new/a", 1),
        put("/new/b", 0),
        made("/new/sub"),
        put("/new/sub/c", 2),
    )


def test_extract_versioned_removes_all_versions_before() -> None:
    where = tree("app.001", "app.002", "app.cfg", "app.conf", "app", "apps.001", "xapp.001", "sub/app.001")

    assert effects(where, versioned("app.003")) == (
        gone("/app.001"),
        gone("/app.002"),
        replace(put("/app.003"), owner=(0, 0)),
        gone("/app.cfg"),
    )


def test_extract_versioned_replaces_the_version_that_is_there() -> None:
    assert effects(tree("app.001", "app.002"), versioned("app.002")) == (
        gone("/app.001"),
        put("/app.002", replaces=EntryKind.FILE),
    )


def test_add_versioned_wants_no_version_at_all() -> None:
    assert effects(tree("app.001"), versioned("app.002", AddVersioned)) == ()
    assert effects(tree("app.002"), versioned("app.002", AddVersioned)) == ()
    assert effects(tree("app.conf", "apps.002"), versioned("app.002", AddVersioned)) == (put("/app.002"),)


def test_versions_are_regular_files_of_the_same_directory() -> None:
    where = tree("app.001/", "app.002 -> x", "sub/app.003")
    where.entries[(b"app.004",)] = OTHER

    assert effects(where, versioned("app.005")) == (put("/app.005"),)
    assert effects(where, versioned("app.005", AddVersioned)) == (put("/app.005"),)
    assert effects(where, remove_versioned("app.005")) == ()
    assert effects(where, move_versioned("app.005", "app.006")) == ()


def test_a_link_under_the_very_name_is_there_for_add_versioned_and_replaced_by_extract_versioned() -> None:
    where = tree("app.001 -> x")

    assert effects(where, versioned("app.001", AddVersioned)) == ()
    assert effects(where, versioned("app.001")) == (put("/app.001", replaces=EntryKind.LINK),)


def test_the_extension_of_a_version_is_three_characters_not_octets() -> None:
    where = Memory(
        {
            ("app.äöü".encode(),): FILE,
            (b"app.\xff\xfe\xfd",): FILE,
            ("app.äö".encode(),): FILE,
            (b"app.",): FILE,
        }
    )

    assert effects(where, remove_versioned("app.001")) == (gone("/app.äöü"),)


def test_the_base_is_compared_with_all_before_the_last_dot() -> None:
    where = tree("a.b.001", "b.001", ".001")

    assert effects(where, remove_versioned("b.001")) == (gone("/b.001"),)


# E.4.4: remove.


@pytest.mark.parametrize(
    ("what", "kind"), [(FILE, EntryKind.FILE), (LINK, EntryKind.LINK), (OTHER, EntryKind.OTHER)], ids=str
)
def test_remove_takes_what_is_no_directory(what: TreeEntry, kind: EntryKind) -> None:
    assert effects(Memory({(b"x",): what}), remove("/x")) == (gone("/x", kind),)


@pytest.mark.parametrize(
    "record",
    [
        remove("/x"),
        remove("/none/x"),
        remove_versioned("/x.001"),
        remove_versioned("/none/x.001"),
        remove_tree("/x"),
        remove_tree("/none/x/"),
        move("/x", "/y"),
        move("/none/x", "/new/y"),
        move_versioned("/x.001", "/y.001"),
        move_versioned("/none/x.001", "/new/y.001"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_is_missing_is_neither_removed_nor_moved_nor_told(record: Record) -> None:
    assert effects(tree("kept"), record) == ()


def test_remove_versioned_takes_all_versions() -> None:
    where = tree("d/app.001", "d/app.xyz", "d/app", "d/app.conf", "app.001")

    assert effects(where, remove_versioned("/d/app.777")) == (gone("/d/app.001"), gone("/d/app.xyz"))


@pytest.mark.parametrize("path", ["/www", "/www/"])
def test_remove_sub_tree_takes_a_directory_with_all_below_it(path: str) -> None:
    assert effects(tree("www/a/b", "w"), remove_tree(path)) == (gone("/www", EntryKind.DIRECTORY),)


@pytest.mark.parametrize(
    ("what", "kind"), [(FILE, EntryKind.FILE), (LINK, EntryKind.LINK), (OTHER, EntryKind.OTHER)], ids=str
)
def test_remove_sub_tree_takes_whatever_stands_there(what: TreeEntry, kind: EntryKind) -> None:
    assert effects(Memory({(b"x",): what}), remove_tree("/x")) == (gone("/x", kind),)


@pytest.mark.parametrize("record", [remove_tree("/"), Format()])
def test_the_root_is_cleared_but_for_the_installer_s_own_directory(record: Record) -> None:
    where = tree("bin/app", "etc/", "init", "lib -> usr/lib", ".spkg/installed")
    where.entries[(b"tty",)] = OTHER

    assert effects(where, record) == (
        gone("/bin", EntryKind.DIRECTORY),
        gone("/etc", EntryKind.DIRECTORY),
        gone("/init"),
        gone("/lib", EntryKind.LINK),
        gone("/tty", EntryKind.OTHER),
    )


def test_what_was_cleared_is_overwritten_by_the_files_of_the_package() -> None:
    where = tree("bin/app", "bin/old", "init")

    assert effects(where, file("init"), Format(), file("bin/app"), file("etc/new"), file("init")) == (
        made("/bin", EntryKind.DIRECTORY),
        put("/bin/app", 1),
        made("/etc"),
        put("/etc/new", 2),
        PutFile(path=(b"init",), file=3, mode=0o644, owner=None, replaces=EntryKind.FILE),
    )


def test_format_leaves_nothing_of_what_came_before_it() -> None:
    assert effects(tree(), file("a/b"), Format()) == ()


# E.4.5: move.


@pytest.mark.parametrize("what", [FILE, LINK, OTHER], ids=lambda one: one.kind.value)
def test_move_renames(what: TreeEntry) -> None:
    assert effects(Memory({(b"a",): what}), move("a", "b")) == (moved("/a", "/b"),)


def test_move_makes_the_directory_and_overwrites_what_is_there() -> None:
    assert effects(tree("a"), move("a", "new/a")) == (made("/new"), moved("/a", "/new/a"))
    assert effects(tree("a", "d/b"), move("a", "d/b")) == (moved("/a", "/d/b", EntryKind.FILE),)
    assert effects(tree("a", "b -> x"), move("a", "b")) == (moved("/a", "/b", EntryKind.LINK),)


@pytest.mark.parametrize("destination", ["a", "/a"])
def test_a_file_that_moves_to_itself_stays(destination: str) -> None:
    assert effects(tree("a"), move("a", destination)) == ()


def test_of_several_versions_the_lowest_decimal_one_moves_and_the_others_go() -> None:
    where = tree("app.010", "app.009", "app.abc", "app.1x0", "app.cfg")

    assert effects(where, move_versioned("app.777", "old.001")) == (
        gone("/app.010"),
        gone("/app.1x0"),
        gone("/app.abc"),
        gone("/app.cfg"),
        moved("/app.009", "/old.001"),
    )


def test_the_lowest_decimal_version_moves_also_where_another_is_first_in_octet_order() -> None:
    assert effects(tree("k.0ab", "k.100", "k.200"), move_versioned("k.777", "m.001")) == (
        gone("/k.0ab"),
        gone("/k.200"),
        moved("/k.100", "/m.001"),
    )


def test_digits_of_other_scripts_are_not_decimal() -> None:
    where = Memory({("app.١٢٣".encode(),): FILE, (b"app.999",): FILE, ("app.²²²".encode(),): FILE})

    assert moved("/app.999", "/old.001") in effects(where, move_versioned("app.777", "old.001"))


def test_without_a_decimal_version_the_first_in_octet_order_moves() -> None:
    assert effects(tree("app.cfg", "app.CFG", "app.bak"), move_versioned("app.777", "old.001")) == (
        gone("/app.bak"),
        gone("/app.cfg"),
        moved("/app.CFG", "/old.001"),
    )


def test_the_destination_may_be_one_of_the_versions_that_go() -> None:
    assert effects(tree("app.001", "app.002", "app.003"), move_versioned("app.001", "app.003")) == (
        gone("/app.002"),
        moved("/app.001", "/app.003", EntryKind.FILE),
    )


def test_the_destination_may_be_the_version_itself_and_the_others_go() -> None:
    assert effects(tree("app.001", "app.002"), move_versioned("app.777", "app.001")) == (gone("/app.002"),)


def test_the_destination_is_as_written_beside_other_versions_of_its_base() -> None:
    where = tree("app.001", "old.001", "old.002")

    assert effects(where, move_versioned("app.001", "old.003")) == (moved("/app.001", "/old.003"),)


# One after the other: a later command sees what an earlier one did.


def test_two_files_change_places() -> None:
    where = tree("a", "b")

    assert effects(where, move("a", "t"), move("b", "a"), move("t", "b")) == (
        moved("/b", "/a"),
        moved("/a", "/b"),
    )


def test_a_file_that_comes_back_has_not_moved() -> None:
    assert effects(tree("a"), move("a", "b"), move("b", "a")) == ()


def test_a_file_is_saved_from_a_tree_that_goes() -> None:
    where = tree("www/keep", "www/x")

    assert effects(where, move("www/keep", "keep"), remove_tree("www")) == (
        moved("/www/keep", "/keep"),
        gone("/www", EntryKind.DIRECTORY),
    )


def test_a_file_is_saved_and_put_back_under_the_path_it_had() -> None:
    where = tree("www/keep", "www/x")

    assert effects(where, move("www/keep", "t"), remove_tree("www"), move("t", "www/keep")) == (
        made("/www", EntryKind.DIRECTORY),
        moved("/www/keep", "/www/keep"),
    )


def test_a_file_is_saved_from_format() -> None:
    """Format clears all that is there, saved or not."""
    where = tree("d/keep")

    assert effects(where, move("d/keep", "keep"), Format()) == (gone("/d", EntryKind.DIRECTORY),)


def test_a_tree_makes_way_for_a_file_and_a_file_for_a_tree() -> None:
    assert effects(tree("d/x"), remove_tree("d"), file("d")) == (put("/d", replaces=EntryKind.DIRECTORY),)
    assert effects(tree("f"), remove("f"), file("f/x")) == (made("/f", EntryKind.FILE), put("/f/x"))
    assert effects(tree("d/x"), move("d/x", "t"), remove_tree("d"), move("t", "d")) == (
        moved("/d/x", "/d", EntryKind.DIRECTORY),
    )
    assert effects(tree("f"), move("f", "g"), file("f/x")) == (
        made("/f"),
        put("/f/x"),
        moved("/f", "/g"),
    )


def test_the_last_of_several_files_for_one_path_is_put() -> None:
    assert effects(tree(), file("a"), file("a"), file("/a")) == (put("/a", 2),)


def test_add_sees_what_was_extracted_and_what_was_removed() -> None:
    assert effects(tree(), file("a"), file("a", kind=Add)) == (put("/a", 0),)
    assert effects(tree("a"), remove("a"), file("a", kind=Add)) == (
        PutFile(path=(b"a",), file=0, mode=0o644, owner=None, replaces=EntryKind.FILE),
    )
    assert effects(tree("a"), move("a", "b"), file("a", kind=Add)) == (put("/a"), moved("/a", "/b"))


def test_versions_are_those_at_the_time_of_the_command() -> None:
    where = tree("app.001")

    assert effects(where, versioned("app.002"), versioned("app.003"), versioned("app.004", AddVersioned)) == (
        gone("/app.001"),
        replace(put("/app.003", 1), owner=(0, 0)),
    )
    assert effects(where, remove_versioned("app.001"), versioned("app.002", AddVersioned)) == (
        gone("/app.001"),
        put("/app.002"),
    )
    assert effects(where, move("app.001", "x"), versioned("app.002", AddVersioned)) == (
        put("/app.002"),
        moved("/app.001", "/x"),
    )
    assert effects(where, file("app.000"), move_versioned("app.777", "old.001")) == (
        gone("/app.001"),
        put("/old.001"),
    )


def test_a_payload_s_file_that_moves_is_put_where_it_ends() -> None:
    assert effects(tree("b"), file("a"), move("a", "b")) == (
        PutFile(path=(b"b",), file=0, mode=0o644, owner=None, replaces=EntryKind.FILE),
    )


def test_what_is_put_and_removed_again_is_nothing() -> None:
    assert effects(tree(), file("d/a"), remove_tree("d")) == ()
    assert effects(tree("a"), file("a"), remove("a")) == (gone("/a"),)


def test_a_directory_that_was_made_stays_without_its_file() -> None:
    assert effects(tree(), file("d/a"), remove("d/a")) == (made("/d"),)


def test_a_new_directory_can_be_removed_as_a_tree_and_made_again() -> None:
    where = tree("d/a", "d/b")

    assert effects(where, remove_tree("d"), file("d/a"), remove_tree("d"), file("d/c")) == (
        made("/d", EntryKind.DIRECTORY),
        put("/d/c", 1),
    )


# What can't be done in this tree.


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (file("d"), "/d is a directory, expected a file [TR-069 E.4.3]"),
        (file("d", kind=Add), "/d is a directory, expected a file [TR-069 E.4.3]"),
        (versioned("v.001"), "/v.001 is a directory, expected a file [TR-069 E.4.3]"),
        (versioned("v.001", AddVersioned), "/v.001 is a directory, expected a file [TR-069 E.4.3]"),
        (remove("/d"), "/d is a directory, this command removes only files [TR-069 E.4.4]"),
        (move("d", "x"), "/d is a directory, expected a file [TR-069 E.4.5]"),
        (move("f", "d"), "/d is a directory, expected a file [TR-069 E.4.5]"),
        (move_versioned("app.001", "v.001"), "/v.001 is a directory, expected a file [TR-069 E.4.5]"),
        (file("f/x"), "/f/x leads through /f, a file [TR-069 E.4.3]"),
        (file("d/f/x/y"), "/d/f/x/y leads through /d/f, a file [TR-069 E.4.3]"),
        (remove("f/x"), "/f/x leads through /f, a file [TR-069 E.4.4]"),
        (remove_tree("f/x/"), "/f/x leads through /f, a file [TR-069 E.4.4]"),
        (remove_versioned("f/x.001"), "/f/x.001 leads through /f, a file [TR-069 E.4.4]"),
        (move("f/x", "y"), "/f/x leads through /f, a file [TR-069 E.4.5]"),
        (move("f", "f/x"), "/f/x leads through /f, a file [TR-069 E.4.5]"),
        (move("d/f", "s/x"), "/s/x leads through /s, a special file [TR-069 E.4.5]"),
        (file("l/x"), "/l/x leads through /l, a symbolic link [TR-069 E.4.3]"),
        (file("dangling/x"), "/dangling/x leads through /dangling, a symbolic link [TR-069 E.4.3]"),
        (remove("l/f"), "/l/f leads through /l, a symbolic link [TR-069 E.4.4]"),
        (remove_tree("l/f"), "/l/f leads through /l, a symbolic link [TR-069 E.4.4]"),
        (move("l/f", "x"), "/l/f leads through /l, a symbolic link [TR-069 E.4.5]"),
        (move("f", "l/x"), "/l/x leads through /l, a symbolic link [TR-069 E.4.5]"),
    ],
)
def test_what_can_not_be_done_is_refused_with_its_command(record: Record, problem: str) -> None:
    where = tree("d/f", "f", "v.001/x", "app.001", "l -> d", "dangling -> nothing")
    where.entries[(b"s",)] = OTHER

    exc = refused(where, Description(text="x"), record)

    assert str(exc) == f"offset 0x0021: command[1]: {problem}"
    assert (exc.reason, exc.hint) == ("refused", None)


def test_a_path_through_what_an_earlier_command_put_is_refused() -> None:
    assert refusal(tree(), file("a"), file("a/b")) == (
        "command[1]: /a/b leads through /a, a file [TR-069 E.4.3]"
    )


def test_a_path_through_what_an_earlier_command_removed_is_none_any_more() -> None:
    assert effects(tree("l -> /x"), remove("l"), file("l/x")) == (made("/l", EntryKind.LINK), put("/l/x"))


# Symbolic links among the parents, where the device follows them in the root.

FOLLOWING: Final = Device(links=LinkPolicy.FOLLOW_IN_ROOT)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("usr/lib", "/usr/lib/x"),
        ("/usr/lib", "/usr/lib/x"),
        ("//usr/./lib/", "/usr/lib/x"),
        (".", "/x"),
        ("/", "/x"),
        ("..", "/x"),
        ("../../../usr/lib", "/usr/lib/x"),
        ("/../usr/lib", "/usr/lib/x"),
        ("usr/../usr/lib/../lib", "/usr/lib/x"),
        ("usr/back/lib", "/usr/lib/x"),
        ("usr/up/lib", "/usr/lib/x"),
        ("usr/up/../usr/up/back/lib", "/usr/lib/x"),
        ("usr/lib/real", "/usr/x"),
        ("usr/lib/real/lib", "/usr/lib/x"),
    ],
)
def test_a_link_is_followed_as_if_the_root_were_the_root_of_all(target: str, path: str) -> None:
    where = tree("usr/lib/", "usr/back -> /usr", "usr/up -> ../usr", "usr/lib/real -> ..", f"l -> {target}")

    assert effects(where, file("l/x"), device=FOLLOWING) == (put(path),)


def test_a_link_far_down_starts_from_its_own_directory() -> None:
    where = tree("a/b/l -> ../c", "a/c/", "c/")

    assert effects(where, file("a/b/l/x"), device=FOLLOWING) == (put("/a/c/x"),)


def test_after_a_link_the_way_back_is_that_of_the_place_it_leads_to() -> None:
    """Not by the spelling: ``..`` behind a link is above where the link leads to."""
    where = tree("a/l -> /b/c", "b/c/", "b/d/", "m -> a/l/../d")

    assert effects(where, file("m/x"), device=FOLLOWING) == (put("/b/d/x"),)


def test_a_link_that_leads_nowhere_has_its_directories_made() -> None:
    where = tree("l -> var/new")

    assert effects(where, file("l/x"), device=FOLLOWING) == (
        made("/var"),
        made("/var/new"),
        put("/var/new/x"),
    )
    assert effects(where, remove("l/x"), device=FOLLOWING) == ()
    assert effects(where, move("l/x", "y"), device=FOLLOWING) == ()


def test_two_spellings_of_a_path_are_one_path() -> None:
    where = tree("l -> d", "d/a.001")

    assert effects(where, file("d/x"), file("l/x"), device=FOLLOWING) == (put("/d/x", 1),)
    assert effects(where, move("d/a.001", "l/a.001"), device=FOLLOWING) == ()
    assert effects(where, remove_versioned("l/a.777"), device=FOLLOWING) == (gone("/d/a.001"),)


def test_the_last_part_is_never_followed() -> None:
    where = tree("l -> d", "d/")

    assert effects(where, file("l"), device=FOLLOWING) == (put("/l", replaces=EntryKind.LINK),)
    assert effects(where, remove_tree("l/"), device=FOLLOWING) == (gone("/l", EntryKind.LINK),)
    assert effects(where, move("l", "m"), device=FOLLOWING) == (moved("/l", "/m"),)


def test_a_link_that_was_moved_leads_from_where_it_is() -> None:
    where = tree("a/l -> sub", "a/sub/", "b/sub/")

    assert effects(where, move("a/l", "b/l"), file("b/l/x"), device=FOLLOWING) == (
        moved("/a/l", "/b/l"),
        put("/b/sub/x"),
    )


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("f", "/l/x leads through /f, a file"),
        ("f/y", "/l/x leads through /f, a file"),
        ("l", "/l/x leads through more than 40 symbolic links"),
        ("m", "/l/x leads through more than 40 symbolic links"),
        (".spkg", "/.spkg is the installer's own directory"),
        ("d/../.spkg/txn", "/.spkg is the installer's own directory"),
        ("mnt", "/l/x leads into /mnt, a mount point"),
    ],
)
def test_a_link_that_leads_where_nothing_can_be_done_is_refused(target: str, problem: str) -> None:
    where = tree(f"l -> {target}", "m -> l", "f", "d/", ".spkg/txn/", "mnt/x/", mounts=frozenset({(b"mnt",)}))

    assert refusal(where, file("l/x"), device=FOLLOWING) == f"command[0]: {problem} [TR-069 E.4.3]"


@pytest.mark.parametrize("target", ["/", "d/..", "."])
def test_a_link_does_not_help_to_name_the_installer_s_own_directory(target: str) -> None:
    where = tree(f"l -> {target}", "d/", ".spkg/")

    for record in (file("l/.spkg/x"), remove_tree("l/.spkg"), move("l/.spkg", "y"), file("l/.spkg")):
        problem = refusal(where, record, device=FOLLOWING)
        assert problem.partition(" [")[0] == "command[0]: /.spkg is the installer's own directory"


def test_forty_links_are_followed_and_one_more_is_not() -> None:
    chain = [f"l{number} -> l{number + 1}" for number in range(1, 41)]

    assert effects(tree(*chain, "l41/"), file("l1/x"), device=FOLLOWING) == (put("/l41/x"),)
    assert refusal(tree("l0 -> l1", *chain, "l41/"), file("l0/x"), device=FOLLOWING) == (
        "command[0]: /l0/x leads through more than 40 symbolic links [TR-069 E.4.3]"
    )


def test_a_link_can_not_lead_a_path_to_a_directory_as_its_file() -> None:
    where = tree("l -> d", "d/sub/")

    assert (
        refusal(where, file("l/sub"), device=FOLLOWING)
        == "command[0]: /l/sub is a directory, expected a file [TR-069 E.4.3]"
    )


# The installer's own directory, whatever it is called.


def test_the_installer_s_own_directory_is_known_by_more_than_its_name() -> None:
    where = tree(".SPKG/installed", "x")
    where.entries[(b".SPKG",)] = TreeEntry(kind=EntryKind.DIRECTORY, own=True)

    assert refusal(where, file(".SPKG/x")) == (
        "command[0]: /.SPKG is the installer's own directory [TR-069 E.4.3]"
    )
    assert refusal(where, remove_tree(".SPKG")) == (
        "command[0]: /.SPKG is the installer's own directory [TR-069 E.4.4]"
    )
    assert effects(where, Format()) == (gone("/x"),)


def test_elsewhere_the_name_is_like_any_other() -> None:
    assert effects(tree("d/"), file("d/.spkg/x")) == (made("/d/.spkg"), put("/d/.spkg/x"))


# Mounts.


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (file("d/mnt/x"), "/d/mnt/x leads into /d/mnt, a mount point [TR-069 E.4.3]"),
        (
            file("d/mnt/x", kind=Add),
            "/d/mnt/x leads into /d/mnt, a mount point [TR-069 E.4.3]",
        ),
        (remove("d/mnt/none"), "/d/mnt/none leads into /d/mnt, a mount point [TR-069 E.4.4]"),
        (
            remove_versioned("d/mnt/x.001"),
            "/d/mnt/x.001 leads into /d/mnt, a mount point [TR-069 E.4.4]",
        ),
        (remove_tree("d/mnt"), "/d/mnt is a mount point, or has one below it [TR-069 E.4.4]"),
        (remove_tree("d"), "/d is a mount point, or has one below it [TR-069 E.4.4]"),
        (remove_tree("/"), "/d is a mount point, or has one below it [TR-069 E.4.4]"),
        (Format(), "/d is a mount point, or has one below it [TR-069 E.4.9]"),
        (file("d/file"), "/d/file is a mount point, or has one below it [TR-069 E.4.3]"),
        (remove("d/file"), "/d/file is a mount point, or has one below it [TR-069 E.4.4]"),
        (move("d/file", "x"), "/d/file is a mount point, or has one below it [TR-069 E.4.5]"),
        (move("f", "d/file"), "/d/file is a mount point, or has one below it [TR-069 E.4.5]"),
        (versioned("d/v.002"), "/d/v.001 is a mount point, or has one below it [TR-069 E.4.3]"),
        (remove_versioned("d/v.002"), "/d/v.001 is a mount point, or has one below it [TR-069 E.4.4]"),
        (move_versioned("d/v.002", "x.001"), "/d/v.001 is a mount point, or has one below it [TR-069 E.4.5]"),
    ],
)
def test_nothing_at_a_mount_or_below_or_above_is_changed(record: Record, problem: str) -> None:
    mounts = frozenset({(b"d", b"mnt"), (b"d", b"file"), (b"d", b"v.001")})
    where = tree("d/mnt/x", "d/file", "d/v.001", "d/a", "f", mounts=mounts)

    assert refusal(where, record) == f"command[0]: {problem}"
    assert where.calls["entry"] < 10


@pytest.mark.parametrize(
    "record", [file("sub/x"), file("sub/new/x"), remove("sub/x"), remove_tree("sub/x"), move("f", "sub/x")]
)
def test_nothing_in_a_subvolume_is_changed(record: Record) -> None:
    where = tree("sub/x", "f")
    where.entries[(b"sub",)] = replace(DIRECTORY, elsewhere=True)

    exc = refused(where, record)

    assert exc.problem.endswith(" leads into /sub, a subvolume or file system of its own")
    assert exc.hint == "mount it at its place, and give it as a root of its own"
    assert effects(where, remove_tree("sub")) == (gone("/sub", EntryKind.DIRECTORY),)


def test_beside_a_mount_everything_goes_on() -> None:
    where = tree("d/mnt/x", "d/a", "d/file", mounts=frozenset({(b"d", b"mnt"), (b"d", b"file")}))

    assert effects(where, file("d/b"), remove("d/a"), file("d/file", kind=Add)) == (gone("/d/a"), put("/d/b"))


# File systems to which two names are one that differ in case alone.


def test_two_names_that_are_one_to_the_file_system_are_refused() -> None:
    assert effects(tree(), file("App"), file("app")) == (put("/App", 0), put("/app", 1))
    assert refusal(tree(folds=True), file("App"), file("app")) == (
        "command[1]: /app and /App differ only in case and are the same on this file system [TR-069 E.4.3]"
    )
    assert refusal(tree(folds=True), file("Straße/x"), file("STRASSE/y")) == (
        "command[1]: /STRASSE and /Straße differ only in case and are the same on this file system"
        " [TR-069 E.4.3]"
    )


def test_a_file_of_another_spelling_is_replaced_where_case_is_folded() -> None:
    assert effects(tree("APP", folds=True), file("app")) == (put("/app", replaces=EntryKind.FILE),)


@pytest.mark.parametrize("record", [versioned("app.002"), remove_versioned("app.002")])
def test_the_spelling_on_the_disk_is_no_second_name(record: Record) -> None:
    assert effects(tree("APP.002", folds=True), file("app.002"), record)


def test_what_is_gone_clashes_with_nothing() -> None:
    where = tree("ETC/passwd", folds=True)

    assert effects(where, Format(), file("etc/passwd"))


# Modes and owners.

RULES: Final = (ModeRule(pattern="/bin/*", mode=0o755), ModeRule(pattern="/bin/app", mode=0o700))
WIDENED: Final = "/bin/app: mode {} of the package is wider than the device's {}"
THERE: Final = TreeEntry(kind=EntryKind.FILE, mode=0o4711, owner=(7, 8))


@pytest.mark.parametrize(
    ("stated", "rules", "before", "file_mode", "mode", "notes"),
    [
        (0o600, RULES, THERE, 0o640, 0o600, ()),
        (0, RULES, THERE, 0o640, 0o755, ()),
        (0, (), THERE, 0o640, 0o711, ("/bin/app: bits of mode 4711 above 0777 were dropped",)),
        (0, (), None, 0o640, 0o640, ()),
        (0, (), None, None, 0o644, ()),
        (0, (), LINK, 0o640, 0o640, ()),
        (0, (), replace(THERE, mode=0o711), None, 0o711, ()),
        (0, (), replace(THERE, mode=0), None, 0, ()),
        (0o644, (), replace(THERE, mode=0o600), None, 0o644, (WIDENED.format("0644", "0600"),)),
        (0o755, RULES[1:], replace(THERE, mode=0o777), None, 0o755, (WIDENED.format("0755", "0700"),)),
        (0o640, (), replace(THERE, mode=0o4444), None, 0o640, ()),
        (0o644, (), LINK, 0o600, 0o644, ()),
        (0, (ModeRule(pattern="/BIN/*", mode=0o700),), None, None, 0o644, ()),
    ],
    ids=[
        "the package's own",
        "the first rule of the device",
        "that of the replaced file",
        "the device's",
        "0644",
        "a link has none",
        "no bits above",
        "none at all",
        "wider than that of the replaced file",
        "wider than the rule of the device",
        "not wider for group and others",
        "a link, and the device's for all files, are not widened",
        "patterns know case",
    ],
)
def test_a_mode_comes_from_the_first_of_five_that_says(  # noqa: PLR0917 - the columns of a table
    stated: int,
    rules: tuple[ModeRule, ...],
    before: TreeEntry | None,
    file_mode: int | None,
    mode: int,
    notes: tuple[str, ...],
) -> None:
    device = Device(modes=rules) if file_mode is None else Device(modes=rules, file_mode=file_mode)
    where = tree("bin/")
    if before is not None:
        where.entries[(b"bin", b"app")] = before

    made_plan = planned(where, FileModes(modes=(stated,)), file("bin/app"), device=device)

    assert made_plan.effects == (
        PutFile(
            path=(b"bin", b"app"),
            file=0,
            mode=mode,
            owner=None if before is None or before is LINK else (7, 8),
            replaces=None if before is None else before.kind,
        ),
    )
    assert tuple(map(str, made_plan.warnings)) == notes


def test_without_a_device_a_file_gets_0644_or_what_it_had() -> None:
    where = tree("b")
    where.entries[(b"b",)] = replace(FILE, mode=0o750)

    assert effects(where, file("a"), file("b")) == (
        put("/a", 0),
        put("/b", 1, mode=0o750, replaces=EntryKind.FILE),
    )


def test_each_of_the_package_s_modes_is_for_its_own_file() -> None:
    found = effects(tree(), FileModes(modes=(0o755, 0, 0o600)), file("a"), file("b"), file("c"))

    assert found == (put("/a", 0, mode=0o755), put("/b", 1), put("/c", 2, mode=0o600))


def test_a_version_has_the_mode_and_owner_of_the_version_that_would_move() -> None:
    where = tree("app.009", "app.010", "app.abc")
    where.entries[(b"app.009",)] = replace(THERE, mode=0o2750)

    made_plan = planned(where, versioned("app.011"))

    assert PutFile(path=(b"app.011",), file=0, mode=0o750, owner=(7, 8), replaces=None) in made_plan.effects
    assert tuple(map(str, made_plan.warnings)) == ("/app.011: bits of mode 2750 above 0777 were dropped",)


def test_the_mode_of_a_file_that_moved_is_that_of_the_file_that_replaces_it() -> None:
    where = tree("b")
    where.entries[(b"a",)] = replace(THERE, mode=0o750)

    assert effects(where, move("a", "b"), file("b")) == (
        gone("/a"),
        PutFile(path=(b"b",), file=0, mode=0o750, owner=(7, 8), replaces=EntryKind.FILE),
    )


def test_rules_are_for_where_the_file_really_goes() -> None:
    device = Device(links=LinkPolicy.FOLLOW_IN_ROOT, modes=(ModeRule(pattern="/usr/bin/*", mode=0o755),))

    found = effects(tree("bin -> usr/bin", "usr/bin/"), file("bin/app"), device=device)

    assert found == (put("/usr/bin/app", mode=0o755),)


# Room.


def test_a_package_that_just_fits_is_planned_and_one_octet_less_is_too_little() -> None:
    needed = (OVERHEAD + 2 + 1) * 4096  # their directory may take one more
    records = (file("a"), file("b"))

    assert effects(tree(space=replace(SPACIOUS, free=needed)), *records) == (put("/a", 0), put("/b", 1))
    exc = refused(tree(space=replace(SPACIOUS, free=needed - 1)), *records)
    assert str(exc) == f"{needed} bytes are needed, {needed - 1} are free"
    assert exc.reason == NO_ROOM


def test_a_package_needs_as_many_inodes_as_it_makes_things() -> None:
    records = (file("new/sub/a"), file("b"))
    needed = OVERHEAD + 4

    assert len(effects(tree(space=replace(SPACIOUS, inodes=needed)), *records)) == 4
    exc = refused(tree(space=replace(SPACIOUS, inodes=needed - 1)), *records)
    assert str(exc) == f"{needed} inodes are needed, {needed - 1} are free"
    assert exc.reason == NO_ROOM
    assert len(effects(tree(space=replace(SPACIOUS, inodes=None)), *records)) == 4


def test_directories_need_room_too() -> None:
    free = (OVERHEAD + 1 + 31) * 4096
    path = "/".join(["d"] * 31) + "/x"

    exc = refused(tree(space=replace(SPACIOUS, free=free)), file(path))

    assert exc.reason == NO_ROOM


def test_a_device_takes_no_more_than_it_says() -> None:
    device = Device(max_extracted=2 * len(CONTENTS))

    assert len(effects(tree(), file("a"), file("b"), device=device)) == 2
    exc = refused(tree(), file("a"), file("b"), file("c"), device=device)
    assert str(exc) == f"the files have {3 * len(CONTENTS)} bytes, the device accepts {2 * len(CONTENTS)}"
    assert exc.reason == NO_ROOM


def test_one_range_of_the_payload_counts_for_every_file_that_has_it() -> None:
    """A hundred octets of commands can ask for the same gibibyte a thousand times."""
    large = replace(file("a"), file_length=1 << 20)
    records = tuple(replace(large, path=RootPath.of(f"f{number}")) for number in range(300))

    with pytest.raises(RefusedError, match="bytes are needed") as caught:
        planned(tree(space=replace(SPACIOUS, free=299 << 20)), *records, payload=bytes(1 << 20))

    texts = 2 * -(-300 * (TEXT + 4 * 4) // 4096)  # so much do journal and record say
    own = (OWN_TEXTS + texts) * 4096
    assert caught.value.problem == f"{(300 << 20) + own} bytes are needed, {299 << 20} are free"


def test_what_is_superseded_or_added_in_vain_needs_no_room() -> None:
    device = Device(max_extracted=len(CONTENTS))

    found = effects(tree("b"), file("a"), file("a"), file("b", kind=Add), device=device)

    assert found == (put("/a", 1),)


# What else is in a plan.


def test_unknown_commands_are_skipped_and_named() -> None:
    records = (UnknownCommand(number=24, value=b"x"), file("a"), UnknownCommand(number=1000, value=b""))

    made_plan = planned(tree(), *records)

    assert [(command.index, command.record) for command in made_plan.skipped_unknown] == [
        (0, records[0]),
        (2, records[2]),
    ]
    assert made_plan.effects == (put("/a"),)


def test_unknown_commands_are_refused_where_that_is_asked() -> None:
    package = trusted(file("a"), UnknownCommand(number=1000, value=b"script"))

    with pytest.raises(RefusedError) as caught:
        plan_installation(package, None, tree(), refuse_unknown=True)

    assert caught.value.problem == "unknown command type 1000"
    assert (caught.value.field, caught.value.section) == ("command[1]", "E.4")


@pytest.mark.parametrize(("records", "required"), [((Reboot(),), True), ((file("a"), End()), False)])
def test_a_reboot_is_told_and_not_made(records: tuple[Record, ...], required: object) -> None:
    assert planned(tree(), *records).reboot_required is required


def test_what_lies_behind_end_is_not_looked_at() -> None:
    assert effects(tree(), file("a"), End(), file("b")) == (put("/a"),)


def test_commands_that_are_about_no_file_change_nothing() -> None:
    where = tree("a")

    made_plan = planned(where, Version(text="1"), Description(text="x"), End())

    assert (made_plan.effects, made_plan.warnings, made_plan.skipped_unknown) == ((), (), ())
    assert where.calls == Counter(room=1)


def test_a_tree_that_can_not_be_looked_at_is_an_error_of_its_own() -> None:
    class Broken(Memory):
        def entry(self, path: Parts) -> TreeEntry | None:
            raise OSError(5, "Input/output error", path[-1])

    with pytest.raises(OSError, match="Input/output error"):
        effects(Broken({}), file("a"))


def test_the_files_that_appear_are_the_puts_of_the_plan() -> None:
    made_plan = planned(tree("x"), file("a"), remove("x"), file("b"))

    assert made_plan.puts == (put("/a", 0), put("/b", 1))


# Cost.


def many(count: int) -> dict[str, tuple[Record, ...]]:
    """Lists of commands, each of which is to take a time that grows with its length alone."""
    return {
        "files": tuple(file(f"d/{number:04}") for number in range(count)),
        "removals": tuple(remove(f"d/{number:04}") for number in range(count)),
        "versions": tuple(versioned(f"d/v{number:04}.001") for number in range(count)),
        "one base": tuple(versioned(f"d/app.{number % 1000:03}") for number in range(count)),
        "moves": tuple(move(f"d/{number:04}", f"e/{number:04}") for number in range(count)),
        "back and forth": tuple(
            move("d/0000", "e/x") if number % 2 else move("e/x", "d/0000") for number in range(count)
        ),
        "formats": tuple(file("d/x") if number % 2 else Format() for number in range(count)),
    }


def calls(kind: str, count: int) -> int:
    where = tree("d/", "e/", *(f"d/{number:04}" for number in range(100)))
    planned(where, *many(count)[kind])
    return where.calls.total()


@pytest.mark.parametrize("kind", many(0))
def test_planning_takes_a_time_that_grows_with_the_list_alone(kind: str) -> None:
    count = 230 if kind == "files" else 100
    few, lots = calls(kind, count), calls(kind, 4 * count)

    assert lots <= 4 * few + 110


def test_a_list_of_over_a_thousand_commands_is_planned() -> None:
    assert len(effects(tree(), *(file(f"{number:x}") for number in range(1040)))) == 1040
    assert len(effects(tree("d/"), *many(2400)["removals"])) == 0


# Only plan() makes a plan.


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (copy.copy, "a Plan can't be copied or pickled"),
        (copy.deepcopy, "a Plan can't be copied or pickled"),
        (pickle.dumps, "a Plan can't be copied or pickled"),
        (lambda made_plan: replace(made_plan, effects=()), "InitVar 'seal' must be specified with replace()"),
        (
            lambda made_plan: replace(made_plan, effects=(), seal=object()),
            "a Plan can only be made by spkg.plan_installation()",
        ),
        (
            lambda made_plan: Plan(
                **{one.name: getattr(made_plan, one.name) for one in dataclasses.fields(made_plan)}, seal=None
            ),
            "a Plan can only be made by spkg.plan_installation()",
        ),
    ],
)
def test_only_plan_makes_a_plan(make: Callable[[Plan], object], problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make(planned(tree(), file("a")))

    assert str(caught.value) == problem


def test_a_plan_can_not_be_changed() -> None:
    made_plan: Any = planned(tree(), file("a"))

    with pytest.raises(dataclasses.FrozenInstanceError):
        made_plan.effects = ()
