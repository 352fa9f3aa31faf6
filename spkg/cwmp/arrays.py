"""Arrays of SOAP 1.1, as cwmp-1-0 writes them and as the toolkits of servers do (TR-069 3.5; SOAP 1.1, 5.4).

A member may have any name in any namespace (5.4.2).  PHP, gSOAP and .NET write ``item`` or ``Item``, and
gSOAP, .NET and Axis may write a value next to the call and refer to it: ``<item href="#id0"/>``.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from spkg.common.hostile_xml import XML_BLANKS, XML_BOOLEANS, XmlElement
from spkg.common.printable import amount
from spkg.cwmp.soap import ENCODING, MAX_NAME_SHOWN, XSI, own_text
from spkg.errors import NO_ROOM, FormatError, RefusedError

__all__ = ["BASE64", "follow", "read_array", "write_array"]

BASE64: Final = ("base64", "base64Binary", "string")
"""The types that servers state for base64: soapenc:base64, xsd:base64Binary, xsd:base64 of toolkits that mix
the two, and xsd:string of those that have text and no schema, such as PHP's."""
STATED_COUNT: Final = re.compile(r"\[(\d{1,9})\]\s*$", re.ASCII)
"""The number of members at the end of an arrayType."""


def read_array(
    array: XmlElement, values: Mapping[str, XmlElement], *, field: str, most: int, types: Collection[str]
) -> list[XmlElement]:
    """Return the elements that hold the values of an array's members.

    Args:
        array: The array.
        values: What its members can refer to (:attr:`Message.values`).
        field: Its name in errors.
        most: The most members that it may have.
        types: The types that a member may state, without their namespaces.

    Raises:
        RefusedError: It has too many members.
        FormatError: It does not have as many as it states, or one has no value, or one of another type.
    """
    members = [*array]
    if len(members) > most:
        problem = f"expected at most {most} members, got {len(members)}"
        raise RefusedError(problem, field=field, section="A.2.1", reason=NO_ROOM)
    stated = STATED_COUNT.search(array.get(f"{{{ENCODING}}}arrayType") or "")
    if stated is not None and int(stated[1]) != len(members):
        problem = f"expected {amount(int(stated[1]), 'member')} by its arrayType, got {len(members)}"
        raise FormatError(problem, field=field, section="3.5")
    found: list[XmlElement] = []
    for index, member in enumerate(members):
        where = f"{field}[{index}]"
        value = follow(member, values, field=where)
        if value in found:  # or one large value, referred to again and again, would cost as much as many
            raise FormatError("must not refer to the value of another member", field=where, section="3.5")
        _check_value(value, where, types)
        found.append(value)
    return found


def follow(element: XmlElement, values: Mapping[str, XmlElement], *, field: str) -> XmlElement:
    """Return the element that holds a value: the one that an href refers to, or *element* itself.

    A value that is referred to can't refer to another one: there are no circles and no chains.

    Args:
        element: An argument, or the member of an array.
        values: What it can refer to (:attr:`Message.values`).
        field: Its name in errors.

    Raises:
        FormatError: It refers to nothing in its envelope, or has a value in addition.
    """
    href = element.get("href")
    if href is None:
        return element
    if len(element) or own_text(element).strip(XML_BLANKS):
        raise FormatError("must have a value or an href, not both", field=field, section="3.5")
    value = values.get(href.removeprefix("#")) if href.startswith("#") else None
    if value is None:
        problem = f"href must refer to a value next to the call, got {href[:MAX_NAME_SHOWN]!r}"
        raise FormatError(problem, field=field, section="3.5")
    if value.get("href") is not None:
        problem = f"href must refer to a value, got {href[:MAX_NAME_SHOWN]!r}, which has an href itself"
        raise FormatError(problem, field=field, section="3.5")
    return value


def write_array(name: str, kind: str, members: Sequence[str]) -> str:
    """Return the XML of an array.

    Args:
        name: The name of the argument.
        kind: The type of its members, with the prefix ``soapenc`` or ``cwmp``.
        members: The XML of each, with a line break at its end.
    """
    return f'<{name} soapenc:arrayType="{kind}[{len(members)}]">\n{"".join(members)}</{name}>\n'


def _check_value(value: XmlElement, field: str, types: Collection[str]) -> None:
    """Raise unless an element has a value, and states one of these types or no type."""
    if XML_BOOLEANS.get((value.get(f"{{{XSI}}}nil") or "0").strip(XML_BLANKS), True):
        raise FormatError("must not be nil", field=field, section="3.5")
    # The namespace is ignored: toolkits differ in it, and the value is read as one of these types anyway.
    kind = value.get(f"{{{XSI}}}type")
    if kind is not None and kind.strip(XML_BLANKS).rpartition(":")[2] not in types:
        problem = f"expected the type {' or '.join(types)}, got {kind[:MAX_NAME_SHOWN]!r}"
        raise FormatError(problem, field=field, section="3.5")
