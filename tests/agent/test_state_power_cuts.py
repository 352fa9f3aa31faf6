"""The state of the agent after a power cut, on real file systems: what a change said to be made is there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.interruptions import isolated
from tests.support.kit import ROOT
from tests.support.sampling import least, stride

pytestmark = [
    pytest.mark.part("power"),
    pytest.mark.judge("unshare", "mount", "losetup", "mkfs.ext4", "mkfs.xfs", "strace"),
]
LONG: Final = pytest.mark.proof
APART: Final = ("unshare", "-m", "--propagation", "private")
SYSTEMS: Final = ["ext4", pytest.param("xfs", marks=LONG)]
"""Those that can be told to let nothing more come to their device while a process is at work."""


@pytest.fixture(autouse=True)
def _apart() -> None:
    """Leave out what wants mounts where there can be none, and say so: nobody can install them."""
    reason = isolated()
    if reason is not None:
        pytest.skip(reason)


def sweep(place: Path, kind: str, **settings: Any) -> list[dict[str, Any]]:
    """Cut the power in a mount namespace, and return what was found each time."""
    request = {"desk": str(place), "kind": kind, "seed": False, "killed": False, "first": 0, "step": 1}
    ended = subprocess.run(
        [*APART, sys.executable, "-m", "tests.support.state_power_cuts", json.dumps({**request, **settings})],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def wrong(found: dict[str, Any]) -> bool:
    """Whether a change is lost, or half there, or the next start does not work."""
    right = (found["told"], found["told"] + 1)  # the one that was going on may have come through
    return found["found"] not in right or found["again"] != found["found"] + 1


@pytest.mark.parametrize("kind", SYSTEMS)
def test_what_was_changed_is_there_after_a_power_cut(tmp_path: Path, kind: str) -> None:
    first, step = stride(7, 3)

    found = sweep(tmp_path, kind, first=first, step=step)

    assert [one for one in found if wrong(one) or one["found"] != one["told"]] == []
    assert len(found) >= least(1)


@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_process_killed_before_a_power_cut_has_changed_all_or_nothing(tmp_path: Path, kind: str) -> None:
    first, step = stride(37, 23)

    found = sweep(tmp_path, kind, killed=True, first=first, step=step)

    assert [one for one in found if wrong(one)] == []
    assert len(found) >= least(1)


@LONG
@pytest.mark.part("power", turns=True)
def test_a_sync_too_little_is_found_by_a_power_cut(tmp_path: Path) -> None:
    found = sweep(tmp_path, "ext4", seed=True, first=3, step=2)

    assert [one for one in found if wrong(one)]
