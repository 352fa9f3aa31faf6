"""What is installed: two packages and a command, in an environment that has nothing else of ours."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

import spkg
from spkg.__main__ import COMMANDS
from tests.support.kit import ROOT, SAMPLE
from tests.support.small_environment import GATEWAY, RUN, build_distributions, environment

pytestmark = [pytest.mark.part("install"), pytest.mark.proof]

KEY: Final = ("--key", "k/signer.key", "--cert", "k/signer.pem")
TRUST: Final = ("--trust", "k/ca.pem")
DEVICE: Final = ("--device", str(SAMPLE / "device.toml"))
APPLY: Final = ("apply", "a.spkg", "--root", "root", *TRUST, *DEVICE)
PROGRAM: Final = """
import vouchers
import spkg
from datetime import UTC, datetime
from pathlib import Path

def version(path: Path, policy: spkg.Policy) -> str:
    with spkg.open_package(path) as (package, payload):
        trusted = spkg.verify_package(package, policy, at=datetime.now(UTC))
        spkg.check_payload(trusted, payload)
        return trusted.signers[0].subject

def believed(octets: bytes, policy: spkg.Policy) -> tuple[vouchers.Option, ...]:
    return vouchers.Verifier(policy).verify(vouchers.read_voucher(octets), datetime.now(UTC)).voucher.options
"""
MYPY: Final = (sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache")
MISTAKE: Final = (
    "def wrong(package: spkg.Package) -> spkg.Plan:\n    return spkg.plan_installation(package, None, None)\n"
)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build_distributions(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, distributions: tuple[Path, Path]) -> Path:
    return environment(tmp_path_factory.mktemp("gateway"), GATEWAY, distributions[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, distributions: tuple[Path, Path]) -> Path:
    return environment(tmp_path_factory.mktemp("whole"), RUN, distributions[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, gateway: Path) -> Path:
    """Keys, a package and a root, made with what a gateway has."""
    place = tmp_path_factory.mktemp("made")
    (place / "root").mkdir()
    assert run(gateway, "keygen", "k", cwd=place).returncode == 0
    built = run(gateway, "build", str(SAMPLE / "manifest.toml"), "-o", "a.spkg", *KEY, cwd=place)
    assert (built.returncode, built.stderr) == (0, "")
    return place


def run(programs: Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [programs / "spkg", *args], cwd=cwd, env={}, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_wheel_has_two_packages_with_types_and_no_other_name(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = wheel.namelist()

    version = spkg.__version__
    assert {name.partition("/")[0] for name in names} == {
        "spkg", "vouchers", f"tr069_spkg-{version}.dist-info",
    }  # fmt: skip
    assert {"spkg/py.typed", "vouchers/py.typed"} <= {*names}
    modules = {
        path.relative_to(ROOT).as_posix()
        for room in ("spkg", "vouchers")
        for path in ROOT.glob(f"{room}/**/*.py")
    }
    assert {name for name in names if name.endswith(".py")} == modules


def test_the_source_distribution_has_what_a_wheel_is_built_of(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert {"pyproject.toml", "README.md", "LICENSE", "spkg/__main__.py", "vouchers/py.typed"} <= names


def test_every_help_and_the_version_need_no_more_than_a_gateway_has(gateway: Path, tmp_path: Path) -> None:
    told = {name: run(gateway, *name.split(), "--help", cwd=tmp_path) for name in ["", *COMMANDS]}

    assert {name: one.stderr for name, one in told.items() if one.returncode or not one.stdout} == {}
    assert run(gateway, "--version", cwd=tmp_path).stdout == f"spkg {spkg.__version__}\n"
    module = subprocess.run(
        [gateway / "python", "-m", "spkg", "--version"], env={}, capture_output=True, text=True, check=True
    )
    assert module.stdout == f"spkg {spkg.__version__}\n"


@pytest.mark.parametrize(
    "args",
    [
        ("inspect", "a.spkg"),
        ("verify", "a.spkg", *TRUST),
        ("verify", "a.spkg", *TRUST, "--json"),
        ("sign", "a.spkg", *KEY, "--digest", "sha256", "-o", "two.spkg"),
        ("extract", "a.spkg", "out", *TRUST),
        ("diff", "a.spkg", "a.spkg"),
        ("timeline", "a.spkg", "--rate", "1MB/s"),
        (*APPLY, "--dry-run"),
        APPLY,
        (*APPLY, "--again", "--json"),
        ("recover", "--root", "root"),
        ("status", "--root", "root", "--json"),
    ],
    ids=lambda args: " ".join(args[:2]),
)  # fmt: skip
def test_what_a_gateway_has_is_enough(args: tuple[str, ...], gateway: Path, made: Path) -> None:
    result = run(gateway, *args, cwd=made)

    assert (result.returncode, "error" in result.stderr) == (0, False), result.stderr


@pytest.mark.parametrize(
    ("args", "library", "install"),
    [
        (("voucher", "verify", "v.xml", *TRUST), "lxml", "lxml signxml"),
        (("voucher", "inspect", "a.spkg"), "lxml", "lxml signxml"),
        (("voucher", "ledger", "list", "--ledger", "l.db"), "sqlalchemy", "SQLAlchemy"),
        (("fetch", "http://127.0.0.1:9/a.spkg", "-o", "b.spkg", *TRUST), "requests", "requests"),
        (("fetch", "https://127.0.0.1:9/a.spkg", "-o", "b.spkg", *TRUST), "requests", "requests"),
        (("apply", "http://127.0.0.1:9/a.spkg", "--root", "root", *TRUST), "requests", "requests"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_a_library_that_is_missing_is_named(
    args: tuple[str, ...], library: str, install: str, gateway: Path, made: Path
) -> None:
    result = run(gateway, *args, cwd=made)

    assert (result.returncode, result.stdout) == (9, "")
    assert result.stderr == (
        f"spkg: error: the library {library} is needed, but not installed\n"
        f"spkg: hint: pip install {install}\n"
    )


def test_an_ordinary_installation_issues_and_verifies_vouchers(whole: Path, made: Path) -> None:
    files = (*DEVICE, "--options", str(SAMPLE / "options.toml"))

    issued = run(whole, "voucher", "issue", *files, *KEY, "--serial", "1", "-o", "v.xml", cwd=made)
    verified = run(whole, "voucher", "verify", "v.xml", *TRUST, cwd=made)

    assert (issued.returncode, verified.returncode) == (0, 0), issued.stderr + verified.stderr


def test_a_program_of_others_type_checks_against_what_is_installed(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(PROGRAM + MISTAKE)

    right, wrong = (
        subprocess.run(
            [*MYPY, "--python-executable", whole / "python", file],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )
        for file in ("right.py", "wrong.py")
    )  # fmt: skip

    assert (right.returncode, right.stdout) == (0, "Success: no issues found in 1 source file\n")
    assert "Argument 1 to" in wrong.stdout
    assert wrong.returncode == 1
