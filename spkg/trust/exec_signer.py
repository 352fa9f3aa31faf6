"""A program that signs: the client of a key service, or anything else that reaches a key elsewhere.

It gets what is to be signed on standard input: for RSA the DER of the DigestInfo, for DSA and ECDSA the
digest.  It answers on standard output with the raw signature.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from spkg.common.digests import Digest
from spkg.common.printable import printable
from spkg.common.programs import run_program
from spkg.errors import HostError, RefusedError, UsageError
from spkg.trust.signers import OfThisProcess, PublicKey, check_signature, digest_info, pair_as_der

__all__ = ["ProgramSigner"]

TIME_LIMIT: Final = 60.0
"""How long it may take, in seconds."""
LONGEST_ANSWER: Final = 1 << 14
"""How long its answer may be, in bytes."""
LONGEST_REASON: Final = 200
"""How much of its last line is shown in an error, in characters."""


@dataclass(frozen=True, kw_only=True)
class ProgramSigner(OfThisProcess):
    """A key that a program signs with."""

    command: tuple[str, ...]
    public_key: PublicKey
    environment: Mapping[str, str]
    clock: Callable[[], float]

    @classmethod
    def of(
        cls,
        command: str,
        certificate: x509.Certificate,
        environment: Mapping[str, str],
        clock: Callable[[], float],
    ) -> Self:
        """Return the signer that a command line stands for; it is split into words, and no shell sees it.

        Raises:
            UsageError: It has no words, or a quote that is not closed.
            RefusedError: The certificate's key is of another kind.
        """
        try:
            words = tuple(shlex.split(command))
        except ValueError as exc:
            raise UsageError(f"exec: {str(exc).lower()}") from exc
        if not words:
            raise UsageError("exec: needs a program", hint="for example --key 'exec:/usr/bin/sign-release'")
        key = certificate.public_key()
        if not isinstance(key, PublicKey):
            raise RefusedError("the key must be RSA, DSA or ECDSA")
        return cls(command=words, public_key=key, environment=environment, clock=clock)

    def sign(self, digest: Digest, hashed: bytes) -> bytes:
        """Return a signature that the program made, and that is valid."""
        is_rsa = isinstance(self.public_key, rsa.RSAPublicKey)
        done = run_program(
            self.command,
            environment={**self.environment, "SPKG_DIGEST": digest.value},
            clock=self.clock,
            limit=TIME_LIMIT,
            given=digest_info(digest, hashed) if is_rsa else hashed,
            longest_answer=LONGEST_ANSWER,
        )
        if not done.succeeded:
            last = (done.output.strip().splitlines() or [""])[-1]
            reason = f": {printable(last)[:LONGEST_REASON]}" if last else ""
            raise HostError(f"{self.command[0]} {done.end}{reason}")
        signature = pair_as_der(done.answer, self.public_key)
        check_signature(self.public_key, digest, hashed, signature, self.command[0])
        return signature
