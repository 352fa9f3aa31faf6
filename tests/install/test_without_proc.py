"""Without /proc, as early in a boot: what needs it says so, and nothing that exists is taken for missing."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from spkg.format.commands import End, Remove
from spkg.format.paths import RootPath
from spkg.install.beneath import Resolver
from spkg.install.journal import Before, JournalStep, Verb, encode_journal
from spkg.install.own_files import write_whole
from spkg.install.root import Root
from spkg.install.transaction_places import BACK, JOURNAL, PLACING, UNPLACED, spare_of
from tests.support.commands import run
from tests.support.installation import APPLY, furnish_root, mark_unsafe, tree
from tests.support.kit import CONTENTS, Draft, file
from tests.support.namespaces import isolated, mount_memory

NO_PROC: Final = (
    "spkg: error: /proc/self/mountinfo: no such file or directory\n"
    "spkg: hint: mount /proc: the kernel lists mounts below the root only there\n"
)


def without_proc(place: Path, work: Callable[[], None]) -> None:
    """Do something where /proc is empty."""
    os.chdir(place)
    furnish_root()
    records = (file("/bin/app"), Remove(path=RootPath.of("/old")), End())
    Path("p.spkg").write_bytes(Draft(records=records).encode())
    mount_memory(Path("/proc"))
    assert not Path("/proc/self").exists()
    work()


def unsafe_root() -> None:
    mark_unsafe()

    status, recovered = run("status", "--root", "root", "--json"), run("recover", "--root", "root")

    assert (status.exit_code, json.loads(status.stdout)["state"]) == (0, "unsafe")
    assert recovered.exit_code == 7
    assert recovered.stdout == "root: nothing was left to recover; the root is unsafe\n"


def refused_installations() -> None:
    for how in ((), ("--in-place",), ("--dry-run",), ("--unsafe-force",)):
        result = run("apply", "p.spkg", *APPLY, *how)

        assert (result.exit_code, result.stderr) == (9, NO_PROC), how
        assert tree() == {"root/old": b"old"}
        assert not Path("root/.spkg/txn").exists()
    status = run("status", "--root", "root", "--json")
    assert json.loads(status.stdout)["state"] == "clean"


def interrupted() -> None:
    """Recover what was killed behind its commit: the journal is read, and what is installed told."""
    with Root(Path("root")) as root:
        root.mkdir((b".spkg",), 0o700)
        for name in (b"txn", b"txn/new", b"txn/old", b"txn/mov", b"txn/mk"):
            root.mkdir((b".spkg", *name.split(b"/")), 0o700)
        steps = [
            JournalStep(
                number=0,
                verb=Verb.DELETE,
                path=(b"old",),
                before=Before.AWAY,
            )
        ]
        for marker in (PLACING, BACK, UNPLACED):
            root.create(spare_of(marker)).close()
        write_whole(root, JOURNAL, encode_journal(steps))
    before = json.loads(run("status", "--root", "root", "--json").stdout)["state"]

    recovered = run("recover", "--root", "root", "--json")

    document = json.loads(recovered.stdout)
    assert (before, document["outcome"], document["state"]) == ("pending", "done", "clean")
    assert tree() == {}


def methods() -> None:
    """Files are read and directories made as ever, by either resolver."""
    os.umask(0o077)
    Path("root/link").symlink_to("old")
    for number, resolver in enumerate(Resolver):
        with Root(Path("root"), resolver) as root:
            made = (b"made%d" % number,)
            root.mkdir(made, 0o755)
            assert root.read((b"old",), 100) == b"old"
            assert (root.path / os.fsdecode(made[0])).stat().st_mode & 0o777 == 0o755
            for name, problem in {
                b"link": OSError,
                b"none": FileNotFoundError,
                made[0]: IsADirectoryError,
            }.items():
                with pytest.raises(problem):
                    root.read((name,), 100)


def swapped() -> None:
    """A name that leads elsewhere by the time it is opened is neither read nor taken for missing."""
    real = os.fstat

    def swapping(contents: bytes | None, descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if not Path("root/older").exists():
            Path("root/old").rename("root/older")
            if contents is not None:
                Path("root/old").write_bytes(contents)
        return found

    for contents in (None, CONTENTS):
        with Root(Path("root")) as root, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fstat", partial(swapping, contents))
            with pytest.raises(OSError, match=r"Stale file handle: '/old'"):
                root.read((b"old",), 100)
        Path("root/older").rename("root/old")


@pytest.mark.part("kill", turns=True, few=4)
@pytest.mark.parametrize("work", [unsafe_root, refused_installations, interrupted, methods, swapped])
def test_without_proc_nothing_is_overlooked(work: Callable[[], None], tmp_path: Path) -> None:
    isolated(without_proc, tmp_path, work)
