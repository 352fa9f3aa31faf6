"""Lists of devices in JSON, one object a line, also as GenieACS exports them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spkg.common.json_input import read_json
from spkg.errors import FormatError
from vouchers.acs.listed_device import ListedDevice, ListLines, fact_name

__all__ = ["read_objects"]

OBJECT_COLUMNS: Final = ("oui", "product_class", "serial_number", "manufacturer")
"""What a table has of an object: a line that is rejected can be corrected there."""


def read_objects(first: str, lines: ListLines) -> Iterator[ListedDevice]:
    """Yield the devices of lines with one object each, in an array or not.

    Args:
        first: The first line that is not empty.
        lines: The following ones.

    Raises:
        FormatError: An object is not on one line.
        OSError: It can't be read.
    """
    lines.columns = OBJECT_COLUMNS
    text: str | None = first
    while text is not None:
        number = lines.number
        stripped = text.strip().removeprefix("[").strip().removesuffix("]").strip().removesuffix(",").strip()
        if stripped in {"{", "[{"}:
            hint = "jq -c '.[]' writes a list with one object per line"
            problem = f"line {number}: an object must be on one line"
            raise FormatError(problem, source=lines.source, hint=hint)
        if stripped:
            yield from _listed(number, stripped, lines)
        lines.begun = lines.octets
        text = next(lines, None)


def _listed(number: int, text: str, lines: ListLines) -> Iterator[ListedDevice]:
    """Yield the devices of a line."""
    try:
        found = read_json(f"[{text}]".encode(errors="surrogateescape"))
    except FormatError as exc:
        yield lines.rejected(number, _problem(exc), [""] * len(OBJECT_COLUMNS))
        return
    for one in found:
        if not isinstance(one, dict):
            yield lines.rejected(number, "expected a JSON object", [""] * len(OBJECT_COLUMNS))
            continue
        facts = _flat(one)
        cells = [value if isinstance(value := facts.get(name), str) else "" for name in OBJECT_COLUMNS]
        yield lines.listed(number, facts, cells)


def _problem(error: FormatError) -> str:
    """Return why a line is not JSON, and where in it."""
    found = error.problem.removeprefix("expected JSON: ").removeprefix("the JSON can't be used: ")
    column = getattr(error.__cause__, "colno", None)
    place = "" if column is None else f", column {column - 1}"
    return f"not a JSON object on one line: {found.removesuffix(' starting at')}{place}"


def _flat(found: Mapping[str, Any]) -> dict[str, object]:
    """Return the facts about a device in an object; GenieACS has them in a nested object."""
    within = found.get("_deviceId")
    both = {**found, **(within if isinstance(within, dict) else {})}
    return {key: value for name, value in both.items() if (key := fact_name(name)) is not None}
