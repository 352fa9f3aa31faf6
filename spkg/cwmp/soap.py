"""SOAP 1.1 as cwmp-1-0 uses it: how an envelope and a fault are written (TR-069 3.5, Table 3)."""

from collections.abc import Sequence
from typing import Final

from spkg.common.hostile_xml import XmlElement, escape
from spkg.common.printable import printable
from spkg.cwmp.faults import CLIENT, MAX_FAULT_STRING, ParameterFault

__all__ = [
    "CWMP",
    "CWMP_FAMILY",
    "ENCODING",
    "MAX_NAME_SHOWN",
    "SOAP",
    "XSI",
    "fault_response",
    "own_text",
    "write_envelope",
]

CWMP_FAMILY: Final = "urn:dslforum-org:cwmp-1-"
"""What the namespaces of all versions begin with; a number follows."""
CWMP: Final = f"{CWMP_FAMILY}0"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING: Final = "http://schemas.xmlsoap.org/soap/encoding/"
XSD: Final = "http://www.w3.org/2001/XMLSchema"
XSI: Final = f"{XSD}-instance"
MAX_NAME_SHOWN: Final = 128
"""How many characters of an unknown name are shown."""


def write_envelope(body: str, name: str | None, *, version: int = 0, typed: bool = False) -> bytes:
    """Return an envelope.

    Args:
        body: The contents of its Body, as XML; ``soap``, ``soapenc`` and ``cwmp`` are declared.
        name: Its cwmp:ID; None if it has none.
        version: The N of the namespace cwmp-1-N, which is that of the request in an answer.
        typed: Whether ``xsd`` and ``xsi`` are declared, too.
    """
    header = (
        ""
        if name is None
        else f'<soap:Header>\n<cwmp:ID soap:mustUnderstand="1">{escape(name)}</cwmp:ID>\n</soap:Header>\n'
    )
    types = f'xmlns:xsd="{XSD}" xmlns:xsi="{XSI}" ' if typed else ""
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:soapenc="{ENCODING}" '
        f'xmlns:cwmp="{CWMP_FAMILY}{version}" {types}'
        f'soap:encodingStyle="{ENCODING}">\n{header}<soap:Body>\n{body}</soap:Body>\n</soap:Envelope>\n'
    ).encode()


def fault_response(
    code: int, problem: str, name: str | None, *, version: int = 0, parameters: Sequence[ParameterFault] = ()
) -> bytes:
    """Return the answer to a request that failed (3.5, A.5).

    Args:
        code: The FaultCode.
        problem: The FaultString, which is truncated if it is too long.
        name: The cwmp:ID of the request.
        version: The N of its namespace cwmp-1-N.
        parameters: The parameters in error, for SetParameterValues alone.
    """
    source = "Client" if code in CLIENT else "Server"
    each = "".join(
        f"<SetParameterValuesFault>\n<ParameterName>{escape(printable(one.name))}</ParameterName>\n"
        f"{_reason(one.code, one.text)}</SetParameterValuesFault>\n"
        for one in parameters
    )
    return write_envelope(
        f"<soap:Fault>\n<faultcode>{source}</faultcode>\n<faultstring>CWMP fault</faultstring>\n<detail>\n"
        f"<cwmp:Fault>\n{_reason(code, problem)}{each}</cwmp:Fault>\n</detail>\n</soap:Fault>\n",
        name,
        version=version,
    )


def own_text(element: XmlElement) -> str:
    """Return the text of an element without the elements in it, which are unknown and ignored (3.5)."""
    return "".join([element.text or "", *(child.tail or "" for child in element)])


def _reason(code: int, text: str) -> str:
    text = escape(printable(text)[:MAX_FAULT_STRING])
    return f"<FaultCode>{code:d}</FaultCode>\n<FaultString>{text}</FaultString>\n"
