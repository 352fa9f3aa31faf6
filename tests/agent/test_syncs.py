"""What a session costs the flash of a gateway: how often it waits for the disk, as strace sees it."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.support.acs_calls import download, set_values
from tests.support.agent_kit import Life
from tests.support.interruptions import _attach
from tests.support.quiet_acs import quiet_acs
from tests.support.traced_kills import in_child

SESSIONS: Final = {
    "without news": (),
    "SetParameterValues": (set_values(("DeviceConfig.PersistentData", "x")),),
    "without news again": (),
    "Download": (download("d", delay=3600),),
}
"""What the ACS calls in each session behind the first one."""
SYNCS: Final = ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range")


def counted(log: str) -> list[int]:
    """Return how many syncs follow each mark."""
    parts = log.split("mkdir(")[1:]
    return [sum(part.count(f"\n{name}(") for name in SYNCS) for part in parts]


@pytest.mark.judge("strace")
def test_what_lasts_is_synced_once_and_a_session_without_news_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    order = [(), *SESSIONS.values()]

    with quiet_acs(lambda number: order[number - 1] if number <= len(order) else ()) as acs:

        def work() -> None:
            os.chdir(tmp_path)
            device = Life(place, acs)  # type: ignore[arg-type] # it needs no more
            device.start()
            device.run(seconds=5)
            _attach(",".join(("mkdir", *SYNCS)), None)
            for number in range(len(SESSIONS)):
                Path(f"mark {number}").mkdir()
                device.agent.engine.force()
                device.run(seconds=5)
            Path("mark end").mkdir()  # what coverage writes is not the agent's

        assert in_child(work) == 0

    counts = counted((tmp_path / "log").read_text())
    assert dict(zip(SESSIONS, counts[: len(SESSIONS)], strict=True)) == {
        "without news": 0,
        "SetParameterValues": 1,
        "without news again": 0,
        "Download": 1,
    }
