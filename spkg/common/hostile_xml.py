"""Hostile XML: one parser that loads and expands nothing, located errors, and exact Canonical XML.

All XML is read here, within limits that are checked before and after parsing.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, cast

from lxml import etree

from spkg.errors import NO_ROOM, FormatError, RefusedError

__all__ = [
    "MAX_LENIENT_TAGS",
    "MAX_XML_ELEMENTS",
    "XML_BLANKS",
    "PlainParser",
    "XmlElement",
    "attribute",
    "base64_of",
    "canonical",
    "check_plain",
    "children",
    "escape",
    "glimpsed_events",
    "malformed",
    "parse",
    "path_of",
    "text_of",
]

XmlElement = etree._Element  # noqa: SLF001 - the type has no other name
"""An element of a parsed document."""
MAX_XML_ELEMENTS: Final = 4096
"""The most elements of a document."""
MAX_LENIENT: Final = 1 << 15
"""The most elements of a document in which unknown elements are ignored."""
MAX_LENIENT_TAGS: Final = 2 * MAX_LENIENT
"""The most tags that such a document can have: an element has one at its beginning, and one at its end."""
MAX_LENIENT_DEPTH: Final = 64
"""The most levels of such a document."""
MAX_NAMESPACES: Final = 512
"""The most namespace declarations; a voucher has two for each Option, and two more."""
GLIMPSE: Final = 1 << 14
"""How many bytes of a document that is too large are parsed at once."""
MAX_LINES: Final = 10_000
"""The last line for which the offset of an error is computed."""
XML_BLANKS: Final = " \t\r\n"
"""Exactly what XML defines as white space."""
XML_BOOLEANS: Final = {"0": False, "false": False, "1": True, "true": True}
"""How a boolean is written (XML Schema)."""
ENCODINGS: Final = {None, "UTF-8", "US-ASCII", "ASCII"}
"""The encodings that a document may declare."""


class PlainParser(etree.XMLParser):
    """A parser that loads nothing and expands nothing.

    Args:
        keep: Whether comments and processing instructions are kept, so that they can be refused; otherwise
            they are dropped.
    """

    def __init__(self, *, keep: bool = True) -> None:
        super().__init__(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            huge_tree=False,
            remove_comments=not keep,
            remove_pis=not keep,
        )


_PARSER: Final = PlainParser()
_LENIENT: Final = PlainParser(keep=False)
_COUNT: Final = etree.XPath("count(//*)")
_ATTRIBUTES: Final = etree.XPath("count(//@*)")
_TOO_DEEP: Final = etree.XPath(f"boolean({'/*' * (MAX_LENIENT_DEPTH + 1)})")


def malformed(element: XmlElement | None, problem: str, *, section: str = "C.3") -> FormatError:
    """Return the error that states *problem* for an element, with its path and line."""
    if element is None:
        return FormatError(problem, section=section)
    number: object = element.sourceline
    line = f" (line {number})" if number else ""
    return FormatError(f"{problem}{line}", field=path_of(element), section=section)


def path_of(element: XmlElement) -> str:
    """Return the path of an element, such as ``Signature.Object[1].Option.Mode``."""
    parts = []
    for one in (element, *element.iterancestors()):
        name = one.tag.rpartition("}")[2]
        parent = one.getparent()
        twins = [] if parent is None else [twin for twin in parent if twin.tag == one.tag]
        parts.append(name[:64] if len(twins) < 2 else f"{name[:64]}[{twins.index(one)}]")
    return ".".join(reversed(parts))


def parse(octets: bytes, what: str, most: int, *, section: str, lenient: bool = False) -> XmlElement:
    """Return the root of a UTF-8 document, which must not have a document type declaration.

    Args:
        octets: The document.
        what: What it is, for errors.
        most: The most bytes that it may have.
        section: The clause that requires it.
        lenient: Whether comments and processing instructions are ignored instead of refused within the root.

    Raises:
        FormatError: It is not such a document, or exceeds the limits.
        RefusedError: It is lenient, and has too many elements.
    """
    if len(octets) > most:
        raise FormatError(f"{what} must have at most {most} bytes", section=section)
    try:
        octets.decode()
    except UnicodeDecodeError as exc:
        raise FormatError(f"not UTF-8: {exc.reason}", offset=exc.start, section=section) from exc
    if octets.count(b"xmlns") > MAX_NAMESPACES:
        # Canonical XML copies each to every element below it: so many would take minutes.
        raise FormatError(f"more than {MAX_NAMESPACES} namespace declarations", section=section)
    doctype = octets.find(b"<!DOCTYPE")
    if doctype >= 0:
        raise FormatError("a document type declaration is not accepted", offset=doctype, section=section)
    if lenient and octets.count(b"<") > MAX_LENIENT_TAGS:
        raise _too_many(section)
    try:
        root = etree.fromstring(octets, _LENIENT if lenient else _PARSER)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise _unreadable(exc, octets, section) from exc
    info = root.getroottree().docinfo
    if info.internalDTD is not None or info.externalDTD is not None:
        raise FormatError("a document type declaration is not accepted", section=section)
    if (info.encoding or "UTF-8").upper() not in ENCODINGS or info.xml_version != "1.0":
        problem = f"expected XML 1.0 in UTF-8, got XML {info.xml_version} in {info.encoding}"
        raise FormatError(problem, section=section)
    count = cast("float", _COUNT(root))
    if lenient:
        if count > MAX_LENIENT:
            raise _too_many(section)
        if _TOO_DEEP(root):
            raise FormatError(f"more than {MAX_LENIENT_DEPTH} levels of elements", section=section)
    elif count > MAX_XML_ELEMENTS:
        raise FormatError(f"{count:.0f} elements exceed the limit of {MAX_XML_ELEMENTS}", section=section)
    else:
        for strange in root.iter(etree.Comment, etree.ProcessingInstruction, etree.Entity):
            # Signing may ignore them while reading does not: they have split names in two before.
            problem = "contains a comment or processing instruction"
            raise malformed(strange.getparent(), problem, section=section)
        # A comment beside the root is no part of any element, so nobody signs or reads it.
        beside = [*root.itersiblings(preceding=True), *root.itersiblings()]
        if any(one.tag is not etree.Comment for one in beside):
            raise FormatError("a processing instruction outside the root", section=section)
    return root


def glimpsed_events(octets: bytes) -> Iterator[tuple[str, XmlElement]]:
    """Yield the starts and ends of elements, as far as a document is well formed and has few of them.

    This is for documents that are too large to be parsed as a whole.
    """
    if b"<!DOCTYPE" in octets:
        return
    parser = etree.XMLPullParser(
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    left = 2 * MAX_LENIENT
    for place in range(0, len(octets), GLIMPSE):
        broken = False
        try:
            parser.feed(octets[place : place + GLIMPSE])
        except etree.XMLSyntaxError:
            broken = True  # what came before that counts
        events: list[tuple[str, XmlElement]] = []
        with suppress(etree.XMLSyntaxError):
            for event in parser.read_events():
                events.append(cast("tuple[str, XmlElement]", event))  # noqa: PERF401 - it may end with an error
        yield from events[:left]
        left -= len(events)
        if broken or left <= 0:
            return


def check_plain(root: XmlElement, attributes: int) -> None:
    """Refuse text between elements, and more attributes than expected.

    Args:
        root: The root of a document.
        attributes: How many attributes the document should have.

    Raises:
        FormatError: The document contains anything else.
    """
    for element in root.iter():
        tail = element.tail
        if tail and tail.strip(XML_BLANKS):
            raise malformed(element, "is followed by text")
        if len(element):
            text = element.text
            if text and text.strip(XML_BLANKS):
                raise malformed(element, "contains text between its elements")
    if _ATTRIBUTES(root) != attributes:
        raise FormatError("the document has unexpected attributes", section="C.3")


def children(element: XmlElement, *names: str) -> tuple[XmlElement, ...]:
    """Return the children of an element, which must be exactly *names*, in that order.

    Raises:
        FormatError: They are not.
    """
    found = tuple(element)
    if [child.tag for child in found] != [*names]:
        wanted = ", ".join(name.rpartition("}")[2] for name in names)
        raise malformed(element, f"must contain exactly {wanted}" if wanted else "must be empty")
    return found


def attribute(element: XmlElement, name: str) -> str:
    """Return an attribute of an element.

    Raises:
        FormatError: The attribute is missing.
    """
    value = element.get(name)
    if value is None:
        raise malformed(element, f"the attribute {name} is missing")
    return value


def text_of(element: XmlElement) -> str:
    """Return the text of an element that contains nothing else.

    Raises:
        FormatError: It contains elements.
    """
    if len(element):
        raise malformed(element, "must contain only text")
    return element.text or ""


def base64_of(element: XmlElement) -> bytes:
    """Return the bytes that an element contains in base64, with any line breaks.

    Raises:
        FormatError: It contains something else.
    """
    try:
        text = text_of(element).encode("ascii").translate(None, XML_BLANKS.encode())
        octets = b64decode(text, validate=True)
    except ValueError as exc:
        raise malformed(element, "not base64") from exc
    if b64encode(octets) != text:
        raise malformed(element, "not base64 in its canonical form")
    return octets


def canonical(element: XmlElement) -> bytes:
    """Return an element in Canonical XML 1.0, without comments.

    If a default namespace is declared above the element, lxml adds a wrong ``xmlns=""``.  So the element is
    made the root of its own document first.

    Raises:
        FormatError: It has no canonical form.
    """
    try:
        if element.getparent() is not None:
            element = etree.fromstring(etree.tostring(element, with_tail=False, encoding="utf-8"), _PARSER)
        return etree.tostring(element, method="c14n", with_comments=False)
    except (etree.LxmlError, ValueError) as exc:
        raise FormatError(f"has no canonical form: {exc}", field=path_of(element), section="C.3") from exc


def escape(text: str) -> str:
    """Return text as Canonical XML 1.0 writes it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def _too_many(section: str) -> RefusedError:
    problem = f"expected at most {MAX_LENIENT} elements, got more"
    return RefusedError(problem, section=section, reason=NO_ROOM)


def _unreadable(exc: Exception, octets: bytes, section: str) -> FormatError:
    """Return the parser's message as an error, with the offset if it is known."""
    reason = str(exc).partition(", line ")[0].rstrip()
    if reason[1:2].islower():
        reason = reason[:1].lower() + reason[1:]
    reason = f"malformed XML: {reason[:200]}"
    if not isinstance(exc, etree.XMLSyntaxError) or not exc.lineno:
        return FormatError(reason, section=section)
    line, column = exc.position
    if line > MAX_LINES:
        return FormatError(f"{reason}, line {line}", section=section)
    start = 0
    for _ in range(line - 1):
        start = octets.find(b"\n", start) + 1
    return FormatError(reason, offset=min(start + max(column - 1, 0), len(octets)), section=section)
