"""Structures and arrays: each is declared once; writing and reading run from it (3.5; SOAP 1.1, 5.4)."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from spkg.common.hostile_xml import XML_BLANKS, XmlElement
from spkg.cwmp.arrays import XSI_TYPE, References, read_array, write_array
from spkg.cwmp.fields import Argument, ArgumentKind, XmlWriter, flag, read_all, within
from spkg.cwmp.soap import own_text
from spkg.cwmp.types import read_type
from spkg.cwmp.values import AttributeChange, ParameterValue
from spkg.errors import FormatError, SpkgError

__all__ = ["array", "attribute_change", "parameter_value", "structure"]

VALUE_TYPES: Final = {
    name: read_type(name).xsd for name in ("string", "int", "unsignedInt", "boolean", "dateTime", "base64")
}
"""The types that a value of type any may have, as they are written (Table 6)."""
OTHER_NAMES: Final = {"base64Binary": "base64"}
"""How toolkits call a type of Table 6 otherwise."""
TYPE_SHOWN: Final = 64
"""How many characters of an unknown type are kept."""


class _Struct(ArgumentKind):
    """A structure, which is an object in Python."""

    def __init__(self, name: str, make: Callable[..., Any], *fields: Argument) -> None:
        self.name = name
        self._make = make
        self._fields = fields
        self._slots = {one.name: place for place, one in enumerate(fields)}
        self._values = attrgetter(*(one.attribute for one in fields))
        self._template = "\n" + "".join(
            "%s" if one.kind.has_attributes else f"<{one.name}>%s</{one.name}>\n" for one in fields
        )
        self._contents = tuple(
            partial(one.kind.element, one.name) if one.kind.has_attributes else one.kind.content
            for one in fields
        )

    def content(self, value: Any, writer: XmlWriter) -> str:
        values = self._values(value)
        return self._template % tuple(
            [content(one, writer) for content, one in zip(self._contents, values, strict=True)]
        )

    def read(self, element: XmlElement, references: References) -> Any:
        return self._make(*read_all(element, self._fields, self._slots, references))


class _ParameterValue(ArgumentKind):
    """A ParameterValueStruct, whose value has the type that it states (Table 11)."""

    name = "cwmp:ParameterValueStruct"
    _SLOTS: Final = {"Name": 0, "Value": 1}

    def __init__(self, parameter: ArgumentKind) -> None:
        self._parameter = parameter
        self._fields = (Argument("Name", parameter), Argument("Value", _Any()))

    def content(self, value: ParameterValue, writer: XmlWriter) -> str:
        kind = VALUE_TYPES.get(value.type)
        if kind is None:
            raise ValueError(f"{value.name}: expected a type of Table 6, got {value.type[:TYPE_SHOWN]!r}")
        return (
            f"\n<Name>{self._parameter.content(value.name, writer)}</Name>\n"
            f'<Value xsi:type="{kind}">{writer.text(value.value)}</Value>\n'
        )

    def read(self, element: XmlElement, references: References) -> ParameterValue:
        if references.plain and len(element) == len(self._fields):
            # What nearly all are like: there may be thousands of them.
            first, second = element
            if first.tag == "Name" and second.tag == "Value" and not len(first) and not len(second):
                return ParameterValue(first.text or "", _type_of(second), second.text or "")
        name, (kind, value) = read_all(element, self._fields, self._SLOTS, references)
        return ParameterValue(name, kind, value)


class _Any(ArgumentKind):
    """A value of any type, as its type and its text."""

    def content(self, value: Any, _writer: XmlWriter) -> str:
        raise NotImplementedError  # its structure writes it

    def read(self, element: XmlElement, references: References) -> tuple[str, str]:
        if references.is_nil(element):
            raise FormatError("must not be nil", section="3.5")
        return _type_of(element), own_text(element)


def _type_of(element: XmlElement) -> str:
    """Return the type that a value states, without its namespace; a string if it states none."""
    stated = element.get(XSI_TYPE)
    if stated is None:
        return "string"
    kind = stated.strip(XML_BLANKS).rpartition(":")[2][:TYPE_SHOWN]
    return OTHER_NAMES.get(kind, kind)


class _Array(ArgumentKind):
    """An array."""

    has_attributes = True

    def __init__(self, member: ArgumentKind, *, most: int | None = None, named: str = "") -> None:
        self._member = member
        self._most = most
        self._type = named or member.name
        self._tag = self._type.rpartition(":")[2]

    def content(self, value: Any, _writer: XmlWriter) -> str:
        raise NotImplementedError  # an array has an attribute, too

    def element(self, name: str, value: Sequence[Any], writer: XmlWriter) -> str:
        if self._most is not None and len(value) > self._most:
            raise ValueError(f"expected at most {self._most} members, got {len(value)}")
        content, tag = self._member.content, self._tag
        return write_array(name, self._type, [f"<{tag}>{content(one, writer)}</{tag}>\n" for one in value])

    def read(self, element: XmlElement, references: References) -> tuple[Any, ...]:
        members = read_array(element, references, field="", most=self._most)
        read = self._member.read
        found: list[Any] = []
        try:
            for member in members:
                found.append(read(member, references))  # noqa: PERF401 - how far it came is in the error
        except SpkgError as exc:
            raise within(exc, f"[{len(found)}]") from None
        return tuple(found)


class _AttributeChange(ArgumentKind):
    """A SetParameterAttributesStruct: what does not change is not looked at (Table 19)."""

    name = "cwmp:SetParameterAttributesStruct"

    def __init__(self, parameter: ArgumentKind, notification: ArgumentKind, access: ArgumentKind) -> None:
        changes = flag()
        self._notification, self._access = notification, access
        self._parameter = parameter
        self._fields = (
            Argument("Name", parameter),
            Argument("NotificationChange", changes, absent=False),
            Argument("Notification", _Raw(), absent=None),
            Argument("AccessListChange", changes, absent=False),
            Argument("AccessList", _Raw(), absent=None),
        )
        self._slots = {one.name: place for place, one in enumerate(self._fields)}

    def content(self, value: AttributeChange, writer: XmlWriter) -> str:
        return "\n" + "".join(
            [
                f"<Name>{self._parameter.content(value.name, writer)}</Name>\n",
                f"<NotificationChange>{value.notification is not None:d}</NotificationChange>\n",
                self._notification.element("Notification", value.notification or 0, writer),
                f"<AccessListChange>{value.access is not None:d}</AccessListChange>\n",
                self._access.element("AccessList", value.access or (), writer),
            ]
        )

    def read(self, element: XmlElement, references: References) -> AttributeChange:
        name, changes, notification, access_changes, access = read_all(
            element, self._fields, self._slots, references
        )
        return AttributeChange(
            name,
            _needed("Notification", self._notification, notification, references) if changes else None,
            _needed("AccessList", self._access, access, references) if access_changes else None,
        )


class _Raw(ArgumentKind):
    """What is read only if something else says so."""

    def content(self, value: Any, _writer: XmlWriter) -> str:
        raise NotImplementedError  # its structure writes it

    def read(self, element: XmlElement, _references: References) -> XmlElement:
        return element


def structure(name: str, make: Callable[..., Any], *fields: Argument) -> ArgumentKind:
    """Return the kind of a structure.

    Args:
        name: Its type in XML, with the prefix.
        make: Makes the object of the values of its fields.
        fields: The fields, in their order.
    """
    return _Struct(name, make, *fields)


def parameter_value(parameter: ArgumentKind) -> ArgumentKind:
    """Return the kind of a ParameterValueStruct, whose value has the type that it states (Table 11)."""
    return _ParameterValue(parameter)


def attribute_change(
    parameter: ArgumentKind, notification: ArgumentKind, access: ArgumentKind
) -> ArgumentKind:
    """Return the kind of a SetParameterAttributesStruct (Table 19)."""
    return _AttributeChange(parameter, notification, access)


def array(member: ArgumentKind, *, most: int | None = None, named: str = "") -> ArgumentKind:
    """Return the kind of an array.

    Args:
        member: What its members are.
        most: The most members; None if there is no limit but that of the envelope.
        named: The type of the members, with its prefix, where they are no structures.
    """
    return _Array(member, most=most, named=named)


def _needed(name: str, kind: ArgumentKind, element: XmlElement | None, references: References) -> Any:
    """Return the value of a field that is to change something."""
    if element is None:
        raise FormatError("missing", field=name, section="A.3.2.4, Table 19")
    try:
        return kind.read(element, references)
    except SpkgError as exc:
        raise within(exc, name) from None
