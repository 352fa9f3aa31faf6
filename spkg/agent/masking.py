"""Envelopes for the log: passwords never get there."""

from collections.abc import Mapping
from typing import Final

from lxml import etree

from spkg.common.hostile_xml import XmlElement, parse
from spkg.errors import FormatError

__all__ = ["PASSWORD_MASK", "is_secret", "masked_envelope"]

PASSWORD_MASK: Final = "***"
"""What stands in place of a password."""
MAX_TRACED: Final = 1 << 22
"""The longest envelope that is read for the log, in bytes."""
SECRET_WORDS: Final = ("password", "passphrase", "presharedkey", "secret", "wepkey")
"""What is in the names of parameters and arguments that hold secrets."""


def is_secret(name: str) -> bool:
    """Whether a parameter or an argument holds a secret, by its name."""
    last = name.rpartition(".")[2].lower()
    return any(word in last for word in SECRET_WORDS)


def masked_envelope(octets: bytes) -> str:
    """Return an envelope as text, without what its passwords are.

    One that can't be read is not shown at all: nobody knows what is in it.
    """
    try:
        root = parse(octets, "an envelope", MAX_TRACED, section="3.5", lenient=True)
    except FormatError as exc:
        return f"[{len(octets)} bytes that are no envelope: {exc.problem}]"
    elements = [*root.iter()]
    values = {f"#{name}": one for one in elements if (name := one.get("id")) is not None}
    secret: list[XmlElement] = []
    structures: dict[XmlElement, None] = {}  # each once, however many names it has
    for element in elements:
        parent = element.getparent()
        if is_secret(_local(element)):
            secret.append(element)
        elif parent is not None and _local(element) == "Name" and _names_secret(element, values):
            structures[parent] = None
    for structure in structures:
        secret += [one for one in structure if _local(one) != "Name"]
    for element in secret:
        for one in [*element.iter()]:
            _mask(_referred(one, values))
    return etree.tostring(root, encoding="unicode")


def _names_secret(name: XmlElement, values: Mapping[str, XmlElement]) -> bool:
    return is_secret((_referred(name, values).text or "").strip())


def _referred(element: XmlElement, values: Mapping[str, XmlElement]) -> XmlElement:
    """Return the element that holds a value: the one that an href refers to, or *element* itself."""
    return values.get(element.get("href") or "", element)


def _local(element: XmlElement) -> str:
    return element.tag.rpartition("}")[2]


def _mask(element: XmlElement) -> None:
    """Take all text out of an element and of what is in it; an empty one stays empty."""
    for one in element.iter():
        if (one.text or "").strip():
            one.text = PASSWORD_MASK
        if one is not element and (one.tail or "").strip():
            one.tail = PASSWORD_MASK
