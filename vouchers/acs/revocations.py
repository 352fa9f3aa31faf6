"""Revoking: a voucher that disables what another one has enabled, under a serial number of its own.

In the ledger the two are linked, and the Option is not renewed any more.  Asked for again, the same voucher
with the same serial number is returned.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from spkg.common.digests import Digest
from spkg.errors import RefusedError
from vouchers.acs.issuer import Issued, sign_voucher
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_due import device_entries, entries_of
from vouchers.acs.ledger_entry import LedgerEntry, SerialState
from vouchers.acs.ledger_wants import Predecessor, Want
from vouchers.acs.templates import Template
from vouchers.model import MAX_VOUCHER_OPTIONS, Mode
from vouchers.signature.sign import VoucherSigner

__all__ = ["prepare_revocation", "revocation_want", "revoke_device", "revoke_serial", "revoking"]

ROUNDS_TO_REVOKE: Final = 8
"""How often to look again when others revoke the same at the same time."""


def revoke_serial(ledger: Ledger, signer: VoucherSigner, serial: int) -> Issued:
    """Return the voucher that disables the Option of a serial number; it counts as issued.

    Raises:
        RefusedError: The ledger does not have it, or its voucher disables the Option itself.
        FormatError: The voucher would be too large.
        HostError: The ledger can't be used.
    """
    with revoking(ledger, signer, serial) as issued:
        return issued


def revoke_device(ledger: Ledger, signer: VoucherSigner, device: tuple[str, str, str]) -> Issued:
    """Return the voucher that disables all that the vouchers of a device enable; it counts as issued.

    Args:
        ledger: The ledger.
        signer: Signs the voucher.
        device: OUI, product class and serial number.

    Raises:
        RefusedError: The ledger has no voucher that enables something on it.
        FormatError: The voucher would be too large.
        HostError: The ledger can't be used.
    """
    with revoking(ledger, signer, device) as issued:
        return issued


@contextmanager
def revoking(ledger: Ledger, signer: VoucherSigner, what: int | tuple[str, str, str]) -> Iterator[Issued]:
    """Yield a voucher that disables; it counts as issued once the block succeeds.

    Args:
        ledger: The ledger.
        signer: Signs the voucher.
        what: A serial number, or OUI, product class and serial number of a device.

    Raises:
        RefusedError: The ledger has nothing that could be revoked.
        FormatError: The voucher would be too large.
        HostError: The ledger can't be used.
    """
    issued = prepare_revocation(ledger, signer, what)
    yield issued
    ledger.confirm(issued.serials)


def prepare_revocation(ledger: Ledger, signer: VoucherSigner, what: int | tuple[str, str, str]) -> Issued:
    """Return a voucher that disables; it counts as issued once it is confirmed; as :func:`revoking`."""
    for _ in range(ROUNDS_TO_REVOKE):
        entries = [_one(ledger, what)] if isinstance(what, int) else _enabled(ledger, what)
        known = [entry.revoked_by for entry in entries if entry.revoked_by is not None]
        if len(known) == len(entries):
            return _again([*entries_of(ledger, known)], signer)
        want = _want(entries)
        (outcome,) = ledger.reserve(
            [want],
            run=ledger.new_run(),
            signer=signer.key_id,
            unpredictable=signer.digest is Digest.SHA1,
        )
        if outcome.refusal is None:
            return sign_voucher(want, outcome.serials, signer)
    raise RefusedError(outcome.refusal or "another run revokes the same")


def revocation_want(ledger: Ledger, signer: VoucherSigner, serial: int) -> tuple[Want, tuple[int, ...]]:
    """Return what disables the Option of a serial number, and the numbers that are reserved for it already.

    Raises:
        RefusedError: The ledger does not have it, its voucher disables the Option, or another key signed it.
        HostError: The ledger can't be used.
    """
    entry = _one(ledger, serial)
    if entry.revoked_by is None:
        return _want([entry]), ()
    known = [*entries_of(ledger, [entry.revoked_by])]
    return _known_want(known, signer), tuple(one.serial for one in known)


def _one(ledger: Ledger, serial: int) -> LedgerEntry:
    entry = next(entries_of(ledger, [serial]), None)
    if entry is None:
        raise RefusedError(f"serial number {serial} is not in this ledger")
    if entry.mode is Mode.DISABLE:
        raise RefusedError(f"voucher {serial} disables the Option {entry.option!r}: nothing to revoke")
    return entry


def _enabled(ledger: Ledger, device: tuple[str, str, str]) -> Sequence[LedgerEntry]:
    """Return the last entry of each Option of a device that is enabled, or was until it was revoked."""
    last: dict[str, LedgerEntry] = {}
    for entry in device_entries(ledger, device):
        # A voucher that is void may be on the device all the same, if it was issued.
        if entry.state is not SerialState.VOID or (entry.issued_at and entry.mode is not Mode.DISABLE):
            last[entry.option] = entry
    enabled = [entry for entry in last.values() if entry.mode is not Mode.DISABLE]
    if enabled:
        return enabled[:MAX_VOUCHER_OPTIONS]
    disabling = [entry for entry in last.values() if entry.revokes is not None]
    # What a run that was cut off had reserved is its voucher; a complete one may be any that has them all.
    cut_off = [entry for entry in disabling if entry.state is SerialState.RESERVED]
    revoked = [entry.revokes for entry in cut_off or disabling if entry.revokes is not None]
    if not revoked:
        oui, product_class, serial_number = device
        raise RefusedError(
            f"the ledger has no voucher that enables an Option of {oui} {product_class} {serial_number}"
        )
    return [*entries_of(ledger, revoked[:MAX_VOUCHER_OPTIONS])]


def _again(entries: Sequence[LedgerEntry], signer: VoucherSigner) -> Issued:
    """Return a voucher that the ledger has, perhaps of a run that was cut off."""
    return sign_voucher(_known_want(entries, signer), [entry.serial for entry in entries], signer)


def _known_want(entries: Sequence[LedgerEntry], signer: VoucherSigner) -> Want:
    for entry in entries:
        if entry.signer != signer.key_id:
            raise RefusedError(f"voucher {entry.serial} was signed with a different key")
    return Want(device=entries[0].device, templates=tuple(entry.template for entry in entries))


def _want(entries: Sequence[LedgerEntry]) -> Want:
    return Want(
        device=entries[0].device,
        templates=tuple(
            Template(ident=entry.option, description=entry.description or "", mode=Mode.DISABLE)
            for entry in entries
        ),
        before=tuple(Predecessor(revokes=entry.serial) for entry in entries),
    )
