"""The formats in which a server writes vouchers."""

from base64 import b64encode
from enum import Enum

from spkg.common.documents import json_text
from vouchers.acs.issuer import Issued
from vouchers.acs.request import set_vouchers_request

__all__ = ["VoucherForm"]


class VoucherForm(Enum):
    """The format in which a voucher is written."""

    XML = "xml"
    BASE64 = "base64"
    SOAP = "soap"
    """A SetVouchers request."""
    NDJSON = "ndjson"

    def write(self, issued: Issued) -> bytes:
        """Return a voucher in this format; one line of text for base64 and NDJSON."""
        match self:
            case VoucherForm.XML:
                return issued.octets
            case VoucherForm.BASE64:
                return b64encode(issued.octets) + b"\n"
            case VoucherForm.SOAP:
                return set_vouchers_request([issued.octets], name=str(issued.serials[0]))
            case VoucherForm.NDJSON:
                return json_text(_document(issued)).encode() + b"\n"

    @property
    def file(self) -> str | None:
        """The one file for all vouchers; None if each has its own, named by its serial number."""
        return f"vouchers.{self.value}" if self in {VoucherForm.BASE64, VoucherForm.NDJSON} else None


def _document(issued: Issued) -> dict[str, object]:
    device = issued.device
    return {
        "device": {
            "manufacturer": device.manufacturer,
            "oui": device.oui,
            "product_class": device.product_class,
            "serial_number": device.serial_number,
        },
        "serials": issued.serials,
        "voucher": b64encode(issued.octets).decode(),
    }
