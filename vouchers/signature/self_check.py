"""A finished voucher, verified as a device would before anybody gets it."""

from dataclasses import dataclass
from datetime import datetime

from spkg.errors import RefusedError, UntrustedError
from vouchers.signature.shape import read_voucher
from vouchers.signature.verify import Verifier

__all__ = ["VoucherCheck"]


@dataclass(frozen=True)
class VoucherCheck:
    """What a device trusts, and when it looks."""

    verifier: Verifier
    at: datetime

    def check(self, octets: bytes) -> None:
        """Verify a voucher.

        Raises:
            RefusedError: The device would not trust it.
        """
        try:
            self.verifier.verify(read_voucher(octets), self.at)
        except UntrustedError as exc:
            problem = f"a device would not trust this: {exc.problem}"
            raise RefusedError(problem, section=exc.section, hint=exc.hint) from exc
