"""Requests whose process is killed: after the next start values and ParameterKey are one, all old or all new.

SIGKILL comes at each commit and each call of a provider, and by strace at each system call that writes,
removes, syncs or sends, also in the start that carries out what was left.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

import pytest

from spkg.agent.state import AgentState
from spkg.agent.tree.provider import Provider
from spkg.cwmp.values import AttributeChange, ParameterValue
from tests.agent.tree_kit import CONFIG, IGD, SAMPLE, Bench, Scripted
from tests.support.interruptions import _attach
from tests.support.kit import ROOT
from tests.support.namespaces import in_memory, not_judged
from tests.support.sampling import few, least
from tests.support.traced_kills import CALLS, in_child, points, some

LEASE: Final = f"{IGD}LANDevice.1.LANHostConfigManagement.DHCPLeaseTime"
ROUTES: Final = f"{IGD}Layer3Forwarding.Forwarding."
ROUTE: Final = f"{ROUTES}1.DestIPAddress"
CODE: Final = f"{IGD}DeviceInfo.ProvisioningCode"
KEY: Final = f"{IGD}ManagementServer.ParameterKey"
FOLLOWED: Final = (LEASE, ROUTE, CODE, KEY)


def sample_module() -> ModuleType:
    """Return the sample provider as a module."""
    spec = importlib.util.spec_from_file_location("sample_provider", SAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE: Final = sample_module()


def served(place: Path, name: str, prefix: str) -> Scripted:
    """Return a part of the sample provider, in this process, with a file that outlives it."""
    store = EXAMPLE.Store(str(place / f"{name}.json"))
    path = f"{IGD}{prefix}"

    def answer(request: Mapping[str, Any]) -> object:
        found: dict[str, Any] = EXAMPLE.WORK[request["op"]](store, request)
        return {
            key: [one for one in value if one["path"].startswith(path)]
            if key in {"parameters", "tables"}
            else value
            for key, value in found.items()
        }

    return Scripted(answer, name=name, paths=(prefix,))


def opened(place: Path) -> Bench:
    return Bench(
        place, CONFIG, (served(place, "lan", "LANDevice."), served(place, "routes", "Layer3Forwarding."))
    )


def _values(key: str, lease: str, route: str, code: str, found: Bench) -> None:
    values = [
        ParameterValue(name, "string", text) for name, text in ((LEASE, lease), (CODE, code), (ROUTE, route))
    ]
    found.tree.set_values(values, key)


def _set(found: Bench) -> None:
    _values("new", "60", "10.0.0.1", "NEW1", found)


def _add(found: Bench) -> None:
    found.tree.add_object(ROUTES, "new")


def _delete(found: Bench) -> None:
    found.tree.delete_object(f"{ROUTES}2.", "new")


def _own(found: Bench) -> None:
    found.tree.set_values([ParameterValue(CODE, "string", "NEW1")], "new")


JOBS: Final[dict[str, Callable[[Bench], None]]] = {"set": _set, "add": _add, "delete": _delete, "own": _own}
jobs = pytest.mark.parametrize("job", JOBS)


def fresh(place: Path) -> None:
    """Make what there is before."""
    for file in [*place.glob("state/*"), *place.glob("*.json*")]:
        file.unlink()
    found = opened(place)
    for _ in range(2):
        found.tree.add_object(ROUTES, "")
    _values("old", "3600", "10.9.9.9", "OLD1", found)
    found.tree.set_attributes([AttributeChange(name, 2, None) for name in FOLLOWED])
    found.close()


def start(found: Bench, job: str | None) -> None:
    """Start, as the agent does, and do a request."""
    found.tree.carry_out_intent()
    if job is not None:
        JOBS[job](found)


def seen(place: Path) -> tuple[object, ...]:
    """Return what there is after the next start."""
    found = opened(place)
    assert found.state.set_aside is None
    assert found.tree.carry_out_intent()
    assert found.state.intent() is None
    values = tuple(one.value for one in found.tree.get_values(FOLLOWED))
    routes = tuple(one.name.removeprefix(ROUTES) for one in found.tree.get_names(ROUTES, next_level=True))
    changes = found.tree.changes()
    found.close()
    return values, routes, changes


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a directory where syncing costs nothing."""
    with in_memory(tmp_path_factory.mktemp("kills")) as place:
        (place / "place").mkdir()
        yield place


@pytest.fixture
def place(desk: Path) -> Path:
    return desk / "place"


def outcomes(place: Path, job: str) -> tuple[object, object]:
    """Return what there is without the request, and with it."""
    fresh(place)
    old = seen(place)
    found = opened(place)
    start(found, job)
    found.close()
    new = seen(place)
    assert old != new
    assert (old[2], new[2]) == ((), ())
    return old, new


def kill_at(number: int) -> None:
    """Have this process be killed before or after a commit, or a call of a provider that changes things."""
    count = 0

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            found = work(*arguments, **more)
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return run

    for owner, names in ((AgentState, ("_commit",)), (Provider, ("put", "add", "delete"))):
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))


@jobs
def test_a_request_killed_at_each_commit_is_all_old_or_all_new(place: Path, job: str) -> None:
    old, new = outcomes(place, job)
    found: Counter[str] = Counter()
    for number in range(1, 40):
        fresh(place)

        def work(number: int = number) -> None:
            kill_at(number)
            start(opened(place), job)

        status = in_child(work)
        after = seen(place)
        assert after in {old, new}, f"{number}: {after}"
        found["old" if after == old else "new"] += 1
        if status == 0:
            assert after == new
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail("it never ends")

    assert found["old"] >= 1
    assert found["new"] >= 2


def serve(desk: Path) -> None:
    """Do jobs as often as there are lines to be read, each in a new process that strace looks at."""
    os.chdir(desk)
    for line in sys.stdin:
        job, inject = json.loads(line)
        Path("log").unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            _do(desk / "place", job, inject)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _do(place: Path, job: str | None, inject: str | None) -> NoReturn:
    status = 70
    try:
        _attach(",".join(CALLS), inject)
        start(opened(place), job)
        status = 0
    finally:
        os._exit(status)


@pytest.fixture(scope="module")
def server(desk: Path) -> Iterator["subprocess.Popen[str]"]:
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        not_judged("no process can be traced here")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.agent.test_tree_kills", str(desk)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as running:
        yield running
        assert running.stdin is not None
        running.stdin.close()


def run(server: "subprocess.Popen[str]", job: str | None, inject: str | None = None) -> int:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps([job, inject]) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


@pytest.mark.part("kill")
@pytest.mark.judge("strace")
@jobs
def test_a_request_killed_at_each_system_call_is_all_old_or_all_new(
    desk: Path, place: Path, server: "subprocess.Popen[str]", job: str
) -> None:
    old, new = outcomes(place, job)
    fresh(place)
    assert run(server, job) == 0
    every = points(desk / "log", place)
    assert {one.name for one in every} >= {"openat", "pwrite64", "fdatasync"}

    found: Counter[str] = Counter()
    tried = [*dict.fromkeys((*some(every, 9), every[-1]))]  # in the last call all is written
    for point in tried:
        fresh(place)
        assert run(server, job, point.inject("signal=KILL")) == -signal.SIGKILL
        after = seen(place)
        assert after in {old, new}, f"{point}: {after}"
        found["old" if after == old else "new"] += 1

    assert found["old"] + found["new"] == len(tried)
    assert min(found["old"], found["new"]) >= least(1)


@pytest.mark.part("kill")
@pytest.mark.judge("strace")
@pytest.mark.parametrize("job", few(["set", "add", "delete"], every=3, part="kill"))
def test_a_start_killed_while_it_carries_out_what_was_left(
    desk: Path, place: Path, server: "subprocess.Popen[str]", job: str
) -> None:
    _old, new = outcomes(place, job)

    def left() -> None:
        """Be killed where the intent is on disk, and one provider may have done its part."""
        fresh(place)

        def work() -> None:
            kill_at(4)  # after the first call of a provider
            start(opened(place), job)

        assert in_child(work) == -signal.SIGKILL

    left()
    with AgentState(place / "state" / "state.db") as state:
        assert state.intent() is not None
    left()  # as the kills find it: nobody has opened it since
    assert run(server, None) == 0
    for point in some(points(desk / "log", place), 7):
        left()
        assert run(server, None, point.inject("signal=KILL")) == -signal.SIGKILL

        assert seen(place) == new, str(point)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
