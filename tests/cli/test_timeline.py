"""``spkg timeline``: when the timeouts of a package would pass, at a rate."""

import json
from pathlib import Path

import pytest

from spkg.format.commands import UnrecoverableTimeout
from tests.support.commands import run
from tests.support.kit import CONTENTS, Draft
from tests.support.served_package import BIG, OCTETS, RECORDS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("rate", "octets"),
    [
        ("40kB/s", 40_000),
        ("1MB/s", 1_000_000),
        ("1.5KiB/s", 1536),
        ("2Mbit/s", 250_000),
        ("7B/s", 7),
        ("8bit/s", 1),
        ("1 GiB/s", 1 << 30),
    ],
)
def test_a_rate_is_octets_or_bits_a_second(rate: str, octets: float) -> None:
    Path("p.spkg").write_bytes(OCTETS)

    result = run("timeline", "p.spkg", "--rate", rate, "--json")

    assert json.loads(result.stdout)["rate"] == octets


@pytest.mark.parametrize("rate", ["", "0B/s", "40", "40kB", "-1B/s", "1e3B/s", "40 kb/s", "٤B/s", "infB/s"])
def test_anything_else_is_none(rate: str) -> None:
    result = run("timeline", "p.spkg", "--rate", rate)

    assert result.exit_code == 2
    assert "is not a rate such as 40kB/s, 1MiB/s or 2Mbit/s" in result.stderr


def test_the_timeline_of_a_package_is_drawn() -> None:
    timed = Draft(records=(UnrecoverableTimeout(timeout=9), *RECORDS), payload=CONTENTS + BIG)
    Path("p.spkg").write_bytes(timed.encode())

    result = run("timeline", "p.spkg", "--rate", "1kB/s")
    seldom = run("timeline", "p.spkg", "--rate", "1B/s", "--timeout", "60", "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert "(not verified)" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("installed after 1 min ")
    assert json.loads(seldom.stdout)["end"] == {"seconds": 60, "octets": 60, "timeout": "Initial Timeout"}
