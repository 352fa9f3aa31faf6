"""A key by its name, for processes that each open it for themselves, on this machine or on others.

What goes from one process to another is the name alone: neither the key nor what unlocks it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.common.digests import Digest
from spkg.errors import HostError
from spkg.trust.certificate_files import load_certificates
from spkg.trust.signers import PublicKey, Signatory, Signer

__all__ = ["KeyElsewhere", "signatory_elsewhere"]

MOST_KEYS: Final = 16
"""How many open keys a process keeps."""
_OPENED: Final[dict["KeyElsewhere", Signer]] = {}
_OPENING: Final = threading.Lock()


@dataclass(frozen=True)
class KeyElsewhere:
    """The key of a certificate; a process opens it when it first signs with it.

    Args:
        certificate: The DER of the certificate.
        opener: Opens the key; it has a name that other processes can import, or equal ones are the same.

    Raises:
        HostError: The certificate has a key of another kind.
    """

    certificate: bytes
    opener: Callable[[x509.Certificate], Signer]

    def __post_init__(self) -> None:
        _public_key(self.certificate)

    @property
    def public_key(self) -> PublicKey:
        """The key in the certificate."""
        return _public_key(self.certificate)

    def sign(self, digest: Digest, hashed: bytes) -> bytes:
        """Return a signature; see :class:`Signer`."""
        try:
            return self._opened().sign(digest, hashed)
        except HostError:  # a token was taken away: it may be back the next time
            _OPENED.pop(self, None)
            raise

    def _opened(self) -> Signer:
        with _OPENING:
            if self not in _OPENED:
                while len(_OPENED) >= MOST_KEYS:
                    del _OPENED[next(iter(_OPENED))]
                _OPENED[self] = self.opener(x509.load_der_x509_certificate(self.certificate))
            return _OPENED[self]


def signatory_elsewhere(
    opener: Callable[[x509.Certificate], Signer], certificate: Path, chain: Path | None = None
) -> Signatory:
    """Read what signs, all but the key.

    Args:
        opener: Opens the key, as :class:`KeyElsewhere` takes it.
        certificate: A file whose first certificate is the signer's; all others are added to the chain.
        chain: More certificates to embed.

    Raises:
        HostError: A file can't be used.
        OSError: A file can't be read.
    """
    leaf, *others = load_certificates(certificate) + ([] if chain is None else load_certificates(chain))
    key = KeyElsewhere(leaf.public_bytes(Encoding.DER), opener)
    embedded = tuple(dict.fromkeys(other for other in others if other != leaf))
    return Signatory(key=key, certificate=leaf, chain=embedded)


@lru_cache(maxsize=MOST_KEYS)
def _public_key(certificate: bytes) -> PublicKey:
    key = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(key, PublicKey):
        raise HostError("the key of a certificate that signs must be RSA, DSA or ECDSA")
    return key
