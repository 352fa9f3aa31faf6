"""Issuing to one device: reserve serial numbers, sign, and confirm in the ledger (TR-069 C.3)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from spkg.common.digests import Digest
from spkg.errors import FormatError, RefusedError, UsageError
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_reserve import MAX_SERIAL
from vouchers.acs.ledger_wants import Want
from vouchers.acs.templates import Template
from vouchers.model import DeviceId, Voucher
from vouchers.signature.sign import VoucherSigner

__all__ = ["Issued", "VoucherIssuer", "check_want", "numbered_voucher", "sign_numbered", "sign_voucher"]


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A signed voucher."""

    device: DeviceId
    serials: tuple[int, ...]
    """The serial number of each Option."""
    octets: bytes
    """Its XML."""


class VoucherIssuer:
    """Issues vouchers, each with serial numbers that no other voucher has.

    Args:
        ledger: The source of the serial numbers; several issuers may share it.
        signer: Signs the vouchers.
    """

    def __init__(self, ledger: Ledger, signer: VoucherSigner) -> None:
        self._ledger = ledger
        self._signer = signer

    def issue(self, device: DeviceId, options: Sequence[Template], *, batch: str | None = None) -> Issued:
        """Return a voucher for a device.

        Args:
            device: The device.
            options: What the voucher does to its Options.
            batch: In one batch the same device always gets the same voucher.

        Raises:
            RefusedError: The batch already has a different voucher for this device.
            FormatError: The voucher would be invalid or too large.
            HostError: The ledger can't be used.
        """
        issued = self.prepare(device, options, batch=batch)
        self.confirm(issued)
        return issued

    @contextmanager
    def issuing(
        self, device: DeviceId, options: Sequence[Template], batch: str | None = None
    ) -> Iterator[Issued]:
        """Yield a voucher that counts as issued once the block succeeds; as :meth:`issue` otherwise."""
        issued = self.prepare(device, options, batch=batch)
        yield issued
        self.confirm(issued)

    def prepare(self, device: DeviceId, options: Sequence[Template], *, batch: str | None = None) -> Issued:
        """Return a voucher that counts as issued once it is confirmed; as :meth:`issue` otherwise."""
        want = Want(device=device, templates=tuple(options))
        check_want(want, self._signer)
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
        """Record in the ledger that a voucher has been issued.

        Raises:
            HostError: The ledger can't be written.
        """
        self._ledger.confirm(issued.serials)


def check_want(want: Want, signer: VoucherSigner) -> None:
    """Make sure that a voucher can be signed, before it has serial numbers.

    Raises:
        FormatError: It would be invalid or too large.
    """
    signer.check(numbered_voucher(want, [MAX_SERIAL] * len(want.templates)))


def sign_numbered(device: DeviceId, options: Sequence[Template], first: int, signer: VoucherSigner) -> Issued:
    """Return a voucher without a ledger; its Options are numbered from *first*.

    Raises:
        UsageError: The numbers would exceed the largest serial number.
        FormatError: The voucher would be invalid or too large.
    """
    if not options or first < 1:
        raise UsageError("needs at least one Option, and a serial number of at least 1")
    serials = range(first, first + len(options))
    if serials[-1] > MAX_SERIAL:
        raise UsageError(f"--serial {first}: the numbers of {len(options)} Options would exceed {MAX_SERIAL}")
    return sign_voucher(Want(device=device, templates=tuple(options)), serials, signer)


def sign_voucher(want: Want, serials: Sequence[int], signer: VoucherSigner) -> Issued:
    """Return a voucher with given serial numbers.

    Raises:
        FormatError: The voucher would be invalid or too large.
    """
    octets = signer.sign(numbered_voucher(want, serials))
    return Issued(device=want.device, serials=tuple(serials), octets=octets)


def numbered_voucher(want: Want, serials: Sequence[int]) -> Voucher:
    """Return a voucher with given serial numbers, to be signed.

    Raises:
        FormatError: The voucher would be invalid.
    """
    names = [template.ident for template in want.templates]
    if len({*names}) != len(names):
        raise FormatError("the Options of a voucher must have different names", section="C.3")
    try:
        return want.voucher(serials)
    except ValueError as exc:
        raise FormatError(str(exc), section="C.3") from exc
