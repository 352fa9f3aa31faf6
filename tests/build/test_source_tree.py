"""Trees: every file in the order of its octets, nothing left out in silence."""

import os
import socket
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.build.source_tree import MAX_LINKS_COPIED, TreeDirectory, TreeFile, TreeReport, walk_tree
from spkg.build.steps import TreeLinks, TreeStep
from spkg.common.obstacles import MOST_OBSTACLES
from spkg.errors import FormatError, HostError
from spkg.format.paths import RootPath, TreePath

HINT = 'exclude = ["/{}"] leaves it out'
LINK_HINT = f'{HINT}; links = "skip" leaves out all links, "copy" takes the files they lead to'


def make(root: Path, *names: str, links: Mapping[str, str] | None = None) -> Path:
    """Make files, directories (a slash behind them) and links below *root*."""
    root.mkdir(exist_ok=True)
    for name in names:
        place = root / name
        if name.endswith("/"):
            place.mkdir(parents=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(name.encode())
    for name, target in (links or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    return root


def walk(root: Path, path: str = "/", *exclude: str, links: TreeLinks = TreeLinks.ERROR) -> TreeReport:
    step = TreeStep(
        field="step[3]",
        path=TreePath.of(path),
        source=root,
        exclude=exclude,
        links=links,
        flags=0,
    )
    return walk_tree(step, "m.toml")


def refusal(root: Path, path: str = "/", *exclude: str, links: TreeLinks = TreeLinks.ERROR) -> FormatError:
    with pytest.raises(FormatError) as caught:
        walk(root, path, *exclude, links=links)
    return caught.value


def links_hint(*patterns: str) -> str:
    """Return the advice where links are in the way of a step with these patterns."""
    listed = ", ".join(f'"{pattern}"' for pattern in patterns)
    more = 'links = "skip" leaves out all links, "copy" takes the files they lead to'
    return f"exclude = [{listed}] leaves it out; {more}"


def advice(hint: str | None) -> list[str]:
    """Return the patterns that a hint advises, as a manifest would have them."""
    assert hint is not None
    patterns: list[str] = tomllib.loads(hint.partition(" leaves ")[0])["exclude"]
    return patterns


def taken(report: TreeReport) -> list[str]:
    return [str(one.path) for one in report.taken]


# Paths and their order


def test_a_report_says_what_was_taken_and_what_was_left(tmp_path: Path) -> None:
    root = make(
        tmp_path / "r",
        *("b", "a/x", "a/y.map", "a/z", "gone/deep/file", "empty/", "hollow/inner/", "only/m.map"),
        links={"a/link": "x", "zz": "nowhere"},
    )

    report = walk(root, "/www", "*.map", "/gone", "*.tmp", links=TreeLinks.SKIP)

    assert report == TreeReport(
        field="step[3]",
        taken=(
            TreeFile(path=RootPath(b"/www/a/x"), source=root / "a/x"),
            TreeFile(path=RootPath(b"/www/a/z"), source=root / "a/z"),
            TreeFile(path=RootPath(b"/www/b"), source=root / "b"),
        ),
        excluded=("a/y.map", "gone", "only/m.map"),
        skipped_links=("a/link", "zz"),
        copied_links=(),
        directories=(TreeDirectory(path="/www/a", mode=0o40755),),
        empty_directories=("empty", "hollow", "hollow/inner", "only"),
        unused_patterns=("*.tmp",),
    )


def test_files_are_taken_in_the_octet_order_of_their_paths(tmp_path: Path) -> None:
    names = ["a/b", "a-b", "a.b", "a0", "A", "ä", "Z/z", "a/a/a", "ￏ", "𐀀", "_", "10", "9"]
    root = make(tmp_path / "r", *names)

    found = taken(walk(root, "/"))

    assert found == sorted((f"/{name}" for name in names), key=str.encode)
    assert found.index("/a-b") < found.index("/a.b") < found.index("/a/a/a") < found.index("/a0")
    assert found.index("/ￏ") < found.index("/𐀀")  # UTF-16, and so some sorting, has them the other way


def test_the_order_is_not_that_in_which_the_files_were_made(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(40)]
    one = make(tmp_path / "one", *names)
    other = make(tmp_path / "other", *reversed(names))

    assert taken(walk(one)) == taken(walk(other)) == sorted(f"/{name}" for name in names)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/d/x"),
        ("/www", "/www/d/x"),
        ("/www/", "/www/d/x"),
        ("www", "www/d/x"),
        ("www/", "www/d/x"),
        ("/a/b c/ä", "/a/b c/ä/d/x"),
    ],
)
def test_files_go_below_the_path_of_the_step(tmp_path: Path, path: str, expected: str) -> None:
    root = make(tmp_path / "r", "d/x")

    assert taken(walk(root, path)) == [expected]


def test_an_empty_tree_takes_nothing(tmp_path: Path) -> None:
    assert walk(make(tmp_path / "r")) == TreeReport(
        field="step[3]",
        taken=(),
        excluded=(),
        skipped_links=(),
        copied_links=(),
        directories=(),
        empty_directories=(),
        unused_patterns=(),
    )


def test_the_source_itself_may_be_a_link_to_a_directory(tmp_path: Path) -> None:
    make(tmp_path / "build", "x")
    (tmp_path / "r").symlink_to("build")

    assert walk(tmp_path / "r").taken == (TreeFile(path=RootPath(b"/x"), source=tmp_path / "r/x"),)


def test_a_source_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        walk(tmp_path / "r")


def test_a_source_that_is_a_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("")

    with pytest.raises(NotADirectoryError):
        walk(tmp_path / "r")


# Patterns


@pytest.mark.parametrize(
    ("pattern", "excluded"),
    [
        ("*.map", ["a.map", "d/b.map", "d/e/c.map"]),
        ("d", ["d", "x/d"]),
        ("d/", ["d", "x/d"]),
        ("/d", ["d"]),
        ("/d/", ["d"]),
        ("x/d", ["x/d"]),
        ("d/*.map", ["d/b.map", "d/e/c.map"]),
        ("d/?.map", ["d/b.map"]),
        ("*/d", ["x/d"]),
        ("[ab].map", ["a.map", "d/b.map"]),
        ("/*.map", ["a.map", "d/b.map", "d/e/c.map"]),
        ("D", []),
        ("", []),
        ("/", []),
    ],
)
def test_a_pattern_matches_a_name_at_any_depth_or_with_a_slash_the_whole_path(
    tmp_path: Path, pattern: str, excluded: list[str]
) -> None:
    root = make(tmp_path / "r", "a.map", "d/b.map", "d/e/c.map", "x/d/f")

    report = walk(root, "/", pattern)

    assert list(report.excluded) == excluded
    assert report.unused_patterns == (() if excluded else (pattern,))


def test_what_is_excluded_may_be_anything(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "x", links={"link": "nowhere", "to-x": "x"})
    os.mkfifo(root / "pipe")

    report = walk(root, "/", "link", "to-*", "pipe")

    assert taken(report) == ["/x"]
    assert report.excluded == ("link", "pipe", "to-x")


def test_patterns_that_match_the_same_are_all_used(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "a.map")

    report = walk(root, "/", "*.map", "a*", "b*")

    assert report.excluded == ("a.map",)
    assert report.unused_patterns == ("b*",)


def test_below_a_directory_that_is_excluded_nothing_is_looked_at(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "d/x", "y", links={"d/link": "x"})

    report = walk(root, "/", "d", "x")

    assert taken(report) == ["/y"]
    assert report.excluded == ("d",)
    assert report.unused_patterns == ("x",)


# Links


def test_a_link_is_an_error_unless_the_step_says_otherwise(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "x", links={"d/link": "../x"})

    error = refusal(root)

    assert str(error) == f"m.toml: step[3].from: {root}/d/link: a symbolic link, which the format can't carry"
    assert error.hint == LINK_HINT.format("d/link")


@pytest.mark.parametrize("name", ["link", "d/link", "[a]", "a*", "what?", 'quo"te', "back\\slash", "ä"])
def test_who_follows_the_hint_gets_rid_of_the_link(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "r", "x", links={name: "x"})

    hint = refusal(root).hint

    assert walk(root, "/", *advice(hint)).excluded == (name,)


def test_the_hint_leaves_out_this_link_and_no_other_file_of_the_name(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "d/same", links={"same": "d/same"})

    hint = refusal(root).hint

    assert taken(walk(root, "/", *advice(hint))) == ["/d/same"]


@pytest.mark.parametrize("target", ["x", "nowhere", "/", "..", "/etc/passwd", "loop"])
def test_links_are_skipped_wherever_they_lead(tmp_path: Path, target: str) -> None:
    root = make(tmp_path / "r", "x", links={"loop": target})

    report = walk(root, links=TreeLinks.SKIP)

    assert taken(report) == ["/x"]
    assert report.skipped_links == ("loop",)
    assert report.copied_links == ()


def test_a_link_to_a_directory_is_never_walked_through(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "d/x", links={"link": "d"})

    assert taken(walk(root, links=TreeLinks.SKIP)) == ["/d/x"]


@pytest.mark.parametrize(
    ("path", "link", "target"),
    [
        ("/", "link", "d/x"),
        ("/", "d/link", "x"),
        ("/", "d/link", "./x"),
        ("/", "d/link", "../d//x"),
        ("/", "link", "/d/x"),
        ("/", "link", "../../d/x"),  # as on the device, where nothing is above the root
        ("/", "link", "/../d/x"),
        ("/www", "link", "/www/d/x"),
        ("/www", "d/link", "/www/d/x"),
        ("/www/", "link", "../www/d/x"),
        ("www", "link", "/www/d/x"),
        ("/a/b", "d/link", "../../../a/b/d/x"),
    ],
)
def test_a_link_is_copied_as_the_file_it_leads_to_on_the_device(
    tmp_path: Path, path: str, link: str, target: str
) -> None:
    root = make(tmp_path / "r", "d/x", links={link: target})

    report = walk(root, path, links=TreeLinks.COPY)

    prefix = path.rstrip("/")
    assert set(report.taken) == {
        TreeFile(path=RootPath.of(f"{prefix}/d/x"), source=root / "d/x"),
        TreeFile(path=RootPath.of(f"{prefix}/{link}"), source=root / "d/x"),
    }
    assert taken(report) == sorted(taken(report), key=str.encode)
    assert report.copied_links == (link,)
    assert report.skipped_links == ()


def test_links_are_followed_through_links_and_linked_directories(tmp_path: Path) -> None:
    root = make(
        tmp_path / "r",
        "real/x",
        links={"one": "two", "two": "linked/x", "linked": "/abs", "abs": "real", "real/up": "../linked/x"},
    )

    report = walk(root, "/", "linked", "abs", links=TreeLinks.COPY)

    assert [(str(one.path), one.source) for one in report.taken] == [
        ("/one", root / "real/x"),
        ("/real/up", root / "real/x"),
        ("/real/x", root / "real/x"),
        ("/two", root / "real/x"),
    ]
    assert report.copied_links == ("one", "real/up", "two")


def test_an_absolute_link_never_leads_to_the_file_of_this_machine(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "etc/passwd", links={"link": "/etc/passwd"})

    report = walk(root, links=TreeLinks.COPY)

    assert {one.source for one in report.taken} == {root / "etc/passwd"}


def test_links_are_followed_where_the_source_itself_is_a_link(tmp_path: Path) -> None:
    make(tmp_path / "build", "x", links={"link": "/www/x"})
    (tmp_path / "r").symlink_to("build")

    report = walk(tmp_path / "r", "/www", links=TreeLinks.COPY)

    assert taken(report) == ["/www/link", "/www/x"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/www", "/etc/passwd"),
        ("/www", "../etc/passwd"),
        ("/www", "/wwww/x"),
        ("/www", "/"),
        ("/a/b", "../x"),
        ("/www", "/www/.."),
    ],
)
def test_a_link_that_leads_out_of_the_tree_is_refused(tmp_path: Path, path: str, target: str) -> None:
    root = make(tmp_path / "r", "x", "etc/passwd", links={"link": target})

    error = refusal(root, path, links=TreeLinks.COPY)

    assert str(error) == f"m.toml: step[3].from: {root}/link: a symbolic link that leads out of the tree"
    assert error.hint == LINK_HINT.format("link")


@pytest.mark.parametrize(
    "target",
    [
        "nowhere",
        "d",
        ".",
        "/",
        "..",
        "d/nowhere",
        "d/x/y",
        "pipe",
        "d/x/../x",
        "d/x/./",
        "nowhere/../d/x",
        "d/x/",
    ],
)
def test_a_link_that_leads_to_no_file_is_refused(tmp_path: Path, target: str) -> None:
    root = make(tmp_path / "r", "d/x", links={"link": target})
    os.mkfifo(root / "pipe")

    error = refusal(root, "/", "/pipe", links=TreeLinks.COPY)

    assert str(error) == f"m.toml: step[3].from: {root}/link: a symbolic link that does not lead to a file"
    assert error.hint == links_hint("/pipe", "/link")


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "d/../b", "d/x": "/", "b": "/a"}])
def test_links_in_a_circle_are_refused(tmp_path: Path, links: dict[str, str]) -> None:
    root = make(tmp_path / "r", links=links)

    error = refusal(root, "/", "b", "x", links=TreeLinks.COPY)

    assert str(error) == f"m.toml: step[3].from: {root}/a: more than 40 symbolic links in a row"
    assert error.hint == links_hint("b", "x", "/a")


def test_as_many_links_are_followed_as_linux_follows(tmp_path: Path) -> None:
    chain = {f"l{number}": f"l{number + 1}" for number in range(1, MAX_LINKS_COPIED)}
    root = make(tmp_path / "r", "x", links={**chain, f"l{MAX_LINKS_COPIED}": "x"})

    report = walk(root, links=TreeLinks.COPY)

    assert (root / "l1").read_text() == "x"
    assert {one.source for one in report.taken} == {root / "x"}
    assert len(report.copied_links) == MAX_LINKS_COPIED


def test_one_link_more_is_refused_as_linux_does(tmp_path: Path) -> None:
    chain = {f"l{number}": f"l{number + 1}" for number in range(MAX_LINKS_COPIED)}
    root = make(tmp_path / "r", "x", links={**chain, f"l{MAX_LINKS_COPIED}": "x"})

    error = refusal(root, "/", "l[1-9]*", links=TreeLinks.COPY)

    assert str(error) == f"m.toml: step[3].from: {root}/l0: more than 40 symbolic links in a row"
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        (root / "l0").read_text()


# What no package can carry


def test_all_obstacles_are_told_in_the_order_of_their_paths(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "x", "d/x", links={"e": "x", "d/b": "x", "d/a": "x", "d-": "x"})
    os.mkfifo(root / "d/pipe")
    (root / os.fsdecode(b"d/caf\xe9")).write_text("")

    error = refusal(root, "/", "*.map")

    prefix = f"m.toml: step[3].from: {root}"
    link = "a symbolic link, which the format can't carry"
    assert [str(one) for one in (error, *error.others)] == [
        f"{prefix}/d-: {link}",
        f"{prefix}/d/a: {link}",
        f"{prefix}/d/b: {link}",
        f"{prefix}/d/caf\udce9: the path is not UTF-8: unexpected end of data at byte 6",
        f"{prefix}/d/pipe: neither a file nor a directory, so the format can't carry it",
        f"{prefix}/e: {link}",
    ]
    assert advice(error.hint) == ["*.map", "/d-", "/d/a", "/d/b", "/d/caf?", "/d/pipe", "/e"]
    assert taken(walk(root, "/", *advice(error.hint))) == ["/d/x", "/x"]


def test_of_very_many_obstacles_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    names = sorted((f"l{number}" for number in range(MOST_OBSTACLES + 9)), key=str.encode)
    root = make(tmp_path / "r", "x", links=dict.fromkeys(reversed(names), "x"))

    error = refusal(root)

    assert len(error.others) == MOST_OBSTACLES - 1
    assert error.unlisted == 9
    assert advice(error.hint) == [f"/{name}" for name in names[:MOST_OBSTACLES]]


def test_of_a_directory_that_can_not_be_carried_its_files_are_not_told(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "x")
    (root / os.fsdecode(b"caf\xe9/d")).mkdir(parents=True)
    for name in "abc":
        (root / os.fsdecode(b"caf\xe9/d") / name).write_text("")

    error = refusal(root)

    problem = "the path is not UTF-8: unexpected end of data at byte 4"
    assert str(error) == f"m.toml: step[3].from: {root}/caf\udce9: {problem}"
    assert error.others == ()
    assert taken(walk(root, "/", *advice(error.hint))) == ["/x"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_directories_that_can_not_be_read_are_told_together(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "x", "a/x", "b/x")
    for name in "ab":
        (root / name).chmod(0)

    with pytest.raises(HostError) as caught:
        walk(root)

    for name in "ab":
        (root / name).chmod(0o755)
    assert [str(one) for one in (caught.value, *caught.value.others)] == [
        f"m.toml: step[3].from: {root}/{name}: permission denied" for name in "ab"
    ]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "x", "d/")
    os.mkfifo(root / "d/pipe")

    error = refusal(root, links=TreeLinks.COPY)

    assert str(error) == (
        f"m.toml: step[3].from: {root}/d/pipe: neither a file nor a directory, so the format can't carry it"
    )
    assert error.hint == HINT.format("d/pipe")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "r")
    monkeypatch.chdir(root)  # the name of a socket can't be long

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        error = refusal(root)

    assert str(error) == (
        f"m.toml: step[3].from: {root}/socket: neither a file nor a directory, so the format can't carry it"
    )


def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "d/")
    (root / os.fsdecode(b"d/caf\xe9")).write_text("")

    assert str(refusal(root)) == (
        f"m.toml: step[3].from: {root}/d/caf\udce9: the path is not UTF-8: unexpected end of data at byte 6"
    )


def test_a_name_that_is_no_utf_8_can_be_excluded(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "x")
    (root / os.fsdecode(b"caf\xe9")).write_text("")

    report = walk(root, "/", "caf?")

    assert taken(report) == ["/x"]
    assert report.excluded == ("caf\udce9",)


@pytest.mark.parametrize(
    ("path", "name", "problem"),
    [
        ("/", "/".join(["d" * 200] * 5) + "/x" * 10, "the path has 1025 bytes, the limit is 1024"),
        ("/", "d/" * 32 + "x", "the path has 33 parts, the limit is 32"),
        ("/" + "p/" * 20, "d/" * 12 + "x", "the path has 33 parts, the limit is 32"),
        ("/", ".spkg", "the path is in the installer's own directory .spkg"),
    ],
)
def test_a_path_beyond_the_limits_is_refused(tmp_path: Path, path: str, name: str, problem: str) -> None:
    root = make(tmp_path / "r", name if name != ".spkg" else ".spkg/x")

    assert str(refusal(root, path)) == f"m.toml: step[3].from: {root}/{name}: {problem}"


def test_a_path_may_be_as_long_as_the_limit(tmp_path: Path) -> None:
    root = make(tmp_path / "r", "/".join(["d" * 200] * 5) + "/x" * 9 + "x")

    assert [len(one.path.octets) for one in walk(root).taken] == [1024]


def test_the_installers_own_directory_is_only_meant_at_the_root(tmp_path: Path) -> None:
    root = make(tmp_path / "r", ".spkg/x", "d/.spkg")

    assert taken(walk(root, "/www")) == ["/www/.spkg/x", "/www/d/.spkg"]


# What holds for all trees

names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=3).filter(
    lambda name: name not in {".", ".."}
)


@given(st.sets(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=8))
def test_every_file_is_taken_once_and_lies_where_it_says(files: set[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        made = []
        for name in sorted(files, reverse=True):
            with suppress(OSError):  # a directory of this name is there, or a file where one belongs
                make(Path(directory), name)
                made.append(name)

        report = walk(Path(directory), "/www")

        assert taken(report) == [f"/www/{name}" for name in sorted(made, key=str.encode)]
        assert [one.source.read_bytes() for one in report.taken] == [
            one.path.octets.removeprefix(b"/www/") for one in report.taken
        ]
