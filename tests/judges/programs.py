"""Programs of others: each is run by name, in a directory of its own, and says what it says."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.conftest import REQUIRED

__all__ = ["Outcome", "missing", "must", "require", "run"]

PATIENCE = 120
"""Seconds after which a program hangs."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a program said."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """The standard output, for people."""
        return self.stdout.decode()


def run(*command: str | Path, cwd: Path, settings: Mapping[str, str] | None = None) -> Outcome:
    """Run a program in *cwd*, with the environment variables *settings* and none of the caller's."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment | dict(settings or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return Outcome(
        status=done.returncode, stdout=done.stdout, stderr=done.stderr.decode(errors="backslashreplace")
    )


def must(*command: str | Path, cwd: Path, settings: Mapping[str, str] | None = None) -> Outcome:
    """Run a program that has to succeed for the test to mean anything."""
    outcome = run(*command, cwd=cwd, settings=settings)
    assert outcome.status == 0, f"{' '.join(map(str, command))}: {outcome.stderr}"
    return outcome


def require(*wanted: str | Path) -> None:
    """Leave a test out, loudly, where a program or a file of a judge is missing.

    The marker does this for tests; what is made once for many tests is made before a marker is looked at.
    """
    for one in wanted:
        if not (one.exists() if isinstance(one, Path) else shutil.which(one)):
            missing(f"{one} is not installed")


def missing(problem: str) -> NoReturn:
    """Do as the marker does: fail in CI, skip loudly anywhere else."""
    if REQUIRED:
        pytest.fail(f"{problem}, and SPKG_REQUIRE_JUDGES=1 wants it")
    pytest.skip(f"NOT JUDGED: {problem}")
