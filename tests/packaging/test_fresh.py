"""A checkout sets itself up from nothing, with the oldest pip of Python 3.11 and with the newest."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import spkg
from tests.support.small_environment import build_distributions, copy_checkout

pytestmark = [pytest.mark.proof, pytest.mark.part("install")]
PIPS: Final = ("pip==22.3", "pip")
"""The one that Python 3.11.0 brought, and the newest."""


def must(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def with_pip(python: Path, pip: str, cwd: Path) -> None:
    must(python, "-m", "pip", "install", "--quiet", "--upgrade", pip, cwd=cwd)


@pytest.mark.parametrize("pip", PIPS)
def test_make_sets_up_a_checkout(pip: str, tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    make = ("make", f"PYTHON={sys.executable}")
    must(*make, ".venv/python", cwd=tmp_path)
    with_pip(tmp_path / ".venv/bin/python", pip, tmp_path)

    must(*make, ".venv/test", ".venv/docs", cwd=tmp_path)

    assert must(".venv/bin/spkg", "--version", cwd=tmp_path) == f"spkg {spkg.__version__}\n"
    must(".venv/bin/python", "-m", "pytest", "-q", "tests/packaging/test_locks.py", cwd=tmp_path)


@pytest.mark.parametrize("pip", PIPS)
def test_a_gateway_is_set_up(pip: str, tmp_path: Path) -> None:
    _, wheel = build_distributions(tmp_path)
    must(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python = tmp_path / "env/bin/python"
    with_pip(python, pip, tmp_path)
    lock = tmp_path / "tree/.requirements/gateway.lock"

    must(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock, cwd=tmp_path)
    must(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)

    assert must("env/bin/spkg", "--version", cwd=tmp_path) == f"spkg {spkg.__version__}\n"
    must("env/bin/spkg", "keygen", "keys", cwd=tmp_path)
