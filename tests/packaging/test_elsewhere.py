"""What builds, signs and compares packages runs where there is no Linux: its names are gone."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.kit import ROOT, SAMPLE

PROGRAM: Final = (sys.executable, str(Path(__file__).with_name("elsewhere.py")))
KEY: Final = ("--key", "k/signer.key", "--cert", "k/signer.pem")
TRUST: Final = ("--trust", "k/ca.pem")
VOUCHER: Final = (
    *("voucher", "issue", *KEY),
    *("--device", str(SAMPLE / "device.toml"), "--options", str(SAMPLE / "options.toml")),
)  # fmt: skip


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *args],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_package_and_a_voucher_are_made_and_looked_at_there(tmp_path: Path) -> None:
    steps = [
        ("keygen", "k"),
        ("build", str(SAMPLE / "manifest.toml"), "-o", "a.spkg", *KEY),
        ("sign", "a.spkg", *KEY, "--digest", "sha256", "-o", "b.spkg"),
        ("inspect", "b.spkg"),
        ("verify", "b.spkg", *TRUST),
        ("verify", "b.spkg", *TRUST, "--jobs", "4"),
        ("extract", "b.spkg", "out", *TRUST, "--manifest"),
        ("build", "out/manifest.toml", "-o", "c.spkg", *KEY),
        ("diff", "a.spkg", "c.spkg"),
        ("timeline", "a.spkg", "--rate", "10kB/s"),
        (*VOUCHER, "--serial", "1", "-o", "v.xml"),
        (*VOUCHER, "--ledger", "ledger.db", "--new-ledger", "--out-dir", "many"),
        ("voucher", "verify", "v.xml", *TRUST),
    ]

    done = run(*[word for step in steps for word in ("--", *step)][1:], cwd=tmp_path)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("args", [("apply", "a.spkg", "--root", ".", *TRUST), ("status", "--root", ".")])
def test_what_changes_a_root_says_that_it_needs_linux(args: tuple[str, ...], tmp_path: Path) -> None:
    build = ("build", str(SAMPLE / "manifest.toml"), "-o", "a.spkg", *KEY)
    assert run("keygen", "k", "--", *build, cwd=tmp_path).returncode == 0

    result = run(*args, cwd=tmp_path)

    assert (result.returncode, result.stdout) == (9, "")
    assert result.stderr == (
        "spkg: error: this command needs Linux\n"
        "spkg: hint: run it on Linux; packages can be built, signed and verified anywhere\n"
    )
