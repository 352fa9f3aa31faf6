"""The work of a process that signs: vouchers with their serial numbers in, what to write out."""

from collections.abc import Sequence
from dataclasses import dataclass

from vouchers.acs.issuer import Issued, sign_voucher
from vouchers.acs.ledger_wants import Want
from vouchers.acs.voucher_form import VoucherForm
from vouchers.signature.self_check import VoucherCheck
from vouchers.signature.sign import VoucherSigner

__all__ = ["SignedVouchers", "SigningWork", "TakenVouchers"]

TakenVouchers = Sequence[tuple[Want, tuple[int, ...]]]
"""Vouchers with the serial numbers reserved for them."""
SignedVouchers = Sequence[tuple[tuple[str, ...], bytes]]
"""For each voucher its row of the index, which begins with its own file name, and the bytes to write."""


@dataclass(frozen=True, kw_only=True)
class SigningWork:
    """Signs vouchers, and writes each in a format."""

    signer: VoucherSigner
    form: VoucherForm
    check: VoucherCheck | None

    def __call__(self, taken: TakenVouchers) -> SignedVouchers:
        """Return what to write for some vouchers.

        Raises:
            FormatError: A voucher would be too large.
            RefusedError: A voucher does not pass its check.
            HostError: The key can't be used.
        """
        return self.finish([sign_voucher(want, serials, self.signer) for want, serials in taken])

    def finish(self, issued: Sequence[Issued]) -> SignedVouchers:
        """Return what to write for vouchers that are signed.

        Raises:
            RefusedError: A voucher does not pass its check.
        """
        if self.check is not None:
            for one in issued:
                self.check.check(one.octets)
        return [(_row(one), self.form.write(one)) for one in issued]


def _row(issued: Issued) -> tuple[str, ...]:
    device, serials = issued.device, " ".join(map(str, issued.serials))
    return f"{issued.serials[0]}.xml", device.oui, device.product_class, device.serial_number, serials
