"""The directory that commands for packages are tried in: a package, its key, its root, and its manifest."""

from functools import cache
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any, Final

from tests.support.kit import AT, CONTENTS, KEYS, Certified, Draft, root, signer

__all__ = [
    "KEY",
    "MANIFEST",
    "SHA1",
    "SHA256",
    "TIME",
    "TRUST",
    "complete",
    "damaged",
    "fingerprint",
    "front_size",
    "furnish",
    "genuine",
    "identities",
    "unsigned",
]

TIME: Final = ("--at", AT.isoformat())
TRUST: Final = ("--trust", "ca.pem", *TIME)
KEY: Final = ("--key", "signer.key", "--cert", "signer.pem")
MANIFEST: Final = '[[step]]\nextract = "/bin/app"\nfrom = "app"\n'
SHA1: Final = sha1(CONTENTS, usedforsecurity=False).hexdigest()
SHA256: Final = sha256(CONTENTS).hexdigest()


@cache
def genuine() -> bytes:
    return Draft().encode()


@cache
def complete() -> bytes:
    """Return the genuine package as the key here signs it: with the certificate of the issuer."""
    return Draft(signers=(signer().identity(root()),)).encode()


@cache
def unsigned() -> bytes:
    return Draft(signers=()).encode()


def damaged(position: int) -> bytes:
    """Return the genuine package with one bit changed."""
    octets = bytearray(genuine())
    octets[position] ^= 1
    return bytes(octets)


@cache
def front_size() -> int:
    """Where the payload of the genuine package begins."""
    return len(Draft().front)


@cache
def fingerprint() -> str:
    return sha256(signer().der).hexdigest()


def furnish() -> None:
    """Put into this directory what the commands are tried on."""
    Path("ca.pem").write_bytes(root().pem)
    Path("signer.pem").write_bytes(signer().pem + root().pem)
    Path("leaf.pem").write_bytes(signer().pem)
    Path("signer.key").write_bytes((KEYS / "signer.key").read_bytes())
    Path("p.spkg").write_bytes(genuine())
    Path("u.spkg").write_bytes(unsigned())
    Path("m.toml").write_text(MANIFEST)
    Path("app").write_bytes(CONTENTS)


def identities(*signers: Certified) -> tuple[Any, ...]:
    return tuple(one.identity() for one in signers)
