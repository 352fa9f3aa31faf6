"""The rules of the suite: a test module stands by itself, in the folder that is called like what it tests."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from coverage import CoverageData

from tests.support.kit import ROOT

TESTS: Final = ROOT / "tests"
MODULES: Final = sorted(TESTS.rglob("*.py"))
OTHERS: Final = {
    "support": "what tests are made of",
    "vectors": "packages in files, and what makes them",
    "judges": "programs of others that judge ours",
    "benchmarks": "the figures of the README",
    "packaging": "what is installed, and with what",
    "documents": "what README and docs say",
    "fuzz": "programs that never end of themselves",
    "keys": "keys that are always the same",
    "kaitai": "the compiler of one of the judges",
}
"""The folders of tests that are no room of the code, and what is in them."""
ROOMS: Final = {
    path.parent.relative_to(ROOT).as_posix().removeprefix("spkg/")
    for top in ("spkg", "vouchers")
    for path in ROOT.glob(f"{top}/**/__init__.py")
}
"""The rooms of the code as the tests call them: those of ``spkg`` have no folder around them."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def name_of(path: Path) -> str:
    """Return the name under which pytest imports a module: that of its file in the packages around it."""
    parts = [path.stem]
    for folder in path.parents:
        if not (folder / "__init__.py").exists():
            break
        parts.append(folder.name)
    return ".".join(reversed(parts))


def imported(path: Path) -> Iterator[str]:
    """Give what a module imports; of what comes from a package also what may be a module in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def known_tests() -> set[str]:
    return {name_of(path) for path in MODULES if path.name.startswith("test_")}


def among_tests(names: Iterator[str]) -> set[str]:
    """Return those names that are of a test module, or of something in one."""
    beginnings = {
        ".".join(parts[:end])
        for name in names
        for parts in [name.split(".")]
        for end in range(len(parts) + 1)
    }
    return known_tests() & beginnings


def test_no_module_imports_a_test_module() -> None:
    found = {relative(path): among_tests(imported(path)) for path in MODULES}

    assert {path: names for path, names in found.items() if names} == {}


def test_every_folder_is_a_room_of_the_code_or_one_of_the_few_others() -> None:
    folders = {
        path.relative_to(TESTS).as_posix()
        for path in TESTS.rglob("*")
        if path.is_dir() and {"__pycache__", "node_modules"}.isdisjoint(path.parts)
    }

    assert {folder for folder in folders - ROOMS if folder.partition("/")[0] not in OTHERS} == set()
    assert OTHERS.keys().isdisjoint(ROOMS)


def test_a_test_in_no_folder_is_of_a_module_in_none() -> None:
    alone = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}

    assert alone - {path.stem for path in ROOT.glob("spkg/*.py")} <= {"architecture", "parts", "suite"}


def test_no_two_modules_have_one_name() -> None:
    names = Counter(map(name_of, MODULES))

    assert [name for name, count in names.items() if count > 1] == []
    assert {name.partition(".")[0] for name in names} == {"tests"}


def test_the_checks_above_can_fail(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from tests.test_suite import imported\n")
    (tmp_path / "two.py").write_text("from tests import test_suite\n")
    (tmp_path / "three.py").write_text("import os, tests.test_suite\n")

    assert [among_tests(imported(path)) for path in sorted(tmp_path.iterdir())] == [{"tests.test_suite"}] * 3
    assert name_of(tmp_path / "one.py") == "one"


def test_pytest_looks_into_every_folder(pytestconfig: pytest.Config) -> None:
    left_out = pytestconfig.getini("norecursedirs")
    folders = {path.parent for path in MODULES if path.name.startswith("test_")}

    assert [
        relative(folder)
        for folder in folders
        for part in folder.relative_to(ROOT).parts
        if any(fnmatch(part, pattern) for pattern in left_out)
    ] == []


def test_ruff_looks_at_every_module() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--show-files", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    looked_at = {Path(line) for line in found.stdout.splitlines()}
    modules = [*MODULES, *ROOT.glob("spkg/**/*.py"), *ROOT.glob("vouchers/**/*.py"), ROOT / "cli.py"]
    assert [relative(path) for path in modules if path not in looked_at] == []


MEASURED: Final = """
import sys
import coverage

folder, data = sys.argv[1:]
sys.path.insert(0, folder)
watching = coverage.Coverage(
    branch=True, data_file=data, data_suffix=True, include=[folder + "/*"], config_file=False
)
watching.config.patch = ["_exit"]
watching.start()

from tests.support.measuring import current

measuring = current()
import lines

measuring.look_away()
lines.run("unseen")
lines.forked("child of what is unseen")
with measuring.on():
    lines.run("seen")
    lines.forked("child of what is seen")
lines.run("unseen")
with measuring.on():
    lines.forked("child of what is seen")
lines.again_and_again(measuring)
watching.stop()
watching.save()
"""
LINES: Final = """
import os

def run(what):
    match what:
        case "unseen":
            return 1
        case "seen":
            return 2
        case "child of what is unseen":
            return 3
        case "child of what is seen":
            return 4
        case "seen late":
            return 5

def forked(what):
    child = os.fork()
    if child == 0:
        run(what)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

def again_and_again(measuring):
    measuring._idle["again"] = 0.1
    with measuring.on("again"):
        run("seen")
    assert 0.09 <= measuring._idle["again"] < 0.2
    with measuring.on("again"):
        run("seen late")
    assert measuring._idle["again"] == 0
    measuring._idle["again"] = 1.1
    with measuring.on("again"):
        run("unseen")
"""


def test_a_measured_test_is_measured_with_its_processes_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "lines.py").write_text(LINES)

    subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path), str(tmp_path / "data")], cwd=ROOT, check=True
    )

    found = []
    for file in tmp_path.glob("data.*"):
        (data := CoverageData(str(file))).read()
        numbers = {*(data.lines(str(tmp_path / "lines.py")) or ())}
        found.append({line.strip() for number, line in enumerate(LINES.splitlines(), 1) if number in numbers})
    returns = [sorted(line for line in lines if line.startswith("return")) for lines in found]
    assert sorted(returns) == [["return 2", "return 5"], ["return 4"]]  # the second child has nothing new
    assert [line for lines in found for line in lines if line == "import os"] == ["import os"]
