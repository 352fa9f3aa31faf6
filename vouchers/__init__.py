"""Signed vouchers of TR-069 (May 2004), Appendix C: issue, verify, apply, answer.

A server takes serial numbers from a ledger and signs, for one device or for a list of them::

    issued = vouchers.VoucherIssuer(ledger, signer).issue(device, options)
    report = vouchers.issue_bulk(order, Path("devices.csv"), Path("out"), signer, ledger)

What ends soon is renewed, and what was sold by mistake is taken back::

    due = vouchers.due_renewals(ledger, within, now)
    report = vouchers.renew_bulk(renewals, Path("out"), signer, ledger, now)
    issued = vouchers.revoke_serial(ledger, signer, 17)

A device trusts only what a verifier returns::

    document = vouchers.read_voucher(issued.octets)
    trusted = vouchers.Verifier(policy).verify(document, now)   # raises; never returns a bool
    done = vouchers.apply_vouchers(read, verifier, this_device, Path("options.db"), now)
    answer = vouchers.answer_rpc(octets, Path("options.db"), verifier, this_device, now)

Names are imported when they are first used: a program loads only what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vouchers.acs.bulk import BulkOrder, BulkReport, issue_bulk
    from vouchers.acs.device_list import read_devices
    from vouchers.acs.issuer import Issued, VoucherIssuer, sign_numbered
    from vouchers.acs.ledger import Ledger
    from vouchers.acs.ledger_due import due_renewals
    from vouchers.acs.ledger_entry import LedgerEntry
    from vouchers.acs.listed_device import ListedDevice
    from vouchers.acs.renewals import RenewalOrder, RenewalReport, renew_bulk
    from vouchers.acs.request import set_vouchers_request
    from vouchers.acs.revocations import revoke_device, revoke_serial
    from vouchers.acs.templates import Template, load_options
    from vouchers.acs.voucher_form import VoucherForm
    from vouchers.cpe.apply import (
        AppliedVoucher,
        KnownOptions,
        apply_vouchers,
        check_vouchers,
        get_options,
        known_options,
        set_vouchers,
    )
    from vouchers.cpe.grant import Grant, grant
    from vouchers.cpe.identity import identity_of
    from vouchers.cpe.option_life import OptionState
    from vouchers.cpe.rpc import answer_rpc
    from vouchers.cpe.store import OptionStore
    from vouchers.model import DeviceId, Mode, Option, Voucher
    from vouchers.signature.explanation import explain_voucher
    from vouchers.signature.shape import VoucherDocument, read_voucher, unwrap
    from vouchers.signature.sign import VoucherSigner
    from vouchers.signature.verify import TrustedVoucher, Verifier, verify_voucher

__all__ = [
    "AppliedVoucher",
    "BulkOrder",
    "BulkReport",
    "DeviceId",
    "Grant",
    "Issued",
    "KnownOptions",
    "Ledger",
    "LedgerEntry",
    "ListedDevice",
    "Mode",
    "Option",
    "OptionState",
    "OptionStore",
    "RenewalOrder",
    "RenewalReport",
    "Template",
    "TrustedVoucher",
    "Verifier",
    "Voucher",
    "VoucherDocument",
    "VoucherForm",
    "VoucherIssuer",
    "VoucherSigner",
    "answer_rpc",
    "apply_vouchers",
    "check_vouchers",
    "due_renewals",
    "explain_voucher",
    "get_options",
    "grant",
    "identity_of",
    "issue_bulk",
    "known_options",
    "load_options",
    "read_devices",
    "read_voucher",
    "renew_bulk",
    "revoke_device",
    "revoke_serial",
    "set_vouchers",
    "set_vouchers_request",
    "sign_numbered",
    "unwrap",
    "verify_voucher",
]

_MODULES: Final = {
    "acs.bulk": (
        "BulkReport",
        "BulkOrder",
        "issue_bulk",
    ),
    "acs.device_list": ("read_devices",),
    "acs.issuer": (
        "Issued",
        "VoucherIssuer",
        "sign_numbered",
    ),
    "acs.ledger": ("Ledger",),
    "acs.ledger_entry": ("LedgerEntry",),
    "acs.ledger_due": ("due_renewals",),
    "acs.listed_device": ("ListedDevice",),
    "acs.renewals": (
        "RenewalOrder",
        "RenewalReport",
        "renew_bulk",
    ),
    "acs.revocations": (
        "revoke_device",
        "revoke_serial",
    ),
    "acs.request": ("set_vouchers_request",),
    "acs.templates": (
        "Template",
        "load_options",
    ),
    "acs.voucher_form": ("VoucherForm",),
    "cpe.apply": (
        "AppliedVoucher",
        "KnownOptions",
        "apply_vouchers",
        "check_vouchers",
        "get_options",
        "known_options",
        "set_vouchers",
    ),
    "cpe.grant": (
        "Grant",
        "grant",
    ),
    "cpe.identity": ("identity_of",),
    "cpe.option_life": ("OptionState",),
    "cpe.rpc": ("answer_rpc",),
    "cpe.store": ("OptionStore",),
    "model": (
        "DeviceId",
        "Mode",
        "Option",
        "Voucher",
    ),
    "signature.explanation": ("explain_voucher",),
    "signature.shape": (
        "VoucherDocument",
        "read_voucher",
        "unwrap",
    ),
    "signature.sign": ("VoucherSigner",),
    "signature.verify": (
        "TrustedVoucher",
        "Verifier",
        "verify_voucher",
    ),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vouchers.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
