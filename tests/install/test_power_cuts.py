"""Killed before a sync, continued, and then without power: what was said holds on real file systems, too.

The process that changes the root is killed before each of its syncs.  Another one goes on with what it finds,
or the parent lets a second one recover, which may be killed as well.  Then the power is cut.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.interruptions import SCENARIOS, isolated
from tests.support.kit import ROOT
from tests.support.sampling import least, stride

pytestmark = [
    pytest.mark.part("power"),
    pytest.mark.judge(
        "unshare", "mount", "losetup", "findmnt", "chattr", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"
    ),
]
Record = Callable[[str, object], None]
LONG: Final = pytest.mark.proof
APART: Final = ("unshare", "-m", "--propagation", "private")
CUTS: Final = [
    pytest.param(("in-place", "btrfs", "continued", 1), id="in place, continued, btrfs"),
    pytest.param(("format", "btrfs", "continued", 2), id="format, continued, btrfs", marks=LONG),
    pytest.param(("all", "btrfs", "continued", 3), id="all or nothing, continued, btrfs", marks=LONG),
    pytest.param(("in-place", "ext4", "continued", 2), id="in place, continued, ext4", marks=LONG),
    pytest.param(("in-place", "xfs", "continued", 3), id="in place, continued, xfs", marks=LONG),
    pytest.param(("in-place", "btrfs", "parent", 2), id="in place, with a parent, btrfs", marks=LONG),
    pytest.param(("in-place", "ext4", "parent", 3), id="in place, with a parent, ext4", marks=LONG),
    pytest.param(("all", "ext4", "twice", 1), id="all or nothing, killed twice, ext4"),
    pytest.param(("all", "btrfs", "twice", 2), id="all or nothing, killed twice, btrfs", marks=LONG),
    pytest.param(("all", "xfs", "twice", 3), id="all or nothing, killed twice, xfs", marks=LONG),
    pytest.param(("many", "btrfs", "twice", 2), id="many files, killed twice, btrfs", marks=LONG),
]
"""What, where, what goes on after the kill, and which share of the syncs has its turn in the proof."""


@pytest.fixture(autouse=True)
def _apart() -> None:
    """Leave out what wants mounts where there can be none, and say so: nobody can install them."""
    reason = isolated()
    if reason is not None:
        pytest.skip(reason)


def sweep(place: Path, one: tuple[str, str, str, int], **settings: Any) -> list[dict[str, Any]]:
    """Kill, continue and cut in a mount namespace, and return what was found each time."""
    name, kind, way, _ = one
    request = {"scenario": name, "desk": str(place), "kind": kind, "way": way, "fixed": kind == "btrfs"}
    asked = json.dumps({**request, "seed": None, **settings})
    ended = subprocess.run(
        [*APART, sys.executable, "-m", "tests.support.power_cuts", asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def wrong(found: dict[str, Any], name: str, way: str) -> list[str]:
    """Return what is not as it was said to be, or can't be continued."""
    said, in_place = found["told"].partition(":")[0], SCENARIOS[name].in_place
    complete = found["state"] == "clean" and found["complete"] and found["recorded"]
    problems = [
        (said not in {"installed", "failed", "unsafe"}, found["told"]),
        (way == "continued" and said != "installed", f"continued: {found['told']}"),
        (said == "installed" and not complete, f"installed, and {found['state']}, {found['tree']}"),
        (said == "failed" and not in_place and found["tree"] != "old", f"failed, and {found['tree']}"),
        (said == "failed" and found["state"] == "unsafe", "failed, and unsafe"),
        (found["tree"] not in ({"new"} if in_place else {"old", "new"}), f"at the end: {found['tree']}"),
        (found["after"] != ("installed" if in_place else "clean"), f"at the end: {found['after']}"),
        (not found["fixed"], "what is immutable is gone"),
    ]
    return [f"killed before sync {found['at']}: {what}" for is_wrong, what in problems if is_wrong]


@pytest.mark.parametrize("one", CUTS)
def test_what_is_said_after_a_kill_holds_after_a_power_cut(
    one: tuple[str, str, str, int], tmp_path: Path, record_property: Record
) -> None:
    name, _, way, share = one
    first, step = stride(13, 1 + len(name), share=share, begin=1)

    found = sweep(tmp_path, one, first=first, step=step)

    problems = [problem for each in found for problem in wrong(each, name, way)]
    record_property("cuts", dict(Counter(each["told"].partition(":")[0] for each in found)))
    assert problems == [], "\n".join(problems[:40])
    assert len(found) >= least(1)


def test_a_file_that_is_moved_has_one_name_after_a_power_cut(tmp_path: Path) -> None:
    # Once a bug: on btrfs the new name may be durable, and the old one still be there.
    one = ("all", "btrfs", "twice", 1)

    found = sweep(tmp_path, one, first=11, step=1, last=15)

    assert [problem for each in found for problem in wrong(each, "all", "twice")] == []
    outcomes = {each["outcome"] for each in found}
    assert "done" in outcomes
    assert outcomes <= {"nothing", "discarded", "done"}


@pytest.mark.part("power", turns=True)
@LONG
@pytest.mark.parametrize(
    ("seed", "one", "settings"),
    [
        pytest.param(
            "no sync of all", ("in-place", "btrfs", "continued", 1), {"first": 55, "step": 20}, id="in place"
        ),
        pytest.param(
            "nothing made sure of", ("all", "ext4", "twice", 1), {"first": 21, "step": 1}, id="twice"
        ),
    ],
)
def test_a_fault_is_found_by_a_power_cut_after_a_kill(
    seed: str, one: tuple[str, str, str, int], settings: dict[str, int], tmp_path: Path
) -> None:
    found = sweep(tmp_path, one, **{"seed": seed, **settings})

    assert [problem for each in found for problem in wrong(each, one[0], one[2])]
