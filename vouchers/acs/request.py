"""The SetVouchers request, as a server sends it (TR-069 A.4.1.3)."""

from base64 import b64encode
from collections.abc import Sequence

from spkg.common.xml_text import NOT_XML
from spkg.cwmp.arrays import write_array
from spkg.cwmp.soap import write_envelope
from vouchers.model import MAX_VOUCHERS

__all__ = ["set_vouchers_request"]


def set_vouchers_request(vouchers: Sequence[bytes], *, name: str) -> bytes:
    """Return the request that sets vouchers.

    Args:
        vouchers: The XML of each.
        name: The cwmp:ID of the request.

    Raises:
        ValueError: There are no vouchers, or more than a device takes; or XML does not allow the name.
    """
    if not 1 <= len(vouchers) <= MAX_VOUCHERS:
        raise ValueError(f"expected 1 to {MAX_VOUCHERS} vouchers, got {len(vouchers)}")
    if NOT_XML.search(name):
        raise ValueError("the cwmp:ID must not have characters that XML 1.0 excludes")
    members = [f"<base64>{b64encode(one).decode()}</base64>\n" for one in vouchers]
    array = write_array("VoucherList", "soapenc:base64", members)
    return write_envelope(f"<cwmp:SetVouchers>\n{array}</cwmp:SetVouchers>\n", name)
