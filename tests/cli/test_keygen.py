"""``spkg keygen``: keys to try things with."""

from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import files, run
from tests.support.kit import SAMPLE
from tests.support.package_files import furnish
from tests.support.restrictions import at_most


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


NAMES: Final = ("ca", "intermediate", "signer", "voucher", "voucher-ec")
MADE: Final = """\
  ca            root certificate, which devices trust
  intermediate  authority below the root, issuer of the signers of vouchers
  signer        signs packages (RSA)
  voucher       signs vouchers (RSA)
  voucher-ec    signs vouchers (ECDSA P-256)
these are keys to try things with: nothing protects them, so use them for nothing real
"""


def modes(directory: str) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in Path(directory).iterdir()}


def test_keys_just_made_sign_a_package_that_is_trusted_now() -> None:
    made = run("keygen", "keys", "--name", "Jane Doe")
    built = run("build", "m.toml", "-o", "new.spkg", "--key", "keys/signer.key", "--cert", "keys/signer.pem")
    verified = run("verify", "new.spkg", "--trust", "keys/ca.pem", "--signer", "Jane Doe")

    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout == f"keys: certificates (.pem), keys (.key)\n{MADE}"
    assert modes("keys") == {f"{name}.pem": 0o644 for name in NAMES} | {
        f"{name}.key": 0o600 for name in NAMES
    }
    assert (built.exit_code, built.stderr) == (0, "")
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.stdout == (
        "signature 0: CN=Jane Doe, sha1: accepted\n"
        "  trusted through CN=Jane Doe root\n"
        "files: 1 of 1 match the signed digests, 21 bytes\n"
        "trusted\n"
    )


@pytest.mark.parametrize("anchor", ["ca", "intermediate"])
@pytest.mark.parametrize("name", ["voucher", "voucher-ec"])
def test_keys_just_made_sign_a_voucher_that_is_trusted_now(name: str, anchor: str) -> None:
    run("keygen", "keys")
    sample = SAMPLE / "options.toml", "--device", SAMPLE / "device.toml", "--serial", "1"
    key = ("--key", f"keys/{name}.key", "--cert", f"keys/{name}.pem")

    issued = run("voucher", "issue", "-o", "v.xml", "--options", *map(str, sample), *key)
    verified = run("voucher", "verify", "v.xml", "--trust", f"keys/{anchor}.pem")

    assert issued.exit_code == 0, issued.stderr
    assert (verified.exit_code, verified.stderr) == (0, "")


def test_requests_are_written_where_they_are_asked_for() -> None:
    made = run("keygen", "keys", "--csr")

    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout == f"keys: certificates (.pem), keys (.key), requests (.csr)\n{MADE}"
    assert modes("keys") == {
        f"{name}{ending}": mode
        for name in NAMES
        for ending, mode in ((".pem", 0o644), (".key", 0o600), (".csr", 0o644))
    }


@pytest.mark.parametrize("there", [f"{name}{ending}" for name in NAMES for ending in (".pem", ".key")])
def test_keys_that_are_there_are_kept_unless_forced(there: str) -> None:
    Path("keys").mkdir()
    Path("keys", there).write_text("precious")

    refused = run("keygen", "keys")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert (
        refused.stderr == f"spkg: error: keys/{there} already exists\nspkg: hint: overwrite it with --force\n"
    )
    assert files("keys") == [there]
    assert Path("keys", there).read_text() == "precious"


def test_forced_keys_replace_those_that_are_there() -> None:
    Path("keys").mkdir()
    Path("keys/ca.key").write_text("precious")

    forced = run("keygen", "keys", "--force")

    assert (forced.exit_code, forced.stderr) == (0, "")
    assert files("keys") == sorted(f"{name}{ending}" for name in NAMES for ending in (".key", ".pem"))
    assert Path("keys/ca.key").read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert modes("keys")["ca.key"] == 0o600


def test_a_request_that_is_there_matters_only_where_requests_are_written() -> None:
    Path("keys").mkdir()
    Path("keys/voucher.csr").write_text("precious")

    refused = run("keygen", "keys", "--csr")
    made = run("keygen", "keys")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        "spkg: error: keys/voucher.csr already exists\nspkg: hint: overwrite it with --force\n"
    )
    assert made.exit_code == 0
    assert Path("keys/voucher.csr").read_text() == "precious"


@pytest.mark.parametrize("octets", [100, 1_150, 2_000])
def test_keys_for_which_there_is_no_room_are_not_left_in_part(octets: int, here: Path) -> None:
    there = files(here)

    with at_most(octets):
        result = run("keygen", "keys")

    assert result.exit_code == 9
    assert files(here) == there
