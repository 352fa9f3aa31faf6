"""The sample units: systemd and shellcheck read them, and the OpenWrt scripts run with procd's functions."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.judges.programs import run
from tests.support.commands import PATIENCE
from tests.support.kit import ROOT

UNITS: Final = ROOT / "samples" / "units"
AGENT: Final = ROOT / "samples" / "agent"
SERVICE: Final = ROOT / "samples" / "service"
SYSTEMD: Final = sorted(unit for place in (UNITS, AGENT, SERVICE) for unit in (place / "systemd").iterdir())
OPENWRT: Final = sorted([*(UNITS / "openwrt").iterdir(), *(AGENT / "procd").iterdir()])
PROCD: Final = """
procd_open_instance() { echo open; }
procd_set_param() { echo "$@" | head -n 1; }
procd_close_instance() { echo close; }
. "$1"
"$2"
"""
"""What rc.common does with a script."""
LOOP: Final = """
procd_open_instance() { :; }
procd_close_instance() { :; }
procd_set_param() {
    [ "$1" = command ] || return 0
    shift
    exec "$@"
}
. "$1"
start_service
"""
"""What procd does with the command of an instance."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a trial, and programs that note how they are called."""
    (tmp_path / "root" / ".spkg").mkdir(parents=True)
    (tmp_path / "root" / ".spkg" / "trial").write_text("{}")
    (tmp_path / "bin").mkdir()
    stub(tmp_path, "spkg", 'echo "spkg $*" >> calls')
    stub(tmp_path, "sleep", 'echo "sleep $*" >> calls')
    return tmp_path / "root"


def stub(place: Path, name: str, script: str) -> None:
    (place / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / "bin" / name).chmod(0o755)


def started(root: Path, script: str, name: str, *words: str) -> subprocess.Popen[str]:
    """Start a script of OpenWrt in the directory above the root."""
    settings = {"PATH": f"{root.parent / 'bin'}:{os.environ['PATH']}", "SPKG_ROOT": str(root)}
    return subprocess.Popen(
        ["sh", "-c", script, "sh", *(str(one) for one in OPENWRT if one.name == name), *words],
        cwd=root.parent,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(root: Path, script: str, name: str, *words: str) -> tuple[int, str]:
    running = started(root, script, name, *words)
    output, _ = running.communicate(timeout=PATIENCE)
    return running.returncode, output


def calls(root: Path) -> list[str]:
    found = root.parent / "calls"
    return found.read_text().splitlines() if found.exists() else []


@pytest.mark.judge("systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    copies = [tmp_path / unit.name for unit in SYSTEMD]
    for unit, copy in zip(SYSTEMD, copies, strict=True):
        copy.write_text(unit.read_text().replace("/usr/bin/spkg", "/bin/true"))  # which it looks for

    outcome = run("systemd-analyze", "verify", "--man=no", *copies, cwd=tmp_path)

    assert (outcome.status, outcome.text, outcome.stderr) == (0, "", "")


@pytest.mark.judge("shellcheck")
def test_shellcheck_has_nothing_to_say_against_the_scripts(tmp_path: Path) -> None:
    outcome = run("shellcheck", "-s", "sh", *OPENWRT, cwd=tmp_path)

    assert (outcome.status, outcome.text) == (0, "")


def test_the_units_call_commands_and_options_that_exist() -> None:
    texts = [path.read_text() for path in (*SYSTEMD, *OPENWRT)]

    assert any("ExecStart=/usr/bin/spkg recover --root / --boot\n" in text for text in texts)
    assert any(
        "ExecStart=/usr/bin/spkg guard --root / --reboot /usr/bin/systemctl reboot\n" in one for one in texts
    )
    assert sum("PathExists=/.spkg/trial\n" in text for text in texts) == 2
    assert any("ExecStart=/usr/bin/spkg agent run --config /etc/spkg/agent.toml\n" in text for text in texts)


def test_procd_runs_the_agent_where_it_is_configured(root: Path) -> None:
    without = said(root, f"SPKG_AGENT_CONFIG=none\n{PROCD}", "spkg-agent", "start_service")
    (root.parent / "agent.toml").touch()
    status, output = said(root, f"SPKG_AGENT_CONFIG=agent.toml\n{PROCD}", "spkg-agent", "start_service")

    assert (without, status) == ((0, ""), 0)
    assert output.splitlines() == [
        "open",
        "command spkg agent run --config agent.toml",
        "respawn 3600 5 0",
        "term_timeout 300",
        "file agent.toml",
        "reload_signal HUP",
        "stdout 1",
        "stderr 1",
        "close",
    ]


def test_a_boot_recovers_where_something_was_installed(root: Path) -> None:
    assert said(root, PROCD, "spkg-recover", "boot") == (0, "")
    assert said(root, PROCD, "spkg-recover", "start") == (0, "")

    assert calls(root) == [f"spkg recover --root {root} --boot"]


def test_a_boot_of_a_root_without_installations_starts_nothing(root: Path) -> None:
    (root / ".spkg" / "trial").unlink()
    guard = said(root, PROCD, "spkg-guard", "start_service")
    (root / ".spkg").rmdir()
    recover = said(root, PROCD, "spkg-recover", "boot")

    assert (guard, recover, calls(root)) == ((0, ""), (0, ""), [])


def test_procd_gets_one_instance_for_a_trial(root: Path) -> None:
    status, output = said(root, PROCD, "spkg-guard", "start_service")

    assert status == 0
    assert output.splitlines() == ["open", "command /bin/sh -c ", "stdout 1", "stderr 1", "close"]


def test_a_guard_that_fails_is_started_again_until_it_ends_well(root: Path) -> None:
    stub(root.parent, "spkg", 'echo "spkg $*" >> calls; [ "$(grep -c spkg calls)" = 3 ]')

    assert said(root, LOOP, "spkg-guard") == (0, "")

    guard = f"spkg guard --root {root} --reboot reboot"
    assert calls(root) == [guard, "sleep 60", guard, "sleep 60", guard]


@pytest.mark.parametrize("waiting", ["spkg", "sleep"])
def test_procd_can_stop_the_guard_and_all_that_it_started(root: Path, waiting: str) -> None:
    stub(root.parent, "spkg", "exit 1")
    stub(root.parent, waiting, "echo $$ >> begun; exec tail -f /dev/null")
    fifo = root.parent / "begun"
    os.mkfifo(fifo)
    running = started(root, LOOP, "spkg-guard")
    fifo.read_text()

    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=PATIENCE)  # its child holds the pipe as long as it lives

    assert (running.returncode, output) == (143, "")
