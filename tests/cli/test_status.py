"""``spkg status``: how a root stands, and what was installed in it."""

import json
import re
from pathlib import Path

import pytest

from spkg.format.commands import Role
from tests.support.commands import run
from tests.support.installation import APPLY, RECORDS, furnish_root, mark_unsafe
from tests.support.kit import Draft


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a package, what trusts it, and a root."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("p.spkg").write_bytes(Draft(records=RECORDS).encode())
    return tmp_path


def test_the_status_tells_what_was_installed() -> None:
    assert run("status", "--root", "root").stdout == "root: clean\n"
    run("apply", "p.spkg", *APPLY)

    text, document = run("status", "--root", "root"), run("status", "--root", "root", "--json")

    first, second = text.stdout.splitlines()
    assert first == "root: clean"
    assert re.fullmatch(r"  \S+  6\.3  3 changes  package [0-9a-f]{16}  CN=Test Signer", second)
    shown = json.loads(document.stdout)
    first_keys = ["schema", "state", "in_place", "staged", "trial", "rolled_back", "set_aside"]
    assert list(shown) == [*first_keys, "installed", "leftovers", "warnings"]
    assert (shown["schema"], shown["state"], shown["in_place"]) == ("spkg.status/1", "clean", None)
    assert [one["version"] for one in shown["installed"]] == ["6.3"]


def test_an_unsafe_root_is_said_to_be_one() -> None:
    mark_unsafe()

    shown, recovered = run("status", "--root", "root"), run("recover", "--root", "root")

    assert (shown.exit_code, shown.stdout) == (
        0,
        "root: unsafe\n  package abababababababab stopped at command[3], in the unrecoverable state\n",
    )
    assert (recovered.exit_code, recovered.stdout) == (
        7,
        "root: nothing was left to recover; the root is unsafe\n",
    )
    assert run("apply", "p.spkg", *APPLY).exit_code == 5
    Path("p.spkg").write_bytes(Draft(records=(Role(role=2), *RECORDS)).encode())
    assert run("apply", "p.spkg", *APPLY).exit_code == 0
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")
