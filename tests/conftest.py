"""Settings of the whole suite: what hypothesis tries, parts of the proof, and judges that are not there."""

import gc
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from ctypes import CDLL
from functools import cache, wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, seed, settings

from tests.support.measuring import Measuring, current
from tests.support.parts import PROOF as PARTS
from tests.support.sampling import PROOF, SLICE, amount

if PROOF:  # each process of a run takes the same slice
    os.environ["SPKG_SAMPLE"] = f"{SLICE.number}/{SLICE.of}"


settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("proof", parent=settings.get_profile("default"), max_examples=amount(5000, 25))
settings.load_profile("proof" if PROOF else "default")

TESTS: Final = Path(__file__).parent
PLACES: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Where programs are looked for: servers are not on everybody's path."""
LANDLOCK_CREATE_RULESET: Final = 444
"""The number of the system call, the same on all architectures."""
TALLY: Final = os.environ.pop("SPKG_TALLY", "")
"""A file that CI counts in; no test that runs pytest writes to it."""
HANDLERS: Final = {
    number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
}
"""How signals are handled that ask a program to stop."""
LAST_STEPS: Final = 20
"""How many seconds the threads of a test may take to end once it has."""
LASTING: Final = ("Dask-Offload", "Profile")
"""How threads are called that a library starts once for its process."""
REQUIRED: Final = os.environ.get("SPKG_REQUIRE_JUDGES") == "1"
"""In CI every judge has to be there: a check that nobody ran is no check."""


@cache
def landlock() -> int:
    """Return which version of Landlock the kernel has; 0 where it has none."""
    # The last argument asks for just that, and makes no ruleset.
    return max(0, int(CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)))


@cache
def lacking(name: str) -> str | None:
    """Return why a judge can't judge: a program, or Landlock, perhaps of some version; None where it can."""
    word, _, version = name.partition(" ")
    if word == "Landlock":
        there, wanted = landlock(), int(version or 1)
        return None if there >= wanted else f"{name} is wanted, the kernel has version {there}"
    return None if shutil.which(name, path=PLACES) else f"{name} is not installed"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Have signals handled as in a new process: a program that ran in this one leaves that to its end."""
    yield
    for number, handler in HANDLERS.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Have each test end its threads: others count them, and may be disturbed by them."""
    before = {*threading.enumerate()}
    yield
    deadline = time.monotonic() + LAST_STEPS
    for thread in {*threading.enumerate()} - before:
        if not thread.name.startswith(LASTING):
            thread.join(deadline - time.monotonic())
            if thread.is_alive():
                pytest.fail(f"the thread {thread.name} still runs")


@pytest.fixture(autouse=True)
def _judge(request: pytest.FixtureRequest) -> None:
    """Leave out what needs a judge that is not here, and remember to say so."""
    for marker in request.node.iter_markers("judge"):
        for name in marker.args:
            problem = lacking(name)
            if problem is not None:
                if REQUIRED:
                    pytest.fail(f"{problem}, and SPKG_REQUIRE_JUDGES=1 wants it")
                pytest.skip(f"NOT JUDGED: {problem}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a part of the proof be named."""
    parser.addoption("--part", choices=[*PARTS], help="run only what belongs to this part of the proof")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what of each sweep is done."""
    part = config.getoption("part")
    return f"proof{f' part {part}' if part else ''}: {SLICE}" if PROOF else None


@cache
def names_part(path: Path, part: str) -> bool:
    """Say whether a module of tests has any of a part: its text says so."""
    text = path.read_text(encoding="utf-8")
    return f'part("{part}"' in text or f'part="{part}"' in text or (part == "fuzz" and "hypothesis" in text)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave modules alone that have nothing of the part that is wanted: to import all takes long."""
    part = config.getoption("part")
    if part is None or not collection_path.match("test_*.py") or names_part(collection_path, part):
        return None
    return True


def pytest_collection(session: pytest.Session) -> None:
    """Have each worker of a whole run import some modules first: whoever does it compiles one, for all."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args != session.config.getini("testpaths"):
        return
    number, of = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    part = session.config.getoption("part")
    modules = [path for path in sorted(TESTS.rglob("test_*.py")) if part is None or names_part(path, part)]
    for path in modules[number::of]:
        name = ".".join(path.relative_to(TESTS.parent).with_suffix("").parts)
        with suppress(Exception, pytest.skip.Exception):  # it is told when the module is collected
            import_module(name)


def part_of(item: pytest.Item | pytest.Collector) -> pytest.Mark | None:
    """Return which part of the proof a test belongs to; None where the short suite does all there is."""
    marker = item.get_closest_marker("part")
    if marker is None and hasattr(getattr(item, "obj", None), "hypothesis"):
        return pytest.mark.part("fuzz").mark
    return marker


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests of a part, and of those that take turns the ones whose turn it is."""
    parts = {item: part_of(item) for item in items}
    for item, part in parts.items():
        if item.get_closest_marker("proof") and part is None:
            raise pytest.UsageError(f"{item.nodeid}: a test of the proof has to belong to a part of it")
        if part is not None and part.args[0] not in PARTS:
            raise pytest.UsageError(f"{item.nodeid}: there is no part {part.args[0]!r} of the proof")
        if part is not None and not names_part(item.path, part.args[0]):
            raise pytest.UsageError(f"{item.nodeid}: its module does not name the part {part.args[0]!r}")
        if part is not None and SLICE.of > 1 and hasattr(getattr(item, "obj", None), "hypothesis"):
            seed(SLICE.number)(item.obj)  # type: ignore[attr-defined]
    wanted = config.getoption("part")
    if wanted is None:
        return
    chosen = [item for item, part in parts.items() if part is not None and part.args[0] == wanted]
    turns = [item for item in chosen if parts[item].kwargs.get("turns")]  # type: ignore[union-attr]
    waiting = {*turns} - {*turns[SLICE.number - 1 :: SLICE.of]}
    items[:] = [item for item in chosen if item not in waiting]
    config.hook.pytest_deselected(items=[item for item in parts if item not in {*items}])


MEASURING: Final = pytest.StashKey[Measuring | None]()
SWEEPS: Final = pytest.StashKey[set[tuple[object, ...]]]()
CASES: Final = pytest.StashKey[Counter[str]]()
NEW: Final = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Measure the import of every module, and then look away, but for the tests."""
    session.config.stash[MEASURING] = measured = current()
    if measured is not None:
        if not session.config.pluginmanager.hasplugin("dsession"):  # which lets others run the tests
            measured.import_all()
        measured.look_away()


def pytest_collection_finish() -> None:
    """Set aside what lives until the end: neither collecting garbage nor a forked process looks at it."""
    gc.collect()
    gc.freeze()


def thin_out(item: pytest.Item, name: str) -> None:
    """Leave all but a few cases of a test to the proof, if its part says so."""
    part = item.get_closest_marker("part")
    if part is None or "few" not in part.kwargs:
        return
    counts = item.session.stash.setdefault(CASES, Counter())
    if counts[name] % part.kwargs["few"]:
        item.add_marker("proof")
        item.add_marker("thinned")
    counts[name] += 1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note which cases of a sweep have a parameter that none before had; the others run the same lines."""
    known, name = item.session.stash.setdefault(SWEEPS, set()), item.nodeid.partition("[")[0]
    thin_out(item, name)
    case = getattr(item, "callspec", None)
    # By the values themselves: the indices of pytest count the cases where there are several parameters.
    values = {(name, one, id(value)) for one, value in ({"": None} if case is None else case.params).items()}
    item.stash[NEW] = part_of(item) is None or not values <= known
    if item.get_closest_marker("proof") is None:
        known |= values


def measuring(item: pytest.Item | pytest.Collector, what: str = "") -> AbstractContextManager[None]:
    """Measure what a test runs, or sets up for others; of a sweep, just what is new."""
    measured = item.config.stash[MEASURING]
    if measured is None or not item.stash.get(NEW, True):
        return nullcontext()
    return measured.on(f"{item.nodeid.partition('[')[0]} {what}")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """Measure what is set up for a test, if that is measured."""
    with measuring(request.node, request.fixturename or "set up"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Measure a test; where hypothesis draws for it, each of its runs, and not what is drawn."""
    handle = getattr(pyfuncitem.obj, "hypothesis", None)
    if handle is None:
        with measuring(pyfuncitem):
            return (yield)
    test = handle.inner_test

    @wraps(test)
    def measured(*args: Any, **named: Any) -> None:
        with measuring(pyfuncitem):
            test(*args, **named)

    handle.inner_test = measured
    try:
        return (yield)
    finally:
        handle.inner_test = test


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which judges were missing, and tell CI how many tests there were."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)})
    for reason in reasons:
        if "NOT JUDGED" in reason:
            terminalreporter.write_line(reason.removeprefix("Skipped: "), red=True, bold=True)
    if TALLY:
        counts = {kind: len(terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed", "error")}
        with Path(TALLY).open("a", encoding="utf-8") as file:
            file.write(f"{counts['passed']} {counts['failed'] + counts['error']}\n")
