"""The digest algorithms that packages and vouchers use."""

from enum import Enum
from hashlib import sha1, sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Digest"]


class Digest(Enum):
    """A digest algorithm; the value is its name in options and in JSON."""

    SHA1 = "sha1"
    SHA256 = "sha256"

    __hash__ = object.__hash__  # that of Enum is a function in Python, and each file asks for it ten times

    def new(self, octets: bytes = b"") -> "_Hash":
        """Return a running digest, fed with *octets*."""
        if self is Digest.SHA1:
            return sha1(octets, usedforsecurity=False)
        return sha256(octets)

    def of(self, octets: bytes) -> bytes:
        """Return the digest of *octets*."""
        return self.new(octets).digest()

    @property
    def algorithm(self) -> hashes.HashAlgorithm:
        """The same algorithm as an object of the cryptography library."""
        return hashes.SHA1() if self is Digest.SHA1 else hashes.SHA256()
