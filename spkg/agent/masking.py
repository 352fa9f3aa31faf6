"""Envelopes for the log: passwords never get there."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from lxml import etree

from spkg.common.hostile_xml import XmlElement, parse
from spkg.errors import FormatError

__all__ = ["PASSWORD_MASK", "is_secret", "masked_envelope"]

PASSWORD_MASK: Final = "***"
"""What stands in place of a password."""
MAX_TRACED: Final = 1 << 22
"""The longest envelope that is read for the log, in bytes."""
WORD: Final = re.compile(r"\S+")
SECRET_WORDS: Final = ("password", "passphrase", "presharedkey", "secret", "wepkey")
"""What is in the names of parameters and arguments that hold secrets."""


def is_secret(name: str) -> bool:
    """Whether a parameter or an argument holds a secret, by its name."""
    last = name.rpartition(".")[2].lower()
    return any(word in last for word in SECRET_WORDS)


def masked_envelope(octets: bytes, holds_secret: Callable[[str], bool] = lambda _name: False) -> str:
    """Return an envelope as text, without what its passwords are, and without the queries of its URLs.

    One that can't be read is not shown at all: nobody knows what is in it.

    Args:
        octets: The envelope.
        holds_secret: Whether a parameter holds a secret that its name does not show.
    """

    def secret_name(name: str) -> bool:
        return is_secret(name) or holds_secret(name)

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
        elif parent is not None and _local(element) == "Name" and secret_name(_said(element, values)):
            structures[parent] = None
    for structure in structures:
        secret += [one for one in structure if _local(one) != "Name"]
    for element in secret:
        for one in [*element.iter()]:
            _mask(_referred(one, values))
    for element in elements:
        if "://" in (text := element.text or "") and "?" in text:
            element.text = WORD.sub(_without_query, text)
    return etree.tostring(root, encoding="unicode")


def _without_query(word: re.Match[str]) -> str:
    """Return a word; of a URL its query may be a secret."""
    url, mark, _ = word[0].partition("?")
    return f"{url}?{PASSWORD_MASK}" if mark and "://" in url else word[0]


def _said(name: XmlElement, values: Mapping[str, XmlElement]) -> str:
    return (_referred(name, values).text or "").strip()


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
