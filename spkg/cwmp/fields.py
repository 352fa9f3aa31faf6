"""The simple kinds of arguments: how each is written, and read from whatever a server writes (3.5, A.2).

What is written keeps to the tables, else it is a ``ValueError``: nobody but this device can be to blame.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from spkg.common.hostile_xml import XmlElement, escape
from spkg.common.xml_text import NOT_XML
from spkg.cwmp.arrays import References
from spkg.cwmp.envelopes import argument_name
from spkg.cwmp.soap import own_text
from spkg.cwmp.types import CwmpType, read_cwmp_time, read_type, write_boot_time, write_cwmp_time
from spkg.cwmp.values import SinceBoot
from spkg.errors import FormatError, SpkgError

__all__ = [
    "XML_REPLACEMENT",
    "Argument",
    "ArgumentKind",
    "XmlWriter",
    "flag",
    "moment",
    "number",
    "read_all",
    "read_arguments",
    "text",
    "within",
    "write_arguments",
]

XML_REPLACEMENT: Final = "\ufffd"
"""What stands for a character that XML does not have."""


class XmlWriter:
    """Writes text, and counts the characters that XML does not have."""

    def __init__(self) -> None:
        self.replaced = 0

    def text(self, text: str) -> str:
        """Return *text* for an element, with U+FFFD for each character that XML does not have."""
        if not (text.isascii() and text.isprintable()):
            text, count = NOT_XML.subn(XML_REPLACEMENT, text)
            self.replaced += count
        return escape(text)


class ArgumentKind(ABC):
    """What an argument or a field of a structure may be."""

    name: str = ""
    """Its type in XML, with the prefix, of a structure."""
    has_attributes: ClassVar[bool] = False
    """Whether its element is written as a whole."""

    @abstractmethod
    def content(self, value: Any, _writer: XmlWriter) -> str:
        """Return what is between the tags.

        Raises:
            ValueError: The value is not of this kind.
        """

    @abstractmethod
    def read(self, element: XmlElement, _references: References) -> Any:
        """Return the value of an element.

        Raises:
            FormatError: It has none of this kind.
        """

    def element(self, name: str, value: Any, writer: XmlWriter) -> str:
        """Return the whole element."""
        return f"<{name}>{self.content(value, writer)}</{name}>\n"


class _Text(ArgumentKind):
    """A string."""

    def __init__(self, most: int, *, lenient: bool = False) -> None:
        self.most = most
        self.lenient = lenient

    def content(self, value: str, writer: XmlWriter) -> str:
        if len(value) > self.most:
            raise ValueError(f"expected at most {self.most} characters, got {len(value)}")
        return writer.text(value)

    def read(self, element: XmlElement, _references: References) -> str:
        # Toolkits write nil for a string that they do not have: nothing is said by it, as by an empty one.
        text = own_text(element) if len(element) else element.text or ""
        if not self.lenient and len(text) > self.most:
            problem = f"expected at most {self.most} characters, got {len(text)}"
            raise FormatError(problem, section="A.2.1")
        return text


class _Value(ArgumentKind):
    """What has no value where it is nil."""

    def read(self, element: XmlElement, references: References) -> Any:
        if references.is_nil(element):
            raise FormatError("must not be nil", section="3.5")
        return self.parsed(own_text(element))

    @abstractmethod
    def parsed(self, text: str) -> Any:
        """Return what the text of an element means."""


class _Number(_Value):
    """An int or unsignedInt, with its range."""

    def __init__(self, form: str) -> None:
        self._type = read_type(form)

    def content(self, value: int, _writer: XmlWriter) -> str:
        return _canonical(self._type, f"{value:d}")

    def parsed(self, text: str) -> int:
        return int(self._type.read(text))


class _Flag(_Value):
    """A boolean, written as 1 or 0."""

    def content(self, value: bool, _writer: XmlWriter) -> str:  # noqa: FBT001 - it is one
        return "1" if value else "0"

    def parsed(self, text: str) -> bool:
        return CwmpType("boolean").read(text) == "1"


class _Time(_Value):
    """A dateTime: a time in UTC, none, or one since boot."""

    def content(self, value: datetime | SinceBoot | None, _writer: XmlWriter) -> str:
        return write_boot_time(value.seconds) if isinstance(value, SinceBoot) else write_cwmp_time(value)

    def parsed(self, text: str) -> datetime | None:
        return read_cwmp_time(text)


class Argument:
    """A named argument of a method or field of a structure.

    Args:
        name: Its name in XML.
        kind: What it may be.
        attribute: Its name in Python, of a field.
        absent: What it is worth where a server leaves it out; without it, that is an error.
    """

    def __init__(self, name: str, kind: ArgumentKind, attribute: str = "", *, absent: Any = ...) -> None:
        self.name = name
        self.kind = kind
        self.attribute = attribute
        self.absent = absent


def text(most: int, *, lenient: bool = False) -> ArgumentKind:
    """Return the kind of a string.

    Args:
        most: The most characters.
        lenient: Whether a longer one is read: the name of a parameter is then one that there is not (9005).
    """
    return _Text(most, lenient=lenient)


def number(form: str) -> ArgumentKind:
    """Return the kind of an int or unsignedInt, with its range as in ``int[0:1]``."""
    return _Number(form)


def flag() -> ArgumentKind:
    """Return the kind of a boolean, which is written as 1 or 0."""
    return _Flag()


def moment() -> ArgumentKind:
    """Return the kind of a dateTime: a time in UTC, none, or one since boot."""
    return _Time()


def write_arguments(arguments: Sequence[Argument], values: Mapping[str, Any], writer: XmlWriter) -> str:
    """Return the XML of the arguments of a method, in their order (A.2.2).

    Raises:
        ValueError: They are not exactly those, or one has a value that its table does not allow.
    """
    names = [one.name for one in arguments]
    if {*names} != values.keys():
        got = ", ".join(sorted(values)) or "none"
        raise ValueError(f"expected the arguments {', '.join(names) or 'none'}, got {got}")
    parts: list[str] = []
    try:
        for one in arguments:
            parts.append(one.kind.element(one.name, values[one.name], writer))  # noqa: PERF401 - as above
    except ValueError as exc:
        raise ValueError(f"{names[len(parts)]}: {exc}") from exc
    return "".join(parts)


def read_arguments(
    element: XmlElement, arguments: Sequence[Argument], references: References
) -> dict[str, Any]:
    """Return the arguments of a call or an answer by their names.

    Raises:
        FormatError: One is missing, occurs twice, or is not of its kind.
        RefusedError: An array has too many members.
    """
    slots = {one.name: place for place, one in enumerate(arguments)}
    values = read_all(element, arguments, slots, references)
    return dict(zip(slots, values, strict=True))


def read_all(
    element: XmlElement, fields: Sequence[Argument], slots: Mapping[str, int], references: References
) -> list[Any]:
    """Return the values of the fields within an element; others are unknown, and ignored (3.5)."""
    found: list[Any] = [_MISSING] * len(fields)
    for child in element:
        slot = slots.get(child.tag)
        if slot is None:
            slot = slots.get(argument_name(child) or "")
            if slot is None:
                continue
        field = fields[slot]
        if found[slot] is not _MISSING:
            raise FormatError("must occur once", field=field.name, section="A.2.2")
        try:
            found[slot] = field.kind.read(references.follow(child, field=""), references)
        except SpkgError as exc:
            raise within(exc, field.name) from None
    if _MISSING in found:
        _fill(found, fields)
    return found


_MISSING: Final = object()


def _fill(found: list[Any], fields: Iterable[Argument]) -> None:
    for place, field in enumerate(fields):
        if found[place] is _MISSING:
            if field.absent is ...:
                raise FormatError("missing", field=field.name, section="A.2.2")
            found[place] = field.absent


def within(error: SpkgError, step: str) -> SpkgError:
    """Return the same error, one step further out."""
    inner = error.field or ""
    error.field = f"{step}{'' if not inner or inner.startswith('[') else '.'}{inner}"
    return error


def _canonical(kind: CwmpType, text: str) -> str:
    try:
        return kind.read(text)
    except FormatError as exc:
        raise ValueError(str(exc)) from exc
