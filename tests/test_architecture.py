"""The rules of the house: who may import what, who may touch the outside."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import ROOT

MODULES = sorted([*ROOT.glob("spkg/**/*.py"), *ROOT.glob("vouchers/**/*.py"), ROOT / "cli.py"])
ONLY_IN = {
    "click": {"cli.py"},
    "rich": {"cli.py"},
    "asn1crypto": {"spkg/cms.py"},
    "OpenSSL": {"spkg/trust.py"},
    "lxml": {f"vouchers/xml/{name}.py" for name in ("parsing", "verification")},
    "signxml": {"vouchers/xml/verification.py"},
    "sqlalchemy": {"vouchers/ledger.py"},
    "sqlite3": {"vouchers/store.py"},
    "tomllib": {"spkg/tables.py"},
    "requests": {"spkg/transfer/web.py"},
    "urllib3": {"spkg/transfer/web.py"},
    "urllib": {"spkg/transfer/location.py", "spkg/transfer/web.py", "vouchers/devices.py"},
    "ftplib": {"spkg/transfer/ftp.py"},
    "tftpy": {"spkg/transfer/tftp.py"},
    "socket": {f"spkg/transfer/{name}.py" for name in ("channel", "download", "downloader", "ftp")},
    "ssl": {f"spkg/transfer/{name}.py" for name in ("download", "ftp", "web")},
}
"""Libraries that one module has to itself."""
NEVER = {"subprocess", "pickle", "tempfile"}
"""What no module of the library has any business with."""
VOUCHERS_MAY_USE = {
    *("errors", "trust", "certificates", "keys", "digests"),  # who signs, and who is believed
    *("device", "tables", "text", "output", "describe"),  # files that are read and written, and what is told
}
"""Nothing of packages: their format, their commands, their installer."""
OUTSIDE = {"time", "now", "today", "getenv", "environ", "environb", "utcnow"}
"""The clock and the environment, which come as arguments."""
WRITERS = {"spkg/output.py", "spkg/extraction.py", "spkg/root.py"}
"""Modules that make files; others have a Root do it, always called ``root`` or ``_root``."""
MAKES_FILES = {
    "mkdir",
    "rename",
    "unlink",
    "rmtree",
    "write_text",
    "write_bytes",
    "hardlink_to",
    "rmdir",
    "symlink_to",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_libraries_stay_in_their_modules(path: Path) -> None:
    for name in imported(path):
        top = name.partition(".")[0]
        assert relative(path) in ONLY_IN.get(top, {relative(path)}), f"{relative(path)} imports {name}"
        assert top not in NEVER, f"{relative(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_library_knows_neither_command_line_nor_vouchers(path: Path) -> None:
    if not relative(path).startswith("spkg/"):
        return

    assert {"cli", "vouchers", "tests"}.isdisjoint(name.partition(".")[0] for name in imported(path))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_vouchers_use_of_packages_what_both_share(path: Path) -> None:
    if not relative(path).startswith("vouchers/"):
        return

    shared = {name.split(".")[1] for name in imported(path) if name.startswith("spkg.")}

    assert shared <= VOUCHERS_MAY_USE


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_library_reads_neither_clock_nor_environment(path: Path) -> None:
    if relative(path) == "cli.py":
        return

    used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}

    assert used.isdisjoint(OUTSIDE)
    assert "print" not in {
        node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
    }


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_the_writers_make_files(path: Path) -> None:
    if relative(path) in WRITERS | {"cli.py"}:
        return

    used = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and not (isinstance(node.value, ast.Name) and node.value.id == "root")
        and not (isinstance(node.value, ast.Attribute) and node.value.attr == "_root")
    }

    assert used.isdisjoint(MAKES_FILES)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_says_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    assert "__all__" in assigned or path.name == "__init__.py"


def test_the_checks_above_can_fail(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import click\nfrom lxml import etree\n")

    assert list(imported(tmp_path / "module.py")) == ["click", "lxml"]


def test_every_folder_is_part_of_what_is_installed() -> None:
    folders = {relative(path.parent).replace("/", ".") for path in MODULES if path.name == "__init__.py"}

    described = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert set(described["tool"]["setuptools"]["packages"]) == folders


def test_verify_imports_nothing_it_does_not_need() -> None:
    code = (
        "import sys; from click.testing import CliRunner; import cli;"
        "CliRunner().invoke(cli.main, ['verify', 'pyproject.toml', '--trust', 'tests/vectors/root.pem']);"
        "print(*sorted(name for name in sys.modules if '.' not in name))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    loaded = set(result.stdout.split())
    assert "OpenSSL" in loaded
    assert loaded.isdisjoint({"lxml", "signxml", "sqlalchemy", "requests", "rich", "tomllib", "logging"})
