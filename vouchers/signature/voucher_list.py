"""The vouchers of a SetVouchers request (TR-069 A.4.1.3)."""

from base64 import b64decode

from spkg.common.hostile_xml import XML_BLANKS, XmlElement
from spkg.cwmp.arrays import BASE64, References, read_array
from spkg.cwmp.envelopes import Message, argument_name
from spkg.cwmp.soap import MAX_NAME_SHOWN, own_text
from spkg.errors import NO_ROOM, RefusedError, UsageError
from vouchers.model import MAX_VOUCHERS
from vouchers.signature.shape import MAX_VOUCHER

__all__ = ["read_voucher_list", "sole_argument"]


def sole_argument(request: Message, references: References, name: str) -> XmlElement:
    """Return the only argument of a call (A.2.2).

    It has no namespace in the schema, but servers that follow 3.5 to the letter put it into that of CWMP.
    Elements of other namespaces are later extensions, and ignored.

    Raises:
        UsageError: There are other arguments.
        FormatError: It refers to nothing.
    """
    assert request.body is not None  # its tag was looked up
    found = [child for child in request.body if argument_name(child) is not None]
    names = [str(argument_name(child)) for child in found]
    if names != [name]:
        got = ", ".join(names)[:MAX_NAME_SHOWN] or "none"
        raise UsageError(f"expected the one argument {name}, got {got}", section="A.2.2")
    return references.follow(found[0], field=name)


def read_voucher_list(request: Message, references: References) -> list[tuple[str, bytes]]:
    """Return the place of each voucher of a request, and its XML.

    Raises:
        UsageError: There are other arguments, no vouchers, or some that are not base64.
        RefusedError: A voucher is too large.
        FormatError: The list is malformed.
    """
    array = sole_argument(request, references, "VoucherList")
    members = read_array(array, references, field="VoucherList", most=MAX_VOUCHERS, types=BASE64)
    if not members:
        raise UsageError("must have at least one voucher", field="VoucherList", section="A.4.1.3")
    return [
        (f"VoucherList[{index}]", _octets(one, f"VoucherList[{index}]")) for index, one in enumerate(members)
    ]


def _octets(member: XmlElement, source: str) -> bytes:
    """Return the voucher in a member of the list."""
    text = own_text(member).translate(dict.fromkeys(map(ord, XML_BLANKS)))
    try:
        octets = b64decode(text, validate=True)
    except ValueError as exc:
        raise UsageError("must be base64", field=source, section="A.4.1.3") from exc
    if len(octets) > MAX_VOUCHER:
        problem = f"expected a voucher of at most {MAX_VOUCHER} bytes, got {len(octets)}"
        raise RefusedError(problem, field=source, reason=NO_ROOM)
    return octets
