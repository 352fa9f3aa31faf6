"""Lists of devices, in CSV or JSON as people and GenieACS write them.

Lists are streamed.  A line that names no device is reported with its number and the reason, and the other
lines still count.
"""

import csv
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote

from spkg.errors import FormatError, UsageError
from vouchers.acs.spreadsheet import plain_cell, spoilt_cell
from vouchers.model import DeviceId

__all__ = [
    "ListedDevice",
    "device_identity",
    "read_device_stream",
    "read_devices",
]

MAX_LINE: Final = 1 << 22
"""The longest line, in bytes: GenieACS may export everything that it knows about a device."""
MAX_CELL: Final = 1 << 17
"""The widest cell of a table, in characters."""
KEYS: Final = {
    **{name: name for name in ("manufacturer", "oui", "id")},
    "productclass": "product_class",
    "serialnumber": "serial_number",
}
"""The names of columns and keys, in lower case, without a leading ``DeviceID.``, spaces and underscores."""


@dataclass(frozen=True, kw_only=True)
class ListedDevice:
    """A line of a list: a device, or why it is rejected."""

    line: int
    device: DeviceId | None
    problem: str | None = None
    octets: int = 0
    """How many bytes of the list have been read."""
    columns: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The names of the columns of a table, as they are written there."""
    cells: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The cells of this line of a table."""


def read_devices(path: Path) -> Iterator[ListedDevice]:
    """Yield the devices of a list.

    Raises:
        FormatError: It is neither CSV with a header that names devices, nor JSON.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        yield from read_device_stream(file, path.name)


def read_device_stream(file: IO[bytes], source: str) -> Iterator[ListedDevice]:
    """Yield the devices of a list from an open file; otherwise like :func:`read_devices`.

    Args:
        file: The list.
        source: Its name, for errors.
    """
    lines = _Lines(file, source)
    first = next((line for line in lines if line.strip()), "")
    kind = _read_json if first.lstrip().startswith(("{", "[")) else _read_csv
    yield from kind(first, lines)


def device_identity(text: str) -> tuple[str, str, str]:
    """Return OUI, product class and serial number of a device that is given as ``OUI/CLASS/SERIAL``.

    Args:
        text: The three, each percent-encoded where it has a slash or a percent sign.

    Raises:
        UsageError: It is something else.
    """
    parts = [unquote(part) for part in text.split("/")]
    if len(parts) != 3:
        raise UsageError(f"expected a device as OUI/CLASS/SERIAL, got {text[:200]!r}")
    oui, product_class, serial_number = parts
    return _oui(oui), product_class, serial_number


class _Lines(Iterator[str]):
    """The lines of a file, each of bounded length, and where they are."""

    def __init__(self, file: IO[bytes], source: str) -> None:
        self._file = file
        self.source = source
        self.number = 0
        self.octets = 0
        self.columns: tuple[str, ...] = ()

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_LINE:
            raise FormatError(
                f"line {self.number + 1} must have at most {MAX_LINE} bytes, got more",
                source=self.source,
                offset=self.octets,
            )
        if self.number == 0 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise FormatError("expected UTF-8, got UTF-16", source=self.source, offset=0)
        self.number += 1
        self.octets += len(line)
        # A line that is not UTF-8 is rejected later: no DeviceId can have such characters.
        return line.removeprefix(BOM_UTF8 if self.number == 1 else b"").decode(errors="surrogateescape")

    def listed(self, line: int, found: Mapping[str, object], cells: Sequence[str] = ()) -> ListedDevice:
        """Return the device that a line names."""
        try:
            device = _device(found)
        except ValueError as exc:
            return self.rejected(line, str(exc), cells)
        return ListedDevice(
            line=line, device=device, octets=self.octets, columns=self.columns, cells=tuple(cells)
        )

    def rejected(self, line: int, problem: str, cells: Sequence[str] = ()) -> ListedDevice:
        """Return a line without a device, and why."""
        return ListedDevice(
            line=line,
            device=None,
            problem=problem,
            octets=self.octets,
            columns=self.columns,
            cells=tuple(cells),
        )


def _read_csv(first: str, lines: _Lines) -> Iterator[ListedDevice]:
    """Yield the devices of a table whose first line names its columns."""
    csv.field_size_limit(MAX_LINE)  # a cell that is too wide is rejected below, not the list
    if said := re.fullmatch("sep=(.)", first.strip("\r\n")):
        separator, first = str(said[1]), next(iter(lines), "")
    else:
        separator = next((one for one in ";\t" if one in first and "," not in first), ",")
    try:
        lines.columns = tuple(next(csv.reader([first], strict=True, delimiter=separator), []))
        header = [_key(name) for name in lines.columns]
    except csv.Error as exc:
        raise FormatError(f"line {lines.number}: {exc}", source=lines.source) from exc
    if "id" not in header and not {"oui", "product_class", "serial_number"} <= {*header}:
        problem = (
            "not a list of devices: the first line must name oui, product_class and serial_number, or id"
        )
        raise FormatError(problem, source=lines.source)
    twice = [name for name in header if name is not None and header.count(name) > 1]
    if twice:
        raise FormatError(f"the column {twice[0]} must occur once", source=lines.source)
    begin = lines.number
    table = csv.reader(lines, strict=True, delimiter=separator)
    try:
        for cells in table:
            number = begin + table.line_num
            if not any(cells):
                continue
            if len(cells) != len(header):
                yield lines.rejected(
                    number, f"expected {len(header)} cells as in the first line, got {len(cells)}", cells
                )
                continue
            if (widest := max(map(len, cells))) > MAX_CELL:
                yield lines.rejected(
                    number, f"a cell must have at most {MAX_CELL} characters, got {widest}", cells
                )
                continue
            named = {
                name: plain_cell(cell) for name, cell in zip(header, cells, strict=True) if name is not None
            }
            checked = named.keys() - {"manufacturer"}
            spoilt = [f"{key}: {what}" for key in sorted(checked) if (what := spoilt_cell(named[key]))]
            if spoilt:
                yield lines.rejected(number, spoilt[0], cells)
                continue
            yield lines.listed(number, named, cells)
    except csv.Error as exc:
        # It is unknown where the next record begins: text in a cell could be taken for a device.
        raise FormatError(f"line {begin + table.line_num}: {exc}", source=lines.source) from exc


def _read_json(first: str, lines: _Lines) -> Iterator[ListedDevice]:
    """Yield the devices of lines with one object each, in an array or not."""
    text: str | None = first
    while text is not None:
        number = lines.number
        stripped = text.strip().removeprefix("[").strip().removesuffix("]").strip().removesuffix(",").strip()
        if stripped:
            try:
                found = json.loads(f"[{stripped}]")
            except (ValueError, RecursionError) as exc:
                if stripped in {"{", "[{"}:
                    hint = "jq -c '.[]' writes a list with one object per line"
                    problem = f"line {number}: an object must be on one line"
                    raise FormatError(problem, source=lines.source, hint=hint) from exc
                yield lines.rejected(number, f"not a JSON object on one line: {exc}")
            else:
                yield from (lines.listed(number, _flat(one)) for one in found)
        text = next(lines, None)


def _flat(found: Any) -> dict[str, object]:
    """Return the facts about a device in an object; GenieACS has them in a nested object."""
    if not isinstance(found, dict):
        return {}
    within = found.get("_deviceId")
    both = found | (within if isinstance(within, dict) else {})
    return {key: value for name, value in both.items() if (key := _key(name)) is not None}


def _key(name: str) -> str | None:
    """Return which fact a column or a key holds; None if it is not needed."""
    plain = re.sub("[ _]", "", name.strip().lower()).removeprefix("deviceid.")
    return KEYS.get(plain)


def _device(found: Mapping[str, object]) -> DeviceId:
    """Return the device that a line names.

    Raises:
        ValueError: It names no device, or an invalid one.
    """
    known = {"oui", "product_class", "serial_number"}
    if "id" in found and not known <= found.keys():
        known.add("id")
    facts = {name: _text(name, found[name]) for name in sorted(known & found.keys())}
    if isinstance(maker := found.get("manufacturer"), str):
        facts["manufacturer"] = maker
    if "id" in facts and "oui" not in facts:
        # GenieACS joins OUI, product class and serial number, in which it escapes the hyphen.
        parts = [unquote(part, errors="strict") for part in facts["id"].split("-")]
        if len(parts) == 3:
            facts |= dict(zip(("oui", "product_class", "serial_number"), parts, strict=True))
        elif len(parts) == 2:
            facts |= {"oui": parts[0], "product_class": "", "serial_number": parts[1]}
    missing = [name for name in ("oui", "product_class", "serial_number") if name not in facts]
    if missing:
        raise ValueError(f"missing {' and '.join(missing)}")
    return DeviceId(
        manufacturer=facts.get("manufacturer", ""),
        oui=_oui(facts["oui"]),
        product_class=facts["product_class"],
        serial_number=facts["serial_number"],
    )


def _oui(text: str) -> str:
    """Return an OUI as Table 63 has it; lists may write it as 00:d0:9e."""
    found = re.fullmatch("([0-9A-Fa-f]{2})([:-]?)([0-9A-Fa-f]{2})\\2([0-9A-Fa-f]{2})", text, re.ASCII)
    return text if found is None else f"{found[1]}{found[3]}{found[4]}".upper()


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: must be a string")  # noqa: TRY004 - the input's fault, not the caller's
    if value != value.strip():
        raise ValueError(f"{name}: must not begin or end with white space")
    return value
