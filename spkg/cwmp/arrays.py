"""Arrays of SOAP 1.1, as cwmp-1-0 writes them and as the toolkits of servers do (TR-069 3.5; SOAP 1.1, 5.4).

A member may have any name in any namespace (5.4.2).  PHP, gSOAP and .NET write ``item`` or ``Item``, and
gSOAP, .NET and Axis may write a value next to the call and refer to it: ``<item href="#id0"/>``.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from spkg.common.hostile_xml import XML_BLANKS, XML_BOOLEANS, XmlElement
from spkg.common.printable import amount
from spkg.cwmp.envelopes import Message
from spkg.cwmp.soap import ENCODING, MAX_NAME_SHOWN, XSI, own_text
from spkg.errors import NO_ROOM, FormatError, RefusedError

__all__ = ["BASE64", "XSI_TYPE", "References", "read_array", "write_array"]

BASE64: Final = ("base64", "base64Binary", "string")
"""The types that servers state for base64: soapenc:base64, xsd:base64Binary, xsd:base64 of toolkits that mix
the two, and xsd:string of those that have text and no schema, such as PHP's."""
XSI_TYPE: Final = f"{{{XSI}}}type"
XSI_NIL: Final = f"{{{XSI}}}nil"
MAX_SHARED: Final = 64 << 10
"""The most characters that come from values which were referred to before."""
STATED_COUNT: Final = re.compile(r"\[(\d{1,9})\]\s*$", re.ASCII)
"""The number of members at the end of an arrayType."""


class References:
    """The values of a message that its arguments can refer to.

    Most messages refer to nothing and have nothing that is nil; that is seen at once, and makes them fast.
    """

    def __init__(self, message: Message) -> None:
        self.plain = b"href" not in message.octets and b"nil" not in message.octets
        """Whether no element refers to another one, or is nil."""
        self._values = message.values
        self._used: set[str] = set()
        self._spare = MAX_SHARED

    def follow(self, element: XmlElement, *, field: str, once: bool = False) -> XmlElement:
        """Return the element that holds a value: the one that an href refers to, or *element* itself.

        A value that is referred to can't refer to another one: there are no circles and no chains.

        Args:
            element: An argument, a field, or the member of an array.
            field: Its name in errors.
            once: Whether nothing else may refer to the same value.

        Raises:
            FormatError: It refers to nothing in its envelope, to too much, or has a value in addition.
        """
        href = None if self.plain else element.get("href")
        if href is None:
            return element
        if len(element) or own_text(element).strip(XML_BLANKS):
            raise FormatError("must have a value or an href, not both", field=field, section="3.5")
        value = self._values.get(href.removeprefix("#")) if href.startswith("#") else None
        if value is None:
            problem = f"href must refer to a value next to the call, got {href[:MAX_NAME_SHOWN]!r}"
            raise FormatError(problem, field=field, section="3.5")
        if value.get("href") is not None:
            problem = f"href must refer to a value, got {href[:MAX_NAME_SHOWN]!r}, which has an href itself"
            raise FormatError(problem, field=field, section="3.5")
        if href in self._used:
            # One large value, referred to again and again, would cost as much as many.
            self._spare -= len(value.text or "") + 1
            if once or len(value) or self._spare < 0:
                raise FormatError("must not refer to the value of another member", field=field, section="3.5")
        self._used.add(href)
        return value

    def is_nil(self, element: XmlElement) -> bool:
        """Whether an element is said to have no value."""
        return not self.plain and XML_BOOLEANS.get((element.get(XSI_NIL) or "0").strip(XML_BLANKS), True)


def read_array(
    array: XmlElement,
    references: References,
    *,
    field: str,
    most: int | None,
    types: Collection[str] | None = None,
) -> list[XmlElement]:
    """Return the elements that hold the values of an array's members.

    Args:
        array: The array.
        references: What its members can refer to.
        field: Its name in errors.
        most: The most members that it may have; None if only the envelope limits them.
        types: The types that a member may state, without their namespaces; None if any.

    Raises:
        RefusedError: It has too many members.
        FormatError: It does not have as many as it states, or one has no value, or one of another type.
    """
    members = [*array]
    if most is not None and len(members) > most:
        problem = f"expected at most {most} members, got {len(members)}"
        raise RefusedError(problem, field=field, section="A.2.1", reason=NO_ROOM)
    stated = STATED_COUNT.search(array.get(f"{{{ENCODING}}}arrayType") or "")
    if stated is not None and int(stated[1]) != len(members):
        problem = f"expected {amount(int(stated[1]), 'member')} by its arrayType, got {len(members)}"
        raise FormatError(problem, field=field, section="3.5")
    if references.plain and types is None:
        return members
    found: list[XmlElement] = []
    for index, member in enumerate(members):
        where = f"{field}[{index}]"
        value = references.follow(member, field=where, once=True)
        if references.is_nil(value):
            raise FormatError("must not be nil", field=where, section="3.5")
        # The namespace is ignored: toolkits differ in it, and the value is read as one of these types anyway.
        kind = value.get(XSI_TYPE)
        if types is not None and kind is not None and kind.strip(XML_BLANKS).rpartition(":")[2] not in types:
            problem = f"expected the type {' or '.join(types)}, got {kind[:MAX_NAME_SHOWN]!r}"
            raise FormatError(problem, field=where, section="3.5")
        found.append(value)
    return found


def write_array(name: str, kind: str, members: Sequence[str]) -> str:
    """Return the XML of an array.

    Args:
        name: The name of the argument.
        kind: The type of its members, with the prefix ``soapenc`` or ``cwmp``.
        members: The XML of each, with a line break at its end.
    """
    return f'<{name} soapenc:arrayType="{kind}[{len(members)}]">\n{"".join(members)}</{name}>\n'
