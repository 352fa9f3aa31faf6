"""Roots on file systems in user space: exfat and ntfs.

The first ignores the case of names, has no second names and keeps no modes, as vfat does.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from spkg.format.commands import End, Record, RemoveSubTree
from spkg.format.paths import TreePath
from tests.support.commands import run
from tests.support.kit import AT, CONTENTS, Draft, file, root

SIZE: Final = 64 << 20


class System(NamedTuple):
    """How a file system is made and mounted."""

    make: tuple[str, ...]
    mount: tuple[str, ...]
    loop: bool
    """Whether its program wants a block device."""
    folds: bool
    """Whether it ignores the case of names."""


SYSTEMS: Final = {
    "exfat": System(("mkfs.exfat",), ("mount.exfat-fuse",), loop=True, folds=True),
    "ntfs": System(("mkntfs", "-F", "-Q"), ("ntfs-3g",), loop=False, folds=False),
}
systems = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.judge(system.make[0], system.mount[0]))
        for name, system in SYSTEMS.items()
    ],
)


def done(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@contextmanager
def mounted(name: str, place: Path, umask: str = "022") -> Iterator[Path]:
    """Give a root on a file system; whoever can't mount one can't judge."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("NOT JUDGED: no file system in user space can be mounted here")
    system, image, top = SYSTEMS[name], place / "image", place / "top"
    top.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    done(*system.make, image)
    with ExitStack() as stack:
        source: str | Path = image
        if system.loop:
            source = done("losetup", "--find", "--show", image)
            stack.callback(done, "losetup", "--detach", source)
        done(*system.mount, "-o", f"umask={umask}", source, top)
        stack.callback(done, "umount", top)
        (top / "root").mkdir()
        yield top / "root"


def apply(at: Path, *records: Record, payload: bytes = CONTENTS, options: tuple[str, ...] = ()) -> str:
    """Apply a package, and return what is said."""
    Path("p.spkg").write_bytes(Draft(records=(*records, End()), payload=payload).encode())
    Path("ca.pem").write_bytes(root().pem)
    trust = ("--trust", "ca.pem", "--at", AT.isoformat())
    done = run("apply", "p.spkg", "--root", at, *trust, "--no-progress", *options)
    return f"{done.exit_code}: {done.output.splitlines()[0]}"


def contents(at: Path) -> dict[str, bytes]:
    """Return the files, the installer's own aside."""
    return {
        str(path.relative_to(at)): path.read_bytes()
        for path in sorted(at.rglob("*"))
        if path.is_file() and ".spkg" not in path.parts
    }


@systems
def test_a_package_replaces_and_removes_and_the_next_one_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new = b"new contents"
    with mounted(name, tmp_path) as at:
        (at / "old/deep").mkdir(parents=True)
        (at / "old/deep/file").write_bytes(b"old")

        first = apply(at, file("/bin/app"), file("/etc/conf"), RemoveSubTree(path=TreePath.of("/old")))
        second = apply(at, file("/bin/app", new), file("/more/there", new), payload=new)

        assert first == f"0: {at}: installed, 5 changes"
        assert second.startswith("0: ")
        assert contents(at) == {"bin/app": new, "etc/conf": CONTENTS, "more/there": new}


@systems
def test_a_trial_can_be_gone_back_from(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new = b"new contents"
    with mounted(name, tmp_path) as at:
        apply(at, file("/bin/app"), file("/etc/conf"))
        apply(at, file("/bin/app", new), file("/new", new), payload=new, options=("--back-up", "1h"))

        back = run("rollback", "--root", at)

        assert back.exit_code == 0
        assert contents(at) == {"bin/app": CONTENTS, "etc/conf": CONTENTS}


@pytest.mark.part("power", turns=True, few=3)
@systems
def test_two_spellings_of_a_name_are_told_from_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with mounted(name, tmp_path) as at:
        apply(at, file("/bin/app"))

        told = apply(at, file("/BIN/app"), file("/bin/App"))

        if SYSTEMS[name].folds:
            assert told.startswith("5: ")
            assert "differ only in case and are the same on this file system" in told
            assert contents(at) == {"bin/app": CONTENTS}
        else:
            assert told.startswith("0: ")
            assert contents(at) == {"BIN/app": CONTENTS, "bin/App": CONTENTS, "bin/app": CONTENTS}


@pytest.mark.judge("mkfs.exfat", "mount.exfat-fuse")
def test_where_everybody_may_write_the_way_out_is_the_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with mounted("exfat", tmp_path, "000") as at:
        told = apply(at, file("/bin/app"))

        assert told == "5: spkg: error: /.spkg can be changed by other users"
        assert "umask=022" in run("recover", "--root", at).output
        assert contents(at) == {}
