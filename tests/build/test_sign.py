"""Signing: what the library does where its caller says nothing."""

import io
from pathlib import Path

from spkg.build.sign import sign_package
from spkg.common.atomic_output import new_file
from spkg.verify.payload import open_package
from tests.support.kit import Draft, read, signer


def test_a_package_is_signed_with_sha_1_unless_another_digest_is_named(tmp_path: Path) -> None:
    unsigned = io.BufferedReader(io.BytesIO(Draft(signers=()).encode()))

    with open_package(unsigned) as (package, payload), new_file(tmp_path / "out") as output:
        sign_package(package, payload, output, signer().identity())

    (made,) = read((tmp_path / "out").read_bytes()).block.signers
    assert made.digest_algorithm.name == "sha1"
