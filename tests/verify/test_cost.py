"""What is not trusted costs little: whatever somebody puts into the part of a block that nobody signs."""

import json
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
from tests.support.sampling import few

FACTOR = 5
"""What is untrusted costs at most so many times what a small good package does."""
GROWTH = 2.3
"""Twice the signers and certificates cost at most so much more."""
COUNTING = """
import json, runpy, sys

heavy = json.loads(sys.argv[1])
work = 0

def count(frame, event, argument):
    global work
    if event == "call":
        work += 1
    elif event == "c_call":
        work += heavy.get(argument.__name__, 1)

sys.argv = sys.argv[2:]
sys.setprofile(count)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as exc:
    sys.setprofile(None)
    print(work)
    raise
"""
"""A program that runs another, and prints how many functions that calls; time would depend on the machine."""
HEAVY = {"verify": 400, "X509_verify_cert": 2_000}
"""How many calls take as long as one of these, at the largest key; the second verifies a few signatures."""


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


def cost(octets: bytes, directory: Path) -> int:
    """Return what the whole ``spkg verify`` costs, in calls of functions."""
    (directory / "p.spkg").write_bytes(octets)
    (directory / "ca.pem").write_bytes(root().pem)
    python, *program = PROGRAM
    command = (*program, "verify", "p.spkg", "--trust", "ca.pem", "--at", AT.isoformat())
    done = subprocess.run(
        [python, "-c", COUNTING, json.dumps(HEAVY), *command],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 4}, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", few([namesakes, ladder, same_name], every=3, part="fuzz"))
def test_what_nobody_trusts_costs_little_and_grows_with_its_size(
    kind: Callable[[int], bytes], tmp_path: Path
) -> None:
    good = cost(Draft().encode(), tmp_path)
    half, whole = cost(kind(16), tmp_path), cost(kind(32), tmp_path)

    assert whole <= FACTOR * good
    assert whole - good <= GROWTH * (half - good)
