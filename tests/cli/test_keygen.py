"""``spkg keygen``: keys to try things with."""

from pathlib import Path

import pytest

from tests.support.commands import files, run
from tests.support.package_files import furnish
from tests.support.restrictions import at_most


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_keys_just_made_sign_a_package_that_is_trusted_now() -> None:
    made = run("keygen", "keys", "--name", "Jane Doe")
    built = run("build", "m.toml", "-o", "new.spkg", "--key", "keys/signer.key", "--cert", "keys/signer.pem")
    verified = run("verify", "new.spkg", "--trust", "keys/ca.pem", "--signer", "Jane Doe")

    assert (made.exit_code, made.stdout, made.stderr) == (0, "keys: ca.pem, signer.pem, signer.key\n", "")
    assert {path.name: path.stat().st_mode & 0o777 for path in Path("keys").iterdir()} == {
        "ca.pem": 0o644,
        "signer.pem": 0o644,
        "signer.key": 0o600,
    }
    assert (built.exit_code, built.stderr) == (0, "")
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.stdout == (
        "signature 0: CN=Jane Doe, sha1: accepted\n"
        "  trusted through CN=Jane Doe root\n"
        "files: 1 of 1 match the signed digests, 21 bytes\n"
        "trusted\n"
    )


@pytest.mark.parametrize("there", ["ca.pem", "signer.pem", "signer.key"])
def test_keys_that_are_there_are_kept_unless_forced(there: str) -> None:
    Path("keys").mkdir()
    Path("keys", there).write_text("precious")

    refused = run("keygen", "keys")
    left = files("keys")
    forced = run("keygen", "keys", "--force")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert (
        refused.stderr == f"spkg: error: keys/{there} already exists\nspkg: hint: overwrite it with --force\n"
    )
    assert left == [there]
    assert (forced.exit_code, forced.stderr) == (0, "")
    assert files("keys") == ["ca.pem", "signer.key", "signer.pem"]
    assert Path("keys/signer.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("octets", [100, 1_150])
def test_keys_for_which_there_is_no_room_are_not_left_in_part(octets: int, here: Path) -> None:
    there = files(here)

    with at_most(octets):
        result = run("keygen", "keys")

    assert result.exit_code == 9
    assert files(here) == there
