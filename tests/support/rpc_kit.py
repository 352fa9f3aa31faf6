"""What tests of the two methods are made of: what a server sends, and what it gets (TR-069 3.5, A.4.1)."""

from base64 import b64encode
from datetime import datetime
from functools import cache
from typing import Final

from spkg.cwmp.envelopes import read_message
from spkg.device import Device
from tests.support.kit import AT
from tests.support.voucher_kit import policy, signed
from vouchers.cpe.rpc import answer
from vouchers.cpe.store import OptionStore
from vouchers.model import Option, Voucher
from vouchers.signature.verify import Verifier

__all__ = [
    "AFTER",
    "BEFORE",
    "CWMP",
    "ENCODING",
    "HERE",
    "IPTV_ON",
    "IPTV_OVER",
    "QOS_ON",
    "SOAP",
    "UNKNOWN",
    "answered",
    "ask",
    "done",
    "envelope",
    "fault",
    "genuine",
    "get_options",
    "listed",
    "named",
    "only",
    "option",
    "set_vouchers",
]

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING: Final = "http://schemas.xmlsoap.org/soap/encoding/"
CWMP: Final = "urn:dslforum-org:cwmp-1-0"
HERE: Final = Device(
    manufacturer="2Wire",
    oui="00D09E",
    product_class="Gateway",
    serial_number="123456789",
    provisioning_code="ISP-1",
    supported_options=("QoS", "IPTV", "VoIP"),
)
"""The device that the vouchers of the kit are for; what it supports is in no order but its own."""
UNKNOWN: Final = "0001-01-01T00:00:00Z"


# What a server sends, in the layout of the examples of 3.5.


def envelope(body: str, header: str | None = None) -> bytes:
    """Return an envelope; ``x`` is a namespace that nobody knows."""
    above = "" if header is None else f"<soap:Header>{header}</soap:Header>\n"
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:soapenc="{ENCODING}" xmlns:cwmp="{CWMP}" '
        f'xmlns:x="urn:x" soap:encodingStyle="{ENCODING}">\n{above}<soap:Body>{body}</soap:Body>\n'
        "</soap:Envelope>\n"
    ).encode()


def named(text: str) -> str:
    """Return the header that says which request it is."""
    return f'<cwmp:ID soap:mustUnderstand="1">{text}</cwmp:ID>'


def get_options(name: str = "") -> str:
    return f"<cwmp:GetOptions><OptionName>{name}</OptionName></cwmp:GetOptions>"


def set_vouchers(*vouchers: bytes | str, kind: str | None = None) -> str:
    """Return a call; a string is what stands in a member, whatever it is.

    Args:
        vouchers: The vouchers.
        kind: What the arrayType says; the truth where nothing is named, and "" for none at all.
    """
    texts = [one if isinstance(one, str) else b64encode(one).decode() for one in vouchers]
    members = "".join(f"<base64>{text}</base64>" for text in texts)
    kind = f"soapenc:base64[{len(texts)}]" if kind is None else kind
    said = f' soapenc:arrayType="{kind}"' if kind else ""
    return f"<cwmp:SetVouchers><VoucherList{said}>{members}</VoucherList></cwmp:SetVouchers>"


@cache
def genuine() -> bytes:
    """Return the voucher that grants IPTV for a year, and QoS for good."""
    return signed()


@cache
def only(option: Option) -> bytes:
    """Return a voucher for one Option."""
    return signed(Voucher(options=(option,)))


# What it gets.


def answered(body: str, name: str | None = None, *, version: int = 0) -> bytes:
    """Return the whole envelope of an answer; *name* is the ID as it is written."""
    header = (
        ""
        if name is None
        else f'<soap:Header>\n<cwmp:ID soap:mustUnderstand="1">{name}</cwmp:ID>\n</soap:Header>\n'
    )
    return (
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" '
        f'xmlns:cwmp="urn:dslforum-org:cwmp-1-{version}" '
        'soap:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">\n'
        f"{header}<soap:Body>\n{body}</soap:Body>\n</soap:Envelope>\n"
    ).encode()


def done(name: str | None = None) -> bytes:
    """Return the answer to SetVouchers."""
    return answered("<cwmp:SetVouchersResponse></cwmp:SetVouchersResponse>\n", name)


def listed(*options: str, name: str | None = None) -> bytes:
    """Return the answer to GetOptions."""
    return answered(
        "<cwmp:GetOptionsResponse>\n"
        f'<OptionList soapenc:arrayType="cwmp:OptionStruct[{len(options)}]">\n'
        f"{''.join(options)}</OptionList>\n</cwmp:GetOptionsResponse>\n",
        name,
    )


def option(
    name: str,
    serial: int = 0,
    state: int = 0,
    mode: int = 0,
    start: str = UNKNOWN,
    *,
    expires: str | None = None,
    transferable: int = 0,
) -> str:
    """Return an OptionStruct; without more, that of an Option that there was never a voucher for."""
    ends = "" if expires is None else f"<ExpirationDate>{expires}</ExpirationDate>\n"
    return (
        f"<OptionStruct>\n<OptionName>{name}</OptionName>\n<VoucherSN>{serial}</VoucherSN>\n"
        f"<State>{state}</State>\n<Mode>{mode}</Mode>\n<StartDate>{start}</StartDate>\n{ends}"
        f"<IsTransferable>{transferable}</IsTransferable>\n</OptionStruct>\n"
    )


IPTV_ON: Final = option("IPTV", 4001, 1, 1, "2026-05-01T00:00:00Z", expires="2027-05-01T00:00:00Z")
IPTV_OVER: Final = option("IPTV", 4001, 0, 0, "2026-05-01T00:00:00Z", expires="2027-05-01T00:00:00Z")
QOS_ON: Final = option("QoS", 4002, 1, 2, "2026-06-01T12:00:00Z", transferable=1)
BEFORE: Final = (option("QoS"), option("IPTV"), option("VoIP"))
AFTER: Final = (QOS_ON, IPTV_ON, option("VoIP"))


def fault(code: int, problem: str, name: str | None = None) -> bytes:
    """Return the envelope of a fault, as the example of 3.5 has it; *problem* as it is written."""
    source = {9000: "Client", 9001: "Client", 9002: "Server", 9003: "Client", 9004: "Server"}[code]
    return answered(
        f"<soap:Fault>\n<faultcode>{source}</faultcode>\n<faultstring>CWMP fault</faultstring>\n<detail>\n"
        f"<cwmp:Fault>\n<FaultCode>{code}</FaultCode>\n<FaultString>{problem}</FaultString>\n</cwmp:Fault>\n"
        "</detail>\n</soap:Fault>\n",
        name,
    )


def ask(
    store: OptionStore,
    octets: bytes,
    *,
    device: Device = HERE,
    now: datetime | None = AT,
    supposed: bool = False,
    verifier: Verifier | None = None,
) -> bytes | None:
    request = read_message(octets)
    return answer(request, store, verifier or Verifier(policy()), device, now, supposed=supposed)
