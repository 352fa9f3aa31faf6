"""Warnings of a build: what a release engineer should look at, each with its code."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from cli import main
from spkg.build.build_plan import PlannedFile, plan_build
from spkg.build.build_warnings import build_warnings
from spkg.build.manifest import load_manifest
from spkg.common.findings import Finding
from spkg.format.commands import End, Reboot, Role
from tests.support.kit import read


def make(directory: Path, text: str, files: Mapping[str, bytes] | None = None) -> Path:
    """Write a manifest and its sources."""
    for name, contents in (files or {}).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(contents)
    (directory / "m.toml").write_text(text)
    return directory / "m.toml"


def found(directory: Path, text: str, files: Mapping[str, bytes] | None = None) -> list[Finding]:
    return list(build_warnings(plan_build(load_manifest(make(directory, text, files)))))


def warned(directory: Path, text: str, files: Mapping[str, bytes] | None = None) -> list[str]:
    return [str(one) for one in found(directory, text, files)]


TREE: Final = '[[step]]\nextract-tree = "/"\nfrom = "t"\n'
EXACT: Final = '[package]\nfile-modes = "exact"\n'
OVER_NEWER: Final = "a software-upgrade without maximum-version can be applied over a newer release"
AT_ONCE: Final = "step[0] leaves the initial state at once, so the initial timeouts never apply"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ('role = "software-upgrade"', [OVER_NEWER]),
        ('role = "software-upgrade"\nminimum-version = "1"', [OVER_NEWER]),
        ('role = "software-upgrade"\nmaximum-version = "1"', []),
        ('role = "software-recovery"', []),
        ('role = { vendor = "000001" }', []),
        ("strong-digests = true", []),
    ],
)
def test_an_upgrade_that_knows_no_newest_version_is_warned_of(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert warned(tmp_path, f"[package]\n{text}\n[[step]]\nreboot = true") == expected


@pytest.mark.parametrize("timeout", ["", "[timeouts]\ninitial = 1\n", "[timeouts]\ninitial-activity = 1\n"])
@pytest.mark.parametrize(
    ("step", "leaves"),
    [
        ('remove = "/a"', True),
        ('remove-versioned = "/a.001"', True),
        ('remove-tree = "/"', True),
        ("format = true", True),
        ('extract = "/a"\nfrom = "a"', False),
        ('extract = "/a"\nfrom = "a"\nunsafe = true', True),
        ('extract-tree = "/"\nfrom = "t"\nunsafe = true', True),
        ('move = "/a"\nto = "/b"', False),
        ('move = "/a"\nto = "/b"\nunsafe = true', True),
        ("vendor = 1000", False),
        ("reboot = true", False),
    ],
)
def test_initial_timeouts_that_never_apply_are_warned_of(
    tmp_path: Path, timeout: str, step: str, *, leaves: bool
) -> None:
    files = {"a": b"", "t/a": b""}

    assert warned(tmp_path, f"{timeout}[[step]]\n{step}", files) == [AT_ONCE] * leaves


@pytest.mark.parametrize(
    "text",
    [
        '[timeouts]\ninitial = 1\n[[step]]\nvendor = 1000\n[[step]]\nremove = "/a"',
    ],
)
def test_timeouts_that_may_apply_are_not_warned_of(tmp_path: Path, text: str) -> None:
    assert warned(tmp_path, text) == []


def test_trees_that_take_nothing_and_patterns_that_match_nothing_are_warned_of(tmp_path: Path) -> None:
    text = """
        [[step]]
        extract-tree = "/a"
        from = "t"
        exclude = ["*.map", "used", "mispelt"]
        [[step]]
        extract-tree = "/b"
        from = "t"
        exclude = ["*"]
    """

    assert warned(tmp_path, text, {"t/used": b"", "t/x": b""}) == [
        "step[0].exclude: '*.map' matches nothing",
        "step[0].exclude: 'mispelt' matches nothing",
        "step[1] takes no files",
    ]


def test_a_package_with_warnings_is_built(tmp_path: Path) -> None:
    manifest = make(tmp_path, '[package]\nrole = "software-upgrade"\n[[step]]\nreboot = true\n')

    result = CliRunner().invoke(main, ["build", str(manifest), "-o", str(tmp_path / "out"), "--unsigned"])

    assert (result.exit_code, result.stderr) == (0, f"spkg: warning: {OVER_NEWER}\n")
    assert read((tmp_path / "out").read_bytes()).records == (Role(role=1), Reboot(), End())


def test_a_manifest_without_steps_is_warned_of(tmp_path: Path) -> None:
    assert found(tmp_path, "") == [
        Finding(code="empty-manifest", message="the manifest has no steps: the package changes nothing")
    ]


# What the sources have and the package has not


@pytest.mark.parametrize(
    ("mode", "bits"),
    [
        (0o4755, "set-user-ID bit"),
        (0o2755, "set-group-ID bit"),
        (0o1755, "sticky bit"),
        (0o6755, "set-user-ID and set-group-ID bits"),
    ],
)
def test_special_bits_are_told_for_each_file(tmp_path: Path, mode: int, bits: str) -> None:
    manifest = make(tmp_path, EXACT + TREE, {"t/bin/su": b"", "t/bin/sh": b""})
    (tmp_path / "t/bin/su").chmod(mode)

    assert list(build_warnings(plan_build(load_manifest(manifest)))) == [
        Finding(
            code="special-bits",
            message=f"the package does not carry the {bits} of this file",
            path="/bin/su",
        )
    ]


def test_special_bits_are_not_told_where_the_manifest_states_a_mode(tmp_path: Path) -> None:
    text = f'{EXACT}[[mode]]\npath = "/bin/su"\nmode = "0755"\n{TREE}'
    manifest = make(tmp_path, text, {"t/bin/su": b""})
    (tmp_path / "t/bin/su").chmod(0o4755)

    assert list(build_warnings(plan_build(load_manifest(manifest)))) == []


@pytest.mark.parametrize(("modes", "told"), [("", True), ("file-modes = true", False)])
def test_programs_without_modes_are_told_once_for_each_step(
    tmp_path: Path, modes: str, *, told: bool
) -> None:
    manifest = make(tmp_path, f"[package]\n{modes}\n{TREE}", {"t/bin/a": b"", "t/bin/b": b"", "t/c": b""})
    for name in ("a", "b"):
        (tmp_path / "t/bin" / name).chmod(0o755)

    assert (
        list(build_warnings(plan_build(load_manifest(manifest))))
        == [
            Finding(
                code="executable-without-mode",
                message="step[0]: 2 executable files without a mode (/bin/a, /bin/b): "
                "the device decides whether they can be executed; set file-modes",
            )
        ]
        * told
    )


def test_a_source_of_mode_0_is_told_with_what_is_stated_for_it(tmp_path: Path) -> None:
    manifest = make(tmp_path, EXACT + TREE, {"t/shadow": b""})
    (tmp_path / "t/shadow").chmod(0)

    assert list(build_warnings(plan_build(load_manifest(manifest)))) == [
        Finding(
            code="unstatable-mode",
            message="mode 0000 can't be stated in a package, so 0400 is",
            path="/shadow",
        )
    ]


@pytest.mark.parametrize(
    ("mode", "text", "told"),
    [
        (0o700, EXACT, True),
        (0o700, "", False),
        (0o1777, "", True),
        (0o755, EXACT, False),
        (0o775, EXACT, False),
    ],
)
def test_directories_that_a_device_makes_otherwise_are_told_once_for_each_tree(
    tmp_path: Path, mode: int, text: str, *, told: bool
) -> None:
    manifest = make(tmp_path, text + TREE, {"t/root/key": b"", "t/etc/motd": b""})
    (tmp_path / "t/root").chmod(mode)
    (tmp_path / "t/empty").mkdir(mode=0o700)

    assert (
        list(build_warnings(plan_build(load_manifest(manifest))))
        == [
            Finding(
                code="directory-mode",
                message=f"step[0]: 1 directory (/root {mode:04o}): a device makes directories with mode 0755",
            )
        ]
        * told
    )


def test_extended_attributes_are_told_once_for_each_name(tmp_path: Path) -> None:
    manifest = make(tmp_path, TREE, {f"t/{name}": b"" for name in "abcdefg"})
    for name in "abcdef":
        os.setxattr(tmp_path / "t" / name, "user.origin", b"x")

    assert list(build_warnings(plan_build(load_manifest(manifest)))) == [
        Finding(
            code="extended-attribute",
            message="step[0]: 6 files with the attribute user.origin (/a, /b, /c, /d, /e, …): "
            "the package does not carry this",
        )
    ]


def test_the_source_of_a_single_file_is_looked_at_behind_its_link(tmp_path: Path) -> None:
    text = '[[step]]\nextract = "/a"\nfrom = "link"\n'
    manifest = make(tmp_path, text, {"target": b""})
    (tmp_path / "link").symlink_to("target")
    os.setxattr(tmp_path / "target", "user.origin", b"x")

    assert [one.code for one in build_warnings(plan_build(load_manifest(manifest)))] == ["extended-attribute"]


def test_capabilities_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["security.capability", "security.selinux"]
    monkeypatch.setattr(os, "listxattr", lambda *_, **__: names)  # only root can set them

    assert found(tmp_path, TREE, {"t/ping": b""}) == [
        Finding(
            code="capability",
            message="step[0]: 1 file with capabilities (/ping): the package does not carry this",
        )
    ]


@pytest.mark.parametrize(
    ("owners", "shown"),
    [
        ([(0, 0), (0, 0)], None),
        ([(0, 0), (0, 5)], "2 owners (0:0, 0:5)"),
        ([(number, 0) for number in range(7)], "7 owners (0:0, 1:0, 2:0, 3:0, 4:0, …)"),
    ],
)
def test_owners_are_told_where_one_tree_has_several(
    tmp_path: Path, owners: list[tuple[int, int]], shown: str | None
) -> None:
    manifest = make(tmp_path, TREE, {f"t/{number}": b"" for number in range(len(owners))})
    plan = plan_build(load_manifest(manifest))
    items = tuple(
        (field, replace(item, status=os.stat_result((0o100644, 1, 1, 1, user, group, 0, 0, 0, 0))))
        for (field, item), (user, group) in zip(plan.items, owners, strict=True)
        if isinstance(item, PlannedFile)
    )

    told = list(build_warnings(replace(plan, items=items)))

    message = f"step[0]: the files have {shown}, which the package does not carry"
    assert told == [Finding(code="owners", message=message)] * (shown is not None)


# What is odd about the paths


def test_a_file_below_dev_is_told(tmp_path: Path) -> None:
    text = '[[step]]\nextract = "/dev/console"\nfrom = "a"\n[[step]]\nextract = "/a/dev/b"\nfrom = "a"\n'

    assert found(tmp_path, text, {"a": b""}) == [
        Finding(
            code="device-path",
            message="a regular file below /dev: on a running device this is where devices are",
            path="/dev/console",
        )
    ]


def file_step(path: str, source: str, verb: str = "extract") -> str:
    return f'[[step]]\n{verb} = "{path}"\nfrom = "{source}"\n'


@pytest.mark.parametrize(
    ("between", "told"),
    [
        ("", True),
        ('[[step]]\nremove = "/b"\n', True),
        ('[[step]]\nremove-tree = "/b"\n', True),
        ('[[step]]\nremove = "/d/a"\n', False),
        ('[[step]]\nremove-tree = "/d"\n', False),
        ('[[step]]\nmove = "/d/a"\nto = "/b"\n', False),
        ("[[step]]\nformat = true\n", False),
        ("[[step]]\nvendor = 1000\n", True),
    ],
)
def test_a_path_twice_is_told_unless_the_first_file_is_gone_by_then(
    tmp_path: Path, between: str, *, told: bool
) -> None:
    text = file_step("/d/a", "a") + between + file_step("d/a", "a")
    last = 1 + bool(between)

    assert (
        found(tmp_path, text, {"a": b""})
        == [Finding(code="path-twice", message=f"step[0] and step[{last}] both write this file", path="/d/a")]
        * told
    )


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ("", ["/etc/app: step[1] writes below this path, and step[0] a file there"]),
        ('[[step]]\nremove = "/etc/app"\n', []),
        ('[[step]]\nremove-tree = "/etc"\n', []),
        ("[[step]]\nformat = true\n", []),
        (
            '[[step]]\nremove = "/etc/apps"\n',
            ["/etc/app: step[2] writes below this path, and step[0] a file there"],
        ),
    ],
)
def test_a_path_below_a_file_is_told_unless_that_is_gone_by_then(
    tmp_path: Path, between: str, expected: list[str]
) -> None:
    text = file_step("/etc/app", "a") + between + file_step("/etc/app/d/conf", "a")

    warnings = found(tmp_path, text, {"a": b""})

    assert [str(one) for one in warnings] == expected
    assert {one.code for one in warnings} <= {"path-under-file"}


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ("", ["/etc/app: step[1] writes a file to this path, and step[0] below it"]),
        ('[[step]]\nremove-tree = "/etc/app"\n', []),
        (
            '[[step]]\nremove = "/etc/app/d/conf"\n',  # the directory stays
            ["/etc/app: step[2] writes a file to this path, and step[0] below it"],
        ),
    ],
)
def test_a_file_in_the_place_of_a_directory_is_told_unless_that_is_gone_by_then(
    tmp_path: Path, between: str, expected: list[str]
) -> None:
    text = file_step("/etc/app/d/conf", "a") + between + file_step("/etc/app", "a")

    assert warned(tmp_path, text, {"a": b""}) == expected


def test_a_pattern_for_modes_that_fits_no_file_is_told(tmp_path: Path) -> None:
    rules = "".join(f'[[mode]]\npath = "{one}"\nmode = "0600"\n' for one in ("/a", "/*.kye", "/t/*"))

    warnings = found(tmp_path, rules + file_step("/a", "a") + TREE, {"a": b"", "t/t/b": b""})

    assert [(one.code, str(one)) for one in warnings] == [
        ("unused-pattern", "mode[1].path: '/*.kye' matches nothing")
    ]


@pytest.mark.parametrize(("removed", "told"), [("fw.009", False), ("gw.001", True)])
def test_a_versioned_removal_takes_every_version(tmp_path: Path, removed: str, *, told: bool) -> None:
    text = (
        file_step("/fw.001", "a", "extract-versioned")
        + f'[[step]]\nremove-versioned = "/{removed}"\n'
        + file_step("/fw.001", "a", "add-versioned")
    )

    assert [one.code for one in found(tmp_path, text, {"a": b""})] == ["path-twice"] * told


@pytest.mark.parametrize(("other", "told"), [(b"contents", False), (b"others", True), (b"content", True)])
def test_other_contents_under_the_extension_of_a_version_are_told(
    tmp_path: Path, other: bytes, *, told: bool
) -> None:
    text = file_step("/fw.001", "a", "add-versioned") + file_step("/fw.001", "b", "extract-versioned")

    assert (
        found(tmp_path, text, {"a": b"contents", "b": other})[1:]
        == [
            Finding(
                code="version-contents",
                message="step[0] and step[1] have different contents under the same extension, "
                "which identifies a version",
                path="/fw.001",
            )
        ]
        * told
    )


def test_names_that_look_the_same_are_told_once(tmp_path: Path) -> None:
    text = (
        file_step("/d\\u00e4/x", "a")
        + file_step("/da\\u0308/y", "a")
        + file_step("/da\\u0308/z", "a")
        + '[[step]]\nremove = "/da\\u0308"\n'
    )

    assert found(tmp_path, text, {"a": b""}) == [
        Finding(
            code="normalization",
            message="looks like another path of this package, in other characters: '/d\\xe4'",
            path="/da\u0308",
        )
    ]


def test_a_name_in_one_form_alone_is_not_told(tmp_path: Path) -> None:
    text = file_step("/da\\u0308/x", "a") + '[[step]]\nmove = "/da\\u0308/x"\nto = "/da\\u0308/y"\n'

    assert found(tmp_path, text, {"a": b""}) == []
