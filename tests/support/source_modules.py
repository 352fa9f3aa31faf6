"""The modules of the code, as files and by their names."""

from pathlib import Path

from tests.support.kit import ROOT

__all__ = ["MODULES", "module_of", "relative"]

MODULES = sorted([*ROOT.glob("spkg/**/*.py"), *ROOT.glob("vouchers/**/*.py"), ROOT / "cli.py"])


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
