"""An agent that runs for years: sessions by the hundred thousand, and neither memory nor files grow (P50)."""

import gc
import os
from pathlib import Path
from typing import Final

import pytest

from tests.support.acs import request
from tests.support.acs_calls import arguments, download, set_values
from tests.support.agent_kit import APPLIED, Life
from tests.support.quiet_acs import quiet_acs
from tests.support.sampling import amount

ROOT: Final = "InternetGatewayDevice."
SETTLED: Final = 1000
"""After how many sessions everything has been done that is done once."""
GROWTH: Final = 1 << 20
"""How much resident memory may differ, in bytes: what an allocator does, and no 20 bytes a session."""
SESSIONS: Final = 100_000
FAILED: Final = {
    **APPLIED,
    "exit": 4,
    "status": "untrusted",
    "fault": {"code": 9010, "string": "not trusted"},
}
ASK_ALL: Final = request(
    "GetParameterValues",
    f'<ParameterNames soapenc:arrayType="xsd:string[1]"><string>{ROOT}</string></ParameterNames>',
)


def calls(number: int) -> tuple[bytes, ...] | None:
    """Return what the ACS asks in a session: values are read and set, files come, and it fails at times."""
    if number % 40 == 0:
        return None
    if number % 500 == 3:
        return (download(f"d{number}"),)
    if number % 50 == 7:
        return (request("ScheduleInform", arguments(DelaySeconds=5, CommandKey=f"s{number}")),)
    if number % 25 == 1:
        return (set_values(("DeviceConfig.PersistentData", f"value {number}"), key=f"k{number}"), ASK_ALL)
    return ()


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much memory")
@pytest.mark.part("long")
@pytest.mark.proof
def test_memory_and_files_are_as_they_were_after_many_sessions(tmp_path: Path) -> None:
    wanted = amount(SESSIONS, 0)
    with quiet_acs(calls) as acs:
        device = Life(tmp_path, acs)  # type: ignore[arg-type] # it has all that is needed
        device.start()
        before: tuple[int, int] | None = None
        while acs.sessions < SETTLED + wanted:
            device.run(seconds=600)
            if device.keeper.news.is_running:
                device.keeper.end(device.world.boot_id, FAILED)
            device.entries.clear()
            device.keeper.orders.clear()
            if before is None and acs.sessions >= SETTLED:
                before = resident(), descriptors()
        after = resident(), descriptors()
        size = sum(one.stat().st_size for one in (tmp_path / "state").iterdir())
        device.agent.close()

    assert before is not None
    print(f"{acs.sessions} sessions, {device.agent.state.commits} commits: {before} before, {after} after")
    assert after[1] == before[1]
    assert after[0] - before[0] <= GROWTH
    assert size < 1 << 20
    assert device.agent.state.transfers() == ()
