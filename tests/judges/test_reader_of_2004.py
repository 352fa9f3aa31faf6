"""Readers of 2004 as judges: with everything that goes beyond the text, they still take a package.

One reader is compiled from the description of the format without our extensions; it finds all files and skips
what it does not know.  OpenSSL is asked about the SHA-1 signature alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.common.digests import Digest
from spkg.format.package import Package
from spkg.format.signature_block import load_block, without_signers
from spkg.verify.payload import open_package
from tests.judges import case
from tests.judges.desk import Desk
from tests.judges.kaitai import reader_of_2004
from tests.support.commands import run
from tests.support.kit import AT

FILES: Final[Mapping[str, bytes]] = {"/bin/app": b"#!/bin/sh\n", "/etc/motd": b"welcome\n", "/empty": b""}
MANIFEST: Final = """
[package]
version = "6.3.9.41"
strong-digests = true
file-modes = "exact"
[metadata]
build = "1042"
[[step]]
extract-tree = "/"
from = "tree"
"""
EXTENSIONS: Final = {9256: b"SPKG-D01", 9257: b"SPKG-M01", 9258: b"SPKG-T01"}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A package with every extension, and where it and its keys lie."""

    desk: Desk
    octets: bytes
    package: Package


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A package that the commands built and signed, with SHA-1 and with SHA-256."""
    desk = Desk(tmp_path_factory.mktemp("of-2004"))
    desk.put("root.pem", case.root().pem)
    desk.put_identity("signer", case.signer())
    desk.put("m.toml", MANIFEST.encode())
    for path, contents in FILES.items():
        source = desk.path / "tree" / path[1:]
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(contents)
    (desk.path / "tree/bin/app").chmod(0o755)
    place = str(desk.path / "p.spkg")
    signing = ("--key", str(desk.path / "signer.key"), "--cert", str(desk.path / "signer.pem"))
    for command in (("build", str(desk.path / "m.toml"), "-o", place), ("sign", place, "--digest", "sha256")):
        result = run(*command, *signing, "--trust", str(desk.path / "root.pem"), "--at", AT.isoformat())
        assert (result.exit_code, result.stderr) == (0, "")
    with open_package(Path(place)) as (package, _):
        return Judged(desk=desk, octets=Path(place).read_bytes(), package=package)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The reader that knows the types of Table 68 and no other."""
    return reader_of_2004(tmp_path_factory.mktemp("kaitai-of-2004"))


def digests_of(block: bytes) -> list[str]:
    return [one.digest_algorithm.name for one in load_block(block).signers]


def alone(judged: Judged, digest: Digest) -> bytes:
    """Return the block with the signature of this digest, and nothing of the other."""
    block = judged.package.block
    other = {index for index, one in enumerate(block.signers) if one.digest_algorithm.name != digest.value}
    return without_signers(block, other)


def verified(judged: Judged, program: str, block: bytes, signed: bytes) -> int:
    """Return how OpenSSL ends that is asked about a block."""
    judged.desk.put("block", block)
    judged.desk.put("signed", signed)
    command = f"openssl {program} -verify -binary -inform DER -in block -content signed -purpose any"
    trusted = f"-CAfile root.pem -attime {AT.timestamp():.0f} -out read"
    return judged.desk.run(*command.split(), *trusted.split()).status


@pytest.mark.judge("node", "npm")
def test_a_reader_of_2004_finds_every_file_and_skips_what_it_does_not_know(
    judged: Judged, reader: Any
) -> None:
    found = reader.from_bytes(judged.octets)

    commands = found.command_list.commands
    unknown = {one.type_code: one.value.octets[:8] for one in commands if 1000 <= one.type_code <= 9999}
    assert unknown == EXTENSIONS
    files = [one for one in commands if one.type_code == 1]
    assert {one.value.path: one.value.file_contents for one in files} == FILES
    for one in files:
        digest = sha1(one.value.file_contents, usedforsecurity=False).digest()
        assert (one.value.hash_type.value, one.value.file_hash) == (1, digest)
    assert found.signature_block.octets == judged.package.block.octets
    assert found.signed_octets == judged.package.signed


@pytest.mark.judge("node", "npm")
def test_a_reader_of_2004_does_not_know_the_extensions(reader: Any) -> None:
    assert max(member.value for member in reader.CommandType) == 25


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("digest", Digest)
@pytest.mark.parametrize("program", ["cms", "smime"])
def test_each_signature_holds_without_the_other(judged: Judged, program: str, digest: Digest) -> None:
    block = alone(judged, digest)

    assert digests_of(block) == [digest.value]
    assert verified(judged, program, block, judged.package.signed) == 0
    assert judged.desk.take("read") == judged.package.signed


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("mark", EXTENSIONS.values())
def test_the_signature_by_sha1_covers_what_a_reader_of_2004_skips(judged: Judged, mark: bytes) -> None:
    changed = bytearray(judged.package.signed)
    changed[changed.index(mark) + len(mark) + 4] ^= 1

    assert verified(judged, "smime", alone(judged, Digest.SHA1), bytes(changed)) == 4


@pytest.mark.judge("openssl")
def test_the_signature_by_sha1_is_one_of_pkcs_1_over_the_attributes(judged: Judged) -> None:
    desk, (one,) = judged.desk, load_block(alone(judged, Digest.SHA1)).signers
    desk.put("attributes", one.signed_attributes)
    desk.put("signature", one.signature)
    wanted = "openssl x509 -in signer.pem -noout -pubkey"
    desk.put("public.pem", desk.must(*wanted.split()).stdout)
    command = "openssl dgst -sha1 -verify public.pem -signature signature attributes"

    outcome = desk.must(*command.split())

    assert outcome.text == "Verified OK\n"
    assert sha1(judged.package.signed, usedforsecurity=False).digest() in one.signed_attributes
