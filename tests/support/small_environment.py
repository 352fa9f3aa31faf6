"""Environments with some libraries and no others of those that tests run with; nothing is downloaded."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from shutil import copy
from typing import Final

from tests.support.kit import ROOT

__all__ = ["GATEWAY", "RUN", "build_distributions", "copy_checkout", "environment", "locked_names"]

GATEWAY: Final = "gateway.lock"
RUN: Final = "run.lock"


def locked_names(lock: str) -> list[str]:
    """Return the names of what a lock has."""
    text = (ROOT / ".requirements" / lock).read_text()
    return re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", text, re.MULTILINE)


def build_distributions(place: Path) -> tuple[Path, Path]:
    """Build a source distribution of the checkout, and a wheel of that; return both."""
    tree, out = place / "tree", place / "dist"
    copy_checkout(tree)
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=tree, capture_output=True, check=True)
    (sdist,) = out.glob("*.tar.gz")
    _pip(sys.executable, "wheel", "--no-build-isolation", "--no-deps", "-w", str(out), str(sdist))
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


def copy_checkout(tree: Path) -> None:
    """Copy the files of the checkout, and nothing that was made of them."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.split(b"\0")  # fmt: skip
    for name in filter(None, (file.decode() for file in files)):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, tree / name)


def environment(place: Path, lock: str, wheel: Path) -> Path:
    """Make an environment with what a lock has and a wheel, and return its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], capture_output=True, check=True)
    programs = place / "bin"
    _pip(str(programs / "python"), "install", "--no-index", "--no-deps", str(wheel))
    (site,) = place.glob("lib/python3*/site-packages")
    for name in locked_names(lock):
        if name == "setuptools":
            continue  # the environment has its own, or needs none
        for file in metadata.files(name) or ():
            top = file.parts[0]
            if top in {"..", "__pycache__"} or (site / top).exists():
                continue
            (site / top).symlink_to(
                Path(str(file.locate())).parents[len(file.parts) - 2]
                if len(file.parts) > 1
                else str(file.locate())
            )
    return programs


def _pip(python: str, *args: str) -> None:
    subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *args],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
