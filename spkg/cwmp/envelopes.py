"""Envelopes as they come: cut out of an HTTP response, and read as messages (TR-069 3.4.1, 3.5).

Whatever a server sends is read here, within limits.  Unknown elements, attributes, comments and processing
instructions are ignored, as 3.5 requires; which arguments a method has is no business of this module.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from xml.parsers import expat

from spkg.common.hostile_xml import (
    MAX_LENIENT_TAGS,
    XML_BLANKS,
    XML_BOOLEANS,
    XmlElement,
    glimpsed_events,
    malformed,
    parse,
)
from spkg.common.printable import amount, printable
from spkg.cwmp.faults import UnknownMethodError
from spkg.cwmp.soap import CWMP_FAMILY, MAX_NAME_SHOWN, SOAP, own_text
from spkg.errors import NO_ROOM, FormatError, RefusedError, SpkgError, UsageError

__all__ = [
    "MAX_ENVELOPE",
    "MAX_PIPELINED",
    "Message",
    "MessageKind",
    "argument_name",
    "read_message",
    "split_envelopes",
]

MAX_ENVELOPE: Final = 4 << 20
"""The largest envelope, and the largest response with several, in bytes."""
MAX_PIPELINED: Final = 16
"""The most envelopes of a response."""
CWMP_TAG: Final = re.compile(rf"\{{{CWMP_FAMILY}(\d{{1,3}})\}}(.*)", re.ASCII | re.DOTALL)
"""The tag of an element in the namespace of any version."""
FLOW_HEADERS: Final = ("HoldRequests", "NoMoreRequests")
HEADERS: Final = frozenset({"ID", *FLOW_HEADERS})
"""The headers of Table 3."""
RESPONSE: Final = "Response"
"""What the name of an answer ends in (3.5)."""
NEXT_ACTOR: Final = "http://schemas.xmlsoap.org/soap/actor/next"
"""The actor that means the reader of an envelope (SOAP 1.1, 4.2.2)."""
AFTER_ROOT: Final = 9
"""What expat calls a document that goes on after its root (XML_ERROR_JUNK_AFTER_DOC_ELEMENT)."""


class MessageKind(Enum):
    """What an envelope is."""

    CALL = "call"
    RESPONSE = "response"
    FAULT = "fault"
    FLOW = "flow"
    """It has only headers, which change the flow and need no answer (Table 3)."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """What an envelope says."""

    kind: MessageKind
    name: str
    """The method; the whole tag, such as ``{urn:x}Call``, in a namespace not of CWMP; "" without one."""
    id: str | None
    """The cwmp:ID, which the answer must repeat."""
    hold_requests: bool
    no_more_requests: bool
    version: int
    """The N of its namespace cwmp-1-N, which the answer has, too."""
    octets: bytes = field(repr=False)
    """The whole envelope."""
    body: XmlElement | None
    """The call, response or fault in its Body."""
    values: Mapping[str, XmlElement]
    """By their id, the values next to it that an href can refer to (SOAP 1.1, 5.4.1)."""
    problem: SpkgError | None
    """Why it can't be fulfilled, although it is an envelope: the answer to a call is then a fault."""

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing, and nothing is wrong with it."""
        return self.kind is MessageKind.FLOW and self.problem is None

    def not_supported(self) -> UnknownMethodError:
        """Return the error that there is no such method here."""
        tag = self.name if self.body is None else self.body.tag
        return UnknownMethodError(f"the method {tag[:MAX_NAME_SHOWN]} is not supported")


def split_envelopes(octets: bytes, most: int = 1) -> list[bytes]:
    """Return the envelopes of an HTTP response, in their order; none if it is empty (3.4.1).

    Several envelopes are no document, and nothing separates them: where one ends, its parser decides.

    Args:
        octets: The body of the response.
        most: The most envelopes that it may have: the MaxEnvelopes of the Inform.

    Raises:
        FormatError: It has more, or something else than envelopes, or is no XML.
        RefusedError: It is too large.
    """
    _check_size(octets, "a response")
    if octets.count(b"<") > MAX_LENIENT_TAGS * most:
        return [octets]  # to cut it would take much memory; to read it says what is wrong
    found: list[bytes] = []
    start = _next(octets, 0)
    while start < len(octets):
        if len(found) == most:
            problem = f"expected at most {amount(most, 'envelope')}, got more"
            raise FormatError(problem, offset=start, section="3.4.1")
        end = _end(octets, start)
        found.append(octets[start:end])
        start = _next(octets, end)
    return found


def _check_size(octets: bytes, what: str) -> None:
    if len(octets) > MAX_ENVELOPE:
        problem = f"expected {what} of at most {MAX_ENVELOPE} bytes, got more"
        raise RefusedError(problem, section="A.2.1", reason=NO_ROOM)


def _next(octets: bytes, start: int) -> int:
    """Return where the next envelope begins, which is the end if no more follows."""
    while octets[start : start + 1].isspace():
        start += 1
    return start


def _end(octets: bytes, start: int) -> int:
    """Return where the document that begins at *start* ends."""
    parser = expat.ParserCreate("UTF-8")
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(memoryview(octets)[start:], True)  # noqa: FBT003 - it has no name
    except expat.ExpatError as exc:
        end = start + parser.ErrorByteIndex
        if exc.code == AFTER_ROOT and octets[end : end + 1] == b"<":
            return end
        problem = f"malformed XML: {expat.ErrorString(exc.code)}"
        raise FormatError(problem, offset=end, section="3.5") from exc
    return len(octets)


def _refuse_doctype(*_: object) -> None:
    raise FormatError("a document type declaration is not accepted", section="3.5")


def read_message(octets: bytes) -> Message:
    """Return what an envelope says; unknown elements are ignored (3.5).

    An envelope that is too large, or has too many elements, is a call with a problem as far as its name and
    ID can be read: its sender needs an answer.

    Raises:
        FormatError: It is not an envelope of SOAP 1.1.
    """
    try:
        _check_size(octets, "an envelope")
        root = parse(octets, "an envelope", MAX_ENVELOPE, section="3.5", lenient=True)
    except RefusedError as exc:
        return _glimpsed(octets, exc)
    if root.tag != f"{{{SOAP}}}Envelope":
        raise malformed(root, "must be an Envelope of SOAP 1.1", section="3.5")
    bodies = [*root.iterchildren(f"{{{SOAP}}}Body")]
    if len(bodies) != 1:
        raise malformed(root, f"expected one Body, got {len(bodies)}", section="3.5")
    body, *others = [*bodies[0]] or [None]
    problems: list[str] = []
    values = _values(others, problems)
    kind, name, version = _meaning("" if body is None else body.tag)
    headers, stated = _headers(root, problems)
    flags = {flag: headers.get(flag, "0").strip(XML_BLANKS) for flag in FLOW_HEADERS}
    problems += [f"{flag}: must be 0 or 1" for flag, text in flags.items() if text not in XML_BOOLEANS]
    return Message(
        kind=kind,
        name=name,
        id=headers.get("ID"),
        hold_requests=XML_BOOLEANS.get(flags["HoldRequests"], False),
        no_more_requests=XML_BOOLEANS.get(flags["NoMoreRequests"], False),
        version=stated if version is None else version,
        octets=octets,
        body=body,
        values=values,
        problem=UsageError(problems[0], section="3.5") if problems else None,
    )


def argument_name(element: XmlElement) -> str | None:
    """Return the name of an argument or of a field of a structure; None if it is a later extension.

    It has no namespace in the schema, but servers that follow 3.5 to the letter put it into that of CWMP.
    """
    tag = element.tag
    if "}" not in tag:
        return tag
    ours = CWMP_TAG.fullmatch(tag)
    return None if ours is None else ours[2]


def _meaning(tag: str) -> tuple[MessageKind, str, int | None]:
    """Return what the tag in a Body means: the kind, the method, and the N of its namespace."""
    ours = CWMP_TAG.fullmatch(tag)
    if ours is None:
        if tag == f"{{{SOAP}}}Fault":
            return MessageKind.FAULT, "", None
        foreign = tag if tag.startswith("{") else f"{{}}{tag}"
        return (MessageKind.CALL, foreign, None) if tag else (MessageKind.FLOW, "", None)
    version, name = int(ours[1]), ours[2]
    if name.endswith(RESPONSE) and name != RESPONSE:
        return MessageKind.RESPONSE, name.removesuffix(RESPONSE), version
    return MessageKind.CALL, name, version


def _headers(root: XmlElement, problems: list[str]) -> tuple[dict[str, str], int]:
    """Return the headers of Table 3 and the N of their namespace; add what is wrong to *problems*."""
    found: dict[str, str] = {}
    version = 0
    for header in (one for headers in root.iterchildren(f"{{{SOAP}}}Header") for one in headers):
        ours = CWMP_TAG.fullmatch(header.tag)
        name = "" if ours is None else ours[2]
        if ours is not None and name in HEADERS:
            if name in found:
                problems.append(f"the header {name} must occur once")
            version = version or int(ours[1])
            found.setdefault(name, own_text(header))
        elif _must_be_understood(header):
            problems.append(f"the header {printable(header.tag[:MAX_NAME_SHOWN])} is not understood")
    return found, version


def _glimpsed(octets: bytes, problem: SpkgError) -> Message:
    """Return what can be known of an envelope that is too large."""
    tag, identity = "", None
    for event, element in glimpsed_events(octets):
        above = [one.tag for one in element.iterancestors()]
        if event == "start" and above == [f"{{{SOAP}}}Body", f"{{{SOAP}}}Envelope"]:
            tag = element.tag
            break
        ours = CWMP_TAG.fullmatch(element.tag)
        within = above == [f"{{{SOAP}}}Header", f"{{{SOAP}}}Envelope"]
        if event == "end" and within and ours is not None and ours[2] == "ID":
            identity = own_text(element)
    kind, name, version = _meaning(tag)
    return Message(
        kind=MessageKind.CALL if kind is MessageKind.FLOW else kind,
        name=name,
        id=identity,
        hold_requests=False,
        no_more_requests=False,
        version=version or 0,
        octets=octets,
        body=None,
        values={},
        problem=problem,
    )


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
