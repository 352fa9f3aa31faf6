"""Run parts of the tests one after the other, each within its budget of time, and say how long each took.

``make test`` and ``make proof`` run this.  A part that goes over its budget is stopped,
and has failed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.parts import PARTS, PROOF, Part
from tests.support.sampling import Slice, read_slice

ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = (os.cpu_count() or 1) * 2
"""Half of what tests do is to wait: for other processes, for disks, for time to pass."""
PYTEST: Final = (sys.executable, "-m", "pytest", "-n", str(WORKERS), "--dist", "worksteal")
KEPT: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""The tests are compiled once, and not in each worker of each run, which would take it some seconds."""
TEST: Final = ("-m", "not proof")
COVERAGE: Final = (*TEST, "--cov", "--cov-report=term")
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made there
ROOM: Final = 4 << 30
"""How many octets have to be free in memory."""
NO_TESTS: Final = 5
"""How pytest ends where it has collected nothing."""
PATIENCE: Final = 30
"""Seconds that a part has to come to its end, once it was told to stop."""


def budget_of(part: Part, taken: Slice) -> int:
    """Return how many seconds a part has; a slice that is less than a tenth has the time of a tenth."""
    return part.whole if taken.of == 1 else max(part.tenth, part.whole // taken.of)


def stop(running: "subprocess.Popen[bytes]") -> None:
    """Let a command say what it has so far; where it does not end, end it with all that it started."""
    running.send_signal(signal.SIGINT)
    try:
        running.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def bounded(
    command: Sequence[str], budget: float, settings: Mapping[str, str], *, none_is_fine: bool = False
) -> str:
    """Run a command for at most so many seconds; return what became of it, ``passed`` at best.

    Args:
        command: A run of pytest.
        budget: Seconds after which it is stopped.
        settings: What it finds in the environment.
        none_is_fine: Whether it may have no test to run.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, start_new_session=True)
    try:
        status = running.wait(budget)
    except subprocess.TimeoutExpired:
        stop(running)
        return f"STOPPED: over its budget of {budget:.0f} s"
    except BaseException:
        stop(running)
        raise
    if status == NO_TESTS and none_is_fine:
        return "passed, nothing has its turn"
    return "passed" if status == 0 else f"FAILED with {status}"


@contextmanager
def workplace(part: Part) -> Iterator[dict[str, str]]:
    """Give the settings for a directory of the part's own: in memory where it may be, and there is room."""
    if not part.in_memory or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield {}
        return
    with TemporaryDirectory(prefix="spkg-tests-", dir=MEMORY, ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o711)  # some tests go on as somebody who is not root
        yield {"TMPDIR": place}


def run(name: str, taken: Slice) -> tuple[str, str]:
    """Run one part; return what became of it, and the line that says so."""
    in_proof = name in PROOF
    title = f"proof part {name}: {taken}" if in_proof else name
    part = PARTS[name]
    budget = budget_of(part, taken) if in_proof else part.whole
    print(f"{title}, budget {budget} s ({part.what})", flush=True)
    settings = {"SPKG_PROFILE": "proof", "SPKG_SAMPLE": f"{taken.number}/{taken.of}"} if in_proof else {}
    begun = time.monotonic()
    options = (f"--part={name}",) if in_proof else COVERAGE if name == "coverage" else TEST
    with workplace(part) as place:
        became = bounded(
            (*PYTEST, *options), budget, {**KEPT, **settings, **place}, none_is_fine=in_proof and taken.of > 1
        )
    line = f"{title}: {became}, {time.monotonic() - begun:.0f} s of {budget} s"
    print(line, flush=True)
    return became, line


def main(names: Sequence[str]) -> int:
    """Run the parts that are named, ``proof`` for all of the proof; return 0 where all have passed."""
    wanted = [one for name in names for one in (PROOF if name == "proof" else [name])]
    unknown = sorted({*wanted} - {*PARTS})
    if unknown or not wanted:
        print(f"expected proof, or some of {', '.join(PARTS)}, got {' '.join(names)}", file=sys.stderr)
        return 2
    taken = read_slice(os.environ.get("SPKG_SAMPLE", ""))
    done = [run(name, taken) for name in wanted]
    if len(done) > 1:
        print("\n" + "\n".join(line for _, line in done), flush=True)
    return int(not all(became.startswith("passed") for became, _ in done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
