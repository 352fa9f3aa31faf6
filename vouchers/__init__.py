"""Signed vouchers of TR-069 (May 2004), Appendix C: issue, verify, apply, answer.

A server takes serial numbers from a ledger and signs; a device believes what a verifier hands back::

    issued = vouchers.VoucherIssuer(ledger, signer).issue(device, options)

    document = vouchers.read_voucher(issued.octets)
    trusted = vouchers.Verifier(policy).verify(document, now)   # raises; never returns a bool
    with vouchers.OptionStore(path, create=True) as store:
        store.apply([vouchers.grant(trusted, this_device, now)], now)

Names are imported when they are first used, so that a program pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vouchers.applying import check_vouchers, get_options, set_vouchers
    from vouchers.devices import identity_of
    from vouchers.granting import grant
    from vouchers.issuing import Issued, VoucherIssuer
    from vouchers.ledger import Ledger
    from vouchers.life import OptionState
    from vouchers.model import DeviceId, Mode, Option, Voucher
    from vouchers.rpc import answer
    from vouchers.soap import read_envelope
    from vouchers.store import OptionStore
    from vouchers.templates import Template, load_options
    from vouchers.xml.document import VoucherDocument, read_voucher, unwrap
    from vouchers.xml.signing import VoucherSigner
    from vouchers.xml.verification import TrustedVoucher, Verifier

__all__ = [
    "DeviceId",
    "Issued",
    "Ledger",
    "Mode",
    "Option",
    "OptionState",
    "OptionStore",
    "Template",
    "TrustedVoucher",
    "Verifier",
    "Voucher",
    "VoucherDocument",
    "VoucherIssuer",
    "VoucherSigner",
    "answer",
    "check_vouchers",
    "get_options",
    "grant",
    "identity_of",
    "load_options",
    "read_envelope",
    "read_voucher",
    "set_vouchers",
    "unwrap",
]

_MODULES: Final = {
    "applying": ("check_vouchers", "get_options", "set_vouchers"),
    "devices": ("identity_of",),
    "granting": ("grant",),
    "issuing": ("Issued", "VoucherIssuer"),
    "ledger": ("Ledger",),
    "life": ("OptionState",),
    "model": ("DeviceId", "Mode", "Option", "Voucher"),
    "rpc": ("answer",),
    "soap": ("read_envelope",),
    "store": ("OptionStore",),
    "templates": ("Template", "load_options"),
    "xml.document": ("VoucherDocument", "read_voucher", "unwrap"),
    "xml.signing": ("VoucherSigner",),
    "xml.verification": ("TrustedVoucher", "Verifier"),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vouchers.{_HOME[name]}"), name)
