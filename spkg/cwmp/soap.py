"""SOAP 1.1 as cwmp-1-0 uses it: envelopes in and out, whatever their contents (TR-069 3.5, A.2).

Reading ignores unknown elements, as 3.5 requires; a missing argument is found when it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spkg.common.hostile_xml import (
    XML_BLANKS,
    XML_BOOLEANS,
    XmlElement,
    escape,
    glimpsed_events,
    malformed,
    parse,
)
from spkg.common.printable import printable
from spkg.cwmp.faults import CLIENT, MAX_FAULT_STRING
from spkg.errors import NO_ROOM, RefusedError

__all__ = [
    "CWMP",
    "ENCODING",
    "MAX_ENVELOPE",
    "MAX_NAME_SHOWN",
    "Envelope",
    "fault_response",
    "glimpse_envelope",
    "method_of",
    "own_text",
    "read_envelope",
    "write_envelope",
]

CWMP: Final = "urn:dslforum-org:cwmp-1-0"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING: Final = "http://schemas.xmlsoap.org/soap/encoding/"
NEXT_ACTOR: Final = "http://schemas.xmlsoap.org/soap/actor/next"
"""The actor that means the reader of an envelope (SOAP 1.1, 4.2.2)."""
MAX_ENVELOPE: Final = 4 << 20
"""The largest envelope, in bytes."""
MAX_NAME_SHOWN: Final = 128
"""How many characters of an unknown name are shown."""
HEADERS: Final = {f"{{{CWMP}}}{name}": name for name in ("ID", "HoldRequests", "NoMoreRequests")}
"""The headers of Table 3."""


ID_PLACE: Final = (f"{{{CWMP}}}ID", f"{{{SOAP}}}Header", f"{{{SOAP}}}Envelope")
"""Where the cwmp:ID of an envelope is: its tag, and those of the elements around it."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The contents of an envelope."""

    body: XmlElement | None
    """The call, response or fault in its Body; None if it has only headers."""
    values: Mapping[str, XmlElement]
    """By their id, the values next to it that an href can refer to (SOAP 1.1, 5.4.1)."""
    id: str | None
    """The cwmp:ID, which the answer must repeat."""
    hold_requests: bool
    no_more_requests: bool
    problem: str | None
    """Why the request can't be fulfilled, although it is an envelope."""

    @property
    def is_empty(self) -> bool:
        """Whether it has only headers, which change the flow and need no answer (Table 3)."""
        return self.body is None and self.problem is None


def read_envelope(octets: bytes) -> Envelope:
    """Return the contents of an envelope; unknown elements are ignored (3.5).

    Raises:
        FormatError: It is not an envelope of SOAP 1.1.
        RefusedError: It is too large.
    """
    if len(octets) > MAX_ENVELOPE:
        problem = f"expected an envelope of at most {MAX_ENVELOPE} bytes, got more"
        raise RefusedError(problem, section="A.2.1", reason=NO_ROOM)
    root = parse(octets, "an envelope", MAX_ENVELOPE, section="3.5", lenient=True)
    if root.tag != f"{{{SOAP}}}Envelope":
        raise malformed(root, "must be an Envelope of SOAP 1.1", section="3.5")
    headers = [child for header in root.iterchildren(f"{{{SOAP}}}Header") for child in header]
    bodies = [*root.iterchildren(f"{{{SOAP}}}Body")]
    if len(bodies) != 1:
        raise malformed(root, f"expected one Body, got {len(bodies)}", section="3.5")
    body, *others = [*bodies[0]] or [None]
    problems: list[str] = []
    values = _values(others, problems)
    found: dict[str, str] = {}
    for header in headers:
        name = HEADERS.get(header.tag)
        if name in found:
            problems.append(f"the header {name} must occur once")
        elif name is not None:
            found[name] = own_text(header)
        elif _must_be_understood(header):
            problems.append(f"the header {printable(header.tag[:MAX_NAME_SHOWN])} is not understood")
    flags = {name: found.get(name, "0").strip(XML_BLANKS) for name in ("HoldRequests", "NoMoreRequests")}
    problems += [f"{name}: must be 0 or 1" for name, text in flags.items() if text not in XML_BOOLEANS]
    return Envelope(
        body=body,
        values=values,
        id=found.get("ID"),
        hold_requests=XML_BOOLEANS.get(flags["HoldRequests"], False),
        no_more_requests=XML_BOOLEANS.get(flags["NoMoreRequests"], False),
        problem=problems[0] if problems else None,
    )


def glimpse_envelope(octets: bytes) -> tuple[str, str | None]:
    """Return the tag of the call and the cwmp:ID of an envelope that is too large, if they can be read."""
    name: str | None = None
    for event, element in glimpsed_events(octets):
        above = [one.tag for one in element.iterancestors()]
        if event == "start" and above == [f"{{{SOAP}}}Body", f"{{{SOAP}}}Envelope"]:
            return element.tag, name
        if event == "end" and [element.tag, *above] == [*ID_PLACE]:
            name = own_text(element)
    return "", name


def method_of(tag: str) -> str:
    """Return the name of the method that a call is for."""
    return tag.removeprefix(f"{{{CWMP}}}")


def write_envelope(body: str, name: str | None) -> bytes:
    """Return an envelope.

    Args:
        body: The contents of its Body, as XML; ``soap``, ``soapenc`` and ``cwmp`` are declared.
        name: Its cwmp:ID; None if it has none.
    """
    header = (
        ""
        if name is None
        else f'<soap:Header>\n<cwmp:ID soap:mustUnderstand="1">{escape(name)}</cwmp:ID>\n</soap:Header>\n'
    )
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:soapenc="{ENCODING}" xmlns:cwmp="{CWMP}" '
        f'soap:encodingStyle="{ENCODING}">\n{header}<soap:Body>\n{body}</soap:Body>\n</soap:Envelope>\n'
    ).encode()


def fault_response(code: int, problem: str, name: str | None) -> bytes:
    """Return the answer to a request that failed (3.5, A.5).

    Args:
        code: The FaultCode.
        problem: The FaultString, which is truncated if it is too long.
        name: The cwmp:ID of the request.
    """
    source = "Client" if code in CLIENT else "Server"
    text = escape(printable(problem)[:MAX_FAULT_STRING])
    return write_envelope(
        f"<soap:Fault>\n<faultcode>{source}</faultcode>\n<faultstring>CWMP fault</faultstring>\n<detail>\n"
        f"<cwmp:Fault>\n<FaultCode>{code}</FaultCode>\n<FaultString>{text}</FaultString>\n</cwmp:Fault>\n"
        "</detail>\n</soap:Fault>\n",
        name,
    )


def own_text(element: XmlElement) -> str:
    """Return the text of an element without the elements in it, which are unknown and ignored (3.5)."""
    return "".join([element.text or "", *(child.tail or "" for child in element)])


def _values(others: list[XmlElement], problems: list[str]) -> dict[str, XmlElement]:
    """Return the values next to the call by their id; add missing and repeated ids to *problems*.

    A value that nothing refers to is unknown, and ignored.
    """
    values: dict[str, XmlElement] = {}
    calls = 1
    for element in others:
        name = element.get("id")
        if name is None:
            calls += 1
        elif name in values:
            problems.append(f"the id {name[:MAX_NAME_SHOWN]!r} must occur once")
        else:
            values[name] = element
    if calls > 1:
        problems.append(f"expected one call in the Body, got {calls}")
    return values


def _must_be_understood(header: XmlElement) -> bool:
    """Whether a reader of the envelope that does not know this header must fail."""
    actor = header.get(f"{{{SOAP}}}actor")
    return XML_BOOLEANS.get(header.get(f"{{{SOAP}}}mustUnderstand") or "0", True) and actor in {
        None,
        "",
        NEXT_ACTOR,
    }
