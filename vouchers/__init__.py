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
    from spkg.cwmp.soap import read_envelope
    from vouchers.acs.issuer import Issued, VoucherIssuer
    from vouchers.acs.ledger import Ledger
    from vouchers.acs.templates import Template, load_options
    from vouchers.cpe.apply import check_vouchers, get_options, set_vouchers
    from vouchers.cpe.grant import grant
    from vouchers.cpe.identity import identity_of
    from vouchers.cpe.option_life import OptionState
    from vouchers.cpe.rpc import answer
    from vouchers.cpe.store import OptionStore
    from vouchers.model import DeviceId, Mode, Option, Voucher
    from vouchers.signature.shape import VoucherDocument, read_voucher, unwrap
    from vouchers.signature.sign import VoucherSigner
    from vouchers.signature.verify import TrustedVoucher, Verifier

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
    "vouchers.cpe.apply": ("check_vouchers", "get_options", "set_vouchers"),
    "vouchers.cpe.identity": ("identity_of",),
    "vouchers.cpe.grant": ("grant",),
    "vouchers.acs.issuer": ("Issued", "VoucherIssuer"),
    "vouchers.acs.ledger": ("Ledger",),
    "vouchers.cpe.option_life": ("OptionState",),
    "vouchers.model": ("DeviceId", "Mode", "Option", "Voucher"),
    "vouchers.cpe.rpc": ("answer",),
    "spkg.cwmp.soap": ("read_envelope",),
    "vouchers.cpe.store": ("OptionStore",),
    "vouchers.acs.templates": ("Template", "load_options"),
    "vouchers.signature.shape": ("VoucherDocument", "read_voucher", "unwrap"),
    "vouchers.signature.sign": ("VoucherSigner",),
    "vouchers.signature.verify": ("TrustedVoucher", "Verifier"),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
