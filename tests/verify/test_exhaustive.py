"""Every single-bit flip and every truncation of a package: none of them verifies as something else."""

import io
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from spkg.common.digests import Digest
from spkg.errors import FormatError, UntrustedError
from spkg.format.commands import End, FileModes, Reboot, Remove, StrongDigests, Version
from spkg.format.package import Package
from spkg.format.paths import RootPath
from spkg.trust.policy import Policy
from spkg.verify.contents import check_payload
from spkg.verify.payload import Payload
from spkg.verify.signatures import TrustedPackage, verify_package
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read, root, second_signer, signer
from tests.support.sampling import sample

OTHER: Final = bytes(range(64))
SAMPLE: Final = Draft(
    records=(
        Version(text="6.3.9"),
        StrongDigests(digests=(Digest.SHA256.of(CONTENTS), Digest.SHA256.of(OTHER))),
        FileModes(modes=(0o755, 0)),
        Remove(path=RootPath(b"/etc/old")),
        file("/bin/app", flags=1),
        file("/etc/table", OTHER, at=len(CONTENTS)),
        Reboot(),
        End(),
    ),
    payload=CONTENTS + OTHER,
    signers=(signer().identity(root()), second_signer().identity()),
).encode()
PACKAGE: Final = read(SAMPLE)
POLICY: Final = policy()
pytestmark = pytest.mark.part("flips")
SIGNERS: Final = {"CN=Test Signer", "CN=Second Signer"}


def examine(octets: bytes, wanted: Policy = POLICY) -> TrustedPackage:
    """Read and verify a package from memory, payload and all."""
    stream = io.BytesIO(octets)
    package = Package.read(stream)
    trusted = verify_package(package, wanted, at=AT)
    payload = Payload(stream, offset=package.payload_offset, length=package.header.payload_length)
    check_payload(trusted, payload)
    return trusted


def flipped(bit: int) -> bytes:
    octets = bytearray(SAMPLE)
    octets[bit // 8] ^= 1 << bit % 8
    return bytes(octets)


def verdict(octets: bytes) -> str:
    try:
        trusted = examine(octets)
    except FormatError:
        return "malformed"
    except UntrustedError:
        return "untrusted"
    names = {one.subject for one in trusted.signers}
    # The block is not signed: what it may do is name other certificates, or lose a signature.
    assert trusted.package.signed == PACKAGE.signed
    assert names <= SIGNERS
    assert names
    return "same signers" if names == SIGNERS else "fewer signers"


def test_the_sample_is_trusted() -> None:
    assert verdict(SAMPLE) == "same signers"


def sweep(bits: Sequence[int]) -> Counter[tuple[str, str]]:
    """Count the verdicts over flips, by the part of the package that the bit belongs to."""
    found: Counter[tuple[str, str]] = Counter()
    for bit in bits:
        octet = bit // 8
        if octet < len(PACKAGE.signed):
            part = "signed"
        else:
            part = "block" if octet < PACKAGE.payload_offset else "payload"
        found[part, verdict(flipped(bit))] += 1
    return found


@pytest.mark.parametrize("part", range(4))
def test_no_flip_of_a_signed_octet_survives(part: int) -> None:
    # An odd step in the short suite, so that each place in an octet has its turn.
    bits = sample(range(part, len(PACKAGE.signed) * 8, 4), every=57)

    found = sweep(bits)

    assert sum(found.values()) == len(bits)
    assert set(found) <= {("signed", "malformed"), ("signed", "untrusted")}


def test_no_flip_of_the_payload_survives() -> None:
    bits = sample(range(PACKAGE.payload_offset * 8, len(SAMPLE) * 8), every=33)

    assert sweep(bits) == {("payload", "untrusted"): len(bits)}


@pytest.mark.parametrize("part", range(4))
def test_a_flip_in_the_block_leaves_package_and_signers_what_they_were(
    part: int, record_property: Callable[[str, object], None]
) -> None:
    first = len(PACKAGE.signed) * 8
    last = PACKAGE.payload_offset * 8
    bits = sample(range(first + part, last, 4), every=303)

    found = sweep(bits)

    record_property("verdicts", dict(found))
    assert sum(found.values()) == len(bits)
    assert set(found) <= {
        ("block", kind) for kind in ("malformed", "untrusted", "same signers", "fewer signers")
    }


def test_losing_a_signature_never_meets_a_policy_that_wants_both() -> None:
    first, last = len(PACKAGE.signed) * 8, PACKAGE.payload_offset * 8
    both = policy(required_signers=2)

    for bit in sample(range(first, last), every=2181):
        try:
            trusted = examine(flipped(bit), both)
        except (FormatError, UntrustedError):
            continue
        assert {one.subject for one in trusted.signers} == SIGNERS


def test_no_truncation_verifies() -> None:
    lengths = sample(range(len(SAMPLE)), every=21)

    assert Counter(verdict(SAMPLE[:length]) for length in lengths) == {"malformed": len(lengths)}


def test_nothing_behind_the_payload_verifies() -> None:
    assert verdict(SAMPLE + b"\x00") == "malformed"
