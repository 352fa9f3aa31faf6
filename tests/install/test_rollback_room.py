"""On a file system that is full to the last byte and inode, a trial can be counted, confirmed and undone."""

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from spkg.common.boots import Boot
from spkg.install.applied import ApplyRequest
from spkg.install.apply import apply
from spkg.install.events import Trigger
from spkg.install.history import events
from spkg.install.recovery import recover_in
from spkg.install.rollback import boot_in, confirm_in, roll_back_in
from spkg.install.root import Root
from spkg.install.trial import BackUp, load_trial
from spkg.verify.payload import Payload
from spkg.verify.signatures import verify_package
from tests.support.interruptions import ALL, FILE_SYSTEMS, MANY, Scenario, lay_over
from tests.support.kit import AT, policy, read
from tests.support.naive_installer import grown, plant, seen
from tests.support.namespaces import isolated, mount_memory, unmount

pytestmark = [pytest.mark.part("power"), pytest.mark.judge("mount", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs")]
SCENARIOS: Final = {"all": ALL, "many": MANY}
KINDS: Final = ("tmpfs", "ext4", "overlayfs", "xfs", "btrfs")
ALWAYS: Final = {("tmpfs", "all", "back by boots"), ("tmpfs", "many", "confirmed"), ("ext4", "many", "back")}
CHUNKS: Final = (1 << 20, 4096, 512, 1)


def nothing_to_hold() -> None:
    """Nobody sends signals here."""


@contextmanager
def mounted(kind: str, desk: Path) -> Iterator[Path]:
    """Give a root on a new file system, and the directory of that file system in which room can be taken."""
    place = desk / "place"
    place.mkdir()
    if kind == "tmpfs":
        mount_memory(place, "size=2m,nr_inodes=400")
    elif kind == "overlayfs":
        (below := desk / "below").mkdir()
        mount_memory(below, "size=4m,nr_inodes=800")
        lay_over(below, place)
    else:
        size, make, options = FILE_SYSTEMS[kind]
        with (desk / "image").open("wb") as file:
            file.truncate(size << 20)
        inodes = ("-N", "400") if kind == "ext4" else ()
        subprocess.run([*make, *inodes, desk / "image"], check=True)
        subprocess.run(["mount", "-o", options, desk / "image", place], check=True)
    try:
        (place / "root").mkdir()
        (place / "root").chmod(0o755)
        yield place
    finally:
        unmount(place)


def fill(place: Path) -> None:
    """Take all bytes and all inodes."""
    (place / "full").mkdir()
    with suppress(OSError):
        for number in range(3000):
            (place / "full" / str(number)).touch()
    with suppress(OSError), (place / "full" / "0").open("ab", buffering=0) as file:
        for length in CHUNKS:
            with suppress(OSError):
                while True:
                    file.write(os.urandom(length))
            os.sync()


def on_trial(scenario: Scenario, root: Root) -> None:
    package = read(scenario.package)
    payload = Payload(io.BytesIO(scenario.payload), offset=0, length=len(scenario.payload))
    request = ApplyRequest(
        device=None,
        when="then",
        boot=Boot(identity="0", seconds=1),
        back_up=BackUp(delay=60, boots=3),
    )
    apply(verify_package(package, policy(), at=AT), payload, root, request)


def boots(root: Root) -> None:
    """Count three boots, each with a recovery of its own, and each once."""
    for number in "112233":
        recover_in(root)
        trial, gone = boot_in(root, Boot(identity=number, seconds=1), when="later")
        assert trial is not None
        assert (trial.counted, gone) == (int(number), None)


def back_by_boots(root: Root) -> None:
    boots(root)
    assert boot_in(root, Boot(identity="4", seconds=1), when="later")[1] is not None


def back(root: Root) -> None:
    roll_back_in(root, when="later", by=Trigger.COMMAND, reason="r" * 500, committing=nothing_to_hold)


def confirmed(root: Root) -> None:
    boots(root)
    confirm_in(root, when="later", committing=nothing_to_hold)


ENDS: Final[dict[str, Callable[[Root], None]]] = {
    "back": back,
    "back by boots": back_by_boots,
    "confirmed": confirmed,
}


def _ended(desk: Path, kind: str, scenario: str, end: str) -> None:
    os.chdir("/")
    chosen = SCENARIOS[scenario]
    with mounted(kind, desk) as place:
        plant(chosen.garden, place / "root")
        with Root(place / "root") as root:
            on_trial(chosen, root)
        after = seen(place / "root")
        fill(place)
        with Root(place / "root") as root:
            ENDS[end](root)
            assert load_trial(root) is None
            assert events(root)[-1].event.value == ("confirmed" if end == "confirmed" else "rolled-back")
            assert root.names((b".spkg",)) == [b"installed"]
        wanted = after if end == "confirmed" else grown(chosen.garden)
        assert seen(place / "root") == wanted


CASES: Final = [
    pytest.param(*one, marks=() if one in ALWAYS else pytest.mark.proof)
    for one in product(KINDS, SCENARIOS, ENDS)
]


@pytest.mark.parametrize(("kind", "scenario", "end"), CASES)
def test_a_trial_ends_without_room(tmp_path: Path, kind: str, scenario: str, end: str) -> None:
    isolated(_ended, tmp_path, kind, scenario, end)
