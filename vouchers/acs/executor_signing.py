"""Signing by any executor: of threads, of processes, of a cluster.

Digests go out and signatures come back; a voucher is put together here, from what this process wanted, and
only with a signature that is valid for the signer's certificate.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Final

from spkg.common.digests import Digest
from spkg.errors import FailedError, HostError
from spkg.trust.signers import Signer, check_signature
from vouchers.acs.issuer import Issued, numbered_voucher
from vouchers.acs.signing import SignedVouchers, SigningWork, TakenVouchers
from vouchers.signature.sign import UnsignedVoucher

__all__ = ["ExecutorSigning", "WatchedExecutor", "sign_digests"]

ANSWER_INTERVAL: Final = 5.0
"""After so many seconds without an answer a watched executor is asked whether one can come."""
SIGNATURE_MAKER: Final = "what signs"
COMPLETE_HINT: Final = "run the same batch again to complete it"


class WatchedExecutor(Executor):
    """An executor that knows whether anything can still come of what it was given."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that an answer can come.

        Raises:
            FailedError: None will.
        """


@dataclass(frozen=True, kw_only=True)
class _Errand:
    """Vouchers that are being signed."""

    taken: TakenVouchers
    unsigned: Sequence[UnsignedVoucher]
    answer: "Future[Any]"
    octets: int


class ExecutorSigning:
    """Has vouchers signed by an executor.

    Args:
        executor: Where the key signs.  If that is another process, the signer's key must be one that can be
            sent there by its name.
        work: The signer, and what becomes of a voucher.
        ahead: How many tasks the executor has at most; each is a few hundred vouchers.
    """

    def __init__(self, executor: Executor, work: SigningWork, ahead: int) -> None:
        self._executor, self._work, self._ahead = executor, work, ahead

    def work(self, errands: Iterator[tuple[TakenVouchers, int]]) -> Iterator[tuple[SignedVouchers, int]]:
        """Yield what to write for each task, in order.

        Raises:
            FailedError: A signing process was killed, or the executor was shut down.
            HostError: A signature is not valid, or a key can't be used.
            FormatError: A voucher would be too large.
            RefusedError: A voucher does not pass its check.
        """
        waiting: deque[_Errand] = deque()
        try:
            for taken, octets in errands:
                waiting.append(self._begin(taken, octets))
                if len(waiting) >= self._ahead:
                    yield self._end(waiting.popleft())
            while waiting:
                yield self._end(waiting.popleft())
        finally:
            for left in waiting:
                left.answer.cancel()

    def _begin(self, taken: TakenVouchers, octets: int) -> _Errand:
        signer = self._work.signer
        unsigned = [signer.prepare(numbered_voucher(want, serials)) for want, serials in taken]
        try:
            answer = self._executor.submit(
                sign_digests, signer.key, signer.digest, [one.hashed for one in unsigned]
            )
        except RuntimeError as exc:  # broken, or shut down
            raise _ended() from exc
        return _Errand(taken=taken, unsigned=unsigned, answer=answer, octets=octets)

    def _end(self, errand: _Errand) -> tuple[SignedVouchers, int]:
        signer, signatures = self._work.signer, self._answer(errand.answer)
        # What another machine answers may be anything.
        if not (isinstance(signatures, list) and all(isinstance(one, bytes) for one in signatures)):
            raise HostError(
                f"{SIGNATURE_MAKER}: expected a list of signatures, got {type(signatures).__name__}"
            )
        if len(signatures) != len(errand.unsigned):
            raise HostError(
                f"{SIGNATURE_MAKER}: expected {len(errand.unsigned)} signatures, got {len(signatures)}"
            )
        issued = []
        for (want, serials), unsigned, signature in zip(
            errand.taken, errand.unsigned, signatures, strict=True
        ):
            check_signature(signer.public_key, signer.digest, unsigned.hashed, signature, SIGNATURE_MAKER)
            octets = signer.complete(unsigned, signature)
            issued.append(Issued(device=want.device, serials=serials, octets=octets))
        return self._work.finish(issued), errand.octets

    def _answer(self, answer: "Future[Any]") -> Any:
        if isinstance(self._executor, WatchedExecutor):
            while not wait([answer], ANSWER_INTERVAL).done:
                self._executor.check()
        try:
            return answer.result()
        except (BrokenExecutor, CancelledError) as exc:
            raise _ended() from exc


def sign_digests(key: Signer, digest: Digest, some: Sequence[bytes]) -> list[bytes]:
    """Return a signature for each of some digests.

    Raises:
        HostError: The key can't be used.
    """
    return [key.sign(digest, hashed) for hashed in some]


def _ended() -> FailedError:
    return FailedError("a signing process was killed", hint=COMPLETE_HINT)
