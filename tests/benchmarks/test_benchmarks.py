"""The program that `make bench` runs: that it measures every figure, not what it measures."""

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Final

import pytest

from tests.support.kit import ROOT
from tests.support.postgres import PLACES

POSTGRES: Final = bool([*PLACES.glob("*/bin/postgres")] or which("postgres"))
MENDER: Final = bool(which("mender") and which("mender-artifact")) and os.geteuid() == 0
PROGRAM = ROOT / "tests" / "benchmarks" / "run.py"


def bench(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--directory", str(directory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.part("large", turns=True)
@pytest.mark.proof
@pytest.mark.judge("openssl")
def test_every_figure_is_printed_beside_its_target(tmp_path: Path) -> None:
    done = bench(tmp_path, "--size", "4MiB", "--pairs", "1", "--devices", "200")

    rows = re.findall(
        r"^(\S.*?) +(\d+\.\d+ (?:x|ms|MiB|commits)) +\d+\.\d+-\d+\.\d+ +(\S+ \S+) +(?:ok|over) ",
        done.stdout,
        re.MULTILINE,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert [(re.sub(r"\d+ cores", "N cores", name), target) for name, _, target in rows] == [
        ("verify 4 MiB of 8 files, all N cores", "0.6 x"),
        ("verify 4 MiB of 8 files, --jobs 1", "1 x"),
        ("build 4 MiB of 8 files, CPU time", "1.15 x"),
        ("apply 4 MiB of 8 files, durable, all N cores", "0.8 x"),
        ("apply 4 MiB of one file, durable, all N cores", "1 x"),
        ("apply 4 MiB of 8 files, durable, --jobs 1", "1.2 x"),
        ("apply 700 files of 4 KiB, durable", "2 x"),
        *[("the same, to OSTree", "1 x")] * bool(which("ostree")),
        *[("the same, to Mender", "1 x")] * MENDER,
        ("verify 4 MiB of 8 files, all N cores: memory", "64 MiB"),
        ("verify 4 MiB of 8 files, --jobs 1: memory", "64 MiB"),
        ("build 4 MiB of 8 files: memory", "64 MiB"),
        ("apply 4 MiB: memory", "64 MiB"),
        ("verify 4 KiB, whole process", "2.5 x"),
        ("apply --back-up 700 files, to apply", "1.1 x"),
        ("rollback of 700 files, to their apply", "0.6 x"),
        ("voucher signed, RSA-2048", "1.18 x"),
        ("the same, to python-xmlsec", "1 x"),
        ("voucher verified, chain kept", "2 x"),
        ("the same, to python-xmlsec with a chain", "1 x"),
        ("voucher of 64 Options signed, to one of 1", "40 x"),
        ("the same verified", "40 x"),
        ("vouchers for 200 devices, two processes and one", "0.56 x"),
        ("vouchers for 200 devices: memory beyond that for one", "16 MiB"),
        ("vouchers for 200 devices, two workers of a cluster and two processes", "1.2 x"),
        *[("voucher from the service, PostgreSQL, to the library", "2 x")] * POSTGRES,
        *[("the same: the slowest of 100 requests, to the median", "10 x")] * POSTGRES,
        ("fleet of 10000 devices, two processes: 2000 sessions/s, to theirs", "1 x"),
        ("fleet of 10000 devices: memory", "512 MiB"),
        ("agent: session of three posts, CPU time", "6 x"),
        ("agent: start to Inform", "3 x"),
        ("agent: connection request to Inform", "50 ms"),
        ("agent: a session without news", "0 commits"),
        ("agent: SetParameterValues", "2 commits"),
        ("agent: Download", "2 commits"),
        ("agent: both processes at rest", "48 MiB"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_measured_is_said(tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    done = bench(missing)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("not measured: [Errno 2] No such file or directory: ")


def test_a_size_is_read_strictly(tmp_path: Path) -> None:
    done = bench(tmp_path, "--size", "4MB")

    assert done.returncode == 2
    assert done.stderr.endswith("argument --size: '4MB' is no size, as 64MiB is\n")
