"""Envelopes for the log: passwords never get there."""

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
    for element in [*root.iter()]:
        if is_secret(_local(element)):
            _mask(element)
        elif _local(element) == "Name" and is_secret((element.text or "").strip()):
            for sibling in element.itersiblings():
                _mask(sibling)
            for sibling in element.itersiblings(preceding=True):
                _mask(sibling)
    return etree.tostring(root, encoding="unicode")


def _local(element: XmlElement) -> str:
    return element.tag.rpartition("}")[2]


def _mask(element: XmlElement) -> None:
    """Take all text out of an element and of what is in it; an empty one stays empty."""
    for one in element.iter():
        if (one.text or "").strip():
            one.text = PASSWORD_MASK
        if one is not element and (one.tail or "").strip():
            one.tail = PASSWORD_MASK
