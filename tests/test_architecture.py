"""The rules of the house: who may import what, who may touch the outside."""

import ast
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.kit import ROOT
from tests.support.source_modules import MODULES, module_of, relative

BASE = {"spkg.errors", "spkg.common"}
READING = BASE | {"spkg.trust", "spkg.cwmp", "spkg.format", "spkg.verify"}
PACKAGES = READING | {"spkg.device", "spkg.build", "spkg.download", "spkg.install"}
SHARED = BASE | {"spkg.trust", "spkg.cwmp", "spkg.device"}
SHOWN = {"spkg.report.lines", "spkg.report.certificates", "spkg.report.signer_explanation"}
VOUCHERS = {"vouchers.model", "vouchers.months", "vouchers.signature"}
MAY_IMPORT = {
    "spkg": set[str](),
    "spkg.errors": set[str](),
    "spkg.common": {"spkg.errors"},
    "spkg.trust": BASE,
    "spkg.cwmp": BASE,
    "spkg.format": BASE | {"spkg.trust", "spkg.cwmp"},
    "spkg.device": BASE | {"spkg.trust", "spkg.cwmp", "spkg.format"},
    "spkg.verify": BASE | {"spkg.trust", "spkg.cwmp", "spkg.format"},
    "spkg.build": READING,
    "spkg.download": READING | {"spkg.device"},
    "spkg.install": READING | {"spkg.device"},
    "spkg.report": PACKAGES - {"spkg.download"} | {"spkg.download.timeline"},
    "spkg.agent": READING | {"spkg.device", "spkg.download"},
    "spkg.cli": PACKAGES | {"spkg", "spkg.report", "spkg.agent"},
    "spkg.__main__": {"spkg", "spkg.cli", "vouchers.cli"},
    "vouchers": set[str](),
    "vouchers.model": SHARED | {"vouchers.months"},
    "vouchers.months": SHARED,
    "vouchers.signature": SHARED | {"vouchers.model", "vouchers.months"},
    "vouchers.acs": SHARED | VOUCHERS | {"spkg"},
    "vouchers.cpe": SHARED | VOUCHERS,
    "vouchers.service": SHARED | VOUCHERS | {"vouchers.acs", "vouchers.ledger_report", "spkg"},
    "vouchers.report": SHARED | SHOWN | VOUCHERS | {"vouchers.acs", "vouchers.cpe"},
    "vouchers.ledger_report": SHARED | SHOWN | {"vouchers.acs"},
    "vouchers.cli": SHARED
    | VOUCHERS
    | {
        "vouchers.acs",
        "vouchers.cpe",
        "vouchers.service",
        "vouchers.report",
        "vouchers.ledger_report",
        "spkg.cli",
        "spkg.report",
    },
    "cli": PACKAGES | {"spkg", "spkg.__main__"},
}
"""What the modules of each room may import, besides those of the same room."""
ONLY_IN = {
    "click": ("cli.py", "spkg/__main__.py", "spkg/cli/", "vouchers/cli/"),
    "rich": ("spkg/cli/console.py",),
    "asn1crypto": ("spkg/format/signature_block.py",),
    "OpenSSL": ("spkg/trust/",),
    "lxml": ("spkg/common/hostile_xml.py", "spkg/cwmp/", "spkg/agent/masking.py", "vouchers/signature/"),
    "signxml": ("vouchers/signature/verify.py",),
    "sqlalchemy": ("vouchers/acs/ledger",),
    "alembic": ("vouchers/acs/ledger_migration.py", "vouchers/acs/ledger_steps/"),
    "sqlite3": (
        "vouchers/cpe/store.py",
        "vouchers/cpe/store_tables.py",
        "spkg/agent/state_file.py",
        "vouchers/acs/given_serials.py",
    ),
    "tomllib": ("spkg/common/toml_document.py",),
    "requests": ("spkg/download/http.py", "spkg/download/http_answer.py"),
    "urllib3": ("spkg/download/http.py", "spkg/download/http_answer.py", "spkg/download/http_connection.py"),
    "urllib": (
        "spkg/agent/acs_response.py",
        "spkg/agent/client.py",
        "spkg/download/url.py",
        "spkg/download/http.py",
        "spkg/trust/token_signer.py",
        "vouchers/acs/device_list.py",
        "vouchers/acs/listed_device.py",
        "spkg/agent/config.py",
        "spkg/agent/fleet_http.py",
        "vouchers/service/app.py",
        "vouchers/service/requests.py",
    ),
    "distributed": ("vouchers/acs/cluster.py",),
    "dask": ("vouchers/acs/cluster.py",),
    "pkcs11": ("spkg/trust/token_signer.py",),
    "ftplib": ("spkg/download/ftp.py",),
    "tempfile": ("spkg/cli/cat.py", "vouchers/acs/serial_log.py", "vouchers/service/batches.py"),
    "socket": ("spkg/download/", "spkg/agent/", "vouchers/service/server.py"),
    "ssl": (
        "spkg/download/",
        "spkg/agent/acs_http.py",
        "spkg/agent/contact_words.py",
        "spkg/agent/fleet.py",
        "spkg/agent/fleet_download.py",
        "spkg/agent/fleet_http.py",
        "spkg/agent/fleet_wire.py",
        "spkg/agent/transport.py",
        "vouchers/acs/cluster.py",
        "vouchers/service/server.py",
    ),
    "asyncio": ("spkg/agent/", "vouchers/service/", "vouchers/acs/cluster.py"),
    "h11": ("spkg/agent/listener.py", "vouchers/service/http_protocol.py"),
    "starlette": ("vouchers/service/",),
    "uvicorn": ("vouchers/service/http_protocol.py", "vouchers/service/server.py"),
    "prometheus_client": ("vouchers/service/metrics.py",),
}
"""Libraries that a few modules, or the folders that end in a slash, have to themselves."""
NEVER = {"subprocess", "pickle"}
"""What no module of the library has any business with."""
COMMAND_LINE = {"cli", "spkg.__main__", "spkg.cli", "vouchers.cli"}
OUTSIDE = {"time", "now", "today", "getenv", "environ", "environb", "utcnow"}
"""The clock and the environment, which come as arguments."""
WRITERS = {
    "spkg/common/atomic_output.py",
    "spkg/common/part_files.py",
    "spkg/agent/control.py",
    "spkg/agent/rights.py",
    "spkg/agent/state_file.py",
    "spkg/agent/transfer_process.py",
    "spkg/build/extract.py",
    "spkg/install/root.py",
    "spkg/install/tree_removal.py",
}
"""Modules that make files (the state of the agent moves a damaged one aside); others
have a Root do it, always called ``root`` or ``_root``."""
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


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return what a module imports, reads and calls; each rule looks at it."""
    kinds = (ast.Import, ast.ImportFrom, ast.Attribute, ast.Name)
    return tuple(node for node in ast.walk(parsed(path)) if isinstance(node, kinds))


def imported(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively"
            module = node.module or ""
            modules = (
                {alias.name for alias in node.names} & {"errors", "device"} if module == "spkg" else set()
            )
            yield from (f"spkg.{name}" for name in modules) if modules else [module]


def room_of(module: str) -> str:
    """Return the folder in a package that a module is in, or the module where it is in none."""
    return ".".join(module.split(".")[:2])


def test_libraries_stay_in_their_modules() -> None:
    for path in MODULES:
        for name in imported(path):
            top = name.partition(".")[0]
            assert relative(path).startswith(ONLY_IN.get(top, ("",))), f"{relative(path)} imports {name}"
            assert top not in NEVER, f"{relative(path)} imports {name}"


def test_a_room_imports_from_rooms_before_it() -> None:
    faces = {
        ROOT / "spkg/__init__.py",
        ROOT / "vouchers/__init__.py",
    }  # import what they name when it is used
    for path in {*MODULES} - faces:
        own = room_of(module_of(path))
        for name in imported(path):
            if name.partition(".")[0] in {"spkg", "vouchers", "cli", "tests"}:
                allowed = MAY_IMPORT[own] | {own}
                within = {
                    one for one in allowed if name == one or (one != "spkg" and name.startswith(f"{one}."))
                }
                assert within, f"{relative(path)} imports {name}"


def test_every_room_has_a_rule() -> None:
    assert {room_of(module_of(path)) for path in MODULES} <= MAY_IMPORT.keys()


def test_the_rules_have_no_circle() -> None:
    graph = {room: set(allowed) & MAY_IMPORT.keys() for room, allowed in MAY_IMPORT.items()}

    order = list(TopologicalSorter(graph).static_order())

    assert order.index("spkg.errors") < order.index("spkg.common") < order.index("cli")


LIBRARY = [path for path in MODULES if room_of(module_of(path)) not in COMMAND_LINE]


def test_the_library_reads_neither_clock_nor_environment() -> None:
    for path in LIBRARY:
        used = {node.attr for node in nodes(path) if isinstance(node, ast.Attribute)}
        named = {node.id for node in nodes(path) if isinstance(node, ast.Name)}

        assert used.isdisjoint(OUTSIDE), f"{relative(path)} reads {used & OUTSIDE}"
        assert "print" not in named, f"{relative(path)} prints"


def test_only_the_writers_make_files() -> None:
    for path in LIBRARY:
        used = {
            node.attr
            for node in nodes(path)
            if isinstance(node, ast.Attribute)
            and not (isinstance(node.value, ast.Name) and node.value.id == "root")
            and not (isinstance(node.value, ast.Attribute) and node.value.attr == "_root")
        }

        assert relative(path) in WRITERS or used.isdisjoint(MAKES_FILES), f"{relative(path)} makes files"


def test_every_module_says_what_it_offers() -> None:
    saying = {
        path
        for path in MODULES
        for node in parsed(path).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id == "__all__"
    }

    assert [relative(path) for path in {*MODULES} - saying if path.name != "__init__.py"] == []


@pytest.mark.parametrize("face", ["spkg", "vouchers"])
def test_every_name_of_a_face_leads_somewhere(face: str) -> None:
    module = import_module(face)

    assert {name for name in module.__all__ if getattr(module, name, None) is None} == set()


def test_the_checks_above_can_fail(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import click\nfrom lxml import etree\n")

    assert list(imported(tmp_path / "module.py")) == ["click", "lxml"]


def test_no_module_is_called_like_one_of_the_standard_library_that_it_imports() -> None:
    for path in MODULES:
        others = {name.partition(".")[0] for name in imported(path)} - {"spkg", "vouchers"}
        assert path.stem not in others, relative(path)


def defined(path: Path) -> Iterator[str]:
    """Give the public classes, constants and aliases of a module."""
    for node in parsed(path).body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case _:
                pass


def test_a_name_means_one_thing() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for name in defined(path):
            # Alembic wants each step of a ledger to have these.
            if not name.startswith("_") and name not in {"revision", "down_revision"}:
                homes[name].append(relative(path))

    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


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
    assert loaded.isdisjoint(
        {"lxml", "signxml", "sqlalchemy", "alembic", "requests", "rich", "tomllib", "logging"}
    )


@pytest.mark.parametrize("command", ["confirm", "guard", "log", "recover", "rollback", "status"])
def test_what_needs_no_package_imports_nothing_that_packages_need(command: str, tmp_path: Path) -> None:
    more = ["--reboot", "true"] if command == "guard" else []
    code = (
        "import sys; from click.testing import CliRunner; import cli;"
        f"CliRunner().invoke(cli.main, {[command, '--root', str(tmp_path), *more]!r});"
        "print(*sorted(sys.modules))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    loaded = set(result.stdout.split())
    assert "spkg.install.trial" in loaded
    assert loaded.isdisjoint({"OpenSSL", "asn1crypto", "cryptography", "spkg.device", "spkg.verify"})


def test_what_commands_on_a_gateway_load_makes_its_dataclasses_quickly() -> None:
    code = (
        "import sys, spkg.__main__, spkg.cli.apply, spkg.cli.verify, spkg.download.source, spkg.report.apply;"
        "import spkg.install.guard, spkg.install.supervisor, spkg.report.trial, spkg.trust.trust_files;"
        "modules = [module for name, module in sys.modules.items() if name.startswith('spkg')];"
        "classes = {one for module in modules for one in vars(module).values() if isinstance(one, type)};"
        "params = {one: vars(one).get('__dataclass_params__') for one in classes};"
        "print(len(params), *(f'{one.__module__}.{one.__name__}'"
        " for one, found in params.items() if found is not None and found.frozen))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    count, *slow = result.stdout.split()
    assert int(count) > 100
    assert slow == [], (
        "import dataclass from spkg.common.frozen: that of the standard library is slow to make one"
    )
