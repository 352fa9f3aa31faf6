"""Two files of one SHA-1: what the form of 2004 can't tell apart, and strong digests do in every command."""

import json
from hashlib import sha1
from pathlib import Path

import pytest

from spkg.build.sign import add_signature
from spkg.common.digests import Digest
from spkg.format.commands import End, StrongDigests
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from tests.judges.programs import run as judge
from tests.support.collision import COLLISION
from tests.support.commands import run
from tests.support.kit import Draft, file, signer
from tests.support.package_files import TRUST, furnish

ONE, OTHER = COLLISION
BOTH = (Digest.SHA1, Digest.SHA256)


def package(*, strong: bool, payload: bytes, signed_with: tuple[Digest, ...] = BOTH) -> bytes:
    """Return a package that was signed for the first file, with any payload."""
    listed = (StrongDigests(digests=(Digest.SHA256.of(ONE),)),) if strong else ()
    draft = Draft(records=(*listed, file("/bin/app", ONE), End()), payload=payload)
    block = EMPTY_BLOCK
    for digest in signed_with:
        block = add_signature(load_block(block), draft.signed, signer().identity(), digest=digest)
    return draft.signed + block + payload


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of its own with the package, its double, and the forms of both without strong digests."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("good.spkg").write_bytes(package(strong=True, payload=ONE))
    Path("swapped.spkg").write_bytes(package(strong=True, payload=OTHER))
    Path("plain.spkg").write_bytes(package(strong=False, payload=ONE))
    Path("plain-swapped.spkg").write_bytes(package(strong=False, payload=OTHER))
    Path("root").mkdir()


def test_the_two_files_differ_and_have_one_sha_1() -> None:
    assert ONE != OTHER
    assert len(ONE) == len(OTHER)
    assert sha1(ONE, usedforsecurity=False).digest() == sha1(OTHER, usedforsecurity=False).digest()


COMMANDS = {
    "verify": ("verify", "{}", *TRUST),
    "verify, strictly": ("verify", "{}", *TRUST, "--digests", "sha256"),
    "extract": ("extract", "{}", "out", *TRUST),
    "cat": ("cat", "{}", "/bin/app", *TRUST),
    "apply": ("apply", "{}", "--root", "root", *TRUST),
    "apply, strictly": ("apply", "{}", "--root", "root", *TRUST, "--digests", "sha256"),
    "apply in place": ("apply", "{}", "--root", "root", *TRUST, "--in-place"),
}


@pytest.mark.part("fuzz", turns=True, few=4)
@pytest.mark.parametrize("command", COMMANDS)
def test_strong_digests_tell_them_apart_in_every_command(command: str) -> None:
    def called(name: str) -> int:
        return run(*(part.format(name) for part in COMMANDS[command])).exit_code

    assert called("swapped.spkg") == 4
    assert not Path("root/bin/app").exists()
    assert not Path("out").exists()
    assert called("good.spkg") == 0


@pytest.mark.part("fuzz", turns=True, few=4)
@pytest.mark.parametrize("command", COMMANDS)
def test_without_them_only_a_policy_without_sha_1_refuses_the_double(command: str) -> None:
    strict = "strictly" in command

    result = run(*(part.format("plain-swapped.spkg") for part in COMMANDS[command]))

    assert result.exit_code == (4 if strict else 0)
    if strict:
        assert "the package has no strong digests, so only SHA-1 protects its files" in result.stderr


def test_without_sha_1_the_second_signature_counts_and_the_first_does_not() -> None:
    Path("first.spkg").write_bytes(package(strong=True, payload=ONE, signed_with=(Digest.SHA1,)))

    for name, status in (("good.spkg", 0), ("first.spkg", 4)):
        result = run("verify", name, *TRUST, "--digests", "sha256", "--json")
        signatures = json.loads(result.stdout)["signatures"]
        assert (result.exit_code, {one["digest"]: one["status"] for one in signatures}) == (
            status,
            {"sha1": "refused", "sha256": "accepted"} if status == 0 else {"sha1": "refused"},
        )


def test_list_and_diff_show_what_is_stated() -> None:
    listed = json.loads(run("list", "good.spkg", "--json").stdout)["files"]
    compared = run("diff", "plain.spkg", "good.spkg")

    assert [one["sha1"] for one in listed] == [sha1(ONE, usedforsecurity=False).hexdigest()]
    assert compared.exit_code == 10
    assert "trong" in compared.stdout


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("name", ["good.spkg", "swapped.spkg"])
def test_a_reader_of_2004_takes_both_which_is_why_there_are_strong_digests(name: str, tmp_path: Path) -> None:
    octets = Path(name).read_bytes()
    block = json.loads(run("inspect", name, "--json").stdout)["signature_block"]
    start, end = block["offset"], block["offset"] + block["length"]
    Path("signed").write_bytes(octets[:start])
    Path("block").write_bytes(octets[start:end])

    judged = judge(
        *["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "block", "-content", "signed"],
        *["-CAfile", "ca.pem", "-purpose", "any", "-out", "taken", "-attime", "1780315200"],
        cwd=tmp_path,
    )

    assert judged.status == 0, judged.stderr
    assert sha1(octets[end:], usedforsecurity=False).digest() in octets[:start]
