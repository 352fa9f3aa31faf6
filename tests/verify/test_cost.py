"""What is not trusted costs little: whatever somebody puts into the part of a block that nobody signs."""

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.commands import PROGRAM
from tests.support.kit import (
    AT,
    LAST,
    Certified,
    Draft,
    attributes,
    authority,
    certify,
    craft_block,
    craft_signer,
    name,
    root,
    signer,
)

RUNS = 5
"""How often each package is verified; the least time counts, since others use the machine, too."""
FACTOR = 10
"""What is untrusted costs at most so many times what a small good package does."""
GROWTH = 2.6
"""Twice the signers and certificates cost at most so much more."""
SLACK = 0.1
"""Seconds of processor time that a measurement may be wrong by."""


@cache
def costly_key() -> rsa.RSAPublicKey:
    """Return the largest key that is accepted, whose private part nobody knows."""
    modulus = int.from_bytes(b"\xc5" * 1024, "big")
    return rsa.RSAPublicNumbers(65537, modulus).public_key()


def costly(subject: str, issuer: str, serial: int) -> Certified:
    """Return a certificate of an authority, with the largest key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(costly_key())
        .serial_number(serial)
        .not_valid_before(AT - timedelta(days=1))
        .not_valid_after(LAST)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return Certified(key=signer().key, certificate=builder.sign(root().key, hashes.SHA256()))


def with_long_signature(one: Certified) -> Certified:
    """Return a certificate whose signature is as long as the largest key, so that it has to be checked."""
    changed = asn1_x509.Certificate.load(one.der)
    changed["signature_value"] = b"\x01" * 1024
    return Certified(key=one.key, certificate=x509.load_der_x509_certificate(changed.dump(force=True)))


def namesakes(count: int) -> bytes:
    """Return a package of *count* signers, and as many certificates with the name of their issuer."""
    unknown = authority("Unknown", with_key="other")
    signed = Draft().signed
    signers = [
        with_long_signature(certify(f"Signer {number}", unknown, serial=2000 + number))
        for number in range(count)
    ]
    others = [costly("Unknown", "Unknown", 5000 + number) for number in range(count)]
    return package(signers, others, signed)


def ladder(count: int) -> bytes:
    """Return a package whose certificates are each issued by the next, for every signer the same."""
    signed = Draft().signed
    steps = [authority(f"Step {count}", with_key="other", serial=3000)]
    for number in range(count - 1, 0, -1):
        steps.append(authority(f"Step {number}", steps[-1], with_key="other", serial=3000 + number))
    signers = [certify(f"Signer {number}", steps[-1], serial=2000 + number) for number in range(count)]
    return package(signers, steps, signed)


def same_name(count: int) -> bytes:
    """Return a package whose signers are each named by several certificates of the largest key."""
    signed = Draft().signed
    leaf = certify("Leaf", authority("Unknown", with_key="other"), serial=2000)
    return package([leaf] * count, [costly("Leaf", "Unknown", 2000) for _ in range(count)], signed)


def package(signers: list[Certified], others: list[Certified], signed: bytes) -> bytes:
    infos = [craft_signer(signed, one, attributes=attributes(signed)) for one in signers]
    return Draft(block=craft_block(*infos, certificates=[*others, *dict.fromkeys(signers)])).encode()


def cost(octets: bytes, directory: Path) -> float:
    """Return the processor time of the whole ``spkg verify``, the least of several runs."""
    (directory / "p.spkg").write_bytes(octets)
    (directory / "ca.pem").write_bytes(root().pem)
    command = [*PROGRAM, "verify", "p.spkg", "--trust", "ca.pem", "--at", AT.isoformat()]
    times: list[float] = []
    for _ in range(RUNS):
        running = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode in {0, 4}
        times.append(used.ru_utime + used.ru_stime)
    return min(times)


@pytest.mark.parametrize("kind", [namesakes, ladder, same_name])
def test_what_nobody_trusts_costs_little_and_grows_with_its_size(
    kind: Callable[[int], bytes], tmp_path: Path
) -> None:
    good = cost(Draft().encode(), tmp_path)
    half, whole = cost(kind(16), tmp_path), cost(kind(32), tmp_path)

    assert whole <= FACTOR * good
    assert whole - good <= GROWTH * max(half - good, 0) + SLACK
