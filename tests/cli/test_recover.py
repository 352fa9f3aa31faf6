"""``spkg recover``: what it finds left, and what it says of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spkg.format.installation_state import InstallationState
from spkg.install.checkpoint import Checkpoint, save_checkpoint
from spkg.install.own_directory import working_in
from spkg.install.root import Root
from tests.support.commands import PATIENCE, run
from tests.support.fake_servers import Script, serving
from tests.support.installation import APPLY, furnish_root, started, wait_for_octets
from tests.support.kit import CONTENTS
from tests.support.served_package import FRONT, OCTETS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a root and what trusts a package."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    return tmp_path


@pytest.fixture
def script() -> Script:
    return Script(octets=OCTETS)


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    with serving(script) as place:
        yield f"{place}/p.spkg"


def test_recovering_a_clean_root_changes_nothing() -> None:
    text, document = run("recover", "--root", "root"), run("recover", "--root", "root", "--json")

    assert text.stdout == "root: nothing was left to recover; the root is clean\n"
    assert json.loads(document.stdout) == {
        "schema": "spkg.recover/1",
        "outcome": "nothing",
        "cause": None,
        "state": "clean",
        "boots_left": None,
        "rolled_back": None,
        "discarded_aside": [],
        "warnings": [],
    }
    assert not Path("root/.spkg").exists()


def test_a_root_that_was_left_half_way_in_place_has_a_hint() -> None:
    with Root(Path("root")) as opened, working_in(opened):
        save_checkpoint(
            opened, Checkpoint(package="0", command=1, state=InstallationState.RECOVERABLE, failed=True)
        )

    result = run("recover", "--root", "root")

    assert (result.exit_code, result.stdout) == (
        0,
        "root: nothing was left to recover; the root is partial\n",
    )
    assert result.stderr == "spkg: hint: to continue, apply the same package with --in-place\n"


def test_what_was_staged_can_be_thrown_away(url: str, script: Script) -> None:
    script.stalls = [FRONT + len(CONTENTS) + 70_000]
    running = started("apply", url, *APPLY)
    wait_for_octets("root/.spkg/txn/new/*")
    running.terminate()
    running.communicate(timeout=PATIENCE)
    text = run("status", "--root", "root").stdout

    result = run("recover", "--root", "root", "--discard-staged")

    assert re.search(
        r"^  .* of package [0-9a-f]{16} are staged: its download can be resumed$", text, re.MULTILINE
    )
    assert result.stdout == (
        "root: discarded an installation that had not changed anything yet; the root is clean\n"
    )
    assert not Path("root/.spkg/txn").exists()
