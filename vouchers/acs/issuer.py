"""What a server does for one device: take serial numbers, sign, and note that it is done (TR-069 C.3)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from spkg.common.digests import Digest
from spkg.errors import FormatError, RefusedError, UsageError
from vouchers.acs.ledger import MAX_SERIAL, Ledger, Want
from vouchers.acs.templates import Template
from vouchers.model import DeviceId, Voucher
from vouchers.signature.sign import VoucherSigner

__all__ = ["Issued", "VoucherIssuer", "sign_numbered", "sign_voucher"]


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A signed voucher."""

    device: DeviceId
    serials: tuple[int, ...]
    """The serial number of each Option."""
    octets: bytes
    """Its XML."""


class VoucherIssuer:
    """Issues vouchers, each under numbers that no other has.

    Args:
        ledger: Where the numbers come from; several issuers may share it.
        signer: Who signs.
    """

    def __init__(self, ledger: Ledger, signer: VoucherSigner) -> None:
        self._ledger = ledger
        self._signer = signer

    def issue(self, device: DeviceId, options: Sequence[Template], *, batch: str | None = None) -> Issued:
        """Return a voucher for a device.

        Args:
            device: The device.
            options: What is to become of its Options.
            batch: What makes two calls the same: the same device gets the same voucher again.

        Raises:
            RefusedError: The batch has something else for this device.
            FormatError: It would be no voucher, or too large a one.
            HostError: The ledger can't be used.
        """
        issued = self.prepare(device, options, batch=batch)
        self.confirm(issued)
        return issued

    @contextmanager
    def issuing(
        self, device: DeviceId, options: Sequence[Template], batch: str | None = None
    ) -> Iterator[Issued]:
        """Give a voucher that counts as issued when the block ends well; as :meth:`issue` otherwise."""
        issued = self.prepare(device, options, batch=batch)
        yield issued
        self.confirm(issued)

    def prepare(self, device: DeviceId, options: Sequence[Template], *, batch: str | None = None) -> Issued:
        """Return a voucher that counts as issued once it is confirmed; as :meth:`issue` otherwise."""
        want = Want(device=device, templates=tuple(options))
        self._signer.check(_voucher(want, [MAX_SERIAL] * len(want.templates)))
        unpredictable = self._signer.digest is Digest.SHA1
        (outcome,) = self._ledger.reserve(
            [want],
            run=self._ledger.new_run(),
            batch=batch,
            signer=self._signer.key_id,
            unpredictable=unpredictable,
        )
        if outcome.refusal is not None:
            raise RefusedError(outcome.refusal)
        return sign_voucher(want, outcome.serials, self._signer)

    def confirm(self, issued: Issued) -> None:
        """Note that a voucher is where it belongs.

        Raises:
            HostError: The ledger can't be written.
        """
        self._ledger.confirm(issued.serials)


def sign_numbered(device: DeviceId, options: Sequence[Template], first: int, signer: VoucherSigner) -> Issued:
    """Return a voucher without a ledger, its Options numbered from *first* on.

    Raises:
        UsageError: There are not so many serial numbers.
        FormatError: It would be no voucher, or too large a one.
    """
    if not options or first < 1:
        raise UsageError("needs at least one Option, and a serial number of at least 1")
    serials = range(first, first + len(options))
    if serials[-1] > MAX_SERIAL:
        raise UsageError(f"--serial {first}: {len(options)} Options count beyond {MAX_SERIAL}")
    return sign_voucher(Want(device=device, templates=tuple(options)), serials, signer)


def sign_voucher(want: Want, serials: Sequence[int], signer: VoucherSigner) -> Issued:
    """Return a voucher under given serial numbers.

    Raises:
        FormatError: It would be none, or too large a one.
    """
    octets = signer.sign(_voucher(want, serials))
    return Issued(device=want.device, serials=tuple(serials), octets=octets)


def _voucher(want: Want, serials: Sequence[int]) -> Voucher:
    names = [template.ident for template in want.templates]
    if len({*names}) != len(names):
        raise FormatError("two instructions for one Option", section="C.3")
    try:
        return want.voucher(serials)
    except ValueError as exc:
        raise FormatError(str(exc), section="C.3") from exc
