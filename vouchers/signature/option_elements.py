"""An Option as XML: written as in Figure 5, and read (TR-069 C.3, Tables 62 and 63)."""

import re
from collections.abc import Collection
from hashlib import sha256
from typing import Final

from spkg.common.hostile_xml import XML_BOOLEANS, XmlElement, escape, malformed, text_of
from spkg.common.times import read_time, write_time
from vouchers.model import NAMES, DeviceId, Extra, Mode, Option
from vouchers.months import Units

__all__ = ["content_of", "option_text", "read_option"]

UNSIGNED: Final = re.compile("[0-9]{1,10}", re.ASCII)
DEVICE_ELEMENTS: Final = ("Manufacturer", "OUI", "ProductClass", "SerialNumber")


def option_text(option: Option) -> str:
    """Return an Option in the layout of Figure 5, which is its own canonical form."""
    device = option.device
    lines = [
        f"<Option>\n<VSerialNum>{escape(option.serial)}</VSerialNum>\n<DeviceId>",
        f"<Manufacturer>{escape(device.manufacturer)}</Manufacturer>\n<OUI>{device.oui}</OUI>",
        f"<ProductClass>{escape(device.product_class)}</ProductClass>",
        f"<SerialNumber>{escape(device.serial_number)}</SerialNumber>\n</DeviceId>",
        f"<OptionIdent>{escape(option.ident)}</OptionIdent>",
        f"<OptionDesc>{escape(option.description)}</OptionDesc>",
    ]
    if option.start is not None:
        lines.append(f"<StartDate>{write_time(option.start)}</StartDate>")
    if option.duration is not None:
        lines.append(f"<Duration>{option.duration}</Duration>")
    if option.units is not None:
        lines.append(f"<DurationUnits>{option.units.value}</DurationUnits>")
    lines.append(f"<Mode>{option.mode.value}</Mode>")
    if option.transferable:
        lines.append("<Transferable>1</Transferable>")
    lines += [_extra_text(extra) for extra in option.extra]
    lines.append("</Option>")
    return "\n".join(lines)


def content_of(option: Option) -> bytes:
    """Return the SHA-256 of the contents of an Option, whatever the layout of its XML."""
    return sha256(option_text(option).encode()).digest()


def read_option(element: XmlElement) -> Option:
    """Return the Option in an element: each element of Table 62 once, in any order.

    Raises:
        FormatError: It is not a valid Option.
    """
    found: dict[str, XmlElement] = {}
    extra: list[Extra] = []
    for child in element:
        if child.tag not in NAMES:
            extra.append(_read_extra(child))
        elif child.tag in found:
            raise malformed(child, "must occur once")
        else:
            found[child.tag] = child
    values = {name: text_of(child) for name, child in found.items() if name != "DeviceId"}
    for name in ("VSerialNum", "DeviceId", "OptionIdent", "OptionDesc", "Mode"):
        if name not in found:
            raise malformed(element, f"{name} is missing", section="C.3, Table 62")
    device = _members(found["DeviceId"], DEVICE_ELEMENTS)
    start, duration, units = values.get("StartDate"), values.get("Duration"), values.get("DurationUnits")
    try:
        return Option(
            serial=values["VSerialNum"],
            device=DeviceId(
                manufacturer=device["Manufacturer"],
                oui=device["OUI"],
                product_class=device["ProductClass"],
                serial_number=device["SerialNumber"],
            ),
            ident=values["OptionIdent"],
            description=values["OptionDesc"],
            mode=Mode(values["Mode"]),
            start=None if start is None else read_time(start),
            duration=None if duration is None else _unsigned(duration),
            units=None if units is None else Units(units),
            transferable=_boolean(values.get("Transferable", "0")),
            extra=tuple(extra),
        )
    except ValueError as exc:
        raise malformed(element, str(exc)[:200], section="C.3, Tables 62 and 63") from exc


def _members(element: XmlElement, names: Collection[str]) -> dict[str, str]:
    """Return the texts of the members of a struct: each once, in any order, as in SOAP 1.1, 5.4.1."""
    members = {child.tag: text_of(child) for child in element}
    if len(members) != len(element) or members.keys() != {*names}:
        raise malformed(element, f"must contain exactly {', '.join(names)}")
    return members


def _unsigned(text: str) -> int:
    if UNSIGNED.fullmatch(text) is None:
        raise ValueError(f"Duration: expected an unsignedInt, got {text[:40]!r}")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in XML_BOOLEANS:
        raise ValueError(f"Transferable: expected a boolean, got {text[:40]!r}")
    return XML_BOOLEANS[text]


def _extra_text(extra: Extra) -> str:
    name, inner = extra
    text = escape(inner) if isinstance(inner, str) else "".join(map(_extra_text, inner))
    return f"<{name}>{text}</{name}>"


def _read_extra(element: XmlElement, depth: int = 1) -> Extra:
    """Return a further element as it is; the Option checks its bounds."""
    if not len(element):
        return element.tag, element.text or ""
    if depth > 8:
        raise malformed(element, "nested too deeply")
    return element.tag, tuple(_read_extra(child, depth + 1) for child in element)
