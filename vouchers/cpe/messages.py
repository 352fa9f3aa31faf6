"""SOAP 1.1 as cwmp-1-0 uses it: envelopes in and out (TR-069 3.5, A.2)."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spkg.common.hostile_xml import BLANK, Element, escape, malformed, parse
from spkg.common.printable import printable
from spkg.common.times import write_time
from spkg.cwmp.faults import CLIENT, MAX_FAULT_STRING
from spkg.errors import NO_ROOM, RefusedError
from vouchers.cpe.option_life import OptionState
from vouchers.model import NEVER

__all__ = [
    "CWMP",
    "ENCODING",
    "MAX_ENVELOPE",
    "MAX_VOUCHERS",
    "Request",
    "fault_response",
    "options_response",
    "own_text",
    "read_envelope",
    "set_vouchers_request",
    "vouchers_response",
]

CWMP: Final = "urn:dslforum-org:cwmp-1-0"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING: Final = "http://schemas.xmlsoap.org/soap/encoding/"
NEXT: Final = "http://schemas.xmlsoap.org/soap/actor/next"
"""The actor that whoever reads an envelope is."""
MAX_ENVELOPE: Final = 4 << 20
"""The largest envelope, in octets."""
MAX_VOUCHERS: Final = 64
"""The most vouchers of one list."""
MAX_NAME: Final = 128
"""How much is told of a name that is not known."""
HEADERS: Final = {f"{{{CWMP}}}{name}": name for name in ("ID", "HoldRequests", "NoMoreRequests")}
"""The headers of Table 3."""
UNKNOWN_TIME: Final = "0001-01-01T00:00:00Z"
"""StartDate of an Option that never had one: the schema of cwmp-1-0 wants some."""
BOOLEAN: Final = {"0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an envelope asks for."""

    method: Element | None
    """The call; None where the envelope has headers alone."""
    id: str | None
    """What the answer has to repeat."""
    hold_requests: bool
    no_more_requests: bool
    problem: str | None
    """Why it is no request that can be met, though it is an envelope."""


def read_envelope(octets: bytes) -> Request:
    """Return what an envelope asks for; what is unknown in it is ignored, as 3.5 has it.

    Raises:
        FormatError: It is no envelope of SOAP 1.1.
        RefusedError: It is larger than an envelope may be.
    """
    if len(octets) > MAX_ENVELOPE:
        raise RefusedError(f"an envelope of more than {MAX_ENVELOPE} octets", section="A.2.1", reason=NO_ROOM)
    root = parse(octets, "an envelope", MAX_ENVELOPE, section="3.5", lenient=True)
    if root.tag != f"{{{SOAP}}}Envelope":
        raise malformed(root, "an Envelope of SOAP 1.1 belongs here", section="3.5")
    headers = [child for header in root.iterchildren(f"{{{SOAP}}}Header") for child in header]
    bodies = [*root.iterchildren(f"{{{SOAP}}}Body")]
    if len(bodies) != 1:
        raise malformed(root, "one Body belongs in it", section="3.5")
    # An encoded value that stands beside the call is referred to, which no argument of ours is.
    method, *others = [*bodies[0]] or [None]
    problems = ["one call belongs in a Body"] if others else []
    found: dict[str, str] = {}
    for header in headers:
        name = HEADERS.get(header.tag)
        if name in found:
            problems.append(f"the header {name} is there twice")
        elif name is not None:
            found[name] = own_text(header)
        elif _must_be_understood(header):
            problems.append(f"the header {printable(header.tag[:MAX_NAME])} is not understood")
    flags = {name: found.get(name, "0").strip(BLANK) for name in ("HoldRequests", "NoMoreRequests")}
    problems += [f"{name}: 0 or 1 belongs here" for name, text in flags.items() if text not in BOOLEAN]
    return Request(
        method=method,
        id=found.get("ID"),
        hold_requests=BOOLEAN.get(flags["HoldRequests"], False),
        no_more_requests=BOOLEAN.get(flags["NoMoreRequests"], False),
        problem=problems[0] if problems else None,
    )


def own_text(element: Element) -> str:
    """Return the text of an element without the elements in it, which are unknown and ignored (3.5)."""
    return "".join([element.text or "", *(child.tail or "" for child in element)])


def set_vouchers_request(vouchers: Sequence[bytes], *, name: str) -> bytes:
    """Return the request that sets vouchers.

    Args:
        vouchers: The XML of each.
        name: What tells the request from others: its cwmp:ID.

    Raises:
        ValueError: There are more vouchers than a device takes, or none; or no XML can have such a name.
    """
    if not 1 <= len(vouchers) <= MAX_VOUCHERS:
        raise ValueError(f"{len(vouchers)} vouchers, from 1 to {MAX_VOUCHERS} belong into a request")
    if NEVER.search(name):
        raise ValueError("the cwmp:ID has a character that XML has not")
    members = "".join(f"<base64>{b64encode(one).decode()}</base64>\n" for one in vouchers)
    kind = f'soapenc:arrayType="soapenc:base64[{len(vouchers)}]"'
    body = f"<VoucherList {kind}>\n{members}</VoucherList>\n"
    return _envelope(f"<cwmp:SetVouchers>\n{body}</cwmp:SetVouchers>\n", name)


def vouchers_response(name: str | None) -> bytes:
    """Return the answer to SetVouchers (Table 45)."""
    return _envelope("<cwmp:SetVouchersResponse></cwmp:SetVouchersResponse>\n", name)


def options_response(options: Sequence[OptionState], name: str | None) -> bytes:
    """Return the answer to GetOptions (Tables 47 and 48)."""
    members = "".join(map(_option, options))
    kind = f'soapenc:arrayType="cwmp:OptionStruct[{len(options)}]"'
    body = f"<OptionList {kind}>\n{members}</OptionList>\n"
    return _envelope(f"<cwmp:GetOptionsResponse>\n{body}</cwmp:GetOptionsResponse>\n", name)


def fault_response(code: int, problem: str, name: str | None) -> bytes:
    """Return the answer to a request that is not met (3.5, A.5)."""
    source = "Client" if code in CLIENT else "Server"
    said = escape(printable(problem)[:MAX_FAULT_STRING])
    return _envelope(
        f"<soap:Fault>\n<faultcode>{source}</faultcode>\n<faultstring>CWMP fault</faultstring>\n<detail>\n"
        f"<cwmp:Fault>\n<FaultCode>{code}</FaultCode>\n<FaultString>{said}</FaultString>\n</cwmp:Fault>\n"
        "</detail>\n</soap:Fault>\n",
        name,
    )


def _envelope(body: str, name: str | None) -> bytes:
    header = (
        ""
        if name is None
        else f'<soap:Header>\n<cwmp:ID soap:mustUnderstand="1">{escape(name)}</cwmp:ID>\n</soap:Header>\n'
    )
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:soapenc="{ENCODING}" xmlns:cwmp="{CWMP}" '
        f'soap:encodingStyle="{ENCODING}">\n{header}<soap:Body>\n{body}</soap:Body>\n</soap:Envelope>\n'
    ).encode()


def _option(option: OptionState) -> str:
    start = UNKNOWN_TIME if option.start is None else write_time(option.start)
    ends = ""
    if option.expires is not None:
        ends = f"<ExpirationDate>{write_time(option.expires)}</ExpirationDate>\n"
    return (
        f"<OptionStruct>\n<OptionName>{escape(option.name)}</OptionName>\n"
        f"<VoucherSN>{option.voucher_sn}</VoucherSN>\n<State>{option.state}</State>\n"
        f"<Mode>{option.mode}</Mode>\n<StartDate>{start}</StartDate>\n{ends}"
        f"<IsTransferable>{option.transferable:d}</IsTransferable>\n</OptionStruct>\n"
    )


def _must_be_understood(header: Element) -> bool:
    """Whether whoever reads an envelope must fail where it does not know this header."""
    actor = header.get(f"{{{SOAP}}}actor")
    return BOOLEAN.get(header.get(f"{{{SOAP}}}mustUnderstand") or "0", True) and actor in {None, "", NEXT}
