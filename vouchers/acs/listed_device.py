"""A line of a list of devices, read or rejected: what all kinds of lists share."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final
from urllib.parse import unquote

from spkg.common.printable import is_hidden
from spkg.errors import FormatError
from vouchers.model import DeviceId

__all__ = ["MAX_LIST_LINE", "ListLines", "ListedDevice", "device_text", "fact_name", "plain_oui"]

MAX_LIST_LINE: Final = 1 << 22
"""The longest line, in bytes: GenieACS may export everything that it knows about a device."""
FACTS: Final = {
    **{name: name for name in ("manufacturer", "oui", "id")},
    "productclass": "product_class",
    "serialnumber": "serial_number",
}
"""The names of columns and keys, in lower case, without a leading ``DeviceID.``, spaces and underscores."""
UTF_16_HINT: Final = "save it as CSV in UTF-8, or convert it: iconv -f UTF-16 -t UTF-8"
NOT_DECODED: Final = re.compile("[\udc80-\udcff]")
"""What stands for a byte that is not UTF-8."""


@dataclass(frozen=True, kw_only=True)
class ListedDevice:
    """A line of a list: a device, or why it is rejected."""

    line: int
    """Where it begins; it has more than one if a cell has a line break."""
    device: DeviceId | None
    problem: str | None = None
    octets: int = 0
    """How many bytes of the list have been read."""
    in_table: bool = field(default=False, compare=False, repr=False)
    """Whether the list is a table, which may have been in a spreadsheet."""
    columns: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The names of the columns, as a table has them; of another list, those that a table would have."""
    cells: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The cells of this line, likewise."""


class ListLines(Iterator[str]):
    """The lines of a file, each of bounded length, and where they are.

    Args:
        file: The list.
        source: Its name, for errors.
    """

    def __init__(self, file: IO[bytes], source: str) -> None:
        self._file = file
        self.source = source
        self.number = 0
        self.octets = 0
        """How many bytes have been read."""
        self.begun = 0
        """How many bytes had been read before the record at hand, which may have several lines."""
        self.columns: tuple[str, ...] = ()
        self.in_table = False

    def __next__(self) -> str:
        """Return the next line.

        Raises:
            FormatError: The record is too long, or it is not UTF-8.
        """
        room = MAX_LIST_LINE - (self.octets - self.begun)
        line = self._file.readline(room + 1)
        if not line:
            raise StopIteration
        if len(line) > room:
            what = "line" if room == MAX_LIST_LINE else "a record that ends in line"
            hint = None if room == MAX_LIST_LINE else "a quote may be missing"
            raise FormatError(
                f"{what} {self.number + 1} must have at most {MAX_LIST_LINE} bytes, got more",
                source=self.source,
                offset=self.begun,
                hint=hint,
            )
        if self.number == 0 and (line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line[:4]):
            raise FormatError("expected UTF-8, got UTF-16", source=self.source, offset=0, hint=UTF_16_HINT)
        self.number += 1
        self.octets += len(line)
        # A line that is not UTF-8 is rejected later, if it matters.
        return line.removeprefix(BOM_UTF8 if self.number == 1 else b"").decode(errors="surrogateescape")

    def listed(self, line: int, found: Mapping[str, object], cells: Sequence[str] = ()) -> ListedDevice:
        """Return the device that a line names."""
        try:
            device = _device(found)
        except ValueError as exc:
            return self.rejected(line, str(exc), cells)
        return self._one(line, device, None, cells)

    def rejected(self, line: int, problem: str, cells: Sequence[str] = ()) -> ListedDevice:
        """Return a line without a device, and why."""
        return self._one(line, None, problem, cells)

    def _one(
        self, line: int, device: DeviceId | None, problem: str | None, cells: Sequence[str]
    ) -> ListedDevice:
        return ListedDevice(
            line=line,
            device=device,
            problem=problem,
            octets=self.octets,
            in_table=self.in_table,
            columns=self.columns,
            cells=tuple(cells),
        )


def fact_name(name: str) -> str | None:
    """Return which fact a column or a key holds; None if it is not needed."""
    plain = re.sub("[ _]", "", name.strip().lower()).removeprefix("deviceid.")
    return FACTS.get(plain)


def plain_oui(text: str) -> str:
    """Return an OUI as Table 63 has it; lists may write it as 00:d0:9e."""
    found = re.fullmatch("([0-9A-Fa-f]{2})([:-]?)([0-9A-Fa-f]{2})\\2([0-9A-Fa-f]{2})", text, re.ASCII)
    return text if found is None else f"{found[1]}{found[3]}{found[4]}".upper()


def _device(found: Mapping[str, object]) -> DeviceId:
    """Return the device that a line names.

    Raises:
        ValueError: It names no device, or an invalid one.
    """
    known = {"oui", "product_class", "serial_number"}
    if "id" in found and not known <= found.keys():
        known.add("id")
    facts = {name: device_text(name, found[name]) for name in sorted(known & found.keys())}
    if isinstance(maker := found.get("manufacturer"), str):
        facts["manufacturer"] = maker
    if "id" in facts and "oui" not in facts:
        facts |= _parts_of(facts["id"])
    missing = [name for name in ("oui", "product_class", "serial_number") if name not in facts]
    if missing:
        raise ValueError(f"missing {' and '.join(missing)}")
    return DeviceId(
        manufacturer=facts.get("manufacturer", ""),
        oui=plain_oui(facts["oui"]),
        product_class=facts["product_class"],
        serial_number=facts["serial_number"],
    )


def _parts_of(name: str) -> dict[str, str]:
    """Return what GenieACS joins: OUI, product class and serial number, in which it escapes the hyphen.

    Raises:
        ValueError: It has something else in it.
    """
    try:
        parts = [device_text("id", unquote(part, errors="strict")) for part in name.split("-")]
    except UnicodeDecodeError as exc:
        raise ValueError(f"id: expected UTF-8 behind %, got {name[:80]!r}") from exc
    if len(parts) == 2:
        parts.insert(1, "")
    if len(parts) != 3:
        raise ValueError(f"id: expected OUI-CLASS-SERIAL or OUI-SERIAL, got {name[:80]!r}")
    return dict(zip(("oui", "product_class", "serial_number"), parts, strict=True))


def device_text(name: str, value: object) -> str:
    """Return what names a device, as it is; no device has in its name what nobody sees.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name}: must be a string")  # noqa: TRY004 - the input's fault, not the caller's
    if value != value.strip():
        raise ValueError(f"{name}: must not begin or end with white space")
    if undecoded := NOT_DECODED.search(value):
        raise ValueError(f"{name}: expected UTF-8, got the byte 0x{ord(undecoded[0]) - 0xDC00:02x}")
    hidden = next((char for char in value if is_hidden(char)), None)
    if hidden is not None:
        raise ValueError(f"{name}: must not have the invisible character U+{ord(hidden):04X}")
    return value
